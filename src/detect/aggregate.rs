//! Aggregates: what a pane or a tumbling window knows of its rows, folded row by row and merged in the order
//! of time.
//!
//! Partials are merged anew at each judgement and never subtracted, so that neither batch size nor a restart
//! can change a float.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::StateError;
use super::codec::{Reader, Writer};
use crate::event::picked::{hash_at, value_at};
use crate::event::{KeyHasher, Slice, Value};
use crate::rule::{AggFunc, Aggregate};
use crate::stats::moments::Moments;
use crate::stats::quantiles::Quantiles;

/// What one aggregate knows of some rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Partial {
    /// Rows.
    Count(u64),
    /// Sum in 128 bits, and how many values went into it.
    Int(i128, u64),
    /// Likewise, of floats.
    Float(f64, u64),
    /// The smallest or largest value; NULL = none yet.
    Extreme(Value),
    /// Count, mean and spread.
    Moments(Moments),
    /// Counts by magnitude.
    Quantiles(Quantiles),
    /// The first distinct values, in the order they came.
    Values(Vec<Value>),
    /// Kept elsewhere: an exact count in its ring, distinct values in their panes.
    Elsewhere,
}

impl Partial {
    /// Nothing seen yet.
    pub fn new(aggregate: &Aggregate) -> Partial {
        if aggregate.ring.is_some() {
            return Partial::Elsewhere;
        }
        match aggregate.func {
            AggFunc::Count => Partial::Count(0),
            AggFunc::CountDistinct => Partial::Elsewhere,
            AggFunc::Sum | AggFunc::Avg if aggregate.arg_type == crate::event::Type::Int => {
                Partial::Int(0, 0)
            }
            AggFunc::Sum | AggFunc::Avg => Partial::Float(0.0, 0),
            AggFunc::Min | AggFunc::Max => Partial::Extreme(Value::Null),
            AggFunc::StdDev => Partial::Moments(Moments::default()),
            AggFunc::Percentile(_) => Partial::Quantiles(Quantiles::default()),
            AggFunc::Values(_) => Partial::Values(Vec::new()),
        }
    }

    /// Folds row `i`, which the aggregate's filter took.
    pub fn add(&mut self, aggregate: &Aggregate, rows: &Slice<'_>, i: usize) {
        if let Partial::Count(count) = self {
            *count += 1;
            return;
        }
        let Some(argument) = aggregate.arg else { return };
        let (array, at) = rows.cell(argument, i);
        if array.is_null(at) {
            return;
        }
        match self {
            Partial::Int(sum, count) if *array.data_type() == DataType::Int64 => {
                *sum += i128::from(array.as_primitive::<Int64Type>().value(at));
                *count += 1;
            }
            Partial::Float(sum, count) if *array.data_type() == DataType::Float64 => {
                *sum = float_sum(*sum, array.as_primitive::<Float64Type>().value(at));
                *count += 1;
            }
            Partial::Extreme(best) => take_extreme(best, value_at(array, at), aggregate.func),
            Partial::Moments(moments) => number_at(array, at).into_iter().for_each(|x| moments.add(x)),
            Partial::Quantiles(quantiles) => number_at(array, at).into_iter().for_each(|x| quantiles.add(x)),
            Partial::Values(list) => take_value(list, value_at(array, at), aggregate.func),
            _ => {}
        }
    }

    /// Takes in what a later pane knows.
    pub fn merge(&mut self, later: &Partial, func: AggFunc) {
        match (self, later) {
            (Partial::Count(count), Partial::Count(more)) => *count += more,
            (Partial::Int(sum, count), Partial::Int(more, n)) => {
                *sum += more;
                *count += n;
            }
            (Partial::Float(sum, count), Partial::Float(more, n)) => {
                *sum = float_sum(*sum, *more);
                *count += n;
            }
            (Partial::Extreme(best), Partial::Extreme(value)) => take_extreme(best, value.clone(), func),
            (Partial::Moments(moments), Partial::Moments(more)) => moments.merge(more),
            (Partial::Quantiles(quantiles), Partial::Quantiles(more)) => quantiles.merge(more),
            (Partial::Values(list), Partial::Values(more)) => {
                more.iter().for_each(|value| take_value(list, value.clone(), func));
            }
            _ => {}
        }
    }

    /// What a condition sees: NULL over nothing, but 0 for a count.
    pub fn value(&self, func: AggFunc) -> Value {
        match self {
            Partial::Count(count) => Value::Int(i64::try_from(*count).unwrap_or(i64::MAX)),
            Partial::Int(_, 0) | Partial::Float(_, 0) | Partial::Elsewhere => Value::Null,
            Partial::Int(sum, count) if func == AggFunc::Avg => Value::float(*sum as f64 / *count as f64),
            Partial::Float(sum, count) if func == AggFunc::Avg => Value::float(*sum / *count as f64),
            Partial::Int(sum, _) => Value::Int(saturate(*sum)),
            Partial::Float(sum, _) => Value::float(*sum),
            Partial::Extreme(value) => value.clone(),
            Partial::Moments(moments) => moments.deviation().map_or(Value::Null, Value::float),
            Partial::Quantiles(quantiles) => match func {
                AggFunc::Percentile(q) => {
                    quantiles.quantile(f64::from(q) / 1e4).map_or(Value::Null, Value::float)
                }
                _ => Value::Null,
            },
            Partial::Values(list) => Value::List(list.clone()),
        }
    }

    /// A sum of ints that does not fit 64 bits.
    pub fn wide_sum(&self, func: AggFunc) -> Option<i128> {
        match self {
            Partial::Int(sum, 1..) if func == AggFunc::Sum && i64::try_from(*sum).is_err() => Some(*sum),
            _ => None,
        }
    }

    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        match self {
            Partial::Elsewhere => out.u8(0),
            Partial::Count(count) => {
                out.u8(1);
                out.u64(*count);
            }
            Partial::Int(sum, count) => {
                out.u8(2);
                out.u128(*sum as u128);
                out.u64(*count);
            }
            Partial::Float(sum, count) => {
                out.u8(3);
                out.u64(sum.to_bits());
                out.u64(*count);
            }
            Partial::Extreme(value) => {
                out.u8(4);
                out.value(value);
            }
            Partial::Values(list) => {
                out.u8(5);
                out.list(list, Writer::value);
            }
            Partial::Moments(moments) => {
                out.u8(6);
                out.u64(moments.count);
                out.u64(moments.mean.to_bits());
                out.u64(moments.squares.to_bits());
            }
            Partial::Quantiles(quantiles) => {
                out.u8(7);
                out.list(&quantiles.bins, |out, (bin, count)| {
                    out.u32(*bin as u32);
                    out.u64(*count);
                });
            }
        }
    }

    /// What [`write`](Self::write) made.
    pub fn read(from: &mut Reader<'_>) -> Result<Partial, StateError> {
        Ok(match from.u8()? {
            0 => Partial::Elsewhere,
            1 => Partial::Count(from.u64()?),
            2 => Partial::Int(from.u128()? as i128, from.u64()?),
            3 => Partial::Float(f64::from_bits(from.u64()?), from.u64()?),
            4 => Partial::Extreme(from.value()?),
            5 => Partial::Values(from.list(Reader::value)?),
            6 => Partial::Moments(Moments {
                count: from.u64()?,
                mean: f64::from_bits(from.u64()?),
                squares: f64::from_bits(from.u64()?),
            }),
            7 => Partial::Quantiles(Quantiles {
                bins: from.list(|from| Ok((from.u32()? as i32, from.u64()?)))?,
            }),
            tag => return Err(StateError(format!("unknown aggregate {tag}"))),
        })
    }
}

/// A number of whatever type; none of anything else.
fn number_at(array: &ArrayRef, at: usize) -> Option<f64> {
    match value_at(array, at) {
        Value::Int(int) => Some(int as f64),
        Value::Float(float) => Some(float),
        _ => None,
    }
}

/// The hash under which `count(DISTINCT)` knows the value of row `i`; none for NULL.
pub fn distinct_hash(aggregate: &Aggregate, rows: &Slice<'_>, i: usize) -> Option<u128> {
    let (array, at) = rows.cell(aggregate.arg?, i);
    if array.is_null(at) || *array.data_type() == DataType::Null {
        return None;
    }
    let mut hasher = KeyHasher::default();
    hash_at(array, at, &mut hasher);
    Some(hasher.finish())
}

/// A sum of floats stops at the largest one: were it infinite, it would be NULL, and one absurd value would
/// hide its whole window.
fn float_sum(sum: f64, more: f64) -> f64 {
    (sum + more).clamp(f64::MIN, f64::MAX)
}

fn saturate(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

fn take_extreme(best: &mut Value, value: Value, func: AggFunc) {
    let better = match (&*best, &value) {
        (_, Value::Null) => false,
        (Value::Null, _) => true,
        (Value::Int(a), Value::Int(b)) => (b > a) == (func == AggFunc::Max) && a != b,
        (Value::Time(a), Value::Time(b)) => (b > a) == (func == AggFunc::Max) && a != b,
        (Value::Float(a), Value::Float(b)) => (b > a) == (func == AggFunc::Max) && a != b,
        _ => false,
    };
    if better {
        *best = value;
    }
}

fn take_value(list: &mut Vec<Value>, value: Value, func: AggFunc) {
    let AggFunc::Values(most) = func else { return };
    if value != Value::Null && list.len() < most as usize && !list.contains(&value) {
        list.push(value);
    }
}
