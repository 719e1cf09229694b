//! What sinks that speak HTTP share: a client, a body, an answer, and what went wrong on the way.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE};
use reqwest::{Certificate, Client, Identity, RequestBuilder, Response};
use serde_json::Value as Json;

use super::{Endpoint, Trouble, pem};

/// Bytes of an answer that are read at most.
const LIMIT: usize = 16 << 20;

/// A request that got no answer.
pub(super) struct Broken {
    /// What happened, in words without the address.
    why: String,
    /// Whether the connection broke while the request was on its way.
    pub midway: bool,
    /// What somebody has to do about it; none: it passes by itself.
    mend: Option<&'static str>,
}

impl Broken {
    /// What it means for the whole: certificates do not mend themselves, all else passes.
    pub fn trouble(self) -> Trouble {
        match self.mend {
            Some(mend) => Trouble::Blocked { why: self.why, mend: mend.into() },
            None => Trouble::Retry { after: None, why: self.why },
        }
    }
}

/// The files that a server is trusted by, and that it trusts us by.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    /// Whom we trust, instead of whom the system trusts.
    pub ca: &'a Option<PathBuf>,
    /// Our certificate.
    pub cert: &'a Option<PathBuf>,
    /// Its private key.
    pub key: &'a Option<PathBuf>,
}

/// An answer, as it came.
pub(super) struct Answer {
    /// The status of the whole.
    pub status: u16,
    /// How long the server wants to be left alone, if it says so in seconds; a date is not read.
    pub after: Option<Duration>,
    /// What is to be sent back with the next request, so that it reaches the same server behind a balancer.
    pub cookie: Option<HeaderValue>,
    /// At most [`LIMIT`] bytes of the body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads an answer to its end, or to the limit.
    async fn read(mut response: Response) -> Result<Answer, reqwest::Error> {
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let cookie = cookie(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            let room = LIMIT.saturating_sub(body.len());
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if chunk.len() > room {
                break;
            }
        }
        Ok(Answer { status: response.status().as_u16(), after, cookie, body })
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> Option<Json> {
        serde_json::from_slice(&self.body).ok()
    }
}

fn cookie(headers: &HeaderMap) -> Option<HeaderValue> {
    let pairs = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()?.split(';').next());
    let pairs: Vec<&str> = pairs.map(str::trim).filter(|pair| !pair.is_empty()).collect();
    HeaderValue::from_str(&pairs.join("; ")).ok().filter(|_| !pairs.is_empty())
}

/// A client for one server. An error says which setting is wrong.
pub(super) fn client(url: &Endpoint, files: Files<'_>, timeout: Duration) -> Result<Client, String> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Whoever installs another one in between is welcome.
        rustls::crypto::ring::default_provider().install_default().ok();
    }
    let mut builder = Client::builder()
        .user_agent(concat!("fleetwarden/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(10)))
        .redirect(reqwest::redirect::Policy::none());
    if url.is_local() {
        builder = builder.no_proxy();
    }
    if let Some(path) = files.ca {
        let text = pem::read(path).map_err(|error| format!("ca_file: {error}"))?;
        pem::certificates(path, &text).map_err(|error| format!("ca_file: {error}"))?;
        let trusted = Certificate::from_pem_bundle(&text).unwrap_or_default();
        builder = builder.tls_certs_only(trusted);
    } else if !url.is_encrypted() {
        // Certificates of the system are not asked for where none are needed: slim images have none.
        builder = builder.tls_certs_only([]);
    }
    match (files.cert, files.key) {
        (None, None) => {}
        (Some(_), Some(_)) if !url.is_encrypted() => return Err("cert_file needs a url with https".into()),
        (Some(cert), Some(key)) => builder = builder.identity(identity(cert, key)?),
        _ => return Err("cert_file and key_file go together".into()),
    }
    builder.build().map_err(|error| describe(error).why)
}

/// Who we are to a server that asks.
fn identity(cert: &Path, key: &Path) -> Result<Identity, String> {
    if let Some(lapsed) = pem::pair(cert, key, pem::Encrypted::Refused).map_err(|error| error.to_string())? {
        tracing::warn!("{lapsed}: whoever checks it will refuse us");
    }
    let mut text = pem::read(cert).map_err(|error| error.to_string())?;
    if cert != key {
        text.push(b'\n');
        text.extend(pem::read(key).map_err(|error| error.to_string())?);
    }
    Identity::from_pem(&text).map_err(|error| format!("cert_file and key_file: {}", describe(error).why))
}

/// The value of an `Authorization` header, which no log shows; none if no header can carry it.
pub(super) fn credential(scheme: &str, secret: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {secret}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Says so where credentials can be read on their way.
pub(super) fn warn_unencrypted(url: &Endpoint) {
    if !url.is_encrypted() && !url.is_local() {
        tracing::warn!("credentials travel unencrypted to {url}: use https");
    }
}

/// A request with its body, compressed if it may be.
pub(super) fn with_body(request: RequestBuilder, body: &[u8], compress: bool) -> RequestBuilder {
    match compress.then(|| gzip(body)).and_then(Result::ok) {
        Some(body) => request.header(CONTENT_ENCODING, "gzip").body(body),
        None => request.body(body.to_vec()),
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Sends a request and reads the answer to its end.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, Broken> {
    let (client, request) = request.build_split();
    let request = request.map_err(describe)?;
    let credential = request.headers().get(AUTHORIZATION).cloned();
    let mut answer =
        Answer::read(client.execute(request).await.map_err(describe)?).await.map_err(describe)?;
    if let Some(credential) = credential {
        hush(&mut answer.body, &credential);
    }
    Ok(answer)
}

/// Shorter ones are found in any text: taking them out would break answers, and they are no secret.
const SHORTEST: usize = 8;

/// Takes the credential out of an answer: some servers quote what they were sent, and what they say may end
/// in a log or a dead letter.
fn hush(body: &mut Vec<u8>, credential: &HeaderValue) {
    let secret = credential.to_str().unwrap_or_default().split_once(' ').map_or("", |(_, secret)| secret);
    let Ok(text) = std::str::from_utf8(body) else { return };
    if secret.len() >= SHORTEST && text.contains(secret) {
        *body = text.replace(secret, "***").into_bytes();
    }
}

/// The whole chain of causes, without the address.
fn describe(error: reqwest::Error) -> Broken {
    let midway = !error.is_connect() && !error.is_timeout() && !error.is_builder();
    let error = error.without_url();
    let (mut why, mut mend) = (error.to_string(), None);
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        why = format!("{why}: {inner}");
        mend = mend.or_else(|| mend_tls(of_tls(inner)?));
        cause = inner.source();
    }
    Broken { why, midway, mend }
}

/// The error of TLS that an error is. What an `io::Error` wraps is not among its causes.
fn of_tls<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    match error.downcast_ref::<std::io::Error>() {
        Some(wrapping) => of_tls(wrapping.get_ref()?),
        None => error.downcast_ref(),
    }
}

/// What somebody has to do about an error of TLS; none where it may pass by itself.
fn mend_tls(error: &rustls::Error) -> Option<&'static str> {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(_) => Some(
            "the server's certificate is not trusted: see ca_file, and the certificate's end date and host name",
        ),
        rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => Some("the server wants another certificate of us: see cert_file and key_file, and its end date"),
        _ => None,
    }
}

/// The beginning of a text that somebody else wrote, without what a terminal would obey.
pub(super) fn short(text: &str, limit: usize) -> String {
    text.chars().take(limit).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_that_a_server_quotes_is_taken_out() {
        let hushed = |secret: &str, text: &str| {
            let mut body = text.as_bytes().to_vec();
            hush(&mut body, &credential("Splunk", secret).unwrap());
            String::from_utf8(body).unwrap()
        };
        assert_eq!(
            hushed("0123-4567", "{\"text\":\"0123-4567 is wrong: 0123-4567\"}"),
            "{\"text\":\"*** is wrong: ***\"}"
        );
        assert_eq!(hushed("code", "{\"code\":0}"), "{\"code\":0}");
    }
}
