//! Sessions against a plain list of times: whatever the order, the same rows lie together.

use std::sync::Arc;

use proptest::prelude::*;

use crate::diagnostic::Source;
use crate::event::{Limits, PartitionId, Record, Timestamp};
use crate::rule::{RuleFile, RuleSet, load};
use crate::runtime::replay::Replay;
use crate::schema::built_in;

fn rules(having: &str) -> Arc<RuleSet> {
    let text = format!(
        "title = \"T\"\nseverity = \"low\"\nstream = \"telemetry\"\n[threshold]\nkey = [\"vin\"]\n\
         window = \"session 10s\"\nhaving = \"{having}\"\n"
    );
    let file = RuleFile { source: Source { path: "r.toml".into(), text } };
    let loaded = load(&[file], &built_in());
    assert_eq!(loaded.rules.rules.len(), 1, "{:#?}", loaded.problems);
    Arc::new(loaded.rules)
}

/// The windows of the alerts that these times raise, coming in this order within a second.
fn fired(rules: &Arc<RuleSet>, times: &[i64]) -> Vec<(i64, i64)> {
    let mut replay = Replay::new(rules.clone(), &built_in(), &Limits::default());
    let source = replay.source(&PartitionId { stream: Arc::from("telemetry"), index: 0 });
    let payloads: Vec<String> =
        times.iter().map(|time| format!("{{\"vin\":\"V\",\"ts\":{},\"speed\":1}}", time * 1000)).collect();
    let records: Vec<Record<'_>> = (0..)
        .zip(&payloads)
        .map(|(offset, payload)| Record {
            source,
            offset,
            broker_time: Timestamp(1_000_000_000 + offset),
            payload: payload.as_bytes(),
            broken: None,
        })
        .collect();
    let (alerts, rejects) = replay.push(&records);
    assert!(rejects.is_empty());
    alerts.iter().filter_map(|alert| alert.window).map(|(start, end)| (start.0, end.0)).collect()
}

/// First and last time of each session of at least so many rows.
fn sessions(times: &[i64], rows: usize) -> Vec<(i64, i64)> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|one, next| next - one < 10).filter(|run| run.len() >= rows);
    runs.map(|run| (run[0] * 1_000_000, run[run.len() - 1] * 1_000_000)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// It fires in every order or in none, and every session of one order holds what fired in the other.
    #[test]
    fn in_every_order_the_same_sessions_fire(times in prop::collection::vec(0i64..200, 1..24)
        .prop_flat_map(|times| (Just(times.clone()), Just(times).prop_shuffle())))
    {
        let (times, shuffled) = times;
        let rules = rules("count(*) >= 3");
        let whole = sessions(&times, 3);
        for order in [times, shuffled] {
            let fired = fired(&rules, &order);
            let within = |outer: &(i64, i64), inner: &(i64, i64)| outer.0 <= inner.0 && inner.1 <= outer.1 + 10_000_000;
            prop_assert!(whole.iter().all(|whole| fired.iter().any(|fired| within(whole, fired))), "{order:?}");
            prop_assert!(fired.iter().all(|fired| whole.iter().any(|whole| within(whole, fired))), "{order:?}");
        }
    }
}
