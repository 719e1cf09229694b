//! Files with certificates and keys, looked at before anybody relies on them.
//!
//! Says what is wrong with a file, in words that name it. Whether a server likes them, only the server knows.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error as TlsError, InconsistentKeys, RootCertStore};

use crate::event::Timestamp;

/// What is wrong with a file, and what mends it. Quotes nothing of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// What is wrong, with the path.
    pub why: String,
    /// What to do.
    pub mend: String,
}

impl Unfit {
    fn new(why: String, mend: &str) -> Unfit {
        Unfit { why, mend: mend.into() }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.why, self.mend)
    }
}

/// Whether a key may be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encrypted {
    /// There is no password for it.
    Refused,
    /// There is one, which nobody here tries.
    Allowed,
}

/// A certificate outside its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapsed(String);

impl fmt::Display for Lapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>, Unfit> {
    std::fs::read(path).map_err(|error| {
        let mend =
            "name a file that this user may read; a relative path starts at the configuration's folder";
        Unfit::new(format!("cannot read {}: {error}", path.display()), mend)
    })
}

/// The certificates in a file whose bytes are `text`: at least one.
pub fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.unwrap_or_default();
    match found.is_empty() {
        true => Err(Unfit::new(
            format!("no certificate in PEM in {}", path.display()),
            "it holds -----BEGIN CERTIFICATE-----; openssl x509 -inform der -in FILE makes it of DER",
        )),
        false => Ok(found),
    }
}

/// The first private key in a file whose bytes are `text`; none = it is encrypted, and may be.
fn key(path: &Path, text: &[u8], encrypted: Encrypted) -> Result<Option<PrivateKeyDer<'static>>, Unfit> {
    let shown = path.display();
    let text_of = String::from_utf8_lossy(text);
    if text_of.contains("BEGIN ENCRYPTED PRIVATE KEY") || text_of.contains("Proc-Type: 4,ENCRYPTED") {
        return match encrypted {
            Encrypted::Allowed => Ok(None),
            Encrypted::Refused => Err(Unfit::new(
                format!("the private key in {shown} is encrypted"),
                "decrypt it: openssl pkey -in FILE -out FILE2; let nobody else read it (for Kafka, key_password does)",
            )),
        };
    }
    PrivateKeyDer::from_pem_slice(text).map(Some).map_err(|_| {
        Unfit::new(
            format!("no private key in PEM in {shown}"),
            "it holds -----BEGIN PRIVATE KEY----- (PKCS#8), or RSA or EC in front of PRIVATE",
        )
    })
}

/// Looks at a certificate and its key: that they are there, and belong together. Gives what is wrong with the
/// certificate's time.
pub fn pair(cert: &Path, key_file: &Path, encrypted: Encrypted) -> Result<Option<Lapsed>, Unfit> {
    let chain = certificates(cert, &read(cert)?)?;
    let key = key(key_file, &read(key_file)?, encrypted)?;
    let lapsed = chain.first().and_then(|leaf| lapsed(cert, leaf));
    let provider = rustls::crypto::ring::default_provider();
    let matched = key.map(|key| CertifiedKey::from_der(chain, key, &provider));
    match matched {
        // Other errors are about kinds of keys that this library does not know, and another may.
        Some(Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch))) => Err(Unfit::new(
            format!("the key in {} is not that of the certificate in {}", key_file.display(), cert.display()),
            "cert_file holds our own certificate first, then those that vouch for it",
        )),
        _ => Ok(lapsed),
    }
}

/// What is wrong with a certificate's time. The library looks at it before anything else.
fn lapsed(path: &Path, leaf: &CertificateDer<'static>) -> Option<Lapsed> {
    let mut roots = RootCertStore::empty();
    roots.add(leaf.clone()).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let verdict = verifier.verify_client_cert(leaf, &[], UnixTime::now()).err()?;
    let day = |time: UnixTime| {
        let micros = i64::try_from(time.as_secs()).unwrap_or(0).saturating_mul(1_000_000);
        Timestamp(micros).rfc3339()
    };
    let shown = path.display();
    match verdict {
        TlsError::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            Some(Lapsed(format!("the certificate in {shown} expired on {}", day(not_after))))
        }
        TlsError::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            Some(Lapsed(format!("the certificate in {shown} is not valid before {}", day(not_before))))
        }
        _ => None,
    }
}
