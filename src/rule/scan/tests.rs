//! The scan against the plainest reading of it: every rule and row alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray, UInt32Array};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::alert::{RuleInfo, Severity};
use crate::event::Slice;
use crate::event::{EventName, Timestamp, Type, Value};
use crate::rule::expr::compile::Compiled;
use crate::rule::expr::functions::Cell;
use crate::rule::expr::functions::arrays::Writer;
use crate::rule::expr::node::{Func, JsonStep, Node, Op};
use crate::rule::having::{Scope, evaluate};
use crate::rule::{Clock, Inputs, KeyPart, Kind, Match, Mode, Placement};
use crate::schema::{Class, Field, FieldType};

/// `vin`, `n`, `body`, and one that is never decoded; then the built-in columns, of which none is read.
const FIELDS: [(&str, FieldType); 4] =
    [("vin", FieldType::Text), ("n", FieldType::Int), ("body", FieldType::Json), ("unread", FieldType::Text)];

fn schema() -> Arc<Schema> {
    let field = |(name, kind): (&str, FieldType)| Field {
        name: name.into(),
        path: vec![name.into()],
        kind,
        unit: String::new(),
        doc: String::new(),
        normalize: Vec::new(),
        entity: None,
        class: Class::None,
        min: None,
        values: Vec::new(),
    };
    Arc::new(Schema {
        name: "s".into(),
        doc: String::new(),
        topic: "s".into(),
        time: None,
        key: Some(0),
        records: Vec::new(),
        format: Default::default(),
        dedup: None,
        fields: FIELDS.into_iter().map(field).collect(),
    })
}

fn rule(id: &str, key: usize, filters: Vec<Node>, steps: Vec<Node>, values: Vec<Node>) -> Rule {
    let info = RuleInfo {
        id: id.into(),
        title: String::new(),
        severity: Severity::Low,
        risk: 0,
        version: String::new(),
        kind: "match",
        stream: "s".into(),
        r155: Vec::new(),
        atm: Vec::new(),
        attack: Vec::new(),
        triage: String::new(),
        blind_spots: String::new(),
        key: Vec::new(),
    };
    let part = |node: &Node| KeyPart { name: "k".into(), kind: node.kind };
    Rule {
        info: Arc::new(info),
        fingerprint: 0,
        stream: "s".into(),
        clock: Clock::Event,
        key: values.iter().take(key).map(part).collect(),
        kind: Kind::Match(Match { having: None }),
        observed: Vec::new(),
        entities: Vec::new(),
        escalate: Vec::new(),
        suppress: None,
        mode: Mode::Live,
        placement: Placement::Partition,
        inputs: Inputs { filters, steps, values },
    }
}

fn column(index: usize) -> Node {
    Node { op: Op::Column(index), args: Vec::new(), kind: FIELDS[index].1.logical() }
}

fn node(op: Op, kind: Type, args: Vec<Node>) -> Node {
    Node { op, args, kind }
}

fn int(i: i64) -> Node {
    Node::constant(Value::Int(i))
}

fn compare(op: Op, left: Node, right: Node) -> Node {
    node(op, Type::Bool, vec![left, right])
}

/// `n + MAX > 0`: counted where n is above 0.
fn overflowing() -> Node {
    compare(Op::Gt, node(Op::Add, Type::Int, vec![column(1), int(i64::MAX)]), int(0))
}

fn rules() -> Vec<Rule> {
    let is = |i: i64| compare(Op::Eq, column(1), int(i));
    let member = |path: &str| {
        let path = vec![JsonStep::Member(path.into())];
        node(Op::Call(Func::JsonGet(path)), Type::Text, vec![column(2)])
    };
    let has_x = || compare(Op::Eq, member("a"), Node::constant(Value::text("x")));
    let lower = || node(Op::Call(Func::Lower), Type::Text, vec![column(0)]);
    let sum = || node(Op::Add, Type::Int, vec![column(1), int(i64::MAX)]);
    let either = |one: Node, other: Node| node(Op::Or, Type::Bool, vec![one, other]);
    vec![
        rule("all", 1, vec![], vec![is(1), overflowing()], vec![column(0), sum(), int(7)]),
        rule("fleet", 0, vec![is(1)], vec![], vec![]),
        rule("sparse", 1, vec![is(5), has_x()], vec![has_x(), is(5)], vec![lower(), member("b"), column(1)]),
        rule("dense", 2, vec![has_x()], vec![is(5)], vec![column(0), column(1), member("b")]),
        rule("never", 1, vec![is(99), has_x()], vec![], vec![column(0)]),
        rule("lost", 1, vec![overflowing()], vec![], vec![column(0)]),
        rule("undecoded", 2, vec![is(2)], vec![], vec![column(3), column(0)]),
        rule(
            "computed",
            1,
            vec![compare(Op::Ge, column(1), int(3))],
            vec![],
            vec![lower(), sum(), column(0)],
        ),
        rule("same computed", 1, vec![is(4), has_x()], vec![overflowing()], vec![lower()]),
        rule("shares a part", 1, vec![either(is(3), is(1))], vec![], vec![column(0)]),
        rule("shares it too", 1, vec![either(is(3), overflowing())], vec![], vec![column(0)]),
    ]
}

/// vin, n, body.
type Event = (Value, Value, Value);

fn events() -> impl Strategy<Value = Vec<Event>> {
    let vin = select(
        ["V1", "v1", "V2", "", "NULL"]
            .map(|t| if t == "NULL" { Value::Null } else { Value::text(t) })
            .to_vec(),
    );
    let n = prop_oneof![
        20 => select(vec![0, 0, -1, i64::MIN]).prop_map(Value::Int),
        4 => (1..6i64).prop_map(Value::Int),
        1 => Just(Value::Null)
    ];
    let body = select(
        ["{\"a\":\"x\",\"b\":1}", "{\"a\":\"y\",\"b\":2}", "{\"b\":[]}", "nonsense"]
            .map(Value::text)
            .to_vec(),
    );
    proptest::collection::vec((vin, n, body), 1..150)
}

fn batch(events: &[Event]) -> Arc<EventBatch> {
    let array = |kind: Type, pick: &dyn Fn(&Event) -> &Value| {
        let mut writer = Writer::new(kind, events.len());
        events.iter().for_each(|event| assert!(writer.push(Cell::from(pick(event)))));
        writer.finish()
    };
    let mut columns: Vec<ArrayRef> = vec![
        array(Type::Text, &|event| &event.0),
        array(Type::Int, &|event| &event.1),
        array(Type::Text, &|event| &event.2),
    ];
    columns.resize_with(schema().width(), || Arc::new(NullArray::new(events.len())));
    let field = |array: &ArrayRef| ArrowField::new("c", array.data_type().clone(), true);
    let fields: Vec<_> = columns.iter().map(field).collect();
    let name = EventName { source: 0, offset: 0, index: 0, broker_time: Timestamp(0) };
    Arc::new(EventBatch {
        stream: "s".into(),
        columns: RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap(),
        time: vec![Timestamp(0); events.len()],
        now: vec![Timestamp(0); events.len()],
        exchange_now: vec![Timestamp(0); events.len()],
        names: vec![name; events.len()],
        positions: vec![0; events.len()],
        spans: Vec::new(),
        sources: [].into(),
    })
}

fn rule_set(rules: Vec<Rule>) -> RuleSet {
    let indexed: Vec<_> = rules.iter().enumerate().collect();
    let scan = StreamScan::new(&schema(), &indexed).unwrap();
    RuleSet {
        hash: 0,
        rules: rules.into_iter().map(Arc::new).collect(),
        scans: BTreeMap::from([("s".into(), scan)]),
    }
}

struct Alone<'a>(&'a Event);

impl Scope for Alone<'_> {
    fn aggregate(&self, _: usize) -> Value {
        Value::Null
    }

    fn input(&self, c: usize) -> Value {
        [&self.0.0, &self.0.1, &self.0.2, &Value::Null][c].clone()
    }
}

fn of(node: &Node, event: &Event) -> Value {
    fn inputs(node: &Node) -> Node {
        let op = match node.op {
            Op::Column(i) => Op::Input(i),
            _ => node.op.clone(),
        };
        Node { op, args: node.args.iter().map(inputs).collect(), kind: node.kind }
    }
    evaluate(&inputs(node), &Alone(event))
}

fn counted(node: &Node, batch: &EventBatch, row: u32) -> u64 {
    let rows = UInt32Array::from(vec![row]);
    Compiled::new(node).unwrap().rows_at(&batch.columns, &rows).lost.len() as u64
}

/// What one rule makes of one event: steps, values, and what it counts.
type Seen = (Option<(u32, Vec<Value>)>, u64);

fn alone(rule: &Rule, event: &Event, batch: &EventBatch, row: u32) -> Seen {
    let mut lost = 0;
    for filter in &rule.inputs.filters {
        lost += counted(filter, batch, row);
        if of(filter, event) != Value::Bool(true) {
            return (None, lost);
        }
    }
    let (steps, values) = (&rule.inputs.steps, &rule.inputs.values);
    lost += steps.iter().chain(values).map(|node| counted(node, batch, row)).sum::<u64>();
    let bits = steps.iter().enumerate().map(|(i, step)| u32::from(of(step, event) == Value::Bool(true)) << i);
    (Some((bits.sum(), values.iter().map(|value| of(value, event)).collect())), lost)
}

/// Fails unless the scan gives for each rule what it gives alone, and nothing else.
fn agree(set: &RuleSet, events: &[Event]) {
    let batch = batch(events);
    let mut scanned = set.scan(&batch).into_iter().peekable();
    for (index, rule) in set.rules.iter().enumerate() {
        let rows = events.iter().enumerate();
        let seen: Vec<Seen> = rows.map(|(row, event)| alone(rule, event, &batch, row as u32)).collect();
        let lost: u64 = seen.iter().map(|(_, lost)| lost).sum();
        let kept = seen.iter().enumerate().filter_map(|(row, (kept, _))| Some((row, kept.as_ref()?)));
        let kept: Vec<_> = kept.collect();
        if kept.is_empty() && lost == 0 {
            assert!(scanned.peek().is_none_or(|(other, _, _)| *other > index));
            continue;
        }
        let (scanned_index, picked, blind) = scanned.next().unwrap();
        assert_eq!(scanned_index, index);
        let rows: Vec<_> = picked.rows.iter().map(|row| *row as usize).collect();
        assert_eq!(rows, kept.iter().map(|(row, _)| *row).collect::<Vec<_>>());
        let slice = Slice { picked: &picked, from: 0, to: picked.rows.len(), exchange: false };
        let mut null = 0;
        for (i, (_, (steps, values))) in kept.iter().enumerate() {
            assert_eq!(slice.steps(i), *steps);
            let got: Vec<_> = (0..values.len()).map(|column| slice.value(column, i)).collect();
            assert_eq!(&got, values);
            let key = &values[..rule.key.len()];
            assert_eq!(slice.key(i), Key::of(key));
            null += u64::from(key.contains(&Value::Null));
        }
        assert_eq!(blind.get(Reason::Expression), lost, "{}", rule.info.id);
        assert_eq!(blind.get(Reason::NullKey), null, "{}", rule.info.id);
    }
    assert!(scanned.next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_scan_is_every_rule_on_every_row(events in events()) {
        agree(&rule_set(rules()), &events);
    }
}

#[test]
fn a_stream_that_no_rule_reads_gives_nothing() {
    let mut other = (*batch(&[(Value::Null, Value::Null, Value::Null)])).clone();
    other.stream = "t".into();
    assert!(rule_set(rules()).scan(&Arc::new(other)).is_empty());
    assert!(rule_set(rules()).scan(&batch(&[])).is_empty());
}

#[test]
fn only_what_rules_read_is_decoded() {
    let all = rules();
    let fleet: Vec<_> = all.iter().enumerate().filter(|(_, rule)| rule.info.id == "fleet").collect();
    assert_eq!(StreamScan::new(&schema(), &fleet).unwrap().projection(), [false, true, false, false]);
    let built_in = Node { op: Op::Column(4), args: Vec::new(), kind: Type::Time };
    let late = rule("late", 0, vec![node(Op::IsNull, Type::Bool, vec![built_in])], vec![], vec![]);
    assert_eq!(StreamScan::new(&schema(), &[(0, &late)]).unwrap().projection(), [false; 4]);
}

#[test]
fn equal_trees_are_evaluated_once_and_equal_keys_hashed_once() {
    let set = rule_set(rules());
    let scan = &set.scans["s"];
    assert_eq!(scan.terms.iter().map(|term| term.uses).sum::<usize>(), 38);
    // One of them is no rule's: a part that two share.
    assert_eq!((scan.terms.len(), scan.shapes.len()), (18, 5));
    assert_eq!(scan.terms.iter().filter(|term| term.combined.is_some()).count(), 2);
    let events: Vec<Event> = (0..100).map(|_| (Value::text("V"), Value::Int(0), Value::text("{}"))).collect();
    let batch = batch(&events);
    let mut pass = Pass::new(scan, &batch);
    let never = scan.plans.iter().find(|plan| set.rules[plan.rule].info.id == "never").unwrap();
    assert!(pass.choose(never).rows.is_empty());
    let [probe] = scan.probes.as_slice() else { panic!("one column is compared with many constants") };
    let evaluated = (0..scan.terms.len()).filter(|term| pass.whole[*term].is_some());
    let mut looked_up = probe.terms.clone();
    looked_up.sort_unstable();
    assert_eq!(evaluated.collect::<Vec<_>>(), looked_up, "nothing is left once nothing is picked");
}

#[test]
fn what_the_checker_never_makes_is_refused() {
    let many = rule("r", 0, vec![], vec![Node::truth(); 33], vec![]);
    assert!(StreamScan::new(&schema(), &[(0, &many)]).is_err());
    let bad = rule("r", 0, vec![node(Op::Aggregate(0), Type::Bool, vec![])], vec![], vec![]);
    assert!(StreamScan::new(&schema(), &[(0, &bad)]).unwrap_err().starts_with("r: "));
}
