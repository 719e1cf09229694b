//! Aggregates: where a pane or a tumbling window keeps what it knows of its rows.
//!
//! What is known lies in words of 64 bits, side by side for all aggregates of a rule, and in lists. `tally` says
//! what words mean, and how they are folded and merged.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::StateError;
use super::codec::{Reader, Writer};
use super::tally::Tally;
use crate::event::picked::{hash_at, value_at};
use crate::event::{KeyHasher, Slice, Value};
use crate::rule::{AggFunc, Aggregate};
use crate::stats::quantiles::Quantiles;

/// Where the aggregates of a rule keep what they know.
#[derive(Clone, Debug)]
pub struct Layout {
    aggregates: Vec<Aggregate>,
    places: Vec<Place>,
    /// What is folded into words; extremes first.
    cells: Vec<Cell>,
    /// The words of nothing seen.
    nothing: Vec<u64>,
    /// How many of the words belong to extremes.
    extremes: usize,
    lists: usize,
}

/// Words of one aggregate among those of all.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What they say.
    pub tally: Tally,
    /// The first of them.
    at: usize,
    /// One past the last.
    end: usize,
    /// The rows that are folded in, and what of them.
    filter: Option<u32>,
    arg: Option<usize>,
}

impl Cell {
    /// Its words among all.
    #[inline]
    pub fn of(self, words: &[u64]) -> &[u64] {
        words.get(self.at..self.end).unwrap_or_default()
    }

    /// The same, to change them.
    #[inline]
    pub fn of_mut(self, words: &mut [u64]) -> &mut [u64] {
        words.get_mut(self.at..self.end).unwrap_or_default()
    }

    /// Takes in what a later pane knows of it.
    #[inline]
    pub fn merge(self, words: &mut [u64], later: &[u64]) {
        self.tally.merge(self.of_mut(words), self.of(later));
    }

    /// Takes out what an earlier pane knows of it, if that can be done.
    #[inline]
    pub fn subtract(self, words: &mut [u64], earlier: &[u64]) {
        self.tally.subtract(self.of_mut(words), self.of(earlier));
    }
}

/// Where one aggregate keeps what it knows.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// An exact count, in this ring.
    Ring(usize),
    /// Distinct values, in this set of panes.
    Distinct(usize),
    /// In words.
    Words(Cell),
    /// Counts by magnitude, in a list.
    Quantiles {
        /// Which list.
        at: usize,
        /// The share of numbers that lie below, of 10,000.
        share: u32,
    },
    /// The first so many distinct values, in the order they came.
    List {
        /// Which list.
        at: usize,
        /// How many.
        most: usize,
    },
}

impl Place {
    /// Whether what it knows need not be merged from all panes of a window.
    pub fn is_carried(self) -> bool {
        match self {
            Place::Ring(_) | Place::Distinct(_) => true,
            Place::Words(cell) => cell.tally.is_carried(),
            Place::Quantiles { .. } | Place::List { .. } => false,
        }
    }
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
        let tallies: Vec<Option<Tally>> = aggregates.iter().map(Tally::of).collect();
        let (mut cells, mut nothing, mut extremes) = (vec![None; aggregates.len()], Vec::new(), 0);
        for is_extreme in [true, false] {
            for (i, aggregate) in aggregates.iter().enumerate() {
                let Some(tally) = tallies[i].filter(|tally| tally.is_extreme() == is_extreme) else {
                    continue;
                };
                let at = nothing.len();
                nothing.extend_from_slice(tally.nothing());
                let (filter, arg) = (aggregate.filter, aggregate.arg);
                cells[i] = Some(Cell { tally, at, end: nothing.len(), filter, arg });
            }
            extremes = if is_extreme { nothing.len() } else { extremes };
        }
        let (mut sets, mut lists) = (0.., 0..);
        let mut place = |(aggregate, cell): (&Aggregate, &Option<Cell>)| match (cell, aggregate.ring) {
            (Some(cell), _) => Place::Words(*cell),
            (None, Some(ring)) => Place::Ring(ring),
            (None, None) => match aggregate.func {
                AggFunc::Percentile(share) => {
                    Place::Quantiles { at: lists.next().unwrap_or_default(), share }
                }
                AggFunc::Values(most) => {
                    Place::List { at: lists.next().unwrap_or_default(), most: most as usize }
                }
                _ => Place::Distinct(sets.next().unwrap_or_default()),
            },
        };
        let places = aggregates.iter().zip(&cells).map(&mut place).collect();
        let mut cells: Vec<Cell> = cells.into_iter().flatten().collect();
        cells.sort_by_key(|cell| cell.at);
        let (aggregates, lists) = (aggregates.to_vec(), lists.start);
        Layout { aggregates, places, cells, nothing, extremes, lists }
    }

    /// The aggregates.
    pub fn aggregates(&self) -> &[Aggregate] {
        &self.aggregates
    }

    /// Where an aggregate keeps what it knows.
    pub fn place(&self, aggregate: usize) -> Option<Place> {
        self.places.get(aggregate).copied()
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

    /// Words of what is exact.
    pub fn exact(&self) -> impl Iterator<Item = Cell> {
        self.cells.iter().copied().filter(|cell| cell.tally.is_carried())
    }

    /// Folds row `i` into words.
    #[inline]
    pub fn fold(&self, words: &mut [u64], rows: &Slice<'_>, i: usize) {
        let steps = rows.steps(i);
        for cell in &self.cells {
            if takes(cell.filter, steps) {
                cell.tally.add(cell.of_mut(words), cell.arg.and_then(|arg| rows.word(arg, i)));
            }
        }
    }
}

/// Whether a filter took a row with these steps.
pub fn takes(filter: Option<u32>, steps: u32) -> bool {
    filter.is_none_or(|bit| steps.checked_shr(bit).is_some_and(|rest| rest & 1 == 1))
}

/// A number of whatever type; none of anything else.
pub fn number_at(array: &ArrayRef, at: usize) -> Option<f64> {
    match value_at(array, at) {
        Value::Int(int) => Some(int as f64),
        Value::Float(float) => Some(float),
        _ => None,
    }
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
