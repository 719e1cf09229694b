use super::*;

use RejectReason::{DoubledKey, Shape, Syntax, TooDeep, TooLarge, Utf8};

#[test]
fn a_record_is_one_event() {
    let run = decode(CARS, &[r#"{"vin":" wdb1 ","n":9007199254740993,"x":1,"lit":true,"tags":["a","b"]}"#]);
    assert_eq!(run.rows(), 1);
    assert_eq!(run.column("vin"), "WDB1");
    assert_eq!(run.column("n"), "9007199254740993");
    assert_eq!(run.column("x"), "1.0");
    assert_eq!(run.column("lit"), "true");
    assert_eq!(run.column("tags"), "[a, b]");
    assert_eq!(run.column("deep"), "NULL");
    assert_eq!(run.column("_bytes"), "71");
    assert_eq!(run.column("broker_time"), "1970-01-12T13:46:40");
    let name = run.decoded.batch.names[0];
    assert_eq!((name.source, name.offset, name.index, name.broker_time), (0, 100, 0, broker(0)));
    assert_eq!(&*run.decoded.batch.stream, "cars");
}

#[test]
fn bytes_behind_the_value_are_a_reject() {
    for payload in ["{} x", "{}{}", "{}\n{\"vin\":\"V\"}", "{}\0", "{},"] {
        assert_eq!(reason(CARS, payload), Some(Syntax), "{payload}");
    }
    assert_eq!(reason(CARS, " \t\r\n{} \t\r\n"), None);
}

#[test]
fn nothing_is_a_reject() {
    for payload in ["", " ", "\n"] {
        assert_eq!(reason(CARS, payload), Some(Syntax), "{payload:?}");
    }
}

#[test]
fn a_byte_order_mark_is_a_reject() {
    assert_eq!(reject(CARS, "\u{feff}{}"), Some((Syntax, 0)));
}

#[test]
fn bytes_that_are_not_utf8_are_a_reject_wherever_they_stand() {
    assert_eq!(reject(CARS, b"{\"vin\":\"\xff\"}"), Some((Utf8, 8)));
    assert_eq!(reason(CARS, b"{\"other\":\"\xed\xa0\x80\"}"), Some(Utf8));
    assert_eq!(reason(CARS, b"{\"o\xc0\xaf\":1}"), Some(Utf8));
}

#[test]
fn lone_surrogates_are_a_reject_in_values_and_keys_read_or_skipped() {
    let payloads = [
        r#"{"vin":"\ud800"}"#,
        r#"{"other":"\ud800"}"#,
        r#"{"\ud800":1}"#,
        r#"{"other":{"\udc00":1}}"#,
        r#"{"other":[{"k":["\ud800\ud800"]}]}"#,
        r#"{"raw":{"k":"\ud83d\u0041"}}"#,
        r#"{"vin\udead":"V"}"#,
    ];
    for payload in payloads {
        assert_eq!(reason(CARS, payload), Some(Syntax), "{payload}");
    }
    let run = decode(CARS, &[r#"{"vin":"\ud83d\ude00","other":"\ud83d\ude00"}"#]);
    assert_eq!(run.column("vin"), "😀");
}

#[test]
fn control_characters_and_bad_escapes_are_a_reject_in_skipped_values_too() {
    let payloads =
        ["{\"o\":\"\t\"}", "{\"o\":\"\u{1}\"}", "{\"o\n\":1}", r#"{"o":"\x"}"#, r#"{"o":"\u12G4"}"#];
    for payload in payloads {
        assert_eq!(reason(CARS, payload), Some(Syntax), "{payload:?}");
    }
    assert_eq!(reason(CARS, "{\"o\":\"\u{7f}\"}"), None);
}

#[test]
fn skipped_values_are_held_to_the_grammar() {
    let values =
        ["01", "1.", ".5", "+1", "-", "1e", "0x1", "NaN", "tru", "nul", "'a'", "[1,]", "{\"a\":1,}", "{a:1}"];
    for value in values {
        for member in ["other", "vin", "n", "raw", "a", "tags"] {
            let payload = format!("{{\"{member}\":{value}}}");
            assert_eq!(reason(CARS, &payload), Some(Syntax), "{payload}");
        }
    }
}

#[test]
fn depth_is_limited_wherever_it_is() {
    for member in ["other", "raw", "a", "vin", "tags"] {
        let nested =
            |depth: usize| format!("{{\"{member}\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(reason(CARS, nested(64)), None, "{member}");
        assert_eq!(reject(CARS, nested(65)), Some((TooDeep, 4 + member.len() + 63)), "{member}");
        assert_eq!(reason(CARS, nested(200)), Some(TooDeep), "{member}");
        assert_eq!(reason(CARS, nested(20_000)), Some(TooDeep), "{member}");
    }
    let objects = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
    assert_eq!(reason(CARS, objects), Some(TooDeep));
    assert_eq!(reason(CARS, format!("{{\"o\":\"{}\"}}", "[".repeat(100))), None);
    assert_eq!(reason(&lists("Records"), format!("[{{\"o\":{}{}}}]", "[".repeat(62), "]".repeat(62))), None);
    assert_eq!(
        reason(&lists("Records"), format!("[{{\"o\":{}{}}}]", "[".repeat(63), "]".repeat(63))),
        Some(TooDeep)
    );
}

#[test]
fn a_doubled_declared_key_is_a_reject_read_or_not() {
    let payloads = [
        (r#"{"vin":"V1","vin":"V2"}"#, 12),
        (r#"{"vin":"V1","x":1,"n":1,"x":1}"#, 24),
        (r#"{"vin":null,"vin":null}"#, 12),
        (r#"{"a":{"b":{"c":"1","c":"2"}}}"#, 19),
        (r#"{"a":{"b":{}},"a":{"d":1}}"#, 14),
        (r#"{"a":{"b":{},"b":1}}"#, 13),
        (r#"{"a":1,"a":2}"#, 7),
        (r#"{"raw":{"inner":1,"inner":2}}"#, 18),
        (r#"{"Vehicle.Speed":1,"Vehicle.Speed":1}"#, 19),
    ];
    for (payload, at) in payloads {
        assert_eq!(reject(CARS, payload), Some((DoubledKey, at)), "{payload}");
        let schema = schema(CARS);
        let run = decode_as(&schema, vec![false; 12], &Limits::default(), &[payload]);
        assert_eq!(run.decoded.rejects[0].reason, DoubledKey, "{payload}");
    }
}

#[test]
fn a_doubled_key_is_known_through_its_escapes() {
    assert_eq!(reason(CARS, r#"{"vin":"V1","v\u0069n":"V2"}"#), Some(DoubledKey));
    assert_eq!(decode(CARS, &[r#"{"v\u0069n":"V2"}"#]).column("vin"), "V2");
}

#[test]
fn undeclared_keys_may_repeat_and_names_count_only_at_their_path() {
    let payloads = [
        r#"{"other":1,"other":2,"vin":"V"}"#,
        r#"{"other":{"vin":1,"vin":2},"vin":"V"}"#,
        r#"{"a":{"vin":1,"vin":2},"vin":"V"}"#,
        r#"{"c":1,"c":2,"b":3,"b":4,"vin":"V","Vehicle":{"Speed":1,"Speed":2}}"#,
        r#"{"raw":[{"inner":1,"inner":2}],"vin":"V"}"#,
    ];
    for payload in payloads {
        assert_eq!(decode(CARS, &[payload]).column("vin"), "V", "{payload}");
    }
}

#[test]
fn what_is_no_event_is_a_reject() {
    for payload in ["[]", "[{}]", "1", "\"vin\"", "null", "true", " []"] {
        assert_eq!(reason(CARS, payload), Some(Shape), "{payload}");
    }
    assert_eq!(reject(CARS, " []"), Some((Shape, 1)));
}

#[test]
fn that_it_is_no_json_is_said_before_anything_else() {
    assert_eq!(reject(CARS, r#"{"vin":1,"vin":2,}"#), Some((Syntax, 17)));
    assert_eq!(reason(CARS, "[1,"), Some(Syntax));
    assert_eq!(reason(&lists("Records"), r#"{"Records":[1]"#), Some(Syntax));
    assert_eq!(reason(CARS, "{\"vin\":1,\"vin\":2,\"o\":\"\\ud800\"}"), Some(Syntax));
}

#[test]
fn a_list_an_object_with_the_list_and_one_event_are_accepted() {
    for path in ["Records", "body.events"] {
        let (open, close) =
            if path == "Records" { ("{\"Records\":", "}") } else { ("{\"body\":{\"events\":", "}}") };
        let text = lists(path);
        let list = r#"[{"vin":"V1","n":1},{"vin":"V2"},{}]"#;
        for payload in [list.to_owned(), format!("{open}{list}{close}")] {
            let run = decode(&text, &[payload.as_str()]);
            assert_eq!(run.column("vin"), "V1 V2 NULL", "{payload}");
            assert_eq!(run.column("n"), "1 NULL NULL", "{payload}");
            let indices: Vec<u32> = run.decoded.batch.names.iter().map(|name| name.index).collect();
            assert_eq!(indices, [0, 1, 2]);
            assert_eq!(run.decoded.batch.positions, [0, 0, 0]);
            assert_eq!(run.column("_bytes"), [payload.len().to_string().as_str(); 3].join(" "));
        }
        assert_eq!(decode(&text, &[r#"{"vin":"V1","body":{"x":1}}"#]).column("vin"), "V1");
        for payload in ["[]".to_owned(), format!("{open}[]{close}")] {
            let run = decode(&text, &[payload]);
            assert_eq!((run.rows(), run.decoded.rejects.len()), (0, 0));
        }
    }
}

#[test]
fn what_stands_beside_a_list_is_no_event_and_leaves_nothing_behind() {
    let list = r#"[{"n":1},{"n":2,"vin":"V2"}]"#;
    let payloads = [
        format!(r#"{{"vin":"W","n":-9,"x":"bad","ts":9,"Records":{list}}}"#),
        format!(r#"{{"Records":{list},"vin":"W","n":"bad","a":1,"ts":9,"raw":{{"inner":5}}}}"#),
        format!(r#"{{"a":{{"b":{{"c":"W"}}}},"Records":{list},"x":7}}"#),
    ];
    for payload in &payloads {
        let run = decode(&lists("Records"), &[payload]);
        assert_eq!(run.column("n"), "1 2", "{payload}");
        assert_eq!(run.column("vin"), "NULL V2", "{payload}");
        for name in ["x", "deep", "nested", "ts", "raw"] {
            assert_eq!(run.column(name), "NULL NULL", "{payload} {name}");
        }
        assert_eq!((run.mistyped().as_str(), run.decoded.stats.untimed), ("", 2));
    }
}

#[test]
fn what_is_no_list_of_events_is_a_reject() {
    let text = lists("Records");
    let payloads = [
        r#"{"Records":{}}"#,
        r#"{"Records":null}"#,
        r#"{"Records":1e999}"#,
        r#"{"Records":"[]"}"#,
        r#"{"Records":[1]}"#,
        r#"{"Records":[{},[]]}"#,
        r#"{"Records":[{},null]}"#,
        r#"[{"vin":"V"},1e999]"#,
        r#"[[{}]]"#,
        "7",
    ];
    for payload in payloads {
        assert_eq!(reason(&text, payload), Some(Shape), "{payload}");
    }
    assert_eq!(reason(&text, r#"{"Records":[],"Records":[]}"#), Some(DoubledKey));
    assert_eq!(reason(&text, r#"{"Records":[{"Records":1,"Records":2}]}"#), None);
    assert_eq!(reason(&text, r#"[{"vin":"V"},{"vin":"V"}]"#), None);
    assert_eq!(reason(&lists("a.e"), r#"{"a":{"e":[],"e":[]}}"#), Some(DoubledKey));
    assert_eq!(reason(&lists("a.e"), r#"{"a":{"e":[]},"a":1}"#), Some(DoubledKey));
}

#[test]
fn what_follows_an_object_in_one_record_is_not_looked_for_within_it_in_the_next() {
    let run = decode(CARS, &[r#"{"a":{"d":1},"n":1}"#, r#"{"a":{"n":5,"d":2}}"#, r#"{"a":{"n":5},"n":3}"#]);
    assert_eq!((run.column("n"), run.column("side")), ("1 NULL 3".into(), "1 2 NULL".into()));
}

#[test]
fn one_bad_event_takes_its_record_along_and_no_other() {
    let bad = r#"[{"vin":"B1","n":1,"tags":["t"],"x":"?"},{"vin":"B2","vin":"B3"}]"#;
    let payloads =
        [r#"{"vin":"V1","tags":["a"]}"#, bad, r#"{"x":2}"#, bad, r#"[{"vin":"V4"},{"vin":"V5","tags":[]}]"#];
    let run = decode(&lists("Records"), &payloads);
    assert_eq!(run.column("vin"), "V1 NULL V4 V5");
    assert_eq!(run.column("tags"), "[a] NULL NULL []");
    assert_eq!(run.column("x"), "NULL 2.0 NULL NULL");
    assert_eq!(run.column("n"), "NULL NULL NULL NULL");
    assert_eq!(run.decoded.batch.positions, [0, 2, 4, 4]);
    assert_eq!((run.mistyped().as_str(), run.decoded.stats.untimed), ("", 4));
    let offsets: Vec<i64> = run.decoded.rejects.iter().map(|reject| reject.offset).collect();
    assert_eq!(offsets, [101, 103]);
    assert_eq!(run.decoded.rejects[0].payload, bad.as_bytes());
    assert_eq!(run.decoded.rejects[0].broker_time, broker(1));
}

#[test]
fn a_record_over_the_limit_is_a_reject_and_one_at_the_limit_is_not() {
    let limits = Limits { record_bytes: 20, ..Limits::default() };
    let run = decode_as(
        &schema(CARS),
        vec![true; 12],
        &limits,
        &[r#"{"vin":"12345678" }"#, r#"{"vin":"12345678"  }"#],
    );
    assert_eq!(run.rows(), 2);
    let run = decode_as(&schema(CARS), vec![true; 12], &limits, &[r#"{"vin":"12345678"   }"#]);
    assert_eq!((run.decoded.rejects[0].reason, run.decoded.rejects[0].at), (TooLarge, 20));
    assert_eq!(run.decoded.rejects[0].detail, "21 bytes, limit 20");
}

#[test]
fn a_value_of_another_type_is_null_and_counted() {
    let cases = [
        ("n", "1.0"),
        ("n", "1e3"),
        ("n", "9223372036854775808"),
        ("n", "\"1\""),
        ("n", "[1]"),
        ("n", "-1"),
        ("x", "\"1\""),
        ("x", "1e999"),
        ("x", "true"),
        ("x", "-1.5"),
        ("lit", "1"),
        ("lit", "\"true\""),
        ("vin", "1"),
        ("vin", "[\"V\"]"),
        ("vin", "true"),
        ("ip", "\"1.2.3\""),
        ("ip", "7"),
        ("tags", "\"a\""),
        ("tags", "[1]"),
        ("tags", "[\"a\",null]"),
        ("tags", "{}"),
        ("ts", "\"2026-11-24T10:00:00Z\""),
        ("ts", "1.5"),
        ("ts", "-1"),
        ("ts", "7258118400000"),
    ];
    for (name, value) in cases {
        let run = decode(CARS, &[format!("{{\"{name}\":{value}}}"), "{}".to_owned()]);
        assert_eq!(run.column(name), "NULL NULL", "{name} {value}");
        assert_eq!(run.mistyped(), format!("{name}:1"), "{name} {value}");
    }
}

#[test]
fn null_and_absent_values_are_null_and_not_counted() {
    let names = "vin ts n x lit ip tags raw a Vehicle.Speed";
    let all: Vec<String> = names.split(' ').map(|name| format!("\"{name}\":null")).collect();
    let run =
        decode(CARS, &[format!("{{{}}}", all.join(",")), "{}".into(), r#"{"a":{"b":null,"d":null}}"#.into()]);
    for name in "vin ts n x lit ip tags raw nested deep side dots".split(' ') {
        assert_eq!(run.column(name), "NULL NULL NULL", "{name}");
    }
    assert_eq!(run.mistyped(), "");
}

#[test]
fn a_path_through_something_else_than_an_object_is_absent_and_counted() {
    let run =
        decode(CARS, &[r#"{"a":[{"d":1}]}"#, r#"{"a":{"b":"x","d":2}}"#, r#"{"raw":[1]}"#, r#"{"a":1e999}"#]);
    assert_eq!(run.column("side"), "NULL 2 NULL NULL");
    assert_eq!(run.column("deep"), "NULL NULL NULL NULL");
    assert_eq!(run.mistyped(), "deep:3 nested:1 side:2");
}

#[test]
fn numbers_are_exact_and_never_minus_zero() {
    let run = decode(CARS, &[r#"{"n":9223372036854775807,"x":-0.0}"#, r#"{"n":-0,"x":9007199254740993}"#]);
    assert_eq!(run.column("n"), "9223372036854775807 0");
    assert_eq!(run.column("x"), "0.0 9007199254740992.0");
}

#[test]
fn numbers_beyond_a_double_are_fine_where_nobody_reads_them() {
    let payload = r#"{"other":1e999,"a":{"z":-1e999},"raw":[1e999],"vin":"V"}"#;
    let run = decode(CARS, &[payload]);
    assert_eq!(run.column("vin"), "V");
    assert_eq!(run.column("raw"), "[1e999]");
}

#[test]
fn json_keeps_order_and_spelling_and_the_fields_within_it() {
    let run = decode(CARS, &[r#"{"raw" : { "b" : [ 1.50 , " x " ], "inner" : 7, "a" : {} } }"#]);
    assert_eq!(run.column("raw"), r#"{"b":[1.50," x "],"inner":7,"a":{}}"#);
    assert_eq!(run.column("nested"), "7");
    assert_eq!(decode(CARS, &[r#"{"raw":"text"}"#]).column("raw"), "\"text\"");
}

#[test]
fn addresses_are_canonical() {
    let run = decode(CARS, &[r#"{"ip":"::ffff:10.0.0.1"}"#, r#"{"ip":"2001:DB8::0:1"}"#]);
    assert_eq!(run.column("ip"), "10.0.0.1 2001:db8::1");
}

#[test]
fn a_time_ahead_of_the_broker_is_moved_and_one_far_ahead_is_flagged() {
    let ahead = |position: usize, seconds: f64| {
        format!("{{\"ts\":{}}}", broker(position).millis() + (seconds * 1000.0) as i64)
    };
    let payloads = [ahead(0, 0.0), ahead(1, 0.001), ahead(2, 300.0), ahead(3, 300.001), ahead(4, -5.0)];
    let run = decode(CARS, &payloads);
    let time: Vec<Timestamp> = run.decoded.batch.time.clone();
    assert_eq!(time, [broker(0), broker(1), broker(2), broker(3), broker(4).minus(5 * SECOND)]);
    assert_eq!(run.column("_time_skewed"), "false false false true false");
    assert_eq!(run.column("event_time").split(' ').next_back(), Some("1970-01-12T13:46:39"));
    assert_eq!(run.column("ts").split(' ').nth(3), Some("1970-01-12T13:51:43.001"));
    let stats = &run.decoded.stats;
    assert_eq!((stats.moved, stats.skewed, stats.untimed), (3, 1, 0));
}

#[test]
fn an_event_without_a_plausible_time_is_dated_by_the_broker() {
    let run = decode(CARS, &["{}", r#"{"ts":null}"#, r#"{"ts":-1}"#, r#"{"ts":"x"}"#, r#"{"ts":0}"#]);
    let time: Vec<Timestamp> = run.decoded.batch.time.clone();
    assert_eq!(time, [broker(0), broker(1), broker(2), broker(3), Timestamp(0)]);
    assert_eq!((run.decoded.stats.untimed, run.mistyped().as_str()), (4, "ts:2"));
    let run = decode("[fields]\nvin = { type = \"string\" }\n", &["{}"]);
    assert_eq!((run.decoded.stats.untimed, run.decoded.batch.time[0]), (0, broker(0)));
}

#[test]
fn what_is_not_built_is_a_null_column_and_the_time_is_read_all_the_same() {
    let mut projection = vec![false; 12];
    projection[2] = true;
    let payload = r#"{"vin":7,"ts":5000,"n":3,"x":"?","a":1}"#;
    let run = decode_as(&schema(CARS), projection, &Limits::default(), &[payload]);
    assert_eq!(run.rows(), 1);
    assert_eq!(run.column("n"), "3");
    for name in ["vin", "ts", "x", "deep"] {
        let column = run.decoder.schema.column(name).unwrap();
        assert_eq!(run.decoded.batch.columns.column(column).data_type(), &arrow::datatypes::DataType::Null);
    }
    assert_eq!(run.decoded.batch.time, [Timestamp(5 * SECOND)]);
    assert_eq!(run.mistyped(), "");
}

#[test]
fn a_member_without_a_value_is_no_json_whatever_it_would_have_been() {
    let texts = [CARS.to_owned(), lists("Records")];
    for name in ["vin", "n", "tags", "raw", "lit", "Records", "unknown"] {
        for payload in
            [format!(r#"{{"{name}":}}"#), format!(r#"{{"{name}":,"x":1}}"#), format!(r#"[{{"{name}":,}}]"#)]
        {
            for text in &texts {
                assert!(reason(text, &payload).is_some(), "{payload}");
            }
        }
    }
}

#[test]
fn a_decoder_is_empty_after_finish() {
    let mut run = decode(CARS, &[r#"{"vin":"V1","n":"?","tags":["a"],"raw":{},"lit":true}"#, "{"]);
    assert_eq!((run.rows(), run.decoded.rejects.len(), run.mistyped().as_str()), (1, 1, "n:1"));
    assert_eq!(run.decoded.rejects_by_reason(), BTreeMap::from([(Syntax, 1)]));
    run.decoded = run.decoder.finish(&sources());
    assert_eq!((run.rows(), run.decoded.rejects.len()), (0, 0));
    assert_eq!(run.decoded.stats, DecodeStats::default());
    let record =
        Record { source: 0, offset: 7, broker_time: broker(0), payload: br#"{"x":1}"#, broken: None };
    run.decoder.push(&record, 3);
    run.decoded = run.decoder.finish(&sources());
    assert_eq!(
        (run.column("x"), run.column("vin"), run.column("tags")),
        ("1.0".into(), "NULL".into(), "NULL".into())
    );
    assert_eq!(run.decoded.batch.positions, [3]);
}

#[test]
fn an_event_of_cloudtrail_is_read_at_its_real_paths() {
    let payload = r#"{"Records": [{"eventVersion": "1.09", "userIdentity": {"type": "AssumedRole",
        "principalId": "P:s",
        "sessionContext": {"sessionIssuer": {"type": "Role", "arn": "arn:aws:iam::1:role/r"},
        "attributes": {"mfaAuthenticated": "false"}}}, "eventTime": "2024-08-01T12:28:02Z",
        "eventName": "StopLogging", "sourceIPAddress": "ec2.amazonaws.com",
        "requestParameters": {"name": "t"},
        "responseElements": null, "readOnly": false, "tlsDetails": {"tlsVersion": "TLSv1.3"}}]}"#;
    let schema = crate::schema::built_in().into_iter().find(|schema| &*schema.name == "cloudtrail").unwrap();
    let record = Record {
        source: 0,
        offset: 0,
        broker_time: Timestamp(i64::MAX),
        payload: payload.as_bytes(),
        broken: None,
    };
    let mut decoder = JsonDecoder::new(schema.clone(), vec![true; schema.fields.len()], &Limits::default());
    decoder.push(&record, 0);
    let decoded = decoder.finish(&sources());
    let run = Run { decoder, decoded };
    let columns = "ts event_name identity_type session_issuer_arn mfa_authenticated source_ip \
                   request_parameters response_elements read_only tls_version error_code";
    let shown: Vec<String> = columns.split_whitespace().map(|name| run.column(name)).collect();
    assert_eq!(
        shown.join(" "),
        "2024-08-01T12:28:02 StopLogging AssumedRole arn:aws:iam::1:role/r false ec2.amazonaws.com \
         {\"name\":\"t\"} NULL false TLSv1.3 NULL"
    );
    assert!(
        run.column("user_identity")
            .starts_with(r#"{"type":"AssumedRole","principalId":"P:s","sessionContext":{"#)
    );
    assert_eq!(run.mistyped(), "");
}
