//! Any text is a rule file: every mistake in it is told, none panics or hangs, and a rule that loads can be run on its
//! own tests and on hostile events.
//!
//! The input is the text of the file. It is also read as the events of a test, and as what a test expects.

#![no_main]

use std::sync::{Arc, LazyLock};

use fleetwarden::cli::test::Outcome;
use fleetwarden::diagnostic::Source;
use fleetwarden::event::{Limits, PartitionId, Record, Timestamp};
use fleetwarden::rule::expectation::{Bound, Times};
use fleetwarden::rule::{self, Loaded, RuleFile, notation};
use fleetwarden::runtime::replay::Replay;
use fleetwarden::schema::{self, Schema};
use libfuzzer_sys::fuzz_target;

static SCHEMAS: LazyLock<Vec<Arc<Schema>>> = LazyLock::new(schema::built_in);

/// Texts longer than rules are: what is quadratic would only be slow.
const LONGEST: usize = 8 << 10;

/// Events of a test that are worth the time.
const EVENTS: usize = 300;

/// What cars and clouds say when they mean ill: extremes, wrong types, nothing.
const EVENTS_TEXT: &str = include_str!("../events.ndjson");

fuzz_target!(|data: &[u8]| {
    if data.len() > LONGEST {
        return;
    }
    let text = String::from_utf8_lossy(data).into_owned();
    words(&text);
    let source = Source { path: "rules/telemetry/fuzzed.toml".into(), text };
    let files = [RuleFile { source: source.clone() }];
    let loaded = rule::load(&files, &SCHEMAS);
    for problem in &loaded.problems {
        let text = &source.text;
        assert!(text.get(problem.span.clone()).is_some(), "a place in the text: {problem:?}");
        problem.render(text, false);
        problem.json(text);
    }
    run(loaded);
});

/// Small languages within rule files.
fn words(text: &str) {
    for line in text.lines().take(20) {
        Times::parse(line);
        Bound::parse(line);
        notation::offset(line);
    }
    if text.lines().map(|line| line.matches('x').count()).sum::<usize>() < 20 {
        let parsed = notation::parse(text, "seed");
        assert!(parsed.steps.len() <= notation::MOST_EVENTS);
        for problem in parsed.problems {
            assert!(text.get(problem.span.clone()).is_some(), "a place in the text: {problem:?}");
        }
    }
}

fn run(loaded: Loaded) {
    for test in loaded.tests.iter().take(3) {
        if notation::parse(&test.events, &test.name).steps.len() <= EVENTS {
            Outcome::of(test, &loaded.rules, &SCHEMAS).render(test);
        }
    }
    let streams: Vec<Arc<str>> = loaded.rules.rules.iter().map(|rule| rule.stream.clone()).collect();
    let mut replay = Replay::new(Arc::new(loaded.rules), &SCHEMAS, &Limits::default());
    for stream in streams {
        let source = replay.source(&PartitionId { stream, index: 0 });
        let record = |(offset, line): (i64, &'static str)| Record {
            source,
            offset,
            broker_time: Timestamp(1_750_000_000_000_000 + offset * 1_000_000),
            payload: line.as_bytes(),
            broken: None,
        };
        let records: Vec<Record<'_>> = (0..).zip(EVENTS_TEXT.lines()).map(record).collect();
        for part in records.chunks(7) {
            replay.push(part);
        }
        replay.save_and_load();
        replay.tick(Timestamp(1_760_000_000_000_000));
    }
}
