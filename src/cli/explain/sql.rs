//! A checked condition as SQL again, for people: lets substituted, as it runs.

use crate::event::Value;
use crate::rule::expr::node::{Func, JsonStep, Node, Op};
use crate::rule::learned::Measure;
use crate::rule::{AggFunc, Aggregate, Kind, Rule};
use crate::schema::Schema;

/// Writes conditions of one rule.
pub struct Sql<'a> {
    rule: &'a Rule,
    schema: &'a Schema,
}

impl<'a> Sql<'a> {
    /// For a rule of this stream.
    pub fn new(rule: &'a Rule, schema: &'a Schema) -> Sql<'a> {
        Sql { rule, schema }
    }

    /// A condition or value.
    pub fn text(&self, node: &Node) -> String {
        let arg = |at: usize| node.args.get(at).map_or_else(String::new, |arg| self.operand(arg));
        let list = || node.args.iter().map(|arg| self.text(arg)).collect::<Vec<_>>();
        let between = |operator: &str| format!("{} {operator} {}", arg(0), arg(1));
        match &node.op {
            Op::Const(value) => constant(value),
            Op::Column(column) => self.schema.column_name(*column).to_owned(),
            Op::Aggregate(at) => self.aggregate(*at),
            Op::Learned(what) => what.name().to_owned(),
            Op::Input(column) => {
                self.rule.inputs.values.get(*column).map_or_else(String::new, |node| self.text(node))
            }
            Op::And => self.chain(node, "AND"),
            Op::Or => self.chain(node, "OR"),
            Op::Not => self.negated(node),
            Op::Eq => self.compared(node, "="),
            Op::Ne => self.compared(node, "<>"),
            Op::Lt => self.compared(node, "<"),
            Op::Le => self.compared(node, "<="),
            Op::Gt => self.compared(node, ">"),
            Op::Ge => self.compared(node, ">="),
            Op::Same => self.compared(node, "IS NOT DISTINCT FROM"),
            Op::Between => format!("{} BETWEEN {} AND {}", arg(0), arg(1), arg(2)),
            Op::In => format!("{} IN ({})", arg(0), list().get(1..).unwrap_or_default().join(", ")),
            Op::IsNull => format!("{} IS NULL", arg(0)),
            Op::IsTrue => format!("{} IS TRUE", arg(0)),
            Op::Like(pattern) => format!("{} LIKE {}", arg(0), constant(&Value::text(pattern))),
            Op::Add => between("+"),
            Op::Sub => between("-"),
            Op::Mul => between("*"),
            Op::Div => between("/"),
            Op::Rem => between("%"),
            Op::Concat => between("||"),
            Op::Neg => format!("-{}", arg(0)),
            Op::Case => self.case(node),
            // What makes types fit is no news; what the author asked for reads the same without it.
            Op::Cast => arg(0),
            Op::Call(func) => call(func, list()),
        }
    }

    /// Conditions joined by one operator; brackets stand only where another one is inside.
    fn chain(&self, node: &Node, operator: &str) -> String {
        let parts = node.args.iter().map(|arg| match &arg.op {
            op if *op == node.op => self.text(arg),
            Op::And | Op::Or => format!("({})", self.text(arg)),
            _ => self.text(arg),
        });
        parts.collect::<Vec<_>>().join(&format!(" {operator} "))
    }

    /// Conditions that must all be true.
    pub fn all(&self, nodes: &[Node]) -> String {
        let parts = nodes.iter().map(|node| match node.op {
            Op::Or if nodes.len() > 1 => format!("({})", self.text(node)),
            _ => self.text(node),
        });
        parts.collect::<Vec<_>>().join(" AND ")
    }

    fn compared(&self, node: &Node, operator: &str) -> String {
        let side = |arg: &Node| match arg.op {
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem | Op::Concat | Op::Neg => self.text(arg),
            _ => self.operand(arg),
        };
        node.args.iter().map(side).collect::<Vec<_>>().join(&format!(" {operator} "))
    }

    fn negated(&self, node: &Node) -> String {
        match node.args.first() {
            Some(inner) if inner.op == Op::IsNull => {
                format!(
                    "{} IS NOT NULL",
                    inner.args.first().map_or_else(String::new, |arg| self.operand(arg))
                )
            }
            Some(inner) => format!("NOT {}", self.operand(inner)),
            None => String::new(),
        }
    }

    fn case(&self, node: &Node) -> String {
        let parts = node.args.chunks(2).map(|pair| match pair {
            [when, then] => format!("WHEN {} THEN {} ", self.text(when), self.text(then)),
            [otherwise] => format!("ELSE {} ", self.text(otherwise)),
            _ => String::new(),
        });
        format!("CASE {}END", parts.collect::<String>())
    }

    /// In brackets, unless it is simple.
    fn operand(&self, node: &Node) -> String {
        let inner = match (&node.op, node.args.first()) {
            (Op::Cast, Some(inner)) => inner,
            _ => node,
        };
        let simple = matches!(
            inner.op,
            Op::Const(_)
                | Op::Column(_)
                | Op::Aggregate(_)
                | Op::Learned(_)
                | Op::Input(_)
                | Op::Call(_)
                | Op::Cast
        );
        if simple { self.text(node) } else { format!("({})", self.text(node)) }
    }

    /// An aggregate by its number: as it is written, or by its name if that is long.
    fn aggregate(&self, at: usize) -> String {
        let written = self.written(at);
        match self.name(at) {
            Some(name) if written.len() > 40 => name.to_owned(),
            _ => written,
        }
    }

    /// The name of an aggregate in alerts.
    pub fn name(&self, at: usize) -> Option<&'a str> {
        let named = self.rule.observed.iter().find(|(_, node)| node.op == Op::Aggregate(at));
        named.map(|(name, _)| &**name)
    }

    /// An aggregate as it is written.
    pub fn written(&self, at: usize) -> String {
        match &self.rule.kind {
            Kind::Threshold(threshold) => {
                threshold.aggregates.get(at).map_or_else(String::new, |aggregate| self.aggregated(aggregate))
            }
            Kind::Baseline(baseline) => match &baseline.measure {
                Measure::Window(window) => window
                    .spec
                    .aggregates
                    .get(at)
                    .map_or_else(String::new, |aggregate| self.aggregated(aggregate)),
                Measure::Event(_) => String::new(),
            },
            Kind::Match(_) => String::new(),
        }
    }

    /// Of the aggregates of a condition those that go by their name, with what they are.
    pub fn meanings(&self, node: &Node) -> Vec<String> {
        let mut found = Vec::new();
        node.walk(&mut |part| {
            if let Op::Aggregate(at) = part.op
                && let Some(name) = self.name(at)
                && self.aggregate(at) == name
            {
                let text = format!("{name} = {}", self.written(at));
                if !found.contains(&text) {
                    found.push(text);
                }
            }
        });
        found
    }

    /// An aggregate.
    fn aggregated(&self, aggregate: &Aggregate) -> String {
        let value = aggregate.arg.and_then(|arg| self.rule.inputs.values.get(arg));
        let arg = value.map_or_else(|| "*".to_owned(), |node| self.text(node));
        let text = match &aggregate.func {
            AggFunc::Count => format!("count({arg})"),
            AggFunc::CountDistinct => format!("count(DISTINCT {arg})"),
            AggFunc::Sum => format!("sum({arg})"),
            AggFunc::Avg => format!("avg({arg})"),
            AggFunc::Min => format!("min({arg})"),
            AggFunc::Max => format!("max({arg})"),
            AggFunc::StdDev => format!("stddev({arg})"),
            AggFunc::Percentile(part) => format!("percentile({arg}, {})", f64::from(*part) / 100.0),
            AggFunc::Values(n) => format!("values({arg}, {n})"),
        };
        let filter = aggregate.filter.and_then(|bit| self.rule.inputs.steps.get(bit as usize));
        match filter {
            Some(filter) => format!("{text} FILTER (WHERE {})", self.text(filter)),
            None => text,
        }
    }
}

fn call(func: &Func, mut args: Vec<String>) -> String {
    let quoted = |text: &str| constant(&Value::text(text));
    let name = match func {
        Func::JsonGet(steps) => {
            args.push(quoted(&path(steps)));
            "json_get"
        }
        Func::JsonList(steps) => {
            args.push(quoted(&path(steps)));
            "json_list"
        }
        Func::CidrMatch(networks) => {
            args.extend(networks.iter().map(|(address, length)| quoted(&format!("{address}/{length}"))));
            "cidr_match"
        }
        Func::RegexpLike(pattern) => {
            args.push(quoted(pattern));
            "regexp_like"
        }
        Func::Lookup(question) => {
            let shape = &question.table.shape;
            let column = question.column.and_then(|column| shape.columns.get(column));
            let table = &question.table.name;
            let name = column.map_or_else(|| table.clone(), |(column, _)| format!("{table}.{column}"));
            args.truncate(shape.key.len());
            args.insert(0, quoted(&name));
            "lookup"
        }
        other => return format!("{}({})", snake(&format!("{other:?}")), args.join(", ")),
    };
    format!("{name}({})", args.join(", "))
}

/// `SecondsBetween` → `seconds_between`.
fn snake(name: &str) -> String {
    let head = name.split(['(', '{', ' ']).next().unwrap_or(name);
    head.chars().enumerate().fold(String::new(), |mut out, (at, c)| {
        if c.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
        out
    })
}

fn path(steps: &[JsonStep]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        JsonStep::Member(name) if path.is_empty() => name.clone(),
        JsonStep::Member(name) => format!("{path}.{name}"),
        JsonStep::Index(index) => format!("{path}[{index}]"),
        JsonStep::Each => format!("{path}[*]"),
    })
}

/// A value as SQL writes it.
pub fn constant(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Time(time) => format!("'{time}'"),
        Value::Bool(flag) => flag.to_string().to_uppercase(),
        other => other.json().to_string(),
    }
}
