//! Names that a column may not have, since SQL reads them as something else, and what to call it instead.

use crate::diagnostic::nearest;

use super::BUILT_IN;

/// Words that SQL reads as a value, an operator or the start of a clause where a column could stand. The
/// first rows are those that the parser of conditions itself refuses or takes for something else; the others
/// it would put up with, but people, other databases and clauses to come would not.
const RESERVED: [&str; 96] = [
    "all",
    "any",
    "both",
    "current_catalog",
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "distinct",
    "exists",
    "false",
    "interval",
    "leading",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "returning",
    "select",
    "session_user",
    "some",
    "struct",
    "trailing",
    "trim",
    "true",
    "user",
    "with",
    "and",
    "as",
    "asc",
    "at",
    "between",
    "by",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "cross",
    "default",
    "delete",
    "desc",
    "drop",
    "else",
    "end",
    "escape",
    "except",
    "fetch",
    "filter",
    "for",
    "foreign",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "inner",
    "insert",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "like",
    "limit",
    "natural",
    "notnull",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "primary",
    "qualify",
    "references",
    "regexp",
    "rlike",
    "set",
    "similar",
    "table",
    "then",
    "to",
    "try_cast",
    "union",
    "unique",
    "update",
    "using",
    "when",
    "where",
    "window",
];

/// Better names than the word with `_value` behind it.
const SUBSTITUTES: [(&str, &str); 24] = [
    ("all", "all_of"),
    ("at", "at_time"),
    ("by", "by_whom"),
    ("case", "case_no"),
    ("check", "check_result"),
    ("column", "column_name"),
    ("current_user", "user_name"),
    ("default", "default_value"),
    ("end", "end_time"),
    ("exists", "is_present"),
    ("for", "for_whom"),
    ("from", "from_address"),
    ("grant", "grant_name"),
    ("group", "group_name"),
    ("interval", "interval_s"),
    ("limit", "limit_value"),
    ("offset", "offset_value"),
    ("order", "order_no"),
    ("session_user", "user_name"),
    ("table", "table_name"),
    ("to", "to_address"),
    ("user", "user_name"),
    ("where", "location_name"),
    ("window", "window_name"),
];

/// Why a column may not have this name, with a hint; none = it may.
pub(super) fn refuse(name: &str) -> Option<(String, String)> {
    if !is_name(name) {
        let hint =
            format!("letters a-z, digits and _, not starting with a digit, such as \"{}\"", snake(name));
        return Some((format!("\"{name}\" cannot be the name of a column"), hint));
    }
    if BUILT_IN.iter().any(|(taken, _)| *taken == name) {
        let hint = format!(
            "every stream has \"{name}\" already: call this one \"reported_{}\"",
            name.trim_start_matches('_')
        );
        return Some((format!("the name \"{name}\" is taken"), hint));
    }
    let substitute = substitute(name)?;
    let hint = format!("call it \"{substitute}\" and add path = [\"{name}\"]");
    Some((format!("SQL cannot read \"{name}\" as a column"), hint))
}

/// The name that a column gets instead of one that it may not have; none = it may.
pub(super) fn substitute(name: &str) -> Option<String> {
    if !is_name(name) {
        return Some(snake(name));
    }
    if BUILT_IN.iter().any(|(taken, _)| *taken == name) {
        return Some(format!("reported_{}", name.trim_start_matches('_')));
    }
    let better =
        || SUBSTITUTES.iter().find(|(word, _)| *word == name).map(|(_, better)| (*better).to_owned());
    RESERVED.contains(&name).then(|| better().unwrap_or_else(|| format!("{name}_value")))
}

/// Whether it is `[a-z_][a-z0-9_]*`.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The nearest column name: `sourceIPAddress` → `source_ip_address`, `Vehicle.Speed` → `vehicle_speed`.
pub(super) fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, c) in letters.iter().enumerate() {
        let after_small = i > 0 && letters.get(i - 1).is_some_and(|b| b.is_lowercase() || b.is_ascii_digit());
        let before_small = i > 0 && letters.get(i + 1).is_some_and(|d| d.is_lowercase());
        if c.is_uppercase() && (after_small || before_small) && !out.ends_with('_') {
            out.push('_');
        }
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    let out = out.trim_end_matches('_');
    match out.chars().next() {
        None => "field_1".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("field_{out}"),
        Some(_) => out.to_owned(),
    }
}

/// `did you mean …?` with the nearest of some names, or a sentence if there are none at all.
pub(super) fn among<'a>(name: &str, fields: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, fields) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "name one of the fields of this file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_sql_are_refused_with_a_substitute_that_is_not_refused() {
        for word in RESERVED {
            let (_, hint) = refuse(word).unwrap();
            let substitute = hint.split('"').nth(1).unwrap();
            assert_eq!(refuse(substitute), None, "{word} -> {substitute}");
        }
        assert!(refuse("user").unwrap().1.contains("user_name"));
        for (word, _) in SUBSTITUTES {
            assert!(RESERVED.contains(&word), "{word}");
        }
    }

    #[test]
    fn built_in_columns_are_taken() {
        for (name, _) in BUILT_IN {
            let (message, hint) = refuse(name).unwrap();
            assert!(message.contains("taken"), "{message}");
            assert_eq!(refuse(hint.split('"').nth(3).unwrap()), None, "{hint}");
        }
    }

    #[test]
    fn columns_that_rules_use_are_free() {
        for name in
            ["count", "source", "region", "model", "service", "response", "session", "time", "ts", "values"]
        {
            assert_eq!(refuse(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_of_another_style_gets_one_of_ours() {
        let cases = [
            ("sourceIPAddress", "source_ip_address"),
            ("Vehicle.Speed", "vehicle_speed"),
            ("eventName", "event_name"),
            ("X-Forwarded-For", "x_forwarded_for"),
            ("5g", "field_5g"),
            ("ß", "field_1"),
        ];
        for (name, better) in cases {
            assert_eq!(snake(name), better);
            assert!(refuse(name).unwrap().1.contains(better), "{name}");
        }
    }
}
