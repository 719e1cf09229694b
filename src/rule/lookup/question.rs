//! One use of a table in an expression.

use std::fmt;
use std::sync::Arc;

use super::Lookup;
use crate::event::{Timestamp, Type};
use crate::rule::expr::functions::{Cell, Total};

/// What is asked of which table.
#[derive(Clone)]
pub struct Question {
    /// The table.
    pub table: Arc<Lookup>,
    /// The column whose value is asked for; none = whether there is a row.
    pub column: Option<usize>,
}

impl Question {
    /// The types of the operands: the key, then the event's time where rows are valid for a time.
    pub fn kinds(&self) -> Vec<Type> {
        let shape = &self.table.shape;
        let key =
            shape.key.iter().map(|column| shape.columns.get(*column).map_or(Type::Text, |(_, kind)| *kind));
        key.chain(shape.valid.map(|_| Type::Time)).collect()
    }

    /// The type of the answer.
    pub fn kind(&self) -> Type {
        let column = self.column.and_then(|column| self.table.shape.columns.get(column));
        column.map_or(Type::Bool, |(_, kind)| *kind)
    }

    /// The answer to these operands.
    pub fn answer<'a>(&self, operands: &[Cell<'_>]) -> Total<Cell<'a>> {
        let (key, rest) = operands.split_at(operands.len().min(self.table.shape.key.len()));
        let at = match rest {
            [Cell::Time(at)] => Some(Timestamp(*at)),
            _ => None,
        };
        let found = match (self.table.shape.valid, at) {
            // Whether a row counts at no time cannot be said.
            (Some(_), None) => None,
            _ => self.table.find(key, at),
        };
        match (self.column, found) {
            (None, found) => Total::Value(Cell::Bool(found.is_some())),
            (Some(column), Some(row)) => match row.get(column).map(Cell::from) {
                None | Some(Cell::Null) => Total::Null,
                Some(cell) => Total::Value(cell.into_owned()),
            },
            (Some(_), None) => Total::Null,
        }
    }
}

/// Part of the canonical text of an expression: what is asked, not what stands in the table today.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = &self.table.shape.columns;
        match self.column.and_then(|column| columns.get(column)) {
            Some((column, _)) => write!(f, "{}.{column}", self.table.name),
            None => write!(f, "{}", self.table.name),
        }
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Question) -> bool {
        (&self.table.name, self.table.hash, self.column)
            == (&other.table.name, other.table.hash, other.column)
    }
}
