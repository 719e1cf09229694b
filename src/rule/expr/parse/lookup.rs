//! `lookup('table.column', key, …)`: what stands in a table beside the events.

use datafusion::sql::sqlparser::ast::Expr;

use super::super::node::{Func, Node, Op};
use super::convert::Converter;
use super::{Place, a};
use crate::diagnostic::suggest;
use crate::event::Type;
use crate::rule::lookup::Question;

impl Converter<'_, '_> {
    /// A question to a table.
    pub fn lookup(&mut self, expr: &Expr, table: &Expr, key: &[&Expr]) -> Option<Node> {
        let name = self.literal_text(table, "the table", "lookup('work_orders', vin)")?;
        let question = self.question(table, &name)?;
        let shape = &question.table.shape;
        if shape.key.len() != key.len() {
            let names: Vec<&str> = shape
                .key
                .iter()
                .filter_map(|column| shape.columns.get(*column).map(|(name, _)| name.as_str()))
                .collect();
            let hint = format!("write lookup('{name}', {})", names.join(", "));
            let (many, given) = (names.len(), key.len());
            return self.wrong(expr, format!("its key has {many} parts, and here are {given}"), hint);
        }
        let args: Vec<Option<Node>> = key
            .iter()
            .zip(question.kinds())
            .map(|(part, kind)| self.key_part(part, kind, &question))
            .collect();
        let mut args: Vec<Node> = args.into_iter().collect::<Option<_>>()?;
        if shape.valid.is_some() {
            args.push(self.event_time(expr)?);
        }
        let kind = question.kind();
        Some(Node { op: Op::Call(Func::Lookup(question)), args, kind })
    }

    fn question(&mut self, expr: &Expr, name: &str) -> Option<Question> {
        let (table, column) = match name.split_once('.') {
            Some((table, column)) => (table, Some(column)),
            None => (name, None),
        };
        let Some(found) = self.scope.lookups.tables.get(table).cloned() else {
            if self.scope.lookups.broken.contains(table) {
                let hint = format!("its mistakes stand in lookups/{table}.toml, or in its source");
                return self.wrong(expr, format!("lookup table \"{table}\" is not loaded"), hint);
            }
            let names: Vec<String> = self.scope.lookups.tables.keys().cloned().collect();
            let hint = match names.is_empty() {
                true => "a table is declared in lookups/NAME.toml, in a folder beside the rules".to_string(),
                false => suggest(table, names.iter().map(String::as_str)),
            };
            return self.wrong(expr, format!("there is no lookup table \"{table}\""), hint);
        };
        let Some(column) = column else { return Some(Question { table: found, column: None }) };
        let Some(at) = found.column(column) else {
            let columns = found.shape.columns.iter().map(|(name, _)| name.as_str());
            let hint = suggest(column, columns);
            return self.wrong(expr, format!("lookup table \"{table}\" has no column \"{column}\""), hint);
        };
        Some(Question { table: found, column: Some(at) })
    }

    fn key_part(&mut self, part: &Expr, kind: Type, question: &Question) -> Option<Node> {
        let node = self.node(part)?;
        if node.kind == kind {
            return Some(node);
        }
        if node.kind == Type::Null {
            return Some(Node { kind, ..node });
        }
        let (written, name) = (self.written(part), &question.table.name);
        let message = format!("\"{written}\" is {}, but the key of \"{name}\" is {}", a(node.kind), a(kind));
        let hint = format!(
            "say in lookups/{name}.toml what the column is: types = {{ x = \"{}\" }}",
            node.kind.name()
        );
        self.wrong(part, message, hint)
    }

    /// When the event happened: which rows count.
    fn event_time(&mut self, expr: &Expr) -> Option<Node> {
        if self.place == Place::Window && !self.inside {
            let message = "rows of this table are valid for a time, and a window has many";
            return self.wrong(expr, message, "ask in `where`, or in the FILTER of an aggregate");
        }
        let column = self.scope.schema.column("event_time")?;
        Some(Node { op: Op::Column(column), args: Vec::new(), kind: Type::Time })
    }
}
