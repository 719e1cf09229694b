//! What a configuration says about a sink. Unknown settings are errors; secrets cannot be printed.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::event::time::parse_duration;
use crate::kafka::Start;
use crate::secret::Secret;

/// The settings of one sink; `type` says which kind it is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SinkConfig {
    /// Lines on standard output.
    Stdout(StdoutConfig),
    /// Lines at the end of a file.
    File(FileConfig),
    /// OpenSearch, by `_bulk`.
    Opensearch(ElasticConfig),
    /// Elasticsearch, by `_bulk`.
    Elasticsearch(ElasticConfig),
    /// Splunk, by its HTTP Event Collector.
    Splunk(SplunkConfig),
}

impl SinkConfig {
    /// Where it starts in the journal when it is new.
    pub fn start(&self) -> Start {
        match self {
            SinkConfig::Stdout(config) => config.start,
            SinkConfig::File(config) => config.start,
            SinkConfig::Opensearch(config) | SinkConfig::Elasticsearch(config) => config.start,
            SinkConfig::Splunk(config) => config.start,
        }
    }

    /// The word behind `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            SinkConfig::Stdout(_) => "stdout",
            SinkConfig::File(_) => "file",
            SinkConfig::Opensearch(_) => "opensearch",
            SinkConfig::Elasticsearch(_) => "elasticsearch",
            SinkConfig::Splunk(_) => "splunk",
        }
    }

    /// Whether a repeated alert is recognised by its id.
    pub fn knows_ids(&self) -> bool {
        matches!(self, SinkConfig::Opensearch(_) | SinkConfig::Elasticsearch(_))
    }
}

/// Settings of a sink on standard output.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StdoutConfig {
    /// Where it starts in the journal when it is new.
    #[serde(default)]
    pub start: Start,
    /// Whether the text of events may leave. On by default: nothing leaves the machine here.
    #[serde(default = "yes")]
    pub raw: bool,
}

/// Settings of a sink that is a file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// Where it starts in the journal when it is new.
    #[serde(default)]
    pub start: Start,
    /// Where; the folder must exist.
    pub path: PathBuf,
    /// Whether the text of events may leave. On by default: nothing leaves the machine here.
    #[serde(default = "yes")]
    pub raw: bool,
}

/// Settings of an OpenSearch or Elasticsearch sink.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElasticConfig {
    /// Where it starts in the journal when it is new.
    #[serde(default)]
    pub start: Start,
    /// `http://HOST:PORT` or `https://…`, with a path if a proxy wants one.
    pub url: Endpoint,
    /// Indices are named `INDEX-YYYY.MM`; the alias over them and the index template are named `INDEX`.
    #[serde(default = "default_index")]
    pub index: String,
    /// For basic authentication, with `password`.
    #[serde(default)]
    pub user: Option<String>,
    /// For basic authentication, with `user`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Instead of user and password: the encoded form, as the server handed it out.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// Certificates in PEM that are trusted, instead of those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate in PEM, then those that vouch for it; for servers that ask for one.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Its private key in PEM, not encrypted.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// For one request as a whole. Too small: a busy server never finishes one; too big: a hung one is
    /// noticed late.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Whether requests are compressed.
    #[serde(default = "yes")]
    pub gzip: bool,
    /// Bytes of one request, before compression. Too big: the server refuses it, and half is tried.
    #[serde(default = "default_bytes")]
    pub max_bytes: NonZeroUsize,
    /// Alerts of one request.
    #[serde(default = "default_batch")]
    pub batch: NonZeroUsize,
    /// Whether the text of events may leave: it can hold anything that a vehicle or a person sent.
    #[serde(default)]
    pub raw: bool,
    /// Whether an index template with the types of all fields is installed.
    #[serde(default = "yes")]
    pub template: bool,
}

/// Settings of a Splunk sink (HTTP Event Collector).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplunkConfig {
    /// Where it starts in the journal when it is new.
    #[serde(default)]
    pub start: Start,
    /// `https://HOST:8088`: what comes before `/services/collector`.
    pub url: Endpoint,
    /// The collector's token.
    pub token: Secret,
    /// The index that events go to; none = the token's own.
    #[serde(default)]
    pub index: Option<String>,
    /// What events say as their source.
    #[serde(default = "default_name")]
    pub source: String,
    /// What events say as their source type.
    #[serde(default = "default_sourcetype")]
    pub sourcetype: String,
    /// What events say as their host.
    #[serde(default = "default_name")]
    pub host: String,
    /// Certificates in PEM that are trusted, instead of those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate in PEM, then those that vouch for it; for servers that ask for one.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Its private key in PEM, not encrypted.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// For one request as a whole, as for the other servers.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Whether requests are compressed.
    #[serde(default = "yes")]
    pub gzip: bool,
    /// Bytes of one request, before compression. Too big: an older server refuses it, and half is tried.
    #[serde(default = "default_event_bytes")]
    pub max_bytes: NonZeroUsize,
    /// Alerts of one request.
    #[serde(default = "default_batch")]
    pub batch: NonZeroUsize,
    /// Whether the text of events may leave: it can hold anything that a vehicle or a person sent.
    #[serde(default)]
    pub raw: bool,
    /// Whether an alert counts as delivered only once the indexer acknowledges it; the token must have that
    /// turned on.
    #[serde(default)]
    pub ack: bool,
    /// How long an acknowledgement is waited for. Too small: a busy indexer gets alerts twice; too big: what
    /// it lost comes that much later.
    #[serde(default = "default_ack_timeout", deserialize_with = "duration")]
    pub ack_timeout: Duration,
}

fn yes() -> bool {
    true
}

fn default_index() -> String {
    "fleetwarden-alerts".into()
}

fn default_name() -> String {
    "fleetwarden".into()
}

fn default_sourcetype() -> String {
    "fleetwarden:alert".into()
}

fn default_ack_timeout() -> Duration {
    Duration::from_secs(300)
}

fn default_event_bytes() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1_000_000 - 1)
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_bytes() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add((5 << 20) - 1)
}

fn default_batch() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(999)
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let micros = parse_duration(&text).and_then(|micros| u64::try_from(micros).ok());
    micros.map(Duration::from_micros).ok_or_else(|| D::Error::custom("not a duration such as \"30s\""))
}

/// The address of a server, without credentials in it: addresses stand in logs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(Url);

impl Endpoint {
    /// Whether the address is that of this machine.
    pub fn is_local(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether what is sent is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    /// Errors never repeat the text: it may hold a password.
    fn try_from(text: String) -> Result<Endpoint, String> {
        let url = Url::parse(&text).map_err(|error| format!("url cannot be read: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("url must start with http:// or https:// and name a host".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("url must not hold credentials: use user and password, api_key or token".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("url must end before any ? or #".into());
        }
        Ok(Endpoint(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SinkConfig, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_string())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let SinkConfig::Opensearch(config) =
            read("type = 'opensearch'\nurl = 'http://localhost:9200'").unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!(config.index, "fleetwarden-alerts");
        assert_eq!((config.timeout, config.gzip), (Duration::from_secs(30), true));
        assert_eq!((config.max_bytes.get(), config.batch.get()), (5_242_880, 1000));
        assert_eq!((config.raw, config.template), (false, true));
        let SinkConfig::Splunk(config) =
            read("type = 'splunk'\nurl = 'https://a:8088'\ntoken = 't'").unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!((config.index, config.max_bytes.get(), config.batch.get()), (None, 1_000_000, 1000));
        assert_eq!((config.ack, config.raw, config.gzip), (false, false, true));
        assert_eq!(
            (config.source.as_str(), config.sourcetype.as_str()),
            ("fleetwarden", "fleetwarden:alert")
        );
        let stdout = read("type = 'stdout'").unwrap();
        assert_eq!((stdout.start(), stdout.kind(), stdout.knows_ids()), (Start::Earliest, "stdout", false));
        assert!(matches!(stdout, SinkConfig::Stdout(StdoutConfig { raw: true, .. })));
        assert_eq!(read("type = 'stdout'\nstart = 'latest'").unwrap().start(), Start::Latest);
        assert!(matches!(read("type = 'file'\npath = 'a'").unwrap(), SinkConfig::File(_)));
    }

    #[test]
    fn mistakes_are_errors() {
        for (text, says) in [
            ("type = 'kafka'", "unknown variant"),
            ("type = 'file'", "missing field `path`"),
            ("type = 'splunk'\nurl = 'http://a'", "missing field `token`"),
            ("type = 'stdout'\ncolour = true", "unknown field `colour`"),
            ("type = 'elasticsearch'\nurl = 'http://a'\nbatch = 0", "nonzero"),
            ("type = 'elasticsearch'\nurl = 'http://a'\ntimeout = 'soon'", "not a duration"),
            ("type = 'elasticsearch'\nurl = 'ftp://a'", "http://"),
            ("type = 'elasticsearch'\nurl = 'a:9200'", "http://"),
            ("type = 'elasticsearch'\nurl = 'http://a/?x=1'", "?"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_cannot_be_seen() {
        let text =
            "type = 'opensearch'\nurl = 'https://a'\nuser = 'u'\npassword = 'hunter2'\napi_key = 'hunter2'";
        let splunk = "type = 'splunk'\nurl = 'https://a'\ntoken = 'hunter2'";
        let shown = format!("{:?} {:?}", read(text).unwrap(), read(splunk).unwrap());
        assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
        assert_eq!(format!("{0} {0:?}", Secret::new("hunter2")), "*** ***");
        for url in ["https://u:hunter2@a:9200", "https://hunter2@a", "hunter2@a", "u:hunter2@a"] {
            let error = read(&format!("type = 'opensearch'\nurl = '{url}'")).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_address_knows_whether_it_is_local() {
        let local = |text: &str| Endpoint::try_from(text.to_string()).unwrap().is_local();
        assert!(local("http://localhost:9200") && local("http://127.0.0.1/x") && local("http://[::1]:1"));
        assert!(!local("http://opensearch:9200") && !local("http://10.0.0.1"));
    }
}
