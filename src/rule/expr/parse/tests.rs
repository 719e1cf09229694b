//! Texts and the trees they become; bad texts and what is said.

use std::sync::Arc;

use super::*;
use crate::event::Type;
use crate::rule::expr::node::Func;
use crate::rule::fixtures::schemas;

fn text(sql: &str) -> Text {
    Text { file: Arc::from("t"), text: sql.into(), span: 0..sql.len(), start: Some(0) }
}

fn a_let(name: &str, value: LetValue) -> Let {
    Let { name: name.into(), file: Arc::from("t"), name_span: 0..0, own: true, value }
}

fn lets() -> Vec<Let> {
    vec![
        a_let("limit", LetValue::Constant(Value::Int(5))),
        a_let("fast", LetValue::Sql(text("speed > limit"))),
        a_let("total", LetValue::Sql(text("count(*)"))),
        a_let("gears", LetValue::List(vec![Value::Int(1), Value::Int(2)])),
        a_let("one", LetValue::Sql(text("two + 1"))),
        a_let("two", LetValue::Sql(text("one + 1"))),
    ]
}

fn schema(name: &str) -> Arc<Schema> {
    schemas().into_iter().find(|schema| &*schema.name == name).unwrap()
}

/// A tree in short: `(and (eq service 39) …)`.
fn short(schema: &Schema, node: &Node) -> String {
    let head = match &node.op {
        Op::Const(Value::Text(text)) => return format!("'{text}'"),
        Op::Const(Value::Int(int)) => return int.to_string(),
        Op::Const(Value::Float(float)) => return format!("{float:?}"),
        Op::Const(Value::Bool(bool)) => return bool.to_string(),
        Op::Const(Value::Time(time)) => return time.rfc3339(),
        Op::Const(_) => return format!("null:{}", node.kind.name()),
        Op::Column(column) => return schema.column_name(*column).into(),
        Op::Aggregate(index) => return format!("#{index}"),
        Op::Cast => format!("cast-{}", node.kind.name()),
        Op::Call(Func::JsonGet(steps)) => format!("json_get{}", steps.len()),
        Op::Call(Func::JsonList(steps)) => format!("json_list{}", steps.len()),
        Op::Call(Func::CidrMatch(networks)) => format!("cidr{}", networks.len()),
        Op::Call(func) => format!("{func:?}"),
        op => format!("{op:?}"),
    };
    let args: Vec<String> = node.args.iter().map(|arg| short(schema, arg)).collect();
    format!("({} {})", head.to_lowercase(), args.join(" "))
}

fn read(stream: &str, sql: &str, place: Place) -> Result<String, Vec<String>> {
    let (schema, lets) = (schema(stream), lets());
    let mut scope = Scope::new(&schema, &lets);
    let tree = scope.read(&text(sql), place);
    let said: Vec<String> = scope
        .problems
        .iter()
        .map(|problem| {
            let part = sql.get(problem.span.clone()).unwrap_or("?");
            format!("[{part}] {} | {}", problem.message, problem.hint)
        })
        .collect();
    match tree {
        Some(tree) if said.is_empty() => Ok(short(&schema, &tree.node)),
        _ => Err(said),
    }
}

#[track_caller]
fn reads(stream: &str, sql: &str, expected: &str) {
    assert_eq!(read(stream, sql, Place::Judgement), Ok(expected.to_string()), "{sql}");
}

/// The text has exactly these problems: each a part of what is said.
#[track_caller]
fn fails(stream: &str, sql: &str, expected: &[&str]) {
    fails_at(stream, sql, Place::Where, expected);
}

#[track_caller]
fn fails_at(stream: &str, sql: &str, place: Place, expected: &[&str]) {
    let said: Vec<String> = read(stream, sql, place).expect_err(sql).iter().map(|said| brief(said)).collect();
    assert_eq!(said.len(), expected.len(), "{}: {said:#?}", brief(sql));
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{}: {said}", brief(sql));
    }
}

/// The end of a long text.
fn brief(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(300);
    text.chars().skip(skip).collect()
}

#[test]
fn operators_keep_their_shape() {
    reads(
        "diagnostics",
        "service = 39 AND response = 'negative'",
        "(and (eq service 39) (eq response 'negative'))",
    );
    reads("diagnostics", "39 = service OR 5 < service", "(or (eq service 39) (gt service 5))");
    reads("diagnostics", "service NOT BETWEEN 1 AND 3", "(not (between service 1 3))");
    reads("diagnostics", "service NOT IN (1, 2)", "(not (in service 1 2))");
    reads("diagnostics", "ecu <> 'a' AND ecu != 'b'", "(and (ne ecu 'a') (ne ecu 'b'))");
    reads("diagnostics", "ecu IS NOT NULL", "(not (isnull ecu))");
    reads("diagnostics", "ecu IS DISTINCT FROM 'a'", "(not (same ecu 'a'))");
    reads("diagnostics", "'a' IS NOT DISTINCT FROM ecu", "(same ecu 'a')");
    reads(
        "telemetry",
        "(charging IS DISTINCT FROM TRUE) AND speed > 1.0",
        "(and (not (same charging true)) (gt speed 1.0))",
    );
    reads("diagnostics", "ecu NOT LIKE 'B%'", "(not (like(\"b%\") ecu))");
    reads("telemetry", "charging IS NOT TRUE", "(not (istrue charging))");
    reads("telemetry", "charging IS FALSE", "(istrue (not charging))");
    reads("diagnostics", "ecu || '-' || vin", "(concat (concat ecu '-') vin)");
    reads("telemetry", "gear IN (gears, 3)", "(in gear 1 2 3)");
    reads("diagnostics", "-service", "(neg service)");
    reads("telemetry", "lat > -5", "(gt lat -5.0)");
    reads("diagnostics", "service = -9223372036854775808", "(eq service -9223372036854775808)");
    reads("diagnostics", "'it''s' = ecu", "(eq ecu 'it's')");
}

#[test]
fn numbers_meet_as_floats_and_literals_adapt() {
    reads("telemetry", "speed > 5", "(gt speed 5.0)");
    reads("telemetry", "speed > gear", "(gt speed (cast-float gear))");
    reads("telemetry", "gear > 5.0", "(gt gear 5)");
    reads("telemetry", "gear > 5.5", "(gt (cast-float gear) 5.5)");
    reads("telemetry", "gear / 2", "(div (cast-float gear) 2.0)");
    reads("telemetry", "gear + 1", "(add gear 1)");
    reads("telemetry", "gear + speed * 2", "(add (cast-float gear) (mul speed 2.0))");
    reads("telemetry", "speed BETWEEN 0 AND 100", "(between speed 0.0 100.0)");
    reads("telemetry", "gear BETWEEN 0 AND 1.5", "(between (cast-float gear) 0.0 1.5)");
    reads("telemetry", "speed IN (1, 2.5)", "(in speed 1.0 2.5)");
    reads("telemetry", "coalesce(gear, 0.5)", "(coalesce (cast-float gear) 0.5)");
    reads("telemetry", "gear > limit", "(gt gear 5)");
    reads("telemetry", "fast", "(gt speed 5.0)");
}

#[test]
fn times_and_nulls_take_the_type_that_is_needed() {
    reads("diagnostics", "time > '2026-01-01T00:00:00Z'", "(gt time 2026-01-01T00:00:00.000Z)");
    reads("diagnostics", "'2026-01-01T00:00:00Z' < time", "(gt time 2026-01-01T00:00:00.000Z)");
    reads("diagnostics", "time > TIMESTAMP '2026-01-01T00:00:00Z'", "(gt time 2026-01-01T00:00:00.000Z)");
    reads(
        "diagnostics",
        "seconds_between(broker_time, '2026-01-01T00:00:00Z') > 1",
        "(gt (secondsbetween broker_time 2026-01-01T00:00:00.000Z) 1.0)",
    );
    reads("diagnostics", "coalesce(NULL, ecu)", "(coalesce null:string ecu)");
    reads("diagnostics", "CASE WHEN service = 1 THEN 'a' END", "(case (eq service 1) 'a' null:string)");
    reads(
        "diagnostics",
        "CASE service WHEN 1 THEN 1 WHEN 2 THEN 2.5 ELSE NULL END",
        "(case (eq service 1) 1.0 (eq service 2) 2.5 null:float)",
    );
    reads("diagnostics", "NULL AND service = 1", "(and null:bool (eq service 1))");
}

#[test]
fn casts_and_functions() {
    reads("diagnostics", "TRY_CAST(ecu AS BIGINT)", "(cast-int ecu)");
    reads("diagnostics", "CAST(ecu AS double) > 1", "(gt (cast-float ecu) 1.0)");
    reads("diagnostics", "ecu::int = 1", "(eq (cast-int ecu) 1)");
    reads("diagnostics", "CAST(service AS VARCHAR)", "(cast-string service)");
    reads("diagnostics", "CAST(ecu AS TIMESTAMP)", "(cast-timestamp ecu)");
    reads("diagnostics", "CAST(service AS INTEGER)", "service");
    reads("cloudtrail", "json_get(request_parameters, 'a.b[0]')", "(json_get3 request_parameters)");
    reads(
        "cloudtrail",
        "array_has(json_list(request_parameters, 'a[*].b'), '*')",
        "(arrayhas (json_list3 request_parameters) '*')",
    );
    reads("cloudtrail", "cidr_match(source_ip, '10.0.0.0/8', '::1')", "(cidr2 source_ip)");
    reads("cloudtrail", "regexp_like(event_name, '^Stop')", "(regexplike(\"^stop\") event_name)");
    reads("telemetry", "floor(speed / 5)", "(floor (div speed 5.0))");
    reads("telemetry", "CEIL(lat) + ROUND(lon)", "(add (ceil lat) (round lon))");
    reads("telemetry", "abs(-gear)", "(abs (neg gear))");
    reads(
        "diagnostics",
        "cardinality(codes) > 0 AND length(lower(ecu)) = 3",
        "(and (gt (cardinality codes) 0) (eq (length (lower ecu)) 3))",
    );
    reads(
        "diagnostics",
        "starts_with(ecu, vin) OR ends_with(upper(ecu), 'X')",
        "(or (startswith ecu vin) (endswith (upper ecu) 'X'))",
    );
}

#[test]
fn aggregates_become_leaves() {
    let over = |sql: &str| read("telemetry", sql, Place::Window);
    let ok = |text: &str| Ok(text.to_string());
    assert_eq!(over("count(*) >= 6 AND count(*) > 2"), ok("(and (ge #0 6) (gt #0 2))"));
    assert_eq!(over("6 <= total AND count(*) FILTER (WHERE fast) > 1"), ok("(and (ge #0 6) (gt #1 1))"));
    assert_eq!(over("avg(speed) > 1 OR max(gear) = 2"), ok("(or (gt #0 1.0) (eq #1 2))"));
    assert_eq!(over("sum(gear) / count(*) > 0.5"), ok("(gt (div (cast-float #0) (cast-float #1)) 0.5)"));
    assert_eq!(over("cardinality(values(vin, 10)) > 3"), ok("(gt (cardinality #0) 3)"));
    assert_eq!(over("count(gear) = count(*) FILTER (WHERE gear IS NOT NULL)"), ok("(eq #0 #0)"));
    assert_eq!(over("count(DISTINCT speed) + min(event_time) IS NULL").map_err(|said| said.len()), Err(1));
    let (schema, lets) = (schema("telemetry"), lets());
    let mut scope = Scope::new(&schema, &lets);
    let sql = "count(gear) FILTER (WHERE charging) > 1 AND sum(speed * 2) > 1 AND count(DISTINCT vin) > 1";
    scope.read(&text(sql), Place::Window).unwrap();
    let calls: Vec<String> = scope
        .aggregates
        .iter()
        .map(|call| {
            let part = |node: &Option<Node>| node.as_ref().map_or("-".into(), |node| short(&schema, node));
            format!("{} {} {}", call.name, part(&call.arg), part(&call.filter))
        })
        .collect();
    assert_eq!(
        calls,
        ["count - (and charging (not (isnull gear)))", "sum (mul speed 2.0) -", "count_distinct_vin vin -"]
    );
    assert_eq!(scope.aggregates[1].arg.as_ref().map(|node| node.kind), Some(Type::Float));
}

#[test]
fn names_that_are_wrong_are_explained() {
    fails(
        "diagnostics",
        "respons = 'negative'",
        &["[respons] column \"respons\" does not exist in stream \"diagnostics\" | \
             did you mean \"response\"? (string: positive, negative)"],
    );
    fails("diagnostics", "Response = 'x' AND servce = 1", &["case-sensitive: write response", "(int)"]);
    fails("telemetry", "limt > 1", &["did you mean \"limit\"? (a let)"]);
    fails("telemetry", "xyzzy = 1", &["one of: vin, speed"]);
    fails("telemetry", "\"speed\" > 1", &["write speed without quotes"]);
    fails("telemetry", "vin = \"V1\"", &["a text takes single quotes: 'V1'"]);
    fails("telemetry", "car.speed > 1", &["[car.speed] \"car.speed\" is not a column"]);
    fails("telemetry", "telemetry.speed > 1", &["a column goes by its name alone: speed"]);
    fails("telemetry", "gears = 1", &["use it as `x IN (gears)`"]);
    fails("telemetry", "gear > one", &["defined by itself"]);
}

#[test]
fn types_that_do_not_fit_are_explained() {
    fails(
        "diagnostics",
        "service = '39'",
        &["['39'] \"'39'\" is a string, but \"service\" is an int | write the number without quotes"],
    );
    fails("diagnostics", "ecu = 5", &["quote it: '5', or convert: `TRY_CAST(ecu AS BIGINT)`"]);
    fails("diagnostics", "ecu = service", &["convert"]);
    fails("telemetry", "charging = 'true'", &["a boolean stands alone: `charging`"]);
    fails("telemetry", "charging = 1", &["a boolean stands alone"]);
    fails("telemetry", "charging > FALSE", &["booleans have no order"]);
    fails("diagnostics", "codes = 'P1'", &["array_has(codes, 'text')"]);
    fails("diagnostics", "codes IN ('P1')", &["array_has"]);
    fails("diagnostics", "time > 'yesterday'", &["'yesterday' is not a time"]);
    fails("diagnostics", "time - broker_time > 5", &["seconds_between", "seconds_between"]);
    fails("diagnostics", "ecu + 1 > 2", &["TRY_CAST(ecu AS DOUBLE)"]);
    fails("diagnostics", "ecu AND service", &["not a condition", "not a condition"]);
    fails("diagnostics", "service = 1 || service = 2", &["`||` joins texts", "OR"]);
    fails("diagnostics", "ecu = NULL", &["`ecu IS NULL`"]);
    fails("diagnostics", "service IN (1, NULL)", &["NULL in a list"]);
    fails("diagnostics", "ecu IN (vin)", &["is not a constant"]);
    fails("diagnostics", "service BETWEEN 5 AND 1", &["never true"]);
    fails("diagnostics", "CAST(time AS BIGINT) > 1", &["seconds_between"]);
    fails("diagnostics", "CAST(ecu AS DECIMAL(3,1)) > 1", &["there is no cast to DECIMAL(3,1)"]);
    fails("diagnostics", "lower(service) = 'a'", &["CAST(service AS VARCHAR)"]);
    fails("diagnostics", "service > 99999999999999999999", &["does not fit 64 bits"]);
    fails("telemetry", "speed > 1e999", &["a double can hold"]);
}

#[test]
fn forms_that_are_not_ours_are_explained() {
    fails("diagnostics", "ecu ILIKE 'b%'", &["lower(x) LIKE"]);
    fails("diagnostics", "ecu IN (SELECT ecu FROM t)", &["a subquery"]);
    fails("diagnostics", "EXISTS (SELECT 1)", &["a subquery"]);
    fails("diagnostics", "count(*) OVER () > 1", &["OVER"]);
    fails("diagnostics", "time > INTERVAL '1' DAY", &["INTERVAL"]);
    fails("diagnostics", "ecu ~ 'x'", &["regexp_like"]);
    fails("telemetry", "charging IS DISTINCT FROM TRUE AND speed > 1", &["put brackets around it"]);
    fails("telemetry", "charging IS NOT DISTINCT FROM TRUE OR speed > 1", &["put brackets around it"]);
    fails("diagnostics", "ecu LIKE vin", &["literal pattern"]);
    fails("diagnostics", "ecu == 'x' && service = 1", &["&&"]);
    fails("diagnostics", "service & 1 = 1", &["operator &"]);
    fails("diagnostics", "codes[0] = 'P1'", &["brackets"]);
    fails("diagnostics", "substring(vin, 1, 3) = 'WVW'", &["\"substring\" is not built yet"]);
    fails("diagnostics", "trim(vin) = 'WVW'", &["\"trim\" is not built yet"]);
    fails(
        "diagnostics",
        "haversine_km(1, 2, 3, 4) > 5",
        &["[haversine_km] function \"haversine_km\" is not built yet"],
    );
    fails("diagnostics", "lag(service) > 5", &["[lag] \"lag\" looks back"]);
    fails_at("diagnostics", "lag(service) > 5", Place::Judgement, &["\"lag\" is not built yet"]);
    fails("diagnostics", "lenght(ecu) > 5", &["did you mean \"length\"?"]);
    fails("diagnostics", "array_length(codes) > 5", &["write cardinality(list)"]);
    fails("diagnostics", "round(service, 2) > 5", &["write round(x)"]);
    fails("diagnostics", "floor(service, 2) > 5", &["write floor(x)"]);
    fails("diagnostics", "json_get(ecu) = 'x'", &["json_get(text, 'a.b')"]);
    fails("diagnostics", "json_get(ecu, vin) = 'x'", &["the path is a literal"]);
    fails("diagnostics", "json_get(ecu, 'a[*]') = 'x'", &["array_has(json_list(ecu, 'a[*]'), 'text')"]);
    fails("diagnostics", "regexp_like(ecu, '(')", &["not a pattern: unclosed group"]);
    fails("diagnostics", "cidr_match(client_address, '10.0.0.0/40')", &["'10.0.0.0/40' is not a network"]);
    fails("diagnostics", "array_has(ecu, 'x')", &["json_list(ecu, 'path[*]')"]);
}

#[test]
fn aggregates_stand_where_there_is_a_window() {
    fails("telemetry", "count(*) > 5", &["move the comparison to `having`"]);
    fails("telemetry", "total > 5", &["let \"total\" looks at many events"]);
    fails_at("telemetry", "count(*) > 5", Place::Judgement, &["this rule has none"]);
    fails_at("telemetry", "sum(max(speed)) > 5", Place::Window, &["inside an aggregate"]);
    fails_at("telemetry", "count(*) FILTER (WHERE total > 1) > 5", Place::Window, &["inside an aggregate"]);
    fails_at("telemetry", "sum(vin) > 5", Place::Window, &["sum(TRY_CAST(vin AS DOUBLE))"]);
    fails_at("telemetry", "avg(charging) > 5", Place::Window, &["FILTER (WHERE charging)"]);
    fails_at("telemetry", "max(vin) = 'a'", Place::Window, &["\"max\" cannot read a string"]);
    fails_at("telemetry", "values(vin, 0) IS NULL", Place::Window, &["from 1 to 100"]);
    fails_at("telemetry", "values(vin) IS NULL", Place::Window, &["values(x, 10)"]);
    fails_at("telemetry", "sum(DISTINCT speed) > 1", Place::Window, &["sum(x)"]);
    fails_at("telemetry", "stddev(vin) > 1", Place::Window, &["\"stddev\" cannot read a string"]);
    fails_at("telemetry", "percentile(speed, 101) > 1", Place::Window, &["a number from 0 to 100"]);
    fails_at("telemetry", "median(speed) > 1", Place::Window, &["\"median\" is not built yet"]);
    fails_at("telemetry", "abs(speed) FILTER (WHERE charging) > 1", Place::Window, &["takes no FILTER"]);
    fails_at("telemetry", "count(*, 1) > 1", Place::Window, &["count(*)"]);
}

#[test]
fn syntax_errors_have_a_place() {
    fails("telemetry", "", &["the expression is empty"]);
    fails("telemetry", "speed >", &["the text ends here"]);
    fails("telemetry", "speed > 1 gear > 2", &["[gear] \"gear\" does not belong here"]);
    fails("telemetry", "(speed > 1", &["the text ends here"]);
    fails("telemetry", "speed > 1;", &["without a semicolon"]);
    fails("telemetry", "vin = 'abc", &["Unterminated string literal".to_lowercase().as_str()]);
    fails("telemetry", "speed > > 1", &["not SQL"]);
    fails("telemetry", "speed > 1 AND", &["the text ends here"]);
}

#[test]
fn all_problems_of_a_text_are_found_at_once() {
    let sql = "respons = 'x' AND service = '39' OR lenght(ecu) > 1 AND ecu IN (vin, 5)";
    fails("diagnostics", sql, &["respons", "quotes", "length", "constant"]);
}

#[test]
fn places_count_lines_and_characters() {
    fails("diagnostics", "ecu = 'ä'\n  AND respons = 'x'", &["[respons]"]);
    fails("diagnostics", "ecu = 'äöü' AND respons = 'x'", &["[respons]"]);
}

#[test]
fn hostile_texts_are_refused_not_followed() {
    let deep = |n: usize| format!("{}1{} = 1", "(".repeat(n), ")".repeat(n));
    fails("telemetry", &deep(400), &["nested too deeply"]);
    fails("telemetry", &deep(5000), &["too big"]);
    let chain = |n: usize| vec!["gear = 1"; n].join(" OR ");
    assert!(read("telemetry", &chain(150), Place::Where).is_ok());
    fails("telemetry", &chain(250), &["too big"]);
    fails("telemetry", &chain(1300), &["too big"]);
    let sum = |n: usize| format!("{} > 1", vec!["gear"; n].join(" + "));
    assert!(read("telemetry", &sum(50), Place::Where).is_ok());
    fails("telemetry", &sum(100), &["too big"]);
    assert!(read("telemetry", &format!("{} charging", "NOT ".repeat(900)), Place::Where).is_err());
    fails("telemetry", &format!("charging {}", "IS NULL ".repeat(450)), &["too big"]);
    let absolute = |n: usize| format!("{}gear{} > 1", "abs(".repeat(n), ")".repeat(n));
    assert!(read("telemetry", &absolute(9), Place::Where).is_ok());
    fails("telemetry", &absolute(100), &["nested too deeply"]);
    let cases = format!("{}1{} > 1", "CASE WHEN charging THEN ".repeat(9), " END".repeat(9));
    assert!(read("telemetry", &cases, Place::Where).is_ok());
    let cast = |n: usize| format!("{}gear{}", "TRY_CAST(".repeat(n), " AS NO TYPE)".repeat(n));
    assert!(read("telemetry", &cast(10), Place::Where).is_err());
    fails("telemetry", &cast(11), &["nested too deeply"]);
    let huge = format!("vin = '{}'", "x".repeat(20_000));
    fails("telemetry", &huge, &["longer than"]);
    let schema = schema("telemetry");
    let mut doubling = vec![a_let("x0", LetValue::Sql(text("gear")))];
    for i in 1..40 {
        doubling.push(a_let(&format!("x{i}"), LetValue::Sql(text(&format!("x{0} + x{0}", i - 1)))));
    }
    let mut scope = Scope::new(&schema, &doubling);
    assert!(scope.read(&text("x39 > 1"), Place::Where).is_none());
    assert!(scope.problems.iter().any(|problem| problem.message.contains("too big")));
}

/// Any characters, or words of the language in any order.
const TEXTS: &str = "[a-z_ ()'\"<>=+*/,.0-9%-]{0,40}\
    |(speed|gear|vin|count\\(|\\)|\\*|AND|OR|NOT|IN|BETWEEN|CASE|WHEN|END|>|=|'x'|1| ){0,14}";

proptest::proptest! {
    /// Whatever is typed, reading it ends without a panic, and every problem lies within the text.
    #[test]
    fn no_text_breaks_the_reader(sql in TEXTS) {
        let (schema, lets) = (schema("telemetry"), lets());
        let mut scope = Scope::new(&schema, &lets);
        let tree = scope.read_condition(&text(&sql), Place::Window);
        proptest::prop_assert_eq!(tree.is_none(), !scope.problems.is_empty());
        for problem in &scope.problems {
            proptest::prop_assert!(sql.get(problem.span.clone()).is_some());
            proptest::prop_assert!(!problem.message.is_empty());
        }
    }
}
