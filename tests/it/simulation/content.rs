//! Streams, rule sets and records: every kind of detector, several ways to edit a set, every way in which a
//! record can be late, odd or broken.

use std::sync::{Arc, OnceLock};

use fleetwarden::diagnostic::{Gravity, Source};
use fleetwarden::rule::{self, RuleFile};
use fleetwarden::runtime::worker::Compiled;
use fleetwarden::schema::{self, Schema};

use super::random::Random;
use super::world::SECOND;

/// The stream whose broker times are the broker's own, and the one whose are the producers'.
pub const STREAMS: [&str; 2] = ["cars", "doors"];

/// What is compiled once for all seeds.
pub struct Content {
    pub schemas: Vec<Arc<Schema>>,
    /// Editions of the rules, each made from the one before as somebody would edit it.
    pub sets: Vec<Compiled>,
}

fn schema(topic: &str) -> Source {
    let text = format!(
        "doc = \"x\"\ntopic = \"{topic}\"\ntime = \"ts\"\nkey = \"k\"\n[fields]\n\
         ts = {{ type = \"timestamp\", unit = \"us\", doc = \"x\" }}\nk = {{ type = \"string\", doc = \"x\" }}\n\
         x = {{ type = \"float\", doc = \"x\" }}\nok = {{ type = \"bool\", doc = \"x\" }}\n\
         acct = {{ type = \"string\", doc = \"x\" }}\n"
    );
    Source { path: format!("{topic}.toml"), text }
}

/// Every kind of detector and of judgement, by name, stream and table.
const RULES: [(&str, &str, &str); 11] = [
    ("match-cars", "cars", "[match]\nwhere = \"ok AND x > 6\"\nkey = [\"k\"]\n"),
    (
        "suppressed",
        "cars",
        "[match]\nwhere = \"ok\"\nkey = [\"k\"]\n[suppress]\nfor = \"6s\"\n\
         [[escalate]]\nwhen = \"x >= 8\"\nseverity = \"high\"\nrisk = 70\n",
    ),
    (
        "on-event",
        "cars",
        "[threshold]\nkey = [\"k\"]\nwindow = \"5s\"\nhaving = \"count(*) >= 3\"\n\
         [[escalate]]\nwhen = \"max(x) >= 7\"\nseverity = \"high\"\nrisk = 70\n",
    ),
    (
        "at-close",
        "cars",
        "[threshold]\nkey = [\"k\"]\nwindow = \"4s\"\nhaving = \"count(*) >= 2 AND count(*) <= 4\"\n",
    ),
    ("few", "cars", "[threshold]\nkey = [\"k\"]\nwindow = \"tumbling 5s\"\nhaving = \"count(*) < 3\"\n"),
    (
        "distinct",
        "cars",
        "[threshold]\nkey = [\"k\"]\nwindow = \"8s\"\nhaving = \"count(DISTINCT acct) >= 3\"\n",
    ),
    (
        "learned",
        "cars",
        "[baseline]\nkey = [\"k\"]\nwindow = \"2s\"\nvalue = \"count(*)\"\nmethod = \"poisson\"\nlearn = 10\n",
    ),
    ("odd", "doors", "[baseline]\nkey = [\"k\"]\nvalue = \"x\"\nmethod = \"robust\"\nlearn = 10\n"),
    ("match-doors", "doors", "[match]\nwhere = \"ok\"\nkey = [\"k\"]\n"),
    (
        "tumbling",
        "doors",
        "[threshold]\nkey = [\"k\"]\nwindow = \"tumbling 4s\"\nhaving = \"count(*) >= 2 AND avg(x) > 1\"\n",
    ),
    (
        "by-arrival",
        "doors",
        "[threshold]\nkey = [\"k\"]\nclock = \"arrival\"\nwindow = \"3s\"\nhaving = \"count(*) >= 3\"\n",
    ),
];

/// One edition: how each rule of [`RULES`] reads in it; none: it is not there.
fn edition(number: usize, name: &str, table: &str) -> Option<(String, String)> {
    let title = match (number, name) {
        (2.., "on-event") => "other words",
        _ => "x",
    };
    let table = match (number, name) {
        (1.., "at-close") => table.replace("<= 4", "<= 5"),
        (2.., "match-cars") => table.replace("x > 6", "x > 5"),
        (3.., "suppressed") => table.replace("6s", "4s"),
        _ => table.to_string(),
    };
    let gone = matches!((number, name), (0, "distinct") | (1, "few" | "tumbling") | (3, "match-doors"));
    (!gone).then(|| (title.to_string(), table))
}

fn rules(number: usize, schemas: &[Arc<Schema>]) -> Compiled {
    let file = |(name, stream, table): &(&str, &str, &str)| {
        let (title, table) = edition(number, name, table)?;
        let text = format!(
            "title = \"{title}\"\nseverity = \"low\"\nrisk = 10\nstream = \"{stream}\"\nblind_spots = \"x\"\n\
             triage = \"x\"\n{table}"
        );
        Some(RuleFile { source: Source { path: format!("{name}.toml"), text } })
    };
    let files: Vec<RuleFile> = RULES.iter().filter_map(file).collect();
    let loaded = rule::load(&files, schemas);
    let errors: Vec<_> = loaded.problems.iter().filter(|p| p.gravity == Gravity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    Compiled { rules: Arc::new(loaded.rules), schemas: schemas.into() }
}

/// Compiled at the first call.
pub fn content() -> &'static Content {
    static CONTENT: OnceLock<Content> = OnceLock::new();
    CONTENT.get_or_init(|| {
        let (schemas, problems) = schema::load(&STREAMS.map(schema));
        assert!(problems.is_empty(), "{problems:#?}");
        let sets = (0..4).map(|number| rules(number, &schemas)).collect();
        Content { schemas, sets }
    })
}

/// The text of a record written at `now` for one of the keys of a partition.
pub fn payload(random: &mut Random, partition: i32, now: i64) -> Vec<u8> {
    if random.percent(5) {
        return b"{\"k\": not json".to_vec();
    }
    let behind = match random.between(0, 20) {
        0 => random.between(0, 20 * SECOND),
        1..=3 => random.between(0, 6 * SECOND),
        4 => -random.between(0, 400 * SECOND),
        5 => now - 1_000_000,
        _ => random.between(0, SECOND / 2),
    };
    let key = random.between(0, 3);
    let x = match random.between(0, 12) {
        0 => 500,
        _ => random.between(0, 9),
    };
    let (ok, acct) = (random.percent(30), random.between(0, 4));
    let ts = now - behind;
    format!("{{\"ts\":{ts},\"k\":\"{partition}-{key}\",\"x\":{x},\"ok\":{ok},\"acct\":\"a{acct}\"}}")
        .into_bytes()
}
