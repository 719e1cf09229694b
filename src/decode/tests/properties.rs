use proptest::prelude::*;

use super::*;

/// Values, some of which are none.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        8 => proptest::sample::select(vec![
            "null", "true", "0", "-0", "7", "-3", "1.5", "1e3", "1e999",
            "9007199254740993", "9223372036854775808",
            "1000000000", "999999999999", "\"\"", "\"v1\"", "\" V1 \"", "\"10.0.0.1\"", "\"::ffff:1.2.3.4\"",
            "\"\\u00e9\\ud83d\\ude00\"", "[]", "[\"a\",\"b\"]", "[1]", "{}", "{ \"q\" : 1 }",
        ]).prop_map(str::to_owned),
        1 => proptest::sample::select(vec!["\"\\ud800\"", "tru", "01", "\"", "[", "\u{1}", ""])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            object(inner),
        ]
    })
}

/// Objects whose members often are declared, and sometimes stand twice.
fn object(value: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let names = vec![
        "vin",
        "v\\u0069n",
        "ts",
        "n",
        "x",
        "lit",
        "ip",
        "tags",
        "raw",
        "inner",
        "a",
        "b",
        "c",
        "d",
        "Vehicle.Speed",
        "zz",
        "Records",
    ];
    let member =
        (proptest::sample::select(names), value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    proptest::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(", ")))
}

/// A record: an event, a list, or something else, now and then with a byte changed.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let events = proptest::collection::vec(object(value()), 0..4)
        .prop_map(|events| format!("[{}]", events.join(",")))
        .boxed();
    let text = prop_oneof![
        6 => object(value()),
        2 => events.clone(),
        2 => events.prop_map(|list| format!("{{\"Records\":{list}}}")),
        1 => value(),
    ];
    (text, proptest::option::weighted(0.1, (any::<prop::sample::Index>(), any::<u8>()))).prop_map(
        |(text, change)| {
            let mut bytes = text.into_bytes();
            if let Some((at, byte)) = change.filter(|_| !bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

fn schemas() -> [Arc<Schema>; 3] {
    [schema(CARS), schema(&lists("Records")), schema(&lists("a.zz"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn decoding_all_is_decoding_each(records in proptest::collection::vec(record(), 0..8)) {
        for schema in schemas() {
            let all = vec![true; schema.fields.len()];
            let together = decode_as(&schema, all.clone(), &Limits::default(), &records);
            let mut decoder = JsonDecoder::new(schema.clone(), all, &Limits::default());
            let mut alone = Vec::new();
            let mut stats = [0; 4];
            for (position, payload) in records.iter().enumerate() {
                let offset = 100 + position as i64;
                let broker_time = broker(position);
                let record = Record { source: 0, offset, broker_time, payload, broken: None };
                decoder.push(&record, position as u32);
                let run = Run { decoded: decoder.finish(&sources()), decoder };
                alone.extend(run.all());
                let found = &run.decoded.stats;
                let counts = [found.mistyped.values().sum(), found.moved, found.skewed, found.untimed];
                stats.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                decoder = run.decoder;
            }
            let found = &together.decoded.stats;
            prop_assert_eq!(stats, [found.mistyped.values().sum(), found.moved, found.skewed, found.untimed]);
            prop_assert_eq!(together.all(), alone);
        }
    }

    #[test]
    fn what_is_built_changes_no_verdict_and_no_value(
        records in proptest::collection::vec(record(), 1..6),
        some in proptest::collection::vec(any::<bool>(), 12),
    ) {
        for schema in schemas() {
            let limits = Limits::default();
            let full = decode_as(&schema, vec![true; 12], &limits, &records);
            for projection in [vec![false; 12], some.clone()] {
                let part = decode_as(&schema, projection.clone(), &limits, &records);
                let verdicts = |run: &Run| -> Vec<_> {
                    let rejects = run.decoded.rejects.iter();
                    rejects.map(|it| (it.offset, it.reason, it.at, it.detail.clone())).collect()
                };
                prop_assert_eq!(verdicts(&part), verdicts(&full));
                prop_assert_eq!(&part.decoded.batch.names, &full.decoded.batch.names);
                prop_assert_eq!(&part.decoded.batch.time, &full.decoded.batch.time);
                for (i, built) in projection.iter().enumerate() {
                    let name = schema.column_name(i);
                    if *built {
                        prop_assert_eq!(part.column(name), full.column(name));
                        let counts = |run: &Run| run.decoded.stats.mistyped.get(name).copied();
                        prop_assert_eq!(counts(&part), counts(&full));
                    }
                }
            }
        }
    }

    #[test]
    fn no_bytes_stop_it(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for schema in schemas() {
            let run = decode_as(&schema, vec![true; 12], &Limits::default(), &[&bytes]);
            let rejects = run.decoded.rejects.len();
            prop_assert!(rejects <= 1 && run.rows() + rejects <= bytes.len().max(1));
        }
    }

    #[test]
    fn the_probe_finds_the_time_that_decoding_finds(record in record()) {
        for schema in schemas() {
            let run = decode_as(&schema, vec![false; 12], &Limits::default(), &[&record]);
            if run.decoded.rejects.is_empty() {
                let mut decoder = JsonDecoder::new(schema.clone(), vec![false; 12], &Limits::default());
                let broker_time = Timestamp(i64::MAX);
                let far = Record { source: 0, offset: 0, broker_time, payload: &record, broken: None };
                decoder.push(&far, 0);
                let decoded = decoder.finish(&sources());
                let times = decoded.batch.time.iter().filter(|time| time.is_plausible()).max().copied();
                prop_assert_eq!(probe::event_time(&schema, &record), times);
            }
        }
    }

    #[test]
    fn the_text_of_an_event_decodes_to_the_event(record in record()) {
        for schema in schemas() {
            let run = decode_as(&schema, vec![true; 12], &Limits::default(), &[&record]);
            for (row, name) in run.decoded.batch.names.iter().enumerate() {
                let text = event_text(&schema, &record, name.index, 10_000).unwrap();
                let alone = decode_as(&schema, vec![true; 12], &Limits::default(), &[text.as_bytes()]);
                if alone.rows() == 1 {
                    for column in ["vin", "n", "raw", "deep"] {
                        let cells = run.column(column);
                        prop_assert!(cells.contains(&alone.column(column)), "{row} {column} {cells}");
                    }
                }
            }
        }
    }
}
