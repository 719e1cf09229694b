//! Operators: logic, comparisons, arithmetic, lists, patterns, CASE.

use datafusion::sql::sqlparser::ast::{BinaryOperator, CaseWhen, Expr};

use super::super::node::{Node, Op};
use super::coerce::as_float;
use super::convert::{Converter, constant_text, negate};
use super::{LetValue, a};
use crate::event::{Type, Value};

impl Converter<'_, '_> {
    /// An operator between two operands.
    pub fn binary(
        &mut self,
        expr: &Expr,
        left: &Expr,
        operator: &BinaryOperator,
        right: &Expr,
    ) -> Option<Node> {
        match operator {
            BinaryOperator::And => self.logic(Op::And, expr),
            BinaryOperator::Or => self.logic(Op::Or, expr),
            BinaryOperator::Eq => self.comparison(expr, Op::Eq, left, right),
            BinaryOperator::NotEq => self.comparison(expr, Op::Ne, left, right),
            BinaryOperator::Lt => self.comparison(expr, Op::Lt, left, right),
            BinaryOperator::LtEq => self.comparison(expr, Op::Le, left, right),
            BinaryOperator::Gt => self.comparison(expr, Op::Gt, left, right),
            BinaryOperator::GtEq => self.comparison(expr, Op::Ge, left, right),
            BinaryOperator::Plus => self.arithmetic(Op::Add, left, right),
            BinaryOperator::Minus => self.arithmetic(Op::Sub, left, right),
            BinaryOperator::Multiply => self.arithmetic(Op::Mul, left, right),
            BinaryOperator::Modulo => self.arithmetic(Op::Rem, left, right),
            BinaryOperator::Divide => {
                let (left, right) = (self.number(left), self.number(right));
                let args = vec![as_float(left?), as_float(right?)];
                Some(Node { op: Op::Div, args, kind: Type::Float })
            }
            BinaryOperator::StringConcat => self.concat(left, right),
            other => {
                let hint = match other.to_string().as_str() {
                    "~" | "~*" | "!~" | "!~*" => "`regexp_like(x, 'pattern')`",
                    "->" | "->>" | "#>" | "#>>" => "`json_get(text, 'a.b')`",
                    "<=>" | "==" => "equality is `=`; `IS NOT DISTINCT FROM` also equals NULL to NULL",
                    "&&" => "write AND",
                    "XOR" => "write `a <> b`",
                    _ => "operators are AND OR NOT = <> < <= > >= + - * / % || and IN, BETWEEN, LIKE, IS",
                };
                self.wrong(expr, format!("operator {other} is not part of the rule language"), hint)
            }
        }
    }

    /// A chain of one operator, which nests to the left: a loop, so that long ones do not go deep.
    fn logic(&mut self, op: Op, expr: &Expr) -> Option<Node> {
        let wanted = if op == Op::And { BinaryOperator::And } else { BinaryOperator::Or };
        let (mut first, mut rest) = (expr, Vec::new());
        while let Expr::BinaryOp { left, op, right } = first
            && *op == wanted
        {
            rest.push(&**right);
            first = left;
        }
        self.level += rest.len();
        let operands: Vec<Option<Node>> = std::iter::once(first)
            .chain(rest.iter().rev().copied())
            .map(|part| self.condition(part))
            .collect();
        self.level -= rest.len();
        let operands: Vec<Node> = operands.into_iter().collect::<Option<_>>()?;
        operands.into_iter().reduce(|left, right| Node {
            op: op.clone(),
            args: vec![left, right],
            kind: Type::Bool,
        })
    }

    /// Two expressions, both read whatever comes of the first, made one type.
    fn pair(&mut self, left: &Expr, right: &Expr) -> Option<[Node; 2]> {
        let (a, b) = (self.node(left), self.node(right));
        let fitted = self.fit(vec![a?, b?], &[left, right])?;
        <[Node; 2]>::try_from(fitted).ok()
    }

    fn comparison(&mut self, expr: &Expr, op: Op, left: &Expr, right: &Expr) -> Option<Node> {
        let [a, b] = self.pair(left, right)?;
        for (node, other) in [(&a, right), (&b, left)] {
            if node.as_const() == Some(&Value::Null) {
                let hint = format!("`{0} IS NULL`, or `{0} IS NOT NULL`", self.written(other));
                return self.wrong(expr, "a comparison with NULL is never true", hint);
            }
        }
        let orders = matches!(op, Op::Lt | Op::Le | Op::Gt | Op::Ge);
        if a.kind == Type::List {
            let hint = format!("ask for an element: `array_has({}, 'text')`", self.written(left));
            return self.wrong(expr, "lists cannot be compared", hint);
        }
        if a.kind == Type::Bool && orders {
            return self.wrong(expr, "booleans have no order", "write `x`, `NOT x`, or `x = y`");
        }
        let turn = a.as_const().is_some() && b.as_const().is_none();
        let (op, args) = if turn { (turned(op), vec![b, a]) } else { (op, vec![a, b]) };
        let node = Node { op, args, kind: Type::Bool };
        if node.op == Op::Ne {
            self.note_negation(expr, &node);
        }
        Some(node)
    }

    /// `IS NOT DISTINCT FROM`.
    pub fn same(&mut self, expr: &Expr, left: &Expr, right: &Expr) -> Option<Node> {
        // The parser takes everything behind these words for the right side, whatever binds weaker too.
        if let Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } = right {
            let hint = "put brackets around it: `(x IS DISTINCT FROM y) AND …`";
            return self.wrong(expr, "what follows IS DISTINCT FROM is read as part of it", hint);
        }
        let [a, b] = self.pair(left, right)?;
        if a.kind == Type::List {
            return self.wrong(expr, "lists cannot be compared", "`array_has(list, text)`");
        }
        let turn = a.as_const().is_some() && b.as_const().is_none();
        let args = if turn { vec![b, a] } else { vec![a, b] };
        Some(Node { op: Op::Same, args, kind: Type::Bool })
    }

    fn arithmetic(&mut self, op: Op, left: &Expr, right: &Expr) -> Option<Node> {
        let (a, b) = (self.number(left), self.number(right));
        let args = self.fit(vec![a?, b?], &[left, right])?;
        let kind = args.first()?.kind;
        Some(Node { op, args, kind })
    }

    fn concat(&mut self, left: &Expr, right: &Expr) -> Option<Node> {
        let (a, b) = (self.joinable(left), self.joinable(right));
        Some(Node { op: Op::Concat, args: vec![a?, b?], kind: Type::Text })
    }

    fn joinable(&mut self, expr: &Expr) -> Option<Node> {
        let node = self.node(expr)?;
        match node.kind {
            Type::Text => Some(node),
            Type::Null => Some(Node { kind: Type::Text, ..node }),
            kind => {
                let written = self.written(expr);
                let hint = match kind {
                    Type::Bool => "either of two conditions is OR".into(),
                    _ => format!("convert it: `CAST({written} AS VARCHAR)`; either of two conditions is OR"),
                };
                self.wrong(expr, format!("`||` joins texts, and \"{written}\" is {}", a(kind)), hint)
            }
        }
    }

    /// `x IS NULL`.
    pub fn is_null(&mut self, inner: &Expr) -> Option<Node> {
        let node = self.node(inner)?;
        Some(Node { op: Op::IsNull, args: vec![node], kind: Type::Bool })
    }

    /// `x IN (…)`: constants, and names of lists.
    pub fn in_list(&mut self, expr: &Expr, inner: &Expr, list: &[Expr], negated: bool) -> Option<Node> {
        let operand = self.node(inner);
        let mut nodes = Vec::new();
        let mut exprs = vec![inner];
        let mut whole = true;
        for item in list {
            match self.constants(item) {
                Some(found) => found.into_iter().for_each(|node| {
                    nodes.push(node);
                    exprs.push(item);
                }),
                None => whole = false,
            }
        }
        let mut all = vec![operand?];
        if !whole {
            return None;
        }
        if all.iter().any(|node| node.kind == Type::List) {
            let hint = format!("ask for each: `array_has({}, 'text')`", self.written(inner));
            return self.wrong(expr, "IN compares a single value, not a list", hint);
        }
        if nodes.is_empty() {
            return self.wrong(expr, "the list is empty: nothing is IN it", "put values into the list");
        }
        all.append(&mut nodes);
        let args = self.fit(all, &exprs)?;
        let node = Node { op: Op::In, args, kind: Type::Bool };
        if !negated {
            return Some(node);
        }
        self.note_negation(expr, &node);
        Some(negate(node))
    }

    /// The constants that an item of a list stands for.
    pub fn constants(&mut self, item: &Expr) -> Option<Vec<Node>> {
        if let Expr::Identifier(name) = item
            && let Some(index) = self.scope.find_let(&name.value)
            && let Some(LetValue::List(values)) = self.scope.lets.get(index).map(|each| &each.value)
        {
            self.scope.mark_used(index);
            return Some(values.iter().cloned().map(Node::constant).collect());
        }
        let node = self.node(item)?;
        match node.as_const() {
            Some(Value::Null) => {
                let hint = "`x IS NULL OR x IN (…)`";
                self.wrong(item, "NULL in a list equals nothing", hint)
            }
            Some(_) => Some(vec![node]),
            None => {
                let written = self.written(item);
                let hint = format!("compare it by itself: `x = {written} OR x IN (…)`");
                self.wrong(item, format!("\"{written}\" is not a constant"), hint)
            }
        }
    }

    /// `x BETWEEN low AND high`.
    pub fn between(&mut self, expr: &Expr, parts: [&Expr; 3], negated: bool) -> Option<Node> {
        let nodes: Vec<Option<Node>> = parts.iter().map(|part| self.node(part)).collect();
        let nodes: Vec<Node> = nodes.into_iter().collect::<Option<_>>()?;
        let args = self.fit(nodes, &parts)?;
        if matches!(args.first()?.kind, Type::Bool | Type::List) {
            return self.wrong(expr, "BETWEEN needs numbers, texts or times", "compare with `=`");
        }
        if let [_, low, high] = &args[..]
            && let (Some(low), Some(high)) = (low.as_const(), high.as_const())
            && is_less(high, low)
        {
            let hint = "the smaller bound goes first";
            return self.wrong(expr, "BETWEEN with these bounds is never true", hint);
        }
        let node = Node { op: Op::Between, args, kind: Type::Bool };
        Some(if negated { negate(node) } else { node })
    }

    /// `x LIKE 'pattern'`.
    pub fn like(&mut self, expr: &Expr, inner: &Expr, pattern: &Expr, negated: bool) -> Option<Node> {
        let (node, pattern_node) = (self.text_operand(inner), self.node(pattern));
        let (node, pattern_node) = (node?, pattern_node?);
        let Some(text) = constant_text(&pattern_node) else {
            let hint = "the pattern is a literal: 'prefix%'; `starts_with(x, y)` takes a column";
            return self.wrong(pattern, "LIKE needs a literal pattern", hint);
        };
        let node = Node { op: Op::Like(text.to_string()), args: vec![node], kind: Type::Bool };
        if !negated {
            return Some(node);
        }
        self.note_negation(expr, &node);
        Some(negate(node))
    }

    /// `CASE WHEN … THEN … END`, `CASE x WHEN … THEN … END`.
    pub fn case(
        &mut self,
        expr: &Expr,
        operand: Option<&Expr>,
        branches: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Option<Node> {
        let mut conditions = Vec::new();
        let (mut values, mut exprs) = (Vec::new(), Vec::new());
        for branch in branches {
            conditions.push(match operand {
                None => self.condition(&branch.condition),
                Some(operand) => self.pair(operand, &branch.condition).map(|pair| Node {
                    op: Op::Eq,
                    args: pair.into(),
                    kind: Type::Bool,
                }),
            });
            values.push(self.node(&branch.result));
            exprs.push(&branch.result);
        }
        if let Some(otherwise) = otherwise {
            values.push(self.node(otherwise));
            exprs.push(otherwise);
        }
        let conditions: Vec<Node> = conditions.into_iter().collect::<Option<_>>()?;
        let mut values = self.fit(values.into_iter().collect::<Option<_>>()?, &exprs)?;
        let kind = values.first()?.kind;
        if kind == Type::Null {
            return self.wrong(expr, "every branch of CASE is NULL", "give a value after THEN");
        }
        if otherwise.is_none() {
            values.push(Node { kind, ..Node::constant(Value::Null) });
        }
        let otherwise = values.pop()?;
        let mut args: Vec<Node> = conditions.into_iter().zip(values).flat_map(|(c, v)| [c, v]).collect();
        args.push(otherwise);
        Some(Node { op: Op::Case, args, kind })
    }

    /// An expression that must be a text.
    pub fn text_operand(&mut self, expr: &Expr) -> Option<Node> {
        let node = self.node(expr)?;
        match node.kind {
            Type::Text => Some(node),
            Type::Null => Some(Node { kind: Type::Text, ..node }),
            kind => {
                let written = self.written(expr);
                let hint = match kind {
                    Type::List => format!("`array_has({written}, 'text')` looks into a list"),
                    _ => format!("convert it: `CAST({written} AS VARCHAR)`"),
                };
                self.wrong(expr, format!("\"{written}\" is {}, not a string", a(kind)), hint)
            }
        }
    }
}

/// The operator with its sides changed.
fn turned(op: Op) -> Op {
    match op {
        Op::Lt => Op::Gt,
        Op::Le => Op::Ge,
        Op::Gt => Op::Lt,
        Op::Ge => Op::Le,
        same => same,
    }
}

fn is_less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a < b,
        (Value::Float(a), Value::Float(b)) => a < b,
        (Value::Text(a), Value::Text(b)) => a < b,
        (Value::Time(a), Value::Time(b)) => a < b,
        _ => false,
    }
}
