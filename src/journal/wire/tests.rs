use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::encode::plain;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", "[a-z/@#\"\\\\\u{0}\u{7}\u{2028}ä€😀]{0,6}"]
}

fn words() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::float),
        select(vec![0.1 + 0.2, 5e-324, f64::MAX, f64::MIN, 1e23, 9_007_199_254_740_993.0, 123_456_789.125])
            .prop_map(Value::float),
        text().prop_map(Value::text),
        any::<i64>().prop_map(|t| Value::Time(Timestamp(t))),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| vec(inner, 0..3).prop_map(Value::List))
}

fn source() -> impl Strategy<Value = PartitionId> {
    (text(), any::<i32>()).prop_map(|(stream, index)| PartitionId { stream: stream.into(), index })
}

fn severity() -> impl Strategy<Value = Severity> {
    select(Severity::ALL.to_vec())
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn rule() -> impl Strategy<Value = Arc<RuleInfo>> {
    let texts = (text(), text(), text(), text(), text(), text());
    let lists = (words(), words(), words(), words());
    (texts, lists, severity(), any::<u8>(), select(KINDS.to_vec())).prop_map(
        |(
            (id, title, version, stream, triage, blind_spots),
            (r155, atm, attack, key),
            severity,
            risk,
            kind,
        )| {
            let stream = stream.into();
            let info = RuleInfo {
                id,
                title,
                severity,
                risk,
                version,
                kind,
                stream,
                r155,
                atm,
                attack,
                triage,
                blind_spots,
                key,
            };
            Arc::new(info)
        },
    )
}

fn evidence() -> impl Strategy<Value = Evidence> {
    (source(), any::<i64>(), any::<u32>()).prop_map(|(partition, offset, index)| Evidence {
        partition,
        offset,
        index,
    })
}

fn alert(rules: Vec<Arc<RuleInfo>>) -> impl Strategy<Value = Arc<Alert>> {
    let entity = (select(EntityType::ALL.to_vec()), value()).prop_map(|(kind, value)| Entity { kind, value });
    let observed = vec((text().prop_map(Arc::from), value()), 0..3);
    let times = (time(), time(), option::of((time(), time())));
    let numbers = (any::<u128>(), any::<u8>(), any::<u64>(), any::<u64>());
    let lists = (vec(value(), 0..3), vec(entity, 0..2), observed, vec(evidence(), 0..2));
    (select(rules), severity(), numbers, times, lists, option::of(text())).prop_map(
        |(rule, severity, (id, risk, count, folds), (time, broker_time, window), lists, event)| {
            let (key, entities, observed, evidence) = lists;
            let event = event.map(String::into_boxed_str);
            Arc::new(Alert {
                id,
                rule,
                severity,
                risk,
                key,
                entities,
                window,
                time,
                broker_time,
                observed,
                count,
                folds,
                evidence,
                event,
            })
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let told = prop_oneof![
        time().prop_map(Told::Tick),
        any::<u128>().prop_map(Told::Rules),
        any::<(i64, i64)>().prop_map(|(from, to)| Told::Gap { from, to }),
    ];
    let alerts = vec(rule(), 1..3).prop_flat_map(|rules| vec(alert(rules), 0..4));
    prop_oneof![
        1 => Just(Entry::Claim),
        1 => any::<bool>().prop_map(|cold| Entry::Open { cold }),
        2 => (any::<i64>(), told).prop_map(|(at, told)| Entry::Told { at, told }),
        6 => (any::<i64>(), any::<bool>(), alerts)
            .prop_map(|(through, more, alerts)| Entry::Alerts { through, more, alerts }),
    ]
}

fn written() -> impl Strategy<Value = Written> {
    (source(), any::<i64>(), any::<u64>(), time(), text(), entry()).prop_map(
        |(source, epoch, seq, written, engine, entry)| Written {
            stamp: Stamp { source, epoch, seq },
            written,
            engine,
            entry,
        },
    )
}

fn bodies(written: &Written) -> Vec<String> {
    match &written.entry {
        Entry::Alerts { alerts, .. } => alerts.iter().map(|alert| plain::line(alert)).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_is_written_is_read_back_to_the_bit(written in written()) {
        let bytes = encode(&written);
        let read = decode(&bytes).unwrap();
        prop_assert_eq!(&read, &written);
        // Equal floats may differ in their bits, equal bytes may not.
        prop_assert_eq!(encode(&read), bytes);
        prop_assert_eq!(bodies(&read), bodies(&written));
    }

    #[test]
    fn bytes_that_were_changed_are_refused_or_read(
        written in written(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&written);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(read) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&read)), Ok(read));
        }
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn any_bytes_at_all_are_survived(bytes in vec(any::<u8>(), 0..64)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn a_key_names_its_source(source in source(), count in 1..64) {
        prop_assert_eq!(parse_source(&source_key(&source)), Some(source.clone()));
        prop_assert!((0..count).contains(&partition_of(&source, count)));
    }
}

fn id(stream: &str, index: i32) -> PartitionId {
    PartitionId { stream: stream.into(), index }
}

fn told(told: Told) -> Written {
    Written {
        stamp: Stamp { source: id("telemetry", 3), epoch: 812, seq: 17 },
        written: Timestamp(1_700_000_000_000_001),
        engine: "0.1.0".into(),
        entry: Entry::Told { at: 4711, told },
    }
}

/// If one of these changes, a reader finds nothing of a source where a writer of another version put it.
#[test]
fn where_a_source_lies_is_part_of_the_format() {
    let all = [("telemetry", 0), ("telemetry", 1), ("telemetry", 2), ("telemetry", 3), ("diagnostics", 0)];
    let found = |count| all.map(|(stream, index)| partition_of(&id(stream, index), count));
    assert_eq!(found(4), [3, 1, 1, 3, 0]);
    assert_eq!(found(7), [5, 5, 3, 3, 5]);
    assert_eq!(found(1), [0; 5]);
    assert_eq!(found(0), [0; 5], "a count that cannot be");
}

/// The format itself: what others who read the topic rely on.
#[test]
fn entries_look_as_the_document_says() {
    let shown = |written: &Written| String::from_utf8(encode(written)).unwrap();
    let head =
        r#"{"v":1,"source":"telemetry/3","epoch":812,"seq":17,"written":1700000000000001,"engine":"0.1.0","#;
    let tail = |of: Told| shown(&told(of)).strip_prefix(head).unwrap().to_owned();
    assert_eq!(tail(Told::Tick(Timestamp(5))), r#""entry":{"told":{"at":4711,"told":{"tick":5}}}}"#);
    let rules = r#""entry":{"told":{"at":4711,"told":{"rules":"000000000000000000000000000000ff"}}}}"#;
    assert_eq!(tail(Told::Rules(255)), rules);
    let gap = r#""entry":{"told":{"at":4711,"told":{"gap":{"from":9,"to":12}}}}}"#;
    assert_eq!(tail(Told::Gap { from: 9, to: 12 }), gap);
    let of = |entry| shown(&Written { entry, ..told(Told::Rules(0)) }).strip_prefix(head).unwrap().to_owned();
    assert_eq!(of(Entry::Claim), r#""entry":"claim"}"#);
    assert_eq!(of(Entry::Open { cold: true }), r#""entry":{"open":{"cold":true}}}"#);
    let none = of(Entry::Alerts { through: 7, more: false, alerts: Vec::new() });
    assert_eq!(none, r#""entry":{"alerts":{"through":7,"alerts":[]}}}"#);
}

#[test]
fn values_look_as_the_document_says() {
    let shown = |value: &Value| serde_json::to_string(&Typed::of(value)).unwrap();
    let list = Value::List(vec![Value::text("a"), Value::Null, Value::Bool(true), Value::Int(i64::MIN)]);
    assert_eq!(shown(&list), r#"["a",null,true,-9223372036854775808]"#);
    assert_eq!(shown(&Value::float(0.1)), r#"{"float":"0.1"}"#);
    assert_eq!(shown(&Value::float(1e300)), r#"{"float":"1e300"}"#);
    assert_eq!(shown(&Value::Time(Timestamp(-3))), r#"{"time":-3}"#);
    let read = |text: &str| serde_json::from_str::<Typed<'_>>(text).map(|typed| typed.0.into_owned());
    assert_eq!(read(r#"{"float":"NaN"}"#).unwrap(), Value::Null, "no float that the engine has");
    for bad in ["1.5", "9223372036854775808", r#"{"int":1}"#, "{}", r#"{"time":1,"x":2}"#, r#"{"float":1.5}"#]
    {
        assert!(read(bad).is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn rules_stand_once_an_entry(
        alerts in vec(rule(), 2..=2).prop_flat_map(|rules| vec(alert(rules), 8..9)),
    ) {
        // Each with a copy of its rule of its own.
        let own = |alert: &Arc<Alert>| Alert { rule: Arc::new((*alert.rule).clone()), ..(**alert).clone() };
        let alerts = alerts.iter().map(|alert| Arc::new(own(alert))).collect();
        let entry = Entry::Alerts { through: 1, more: false, alerts };
        match WireEntry::of(&entry) {
            WireEntry::Alerts { rules, .. } => prop_assert!(rules.len() <= 2),
            _ => prop_assert!(false),
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let refused = |text: &str| decode(text.as_bytes()).unwrap_err().to_string();
    let valid = String::from_utf8(encode(&told(Told::Rules(1)))).unwrap();
    let with = |from: &str, to: &str| {
        let changed = valid.replace(from, to);
        assert_ne!(changed, valid);
        changed
    };
    let version = refused(&with("\"v\":1", "\"v\":2"));
    assert!(version.contains("v: version 2, while this engine reads version 1"), "{version}");
    let strange = refused(r#"{"v":3,"entry":{"x":1}}"#);
    assert!(strange.contains("version 3"), "{strange}");
    assert!(refused(&with("telemetry/3", "telemetry")).contains("source: \"telemetry\" is not"));
    assert!(refused(&with("00000001", "0000001")).contains("told.rules: \"0000"));
    assert!(refused(&with("\"rules\"", "\"roles\"")).contains("column"));
    assert!(refused("{}").contains("missing field `v`"));
    assert!(refused("").contains("line 1 column 0"));
    assert!(refused(&format!("{valid}x")).contains("trailing"));
    let deep = format!(r#"{{"v":1,"entry":{}"#, "[".repeat(1 << 20));
    assert!(decode(deep.as_bytes()).is_err());
    assert_eq!(decode(with("\"seq\"", "\"new\":{\"a\":[1.5]},\"seq\"").as_bytes()), decode(valid.as_bytes()));
}

#[test]
fn a_bad_alert_is_told_with_its_place() {
    let alert = |id: &str, rule: u8, severity: &str, evidence: &str| {
        format!(
            r#"{{"id":"{id}","rule":{rule},"severity":"{severity}","risk":1,"key":[],"entities":[],"time":1,
            "broker_time":1,"observed":[],"count":1,"folds":0,"evidence":["a/0@1#0","{evidence}"]}}"#
        )
    };
    let entry = |alert: String, kind: &str| {
        let text = format!(
            r#"{{"v":1,"source":"a/0","epoch":1,"seq":1,"written":1,"engine":"x","entry":{{"alerts":{{
            "through":1,"rules":[{{"id":"r","title":"","severity":"low","risk":1,"version":"","kind":"{kind}",
            "stream":"a","r155":[],"atm":[],"attack":[],"triage":"","blind_spots":"","key":[]}}],
            "alerts":[{alert}]}}}}}}"#
        );
        decode(text.as_bytes()).map_err(|bad| bad.at)
    };
    let id = "00000000000000000000000000000001";
    assert!(entry(alert(id, 0, "low", "a/0@2#0"), "match").is_ok());
    let at = |at: &str| Err(at.to_owned());
    assert_eq!(entry(alert("+1", 0, "low", "a/0@2#0"), "match"), at("alerts[0].id"));
    assert_eq!(entry(alert(id, 1, "low", "a/0@2#0"), "match"), at("alerts[0].rule"));
    assert_eq!(entry(alert(id, 0, "huge", "a/0@2#0"), "match"), at("alerts[0].severity"));
    assert_eq!(entry(alert(id, 0, "low", "a/0@2"), "match"), at("alerts[0].evidence[1]"));
    assert_eq!(entry(alert(id, 0, "low", "a/0@2#0"), "guess"), at("rules[0].kind"));
}
