//! A collector for tests: answers as Splunk was recorded to, counts how often it indexed what, and misbehaves
//! as it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde_json::{Value as Json, json};

use crate::sink::SplunkConfig;
use crate::sink::fault::Seen;

/// The only token that may write.
pub const TOKEN: &str = "5ec2e7a0-0000-4000-8000-00000000hec0";

/// The keys of an event object; what stands behind an object with another one is lost.
const KEYS: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "event", "fields"];

/// What one request is answered with, instead of what a good server would say.
pub enum Reply {
    /// This status, with these headers and this body; nothing is indexed.
    Status(u16, Vec<(&'static str, &'static str)>, String),
    /// As a good server would, but success has this code.
    Taken(u64),
    /// Everything is indexed, and the answer never comes.
    Lost,
}

impl Seen {
    /// Names of the events in it.
    pub fn ids(&self) -> Vec<u128> {
        self.text.lines().map(|line| id(&serde_json::from_str(line).unwrap())).collect()
    }
}

fn id(event: &Json) -> u128 {
    u128::from_str_radix(event["fields"]["alert_id"].as_str().unwrap(), 16).unwrap()
}

/// What the server holds and how it behaves.
#[derive(Default)]
pub struct Inner {
    /// Answers to the next writes.
    pub writes: VecDeque<Reply>,
    /// Answers to the next questions about acknowledgements.
    pub asks: VecDeque<Reply>,
    /// Events that are answered with a code, by their names.
    pub bad: BTreeMap<u128, u64>,
    /// Whether the token acknowledges.
    pub ack: bool,
    /// How many questions about an id are answered with false first; none: all of them.
    pub slow: Option<u32>,
    /// Questions about ids of these writes are all answered with false.
    pub never: BTreeSet<u64>,
    /// Whether the answers to bad events hide which of them it was.
    pub vague: bool,
    /// How often each event was indexed.
    pub indexed: BTreeMap<u128, u32>,
    seen: Vec<Seen>,
    acks: BTreeMap<String, Channel>,
}

#[derive(Default)]
struct Channel {
    next: u64,
    /// Open ids, with how often each was asked for.
    open: BTreeMap<u64, u32>,
}

/// The running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Server {
    url: String,
    inner: Arc<Mutex<Inner>>,
}

type Answer = (u16, String);

fn says(status: u16, code: u64) -> Answer {
    (status, json!({"text": "about SECRET-VIN", "code": code}).to_string())
}

impl Server {
    /// Starts one on a free port.
    pub async fn start() -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server { url, inner: Arc::new(Mutex::new(Inner { slow: Some(0), ..Inner::default() })) };
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    /// What it holds and how it behaves, to look at and to change.
    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// All requests so far whose path ends so.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        let ends = |seen: &&Seen| seen.line.split('?').next().unwrap().ends_with(path);
        self.inner().seen.iter().filter(ends).cloned().collect()
    }

    /// A configuration that points here, with more lines.
    pub fn config(&self, more: &str) -> SplunkConfig {
        toml::from_str(&format!("url = '{}'\ntoken = '{TOKEN}'\n{more}", self.url)).unwrap()
    }
}

impl Inner {
    fn write(&mut self, seen: &Seen) -> Answer {
        let channel = seen.headers.get("x-splunk-request-channel").map(|value| value.to_str().unwrap());
        if let Some(answer) = self.wrong_channel(channel) {
            return answer;
        }
        let mut events = Vec::new();
        for event in serde_json::Deserializer::from_str(&seen.text).into_iter::<Json>() {
            match event {
                Ok(event) => events.push(event),
                Err(_) => return says(400, 6),
            }
        }
        if events.is_empty() {
            return says(400, 5);
        }
        let mut taken = 0;
        let mut answer = json!({"text": "Success", "code": 0});
        for (at, event) in events.iter().enumerate() {
            if let Some(code) = complaint(event).or_else(|| self.bad.get(&id(event)).copied()) {
                let number = if code == 7 { at + 1 } else { at };
                answer = json!({"text": "about SECRET-VIN", "code": code, "invalid-event-number": number});
                break;
            }
            *self.indexed.entry(id(event)).or_default() += 1;
            taken += 1;
            if event.as_object().unwrap().keys().any(|key| !KEYS.contains(&key.as_str())) {
                break;
            }
        }
        if let (true, true, Some(channel)) = (self.ack, taken > 0, channel) {
            let channel = self.acks.entry(channel.to_string()).or_default();
            answer["ackId"] = channel.next.into();
            channel.open.insert(channel.next, 0);
            channel.next += 1;
        }
        if self.vague {
            answer.as_object_mut().unwrap().remove("invalid-event-number");
        }
        (if answer["code"] == json!(0) { 200 } else { 400 }, answer.to_string())
    }

    fn wrong_channel(&self, channel: Option<&str>) -> Option<Answer> {
        let is_guid = |text: &str| {
            let parts: Vec<usize> = text.split('-').map(str::len).collect();
            parts == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
        };
        match channel {
            None if self.ack => Some(says(400, 10)),
            Some(channel) if !is_guid(channel) => Some(says(400, 11)),
            _ => None,
        }
    }

    fn ask(&mut self, seen: &Seen) -> Answer {
        let channel = seen.line.split("channel=").nth(1);
        if !self.ack {
            return says(400, 14);
        }
        if let Some(answer) = self.wrong_channel(channel) {
            return answer;
        }
        let asked: Json = serde_json::from_str(&seen.text).unwrap();
        let (slow, never) = (self.slow, self.never.clone());
        let channel = self.acks.entry(channel.unwrap().to_string()).or_default();
        let mut acks = serde_json::Map::new();
        for id in asked["acks"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()) {
            let times = channel.open.get_mut(&id).map(|times| std::mem::replace(times, *times + 1));
            let done = times.zip(slow).is_some_and(|(times, slow)| times >= slow) && !never.contains(&id);
            if done {
                channel.open.remove(&id);
            }
            acks.insert(id.to_string(), done.into());
        }
        (200, json!({"acks": acks}).to_string())
    }

    /// The server forgets all channels, and counts anew.
    pub fn restart(&mut self) {
        self.acks.clear();
    }
}

/// The code that an event is refused with.
fn complaint(event: &Json) -> Option<u64> {
    let scalar = |value: &Json| value.is_string() || value.is_number();
    let flat = |value: &Json| scalar(value) || value.as_array().is_some_and(|items| items.iter().all(scalar));
    match &event["event"] {
        _ if event.get("event").is_none() => Some(12),
        Json::Null | Json::Bool(false) => Some(6),
        Json::String(text) if text.trim().is_empty() => Some(13),
        _ if !event["fields"].as_object().is_none_or(|fields| fields.values().all(flat)) => Some(15),
        _ => None,
    }
}

fn unwelcome(seen: &Seen) -> Option<Answer> {
    let token = seen.headers.get("authorization").map(|value| value.to_str().unwrap());
    match token.map(|value| value.strip_prefix("Splunk ")) {
        None => Some(says(401, 2)),
        Some(None) => Some(says(401, 3)),
        Some(Some(token)) if token != TOKEN => Some(says(403, 4)),
        Some(Some(_)) => None,
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response<Body> {
    let seen = Seen::of(request).await;
    let told = {
        let mut inner = server.inner();
        inner.seen.push(seen.clone());
        let ask = seen.line.contains("/ack");
        let told = if ask { inner.asks.pop_front() } else { inner.writes.pop_front() };
        match told {
            Some(Reply::Status(status, headers, body)) => Some((status, headers, body)),
            Some(reply) => {
                let (status, body) = if ask { inner.ask(&seen) } else { inner.write(&seen) };
                let mut body: Json = serde_json::from_str(&body).unwrap();
                match reply {
                    Reply::Taken(code) => {
                        if status == 200 {
                            body["code"] = code.into();
                        }
                        Some((status, vec![], body.to_string()))
                    }
                    _ => None,
                }
            }
            None => {
                let path = seen.line.split(['?', ' ']).nth(1).unwrap_or_default();
                let (status, body) = match (unwelcome(&seen), path) {
                    (Some(answer), _) => answer,
                    (None, "/services/collector/event") => inner.write(&seen),
                    (None, "/services/collector/ack") => inner.ask(&seen),
                    (None, _) => (404, "<html>no such thing</html>".into()),
                };
                Some((status, vec![("set-cookie", "sticky=a1; Path=/; HttpOnly")], body))
            }
        }
    };
    let Some((status, headers, body)) = told else { return std::future::pending().await };
    let response = Response::builder().status(status);
    headers.iter().fold(response, |r, (name, value)| r.header(*name, *value)).body(body.into()).unwrap()
}
