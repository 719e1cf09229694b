//! Random trees over random rows: `having` of a row, the compiled tree over one row, over many rows and
//! over some of them say the same.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, NullArray, UInt32Array};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use super::*;
use crate::event::picked::value_at;
use crate::event::{Timestamp, Type};
use crate::rule::expr::compile::Compiled;
use crate::rule::expr::functions::arrays::Writer;
use crate::rule::expr::node::JsonStep;

const KINDS: [Type; 6] = [Type::Bool, Type::Int, Type::Float, Type::Text, Type::Time, Type::List];

/// Two columns of each type, and then one of each that was not decoded.
const COLUMNS: usize = 18;

struct Row<'a>(&'a [Value]);

impl Scope for Row<'_> {
    fn aggregate(&self, _: usize) -> Value {
        Value::Null
    }

    fn input(&self, c: usize) -> Value {
        self.0[c].clone()
    }
}

fn values(kind: Type) -> BoxedStrategy<Value> {
    let texts: &[&str] = &[
        "",
        "a",
        "ab",
        "Ä_%\\",
        "true",
        "-5",
        "9223372036854775808",
        "1e400",
        "-0",
        "NaN",
        " 1",
        "2025-01-01T00:00:00.5Z",
        "10.1.2.3",
        "::ffff:10.1.2.3",
        "{\"a\":[{\"b\":1},{\"b\":\"x\"}]}",
        "{\"a\":",
    ];
    let mut texts: Vec<Value> = texts.iter().map(Value::text).collect();
    texts.push(Value::text("aé".repeat(5000)));
    match kind {
        Type::Null => Just(Value::Null).boxed(),
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int => prop_oneof![
            select(vec![i64::MIN, i64::MIN + 1, -2, -1, 0, 1, 2, 3, 1 << 53, i64::MAX - 1, i64::MAX]),
            -4..4i64
        ]
        .prop_map(Value::Int)
        .boxed(),
        Type::Float => select(vec![
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            2.5,
            -2.5,
            1e308,
            -1e308,
            5e-324,
            9.3e18,
            -9.223_372_036_854_776e18,
            0.1,
        ])
        .prop_map(Value::Float)
        .boxed(),
        Type::Text => select(texts).boxed(),
        Type::Time => select(vec![i64::MIN, -1, 0, 1_735_689_600_500_000, i64::MAX])
            .prop_map(|t| Value::Time(Timestamp(t)))
            .boxed(),
        Type::List => {
            proptest::collection::vec(select(vec![Value::Null, Value::text(""), Value::text("a")]), 0..3)
                .prop_map(Value::List)
                .boxed()
        }
    }
}

fn cell(kind: Type) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 5 => values(kind)].boxed()
}

/// A row per inner list.
fn rows() -> impl Strategy<Value = Vec<Vec<Value>>> {
    let row: Vec<_> =
        (0..COLUMNS).map(|i| if i < 12 { cell(KINDS[i % 6]) } else { Just(Value::Null).boxed() }).collect();
    proptest::collection::vec(row, 1..24)
}

fn batch(rows: &[Vec<Value>]) -> RecordBatch {
    let columns: Vec<ArrayRef> = (0..COLUMNS)
        .map(|i| -> ArrayRef {
            if i >= 12 {
                return Arc::new(NullArray::new(rows.len()));
            }
            if KINDS[i % 6] == Type::Float {
                // As they are, -0 too.
                let float = |value: &Value| if let Value::Float(x) = value { Some(*x) } else { None };
                return Arc::new(rows.iter().map(|row| float(&row[i])).collect::<Float64Array>());
            }
            let mut writer = Writer::new(KINDS[i % 6], rows.len());
            rows.iter().for_each(|row| assert!(writer.push(Cell::from(&row[i]))));
            writer.finish()
        })
        .collect();
    let fields: Vec<_> = columns.iter().map(|c| Field::new("c", c.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Strategies for trees of one depth, by type in the order of `KINDS`.
#[derive(Clone)]
struct Layer(Vec<BoxedStrategy<Node>>);

impl Layer {
    fn leaves() -> Layer {
        let leaf = |at: usize| {
            let kind = KINDS[at];
            let column = move |i: usize| Node { op: Op::Column(i), args: Vec::new(), kind };
            prop_oneof![
                8 => select(vec![column(at), column(at + 6)]),
                1 => Just(column(at + 12)),
                6 => values(kind).prop_map(Node::constant),
                1 => Just(Node { op: Op::Const(Value::Null), args: Vec::new(), kind }),
            ]
            .boxed()
        };
        Layer((0..KINDS.len()).map(leaf).collect())
    }

    fn of(&self, kind: Type) -> BoxedStrategy<Node> {
        let at = KINDS.iter().position(|k| *k == kind).unwrap();
        prop_oneof![12 => self.0[at].clone(), 1 => Just(Node::constant(Value::Null))].boxed()
    }

    fn node(&self, op: Op, kind: Type, args: &[Type]) -> BoxedStrategy<Node> {
        let args: Vec<_> = args.iter().map(|kind| self.of(*kind)).collect();
        args.prop_map(move |args| Node { op: op.clone(), args, kind }).boxed()
    }

    /// Trees whose operands are of this layer.
    fn above(&self) -> Layer {
        let ops = KINDS.map(|kind| {
            let mut all = self.of_type(kind);
            all.push(self.0[KINDS.iter().position(|k| *k == kind).unwrap()].clone());
            all.push(self.node(Op::Case, kind, &[Type::Bool, kind, Type::Bool, kind, kind]));
            all.push(self.node(Op::Call(Func::Coalesce), kind, &[kind, kind, kind]));
            all.extend(KINDS.map(|from| self.node(Op::Cast, kind, &[from])));
            Union::new(all).boxed()
        });
        Layer(ops.to_vec())
    }

    fn of_type(&self, kind: Type) -> Vec<BoxedStrategy<Node>> {
        use Type::*;
        let call = |func: Func, args: &[Type]| self.node(Op::Call(func), kind, args);
        let path = vec![JsonStep::Member("a".into()), JsonStep::Each, JsonStep::Member("b".into())];
        let first = vec![JsonStep::Member("a".into()), JsonStep::Index(1), JsonStep::Member("b".into())];
        match kind {
            Null => Vec::new(),
            Bool => self.conditions(),
            Int => [Op::Add, Op::Sub, Op::Mul, Op::Rem]
                .map(|op| self.node(op, Int, &[Int, Int]))
                .into_iter()
                .chain([
                    self.node(Op::Neg, Int, &[Int]),
                    call(Func::Abs, &[Int]),
                    call(Func::Length, &[Text]),
                ])
                .chain([Func::Floor, Func::Ceil, Func::Round].map(|f| call(f, &[Float])))
                .chain([call(Func::Floor, &[Int]), call(Func::Cardinality, &[List])])
                .collect(),
            Float => [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Rem]
                .map(|op| self.node(op, Float, &[Float, Float]))
                .into_iter()
                .chain([self.node(Op::Neg, Float, &[Float]), call(Func::Abs, &[Float])])
                .chain([call(Func::SecondsBetween, &[Time, Time])])
                .collect(),
            Text => vec![
                self.node(Op::Concat, Text, &[Text, Text]),
                call(Func::Lower, &[Text]),
                call(Func::Upper, &[Text]),
                call(Func::JsonGet(first), &[Text]),
            ],
            Time => Vec::new(),
            List => vec![call(Func::JsonList(path), &[Text])],
        }
    }

    fn conditions(&self) -> Vec<BoxedStrategy<Node>> {
        use Type::*;
        let node = |op: Op, args: &[Type]| self.node(op, Bool, args);
        let mut all = vec![
            node(Op::And, &[Bool, Bool]),
            node(Op::Or, &[Bool, Bool]),
            node(Op::Not, &[Bool]),
            node(Op::IsTrue, &[Bool]),
            node(Op::Call(Func::CidrMatch(vec![("10.0.0.0".parse().unwrap(), 8)])), &[Text]),
            node(Op::Call(Func::RegexpLike("^a|1".into())), &[Text]),
            node(Op::Like("a%_é%".into()), &[Text]),
            node(Op::Call(Func::StartsWith), &[Text, Text]),
            node(Op::Call(Func::EndsWith), &[Text, Text]),
            node(Op::Call(Func::ArrayHas), &[List, Text]),
        ];
        for kind in KINDS {
            all.extend(
                [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge, Op::Same].map(|op| node(op, &[kind, kind])),
            );
            all.push(node(Op::IsNull, &[kind]));
            all.push(node(Op::Between, &[kind, kind, kind]));
            let list = proptest::collection::vec(cell(kind).prop_map(Node::constant), 1..4);
            let is_in = (self.of(kind), list).prop_map(|(x, list)| Node {
                op: Op::In,
                args: std::iter::once(x).chain(list).collect(),
                kind: Bool,
            });
            all.push(is_in.boxed());
        }
        all
    }
}

fn trees() -> BoxedStrategy<Node> {
    let top = Layer::leaves().above().above().above();
    Union::new(top.0).boxed()
}

fn as_inputs(node: &Node) -> Node {
    let op = match node.op {
        Op::Column(i) => Op::Input(i),
        _ => node.op.clone(),
    };
    Node { op, args: node.args.iter().map(as_inputs).collect(), kind: node.kind }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_judgement_is_what_is_compiled(node in trees(), rows in rows()) {
        let compiled = Compiled::new(&node).unwrap();
        let judged = as_inputs(&node);
        let batch = batch(&rows);
        let many = compiled.rows(&batch);
        let mut counted = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let expected = evaluate(&judged, &Row(row));
            prop_assert_eq!(&value_at(&many.array, at), &expected, "{} among many", &node);
            let (one, lost) = compiled.evaluate(&batch.slice(at, 1));
            prop_assert_eq!(&value_at(&one, 0), &expected, "{} alone", &node);
            counted.extend(std::iter::repeat_n(at as u32, lost as usize));
        }
        let mut lost = many.lost;
        lost.sort_unstable();
        prop_assert_eq!(&lost, &counted, "{}", &node);
        let some = UInt32Array::from_iter_values((0..rows.len() as u32).step_by(2));
        let few = compiled.rows_at(&batch, &some);
        for (at, row) in some.values().iter().enumerate() {
            prop_assert_eq!(value_at(&few.array, at), value_at(&many.array, *row as usize));
        }
    }
}
