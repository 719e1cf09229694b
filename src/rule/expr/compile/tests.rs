//! Each operation with extremes, as columns and as constants; what may err, does not.

use super::*;
use crate::event::Timestamp;
use crate::event::picked::value_at;
use crate::rule::expr::node::JsonStep;
use arrow::array::{BooleanArray, Float64Array, Int64Array, NullArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result as Fallible, exec_err};
use datafusion::logical_expr::ColumnarValue;
use std::fmt;

const NULL: Value = Value::Null;

fn int(i: i64) -> Value {
    Value::Int(i)
}

fn float(x: f64) -> Value {
    Value::Float(x)
}

fn text(t: &str) -> Value {
    Value::text(t)
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|t| text(t)).collect())
}

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let field = |array: &ArrayRef| Field::new("c", array.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(columns.first().map_or(1, |c| c.len())));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options).unwrap()
}

fn array(values: &[Value], kind: Type) -> ArrayRef {
    if let ([Value::Float(x)], Type::Float) = (values, kind) {
        // As it is, -0 too.
        return Arc::new(Float64Array::from(vec![*x]));
    }
    let mut writer = Writer::new(kind, values.len());
    values.iter().for_each(|value| assert!(writer.push(Cell::from(value))));
    writer.finish()
}

fn column(index: usize, kind: Type) -> Node {
    Node { op: Op::Column(index), args: Vec::new(), kind }
}

/// Operands as columns, then as constants: the same value, and the same count.
fn eval(op: Op, kind: Type, args: &[Value]) -> (Value, u64) {
    let types = |i: usize| match (&op, args[i].kind()) {
        (Op::Case, Type::Null) if i.is_multiple_of(2) && i + 1 < args.len() => Type::Bool,
        (Op::Case | Op::Add | Op::Mul | Op::Sub | Op::Rem | Op::Neg, Type::Null) => kind,
        (Op::Call(Func::Coalesce | Func::Abs), Type::Null) => kind,
        (_, Type::Null) => args.iter().map(Value::kind).find(|k| *k != Type::Null).unwrap_or(Type::Null),
        (_, kind) => kind,
    };
    let node = |args: Vec<Node>| Node { op: op.clone(), args, kind };
    let columns: Vec<_> = (0..args.len()).map(|i| array(&args[i..=i], types(i))).collect();
    let fields = node((0..args.len()).map(|i| column(i, types(i))).collect());
    let constants = node(args.iter().cloned().map(Node::constant).collect());
    let given = [(fields, batch(columns)), (constants, batch(Vec::new()))].map(|(node, batch)| {
        let (array, lost) = Compiled::new(&node).unwrap().evaluate(&batch);
        assert_eq!(array.data_type(), &arrow_type(kind), "{node}");
        assert_eq!(array.len(), 1);
        (value_at(&array, 0), lost)
    });
    assert_eq!(given[0], given[1], "{op:?} of columns and of constants {args:?}");
    given[0].clone()
}

fn check(op: Op, kind: Type, cases: &[(&[Value], Value, u64)]) {
    for (args, value, lost) in cases {
        assert_eq!(eval(op.clone(), kind, args), (value.clone(), *lost), "{op:?} of {args:?}");
    }
}

#[test]
fn arithmetic_of_ints_gives_null_where_it_overflows() {
    let (min, max) = (int(i64::MIN), int(i64::MAX));
    check(
        Op::Add,
        Type::Int,
        &[(&[max.clone(), int(1)], NULL, 1), (&[int(2), int(3)], int(5), 0), (&[NULL, int(1)], NULL, 0)],
    );
    check(Op::Sub, Type::Int, &[(&[min.clone(), int(1)], NULL, 1), (&[int(2), int(3)], int(-1), 0)]);
    check(Op::Mul, Type::Int, &[(&[min.clone(), int(-1)], NULL, 1), (&[max, int(1)], int(i64::MAX), 0)]);
    check(
        Op::Rem,
        Type::Int,
        &[
            (&[min.clone(), int(-1)], int(0), 0),
            (&[int(7), int(0)], NULL, 0),
            (&[int(-7), int(3)], int(-1), 0),
        ],
    );
    check(
        Op::Neg,
        Type::Int,
        &[(std::slice::from_ref(&min), NULL, 1), (&[int(5)], int(-5), 0), (&[NULL], NULL, 0)],
    );
    check(Op::Call(Func::Abs), Type::Int, &[(&[min], NULL, 1), (&[int(-5)], int(5), 0), (&[NULL], NULL, 0)]);
}

#[test]
fn arithmetic_of_floats_stays_finite() {
    let huge = || float(1e308);
    check(
        Op::Add,
        Type::Float,
        &[(&[huge(), huge()], NULL, 1), (&[float(-0.0), float(-0.0)], float(0.0), 0)],
    );
    check(Op::Sub, Type::Float, &[(&[float(-1e308), huge()], NULL, 1)]);
    check(
        Op::Mul,
        Type::Float,
        &[(&[huge(), float(10.0)], NULL, 1), (&[float(-1.0), float(0.0)], float(0.0), 0)],
    );
    check(
        Op::Div,
        Type::Float,
        &[
            (&[float(1.0), float(0.0)], NULL, 0),
            (&[float(0.0), float(-0.0)], NULL, 0),
            (&[huge(), float(1e-308)], NULL, 1),
            (&[float(7.0), float(2.0)], float(3.5), 0),
            (&[NULL, float(2.0)], NULL, 0),
        ],
    );
    check(
        Op::Rem,
        Type::Float,
        &[(&[float(7.5), float(0.0)], NULL, 0), (&[float(-4.0), float(2.0)], float(0.0), 0)],
    );
    check(Op::Neg, Type::Float, &[(&[float(0.0)], float(0.0), 0)]);
    let (zero, _) =
        Compiled::new(&Node { op: Op::Neg, args: vec![column(0, Type::Float)], kind: Type::Float })
            .unwrap()
            .evaluate(&batch(vec![array(&[float(0.0)], Type::Float)]));
    assert!(zero.as_primitive::<arrow::datatypes::Float64Type>().value(0).is_sign_positive());
}

#[test]
fn comparisons_take_minus_zero_for_zero() {
    let yes = Value::Bool(true);
    let no = Value::Bool(false);
    check(
        Op::Eq,
        Type::Bool,
        &[
            (&[float(-0.0), float(0.0)], yes.clone(), 0),
            (&[text("a"), text("A")], no.clone(), 0),
            (&[NULL, int(1)], NULL, 0),
            (&[NULL, NULL], NULL, 0),
            (&[list(&["a"]), list(&["a"])], yes.clone(), 0),
            (&[Value::Time(Timestamp(i64::MIN)), Value::Time(Timestamp(i64::MAX))], no.clone(), 0),
        ],
    );
    check(Op::Lt, Type::Bool, &[(&[float(-0.0), float(0.0)], no.clone(), 0)]);
    check(Op::Lt, Type::Bool, &[(&[list(&[]), list(&["a"])], NULL, 0)]);
    check(Op::Ne, Type::Bool, &[(&[text(""), text("é")], yes.clone(), 0)]);
    check(Op::Ge, Type::Bool, &[(&[int(i64::MAX), int(i64::MIN)], yes.clone(), 0)]);
    check(
        Op::Same,
        Type::Bool,
        &[
            (&[NULL, NULL], yes.clone(), 0),
            (&[NULL, text("a")], no.clone(), 0),
            (&[float(0.0), float(-0.0)], yes.clone(), 0),
        ],
    );
    check(
        Op::In,
        Type::Bool,
        &[
            (&[float(-0.0), float(1.0), float(0.0)], yes.clone(), 0),
            (&[text("b"), text("a"), text("b")], yes.clone(), 0),
            (&[int(3), int(1), int(2)], no.clone(), 0),
            (&[int(3), int(1), NULL], NULL, 0),
            (&[int(1), int(1), NULL], yes.clone(), 0),
            (&[NULL, int(1)], NULL, 0),
            (&[NULL, NULL], NULL, 0),
        ],
    );
    check(
        Op::Between,
        Type::Bool,
        &[
            (&[int(2), int(1), int(2)], yes.clone(), 0),
            (&[int(2), int(3), NULL], no.clone(), 0),
            (&[int(2), NULL, int(3)], NULL, 0),
            (&[NULL, int(1), int(2)], NULL, 0),
            (&[float(-0.0), float(0.0), float(0.0)], yes, 0),
        ],
    );
}

#[test]
fn logic_has_three_values() {
    let all = [Value::Bool(true), Value::Bool(false), NULL];
    for a in &all {
        for b in &all {
            let and = if [a, b].contains(&&all[1]) {
                all[1].clone()
            } else if [a, b].contains(&&NULL) {
                NULL
            } else {
                all[0].clone()
            };
            let or = if [a, b].contains(&&all[0]) {
                all[0].clone()
            } else if [a, b].contains(&&NULL) {
                NULL
            } else {
                all[1].clone()
            };
            check(Op::And, Type::Bool, &[(&[a.clone(), b.clone()], and, 0)]);
            check(Op::Or, Type::Bool, &[(&[a.clone(), b.clone()], or, 0)]);
        }
        let truth = Value::Bool(*a == all[0]);
        check(Op::IsTrue, Type::Bool, &[(std::slice::from_ref(a), truth, 0)]);
        check(Op::IsNull, Type::Bool, &[(std::slice::from_ref(a), Value::Bool(*a == NULL), 0)]);
    }
    check(Op::Not, Type::Bool, &[(&[NULL], NULL, 0), (&[Value::Bool(false)], Value::Bool(true), 0)]);
}

#[test]
fn choices() {
    let (yes, no) = (Value::Bool(true), Value::Bool(false));
    check(
        Op::Case,
        Type::Text,
        &[
            (&[yes.clone(), text("a"), yes.clone(), text("b"), text("c")], text("a"), 0),
            (&[NULL, text("a"), yes.clone(), text("b"), text("c")], text("b"), 0),
            (&[no.clone(), text("a"), NULL, text("b"), text("c")], text("c"), 0),
            (&[no.clone(), text("a"), NULL], NULL, 0),
            (&[yes, NULL, text("c")], NULL, 0),
        ],
    );
    check(Op::Case, Type::List, &[(&[no, list(&["a"]), list(&[])], list(&[]), 0)]);
    check(
        Op::Call(Func::Coalesce),
        Type::Int,
        &[(&[NULL, int(1), int(2)], int(1), 0), (&[NULL, NULL], NULL, 0), (&[int(3), NULL], int(3), 0)],
    );
}

#[test]
fn casts_try() {
    let time = Value::Time(Timestamp(1_700_000_000_123_456));
    let cases: &[(Value, Type, Value)] = &[
        (text("-9223372036854775808"), Type::Int, int(i64::MIN)),
        (text("+7"), Type::Int, int(7)),
        (text("9223372036854775808"), Type::Int, NULL),
        (text(" 7"), Type::Int, NULL),
        (text("7 "), Type::Int, NULL),
        (text("7.0"), Type::Int, NULL),
        (text("0x7"), Type::Int, NULL),
        (text(""), Type::Int, NULL),
        (text("-"), Type::Int, NULL),
        (text("1_000"), Type::Int, NULL),
        (text("1e3"), Type::Float, float(1000.0)),
        (text("-0"), Type::Float, float(0.0)),
        (text("NaN"), Type::Float, NULL),
        (text("inf"), Type::Float, NULL),
        (text("1e400"), Type::Float, NULL),
        (text(" 1"), Type::Float, NULL),
        (text("true"), Type::Bool, Value::Bool(true)),
        (text("TRUE"), Type::Bool, NULL),
        (text("1"), Type::Bool, NULL),
        (text("2023-11-14T22:13:20.123456Z"), Type::Time, time.clone()),
        (text("yesterday"), Type::Time, NULL),
        (int(i64::MAX), Type::Float, float(9_223_372_036_854_775_807.0)),
        (float(2.9), Type::Int, int(2)),
        (float(-2.9), Type::Int, int(-2)),
        (float(9_223_372_036_854_775_808.0), Type::Int, NULL),
        (float(-9_223_372_036_854_775_808.0), Type::Int, int(i64::MIN)),
        (int(i64::MIN), Type::Text, text("-9223372036854775808")),
        (float(0.1), Type::Text, text("0.1")),
        (float(-0.0), Type::Text, text("0.0")),
        (float(1e308), Type::Text, text("1e308")),
        (Value::Bool(true), Type::Text, text("true")),
        (time.clone(), Type::Text, text("2023-11-14T22:13:20.123Z")),
        (time.clone(), Type::Int, NULL),
        (int(1), Type::Time, NULL),
        (list(&["a"]), Type::Text, NULL),
        (NULL, Type::Text, NULL),
    ];
    for (from, kind, to) in cases {
        check(Op::Cast, *kind, &[(std::slice::from_ref(from), to.clone(), 0)]);
    }
    for extreme in [i64::MIN, i64::MAX] {
        let (year, _) = eval(Op::Cast, Type::Text, &[Value::Time(Timestamp(extreme))]);
        assert!(matches!(year, Value::Text(_)), "{year:?}");
    }
}

#[test]
fn functions() {
    let call = |func: Func, kind: Type, cases: &[(&[Value], Value, u64)]| check(Op::Call(func), kind, cases);
    let yes = Value::Bool(true);
    let no = Value::Bool(false);
    call(Func::Lower, Type::Text, &[(&[text("ÄB")], text("äb"), 0), (&[text("")], text(""), 0)]);
    call(Func::Upper, Type::Text, &[(&[text("aß")], text("ASS"), 0), (&[NULL], NULL, 0)]);
    let huge = "é".repeat(1 << 20);
    call(Func::Length, Type::Int, &[(&[text(&huge)], int(1 << 20), 0), (&[text("")], int(0), 0)]);
    call(Func::StartsWith, Type::Bool, &[(&[text("ab"), text("")], yes.clone(), 0)]);
    call(Func::StartsWith, Type::Bool, &[(&[text("ab"), text("b")], no.clone(), 0)]);
    call(Func::EndsWith, Type::Bool, &[(&[text("ab"), text("b")], yes.clone(), 0)]);
    call(Func::EndsWith, Type::Bool, &[(&[text("ab"), NULL], NULL, 0)]);
    let (first, last) = (Value::Time(Timestamp(i64::MIN)), Value::Time(Timestamp(i64::MAX)));
    call(Func::SecondsBetween, Type::Float, &[(&[first.clone(), last], float(18_446_744_073_709.55), 0)]);
    call(Func::SecondsBetween, Type::Float, &[(&[first.clone(), first], float(0.0), 0)]);
    call(Func::ArrayHas, Type::Bool, &[(&[list(&["a", "b"]), text("b")], yes.clone(), 0)]);
    call(Func::ArrayHas, Type::Bool, &[(&[list(&[]), text("b")], no.clone(), 0)]);
    call(Func::Cardinality, Type::Int, &[(&[list(&["a", "b"])], int(2), 0), (&[list(&[])], int(0), 0)]);
    for (func, out) in [(Func::Floor, -3), (Func::Ceil, -2), (Func::Round, -3)] {
        call(func.clone(), Type::Int, &[(&[float(-2.5)], int(out), 0), (&[float(1e19)], NULL, 1)]);
        call(func, Type::Int, &[(&[int(i64::MIN)], int(i64::MIN), 0), (&[NULL], NULL, 0)]);
    }
    call(Func::Abs, Type::Float, &[(&[float(-1e308)], float(1e308), 0)]);
    check(Op::Concat, Type::Text, &[(&[text("a"), text("")], text("a"), 0), (&[text("a"), NULL], NULL, 0)]);
    let like = |pattern: &str| Op::Like(pattern.into());
    check(like("a%\\%"), Type::Bool, &[(&[text("ab%")], yes.clone(), 0), (&[text("Ab%")], no.clone(), 0)]);
    check(like("%"), Type::Bool, &[(&[NULL], NULL, 0), (&[text("")], yes.clone(), 0)]);
    let regexp = || Func::RegexpLike("^a.c$".into());
    call(regexp(), Type::Bool, &[(&[text("abc")], yes, 0), (&[text("xabc")], no, 0), (&[NULL], NULL, 0)]);
}

#[test]
fn networks() {
    let networks = [("10.0.0.0", 8), ("192.168.1.7", 32), ("2001:db8::", 32), ("::ffff:172.16.0.0", 108)];
    let networks = networks.map(|(ip, prefix)| (ip.parse().unwrap(), prefix));
    let inside = |ip: &str| eval(Op::Call(Func::CidrMatch(networks.to_vec())), Type::Bool, &[text(ip)]);
    for ip in ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "192.168.1.7", "2001:db8::1", "172.31.0.1"] {
        assert_eq!(inside(ip), (Value::Bool(true), 0), "{ip}");
    }
    for ip in ["11.0.0.0", "192.168.1.8", "2001:db9::", "172.32.0.1", "::10.0.0.1", "::1"] {
        assert_eq!(inside(ip), (Value::Bool(false), 0), "{ip}");
    }
    for ip in ["", "10.0.0", "10.0.0.0/8", "10.0.0.01", " 10.0.0.1", "host"] {
        assert_eq!(inside(ip), (NULL, 1), "{ip}");
    }
    let all = Op::Call(Func::CidrMatch(vec![("0.0.0.0".parse().unwrap(), 0), ("::".parse().unwrap(), 0)]));
    assert_eq!(eval(all.clone(), Type::Bool, &[text("255.1.2.3")]), (Value::Bool(true), 0));
    assert_eq!(eval(all, Type::Bool, &[text("ffff::")]), (Value::Bool(true), 0));
}

#[test]
fn a_column_that_was_not_decoded_is_null() {
    let nothing = batch(vec![Arc::new(NullArray::new(3)) as ArrayRef]);
    for kind in [Type::Null, Type::Bool, Type::Int, Type::Float, Type::Text, Type::Time, Type::List] {
        let (array, lost) = Compiled::new(&column(0, kind)).unwrap().evaluate(&nothing);
        assert_eq!((array.data_type(), array.len(), lost), (&arrow_type(kind), 3, 0));
        assert!((0..3).all(|row| value_at(&array, row) == NULL));
    }
    let missing = Compiled::new(&column(7, Type::Int)).unwrap();
    let (array, lost) = missing.evaluate(&nothing);
    assert_eq!((array.null_count(), lost), (3, 3));
}

#[test]
fn what_does_not_fit_is_refused() {
    let node = |op: Op, kind: Type, args: Vec<Node>| Node { op, args, kind };
    let bad = [
        node(Op::Add, Type::Int, vec![column(0, Type::Text), column(1, Type::Int)]),
        node(Op::Not, Type::Bool, vec![]),
        node(Op::Call(Func::RegexpLike("(".into())), Type::Bool, vec![column(0, Type::Text)]),
        node(Op::Call(Func::RegexpLike("(a{1000}){1000}".into())), Type::Bool, vec![column(0, Type::Text)]),
        node(Op::Aggregate(0), Type::Int, vec![]),
        node(Op::Input(0), Type::Int, vec![]),
    ];
    for node in bad {
        assert!(Compiled::new(&node).is_err(), "{node}");
    }
}

/// Errs if any value of column 0 is 13: a fault that no real expression has.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Faulty;

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl PhysicalExpr for Faulty {
    fn data_type(&self, _: &Schema) -> Fallible<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Fallible<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Fallible<ColumnarValue> {
        let numbers: Int64Array = batch.column(0).as_primitive().clone();
        if numbers.values().contains(&13) {
            return exec_err!("unlucky");
        }
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(vec![true; batch.num_rows()]))))
    }

    fn children(&self) -> Vec<&Expr> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Expr>) -> Fallible<Expr> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[test]
fn one_row_that_errs_does_not_blind_the_others() {
    let columns = Arc::new([0]);
    let faulty = Compiled { expr: Arc::new(Faulty), kind: Type::Bool, columns, costly: false };
    let numbers = Int64Array::from(vec![1, 13, 2, 13]);
    let (mask, lost) = faulty.mask(&batch(vec![Arc::new(numbers)]));
    assert_eq!(mask.iter().collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!(lost, 2);
    assert_eq!(faulty.mask(&batch(vec![Arc::new(Int64Array::from(vec![1, 2]))])).1, 0);
}

#[test]
fn nulls_count_where_a_row_alone_would_meet_them() {
    let node = |op: Op, kind: Type, args: Vec<Node>| Node { op, args, kind };
    let is = |value: i64| node(Op::Eq, Type::Bool, vec![column(0, Type::Int), Node::constant(int(value))]);
    let sum = node(Op::Add, Type::Int, vec![column(0, Type::Int), Node::constant(int(i64::MAX))]);
    let within = vec![sum.clone(), Node::constant(int(0)), Node::constant(int(1))];
    let over = node(Op::Gt, Type::Bool, vec![sum, Node::constant(int(0))]);
    let numbers = batch(vec![Arc::new(Int64Array::from(vec![1, 2, 3, 0]))]);
    let lost = |node: Node| Compiled::new(&node).unwrap().rows(&numbers).lost;
    assert_eq!(lost(over.clone()), [0, 1, 2]);
    assert_eq!(lost(node(Op::Between, Type::Bool, within)), [0, 1, 2]);
    assert_eq!(lost(node(Op::And, Type::Bool, vec![is(2), over.clone()])), [1]);
    assert_eq!(lost(node(Op::Or, Type::Bool, vec![is(2), over.clone()])), [0, 2]);
    assert_eq!(lost(node(Op::And, Type::Bool, vec![is(9), over.clone()])), [0; 0]);
    let otherwise = Node::constant(Value::Bool(false));
    assert_eq!(lost(node(Op::Case, Type::Bool, vec![is(3), over, otherwise])), [2]);
}

/// Where few rows are undecided, a costly operand sees these alone: values and counts are those of each row
/// alone.
#[test]
fn rows_that_are_spared_an_operand_do_not_show() {
    let node = |op: Op, kind: Type, args: Vec<Node>| Node { op, args, kind };
    let member = Func::JsonGet(vec![JsonStep::Member("a".into())]);
    let member = node(Op::Call(member), Type::Text, vec![column(1, Type::Text)]);
    let is_x = node(Op::Eq, Type::Bool, vec![member, Node::constant(text("x"))]);
    let is_seven = node(Op::Eq, Type::Bool, vec![column(0, Type::Int), Node::constant(int(7))]);
    let is_not = node(Op::Not, Type::Bool, vec![is_seven.clone()]);
    let numbers: Vec<_> = (0..100).map(|i| if i % 20 == 19 { NULL } else { int(i % 20) }).collect();
    let bodies = ["{\"a\":\"x\"}", "{\"a\":1}", "{}", "no"].map(text);
    let bodies: Vec<_> = (0..100).map(|i| bodies[i % 7 % 4].clone()).collect();
    let all = batch(vec![array(&numbers, Type::Int), array(&bodies, Type::Text)]);
    for (op, left) in [(Op::And, is_seven), (Op::Or, is_not)] {
        let both = Compiled::new(&node(op, Type::Bool, vec![left, is_x.clone()])).unwrap();
        let Evaluated { array, lost } = both.rows(&all);
        assert!(!lost.is_empty() && array.null_count() > 0);
        for row in 0..100 {
            let (alone, counted) = both.evaluate(&all.slice(row, 1));
            assert_eq!(value_at(&array, row), value_at(&alone, 0), "row {row}");
            assert_eq!(lost.iter().filter(|at| **at as usize == row).count() as u64, counted, "row {row}");
        }
    }
}

#[test]
fn a_long_chain_is_no_trouble() {
    let is = |value: i64| Node {
        op: Op::Eq,
        args: vec![column(0, Type::Int), Node::constant(int(value))],
        kind: Type::Bool,
    };
    let either = |left: Node, right: Node| Node { op: Op::Or, args: vec![left, right], kind: Type::Bool };
    let chain = (1..500).map(is).reduce(either).unwrap();
    let numbers = batch(vec![Arc::new(Int64Array::from(vec![499, 500]))]);
    let (mask, lost) = Compiled::new(&chain).unwrap().mask(&numbers);
    assert_eq!((mask.iter().collect::<Vec<_>>(), lost), (vec![true, false], 0));
}
