//! The figures for people, as tables, and for machines, as JSON.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::Report;
use crate::fleet::score::{ClassScore, RuleScore, quantile};

/// A span of time, short: `0.4 s`, `12 s`, `3 min`, `2.1 h`.
pub(super) fn span(ms: Option<i64>) -> String {
    match ms {
        None => "–".into(),
        Some(ms @ ..10_000) => format!("{:.1} s", ms as f64 / 1e3),
        Some(ms @ ..120_000) => format!("{:.0} s", ms as f64 / 1e3),
        Some(ms @ ..7_200_000) => format!("{:.0} min", ms as f64 / 6e4),
        Some(ms) => format!("{:.1} h", ms as f64 / 3.6e6),
    }
}

/// Prints everything to stdout.
pub(super) fn print(report: &Report, show_false: usize) {
    let (claimed, unclaimed): (Vec<_>, Vec<_>) =
        report.score.classes.iter().partition(|(_, class)| class.claimed);
    println!("{:28} {:8} {:>7} {:>6} {:>9} {:>9}", "attack", "variant", "found", "of", "median", "p95");
    for ((class, variant), of) in &claimed {
        println!("{}", class_line(class, variant, of));
    }
    if !unclaimed.is_empty() {
        println!("\nno rule claims these; found = noticed by any rule");
        for ((class, variant), of) in &unclaimed {
            let noticed: Vec<&str> = of.rules.iter().map(String::as_str).collect();
            let head = format!("{class:28} {variant:8} {:>7} {:>6}", of.found_by_any, of.attacks);
            println!("{head}  {}", noticed.join(" "));
        }
        if !report.later.is_empty() {
            println!("claimed only after --warm-up of 3d or more: {}", report.later.join(", "));
        }
    }
    println!(
        "\n{:44} {:>7} {:>7} {:>9} {:>7} {:>9}",
        "rule", "alerts", "false", "precision", "recall", "median"
    );
    for (id, rule) in &report.score.rules {
        println!("{}", rule_line(id, rule));
    }
    for index in report.score.false_alerts.iter().take(show_false) {
        if let Some(alert) = report.alerts.get(*index) {
            let names: Vec<&str> = alert.names.iter().map(String::as_str).collect();
            let (rule, severity) = (&alert.rule, alert.severity.name());
            println!("false: {severity:8} {rule:44} {} {}", alert.at_ms, names.join(" "));
        }
    }
    for (class, of) in claimed.iter().filter(|(_, of)| !of.missed.is_empty()) {
        println!("missed: {}/{} {}", class.0, class.1, of.missed.join(" "));
    }
    println!("{}", verdict(report));
}

fn class_line(class: &str, variant: &str, of: &ClassScore) -> String {
    format!(
        "{class:28} {variant:8} {:>7} {:>6} {:>9} {:>9}",
        of.found,
        of.attacks,
        span(quantile(&of.delays_ms, 0.5)),
        span(quantile(&of.delays_ms, 0.95))
    )
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn percent(share: Option<f64>) -> String {
    share.map_or("–".into(), |share| format!("{:.1} %", share * 100.0))
}

fn rule_line(id: &str, rule: &RuleScore) -> String {
    format!(
        "{id:44} {:>7} {:>7} {:>9} {:>7} {:>9}",
        rule.alerts,
        rule.false_alerts,
        percent(share(rule.alerts - rule.false_alerts, rule.alerts)),
        percent(share(rule.found, rule.claimed)),
        span(quantile(&rule.delays_ms, 0.5))
    )
}

/// Found and played, of claimed classes.
pub(super) fn totals(report: &Report) -> (usize, usize) {
    let claimed = || report.score.classes.values().filter(|class| class.claimed);
    (claimed().map(|class| class.found).sum(), claimed().map(|class| class.attacks).sum())
}

/// All in a sentence.
pub(super) fn verdict(report: &Report) -> String {
    let (found, attacks) = totals(report);
    let wrong = report.score.false_alerts.len();
    let by: Vec<String> = report
        .score
        .false_by_severity
        .iter()
        .rev()
        .map(|(severity, count)| format!("{count} {}", severity.name()))
        .collect();
    let by = if by.is_empty() { String::new() } else { format!(" ({})", by.join(", ")) };
    format!(
        "\n{found} of {attacks} claimed attacks found, {wrong} false alerts{by} = {:.2} per 1,000 vehicle-days; \
         {} events of {} vehicles, {} rules, {:.1} s.",
        report.score.per_thousand(wrong),
        report.events,
        report.played.vehicles,
        report.score.rules.len(),
        report.seconds
    )
}

/// Everything as one object.
pub(super) fn json(report: &Report) -> Json {
    let delay = |delays: &[i64], q| quantile(delays, q).map(|ms| ms as f64 / 1e3);
    let classes: Vec<Json> = report
        .score
        .classes
        .iter()
        .map(|((class, variant), of)| {
            json!({
                "class": class, "variant": variant, "claimed": of.claimed, "attacks": of.attacks,
                "found": of.found, "found_by_any": of.found_by_any, "recall": share(of.found, of.attacks),
                "median_s": delay(&of.delays_ms, 0.5), "p95_s": delay(&of.delays_ms, 0.95),
                "rules": of.rules, "missed": of.missed,
            })
        })
        .collect();
    let rules: Vec<Json> = report
        .score
        .rules
        .iter()
        .map(|(id, rule)| {
            json!({
                "rule": id, "alerts": rule.alerts, "false": rule.false_alerts,
                "precision": share(rule.alerts - rule.false_alerts, rule.alerts),
                "claimed": rule.claimed, "found": rule.found, "recall": share(rule.found, rule.claimed),
                "median_s": delay(&rule.delays_ms, 0.5), "p95_s": delay(&rule.delays_ms, 0.95),
                "false_per_1000_vehicle_days": report.score.per_thousand(rule.false_alerts),
            })
        })
        .collect();
    let by: BTreeMap<&str, usize> =
        report.score.false_by_severity.iter().map(|(severity, count)| (severity.name(), *count)).collect();
    let (found, attacks) = totals(report);
    let wrong = report.score.false_alerts.len();
    json!({
        "vehicles": report.played.vehicles, "seed": report.played.seed, "events": report.events,
        "rejects": report.rejects, "vehicle_days": report.score.vehicle_days, "attacks": attacks,
        "found": found, "recall": share(found, attacks), "lowest_recall": report.score.lowest_recall(),
        "false": wrong, "false_by_severity": by, "seconds": report.seconds,
        "false_per_1000_vehicle_days": report.score.per_thousand(wrong),
        "recall_by_class": report.score.recall_by_class(), "classes": classes, "rules": rules,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_unit_that_reads_best() {
        let shown: Vec<String> =
            [0, 450, 12_000, 150_000, 7_560_000].into_iter().map(|ms| span(Some(ms))).collect();
        assert_eq!(shown, ["0.0 s", "0.5 s", "12 s", "2 min", "2.1 h"]);
        assert_eq!(span(None), "–");
    }
}
