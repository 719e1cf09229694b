//! OpenSearch and Elasticsearch by `_bulk`: every alert a document of its own, under its own id.
//!
//! Documents are created, never overwritten, in the index that the month of the alert's broker time names: so
//! a repeated attempt meets its own document (409, which is as good as written) and nothing is ever doubled.
//! What the server says about documents may quote them: it goes to the dead letter and nowhere else.

mod answer;
#[cfg(test)]
mod tests;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value as Json, json};

use super::http::{self, Answer, Broken, send, with_body};
use super::{Attempt, ElasticConfig, Item, Outcome, Sink, Trouble, template};
use crate::encode::{Envelope, ecs};
use crate::secret::Secret;

/// A body from this size on is split once when the connection breaks: some servers close it where others say
/// 413.
const LARGE: usize = 1 << 20;

/// Only what is looked at comes back.
const FILTER: &str = "filter_path=errors,error.type,items.*.status,items.*.error";

/// One server, or what balances load over several.
#[derive(Debug)]
pub struct Elastic {
    client: Client,
    config: ElasticConfig,
    /// Bytes of one request: falls when the server says 413.
    max_bytes: usize,
    /// Whether the template is known to be there. Looked at again after every failure of the whole, since a
    /// server that was made anew would guess types without it.
    prepared: bool,
}

impl Elastic {
    /// Checks the settings and reads the certificates; contacts nobody.
    pub fn open(config: &ElasticConfig) -> Result<Elastic, String> {
        check(config)?;
        let files = http::Files { ca: &config.ca_file, cert: &config.cert_file, key: &config.key_file };
        let client = http::client(&config.url, files, config.timeout)?;
        Ok(Elastic { client, config: config.clone(), max_bytes: config.max_bytes.get(), prepared: false })
    }

    /// A request to a path of the server, with credentials.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/{path}", self.config.url));
        match (&self.config.api_key, &self.config.user) {
            (Some(key), _) => match api_key(key.expose()) {
                Some(value) => request.header(AUTHORIZATION, value),
                None => request,
            },
            (None, Some(user)) => request.basic_auth(user, self.config.password.as_ref().map(Secret::expose)),
            (None, None) => request,
        }
    }

    /// Sees to it that the template is there, in this version or a later one.
    async fn prepare(&mut self) -> Result<(), Trouble> {
        let name = &self.config.index;
        let path = format!("_index_template/{name}");
        let known = send(self.request(Method::GET, &path)).await.map_err(Broken::trouble)?;
        let version = known.json().and_then(|body| {
            body.pointer("/index_templates/0/index_template/version").and_then(Json::as_u64)
        });
        match known.status {
            200 if version.is_some_and(|version| version >= template::VERSION) => {}
            200 | 404 => {
                let body = template::template(name).to_string();
                let put =
                    self.request(Method::PUT, &path).header(CONTENT_TYPE, "application/json").body(body);
                let answer = send(put).await.map_err(Broken::trouble)?;
                if answer.status != 200 {
                    return Err(answer.template_trouble(name));
                }
                tracing::info!("index template {name:?} installed (version {})", template::VERSION);
            }
            _ => return Err(known.template_trouble(name)),
        }
        self.prepared = true;
        Ok(())
    }

    /// Sends the beginning of a batch, less of it where the server cannot take as much.
    async fn send(&mut self, batch: &[Item]) -> Result<Vec<Outcome>, Trouble> {
        if self.config.template && !self.prepared {
            self.prepare().await?;
        }
        let mut limit = self.max_bytes;
        let mut whole = true;
        loop {
            let bulk = Bulk::of(batch, &self.config, limit);
            match self.post(&bulk).await {
                Ok(answer) if answer.status == 413 => {
                    if bulk.names.len() == 1 {
                        let why = "413: one document is larger than the server takes".to_string();
                        return Ok(vec![Outcome::Refused { why, detail: String::new() }]);
                    }
                    limit = (bulk.body.len() / 2).max(1);
                    self.max_bytes = limit;
                }
                Ok(answer) => return answer.outcomes(&bulk.names, &self.config.index),
                Err(broken) if broken.midway && whole && bulk.names.len() > 1 && bulk.body.len() >= LARGE => {
                    whole = false;
                    limit = bulk.body.len() / 2;
                }
                Err(broken) => return Err(broken.trouble()),
            }
        }
    }

    async fn post(&self, bulk: &Bulk) -> Result<Answer, Broken> {
        let request = self
            .request(Method::POST, &format!("_bulk?{FILTER}"))
            .header(CONTENT_TYPE, "application/x-ndjson");
        send(with_body(request, &bulk.body, self.config.gzip)).await
    }
}

impl Sink for Elastic {
    fn attempt<'a>(&'a mut self, batch: &'a [Item]) -> Attempt<'a> {
        Box::pin(async move {
            let done = self.send(batch).await;
            self.prepared &= done.is_ok();
            done
        })
    }

    fn batch(&self) -> usize {
        self.config.batch.get()
    }
}

/// Settings that do not go together, or that the server would refuse for ever.
fn check(config: &ElasticConfig) -> Result<(), String> {
    let name = &config.index;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !starts || !name.chars().all(allowed) || name.len() > 200 {
        return Err(format!(
            "index {name:?} is no index name: a lower-case letter or digit, then also \"-\", \"_\" and \".\""
        ));
    }
    if config.user.is_some() != config.password.is_some() {
        return Err("user and password go together".into());
    }
    if config.user.is_some() && config.api_key.is_some() {
        return Err("either user and password or api_key, not both".into());
    }
    if config.api_key.as_ref().is_some_and(|key| api_key(key.expose()).is_none()) {
        return Err("api_key holds characters that no header can carry".into());
    }
    if config.user.is_some() || config.api_key.is_some() {
        http::warn_unencrypted(&config.url);
    }
    Ok(())
}

fn api_key(key: &str) -> Option<HeaderValue> {
    http::credential("ApiKey", key)
}

/// The body of one request.
struct Bulk {
    body: Vec<u8>,
    /// The index of each alert in it.
    names: Vec<String>,
}

impl Bulk {
    /// As many of the first alerts as fit into `limit` bytes, and one in any case.
    fn of(batch: &[Item], config: &ElasticConfig, limit: usize) -> Bulk {
        let mut bulk = Bulk { body: Vec::new(), names: Vec::new() };
        for item in batch {
            let (year, month) = item.alert.broker_time.year_month();
            let index = format!("{}-{year:04}.{month:02}", config.index);
            let action = json!({"create": {"_index": index, "_id": item.alert.id_hex()}});
            let envelope = Envelope { detected: item.detected, raw: config.raw };
            let lines = format!("{action}\n{}\n", ecs::line(&item.alert, &envelope));
            if !bulk.names.is_empty() && bulk.body.len() + lines.len() > limit {
                break;
            }
            bulk.body.extend_from_slice(lines.as_bytes());
            bulk.names.push(index);
        }
        bulk
    }
}
