//! How much memory the state of a key takes: for estimates, by the real types.

use super::aggregate::{Layout, List};
use super::baseline::Member;
use super::memory::{KeyState, Seen};
use super::panes::{Cut, Pane};
use super::table::Entry;
use crate::event::{Limits, Timestamp, Value};
use crate::rule::learned::{Baseline, Measure, Method};
use crate::rule::{AggFunc, Kind, Rule, Threshold, Window};

/// Bytes of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerKey {
    /// Just seen once.
    pub least: usize,
    /// With a full window: every pane touched, every time of an exact count kept, as many distinct values as
    /// a pane's share of the limit. More is kept only of what comes late.
    pub most: usize,
}

/// Distinct values that a busy window is taken to hold.
const DISTINCT: usize = 256;

/// What a key of this rule takes; none for rules without memory. An estimate: maps are taken to be seven
/// eighths full at best, and allocators to round up by little.
pub fn per_key(rule: &Rule, limits: &Limits) -> Option<PerKey> {
    match &rule.kind {
        Kind::Match(_) => None,
        Kind::Threshold(spec) => Some(threshold(rule.key.len(), spec, limits)),
        Kind::Baseline(spec) => Some(baseline(rule.key.len(), spec, limits)),
    }
}

/// What is learned of a key, and the rows of its open windows.
fn baseline(parts: usize, spec: &Baseline, limits: &Limits) -> PerKey {
    let rows = match &spec.measure {
        Measure::Event(_) => PerKey { least: entry(parts), most: entry(parts) },
        Measure::Window(window) => threshold(parts, &window.spec, limits),
    };
    let learned = match spec.method {
        // The last values.
        Method::Robust => spec.memory * size_of::<f64>(),
        Method::Ewma | Method::Poisson => 0,
    };
    PerKey { least: rows.least + size_of::<Member>(), most: rows.most + size_of::<Member>() + learned }
}

/// The entry of a key in its table, with its packed values and its timer.
fn entry(parts: usize) -> usize {
    let found = (size_of::<u32>() + 1) * 8 / 7;
    let timer = size_of::<(Timestamp, [u64; 2])>();
    size_of::<Entry<KeyState>>() + found + parts * 32 + timer + size_of::<(u32, u32)>()
}

fn threshold(parts: usize, spec: &Threshold, limits: &Limits) -> PerKey {
    let cut = Cut::new(spec);
    let layout = Layout::new(&spec.aggregates);
    let words = size_of_val(layout.nothing());
    let pane = size_of::<Pane>() + words + layout.lists() * size_of::<List>() + values(spec);
    let distinct =
        spec.aggregates.iter().filter(|aggregate| aggregate.func == AggFunc::CountDistinct).count();
    let pair = (size_of::<u128>() + 1) * 8 / 7;
    let panes = match spec.window {
        Window::Tumbling(_) | Window::Session(_) => 2,
        Window::Sliding(_) => usize::try_from(cut.panes).unwrap_or(1),
    };
    let rings: usize = spec.rings.iter().map(|ring| 2 * ring.n as usize * size_of::<Seen>()).sum();
    let (first, all) = if cut.paned { (pane, pane * panes.min(limits.panes)) } else { (0, 0) };
    PerKey {
        least: entry(parts) + first + spec.rings.len() * 4 * size_of::<Seen>() + distinct * pair,
        // A value stands in the sets of its panes, and in the span that is counted as it moves.
        most: entry(parts) + all + rings + distinct * 2 * pair * DISTINCT.min(limits.distinct),
    }
}

/// The texts that `values(x, n)` keeps in a pane.
fn values(spec: &Threshold) -> usize {
    let kept = spec.aggregates.iter().map(|aggregate| match aggregate.func {
        AggFunc::Values(n) => n as usize * (size_of::<Value>() + 32),
        _ => 0,
    });
    kept.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;
    use crate::rule::{RuleFile, load};
    use crate::schema::built_in;

    fn sized(table: &str) -> Option<PerKey> {
        let text = format!("title = \"T\"\nseverity = \"low\"\nstream = \"telemetry\"\n{table}");
        let file = RuleFile { source: Source { path: "r.toml".into(), text } };
        let rules = load(&[file], &built_in()).rules.rules;
        per_key(&rules[0], &Limits::default())
    }

    #[test]
    fn what_remembers_more_takes_more() {
        let rule = |window: &str, having: &str| {
            sized(&format!("[threshold]\nkey = [\"vin\"]\nwindow = \"{window}\"\nhaving = \"{having}\"\n"))
                .unwrap()
        };
        assert_eq!(sized("[match]\nwhere = \"speed > 5\"\n"), None);
        let exact = rule("60s", "count(*) >= 6");
        let panes = rule("60s", "sum(odometer) > 6");
        assert!(exact.least < exact.most && exact.most < panes.most, "{exact:?} {panes:?}");
        assert!(rule("tumbling 60s", "sum(odometer) > 6").most < panes.most);
        assert!(rule("60s", "count(*) >= 600").most > exact.most);
        assert!(rule("60s", "count(DISTINCT region) >= 6").most > exact.most);
        assert!((200..2000).contains(&exact.least), "{exact:?}");
    }
}
