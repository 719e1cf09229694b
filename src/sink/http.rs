//! What sinks that speak HTTP share: a client, a body, an answer, and what went wrong on the way.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE};
use reqwest::{Certificate, Client, RequestBuilder, Response};
use serde_json::Value as Json;

use super::{Endpoint, Trouble};

/// Bytes of an answer that are read at most.
const LIMIT: usize = 16 << 20;

/// A request that got no answer.
pub(super) struct Broken {
    /// What happened, in words without the address.
    pub why: String,
    /// Whether the connection broke while the request was on its way.
    pub midway: bool,
}

impl Broken {
    /// It will pass.
    pub fn retry(self) -> Trouble {
        Trouble::Retry { after: None, why: self.why }
    }
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
pub(super) fn client(url: &Endpoint, ca_file: Option<&Path>, timeout: Duration) -> Result<Client, String> {
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
    if let Some(path) = ca_file {
        let text = std::fs::read(path).map_err(|error| format!("ca_file {}: {error}", path.display()))?;
        let trusted = Certificate::from_pem_bundle(&text).unwrap_or_default();
        if trusted.is_empty() {
            return Err(format!("ca_file {}: no certificate in PEM in it", path.display()));
        }
        builder = builder.tls_certs_only(trusted);
    } else if !url.is_encrypted() {
        // Certificates of the system are not asked for where none are needed: slim images have none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| describe(error).why)
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
    Answer::read(request.send().await.map_err(describe)?).await.map_err(describe)
}

/// The whole chain of causes, without the address.
fn describe(error: reqwest::Error) -> Broken {
    let midway = !error.is_connect() && !error.is_timeout() && !error.is_builder();
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        why = format!("{why}: {inner}");
        cause = inner.source();
    }
    Broken { why, midway }
}

/// The beginning of a text that somebody else wrote, without what a terminal would obey.
pub(super) fn short(text: &str, limit: usize) -> String {
    text.chars().take(limit).filter(|c| !c.is_control()).collect()
}
