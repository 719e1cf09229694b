//! What a rule with a learned normal is: the `baseline` kind.

use super::Threshold;
use super::expr::node::Node;
use crate::event::Micros;

/// A rule that judges a value by what is normal for its key.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// What is judged.
    pub measure: Measure,
    /// How the normal is learned.
    pub method: Method,
    /// From where on a value is odd: of `robust` and `ewma` so many standard deviations from what is expected,
    /// of `poisson` a probability.
    pub limit: f64,
    /// Which sides matter.
    pub sides: Sides,
    /// Which of them are judged on the event; the others when the window closes. None of a value per event.
    pub on_event: Sides,
    /// When a normal may judge.
    pub learn: Learn,
    /// A key that was not seen for so long is forgotten.
    pub history: Micros,
    /// Columns of `Picked::values` that say whose normal a key borrows; no column = everybody's.
    pub cohort: Option<Vec<usize>>,
    /// What must hold as well; `Op::Learned` is what is known of the judgement.
    pub having: Node,
    /// Of the last so many judgements so many must be true.
    pub at_least: Option<AtLeast>,
    /// Values that weigh in the normal.
    pub memory: usize,
    /// The least spread of a normal: without it, a value that never varied would be odd as soon as it does.
    pub floor: Floor,
}

/// What is judged.
#[derive(Clone, Debug)]
pub enum Measure {
    /// This column of `Picked::values`, on each event.
    Event(usize),
    /// An expression over the aggregates of a window.
    Window(Box<Windowed>),
}

/// A value over a window.
#[derive(Clone, Debug)]
pub struct Windowed {
    /// How time is cut and what is aggregated; its `having` is not used.
    pub spec: Threshold,
    /// The value.
    pub value: Node,
    /// The value of a window without events; none = such a window has none.
    pub empty: Option<f64>,
}

/// How a normal is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Median and median absolute deviation of the last values.
    Robust,
    /// Exponentially weighted mean and variance.
    Ewma,
    /// Tails of a distribution of counts.
    Poisson,
}

/// Which sides of the normal matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Above.
    pub high: bool,
    /// Below.
    pub low: bool,
}

impl Sides {
    /// Whether there is any.
    pub fn any(self) -> bool {
        self.high || self.low
    }
}

/// When a normal may judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learn {
    /// After so many values.
    Values(u64),
    /// After so long, and at least [`FEWEST`] values.
    Span(Micros),
}

/// The fewest values that make a normal.
pub const FEWEST: u64 = 5;

/// Of the last `of` judgements `hits` must be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtLeast {
    /// So many.
    pub hits: u32,
    /// Of so many, at most 64.
    pub of: u32,
}

/// The least spread of a normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Floor {
    /// In the unit of the value.
    Absolute(f64),
    /// As a share of what is expected.
    Relative(f64),
}
