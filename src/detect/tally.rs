//! What an aggregate keeps in words of 64 bits: how values are folded in, how what later panes know is merged,
//! and what a condition sees of it.
//!
//! Sums of floats are merged anew at each judgement and never subtracted, so that neither batch size nor a
//! restart can change one; whatever is exact (counts, sums of ints, extremes) may be carried from window to
//! window.

use crate::event::{Scalar, Timestamp, Type};
use crate::rule::{AggFunc, Aggregate};
use crate::stats::moments::Moments;

/// Words that an aggregate has at most.
pub const WIDEST: usize = 3;

/// What the words of one aggregate say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Rows.
    Count,
    /// Sum in 128 bits, low half first, and how many values went into it.
    Int {
        /// Seen as the sum divided by the values.
        mean: bool,
    },
    /// Sum of floats by its bits, and how many values went into it.
    Float {
        /// Seen as the sum divided by the values.
        mean: bool,
    },
    /// The smallest or largest int or time, and whether there is one.
    Whole {
        /// The largest, else the smallest.
        largest: bool,
        /// Of times, else of ints.
        times: bool,
    },
    /// The smallest or largest float by its bits; NaN = none yet.
    Real {
        /// The largest, else the smallest.
        largest: bool,
    },
    /// Count, mean and spread.
    Moments {
        /// Of ints, else of floats.
        ints: bool,
    },
}

/// No float yet.
const NONE: u64 = 0x7ff8_0000_0000_0000;

impl Tally {
    /// What this aggregate keeps in words; none if it keeps what it knows elsewhere.
    pub fn of(aggregate: &Aggregate) -> Option<Tally> {
        let (largest, kind) = (aggregate.func == AggFunc::Max, aggregate.arg_type);
        let mean = aggregate.func == AggFunc::Avg;
        match (aggregate.func, kind) {
            _ if aggregate.ring.is_some() => None,
            (AggFunc::Count, _) => Some(Tally::Count),
            (AggFunc::Sum | AggFunc::Avg, Type::Int) => Some(Tally::Int { mean }),
            (AggFunc::Sum | AggFunc::Avg, _) => Some(Tally::Float { mean }),
            (AggFunc::Min | AggFunc::Max, Type::Float) => Some(Tally::Real { largest }),
            (AggFunc::Min | AggFunc::Max, _) => Some(Tally::Whole { largest, times: kind == Type::Time }),
            (AggFunc::StdDev, _) => Some(Tally::Moments { ints: kind == Type::Int }),
            (AggFunc::CountDistinct | AggFunc::Percentile(_) | AggFunc::Values(_), _) => None,
        }
    }

    /// The words of nothing seen.
    pub fn nothing(self) -> &'static [u64] {
        match self {
            Tally::Count => &[0],
            Tally::Int { .. } | Tally::Moments { .. } => &[0, 0, 0],
            Tally::Float { .. } | Tally::Whole { .. } => &[0, 0],
            Tally::Real { .. } => &[NONE],
        }
    }

    /// Whether what it knows is exact, so that it may be carried from window to window.
    pub fn is_carried(self) -> bool {
        !matches!(self, Tally::Float { .. } | Tally::Moments { .. })
    }

    /// Whether it is the smallest or largest of something.
    pub fn is_extreme(self) -> bool {
        matches!(self, Tally::Whole { .. } | Tally::Real { .. })
    }

    /// Folds a row in: its value, an int or time as it is, a float by its bits; none if it is NULL.
    #[inline]
    pub fn add(self, words: &mut [u64], value: Option<u64>) {
        match (self, value, words) {
            (Tally::Count, _, [count]) => *count += 1,
            (Tally::Int { .. }, Some(value), words) => add_int(words, i128::from(value as i64), 1),
            (Tally::Float { .. }, Some(value), [sum, count]) => {
                *sum = float_sum(f64::from_bits(*sum), f64::from_bits(value)).to_bits();
                *count += 1;
            }
            (Tally::Whole { largest, .. }, Some(value), words) => take_whole(words, largest, value as i64),
            (Tally::Real { largest }, Some(value), words) => {
                take_real(words, largest, f64::from_bits(value) + 0.0);
            }
            (Tally::Moments { ints }, Some(value), words) => {
                let number = if ints { value as i64 as f64 } else { f64::from_bits(value) + 0.0 };
                if number.is_finite() {
                    let mut all = moments(words);
                    all.add(number);
                    put_moments(words, all);
                }
            }
            _ => {}
        }
    }

    /// Takes in what a later pane knows.
    #[inline]
    pub fn merge(self, words: &mut [u64], later: &[u64]) {
        match (self, words, later) {
            (Tally::Count, [count], [more]) => *count += more,
            (Tally::Int { .. }, words, [_, _, values]) => add_int(words, wide(later), *values),
            (Tally::Float { .. }, [sum, count], [more, values]) => {
                *sum = float_sum(f64::from_bits(*sum), f64::from_bits(*more)).to_bits();
                *count += values;
            }
            (Tally::Whole { largest, .. }, words, [value, known]) if *known != 0 => {
                take_whole(words, largest, *value as i64);
            }
            (Tally::Real { largest }, words, [value]) => take_real(words, largest, f64::from_bits(*value)),
            (Tally::Moments { .. }, words, later) => {
                let mut all = moments(words);
                all.merge(&moments(later));
                put_moments(words, all);
            }
            _ => {}
        }
    }

    /// Takes in what later panes know, in the order of time.
    pub fn merge_all<'w>(self, words: &mut [u64], later: impl Iterator<Item = &'w [u64]> + Clone) {
        if let (Tally::Float { .. }, [sum, count]) = (self, &mut *words) {
            // As long as nothing overflows, nothing need be held back: most sums are found at the speed of adding.
            let (mut all, mut values) = (f64::from_bits(*sum), *count);
            for pane in later.clone() {
                if let [more, known] = pane {
                    all += f64::from_bits(*more);
                    values += known;
                }
            }
            if all.is_finite() {
                (*sum, *count) = (all.to_bits(), values);
                return;
            }
        }
        later.for_each(|pane| self.merge(words, pane));
    }

    /// Takes what an earlier pane knows out again: counts and sums of ints alone can do that.
    #[inline]
    pub fn subtract(self, words: &mut [u64], earlier: &[u64]) {
        match (self, words, earlier) {
            (Tally::Count, [count], [less]) => *count = count.wrapping_sub(*less),
            (Tally::Int { .. }, words, [_, _, values]) => {
                add_int(words, wide(earlier).wrapping_neg(), values.wrapping_neg());
            }
            _ => {}
        }
    }

    /// What a condition sees of it: NULL over nothing, but 0 for a count.
    pub fn see(self, words: &[u64]) -> Scalar {
        match (self, words) {
            (Tally::Count, [count]) => Scalar::Int(i64::try_from(*count).unwrap_or(i64::MAX)),
            (Tally::Int { .. }, [_, _, 0]) | (Tally::Float { .. }, [_, 0]) => Scalar::Null,
            (Tally::Int { mean: true }, [_, _, values]) => Scalar::float(wide(words) as f64 / *values as f64),
            (Tally::Int { mean: false }, _) => Scalar::Int(saturate(wide(words))),
            (Tally::Float { mean }, [sum, values]) => {
                let sum = f64::from_bits(*sum);
                Scalar::float(if mean { sum / *values as f64 } else { sum })
            }
            (Tally::Whole { .. }, [_, 0]) => Scalar::Null,
            (Tally::Whole { times: true, .. }, [value, _]) => Scalar::Time(Timestamp(*value as i64)),
            (Tally::Whole { times: false, .. }, [value, _]) => Scalar::Int(*value as i64),
            (Tally::Real { .. }, [value]) => Scalar::float(f64::from_bits(*value)),
            (Tally::Moments { .. }, words) => moments(words).deviation().map_or(Scalar::Null, Scalar::float),
            _ => Scalar::Null,
        }
    }

    /// A sum of ints that does not fit 64 bits.
    pub fn see_wide(self, words: &[u64]) -> Option<i128> {
        let sum = if self == (Tally::Int { mean: false }) { wide(words) } else { 0 };
        Some(sum).filter(|sum| i64::try_from(*sum).is_err())
    }
}

/// A sum of ints.
fn wide(words: &[u64]) -> i128 {
    match words {
        [low, high, ..] => (u128::from(*high) << 64 | u128::from(*low)) as i128,
        _ => 0,
    }
}

fn add_int(words: &mut [u64], more: i128, values: u64) {
    let sum = wide(words).wrapping_add(more) as u128;
    if let [low, high, count] = words {
        (*low, *high, *count) = (sum as u64, (sum >> 64) as u64, count.wrapping_add(values));
    }
}

fn take_whole(words: &mut [u64], largest: bool, value: i64) {
    let [best, known] = words else { return };
    let better = if largest { value > *best as i64 } else { value < *best as i64 };
    if *known == 0 || better {
        (*best, *known) = (value as u64, 1);
    }
}

fn take_real(words: &mut [u64], largest: bool, value: f64) {
    let [best] = words else { return };
    let known = f64::from_bits(*best);
    let better = known.is_nan() || (if largest { value > known } else { value < known });
    if better && value.is_finite() {
        *best = value.to_bits();
    }
}

/// Count, mean and spread.
fn moments(words: &[u64]) -> Moments {
    match words {
        [count, mean, squares] => {
            Moments { count: *count, mean: f64::from_bits(*mean), squares: f64::from_bits(*squares) }
        }
        _ => Moments::default(),
    }
}

fn put_moments(words: &mut [u64], all: Moments) {
    if let [count, mean, squares] = words {
        (*count, *mean, *squares) = (all.count, all.mean.to_bits(), all.squares.to_bits());
    }
}

/// A sum of floats stops at the largest one: were it infinite, it would be NULL, and one absurd value would
/// hide its whole window.
#[inline]
fn float_sum(sum: f64, more: f64) -> f64 {
    (sum + more).clamp(f64::MIN, f64::MAX)
}

fn saturate(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}
