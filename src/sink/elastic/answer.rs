//! What a server answered, and what that means for each alert.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::sink::http::{Answer, short};
use crate::sink::{Outcome, Trouble};

/// Kinds of 400 that are the fault of the configuration, not of the document.
const CONFIGURATION: [&str; 4] = [
    "invalid_index_name_exception",
    "invalid_alias_name_exception",
    "index_closed_exception",
    "validation_exception",
];

#[derive(Deserialize)]
struct Items {
    items: Vec<BTreeMap<String, ItemAnswer>>,
}

#[derive(Deserialize)]
struct ItemAnswer {
    status: u16,
    #[serde(default)]
    error: Json,
}

impl Answer {
    /// One outcome per document, whose indices are `names`; `index` is what they begin with.
    pub fn outcomes(&self, names: &[String], index: &str) -> Result<Vec<Outcome>, Trouble> {
        if !(200..300).contains(&self.status) {
            return Err(self.trouble(index));
        }
        let retry = |why: String| Trouble::Retry { after: self.after, why };
        let Items { items } = serde_json::from_slice(&self.body)
            .map_err(|_| retry(format!("{}: the answer cannot be read", self.status)))?;
        if items.len() != names.len() {
            let why = format!("{}: {} answers to {} documents", self.status, items.len(), names.len());
            return Err(retry(why));
        }
        let first = items.into_iter().map(|item| item.into_values().next()).collect::<Option<Vec<_>>>();
        let items = first.ok_or_else(|| retry(format!("{}: an answer is empty", self.status)))?;
        Ok(items.iter().zip(names).map(|(item, name)| self.outcome(item, name)).collect())
    }

    fn outcome(&self, item: &ItemAnswer, name: &str) -> Outcome {
        let kind = item.error.get("type").and_then(Json::as_str).map_or(String::new(), kind);
        let why = format!("{} {kind} (index {name})", item.status);
        let blocked = |mend: &str| Outcome::Failed(Trouble::Blocked { why: why.clone(), mend: mend.into() });
        match item.status {
            200..=299 => Outcome::Delivered,
            409 => Outcome::Present,
            ..=399 | 408 | 429 | 500.. => Outcome::Failed(Trouble::Retry { after: self.after, why }),
            401 => blocked("check user and password, or api_key"),
            403 if kind == "cluster_block_exception" => {
                blocked("free disk space, or lift the write block of the index")
            }
            403 => blocked("grant create_doc and create_index on the index"),
            404 => blocked("let the server create indices, or create this one"),
            _ if CONFIGURATION.contains(&kind.as_str()) => {
                blocked("see what the server logs about this index")
            }
            _ => Outcome::Refused { why, detail: detail(&item.error) },
        }
    }

    /// A failure of the whole. What the server says in words stays unsaid: it may quote what was sent.
    fn trouble(&self, index: &str) -> Trouble {
        let body = self.json().unwrap_or_default();
        let kind = body.pointer("/error/type").and_then(Json::as_str).map_or(String::new(), kind);
        let why = format!("{} {kind}", self.status).trim_end().to_string();
        let mend = match self.status {
            408 | 429 | 500.. => return Trouble::Retry { after: self.after, why },
            401 => "check user and password, or api_key".to_string(),
            403 => format!("grant create_doc and create_index on {index}-*"),
            300..=399 => "set url to where the server redirects".to_string(),
            404 | 405 => "check that url is that of the server itself".to_string(),
            _ => "check url and what stands between here and the server".to_string(),
        };
        Trouble::Blocked { why, mend }
    }

    /// A template that was not read or not taken. Its reason quotes no document.
    pub fn template_trouble(&self, name: &str) -> Trouble {
        let body = self.json().unwrap_or_default();
        let reason = body.pointer("/error/reason").and_then(Json::as_str).unwrap_or_default();
        match self.trouble(name) {
            Trouble::Blocked { why, mend } => {
                let by_hand = "grant manage_index_templates, or install it by hand and set template = false";
                Trouble::Blocked {
                    why: format!("index template {name:?}: {why} {}", short(reason, 300))
                        .trim_end()
                        .to_string(),
                    mend: if self.status == 401 { mend } else { by_hand.to_string() },
                }
            }
            retry => retry,
        }
    }
}

/// The name of an error; anything that is no name is not repeated.
fn kind(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && text.len() <= 100 { text.to_string() } else { "error".to_string() }
}

/// All reasons, outermost first.
fn detail(error: &Json) -> String {
    let mut reasons = Vec::new();
    let mut cause = Some(error);
    while let Some(inner) = cause {
        reasons.extend(inner.get("reason").and_then(Json::as_str).map(|reason| short(reason, 1000)));
        cause = inner.get("caused_by");
    }
    reasons.join(": ")
}
