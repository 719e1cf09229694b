//! What one rule says does not depend on which others run, nor does which records are refused.

use std::collections::BTreeMap;

use fleetwarden::event::{Limits, RejectReason};
use serde_json::Value as Json;

use super::{Engine, Event, Run, path, source};

const STREAMS: [&str; 3] = ["cloudtrail", "diagnostics", "telemetry"];

/// The shipped rules, by name, with the lets that they share.
fn shipped() -> Vec<(String, String)> {
    let mut rules = Vec::new();
    for stream in STREAMS {
        for entry in std::fs::read_dir(path(&format!("rules/{stream}"))).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let id = format!("{stream}/{}", file.trim_end_matches(".toml"));
            rules.push((id, source(&format!("rules/{stream}/{file}")).text));
        }
    }
    rules.sort();
    rules
}

fn engine(rules: &[&(String, String)]) -> Engine {
    let schemas: Vec<_> = STREAMS.iter().map(|stream| source(&format!("schemas/{stream}.toml"))).collect();
    let rules: Vec<(&str, String)> = rules.iter().map(|(id, text)| (id.as_str(), text.clone())).collect();
    Engine::new(&schemas, &rules, Limits::default())
}

/// The demo's records in merged order, and after every tenth one that a decoder must refuse or read with
/// care.
fn records() -> Vec<Event> {
    let mut records = Vec::new();
    for stream in STREAMS {
        let text = std::fs::read_to_string(path(&format!("testdata/demo/{stream}.ndjson"))).unwrap();
        for (nth, line) in text.lines().enumerate() {
            let line: Json = serde_json::from_str(line).unwrap();
            let broker = line["_t"].as_i64().unwrap() * 1000;
            let at = |payload: Vec<u8>| (broker, stream, payload);
            records.push(at(line["v"].to_string().into_bytes()));
            if nth % 10 == 0 {
                records.push(at(spoilt(line["v"].to_string(), nth / 10)));
            }
        }
    }
    records.sort_by_key(|(broker, stream, _)| (*broker, *stream));
    let event = |(broker, stream, payload)| Event { stream, partition: 0, broker, payload };
    records.into_iter().map(event).collect()
}

/// A record that is refused, in so many ways; or one that is not, though it looks odd.
fn spoilt(text: String, way: usize) -> Vec<u8> {
    let with = |member: &str| text.replacen('{', &format!("{{{member},"), 1).into_bytes();
    match way % 12 {
        0 => with(r#""speed":1,"speed":2"#),
        1 => with(r#""vin":"A","vin":"B""#),
        2 => with(r#""errorCode":"A","errorCode":"B""#),
        3 => with(r#""unknown":1,"unknown":2"#),
        4 => text.as_bytes()[..text.len() / 2].to_vec(),
        5 => [text.as_bytes(), b"}"].concat(),
        6 => [b"{\"vin\":\"\xff\",".as_slice(), &text.as_bytes()[1..]].concat(),
        7 => with(&format!(r#""unknown":{}1{}"#, "[".repeat(100), "]".repeat(100))),
        8 => with(r#""unknown":"\ud800""#),
        9 => with(r#""vin":[1e999,-0,{"a":[]}]"#),
        10 => b"[1]".to_vec(),
        _ => vec![b' '; (1 << 20) + 1],
    }
}

/// What was refused: where, why, at which byte.
fn refused(run: &Run) -> Vec<(u16, i64, RejectReason, usize)> {
    run.rejects.iter().map(|reject| (reject.source, reject.offset, reject.reason, reject.at)).collect()
}

#[test]
fn a_rule_says_alone_what_it_says_among_all() {
    let (shared, rules): (Vec<_>, Vec<_>) =
        shipped().into_iter().partition(|(id, _)| id.ends_with("_shared"));
    let (records, all) = (records(), rules.iter().chain(&shared).collect::<Vec<_>>());
    let among = engine(&all).run(&records, 512, false);
    let none = engine(&[]).run(&records, 512, false);
    let reasons: BTreeMap<RejectReason, usize> =
        none.rejects.iter().fold(BTreeMap::new(), |mut seen, reject| {
            *seen.entry(reject.reason).or_default() += 1;
            seen
        });
    assert!(reasons.len() >= 6 && none.rejects.len() > 100, "{reasons:?}");
    assert_eq!(refused(&none), refused(&among), "no rules, all rules");
    let mut said = 0;
    for rule in &rules {
        let files: Vec<_> = std::iter::once(rule).chain(&shared).collect();
        let alone = engine(&files).run(&records, 512, false);
        assert_eq!(refused(&none), refused(&alone), "no rules, {} alone", rule.0);
        let of = |run: &Run| -> Vec<String> {
            let own =
                run.alerts.iter().zip(run.bodies()).filter(|(alert, _)| rule.0.ends_with(&alert.rule.id));
            own.map(|(_, body)| body).collect()
        };
        assert_eq!(of(&among), of(&alone), "{}", rule.0);
        let id = &alone.alerts.first().map(|alert| alert.rule.id.clone());
        if let Some(id) = id {
            assert_eq!(among.totals.rules[id], alone.totals.rules[id], "{id}: counters");
        }
        said += alone.alerts.len();
    }
    assert_eq!(said, among.alerts.len());
    assert!(said >= 6, "only {said} alerts were compared");
}
