//! What a rule says about itself: title, severity, mappings, mode.

use super::keys::Reader;
use crate::alert::Severity;
use crate::diagnostic::suggest;
use crate::rule::file::{ItemValue, Span, Table, Text};
use crate::rule::mapping::{atm_fault, attack_fault, r155_fault};
use crate::rule::{KINDS, Mode};

/// The head of a rule file.
#[derive(Debug)]
pub struct Header {
    pub title: String,
    pub severity: Severity,
    pub risk: u8,
    pub r155: Vec<String>,
    pub atm: Vec<String>,
    pub attack: Vec<String>,
    pub blind_spots: String,
    pub triage: String,
    pub mode: Mode,
    /// Where the head stands, for what has no better place.
    pub span: Span,
}

impl Header {
    /// Reads the head; every problem is said, and what is missing has a stand-in.
    pub fn read(reader: &mut Reader<'_>, table: &Table) -> Header {
        let span = table.get("title").map_or(0..0, |entry| entry.key_span.clone());
        let title = reader.text(table, "title").map(|text| text.text.trim().to_string());
        match (&title, table.get("title")) {
            (None, None) => {
                reader.missing(0..0, "the rule", "title", "title = \"What happened, in one line\"");
            }
            (Some(title), Some(entry)) if title.is_empty() => {
                reader.error(entry.item.span.clone(), "the title is empty", "say what happened, in one line");
            }
            _ => {}
        }
        let severity = read_severity(reader, table, "the rule", span.clone());
        let level = severity.unwrap_or(Severity::Info);
        Header {
            title: title.unwrap_or_default(),
            severity: level,
            risk: reader.risk(table).unwrap_or(default_risk(level)),
            r155: mapped(reader, table, "r155", "UN R155 Annex 5 has no vector", r155_fault),
            atm: mapped(reader, table, "atm", "the Automotive Threat Matrix has no technique", atm_fault),
            attack: mapped(reader, table, "attack", "MITRE ATT&CK has no technique", attack_fault),
            blind_spots: prose(reader, table, "blind_spots"),
            triage: prose(reader, table, "triage"),
            mode: mode(reader, table),
            span,
        }
        .checked(reader, table)
    }

    /// Keys that are read by people only.
    fn checked(self, reader: &mut Reader<'_>, table: &Table) -> Header {
        reader.text(table, "description");
        reader.texts(table, "references");
        self
    }
}

/// The risk of a rule that names none: 10, 20, 40, 60, 80 from info to critical.
pub fn default_risk(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 10,
        Severity::Low => 20,
        Severity::Medium => 40,
        Severity::High => 60,
        Severity::Critical => 80,
    }
}

/// The severity of a rule or an escalation: required.
pub fn read_severity(reader: &mut Reader<'_>, table: &Table, place: &str, span: Span) -> Option<Severity> {
    if table.get("severity").is_none() {
        reader.missing(span, place, "severity", "severity = \"high\" (info, low, medium, high, critical)");
        return None;
    }
    let text = reader.text(table, "severity")?;
    let severity = Severity::parse(&text.text);
    if severity.is_none() {
        let hint = suggest(&text.text, Severity::ALL.map(Severity::name));
        reader.error(text.span.clone(), format!("there is no severity \"{}\"", text.text), hint);
    }
    severity
}

fn prose(reader: &mut Reader<'_>, table: &Table, key: &str) -> String {
    reader.text(table, key).map_or_else(String::new, |text| text.text.trim().to_string())
}

fn mapped(
    reader: &mut Reader<'_>,
    table: &Table,
    key: &str,
    message: &str,
    fault: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let texts = reader.texts(table, key).unwrap_or_default();
    for text in &texts {
        if let Some(hint) = fault(&text.text) {
            reader.error(text.span.clone(), format!("{message} \"{}\"", text.text), hint);
        }
    }
    texts.into_iter().map(|text| text.text.clone()).collect()
}

fn mode(reader: &mut Reader<'_>, table: &Table) -> Mode {
    let Some(text) = reader.text(table, "mode") else { return Mode::Live };
    match text.text.as_str() {
        "live" => Mode::Live,
        "shadow" => Mode::Shadow,
        "building_block" => Mode::BuildingBlock,
        other => {
            let hint = suggest(other, ["live", "shadow", "building_block"]);
            reader.error(text.span.clone(), format!("there is no mode \"{other}\""), hint);
            Mode::Live
        }
    }
}

/// How the warning starts that names what a good rule has.
pub const LACKS: &str = "the rule lacks ";

/// Warns of what a good rule has and this one lacks.
pub fn warn_of_gaps(reader: &mut Reader<'_>, header: &Header, table: &Table) {
    let gaps = [
        ("[[test]]", table.get("test").is_none()),
        ("blind_spots", header.blind_spots.is_empty()),
        ("triage", header.triage.is_empty()),
    ];
    let missing: Vec<&str> = gaps.iter().filter(|(_, gap)| *gap).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let hint = "a test that fires and one that just does not show what the rule means; \
                    alerts show what it cannot see (blind_spots) and what to do first (triage)";
        reader.warning(header.span.clone(), format!("{LACKS}{}", missing.join(", ")), hint);
    }
}

/// The one table that says the rule's kind; `name` and where it stands.
pub fn kind<'t>(reader: &mut Reader<'_>, table: &'t Table) -> Option<(&'static str, Span, &'t Table)> {
    let mut found = Vec::new();
    for name in KINDS {
        if let Some((entry, inner)) = reader.table(table, name) {
            found.push((name, entry.key_span.clone(), inner));
        }
    }
    let unbuilt = super::keys::UNBUILT_KINDS.iter().any(|(kind, _)| table.get(kind).is_some());
    let written = KINDS.iter().any(|kind| table.get(kind).is_some());
    if found.is_empty() && !unbuilt && !written {
        let hint = "a table says the kind: [match] judges each event, [threshold] a window, \
                    [baseline] a value by its normal";
        reader.error(0..0, "the rule has no kind", hint);
    }
    if let [_, (name, span, _)] = &found[..] {
        let hint = "one file is one rule: move one of the two into a file of its own";
        reader.error(span.clone(), format!("a second kind: [{name}]"), hint);
        return None;
    }
    found.pop()
}

/// The texts of a value that may be a table of an array, for `entity` and `by`.
pub fn name_list<'t>(reader: &mut Reader<'_>, table: &'t Table, key: &str) -> Option<Vec<&'t Text>> {
    if let Some(entry) = table.get(key)
        && let ItemValue::Text(text) = &entry.item.value
    {
        let hint = format!("write {key} = [\"{}\"]", text.text);
        reader.error(text.span.clone(), format!("\"{key}\" is a string, not an array of names"), hint);
        return None;
    }
    reader.texts(table, key)
}
