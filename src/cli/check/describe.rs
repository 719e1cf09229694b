//! How a rule runs, and what its author may not expect of that.

use crate::alert::EntityType;
use crate::rule::expr::node::Op;
use crate::rule::learned::Measure;
use crate::rule::{Clock, Kind, Mode, Placement, Rule, Threshold, Window};
use crate::schema::Schema;

/// One line on how a rule runs.
pub fn describe(rule: &Rule) -> String {
    let judged = match &rule.kind {
        Kind::Match(_) => "fires on each event".to_string(),
        Kind::Threshold(threshold) => windowed(threshold.window, threshold.on_event),
        Kind::Baseline(baseline) => match &baseline.measure {
            Measure::Event(_) => "judges each event by its key's normal".to_string(),
            Measure::Window(window) => {
                format!("{}, by its key's normal", windowed(window.spec.window, window.spec.on_event))
            }
        },
    };
    let place = match rule.placement {
        Placement::Partition => "in the partition",
        Placement::Exchange => "on the exchange: its key does not hold the stream's key",
    };
    let mode = match rule.mode {
        Mode::Live => "",
        Mode::Shadow => " · shadow: sends nothing",
        Mode::BuildingBlock => " · building block: goes to no sink",
    };
    let key = match rule.info.key.join(", ") {
        key if key.is_empty() => "the whole fleet".to_string(),
        key => format!("by {key}"),
    };
    format!("{} · {judged} · {key} · {place}{mode}", rule.info.id)
}

/// When a window is judged.
fn windowed(window: Window, on_event: bool) -> String {
    let window = match window {
        Window::Sliding(length) => format!("the last {}", span(length)),
        Window::Tumbling(length) => format!("each {} of the clock", span(length)),
        Window::Session(length) => format!("each session, which a pause of {} ends", span(length)),
    };
    match on_event {
        true => format!("fires on the event that completes it, over {window}"),
        false => format!("judged when it closes, over {window}"),
    }
}

/// A duration in its largest whole unit.
pub fn span(micros: i64) -> String {
    let units =
        [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms")];
    match units.iter().find(|(unit, _)| micros % unit == 0) {
        Some((unit, name)) => format!("{}{name}", micros / unit),
        None => format!("{micros} µs"),
    }
}

/// What is right and may yet surprise.
pub fn notes(rule: &Rule, schema: &Schema) -> Vec<String> {
    [split_suppression(rule, schema), event_clock(rule, schema), endless(rule)]
        .into_iter()
        .flatten()
        .collect()
}

/// A session that somebody keeps going is never over.
fn endless(rule: &Rule) -> Option<String> {
    let Kind::Threshold(Threshold { window: Window::Session(pause), on_event: false, .. }) = &rule.kind
    else {
        return None;
    };
    Some(format!(
        "a key that never pauses for {} is never judged: a condition that only grows (`count(*) >= …`) is \
         judged on the event",
        span(*pause)
    ))
}

/// A match stays in its partition, and so does what it has said.
fn split_suppression(rule: &Rule, schema: &Schema) -> Option<String> {
    let suppress = rule.suppress.as_ref().filter(|_| matches!(rule.kind, Kind::Match(_)))?;
    let own: Vec<usize> = (0..rule.key.len()).collect();
    let columns = suppress.by.as_ref().unwrap_or(&own);
    let holds =
        |key| columns.iter().filter_map(|c| rule.inputs.values.get(*c)).any(|n| n.op == Op::Column(key));
    let lacks = match schema.key {
        Some(key) if holds(key) => return None,
        Some(key) => format!("its key lacks {}, by which the stream is partitioned", schema.column_name(key)),
        None => "the stream is not partitioned by a field".to_owned(),
    };
    Some(format!("suppresses in each partition for itself: {lacks}"))
}

/// Counts of what a tester does to a car, by times that the tester may set.
fn event_clock(rule: &Rule, schema: &Schema) -> Option<String> {
    let Kind::Threshold(threshold) = &rule.kind else { return None };
    let by_vehicle = rule.inputs.values.iter().take(rule.key.len()).any(|node| match node.op {
        Op::Column(column) => {
            schema.fields.get(column).is_some_and(|field| field.entity == Some(EntityType::Vehicle))
        }
        _ => false,
    });
    let counts = threshold.count.is_some() && by_vehicle && rule.clock == Clock::Event;
    (counts && &*rule.stream == "diagnostics").then(|| {
        "counts by event time, which whoever is in the car may set: clock = \"arrival\" counts by the \
         broker's"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;
    use crate::rule::{RuleFile, load};
    use crate::schema::built_in;

    fn noted(stream: &str, rest: &str) -> Vec<String> {
        let text = format!("title = \"T\"\nseverity = \"low\"\nstream = \"{stream}\"\n{rest}");
        let file = RuleFile { source: Source { path: "r.toml".into(), text } };
        let schemas = built_in();
        let loaded = load(&[file], &schemas);
        assert_eq!(loaded.rules.rules.len(), 1, "{:#?}", loaded.problems);
        let schema = schemas.iter().find(|schema| *schema.name == *stream).unwrap();
        notes(&loaded.rules.rules[0], schema)
    }

    #[test]
    fn suppression_of_a_match_is_by_partition() {
        let rule = |key: &str, suppress: &str| {
            format!("[match]\nkey = [{key}]\nwhere = \"speed > 5\"\n[suppress]\nfor = \"1h\"\n{suppress}")
        };
        assert_eq!(noted("telemetry", &rule("\"vin\"", "")), [""; 0]);
        assert_eq!(
            noted("telemetry", &rule("\"model\"", "")),
            ["suppresses in each partition for itself: its key lacks vin, by which the stream is \
                 partitioned"]
        );
        assert_eq!(noted("telemetry", &rule("\"model\"", "by = [\"vin\"]")), [""; 0]);
        assert_eq!(noted("telemetry", &rule("\"vin\"", "by = [\"model\"]")).len(), 1);
        assert_eq!(noted("telemetry", "[match]\nkey = [\"model\"]\nwhere = \"speed > 5\"\n"), [""; 0]);
        let trail = "[match]\nwhere = \"event_name = 'A'\"\n[suppress]\nfor = \"1h\"\n";
        assert!(noted("cloudtrail", trail)[0].ends_with("the stream is not partitioned by a field"));
    }

    #[test]
    fn counts_on_a_bus_are_better_by_arrival() {
        let rule = |key: &str, having: &str, clock: &str| {
            format!(
                "[threshold]\nkey = [\"{key}\"]\nwindow = \"60s\"\nhaving = \"{having}\"\n\
                 clock = \"{clock}\"\n"
            )
        };
        let noted = |key, having, clock| noted("diagnostics", &rule(key, having, clock)).len();
        assert_eq!(noted("vin", "count(*) >= 6", "event"), 1);
        assert_eq!(noted("vin", "count(*) >= 6", "arrival"), 0);
        assert_eq!(noted("vin", "max(service) >= 6", "event"), 0);
        assert_eq!(noted("ecu", "count(*) >= 6", "event"), 0);
    }

    #[test]
    fn durations_for_people() {
        assert_eq!(
            [60_000_000, 5_400_000_000, 250_000, 86_400_000_000].map(span),
            ["1m", "90m", "250ms", "1d"]
        );
    }
}
