//! The SQL parser's tree → our tree: names, and which form of SQL goes where.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{Expr, Ident, UnaryOperator};

use super::super::node::{Func, Learned, Node, Op};
use super::{LetValue, MAX_DEPTH, MAX_NESTING, MAX_NODES, Negation, Place, Ref, Scope, Target, Tree, a, sql};
use crate::diagnostic::nearest;
use crate::event::{Type, Value};
use crate::rule::file::{Span, Text};
use crate::schema::BUILT_IN;

/// Reads one text.
pub struct Converter<'s, 'a> {
    pub scope: &'s mut Scope<'a>,
    pub text: &'s Text,
    pub place: Place,
    /// Inside the arguments or the FILTER of an aggregate.
    pub inside: bool,
    pub refs: Vec<Ref>,
    /// How deep reading is.
    nesting: usize,
    /// The level of the tree at which the next node stands.
    pub level: usize,
    size: usize,
    broken: bool,
}

/// Whether it is true or false, whatever is NULL.
fn is_never_null(node: &Node) -> bool {
    match &node.op {
        Op::IsNull | Op::IsTrue | Op::Same | Op::Const(_) => true,
        Op::Call(Func::Lookup(question)) => question.column.is_none(),
        _ => false,
    }
}

impl<'s, 'a> Converter<'s, 'a> {
    pub fn new(scope: &'s mut Scope<'a>, text: &'s Text, place: Place) -> Self {
        Converter {
            scope,
            text,
            place,
            inside: false,
            refs: Vec::new(),
            nesting: 0,
            level: 0,
            size: 0,
            broken: false,
        }
    }

    /// The tree of a whole text.
    pub fn tree(mut self, expr: &Expr) -> Option<Tree> {
        let node = self.node(expr)?;
        (!self.broken).then_some(Tree { node, refs: self.refs })
    }

    /// The tree of a whole text that must be true or false.
    pub fn condition_tree(mut self, expr: &Expr) -> Option<Tree> {
        let node = self.condition(expr)?;
        (!self.broken).then_some(Tree { node, refs: self.refs })
    }

    /// Where an expression stands in the file.
    pub fn span(&self, expr: &Expr) -> Span {
        self.text.place(sql::reach(&self.text.text, expr))
    }

    /// How an expression is written, for messages and hints.
    pub fn written(&self, expr: &Expr) -> String {
        let part: Range<usize> = sql::reach(&self.text.text, expr);
        let text = self.text.text.get(part).unwrap_or("");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() <= 40 {
            return text;
        }
        text.chars().take(38).chain("…".chars()).collect()
    }

    /// Says what is wrong with an expression. Always None, so that it can be returned.
    pub fn wrong<T>(
        &mut self,
        expr: &Expr,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        let span = self.span(expr);
        self.wrong_at(span, message, hint)
    }

    /// The same at a place of the file.
    pub fn wrong_at<T>(
        &mut self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        self.broken = true;
        let file = self.text.file.clone();
        self.scope.problem(&file, span, message, hint);
        None
    }

    /// Any expression. None if it has an error, which has been said.
    pub fn node(&mut self, expr: &Expr) -> Option<Node> {
        self.size += 1;
        if self.nesting >= MAX_NESTING || self.level >= MAX_DEPTH || self.size > MAX_NODES {
            return self.too_big();
        }
        self.nesting += 1;
        self.level += 1;
        let node = self.dispatch(expr);
        self.nesting -= 1;
        self.level -= 1;
        node
    }

    fn too_big<T>(&mut self) -> Option<T> {
        if self.broken {
            return None;
        }
        let hint = "a long chain of `x = … OR x = …` is `x IN (…)`; a part can be a let";
        self.wrong_at(self.text.span.clone(), "the expression is too big", hint)
    }

    fn dispatch(&mut self, expr: &Expr) -> Option<Node> {
        match expr {
            Expr::Nested(inner) => self.node(inner),
            Expr::Identifier(name) => self.name(expr, name),
            Expr::CompoundIdentifier(names) => self.compound(expr, names),
            Expr::Value(value) => self.literal(expr, &value.value, false),
            Expr::TypedString(typed) => self.typed_literal(expr, typed),
            Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => self.not(expr, inner),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => self.minus(expr, inner),
            Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => self.number(inner),
            Expr::BinaryOp { left, op, right } => self.binary(expr, left, op, right),
            Expr::IsNull(inner) => self.is_null(inner),
            Expr::IsNotNull(inner) => self.is_null(inner).map(negate),
            Expr::IsTrue(inner) => self.condition(inner).map(is_true),
            Expr::IsNotTrue(inner) => self.condition(inner).map(is_true).map(negate),
            Expr::IsFalse(inner) => self.condition(inner).map(negate).map(is_true),
            Expr::IsNotFalse(inner) => self.condition(inner).map(negate).map(is_true).map(negate),
            Expr::IsDistinctFrom(left, right) => self.same(expr, left, right).map(negate),
            Expr::IsNotDistinctFrom(left, right) => self.same(expr, left, right),
            Expr::InList { expr: inner, list, negated } => self.in_list(expr, inner, list, *negated),
            Expr::Between { expr: inner, negated, low, high } => {
                self.between(expr, [inner, low, high], *negated)
            }
            Expr::Like { negated, any: false, expr: inner, pattern, escape_char: None } => {
                self.like(expr, inner, pattern, *negated)
            }
            Expr::Cast { expr: inner, data_type, array: false, format: None, .. } => {
                self.cast(expr, inner, data_type)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(expr, operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Function(function) => self.call(expr, function),
            Expr::Floor { expr: inner, field } => self.rounding(expr, "floor", inner, field),
            Expr::Ceil { expr: inner, field } => self.rounding(expr, "ceil", inner, field),
            other => self.unsupported(other),
        }
    }

    /// An expression whose value is true or false.
    pub fn condition(&mut self, expr: &Expr) -> Option<Node> {
        let node = self.node(expr)?;
        match node.kind {
            Type::Bool => Some(node),
            Type::Null => Some(Node { kind: Type::Bool, ..node }),
            kind => {
                let written = self.written(expr);
                let hint = match kind {
                    Type::Int | Type::Float => format!("compare it: `{written} > 0`"),
                    Type::List => format!("ask for an element: `array_has({written}, 'text')`"),
                    _ => format!("compare it: `{written} = '…'`, or `{written} IS NOT NULL`"),
                };
                self.wrong(expr, format!("\"{written}\" is {}, not a condition", a(kind)), hint)
            }
        }
    }

    fn not(&mut self, expr: &Expr, inner: &Expr) -> Option<Node> {
        let node = self.condition(inner)?;
        if !is_never_null(&node) {
            let written = format!("NOT ({})", self.written(inner));
            self.note_negation_as(expr, &node, written);
        }
        Some(negate(node))
    }

    /// Remembers a predicate of `where` that is not true of NULL although it excludes only some values.
    pub fn note_negation(&mut self, expr: &Expr, node: &Node) {
        let written = self.written(expr);
        self.note_negation_as(expr, node, written);
    }

    fn note_negation_as(&mut self, expr: &Expr, node: &Node, written: String) {
        if self.place != Place::Where {
            return;
        }
        let mut columns = Vec::new();
        node.walk(&mut |node| {
            if let Op::Column(column) = node.op
                && !columns.contains(&column)
            {
                columns.push(column);
            }
        });
        let negation = Negation { columns, span: self.span(expr), written };
        self.scope.negations.push(negation);
    }

    /// A column or a let.
    fn name(&mut self, expr: &Expr, name: &Ident) -> Option<Node> {
        if let Some(quote) = name.quote_style {
            let hint = if self.scope.schema.column(&name.value).is_some() {
                format!("write {} without quotes", name.value)
            } else {
                format!("a text takes single quotes: '{}'", name.value)
            };
            return self.wrong(expr, format!("{quote}{}{quote} is a quoted name", name.value), hint);
        }
        if let Some(node) = self.learned(&name.value) {
            return Some(node);
        }
        if let Some(column) = self.scope.schema.column(&name.value) {
            self.refer(expr, Target::Column(column));
            let kind = self.scope.schema.column_type(column);
            return Some(Node { op: Op::Column(column), args: Vec::new(), kind });
        }
        match self.scope.find_let(&name.value) {
            Some(index) => self.use_let(expr, index),
            None => self.unknown_name(expr, &name.value),
        }
    }

    /// What a learned normal says, where it may be asked.
    fn learned(&self, name: &str) -> Option<Node> {
        let value = self.scope.learned.filter(|_| !self.inside && self.place != Place::Where)?;
        let what = Learned::ALL.into_iter().find(|learned| learned.name() == name)?;
        Some(Node { op: Op::Learned(what), args: Vec::new(), kind: what.kind(value) })
    }

    fn refer(&mut self, expr: &Expr, target: Target) {
        let span = self.span(expr);
        self.refs.push(Ref { target, span, inside: self.inside });
    }

    fn use_let(&mut self, expr: &Expr, index: usize) -> Option<Node> {
        self.scope.mark_used(index);
        let each = self.scope.lets.get(index)?;
        if matches!(each.value, LetValue::List(_)) {
            let message = format!("let \"{}\" is a list", each.name);
            return self.wrong(expr, message, format!("use it as `x IN ({})`", each.name));
        }
        let name = each.name.clone();
        let Some((tree, size, depth)) = self.scope.open_let(index) else {
            self.broken = true;
            return None;
        };
        self.size += size;
        if self.level + depth > MAX_DEPTH || self.size > MAX_NODES {
            return self.too_big();
        }
        if tree.node.has_aggregate() && !self.may_aggregate(expr, &format!("let \"{name}\"")) {
            return None;
        }
        self.refer(expr, Target::Let(index));
        Some(tree.node)
    }

    /// Whether an aggregate may stand here; says so if not.
    pub fn may_aggregate(&mut self, expr: &Expr, what: &str) -> bool {
        let (message, hint) = match (self.inside, self.place) {
            (true, _) => {
                (format!("{what} is an aggregate inside an aggregate"), "aggregate once, compare the results")
            }
            (_, Place::Where) => (
                format!("{what} looks at many events, and `where` sees one event only"),
                "move the comparison to `having` of a [threshold]",
            ),
            (_, Place::Judgement) => (
                format!("{what} needs a window, and this rule has none"),
                "write a [threshold] with `window = \"60s\"`",
            ),
            (_, Place::Window | Place::Let) => return true,
        };
        self.wrong::<()>(expr, message, hint);
        false
    }

    fn unknown_name(&mut self, expr: &Expr, name: &str) -> Option<Node> {
        let schema = self.scope.schema;
        let message = format!("column \"{name}\" does not exist in stream \"{}\"", schema.name);
        if let Some(field) = schema.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)) {
            let hint = format!("names are case-sensitive: write {}", field.name);
            return self.wrong(expr, message, hint);
        }
        let columns = schema.fields.iter().map(|field| field.name.as_str());
        let names: Vec<&str> = columns
            .chain(BUILT_IN.iter().map(|(name, _)| *name))
            .chain(self.scope.lets.iter().map(|each| each.name.as_str()))
            .collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?{}", self.describe(near)),
            None => one_of(&names),
        };
        self.wrong(expr, message, hint)
    }

    /// Type and known values of a column: ` (string: positive, negative)`.
    fn describe(&self, name: &str) -> String {
        let schema = self.scope.schema;
        let Some(column) = schema.column(name) else {
            return " (a let)".into();
        };
        let kind = schema.column_type(column).name();
        match schema.fields.get(column).map(|field| &field.values) {
            Some(values) if !values.is_empty() => format!(" ({kind}: {})", values.join(", ")),
            _ => format!(" ({kind})"),
        }
    }

    fn compound(&mut self, expr: &Expr, names: &[Ident]) -> Option<Node> {
        let first = names.first().map_or("", |name| name.value.as_str());
        let last = names.last().map_or("", |name| name.value.as_str());
        let hint = if self.scope.schema.name.as_ref() == first && self.scope.schema.column(last).is_some() {
            format!("a column goes by its name alone: {last}")
        } else {
            "joins and steps, which this form reads, are not built yet; a path into JSON text is \
             json_get(column, 'a.b')"
                .into()
        };
        self.wrong(expr, format!("\"{}\" is not a column", self.written(expr)), hint)
    }

    fn unsupported(&mut self, expr: &Expr) -> Option<Node> {
        let (what, hint) = match expr {
            Expr::ILike { .. } => ("ILIKE", "compare lower case: `lower(x) LIKE 'part%'`"),
            Expr::Like { .. } => ("LIKE with ESCAPE or ANY", "`regexp_like(x, 'pattern')` matches anything"),
            Expr::SimilarTo { .. } | Expr::RLike { .. } => ("this match", "`regexp_like(x, 'pattern')`"),
            Expr::InSubquery { .. } | Expr::Subquery(_) | Expr::Exists { .. } => {
                ("a subquery", "a rule sees one stream; a short list can be a let: `x IN (name)`")
            }
            Expr::IsUnknown(_) | Expr::IsNotUnknown(_) => ("IS UNKNOWN", "`x IS NULL`"),
            Expr::Interval(_) => ("INTERVAL", "`seconds_between(a, b) > 3600`"),
            Expr::Extract { .. } => ("EXTRACT", "`seconds_between(a, b)` measures time"),
            Expr::Substring { .. } => return self.unbuilt(expr, "substring"),
            Expr::Trim { .. } => return self.unbuilt(expr, "trim"),
            Expr::Position { .. } => return self.unbuilt(expr, "position"),
            Expr::AnyOp { .. } | Expr::AllOp { .. } => {
                ("ANY and ALL", "`array_has(list, text)`, or `x IN (…)`")
            }
            Expr::Array(_) | Expr::Tuple(_) => ("a list here", "lists stand in `x IN (…)`, or in [let]"),
            Expr::CompoundFieldAccess { .. } | Expr::JsonAccess { .. } => {
                ("access by brackets", "`json_get(text, 'a[0].b')`, `array_has(list, text)`")
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => ("* alone", "`count(*)` counts events"),
            Expr::Cast { .. } => ("this form of CAST", "`TRY_CAST(x AS BIGINT)`"),
            _ => (
                "this form of SQL",
                "conditions use AND, OR, NOT, comparisons, IN, BETWEEN, LIKE, IS NULL, CASE",
            ),
        };
        self.wrong(expr, format!("{what} is not part of the rule language"), hint)
    }

    /// An expression that must be a number.
    pub fn number(&mut self, expr: &Expr) -> Option<Node> {
        let node = self.node(expr)?;
        match node.kind {
            Type::Int | Type::Float => Some(node),
            Type::Null => Some(Node { kind: Type::Int, ..node }),
            kind => {
                let written = self.written(expr);
                let hint = match kind {
                    Type::Text => format!("convert it: `TRY_CAST({written} AS DOUBLE)`"),
                    Type::Time => "time between two instants is `seconds_between(a, b)`".into(),
                    Type::Bool => format!("`CASE WHEN {written} THEN 1 ELSE 0 END`"),
                    _ => "`cardinality(list)` counts elements".into(),
                };
                self.wrong(expr, format!("\"{written}\" is {}, not a number", a(kind)), hint)
            }
        }
    }
}

/// `NOT x`.
pub fn negate(node: Node) -> Node {
    Node { op: Op::Not, args: vec![node], kind: Type::Bool }
}

fn is_true(node: Node) -> Node {
    Node { op: Op::IsTrue, args: vec![node], kind: Type::Bool }
}

/// `x IS NOT NULL`.
pub fn is_not_null(node: Node) -> Node {
    negate(Node { op: Op::IsNull, args: vec![node], kind: Type::Bool })
}

/// The text that a node is, if it is a constant text.
pub fn constant_text(node: &Node) -> Option<&str> {
    match node.as_const()? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn one_of(names: &[&str]) -> String {
    const SHOWN: usize = 12;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<&str> = names.iter().take(SHOWN).copied().collect();
    format!("one of: {}{more}", shown.join(", "))
}
