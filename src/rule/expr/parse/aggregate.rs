//! Calls of aggregates: counted by the detector, not computed per event.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
};

use super::super::node::{Node, Op};
use super::call::{plain_argument, usage};
use super::convert::{Converter, is_not_null};
use super::{Call, a};
use crate::event::{Type, Value};
use crate::rule::AggFunc;

/// How many values `values(x, n)` may show.
const MAX_VALUES: i64 = 100;

/// Whether a function is an aggregate that this version has.
pub fn is_aggregate(name: &str) -> bool {
    matches!(name, "count" | "sum" | "avg" | "min" | "max" | "stddev" | "percentile" | "values")
}

/// What stands between the parentheses.
enum Inside<'e> {
    Star,
    Distinct(&'e Expr),
    Plain(Vec<&'e Expr>),
}

impl Converter<'_, '_> {
    /// An aggregate; it becomes a leaf, and its argument and filter go to the scope's list.
    pub fn aggregate(&mut self, expr: &Expr, name: &str, function: &Function) -> Option<Node> {
        if !self.may_aggregate(expr, &format!("\"{}\"", self.written(expr))) {
            return None;
        }
        let Some(inside) = inside(function) else {
            return self.wrong(
                expr,
                format!("\"{name}\" is not called like this"),
                format!("write {}", usage(name)),
            );
        };
        self.inside = true;
        let filter = function.filter.as_ref().map(|filter| self.condition(filter));
        let call = self.aggregate_call(expr, name, inside);
        self.inside = false;
        let filter = match filter {
            Some(filter) => Some(filter?),
            None => None,
        };
        let (mut call, not_null) = call?;
        call.filter = match (filter, not_null) {
            (Some(filter), Some(not_null)) => {
                Some(Node { op: Op::And, args: vec![filter, not_null], kind: Type::Bool })
            }
            (filter, not_null) => filter.or(not_null),
        };
        let kind = result_type(&call);
        let index = self.scope.intern(call);
        Some(Node { op: Op::Aggregate(index), args: Vec::new(), kind })
    }

    /// The call without its FILTER, and the condition that `count(x)` adds to it.
    fn aggregate_call(
        &mut self,
        expr: &Expr,
        name: &str,
        inside: Inside<'_>,
    ) -> Option<(Call, Option<Node>)> {
        let (func, arg) = match (name, inside) {
            ("count", Inside::Star) => return Some((self.named(AggFunc::Count, None, "count"), None)),
            ("count", Inside::Distinct(arg)) => (AggFunc::CountDistinct, arg),
            ("count", Inside::Plain(args)) if args.len() == 1 => {
                let node = self.node(args.first()?)?;
                return Some((self.named(AggFunc::Count, None, "count"), Some(is_not_null(node))));
            }
            ("sum", Inside::Plain(args)) if args.len() == 1 => (AggFunc::Sum, *args.first()?),
            ("avg", Inside::Plain(args)) if args.len() == 1 => (AggFunc::Avg, *args.first()?),
            ("min", Inside::Plain(args)) if args.len() == 1 => (AggFunc::Min, *args.first()?),
            ("max", Inside::Plain(args)) if args.len() == 1 => (AggFunc::Max, *args.first()?),
            ("stddev", Inside::Plain(args)) if args.len() == 1 => (AggFunc::StdDev, *args.first()?),
            ("percentile", Inside::Plain(args)) if args.len() == 2 => {
                (AggFunc::Percentile(self.per_cent(args.get(1)?)?), *args.first()?)
            }
            ("values", Inside::Plain(args)) if args.len() == 2 => {
                (AggFunc::Values(self.how_many(args.get(1)?)?), *args.first()?)
            }
            _ => {
                let hint = format!("write {}", usage(name));
                return self.wrong(expr, format!("\"{name}\" has other arguments"), hint);
            }
        };
        let node = self.node(arg)?;
        self.fits_aggregate(arg, name, func, node.kind)?;
        let name = if func == AggFunc::CountDistinct { "count_distinct" } else { name };
        Some((self.named(func, Some(node), name), None))
    }

    /// From 0 to 100, in hundredths.
    fn per_cent(&mut self, expr: &Expr) -> Option<u32> {
        let node = self.node(expr)?;
        let q = match node.as_const() {
            Some(Value::Int(q)) => Some(*q as f64),
            Some(Value::Float(q)) => Some(*q),
            _ => None,
        };
        match q {
            Some(q) if (0.0..=100.0).contains(&q) => Some((q * 100.0).round() as u32),
            _ => {
                let message = "the second argument of \"percentile\" says which one";
                self.wrong(expr, message, "a number from 0 to 100: percentile(x, 95)")
            }
        }
    }

    fn how_many(&mut self, expr: &Expr) -> Option<u32> {
        let node = self.node(expr)?;
        match node.as_const() {
            Some(Value::Int(n)) if (1..=MAX_VALUES).contains(n) => u32::try_from(*n).ok(),
            _ => {
                let message = "the second argument of \"values\" says how many are shown";
                self.wrong(expr, message, format!("a number from 1 to {MAX_VALUES}: values(x, 10)"))
            }
        }
    }

    fn fits_aggregate(&mut self, arg: &Expr, name: &str, func: AggFunc, kind: Type) -> Option<()> {
        let fits = match func {
            AggFunc::Sum | AggFunc::Avg | AggFunc::StdDev | AggFunc::Percentile(_) => {
                matches!(kind, Type::Int | Type::Float)
            }
            AggFunc::Min | AggFunc::Max => matches!(kind, Type::Int | Type::Float | Type::Time),
            _ => !matches!(kind, Type::List | Type::Null),
        };
        if fits {
            return Some(());
        }
        let written = self.written(arg);
        let hint = match (func, kind) {
            (AggFunc::Sum | AggFunc::Avg, Type::Bool) => {
                format!("`count(*) FILTER (WHERE {written})` counts how often it is true")
            }
            (AggFunc::Sum | AggFunc::Avg, Type::Text) => {
                format!("convert it: `{name}(TRY_CAST({written} AS DOUBLE))`")
            }
            (_, Type::List) => "`array_has(list, text)` makes a condition of a list".into(),
            (AggFunc::Min | AggFunc::Max, _) => "`count(DISTINCT x)` and `values(x, 10)` read texts".into(),
            _ => "give it a column".into(),
        };
        self.wrong(arg, format!("\"{name}\" cannot read {}", a(kind)), hint)
    }

    /// A call with the name that alerts use: a column's name goes to it, an expression's does not.
    fn named(&self, func: AggFunc, arg: Option<Node>, name: &str) -> Call {
        let name = match arg.as_ref().map(|arg| &arg.op) {
            Some(Op::Column(column)) => format!("{name}_{}", self.scope.schema.column_name(*column)),
            _ => name.to_string(),
        };
        Call { func, arg, filter: None, name }
    }
}

fn inside(function: &Function) -> Option<Inside<'_>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    if !list.clauses.is_empty() || !function.within_group.is_empty() || function.null_treatment.is_some() {
        return None;
    }
    match (&list.duplicate_treatment, &list.args[..]) {
        (None, [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]) => Some(Inside::Star),
        (Some(DuplicateTreatment::Distinct), [arg]) => plain_argument(arg).map(Inside::Distinct),
        (None, args) => args.iter().map(plain_argument).collect::<Option<_>>().map(Inside::Plain),
        _ => None,
    }
}

fn result_type(call: &Call) -> Type {
    let kind = call.arg.as_ref().map_or(Type::Null, |arg| arg.kind);
    match call.func {
        AggFunc::Count | AggFunc::CountDistinct => Type::Int,
        AggFunc::Avg | AggFunc::StdDev | AggFunc::Percentile(_) => Type::Float,
        AggFunc::Sum | AggFunc::Min | AggFunc::Max => kind,
        AggFunc::Values(_) => Type::List,
    }
}
