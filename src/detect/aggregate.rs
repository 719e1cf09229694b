//! Aggregates: what a pane or a tumbling window knows of its rows, folded row by row and merged in the order
//! of time.
//!
//! What is known lies in words of 64 bits, side by side for all aggregates of a rule, and in lists. Sums of
//! floats are merged anew at each judgement and never subtracted, so that neither batch size nor a restart can
//! change one; whatever is exact (counts, sums of ints, extremes) may be carried from window to window.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use super::StateError;
use super::codec::{Reader, Writer};
use crate::event::picked::{hash_at, value_at};
use crate::event::{KeyHasher, Slice, Timestamp, Type, Value};
use crate::rule::{AggFunc, Aggregate};
use crate::stats::moments::Moments;
use crate::stats::quantiles::Quantiles;

/// Where the aggregates of a rule keep what they know.
#[derive(Clone, Debug)]
pub struct Layout {
    aggregates: Vec<Aggregate>,
    places: Vec<Place>,
    /// The words of nothing seen; those of extremes stand first.
    nothing: Vec<u64>,
    /// How many of the words belong to extremes.
    extremes: usize,
    lists: usize,
}

/// Where one aggregate keeps what it knows: the first of its words, or its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Elsewhere: an exact count in its ring, distinct values in their panes.
    Elsewhere,
    /// Rows.
    Count(usize),
    /// Sum in 128 bits, low half first, and how many values went into it.
    Int(usize),
    /// Sum of floats by its bits, and how many values went into it.
    Float(usize),
    /// The smallest or largest int or time, and whether there is one.
    Whole {
        /// The first word.
        at: usize,
        /// The largest, else the smallest.
        largest: bool,
    },
    /// The smallest or largest float by its bits; NaN = none yet.
    Real {
        /// The word.
        at: usize,
        /// The largest, else the smallest.
        largest: bool,
    },
    /// Count, mean and spread: three words.
    Moments(usize),
    /// Counts by magnitude, in a list.
    Quantiles {
        /// Which list.
        at: usize,
    },
    /// The first so many distinct values, in the order they came.
    List {
        /// Which list.
        at: usize,
        /// How many.
        most: usize,
    },
}

/// What a pane knows that is no word: the first distinct values, mostly one; or counts by magnitude.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum List {
    /// None yet.
    #[default]
    Empty,
    /// One.
    One(Value),
    /// More.
    Many(Vec<Value>),
    /// Counts by magnitude.
    Counts(Box<Quantiles>),
}

impl List {
    /// All of them.
    pub fn values(&self) -> &[Value] {
        match self {
            List::Empty | List::Counts(_) => &[],
            List::One(value) => std::slice::from_ref(value),
            List::Many(values) => values,
        }
    }

    fn push(&mut self, value: Value) {
        *self = match std::mem::take(self) {
            List::Empty => List::One(value),
            List::One(first) => List::Many(vec![first, value]),
            List::Many(mut values) => {
                values.push(value);
                List::Many(values)
            }
            List::Counts(counts) => List::Counts(counts),
        };
    }

    /// Counts by magnitude, none yet if there are none.
    pub fn counts(&mut self) -> Option<&mut Quantiles> {
        if *self == List::Empty {
            *self = List::Counts(Box::default());
        }
        if let List::Counts(counts) = self { Some(counts) } else { None }
    }

    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        let List::Counts(counts) = self else {
            out.u8(0);
            return out.list(self.values(), Writer::value);
        };
        out.u8(1);
        out.list(&counts.bins, |out, (bin, count)| {
            out.u32(*bin as u32);
            out.u64(*count);
        });
    }

    /// What [`write`](Self::write) made.
    pub fn read(from: &mut Reader<'_>) -> Result<List, StateError> {
        match from.u8()? {
            0 => Ok(from.list(Reader::value)?.into()),
            1 => {
                let bins = from.list(|from| Ok((from.u32()? as i32, from.u64()?)))?;
                Ok(List::Counts(Box::new(Quantiles { bins })))
            }
            tag => Err(StateError(format!("unknown list {tag}"))),
        }
    }
}

impl From<Vec<Value>> for List {
    fn from(mut values: Vec<Value>) -> List {
        match (values.pop(), values.is_empty()) {
            (None, _) => List::Empty,
            (Some(value), true) => List::One(value),
            (Some(value), false) => {
                values.push(value);
                List::Many(values)
            }
        }
    }
}

impl Layout {
    /// Where these aggregates keep what they know.
    pub fn new(aggregates: &[Aggregate]) -> Layout {
        let mut layout = Layout {
            aggregates: aggregates.to_vec(),
            places: vec![Place::Elsewhere; aggregates.len()],
            nothing: Vec::new(),
            extremes: 0,
            lists: 0,
        };
        for is_extreme in [true, false] {
            for (i, aggregate) in aggregates.iter().enumerate() {
                if aggregate.ring.is_none()
                    && matches!(aggregate.func, AggFunc::Min | AggFunc::Max) == is_extreme
                {
                    layout.places[i] = layout.place_for(aggregate);
                }
            }
            layout.extremes = if is_extreme { layout.nothing.len() } else { layout.extremes };
        }
        layout
    }

    fn place_for(&mut self, aggregate: &Aggregate) -> Place {
        let at = self.nothing.len();
        let largest = aggregate.func == AggFunc::Max;
        let (place, words): (Place, &[u64]) = match (aggregate.func, aggregate.arg_type) {
            (AggFunc::Count, _) => (Place::Count(at), &[0]),
            (AggFunc::CountDistinct, _) => (Place::Elsewhere, &[]),
            (AggFunc::Sum | AggFunc::Avg, Type::Int) => (Place::Int(at), &[0, 0, 0]),
            (AggFunc::Sum | AggFunc::Avg, _) => (Place::Float(at), &[0, 0]),
            (AggFunc::Min | AggFunc::Max, Type::Float) => (Place::Real { at, largest }, &[NONE]),
            (AggFunc::Min | AggFunc::Max, _) => (Place::Whole { at, largest }, &[0, 0]),
            (AggFunc::StdDev, _) => (Place::Moments(at), &[0, 0, 0]),
            (AggFunc::Percentile(_), _) => {
                self.lists += 1;
                (Place::Quantiles { at: self.lists - 1 }, &[])
            }
            (AggFunc::Values(most), _) => {
                self.lists += 1;
                (Place::List { at: self.lists - 1, most: most as usize }, &[])
            }
        };
        self.nothing.extend_from_slice(words);
        place
    }

    /// The aggregates.
    pub fn aggregates(&self) -> &[Aggregate] {
        &self.aggregates
    }

    /// Where an aggregate keeps what it knows.
    pub fn place(&self, aggregate: usize) -> Place {
        self.places.get(aggregate).copied().unwrap_or(Place::Elsewhere)
    }

    /// The words of nothing seen.
    pub fn nothing(&self) -> &[u64] {
        &self.nothing
    }

    /// How many words, from the first, belong to extremes.
    pub fn extremes(&self) -> usize {
        self.extremes
    }

    /// How many lists a pane has.
    pub fn lists(&self) -> usize {
        self.lists
    }

    /// All places.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// What a condition sees of aggregate `i` in these words: NULL over nothing, but 0 for a count. Lists are
    /// not in words.
    pub fn value(&self, i: usize, words: &[u64]) -> Value {
        let Some(aggregate) = self.aggregates.get(i) else { return Value::Null };
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        match self.place(i) {
            Place::Elsewhere | Place::List { .. } | Place::Quantiles { .. } => Value::Null,
            Place::Moments(at) => moments(words, at).deviation().map_or(Value::Null, Value::float),
            Place::Count(at) => Value::Int(i64::try_from(word(at)).unwrap_or(i64::MAX)),
            Place::Int(at) if word(at + 2) == 0 => Value::Null,
            Place::Float(at) if word(at + 1) == 0 => Value::Null,
            Place::Int(at) => {
                let sum = wide(words, at);
                match aggregate.func {
                    AggFunc::Avg => Value::float(sum as f64 / word(at + 2) as f64),
                    _ => Value::Int(saturate(sum)),
                }
            }
            Place::Float(at) => {
                let sum = f64::from_bits(word(at));
                Value::float(if aggregate.func == AggFunc::Avg { sum / word(at + 1) as f64 } else { sum })
            }
            Place::Whole { at, .. } if word(at + 1) == 0 => Value::Null,
            Place::Whole { at, .. } if aggregate.arg_type == Type::Time => {
                Value::Time(Timestamp(word(at) as i64))
            }
            Place::Whole { at, .. } => Value::Int(word(at) as i64),
            Place::Real { at, .. } => Value::float(f64::from_bits(word(at))),
        }
    }

    /// Aggregate `i`, if it is a sum of ints that does not fit 64 bits.
    pub fn wide_sum(&self, i: usize, words: &[u64]) -> Option<i128> {
        match (self.place(i), self.aggregates.get(i)?.func) {
            (Place::Int(at), AggFunc::Sum) => {
                let sum = wide(words, at);
                (words.get(at + 2) != Some(&0) && i64::try_from(sum).is_err()).then_some(sum)
            }
            _ => None,
        }
    }
}

/// No float yet.
const NONE: u64 = 0x7ff8_0000_0000_0000;

/// The sum of ints that starts at a word.
fn wide(words: &[u64], at: usize) -> i128 {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    (u128::from(word(at + 1)) << 64 | u128::from(word(at))) as i128
}

fn put_wide(words: &mut [u64], at: usize, sum: i128) {
    if let Some([low, high]) = words.get_mut(at..at + 2) {
        (*low, *high) = (sum as u64, (sum as u128 >> 64) as u64);
    }
}

impl Place {
    /// Whether what it knows is exact, so that it may be carried from window to window.
    pub fn is_carried(self) -> bool {
        match self {
            Place::Elsewhere | Place::Count(_) | Place::Int(_) | Place::Whole { .. } | Place::Real { .. } => {
                true
            }
            Place::Float(_) | Place::Moments(_) | Place::Quantiles { .. } | Place::List { .. } => false,
        }
    }

    /// Folds the value at a place in an array into words; false if it goes into a list.
    pub fn add(self, words: &mut [u64], cell: Option<(&ArrayRef, usize)>) {
        if let Place::Count(at) = self {
            if let Some(count) = words.get_mut(at) {
                *count += 1;
            }
            return;
        }
        let Some((array, row)) = cell.filter(|(array, row)| !array.is_null(*row)) else { return };
        match self {
            Place::Int(at) => {
                let Some(array) = array.as_primitive_opt::<Int64Type>() else { return };
                self.add_int(words, at, i128::from(array.value(row)), 1);
            }
            Place::Float(at) => {
                let Some(array) = array.as_primitive_opt::<Float64Type>() else { return };
                add_float(words, at, array.value(row), 1);
            }
            Place::Whole { .. } => self.take_whole(words, whole_at(array, row)),
            Place::Real { .. } => {
                let Some(array) = array.as_primitive_opt::<Float64Type>() else { return };
                self.take_real(words, array.value(row) + 0.0);
            }
            Place::Moments(at) => {
                let mut all = moments(words, at);
                number_at(array, row).into_iter().for_each(|x| all.add(x));
                put_moments(words, at, all);
            }
            Place::Elsewhere | Place::Count(_) | Place::List { .. } | Place::Quantiles { .. } => {}
        }
    }

    fn add_int(self, words: &mut [u64], at: usize, more: i128, values: u64) {
        put_wide(words, at, wide(words, at).wrapping_add(more));
        if let Some(count) = words.get_mut(at + 2) {
            *count = count.wrapping_add(values);
        }
    }

    fn take_whole(self, words: &mut [u64], value: Option<i64>) {
        let (Place::Whole { at, largest }, Some(value)) = (self, value) else { return };
        let Some([best, known]) = words.get_mut(at..at + 2) else { return };
        let better = if largest { value > *best as i64 } else { value < *best as i64 };
        if *known == 0 || better {
            (*best, *known) = (value as u64, 1);
        }
    }

    fn take_real(self, words: &mut [u64], value: f64) {
        let Place::Real { at, largest } = self else { return };
        let Some(best) = words.get_mut(at).filter(|_| value.is_finite()) else { return };
        let known = f64::from_bits(*best);
        if known.is_nan() || (if largest { value > known } else { value < known }) {
            *best = value.to_bits();
        }
    }

    /// Takes in what a later pane knows.
    pub fn merge(self, words: &mut [u64], later: &[u64]) {
        let word = |at: usize| later.get(at).copied().unwrap_or_default();
        match self {
            Place::Elsewhere | Place::List { .. } | Place::Quantiles { .. } => {}
            Place::Moments(at) => {
                let mut all = moments(words, at);
                all.merge(&moments(later, at));
                put_moments(words, at, all);
            }
            Place::Count(at) => {
                if let Some(count) = words.get_mut(at) {
                    *count += word(at);
                }
            }
            Place::Int(at) => self.add_int(words, at, wide(later, at), word(at + 2)),
            Place::Float(at) => add_float(words, at, f64::from_bits(word(at)), word(at + 1)),
            Place::Whole { at, .. } => {
                self.take_whole(words, (word(at + 1) != 0).then_some(word(at) as i64));
            }
            Place::Real { at, .. } => self.take_real(words, f64::from_bits(word(at))),
        }
    }

    /// Takes what an earlier pane knows out again: counts and sums of ints alone can do that.
    pub fn subtract(self, words: &mut [u64], earlier: &[u64]) {
        let word = |at: usize| earlier.get(at).copied().unwrap_or_default();
        match self {
            Place::Count(at) => {
                if let Some(count) = words.get_mut(at) {
                    *count = count.wrapping_sub(word(at));
                }
            }
            Place::Int(at) => {
                self.add_int(words, at, wide(earlier, at).wrapping_neg(), word(at + 2).wrapping_neg());
            }
            _ => {}
        }
    }
}

/// Count, mean and spread that start at a word.
fn moments(words: &[u64], at: usize) -> Moments {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let (mean, squares) = (f64::from_bits(word(at + 1)), f64::from_bits(word(at + 2)));
    Moments { count: word(at), mean, squares }
}

fn put_moments(words: &mut [u64], at: usize, all: Moments) {
    if let Some([count, mean, squares]) = words.get_mut(at..at + 3) {
        (*count, *mean, *squares) = (all.count, all.mean.to_bits(), all.squares.to_bits());
    }
}

/// A number of whatever type; none of anything else.
pub fn number_at(array: &ArrayRef, at: usize) -> Option<f64> {
    match value_at(array, at) {
        Value::Int(int) => Some(int as f64),
        Value::Float(float) => Some(float),
        _ => None,
    }
}

fn add_float(words: &mut [u64], at: usize, more: f64, values: u64) {
    if let Some([sum, count]) = words.get_mut(at..at + 2) {
        *sum = float_sum(f64::from_bits(*sum), more).to_bits();
        *count += values;
    }
}

fn whole_at(array: &ArrayRef, row: usize) -> Option<i64> {
    if let Some(ints) = array.as_primitive_opt::<Int64Type>() {
        return Some(ints.value(row));
    }
    array.as_primitive_opt::<TimestampMicrosecondType>().map(|times| times.value(row))
}

/// Folds the value at a place in an array into a list of at most so many. The text of `hint` is shared, if it
/// is the same.
pub fn add_to_list(list: &mut List, most: usize, (array, row): (&ArrayRef, usize), hint: Option<&Value>) {
    if list.values().len() >= most || array.is_null(row) {
        return;
    }
    if let Some(texts) = array.as_string_opt::<i32>() {
        let text = texts.value(row);
        let is_text = |value: &Value| matches!(value, Value::Text(known) if **known == *text);
        if !list.values().iter().any(is_text) {
            let shared = hint.filter(|hint| is_text(hint)).cloned();
            list.push(shared.unwrap_or_else(|| Value::text(text)));
        }
        return;
    }
    take_value(list, value_at(array, row), most);
}

/// Takes a value into a list of at most so many, if it is new there.
pub fn take_value(list: &mut List, value: Value, most: usize) {
    let known = list.values();
    if value != Value::Null && known.len() < most && !known.contains(&value) {
        list.push(value);
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
