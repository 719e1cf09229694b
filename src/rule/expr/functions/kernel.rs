//! The one physical expression of our own: whatever DataFusion and arrow would do otherwise, or could fail
//! at.
//!
//! A NULL is counted in the rows in which it would have been met had each been judged alone, operands from
//! left to right, until the result is decided. So counts, like values, do not depend on which rows share a
//! batch, nor on which rows were spared an operand.

use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, PrimitiveArray, UInt32Array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{and_kleene, interleave, or_kleene, take_record_batch};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float64Type, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::arrays::{Operand, Reader, Writer, typed};
use super::{Cell, Pattern, Total, apply, floats, integers};
use crate::event::Type;
use crate::rule::expr::node::Op;
use crate::schema::arrow_type;

thread_local! {
    /// Rows of the batch at hand in which a NULL is counted.
    static LOST: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Does what is asked; gives, beside what that gives, the rows in which it counted a NULL, once per NULL.
pub fn losing<T>(work: impl FnOnce() -> T) -> (T, Vec<u32>) {
    let outer = LOST.take();
    let given = work();
    (given, LOST.replace(outer))
}

fn lose(rows: impl IntoIterator<Item = u32>) {
    LOST.with_borrow_mut(|lost| lost.extend(rows));
}

/// An operation over its operands.
#[derive(Debug)]
pub struct Kernel {
    /// The operation.
    pub op: Op,
    /// What the operation keeps compiled.
    pub pattern: Option<Pattern>,
    /// The type of the result.
    pub kind: Type,
    /// Whether the second operand of `AND` and `OR` is worth sparing rows.
    pub costly: bool,
    /// The operands.
    pub args: Vec<Arc<dyn PhysicalExpr>>,
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Kernel) -> bool {
        (&self.op, self.kind, &self.args) == (&other.op, other.kind, &other.args)
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.op).hash(state);
        self.kind.hash(state);
        self.args.hash(state);
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.op)
    }
}

impl PhysicalExpr for Kernel {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(arrow_type(self.kind))
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = match &self.op {
            Op::Column(index) => self.column(batch, *index)?,
            Op::And => self.logic(batch, false)?,
            Op::Or => self.logic(batch, true)?,
            Op::Case => self.case(batch)?,
            Op::Call(super::Func::Coalesce) => self.coalesce(batch)?,
            _ => self.strict(batch)?,
        };
        Ok(ColumnarValue::Array(array))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.args.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, args: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let Kernel { op, pattern, kind, costly, .. } = &*self;
        Ok(Arc::new(Kernel { op: op.clone(), pattern: pattern.clone(), kind: *kind, costly: *costly, args }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Kernel {
    fn column(&self, batch: &RecordBatch, index: usize) -> Result<ArrayRef> {
        let column = batch.columns().get(index);
        column.map(|array| typed(array, self.kind)).ok_or_else(|| exec_datafusion_err!("no column {index}"))
    }

    fn operand(&self, batch: &RecordBatch, index: usize) -> Result<ArrayRef> {
        match self.args.get(index) {
            Some(arg) => arg.evaluate(batch)?.into_array(batch.num_rows()),
            None => Err(exec_datafusion_err!("no operand {index} in {:?}", self.op)),
        }
    }

    /// An operand of which only some rows matter: only their NULLs are counted.
    fn operand_within(&self, batch: &RecordBatch, index: usize, rows: &BooleanBuffer) -> Result<ArrayRef> {
        let (array, lost) = losing(|| self.operand(batch, index));
        lose(lost.into_iter().filter(|row| rows.value(*row as usize)));
        array
    }

    /// `AND`, which FALSE decides, or `OR`, which TRUE decides.
    fn logic(&self, batch: &RecordBatch, decisive: bool) -> Result<ArrayRef> {
        let left = self.operand(batch, 0)?;
        let left = truths(&left)?;
        let open = !&if decisive { mask(left) } else { falses(left) };
        let count = open.count_set_bits();
        if count == 0 {
            return Ok(Arc::new(left.clone()));
        }
        let spared = self.costly && count < batch.num_rows() / 4;
        let right =
            if spared { self.second_at(batch, &open)? } else { self.operand_within(batch, 1, &open)? };
        let right = truths(&right)?;
        let both = if decisive { or_kleene(left, right)? } else { and_kleene(left, right)? };
        Ok(Arc::new(both))
    }

    /// The second operand in these rows; what it says of the others does not matter.
    fn second_at(&self, batch: &RecordBatch, rows: &BooleanBuffer) -> Result<ArrayRef> {
        let rows = UInt32Array::from_iter_values(rows.set_indices_u32());
        let (few, lost) = losing(|| self.operand(&take_record_batch(batch, &rows)?, 1));
        let few = few?;
        let few = truths(&few)?;
        lose(lost.into_iter().map(|at| rows.value(at as usize)));
        let mut values = BooleanBufferBuilder::new(batch.num_rows());
        values.append_n(batch.num_rows(), false);
        let mut valid = BooleanBufferBuilder::new(batch.num_rows());
        valid.append_n(batch.num_rows(), true);
        for (at, row) in rows.values().iter().enumerate() {
            values.set_bit(*row as usize, few.value(at));
            valid.set_bit(*row as usize, few.is_valid(at));
        }
        Ok(Arc::new(BooleanArray::new(values.finish(), Some(NullBuffer::new(valid.finish())))))
    }

    /// Operands c1, v1, c2, v2, …, else-value.
    fn case(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let mut choice = Choice::new(batch.num_rows(), self.kind);
        let mut open = BooleanBuffer::new_set(batch.num_rows());
        let mut index = 0;
        while index < self.args.len() && open.has_true() {
            let last = index + 1 == self.args.len();
            let taken = if last {
                open.clone()
            } else {
                let condition = self.operand_within(batch, index, &open)?;
                &open & &mask(truths(&condition)?)
            };
            index += if last { 0 } else { 1 };
            if taken.has_true() {
                choice.take(self.operand_within(batch, index, &taken)?, &taken);
                open = &open & &!&taken;
            }
            index += 1;
        }
        choice.finish()
    }

    fn coalesce(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let mut choice = Choice::new(batch.num_rows(), self.kind);
        let mut open = BooleanBuffer::new_set(batch.num_rows());
        for index in 0..self.args.len() {
            let array = self.operand_within(batch, index, &open)?;
            let taken = array.logical_nulls().map_or_else(|| open.clone(), |nulls| &open & nulls.inner());
            choice.take(array, &taken);
            open = &open & &!&taken;
            if !open.has_true() {
                break;
            }
        }
        choice.finish()
    }

    /// Every operand is needed.
    fn strict(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let rows = batch.num_rows();
        let operands = self.args.iter().map(|arg| match arg.evaluate(batch)? {
            ColumnarValue::Array(array) => Ok(Operand { array, one: false }),
            ColumnarValue::Scalar(scalar) => Ok(Operand { array: scalar.to_array()?, one: true }),
        });
        let operands = operands.collect::<Result<Vec<_>>>()?;
        match (operands.as_slice(), self.kind, &self.pattern) {
            ([text], _, Some(pattern)) if !text.one => texts_that_match(&text.array, pattern),
            ([a, b], Type::Int, _) if arithmetic(&self.op) => {
                numbers::<Int64Type>(rows, a, b, |a, b| integers(&self.op, a, b))
            }
            ([a, b], Type::Float, _) if arithmetic(&self.op) => {
                numbers::<Float64Type>(rows, a, b, |a, b| floats(&self.op, a, b))
            }
            ([a], Type::Float, _)
                if self.op == Op::Cast && a.array.data_type() == &DataType::Int64 && !a.one =>
            {
                let floats = a.array.as_primitive::<Int64Type>().unary::<_, Float64Type>(|i| i as f64);
                Ok(Arc::new(floats))
            }
            ([a], Type::Float, _) if self.op == Op::Call(super::Func::Abs) && !a.one => {
                let floats = a.array.as_primitive_opt::<Float64Type>();
                match floats.filter(|floats| floats.values().iter().all(|x| x.is_finite())) {
                    Some(floats) => Ok(Arc::new(floats.unary::<_, Float64Type>(f64::abs))),
                    None => Ok(self.by_rows(rows, &operands)),
                }
            }
            _ => Ok(self.by_rows(rows, &operands)),
        }
    }

    fn by_rows(&self, rows: usize, operands: &[Operand]) -> ArrayRef {
        let readers: Vec<_> = operands.iter().map(|operand| Reader::new(&operand.array)).collect();
        let mut writer = Writer::new(self.kind, rows);
        let mut cells = Vec::with_capacity(readers.len());
        for row in 0..rows {
            cells.clear();
            cells.extend(operands.iter().zip(&readers).map(|(operand, reader)| reader.cell(operand.at(row))));
            let fits = match apply(&self.op, self.pattern.as_ref(), self.kind, &cells) {
                Total::Value(cell) => writer.push(cell),
                Total::Null => writer.push(Cell::Null),
                Total::Lost => !writer.push(Cell::Null),
            };
            if !fits {
                lose([row as u32]);
            }
        }
        writer.finish()
    }
}

fn arithmetic(op: &Op) -> bool {
    matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem)
}

fn truths(array: &ArrayRef) -> Result<&BooleanArray> {
    array.as_boolean_opt().ok_or_else(|| exec_datafusion_err!("{} where a bool belongs", array.data_type()))
}

/// Where it is TRUE: NULL is not.
pub fn mask(truths: &BooleanArray) -> BooleanBuffer {
    match truths.nulls() {
        Some(nulls) => truths.values() & nulls.inner(),
        None => truths.values().clone(),
    }
}

fn falses(truths: &BooleanArray) -> BooleanBuffer {
    match truths.nulls() {
        Some(nulls) => &!truths.values() & nulls.inner(),
        None => !truths.values(),
    }
}

fn texts_that_match(array: &ArrayRef, pattern: &Pattern) -> Result<ArrayRef> {
    let Some(texts) = array.as_string_opt::<i32>() else {
        return Err(exec_datafusion_err!("{} where a text belongs", array.data_type()));
    };
    let matches = |row| texts.is_valid(row) && pattern.matches(texts.value(row));
    let values = BooleanBuffer::collect_bool(texts.len(), matches);
    Ok(Arc::new(BooleanArray::new(values, texts.nulls().cloned())))
}

fn numbers<T: ArrowPrimitiveType>(
    rows: usize,
    a: &Operand,
    b: &Operand,
    compute: impl Fn(T::Native, T::Native) -> Total<T::Native>,
) -> Result<ArrayRef> {
    let (Some(left), Some(right)) = (a.array.as_primitive_opt::<T>(), b.array.as_primitive_opt::<T>()) else {
        return Err(exec_datafusion_err!("not numbers of one type"));
    };
    let mut values = Vec::with_capacity(rows);
    let mut nulls = Vec::new();
    for row in 0..rows {
        let (at, other) = (a.at(row), b.at(row));
        let number = if left.is_null(at) || right.is_null(other) {
            Total::Null
        } else {
            compute(left.value(at), right.value(other))
        };
        match number {
            Total::Value(value) => values.push(value),
            Total::Null | Total::Lost => {
                values.push(T::default_value());
                nulls.push(row);
            }
        }
        if matches!(number, Total::Lost) {
            lose([row as u32]);
        }
    }
    let mut valid = BooleanBufferBuilder::new(rows);
    valid.append_n(rows, true);
    nulls.iter().for_each(|row| valid.set_bit(*row, false));
    let nulls = (!nulls.is_empty()).then(|| NullBuffer::new(valid.finish()));
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)))
}

/// Which of several arrays each row takes its value from; none = NULL.
struct Choice {
    arrays: Vec<ArrayRef>,
    places: Vec<(usize, usize)>,
}

impl Choice {
    fn new(rows: usize, kind: Type) -> Choice {
        Choice { arrays: vec![new_null_array(&arrow_type(kind), 1)], places: vec![(0, 0); rows] }
    }

    fn take(&mut self, array: ArrayRef, rows: &BooleanBuffer) {
        for row in rows.set_indices() {
            if let Some(place) = self.places.get_mut(row) {
                *place = (self.arrays.len(), row);
            }
        }
        self.arrays.push(array);
    }

    fn finish(self) -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = self.arrays.iter().map(|array| &**array).collect();
        Ok(interleave(&arrays, &self.places)?)
    }
}
