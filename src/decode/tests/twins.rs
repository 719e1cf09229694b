//! The quick reading and the thorough one say the same of everything: rows, rejects with reason, place and
//! detail, and counts.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type};
use proptest::prelude::*;

use super::*;

/// Fails at the first difference.
pub fn assert_same(quick: &Decoded, thorough: &Decoded) {
    let rejects = |decoded: &Decoded| -> Vec<_> {
        let of = |it: &Reject| {
            (it.offset, it.source, it.broker_time, it.reason, it.at, it.detail.clone(), it.payload.clone())
        };
        decoded.rejects.iter().map(of).collect()
    };
    assert_eq!(rejects(quick), rejects(thorough));
    assert_eq!(quick.stats, thorough.stats);
    let (left, right) = (&quick.batch, &thorough.batch);
    assert_eq!((&left.names, &left.time), (&right.names, &right.time));
    assert_eq!((&left.positions, &left.stream), (&right.positions, &right.stream));
    assert_eq!(left.columns.schema(), right.columns.schema());
    for (field, (one, other)) in
        left.columns.schema().fields().iter().zip(left.columns.columns().iter().zip(right.columns.columns()))
    {
        assert_eq!(one, other, "{}", field.name());
        if one.data_type() == &DataType::Float64 {
            let bits = |array: &ArrayRef| -> Vec<u64> {
                array.as_primitive::<Float64Type>().values().iter().map(|float| float.to_bits()).collect()
            };
            assert_eq!(bits(one), bits(other), "{}", field.name());
        }
    }
}

/// One of each: flat, nested and within lists; a field of every type, every unit, every way to normalize.
pub fn schemas() -> Vec<Arc<Schema>> {
    let all = crate::schema::built_in();
    let built_in = all.into_iter().filter(|schema| ["telemetry", "cloudtrail"].contains(&&*schema.name));
    built_in.chain([schema(EVERYTHING), schema(&lists("Records")), schema(&lists("a.zz"))]).collect()
}

const EVERYTHING: &str = r#"
time = "t_ms"
[fields]
t_s   = { type = "timestamp", unit = "s" }
t_ms  = { type = "timestamp", unit = "ms" }
t_us  = { type = "timestamp", unit = "us" }
t_ns  = { type = "timestamp", unit = "ns" }
t_3339 = { type = "timestamp", unit = "rfc3339" }
low   = { type = "string", normalize = ["lower"] }
up    = { type = "string", normalize = ["upper", "trim"] }
plain = { type = "string" }
n     = { type = "int" }
n_min = { type = "int", min = 5 }
x     = { type = "float" }
x_min = { type = "float", min = 0 }
lit   = { type = "bool" }
ip    = { type = "ip" }
tags  = { type = "strings" }
raw   = { type = "json" }
odd   = { type = "int", path = ["a\"b\\c"] }
long  = { type = "int", path = ["a member with a very long name é"] }
one   = { type = "int", path = "deep.one" }
two   = { type = "string", path = "deep.er.two" }
whole = { type = "json", path = "deep.er" }
"#;

/// Every name that any of the schemas declares, each also in a roundabout way, and some that none does.
fn names() -> Vec<String> {
    let mut names: Vec<String> = schemas()
        .iter()
        .flat_map(|schema| schema.fields.iter().flat_map(|field| field.path.clone()).collect::<Vec<_>>())
        .chain(["Records", "zz", "nobody", "a\u{1}b"].map(String::from))
        .map(|name| serde_json::to_string(&name).unwrap())
        .collect();
    names.push("\"v\\u0069n\"".into());
    names.push("\"\\u0061\"".into());
    names
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,6})?",
        2 => "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
        2 => (0..2_000_000_000_000_i64).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<f64>().prop_map(|x| format!("{x:?}")),
        1 => "-?[0-9.eE+-]{1,8}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[ A-Za-z0-9.:-]{0,24}".prop_map(|text| format!("\"{text}\"")),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => "(\\PC|\\\\[\"\\\\/bfnrtux]|\\\\u[0-9a-fA-F]{4}|\\\\ud83d\\\\ude0[0-9a-f]){0,6}"
            .prop_map(|text| format!("\"{text}\"")),
        1 => any::<[u8; 4]>().prop_map(|ip| format!("\"{}.{}.{}.{}\"", ip[0], ip[1], ip[2], ip[3])),
        1 => proptest::sample::select(vec![
            "\"::ffff:1.2.3.4\"", "\"2001:DB8::1\"", "\"10.0.0.01\"", "\"2026-11-24T10:00:00.5+02:00\"",
            "\"2026-11-24\"", "\"\\u0031.2.3.4\"", "\"\u{a0}v\u{a0}\"", "\"ß\"",
        ])
        .prop_map(String::from),
    ]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t")]
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => number(),
        4 => text(),
        2 => proptest::sample::select(vec!["null", "true", "false", "nul", "nullx", "falsy", "", "[]", "{}"])
            .prop_map(String::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| prop_oneof![list(inner.clone()), object(inner)])
}

fn list(value: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    (space(), proptest::collection::vec(value, 0..5)).prop_map(|(s, items)| {
        let items: Vec<String> = items.iter().map(|item| format!("{s}{item}{s}")).collect();
        format!("[{}]", items.join(","))
    })
}

fn object(value: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let member = (proptest::sample::select(names()), value);
    (space(), proptest::collection::vec(member, 0..8)).prop_map(|(s, members)| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("{s}{name}{s}:{s}{value}{s}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn payload() -> impl Strategy<Value = String> {
    let records = proptest::collection::vec(object(value()), 0..4)
        .prop_map(|events| format!("[{}]", events.join(",")))
        .boxed();
    prop_oneof![
        6 => object(value()),
        1 => records.clone(),
        2 => (object(value()), records).prop_map(|(beside, list)| {
            let beside = beside.strip_prefix('{').unwrap_or_default();
            format!("{{\"Records\":{list},{beside}")
        }),
        1 => value(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_comes_both_say_the_same(
        payloads in proptest::collection::vec(payload(), 1..6),
        built in proptest::collection::vec(any::<bool>(), 64),
        all in any::<bool>(),
        depth in prop_oneof![Just(64usize), 0..6usize],
    ) {
        let limits = Limits { depth, record_bytes: 400, ..Limits::default() };
        for schema in schemas() {
            let projection = (0..schema.fields.len()).map(|i| all || built[i]).collect();
            decode_as(&schema, projection, &limits, &payloads);
        }
    }
}

#[test]
fn rows_without_a_value_are_filled_before_after_and_between() {
    let full = r#"{"plain":"p","n":1,"x":2.5,"lit":true,"tags":["a"],"raw":[1],"t_us":5,"ip":"1.2.3.4"}"#;
    let schema = schema(EVERYTHING);
    let all = vec![true; schema.fields.len()];
    let cut = &full[..full.len() - 1];
    let payloads = ["{}", "{}", full, "{}", "[", cut, full, r#"{"tags":["a","b"],"tags":[]}"#, "{}", "{}"];
    let run = decode_as(&schema, all, &Limits::default(), &payloads);
    assert_eq!(run.column("tags"), "NULL NULL [a] NULL [a] NULL NULL");
    assert_eq!(run.column("plain"), "NULL NULL p NULL p NULL NULL");
}

#[test]
fn a_limit_of_depth_may_be_any() {
    let schema = schema(EVERYTHING);
    let all = vec![true; schema.fields.len()];
    let nested = |depth: usize| format!("{{\"raw\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    for depth in [0, 1, 2, 127, 128, 129, 200_000] {
        let limits = Limits { depth, ..Limits::default() };
        let run = decode_as(&schema, all.clone(), &limits, &[nested(depth.max(1)), nested(depth + 1)]);
        assert_eq!(run.rows(), usize::from(depth > 0), "{depth}");
    }
}

#[test]
fn another_order_of_members_changes_nothing() {
    let schema = schema(EVERYTHING);
    let members =
        [r#""n":1"#, r#""plain":"a""#, r#""x":0.1"#, r#""nobody":{}"#, r#""deep":{"one":1,"zz":2}"#];
    let orders = (0..members.len()).flat_map(|first| (0..members.len()).map(move |step| (first, step)));
    let payloads: Vec<String> = orders
        .map(|(first, step)| {
            let mut some: Vec<&str> =
                (0..members.len()).map(|i| members[(first + i * step) % members.len()]).collect();
            some.sort_unstable_by_key(|member| (member.len() * (first + 3)) % 7);
            some.dedup();
            format!("{{{}}}", some.join(","))
        })
        .collect();
    let run = decode_as(&schema, vec![true; schema.fields.len()], &Limits::default(), &payloads);
    assert!(run.rows() > 10, "{}", run.rows());
}
