//! How clients know the brokers and prove who they are: `[kafka.tls]` and `[kafka.sasl]`, as librdkafka
//! settings; and what an error about it means.

use std::path::PathBuf;

use rdkafka::error::RDKafkaErrorCode;
use serde::Deserialize;

use super::Error;
use crate::secret::Secret;

/// The `[kafka.tls]` table: connections are encrypted, and brokers must show a certificate for their host name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificates in PEM that are trusted, instead of those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate in PEM, then those that vouch for it; for brokers that ask for one.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Its private key in PEM.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// What the key is encrypted with, if it is.
    #[serde(default)]
    pub key_password: Option<Secret>,
}

/// The `[kafka.sasl]` table: who we are, by a password.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How the password is proven.
    #[serde(default)]
    pub mechanism: Mechanism,
    /// Who.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How a password is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    /// It is sent as it is.
    #[serde(rename = "PLAIN")]
    Plain,
    /// By a challenge, with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// By a challenge, with SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// What anybody on the way could read, if anything: a warning.
pub(super) fn readable(tls: Option<&Tls>, sasl: Option<&Sasl>) -> Option<Error> {
    let plain = tls.is_none() && sasl.is_some_and(|sasl| sasl.mechanism == Mechanism::Plain);
    plain.then(|| {
        Error::new("the password travels to Kafka unencrypted")
            .hint("add [kafka.tls], or a mechanism of SCRAM")
    })
}

/// What a table says, and the librdkafka settings that must not say it as well.
pub const TAKEN: [(&str, &[&str]); 2] = [
    (
        "tls",
        &[
            "security.protocol",
            "ssl.ca.location",
            "ssl.ca.pem",
            "ssl.certificate.location",
            "ssl.certificate.pem",
            "ssl.key.location",
            "ssl.key.pem",
            "ssl.key.password",
        ],
    ),
    ("sasl", &["security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password"]),
];

/// Both tables as librdkafka settings.
pub(super) fn settings(tls: Option<&Tls>, sasl: Option<&Sasl>) -> Vec<(&'static str, String)> {
    let protocol = match (tls, sasl) {
        (None, None) => return Vec::new(),
        (Some(_), None) => "ssl",
        (Some(_), Some(_)) => "sasl_ssl",
        (None, Some(_)) => "sasl_plaintext",
    };
    let mut all = vec![("security.protocol", protocol.to_string())];
    if let Some(tls) = tls {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let found = [
            ("ssl.ca.location", path(&tls.ca_file)),
            ("ssl.certificate.location", path(&tls.cert_file)),
            ("ssl.key.location", path(&tls.key_file)),
            ("ssl.key.password", tls.key_password.as_ref().map(|secret| secret.expose().to_string())),
        ];
        all.extend(found.into_iter().filter_map(|(key, value)| Some((key, value?))));
    }
    if let Some(sasl) = sasl {
        all.push(("sasl.mechanisms", sasl.mechanism.name().to_string()));
        all.push(("sasl.username", sasl.user.clone()));
        all.push(("sasl.password", sasl.password.expose().to_string()));
    }
    all
}

/// Whether an error is one that only somebody can mend, not time.
pub(super) fn is_final(code: RDKafkaErrorCode, reason: &str) -> bool {
    use RDKafkaErrorCode::{Authentication, SSL, SaslAuthenticationFailed};
    matches!(code, Authentication | SSL | SaslAuthenticationFailed) || refuses_certificate(reason)
}

/// The alerts by which a server refuses a client's certificate, or the lack of one.
fn refuses_certificate(reason: &str) -> bool {
    let alerts = [42, 43, 44, 45, 46, 48, 49, 116];
    let number = reason.split("alert number ").nth(1).unwrap_or_default();
    let number: String = number.chars().take_while(char::is_ascii_digit).collect();
    number.parse().is_ok_and(|number: u32| alerts.contains(&number))
        || reason.contains("certificate required")
}

/// Why no client can be made of the settings, in the client library's words: a file that it cannot use.
pub(super) fn unfit(why: &str) -> Error {
    // A long chain of where in the library it was noticed.
    let why: Vec<&str> =
        why.split("error:").next().unwrap_or(why).trim_end_matches([' ', ':']).split(": ").collect();
    let why = why.join(": ");
    let setting = ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location"];
    let key = ["ca_file", "cert_file", "key_file"];
    let named = setting.iter().zip(key).find(|(setting, _)| why.contains(**setting));
    match named {
        Some((_, "key_file")) => Error::new(format!("no client can be made of the settings: {why}"))
            .hint("`key_file` in [kafka.tls] does not belong to `cert_file`, or `key_password` is wrong"),
        Some((_, key)) => Error::new(format!("no client can be made of the settings: {why}"))
            .hint(format!("`{key}` in [kafka.tls] must hold certificates in PEM")),
        None => Error::new(format!("no client can be made of the settings: {why}")),
    }
}

/// What the reason of a failed connection, in the client library's words, means, and what mends it. None:
/// nothing is known about it.
pub(super) fn explain(reason: &str) -> Option<Error> {
    let (what, mend) = if reason.contains("certificate verify failed") {
        (
            "the broker's certificate is not trusted",
            "`ca_file` in [kafka.tls] holds the authority that signed it; it must not have expired, and must name \
             the host as `brokers` does: openssl s_client -connect HOST:PORT -CAfile CA.PEM shows it",
        )
    } else if refuses_certificate(reason) {
        (
            "the broker refuses our certificate, or the lack of one",
            "`cert_file` and `key_file` in [kafka.tls]: a certificate that has not expired, of an authority that \
             the broker trusts: openssl x509 -noout -dates -issuer -in FILE shows it",
        )
    } else if reason.contains("SASL authentication error") || reason.contains("Authentication failed") {
        (
            "the broker refuses user, password or mechanism",
            "`user`, `password` and `mechanism` in [kafka.sasl]",
        )
    } else if reason.contains("mechanism") {
        ("the broker does not offer this mechanism", "`mechanism` in [kafka.sasl]")
    } else if ["incorrect security.protocol", "might require SASL", "in state APIVERSION_QUERY"]
        .iter()
        .any(|part| reason.contains(part))
    {
        (
            "the broker ends the connection at once",
            "it may want TLS or a password: [kafka.tls], [kafka.sasl]; or the port is that of another listener",
        )
    } else if reason.contains("wrong version number") || reason.contains("packet length too long") {
        ("the broker does not speak TLS there", "the port of another listener, or no [kafka.tls]")
    } else {
        return None;
    };
    Some(Error::new(what).hint(mend))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(&'static str, String)> {
        #[derive(Deserialize)]
        struct Both {
            tls: Option<Tls>,
            sasl: Option<Sasl>,
        }
        let both: Both = toml::from_str(text).unwrap();
        settings(both.tls.as_ref(), both.sasl.as_ref())
    }

    #[test]
    fn tables_become_settings_that_the_library_knows() {
        let tls = "[tls]\nca_file = \"a\"\ncert_file = \"b\"\nkey_file = \"c\"\nkey_password = \"d\"\n";
        let sasl = "[sasl]\nuser = \"u\"\npassword = \"p\"\nmechanism = \"PLAIN\"\n";
        let get = |text: &str, key: &str| {
            let all = read(text);
            all.iter().for_each(|(key, value)| super::super::settings::check(key, value).unwrap());
            all.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let both = format!("{tls}{sasl}");
        assert_eq!(read(""), []);
        assert_eq!(get("[tls]\n", "security.protocol").as_deref(), Some("ssl"));
        assert_eq!(get(&both, "security.protocol").as_deref(), Some("sasl_ssl"));
        assert_eq!(get(sasl, "security.protocol").as_deref(), Some("sasl_plaintext"));
        assert_eq!(get(&both, "ssl.key.password").as_deref(), Some("d"));
        assert_eq!(get(&both, "sasl.mechanisms").as_deref(), Some("PLAIN"));
        let scram = "[sasl]\nuser = \"u\"\npassword = \"p\"\n";
        assert_eq!(get(scram, "sasl.mechanisms").as_deref(), Some("SCRAM-SHA-512"));
    }

    #[test]
    fn a_password_that_can_be_read_on_its_way_is_warned_of() {
        let sasl = |mechanism| Sasl { mechanism, user: "u".into(), password: Secret::new("p") };
        let tls = Tls::default();
        assert!(readable(None, Some(&sasl(Mechanism::Plain))).is_some());
        assert!(readable(Some(&tls), Some(&sasl(Mechanism::Plain))).is_none());
        assert!(readable(None, Some(&sasl(Mechanism::ScramSha256))).is_none());
    }

    #[test]
    fn the_librarys_words_are_explained() {
        let what = |reason: &str| explain(reason).map(|error| error.message).unwrap_or_default();
        for (reason, part) in [
            (
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker",
                "not trusted",
            ),
            ("ssl/tls alert bad certificate: SSL alert number 42 (after 3ms)", "refuses our certificate"),
            ("SSL alert number 116", "refuses our certificate"),
            ("SASL authentication error: Authentication failed during authentication", "refuses user"),
            ("Disconnected: might be caused by incorrect security.protocol configuration", "at once"),
            ("SSL handshake failed: error:0A00010B:SSL routines::wrong version number", "does not speak TLS"),
        ] {
            assert!(what(reason).contains(part), "{reason}: {}", what(reason));
        }
        assert_eq!(what("Connect to ipv4#127.0.0.1:1 failed: Connection refused"), "");
        assert!(!refuses_certificate("SSL alert number 4"));
    }
}
