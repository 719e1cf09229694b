//! What each rule costs: it is run alone over records that are at hand, beside a run of no rule at all.
//!
//! What rules share (a filter, a column, a key) is cheaper together than the sum of what they cost alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

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

    /// Tries every rule, and says what it took, the slowest first.
    pub fn table(&self) -> String {
        let names: Vec<String> = self.rules.rules.iter().map(|rule| rule.info.id.clone()).collect();
        let nothing = self.time(&names);
        let mut costs: Vec<(Duration, &String)> = names
            .iter()
            .map(|id| {
                let others: Vec<String> = names.iter().filter(|other| *other != id).cloned().collect();
                (self.time(&others).saturating_sub(nothing), id)
            })
            .collect();
        costs.sort_by(|a, b| b.cmp(a));
        told(&costs, nothing, self.lines.len())
    }

    /// How long the records take without some rules.
    fn time(&self, gone: &[String]) -> Duration {
        let rules = Arc::new(without(&self.rules, gone, &self.schemas));
        let once = |_| {
            let mut replay = Replay::new(rules.clone(), &self.schemas, &self.limits);
            let began = Instant::now();
            for lines in self.lines.chunks(BATCH) {
                let records: Vec<Record<'_>> =
                    lines.iter().map(|line| record(line, replay.source(&line.partition))).collect();
                replay.push(&records);
            }
            began.elapsed()
        };
        (0..TIMES).map(once).min().unwrap_or_default()
    }
}

/// Microseconds for a thousand records.
fn told(costs: &[(Duration, &String)], nothing: Duration, records: usize) -> String {
    let each = |time: Duration| time.as_secs_f64() * 1e9 / records.max(1) as f64;
    let mut out = format!("{:40} {:>12}   alone, over {records} records\n", "slowest rules", "µs per 1,000");
    for (time, id) in costs.iter().take(NAMED) {
        out.push_str(&format!("{id:40} {:>12.0}\n", each(*time)));
    }
    let rest: Duration = costs.iter().skip(NAMED).map(|(time, _)| *time).sum();
    out.push_str(&format!(
        "{:40} {:>12.0}\n",
        format!("{} others", costs.len().saturating_sub(NAMED)),
        each(rest)
    ));
    out.push_str(&format!("{:40} {:>12.0}\n", "reading and checking records", each(nothing)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_come_first_and_the_others_are_summed() {
        let names: Vec<String> = (0..12).map(|n| format!("rule-{n}")).collect();
        let time = |n: usize| Duration::from_micros(12 - n as u64);
        let costs: Vec<(Duration, &String)> = names.iter().enumerate().map(|(n, id)| (time(n), id)).collect();
        let text = told(&costs, Duration::from_millis(1), 1_000);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words.len(), 13);
        assert_eq!(
            (words[1].as_slice(), words[10].as_slice()),
            (&["rule-0", "12"][..], &["rule-9", "3"][..])
        );
        assert_eq!(words[11], ["2", "others", "3"]);
        assert_eq!(words[12].last(), Some(&"1000"));
    }
}
