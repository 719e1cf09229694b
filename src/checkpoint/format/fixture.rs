//! Checkpoints of rules of every kind, for tests.

use std::sync::Arc;

use crate::diagnostic::{Gravity, Source};
use crate::event::{Checkpoint, Limits, PartitionId, Record, Timestamp};
use crate::rule::{RuleFile, RuleSet, load};
use crate::runtime::replay::Replay;
use crate::schema::{self, Schema};

const START: i64 = 1_800_000_000_000_000;

/// Rules whose memory holds something of everything that can be saved, over the stream `t`.
pub fn rules() -> (Arc<RuleSet>, Vec<Arc<Schema>>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/schemas/t.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let (schemas, _) = schema::load(&[Source { path: "t.toml".into(), text }]);
    let head = "title = \"x\"\nseverity = \"low\"\nrisk = 1\nstream = \"t\"\nblind_spots = \"x\"\n\
                triage = \"x\"\n";
    let rule = |name: &str, body: &str| RuleFile {
        source: Source { path: format!("{name}.toml"), text: format!("{head}{body}") },
    };
    let window = |window: &str, having: &str| {
        format!("[threshold]\nkey = [\"k\", \"i\"]\nwindow = \"{window}\"\nhaving = \"{having}\"\n")
    };
    let files = [
        rule(
            "cohort",
            "[baseline]\nkey = [\"k\"]\nvalue = \"x\"\nmethod = \"robust\"\nlearn = 5\n\
                        cohort = [\"acct\"]\n",
        ),
        rule("count", &(window("60s", "count(*) FILTER (WHERE ok) >= 2") + "[suppress]\nfor = \"1h\"\n")),
        rule("distinct", &window("10m", "count(DISTINCT acct) >= 3 AND sum(x) > 1 AND avg(n) > 0")),
        rule("every", "[match]\nwhere = \"ok\"\n[suppress]\nfor = \"1h\"\n"),
        rule("lists", &window("tumbling 1m", "count(*) >= 2 AND max(x) > 0 AND stddev(x) > 0")),
        rule(
            "poisson",
            "[baseline]\nkey = [\"k\"]\nwindow = \"tumbling 1m\"\nvalue = \"count(*)\"\n\
                         method = \"poisson\"\n",
        ),
        rule("still", "[match]\nwhere = \"n > 5\"\n"),
    ];
    let loaded = load(&files, &schemas);
    assert!(loaded.problems.iter().all(|p| p.gravity != Gravity::Error), "{:#?}", loaded.problems);
    (Arc::new(loaded.rules), schemas)
}

/// The partition after some rows of so many keys.
pub fn checkpoint(keys: i64) -> Checkpoint {
    let (rules, schemas) = rules();
    let mut replay = Replay::new(rules, &schemas, &Limits::default());
    let source = replay.source(&PartitionId { stream: "t".into(), index: 3 });
    let payload = |at: i64| {
        let (key, time) = (at % keys, START + at * 3_000_000);
        let ok = at % 3 == 0;
        format!(
            r#"{{"ts":{time},"k":"V{key}","x":{at}.25,"n":{key},"i":{key},"m":1,"ok":{ok},"acct":"a{}"}}"#,
            at % 5
        )
    };
    let texts: Vec<String> = (0..keys * 8).map(payload).collect();
    let records: Vec<Record<'_>> = (0..)
        .zip(&texts)
        .map(|(offset, text)| Record {
            source,
            offset,
            broker_time: Timestamp(START + offset * 3_000_000),
            payload: text.as_bytes(),
            broken: None,
        })
        .collect();
    replay.push(&records);
    let mut checkpoint = replay.checkpoints().remove(0);
    (checkpoint.epoch, checkpoint.journal, checkpoint.previous) = (17, 21, Some(4711));
    checkpoint
}
