//! Tree → DataFusion physical expression.
//!
//! DataFusion's own expressions are used where they cannot fail: comparisons, `IN`, `NOT`, `IS NULL`,
//! constants. All else is `functions::kernel`. Built directly, not by planning SQL, so that what runs is
//! what was checked.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, take_record_batch};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, IsNullExpr, Literal, NotExpr, in_list};

use super::functions::arrays::Writer;
use super::functions::kernel::{Kernel, losing, mask};
use super::functions::{Cell, Pattern, is_costly};
use super::node::{Func, Node, Op};
use crate::event::{Type, Value};
use crate::schema::arrow_type;

type Expr = Arc<dyn PhysicalExpr>;

/// A compiled tree: from a batch, one value or NULL per row, and no error.
#[derive(Clone, Debug)]
pub struct Compiled {
    expr: Expr,
    kind: Type,
    columns: Arc<[usize]>,
    costly: bool,
}

/// What an evaluation gave.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// One cell per row that was asked for, of the Arrow type of the tree.
    pub array: ArrayRef,
    /// The rows, by their place among those asked for, in which a NULL is counted; a row once per NULL.
    pub lost: Vec<u32>,
}

impl Compiled {
    /// Compiles a tree over one event. An error is a tree that the checker does not make: operands that do
    /// not fit, aggregates, a pattern that does not compile.
    pub fn new(node: &Node) -> Result<Compiled, String> {
        let mut columns = Vec::new();
        node.walk(&mut |part| {
            if let Op::Column(index) = part.op {
                columns.push(index);
            }
        });
        columns.sort_unstable();
        columns.dedup();
        let expr = build(&narrowed(node, &columns))?;
        Ok(Compiled { expr, kind: node.kind, columns: columns.into(), costly: is_costly(node) })
    }

    /// Columns of the batch that it reads, rising.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The type of its values.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// Whether it costs much more than a comparison.
    pub fn is_costly(&self) -> bool {
        self.costly
    }

    /// One value per row of the batch, and how many NULLs were counted.
    pub fn evaluate(&self, batch: &RecordBatch) -> (ArrayRef, u64) {
        let Evaluated { array, lost } = self.rows(batch);
        (array, lost.len() as u64)
    }

    /// Where it is TRUE, and how many NULLs were counted.
    pub fn mask(&self, batch: &RecordBatch) -> (BooleanBuffer, u64) {
        let Evaluated { array, lost } = self.rows(batch);
        (true_rows(&array), lost.len() as u64)
    }

    /// One value per row of the batch, and the rows in which NULLs were counted.
    pub fn rows(&self, batch: &RecordBatch) -> Evaluated {
        match batch.project(&self.columns) {
            Ok(batch) => self.run(&batch),
            Err(_) => self.nothing(batch.num_rows()),
        }
    }

    /// The same of columns that come from anywhere, each so many rows long.
    pub fn rows_of(&self, rows: usize, mut column: impl FnMut(usize) -> Option<ArrayRef>) -> Evaluated {
        let arrays: Option<Vec<ArrayRef>> = self.columns.iter().map(|index| column(*index)).collect();
        let Some(arrays) = arrays else { return self.nothing(rows) };
        let field = |array: &ArrayRef| Field::new("", array.data_type().clone(), true);
        let schema = Arc::new(Schema::new(arrays.iter().map(field).collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        match RecordBatch::try_new_with_options(schema, arrays, &options) {
            Ok(batch) => self.run(&batch),
            Err(_) => self.nothing(rows),
        }
    }

    /// The same of some rows of the batch only.
    pub fn rows_at(&self, batch: &RecordBatch, rows: &UInt32Array) -> Evaluated {
        if self.columns.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
            return batch.map_or_else(|_| self.nothing(rows.len()), |batch| self.run(&batch));
        }
        match batch.project(&self.columns).and_then(|batch| take_record_batch(&batch, rows)) {
            Ok(batch) => self.run(&batch),
            Err(_) => self.nothing(rows.len()),
        }
    }

    fn run(&self, batch: &RecordBatch) -> Evaluated {
        let (array, lost) = losing(|| self.attempt(batch));
        match array {
            Some(array) => Evaluated { array, lost },
            None => self.one_by_one(batch),
        }
    }

    fn attempt(&self, batch: &RecordBatch) -> Option<ArrayRef> {
        let array = self.expr.evaluate(batch).ok()?.into_array(batch.num_rows()).ok()?;
        let fits = array.len() == batch.num_rows() && array.data_type() == &arrow_type(self.kind);
        fits.then_some(array)
    }

    /// The net below: nothing may err, but if something does, the guilty rows alone are NULL, counted.
    fn one_by_one(&self, batch: &RecordBatch) -> Evaluated {
        let mut lost = Vec::new();
        let mut cells = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let (cell, counted) = losing(|| self.attempt(&batch.slice(row, 1)));
            lost.extend(std::iter::repeat_n(row as u32, if cell.is_some() { counted.len() } else { 1 }));
            cells.push(cell.unwrap_or_else(|| new_null_array(&arrow_type(self.kind), 1)));
        }
        let cells: Vec<&dyn Array> = cells.iter().map(|cell| &**cell).collect();
        match concat(&cells) {
            Ok(array) => Evaluated { array, lost },
            Err(_) => self.nothing(batch.num_rows()),
        }
    }

    fn nothing(&self, rows: usize) -> Evaluated {
        let lost = (0..rows as u32).collect();
        Evaluated { array: new_null_array(&arrow_type(self.kind), rows), lost }
    }
}

/// Where an array of truth values is TRUE: NULL is not, and no other type is.
pub fn true_rows(array: &ArrayRef) -> BooleanBuffer {
    array.as_boolean_opt().map_or_else(|| BooleanBuffer::new_unset(array.len()), mask)
}

/// The tree over the columns at `columns` alone, which are numbered anew.
fn narrowed(node: &Node, columns: &[usize]) -> Node {
    let op = match &node.op {
        Op::Column(index) => Op::Column(columns.binary_search(index).unwrap_or(usize::MAX)),
        op => op.clone(),
    };
    Node { op, args: node.args.iter().map(|arg| narrowed(arg, columns)).collect(), kind: node.kind }
}

fn build(node: &Node) -> Result<Expr, String> {
    if node.kind == Type::Null {
        return literal(&Value::Null, Type::Null);
    }
    let expr = match &node.op {
        Op::Const(value) => return literal(value, node.kind),
        Op::Column(_) => return kernel(node, &[]),
        Op::Aggregate(_) | Op::Input(_) | Op::Learned(_) => {
            return Err("an aggregate cannot be compiled".into());
        }
        Op::And | Op::Or => kernel(node, &[Type::Bool, Type::Bool]),
        Op::Not => Ok(Arc::new(NotExpr::new(operand(node, 0, Type::Bool)?)) as Expr),
        Op::IsTrue => {
            let truth = literal(&Value::Bool(true), Type::Bool)?;
            Ok(binary(operand(node, 0, Type::Bool)?, Operator::IsNotDistinctFrom, truth))
        }
        Op::IsNull => match node.args.first() {
            Some(arg) if arg.kind == Type::Null => literal(&Value::Bool(true), Type::Bool),
            _ => Ok(Arc::new(IsNullExpr::new(operand(node, 0, common(node))?)) as Expr),
        },
        Op::Eq => comparison(node, Operator::Eq),
        Op::Ne => comparison(node, Operator::NotEq),
        Op::Lt => comparison(node, Operator::Lt),
        Op::Le => comparison(node, Operator::LtEq),
        Op::Gt => comparison(node, Operator::Gt),
        Op::Ge => comparison(node, Operator::GtEq),
        Op::Same => comparison(node, Operator::IsNotDistinctFrom),
        Op::Between => between(node),
        Op::In => membership(node),
        Op::Like(_) => kernel(node, &[Type::Text]),
        Op::Add | Op::Sub | Op::Mul | Op::Rem => kernel(node, &[node.kind, node.kind]),
        Op::Div => kernel(node, &[Type::Float, Type::Float]),
        Op::Neg => kernel(node, &[node.kind]),
        Op::Concat => kernel(node, &[Type::Text, Type::Text]),
        Op::Case => kernel(node, &case_kinds(node)),
        Op::Cast => kernel(node, &[common(node)]),
        Op::Call(func) => kernel(node, &call_kinds(func, node)),
    }?;
    Ok(folded(node, expr))
}

/// The type that the operands share: that of the first which has one. `NULL`s alone are truth values, for
/// want of better.
fn common(node: &Node) -> Type {
    node.args.iter().map(|arg| arg.kind).find(|kind| *kind != Type::Null).unwrap_or(Type::Bool)
}

fn case_kinds(node: &Node) -> Vec<Type> {
    let last = node.args.len().saturating_sub(1);
    let is_condition = |at: usize| at.is_multiple_of(2) && at != last;
    (0..node.args.len()).map(|at| if is_condition(at) { Type::Bool } else { node.kind }).collect()
}

fn call_kinds(func: &Func, node: &Node) -> Vec<Type> {
    match func {
        Func::JsonGet(_) | Func::JsonList(_) | Func::CidrMatch(_) | Func::RegexpLike(_) => vec![Type::Text],
        Func::Lower | Func::Upper | Func::Length => vec![Type::Text],
        Func::StartsWith | Func::EndsWith => vec![Type::Text, Type::Text],
        Func::Coalesce => vec![node.kind; node.args.len()],
        Func::Abs => vec![node.kind],
        Func::SecondsBetween => vec![Type::Time, Type::Time],
        Func::ArrayHas => vec![Type::List, Type::Text],
        Func::Cardinality => vec![Type::List],
        Func::Floor | Func::Ceil | Func::Round => vec![common(node)],
        Func::Lookup(question) => question.kinds(),
    }
}

/// Operand `at`, which must be of a type, or NULL.
fn operand(node: &Node, at: usize, kind: Type) -> Result<Expr, String> {
    match node.args.get(at) {
        Some(arg) if arg.kind == kind => build(arg),
        Some(arg) if arg.kind == Type::Null => literal(&Value::Null, kind),
        Some(arg) => Err(format!("{} where {} belongs in {node}", arg.kind.name(), kind.name())),
        None => Err(format!("no operand {at} in {node}")),
    }
}

fn literal(value: &Value, kind: Type) -> Result<Expr, String> {
    let mut writer = Writer::new(kind, 1);
    writer.push(Cell::from(value));
    scalar(&writer.finish())
}

/// The only cell of an array as a constant.
fn scalar(array: &ArrayRef) -> Result<Expr, String> {
    let scalar = ScalarValue::try_from_array(array, 0).map_err(|problem| problem.to_string())?;
    Ok(Arc::new(Literal::new(scalar)))
}

fn kernel(node: &Node, kinds: &[Type]) -> Result<Expr, String> {
    let args = kinds.iter().enumerate().map(|(at, kind)| operand(node, at, *kind));
    Ok(Arc::new(Kernel {
        op: node.op.clone(),
        pattern: Pattern::of(&node.op)?,
        kind: node.kind,
        costly: node.args.get(1).is_some_and(is_costly),
        args: args.collect::<Result<_, _>>()?,
    }))
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    Arc::new(BinaryExpr::new(left, operator, right))
}

fn comparison(node: &Node, operator: Operator) -> Result<Expr, String> {
    match common(node) {
        Type::List => kernel(node, &[Type::List, Type::List]),
        kind => Ok(binary(operand(node, 0, kind)?, operator, operand(node, 1, kind)?)),
    }
}

fn between(node: &Node) -> Result<Expr, String> {
    let [x, low, high] = node.args.as_slice() else {
        return Err(format!("BETWEEN with {} operands", node.args.len()));
    };
    if !x.args.is_empty() {
        // Anything but a leaf is evaluated once, or its counted NULLs would count twice.
        return kernel(node, &[common(node); 3]);
    }
    let half = |op: Op, bound: &Node| Node { op, args: vec![x.clone(), bound.clone()], kind: Type::Bool };
    let both = vec![half(Op::Ge, low), half(Op::Le, high)];
    if x.kind == Type::Null {
        return literal(&Value::Null, Type::Bool);
    }
    kernel(&Node { op: Op::And, args: both, kind: Type::Bool }, &[Type::Bool; 2])
}

fn membership(node: &Node) -> Result<Expr, String> {
    let kind = common(node);
    if matches!(kind, Type::Float | Type::List) {
        // DataFusion's list compares the bits of floats, and -0 is 0.
        return kernel(node, &vec![kind; node.args.len()]);
    }
    let list = (1..node.args.len()).map(|at| operand(node, at, kind)).collect::<Result<Vec<_>, _>>()?;
    in_list(operand(node, 0, kind)?, list, &false, &Schema::empty()).map_err(|problem| problem.to_string())
}

/// An operation on constants is a constant, unless it counts NULLs: those count once a row.
fn folded(node: &Node, expr: Expr) -> Expr {
    if !expr.children().iter().all(|child| child.is::<Literal>()) {
        return expr;
    }
    let once = Compiled { expr: expr.clone(), kind: node.kind, columns: Arc::new([]), costly: false };
    let nowhere = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let Evaluated { array, lost } = once.rows_at(&nowhere, &UInt32Array::from(vec![0]));
    if lost.is_empty() { scalar(&array).unwrap_or(expr) } else { expr }
}

#[cfg(test)]
mod tests;
