//! An alert as people read it: in two lines, or opened.

use crate::alert::{Alert, Severity};
use crate::event::Value;

/// Characters of a value, and of what was seen in one line.
const VALUE: usize = 40;
const SEEN: usize = 110;

/// When, how bad, which rule, who; below it what was seen.
pub fn line(alert: &Alert, color: bool) -> String {
    line_at(&alert.time.to_string(), alert, color)
}

/// The same with a time of somebody else's choice.
pub fn line_at(time: &str, alert: &Alert, color: bool) -> String {
    let severity = paint(alert.severity, &format!("{:8}", alert.severity.name().to_uppercase()), color);
    let seen = cut(&format!("{} · {}", alert.rule.title, observed(alert, 4).join(", ")), SEEN);
    format!("{time}  {severity}  {:36}  {}{}\n  {seen}", alert.rule.id, cut(&who(alert), 60), raised(alert))
}

/// Everything that somebody needs who must act on it.
pub fn opened(alert: &Alert, color: bool) -> String {
    let rule = &alert.rule;
    let severity = paint(alert.severity, &alert.severity.name().to_uppercase(), color);
    let mut out = format!("{severity}  {} · {}   {}\n", rule.id, rule.title, alert.time);
    let mut line = |head: &str, text: String| {
        if !text.is_empty() {
            out.push_str(&format!("{head:9} {text}\n"));
        }
    };
    line("who", who(alert));
    let window = alert.window.map(|(start, end)| format!("window {start}–{end}"));
    line("what", observed(alert, usize::MAX).into_iter().chain(window).collect::<Vec<_>>().join(" · "));
    let folds = (alert.folds > 0).then(|| format!("folded since the last: {}", alert.folds));
    let so_far: Vec<String> = [Some(raised(alert).trim_start_matches([' ', '▲']).to_owned()), folds]
        .into_iter()
        .flatten()
        .collect();
    line("so far", so_far.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "));
    let named = |head: &str, ids: &[String]| match ids {
        [] => String::new(),
        ids => format!("{head}{}", ids.join(", ")),
    };
    let means = [named("R155 ", &rule.r155), named("", &rule.atm), named("ATT&CK ", &rule.attack)];
    line("means", means.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "));
    line("do", one_line(&rule.triage));
    line("blind", one_line(&rule.blind_spots));
    let evidence: Vec<String> = match alert.evidence.as_slice() {
        [] => Vec::new(),
        [one] => vec![one.to_string()],
        [first, .., last] => vec![format!("{first} … {last}")],
    };
    line(
        "evidence",
        evidence.into_iter().chain([format!("id {}", alert.id_hex())]).collect::<Vec<_>>().join("   "),
    );
    out
}

/// Whom it is about: entities with their types, else the key.
fn who(alert: &Alert) -> String {
    if !alert.entities.is_empty() {
        let named =
            alert.entities.iter().map(|entity| format!("{} {}", entity.kind.name(), text(&entity.value)));
        return named.collect::<Vec<_>>().join(", ");
    }
    let parts = alert.rule.key.iter().zip(&alert.key).map(|(name, value)| format!("{name} {}", text(value)));
    parts.collect::<Vec<_>>().join(", ")
}

fn raised(alert: &Alert) -> String {
    match alert.severity > alert.rule.severity {
        true => format!("   ▲ raised from {}", alert.rule.severity.name()),
        false => String::new(),
    }
}

/// Names and values that were seen, in the order of the rule; what is not there is left out.
fn observed(alert: &Alert, most: usize) -> Vec<String> {
    let known = alert.observed.iter().filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)));
    known.take(most).map(|(name, value)| format!("{name} {}", cut(&text(value), VALUE))).collect()
}

/// A value without the quotes of JSON. Control characters are an attacker's way to rewrite a terminal.
fn text(value: &Value) -> String {
    let text = match value {
        Value::Text(text) => text.to_string(),
        Value::Float(number) => figure(*number),
        other => other.json().to_string(),
    };
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A number with as many digits as somebody reads: three places behind the point, unless it is tiny or huge.
pub fn figure(number: f64) -> String {
    if number != 0.0 && !(1e-3..1e12).contains(&number.abs()) {
        return format!("{number:.3e}");
    }
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most so many characters.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => format!("{}…", text.chars().take(most.saturating_sub(1)).collect::<String>()),
        None => text.to_owned(),
    }
}

/// The colour of a severity, and nothing else has one.
pub fn paint(severity: Severity, text: &str, color: bool) -> String {
    let code = match severity {
        Severity::Critical => "1;31",
        Severity::High => "31",
        Severity::Medium => "33",
        Severity::Low => "36",
        Severity::Info => "2",
    };
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::alert::{Entity, EntityType, Evidence, RuleInfo};
    use crate::event::{PartitionId, Timestamp};

    fn alert() -> Alert {
        let rule = RuleInfo {
            id: "mass-lockout".into(),
            title: "One actor immobilises many vehicles".into(),
            severity: Severity::High,
            risk: 80,
            version: "0".into(),
            kind: "threshold",
            stream: "remote_commands".into(),
            r155: vec!["16.1".into(), "2.1".into()],
            atm: vec!["ATM-T0072".into()],
            attack: vec![],
            triage: "Revoke the actor's tokens;\n  call somebody.".into(),
            blind_spots: String::new(),
            key: vec!["actor_id".into()],
        };
        let partition = PartitionId { stream: "remote_commands".into(), index: 3 };
        let evidence = |offset| Evidence { partition: partition.clone(), offset, index: 0 };
        let second = 1_000_000;
        Alert {
            id: 0xa1,
            rule: Arc::new(rule),
            severity: Severity::Critical,
            risk: 90,
            key: vec![Value::text("a-77")],
            entities: vec![Entity { kind: EntityType::User, value: Value::text("a-\x1b[2J77") }],
            window: Some((Timestamp(0), Timestamp(60 * second))),
            time: Timestamp(60 * second),
            broker_time: Timestamp(60 * second),
            observed: vec![("count_distinct_vin".into(), Value::Int(38)), ("x".into(), Value::Null)],
            count: 38,
            folds: 2,
            evidence: vec![evidence(81_210), evidence(81_300), evidence(81_502)],
            event: None,
        }
    }

    #[test]
    fn numbers_have_as_many_digits_as_somebody_reads() {
        let shown = [100.0, 91.104_386_7, -0.5, 0.0, 1e-9, -2.5e15].map(figure);
        assert_eq!(shown, ["100", "91.104", "-0.5", "0", "1.000e-9", "-2.500e15"]);
    }

    #[test]
    fn two_lines_say_who_and_what() {
        let shown = line(&alert(), false);
        let expected = "1970-01-01T00:01:00.000Z  CRITICAL  mass-lockout                          \
                        user a-\u{fffd}[2J77   ▲ raised from high\n  One actor \
                        immobilises many vehicles · count_distinct_vin 38";
        assert_eq!(shown, expected);
        assert!(line(&alert(), true).contains("\x1b[1;31mCRITICAL\x1b[0m"));
    }

    #[test]
    fn an_opened_alert_says_what_to_do() {
        let expected = "\
CRITICAL  mass-lockout · One actor immobilises many vehicles   1970-01-01T00:01:00.000Z
who       user a-\u{fffd}[2J77
what      count_distinct_vin 38 · window 1970-01-01T00:00:00.000Z–1970-01-01T00:01:00.000Z
so far    raised from high · folded since the last: 2
means     R155 16.1, 2.1 · ATM-T0072
do        Revoke the actor's tokens; call somebody.
evidence  remote_commands/3@81210#0 … remote_commands/3@81502#0   id 000000000000000000000000000000a1
";
        assert_eq!(opened(&alert(), false), expected);
    }
}
