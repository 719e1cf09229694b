//! Log lines that are no JSON → JSON records, before anything else reads them.
//!
//! One format so far: the decisions of Kafka's authorizer, as the broker writes them, or as a shipper wraps
//! them (`{"message": LINE}` or `{"log": LINE}`). What is no such line keeps its text, in `message`. Nothing
//! is rejected here, and a member that a record has already is not added to it.
//!
//! Clients choose the names of groups and transactions, administrators those of principals: so a line is
//! read from its left up to the name of the resource, and from its right down to it.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value as Json};

use crate::event::Timestamp;
use crate::schema::Format;

/// The JSON that a record stands for; none if it is to be read as it came.
pub(super) fn rewritten(format: Format, payload: &[u8]) -> Option<Vec<u8>> {
    if format == Format::Json {
        return None;
    }
    let text = std::str::from_utf8(payload).ok()?.trim();
    let Some(rest) = text.strip_prefix('{') else {
        return (!text.is_empty()).then(|| serde_json::to_vec(&members(text)).ok()).flatten();
    };
    // Its parts are there already: the usual case, which need not be parsed twice. Within a text the quotes would
    // have a backslash.
    if PARTED.len() <= text.len() && text.as_bytes().windows(PARTED.len()).any(|bytes| bytes == PARTED) {
        return None;
    }
    let had: Shipped<'_> = serde_json::from_str(text).ok()?;
    let mut found = members(had.message.as_deref().or(had.log.as_deref())?);
    let present =
        [("message", had.message.is_some()), ("ts", had.ts.is_some()), ("level", had.level.is_some())];
    present.iter().filter(|(_, there)| *there).for_each(|(name, _)| {
        found.remove(*name);
    });
    let mut json = serde_json::to_vec(&found).ok()?;
    json.pop();
    if !found.is_empty() {
        json.push(b',');
    }
    json.extend_from_slice(rest.as_bytes());
    Some(json)
}

/// The name of the member that shows that a line was taken apart.
const PARTED: &[u8] = b"\"principal\"";

/// What matters of a record that a shipper sent.
#[derive(Deserialize)]
struct Shipped<'t> {
    #[serde(borrow)]
    message: Option<std::borrow::Cow<'t, str>>,
    #[serde(borrow)]
    log: Option<std::borrow::Cow<'t, str>>,
    ts: Option<IgnoredAny>,
    level: Option<IgnoredAny>,
}

/// The members that a line gives.
fn members(line: &str) -> Map<String, Json> {
    let line = line.trim_end();
    let mut found = Map::new();
    found.insert("message".into(), line.into());
    let mut said = line;
    // Log4j's usual head: `[2025-06-02 10:00:00,123] INFO `, in the broker's time zone, which is UTC if it
    // is well kept; and its tail, the logger in brackets.
    if let Some((time, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        let time = Timestamp::parse_rfc3339(&format!("{}Z", time.replace(',', ".")));
        if let (Some(time), Some((level, rest))) = (time, rest.split_once(' ')) {
            found.insert("ts".into(), (time.0 / 1000).into());
            found.insert("level".into(), level.into());
            said = rest.trim_end().strip_suffix(" (kafka.authorizer.logger)").unwrap_or(rest);
        }
    }
    if let Some(parts) = decision(said) {
        let named = NAMES.iter().zip(parts).filter(|(_, part)| !part.is_empty());
        found.extend(named.map(|(name, part)| ((*name).to_owned(), part.into())));
        if let Some(count) = found.get_mut("resource_ref_count") {
            *count =
                count.as_str().and_then(|digits| digits.parse::<i64>().ok()).map_or(Json::Null, Json::from);
        }
    }
    found
}

const NAMES: [&str; 10] = [
    "principal",
    "decision",
    "operation",
    "host",
    "resource_type",
    "pattern_type",
    "resource",
    "request",
    "resource_ref_count",
    "acl_rule",
];

/// The parts of a decision, in the order of [`NAMES`].
fn decision(line: &str) -> Option<[&str; 10]> {
    let rest = line.strip_prefix("Principal = ")?;
    let denied = rest.split_once(" is Denied ").map(|(principal, rest)| (principal, "Denied", rest));
    let allowed = rest.split_once(" is Allowed ").map(|(principal, rest)| (principal, "Allowed", rest));
    let (principal, decision, rest) = match (denied, allowed) {
        (Some(denied), Some(allowed)) if allowed.0.len() < denied.0.len() => allowed,
        (denied, allowed) => denied.or(allowed)?,
    };
    let rest = rest.strip_prefix("operation = ").or_else(|| rest.strip_prefix("Operation = "))?;
    let (operation, rest) = rest.split_once(" from host = ")?;
    let (host, rest) = rest.split_once(" on resource = ")?;
    let (kind, rest) = rest.split_once(':')?;
    let (pattern, rest) = rest.split_once(':')?;
    let (resource, rest) = rest.rsplit_once(" for request = ")?;
    let (request, rest) = rest.split_once(" with resourceRefCount = ")?;
    let (count, rule) = rest.split_once(" based on rule ").unwrap_or((rest, ""));
    Some([principal, decision, operation, host, kind, pattern, resource, request, count, rule])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "Principal = User:CN=ana,O=Ex is Denied operation = WRITE from host = 10.0.0.7 on resource = \
                       Topic:LITERAL:vehicle.telemetry for request = Produce with resourceRefCount = 1 based on \
                       rule DefaultDeny";
    const OLD: &str = "Principal = User:ana is Allowed Operation = Write from host = 10.0.0.7 on resource = \
                       Topic:LITERAL:t for request = Produce with resourceRefCount = 2";

    fn read(payload: &str) -> Json {
        serde_json::from_slice(&rewritten(Format::KafkaAuthorizer, payload.as_bytes()).unwrap()).unwrap()
    }

    fn left(payload: &[u8]) -> bool {
        rewritten(Format::KafkaAuthorizer, payload).is_none()
    }

    #[test]
    fn both_forms_are_read() {
        let record = read(&format!("[2025-06-02 10:00:00,123] INFO {NEW} (kafka.authorizer.logger)\n"));
        assert_eq!(
            record,
            serde_json::json!({
                "ts": 1_748_858_400_123_i64, "level": "INFO", "principal": "User:CN=ana,O=Ex", "decision": "Denied",
                "operation": "WRITE", "host": "10.0.0.7", "resource_type": "Topic", "pattern_type": "LITERAL",
                "resource": "vehicle.telemetry", "request": "Produce", "resource_ref_count": 1,
                "acl_rule": "DefaultDeny",
                "message": format!("[2025-06-02 10:00:00,123] INFO {NEW} (kafka.authorizer.logger)"),
            })
        );
        let record = read(OLD);
        assert_eq!(
            (&record["operation"], &record["decision"], &record["resource_ref_count"], &record["acl_rule"]),
            (&"Write".into(), &"Allowed".into(), &2.into(), &Json::Null)
        );
        assert_eq!(record["ts"], Json::Null);
    }

    #[test]
    fn what_a_shipper_wraps_keeps_its_members() {
        let line = serde_json::to_string(NEW).unwrap();
        let record = read(&format!("{{\"broker\":\"kafka-1\",\"ts\":5,\"message\":{line}}}"));
        assert_eq!((&record["broker"], &record["ts"]), (&"kafka-1".into(), &5.into()));
        assert_eq!((&record["request"], &record["message"]), (&"Produce".into(), &NEW.into()));
        let record = read(&format!("{{\"log\":{line}}}"));
        assert_eq!((&record["resource"], &record["message"]), (&"vehicle.telemetry".into(), &NEW.into()));
    }

    #[test]
    fn what_has_its_parts_or_is_broken_is_left_as_it_came() {
        assert!(left(b"{\"principal\":\"User:ana\",\"message\":\"Principal = User:eve is Denied \"}"));
        assert!(left(b"{\"message\":\"a\",\"message\":\"b\"}") && left(b"{\"message\":5}") && left(b"{}"));
        assert!(left(b"{\"message\":\"a\"") && left(b"\xff\xfe") && left(b"  \n"));
        assert!(rewritten(Format::Json, NEW.as_bytes()).is_none());
    }

    #[test]
    fn other_lines_keep_their_text() {
        for line in
            ["[2025-06-02 10:00:00,123] INFO Starting (kafka.server)", "Principal = x is Denied", "[]"]
        {
            let record = read(line);
            assert_eq!((&record["message"], &record["principal"]), (&line.into(), &Json::Null), "{line}");
        }
        assert_eq!(read("[2025-06-02 10:00:00,123] WARN Starting")["level"], "WARN");
    }

    #[test]
    fn a_name_that_a_client_chose_forges_nothing() {
        let forged = "g for request = Fetch with resourceRefCount = 9 based on rule X is Allowed operation = ALL from \
                      host = 1.1.1.1 on resource = Topic:LITERAL:x";
        let line = NEW.replace("Topic:LITERAL:vehicle.telemetry", &format!("Group:LITERAL:{forged}"));
        let record = read(&line);
        assert_eq!((&record["decision"], &record["host"]), (&"Denied".into(), &"10.0.0.7".into()));
        assert_eq!((&record["resource"], &record["request"]), (&forged.into(), &"Produce".into()));
    }

    /// Pieces of lines, in any order.
    const PARTS: &str = "(\\[|Principal = |is Denied |[a-z =:{\"]){0,30}";

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in PARTS) {
            if let Some(json) = rewritten(Format::KafkaAuthorizer, text.as_bytes()) {
                let value: Result<Json, _> = serde_json::from_slice(&json);
                proptest::prop_assert!(value.is_ok(), "{}", String::from_utf8_lossy(&json));
            }
        }
    }
}
