//! A distribution of latencies: recorded without locks by its owner, copied to be shown.

use hdrhistogram::Histogram;

use crate::event::Micros;

/// The longest latency that is told apart: an hour. Backlogs are older; they count as an hour.
const LONGEST: u64 = 3_600_000_000;

/// Upper bounds of the buckets that are shown, in microseconds.
pub(super) const BOUNDS: [u64; 16] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// Latencies in microseconds, to two digits; none recorded costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    histogram: Option<Histogram<u64>>,
    sum: u64,
}

impl Latency {
    /// Counts one. A clock that runs ahead makes a negative latency: zero.
    pub fn record(&mut self, micros: Micros) {
        let micros = u64::try_from(micros).unwrap_or(0).min(LONGEST);
        if self.histogram.is_none() {
            self.histogram = Histogram::new_with_bounds(1, LONGEST, 2).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(micros);
            self.sum = self.sum.saturating_add(micros);
        }
    }

    /// Counts all of another's.
    pub fn merge(&mut self, other: &Latency) {
        match (&mut self.histogram, &other.histogram) {
            (Some(own), Some(theirs)) => {
                // Equal bounds: nothing can be out of range.
                if own.add(theirs).is_ok() {
                    self.sum = self.sum.saturating_add(other.sum);
                }
            }
            (None, Some(_)) => *self = other.clone(),
            (_, None) => {}
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// Their sum in microseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The latency in microseconds that a fraction `q` (0 to 1) does not exceed; 0 if none was counted.
    pub fn quantile(&self, q: f64) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.value_at_quantile(q))
    }

    /// (upper bound in microseconds, how many do not exceed it), rising.
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        let mut buckets: Vec<(u64, u64)> = BOUNDS.iter().map(|bound| (*bound, 0)).collect();
        let Some(histogram) = &self.histogram else { return buckets };
        for recorded in histogram.iter_recorded() {
            let value = recorded.value_iterated_to();
            let count = recorded.count_since_last_iteration();
            buckets.iter_mut().filter(|(bound, _)| value <= *bound).for_each(|(_, n)| *n += count);
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_does_not_exceed_them() {
        let mut latency = Latency::default();
        for micros in [-5, 0, 900, 3_000, 3_000, 40_000, 7_200_000_000] {
            latency.record(micros);
        }
        let at = |bound: u64| latency.buckets().iter().find(|(b, _)| *b == bound).unwrap().1;
        assert_eq!((at(1_000), at(2_500), at(5_000), at(50_000), at(300_000_000)), (3, 3, 5, 6, 6));
        assert_eq!((latency.count(), latency.sum()), (7, 900 + 6_000 + 40_000 + LONGEST));
    }

    #[test]
    fn merged_is_as_if_recorded_together() {
        let (mut one, mut other, mut both) = (Latency::default(), Latency::default(), Latency::default());
        for micros in [10, 2_000, 5_000_000] {
            one.record(micros);
            both.record(micros);
        }
        for micros in [30, 70_000] {
            other.record(micros);
            both.record(micros);
        }
        let mut sum = Latency::default();
        sum.merge(&one);
        sum.merge(&other);
        sum.merge(&Latency::default());
        assert_eq!(sum.buckets(), both.buckets());
        assert_eq!(
            (sum.count(), sum.sum(), sum.quantile(0.5)),
            (both.count(), both.sum(), both.quantile(0.5))
        );
    }
}
