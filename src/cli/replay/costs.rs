//! What each rule costs: it is run alone over records that are at hand, beside a run of no rule at all.
//!
//! What rules share (a filter, a column, a key) is cheaper together than the sum of what they cost alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::record;
use crate::event::{Limits, Record};
use crate::files::Line;
use crate::rule::RuleSet;
use crate::runtime::replay::Replay;
use crate::runtime::run::without;
use crate::schema::Schema;

/// Records that are tried.
const MOST: usize = 20_000;

/// Records that are folded at once.
const BATCH: usize = 8_192;

/// Times that each rule is tried; the fastest counts.
const TIMES: usize = 3;

/// Rules that are named.
const NAMED: usize = 10;

/// Rules, and records to try them on.
pub struct Costs {
    rules: RuleSet,
    schemas: Vec<Arc<Schema>>,
    limits: Limits,
    lines: Vec<Line>,
}

impl Costs {
    /// No records yet.
    pub fn new(rules: &RuleSet, schemas: &[Arc<Schema>], limits: &Limits) -> Costs {
        Costs { rules: rules.clone(), schemas: schemas.to_vec(), limits: limits.clone(), lines: Vec::new() }
    }

    /// Keeps records, as long as there is room.
    pub fn keep(&mut self, lines: &[Line]) {
        let room = MOST - self.lines.len().min(MOST);
        self.lines.extend(lines.iter().take(room).cloned());
    }

    /// Tries every rule on the records of its stream, and says what it took, the slowest first.
    pub fn table(&self) -> String {
        let names: Vec<String> = self.rules.rules.iter().map(|rule| rule.info.id.clone()).collect();
        let mut nothing: BTreeMap<&str, f64> = BTreeMap::new();
        let mut costs: Vec<(f64, &str)> = Vec::new();
        for rule in &self.rules.rules {
            let (id, stream) = (rule.info.id.as_str(), &*rule.stream);
            let reading = *nothing.entry(stream).or_insert_with(|| self.time(stream, &names));
            let others: Vec<String> = names.iter().filter(|other| *other != id).cloned().collect();
            costs.push(((self.time(stream, &others) - reading).max(0.0), id));
        }
        costs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        told(&costs, self.lines.len())
    }

    /// Microseconds that a thousand records of a stream take without some rules; 0 if there are none.
    fn time(&self, stream: &str, gone: &[String]) -> f64 {
        let lines: Vec<&Line> = self.lines.iter().filter(|line| *line.partition.stream == *stream).collect();
        if lines.is_empty() {
            return 0.0;
        }
        let rules = Arc::new(without(&self.rules, gone, &self.schemas));
        let once = |_| {
            let mut replay = Replay::new(rules.clone(), &self.schemas, &self.limits);
            let began = Instant::now();
            for lines in lines.chunks(BATCH) {
                let records: Vec<Record<'_>> =
                    lines.iter().map(|line| record(line, replay.source(&line.partition))).collect();
                replay.push(&records);
            }
            began.elapsed().as_secs_f64()
        };
        (0..TIMES).map(once).fold(f64::MAX, f64::min) * 1e9 / lines.len() as f64
    }
}

/// A line a rule.
fn told(costs: &[(f64, &str)], records: usize) -> String {
    let mut out = format!("{:40} µs per 1,000 records of its stream, beyond reading them\n", "slowest rules");
    for (cost, id) in costs.iter().take(NAMED) {
        out.push_str(&format!("{id:40} {cost:>12.0}\n"));
    }
    let others = costs.len().saturating_sub(NAMED);
    out.push_str(&format!(
        "{others} other rules cost less; each was tried alone on the first {records} records\n"
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_are_named_and_the_others_counted() {
        let names: Vec<String> = (0..12).map(|n| format!("rule-{n}")).collect();
        let costs: Vec<(f64, &str)> =
            (0..12).map(|n| (f64::from(12 - n), names[n as usize].as_str())).collect();
        let text = told(&costs, 1_000);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words.len(), 12);
        assert_eq!(
            (words[1].as_slice(), words[10].as_slice()),
            (&["rule-0", "12"][..], &["rule-9", "3"][..])
        );
        assert!(text.ends_with("2 other rules cost less; each was tried alone on the first 1000 records\n"));
    }
}
