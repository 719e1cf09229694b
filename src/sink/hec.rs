//! Splunk by its HTTP Event Collector: events one after another, and what the collector says of them.
//!
//! The collector knows no ids: whatever it has taken must not be sent again. It says how many events before a
//! bad one it took, and, where the token has that turned on, acknowledges what is safely indexed. Doubles
//! remain possible after an unknown outcome (no answer, no acknowledgement); a search drops them by
//! `alert_id`.

mod answer;
#[cfg(test)]
pub mod fault;
mod pending;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderValue};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::http::{self, Answer, Broken, send, with_body};
use super::{Attempt, Item, Outcome, Sink, SplunkConfig, Trouble};
use crate::encode::{Envelope, hec};
use answer::Verdict;
use pending::Pending;

/// Requests that may wait for their acknowledgement.
const OPEN: usize = 64;

/// Acknowledgements are not asked for more often, and first after so long.
const OFTEN: Duration = Duration::from_millis(100);

/// How long a collector is left alone that takes alerts and says that its queues fill up.
const SLOW: Duration = Duration::from_secs(1);

/// One collector, or what balances load over several.
#[derive(Debug)]
pub struct Hec {
    client: Client,
    config: SplunkConfig,
    /// The token, ready to be sent.
    credential: HeaderValue,
    /// Bytes of one request: falls when the server says 413.
    max_bytes: usize,
    /// Whose acknowledgements are ours: a name that nobody else has.
    channel: String,
    /// Keeps the channel at one indexer behind a balancer.
    cookie: Option<HeaderValue>,
    pending: Pending,
    /// When acknowledgements were last asked for and told.
    asked: Option<Instant>,
    pause: Option<Duration>,
    /// Whether it was said that no acknowledgement comes.
    said: bool,
}

#[derive(Deserialize)]
struct Acks {
    acks: BTreeMap<u64, bool>,
}

impl Hec {
    /// Checks the settings and reads the certificates; contacts nobody.
    pub fn open(config: &SplunkConfig) -> Result<Hec, String> {
        let token = config.token.expose();
        let credential = http::credential("Splunk", token).filter(|_| !token.is_empty());
        let credential = credential.ok_or("token is empty or holds characters that no header can carry")?;
        http::warn_unencrypted(&config.url);
        let files = http::Files { ca: &config.ca_file, cert: &config.cert_file, key: &config.key_file };
        let client = http::client(&config.url, files, config.timeout)?;
        Ok(Hec {
            client,
            config: config.clone(),
            credential,
            max_bytes: config.max_bytes.get(),
            channel: channel(),
            cookie: None,
            pending: Pending::default(),
            asked: None,
            pause: None,
            said: false,
        })
    }

    /// Sends a request below `/services/collector`.
    async fn post(&mut self, path: &str, body: &[u8], compress: bool) -> Result<Answer, Broken> {
        let url = format!("{}/services/collector/{path}", self.config.url);
        let request = self.client.post(url).header(AUTHORIZATION, self.credential.clone());
        let request = with_body(request, body, compress).header(CONTENT_TYPE, "application/json");
        let answer = send(self.on_channel(request)).await?;
        self.cookie = answer.cookie.clone().or(self.cookie.take());
        Ok(answer)
    }

    fn on_channel(&self, request: RequestBuilder) -> RequestBuilder {
        if !self.config.ack {
            return request;
        }
        let request = request.header("x-splunk-request-channel", &self.channel);
        match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie.clone()),
            None => request,
        }
    }

    /// Outcomes of the first alerts: those under way are asked for, else those that are not are sent.
    async fn pass(&mut self, batch: &[Item]) -> Result<Vec<Outcome>, Trouble> {
        if batch.first().is_some_and(|item| self.pending.holds(item.alert.id)) {
            self.ask().await?;
            let under_way = batch.iter().map_while(|item| {
                self.pending.outcome(item.alert.id, self.asked, self.config.ack_timeout, OFTEN)
            });
            let outcomes: Vec<Outcome> = under_way.collect();
            for (item, outcome) in batch.iter().zip(&outcomes) {
                if !matches!(outcome, Outcome::Pending(_)) {
                    self.pending.forget(item.alert.id);
                }
            }
            return Ok(outcomes);
        }
        let fresh = batch.iter().take_while(|item| !self.pending.holds(item.alert.id)).count();
        let fresh = batch.get(..fresh).unwrap_or(batch);
        if self.pending.ids().len() >= OPEN {
            return Ok(vec![Outcome::Pending(OFTEN); fresh.len()]);
        }
        self.write(fresh).await
    }

    /// Asks for every acknowledgement that is open. An id is answered with true once and never again: that is
    /// kept before anything else can happen.
    async fn ask(&mut self) -> Result<(), Trouble> {
        let ids = self.pending.ids();
        if ids.is_empty() || self.asked.is_some_and(|asked| asked.elapsed() < OFTEN) {
            return Ok(());
        }
        let body = json!({"acks": ids}).to_string();
        let path = format!("ack?channel={}", self.channel);
        let answer = self.post(&path, body.as_bytes(), false).await.map_err(Broken::trouble)?;
        if answer.status != 200 {
            return Err(answer::trouble(&answer));
        }
        let Acks { acks } = serde_json::from_slice(&answer.body).map_err(|_| Trouble::Retry {
            after: None,
            why: "200: the answer about acknowledgements cannot be read".into(),
        })?;
        acks.into_iter().filter(|(_, indexed)| *indexed).for_each(|(id, _)| self.pending.confirm(id));
        self.asked = Some(Instant::now());
        Ok(())
    }

    /// Sends the beginning of a batch, less of it where the server cannot take as much.
    async fn write(&mut self, batch: &[Item]) -> Result<Vec<Outcome>, Trouble> {
        let mut most = self.config.batch.get();
        loop {
            let payload = Payload::of(batch, &self.config, self.max_bytes, most);
            let answer =
                self.post("event", &payload.body, self.config.gzip).await.map_err(Broken::trouble)?;
            match answer::judge(&answer, payload.count) {
                Verdict::Taken { events, refused, ack, slow } => {
                    self.pause = slow.then_some(SLOW);
                    let taken = batch.get(..events).unwrap_or(batch);
                    let mut outcomes = vec![self.taken(taken, ack); taken.len()];
                    outcomes.extend(refused);
                    return Ok(outcomes);
                }
                Verdict::TooLarge if payload.count == 1 => {
                    let why = "413: one event is larger than the server takes".to_string();
                    return Ok(vec![Outcome::Refused { why, detail: String::new() }]);
                }
                Verdict::TooLarge => self.max_bytes = (payload.body.len() / 2).max(1),
                // Alone, each event has an answer of its own.
                Verdict::Unclear => most = (payload.count / 2).max(1),
                Verdict::Trouble(trouble) => return Err(trouble),
            }
        }
    }

    /// What has come of events that the collector took.
    fn taken(&mut self, events: &[Item], ack: Option<u64>) -> Outcome {
        match ack {
            _ if !self.config.ack || events.is_empty() => Outcome::Delivered,
            Some(id) => {
                self.pending.add(id, events.iter().map(|item| item.alert.id), Instant::now());
                Outcome::Pending(OFTEN)
            }
            None => {
                if !std::mem::replace(&mut self.said, true) {
                    let url = &self.config.url;
                    tracing::warn!("{url} takes alerts but acknowledges none: turn it on for the token");
                }
                Outcome::Delivered
            }
        }
    }
}

impl Sink for Hec {
    fn attempt<'a>(&'a mut self, batch: &'a [Item]) -> Attempt<'a> {
        Box::pin(self.pass(batch))
    }

    fn batch(&self) -> usize {
        self.config.batch.get()
    }

    fn pause(&mut self) -> Option<Duration> {
        self.pause.take()
    }
}

/// A random GUID: the standard library's only source of chance are the seeds of its hash maps.
fn channel() -> String {
    let chance = || RandomState::new().hash_one(0);
    let (high, low) = (chance(), chance());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// The body of one request.
struct Payload {
    body: Vec<u8>,
    /// The events in it.
    count: usize,
}

impl Payload {
    /// At most `most` of the first alerts, as many as fit into `limit` bytes, and one in any case.
    fn of(batch: &[Item], config: &SplunkConfig, limit: usize, most: usize) -> Payload {
        let origin = hec::Origin {
            index: config.index.as_deref(),
            source: &config.source,
            sourcetype: &config.sourcetype,
            host: &config.host,
        };
        let mut payload = Payload { body: Vec::new(), count: 0 };
        for item in batch.iter().take(most) {
            let envelope = Envelope { detected: item.detected, raw: config.raw };
            let line = hec::line(&item.alert, &envelope, &origin);
            if payload.count > 0 && payload.body.len() + line.len() + 1 > limit {
                break;
            }
            payload.body.extend_from_slice(line.as_bytes());
            payload.body.push(b'\n');
            payload.count += 1;
        }
        payload
    }
}
