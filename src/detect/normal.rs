//! What is normal for one key or cohort: an estimator, when it may judge, and the band that it judges by.
//!
//! A value outside the band is learned as if it lay on its edge (winsorised): so an attack moves the normal
//! only slowly, and a new normal is accepted in the end. Before the band exists all values are taken as they
//! are.

use super::StateError;
use super::codec::{Reader, Writer};
use crate::event::Timestamp;
use crate::rule::learned::{Baseline, FEWEST, Floor, Learn, Method, Sides};
use crate::stats::ewma::Ewma;
use crate::stats::poisson::Counts;
use crate::stats::robust::Robust;

/// Values beyond this are taken as this: squares of them are still numbers.
const LARGEST: f64 = 1e150;

/// The least spread of all: a band that is a point would be left by rounding.
const SMALLEST: f64 = 1e-9;

/// After so many memories of equal values nothing else weighs any more (e⁻⁸ of it).
const FORGOTTEN: u64 = 8;

/// What is normal.
#[derive(Clone, Debug, PartialEq)]
pub struct Normal {
    model: Model,
    /// Values learned.
    samples: u64,
    /// The earliest and the latest time of a value.
    seen: Option<(Timestamp, Timestamp)>,
    /// Derived from all else, never saved; none while it is learning.
    band: Option<Band>,
}

#[derive(Clone, Debug, PartialEq)]
enum Model {
    Robust(Robust),
    Ewma(Ewma),
    Poisson(Ewma),
}

/// What a value is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// What is expected.
    pub expected: f64,
    /// The lowest value that is not odd.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// Values learned.
    pub samples: u64,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// Standard deviation.
    Spread(f64),
    Counts(Counts),
}

impl Normal {
    /// Nothing learned yet.
    pub fn new(spec: &Baseline) -> Normal {
        let model = match spec.method {
            Method::Robust => Model::Robust(Robust::default()),
            Method::Ewma => Model::Ewma(Ewma::default()),
            Method::Poisson => Model::Poisson(Ewma::default()),
        };
        Normal { model, samples: 0, seen: None, band: None }
    }

    /// What to judge by; none while it is learning.
    pub fn band(&self) -> Option<&Band> {
        self.band.as_ref()
    }

    /// Takes in a value of that time.
    pub fn learn(&mut self, spec: &Baseline, value: f64, time: Timestamp) {
        self.repeat(spec, value, 1, time);
    }

    /// Takes in a value so many times; the last of them has that time.
    pub fn repeat(&mut self, spec: &Baseline, value: f64, times: u64, time: Timestamp) {
        let (first, last) = self.seen.unwrap_or((time, time));
        self.seen = Some((first.min(time), last.max(time)));
        self.samples = self.samples.saturating_add(times);
        let mut left = times.min(FORGOTTEN * spec.memory as u64);
        while left > 0 {
            // A band that follows only now and then would hold a new normal back.
            let some = left.min(16);
            (0..some).for_each(|_| self.add(spec, value));
            self.band = self.judge_by(spec);
            left -= some;
        }
    }

    fn add(&mut self, spec: &Baseline, value: f64) {
        let value = value.clamp(-LARGEST, LARGEST);
        let value = self.band.map_or(value, |band| band.nearest(value));
        match &mut self.model {
            Model::Robust(robust) => robust.learn(value, spec.memory),
            Model::Ewma(ewma) | Model::Poisson(ewma) => ewma.learn(value, spec.memory),
        }
    }

    fn judge_by(&self, spec: &Baseline) -> Option<Band> {
        let ready = match spec.learn {
            Learn::Values(values) => self.samples >= values,
            Learn::Span(span) => {
                let (first, last) = self.seen?;
                self.samples >= FEWEST && last.0.saturating_sub(first.0) >= span
            }
        };
        if !ready {
            return None;
        }
        let (expected, spread) = match &self.model {
            Model::Robust(robust) => robust.centre_and_spread()?,
            Model::Ewma(ewma) => ewma.centre_and_spread(spec.memory)?,
            Model::Poisson(seen) => return self.counts(spec, Counts::after(seen, spec.memory)?),
        };
        let floor = match spec.floor {
            Floor::Absolute(floor) => floor,
            Floor::Relative(share) => share * expected.abs(),
        };
        let spread = spread.max(floor).max(SMALLEST);
        let (low, high) = (expected - spec.limit * spread, expected + spec.limit * spread);
        Some(Band { expected, low, high, samples: self.samples, shape: Shape::Spread(spread) })
    }

    fn counts(&self, spec: &Baseline, counts: Counts) -> Option<Band> {
        let ln_p = spec.limit.ln();
        Some(Band {
            expected: counts.mean(),
            low: if spec.sides.low { counts.lowest(ln_p) } else { 0.0 },
            high: counts.highest(ln_p),
            samples: self.samples,
            shape: Shape::Counts(counts),
        })
    }

    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        match &self.model {
            Model::Robust(robust) => {
                let bits: Vec<u64> = robust.0.iter().map(|x| x.to_bits()).collect();
                out.list(&bits, |out, bits| out.u64(*bits));
            }
            Model::Ewma(ewma) | Model::Poisson(ewma) => {
                out.u64(ewma.count);
                out.u64(ewma.mean.to_bits());
                out.u64(ewma.variance.to_bits());
            }
        }
        out.u64(self.samples);
        out.option(self.seen.as_ref(), |out, (first, last)| {
            out.time(*first);
            out.time(*last);
        });
    }

    /// What [`write`](Self::write) made.
    pub fn read(spec: &Baseline, from: &mut Reader<'_>) -> Result<Normal, StateError> {
        let float = |from: &mut Reader<'_>| from.u64().map(f64::from_bits);
        let mut normal = Normal::new(spec);
        match &mut normal.model {
            Model::Robust(robust) => robust.0 = from.list(float)?.into(),
            Model::Ewma(ewma) | Model::Poisson(ewma) => {
                *ewma = Ewma { count: from.u64()?, mean: float(from)?, variance: float(from)? };
            }
        }
        normal.samples = from.u64()?;
        normal.seen = from.option(|from| Ok((from.time()?, from.time()?)))?;
        normal.band = normal.judge_by(spec);
        Ok(normal)
    }
}

impl Band {
    /// Whether a value lies outside on a side that matters.
    pub fn is_odd(&self, value: f64, sides: Sides) -> bool {
        (sides.high && value > self.high) || (sides.low && value < self.low)
    }

    /// How odd a value is, larger is odder: standard deviations from what is expected, of counts −log₁₀ of the
    /// probability of one as far away; below 0 or 0 on a side that does not matter.
    pub fn score(&self, value: f64, sides: Sides) -> f64 {
        let both = |high: f64, low: f64| match (sides.high, sides.low) {
            (true, true) => high.max(low),
            (true, false) => high,
            (false, _) => low,
        };
        match &self.shape {
            Shape::Spread(spread) => {
                let z = (value - self.expected) / spread;
                both(z, -z)
            }
            Shape::Counts(counts) => {
                let ln_10 = std::f64::consts::LN_10;
                let below = if sides.low { -counts.ln_below(value) / ln_10 } else { 0.0 };
                both(-counts.ln_above(value) / ln_10, below)
            }
        }
    }

    /// The value inside that is nearest.
    fn nearest(&self, value: f64) -> f64 {
        value.max(self.low).min(self.high)
    }
}
