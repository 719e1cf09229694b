//! Mean and variance that forget slowly.
//!
//! The weight of the n-th value is max(1/n, 1/memory): the plain mean and variance of what has been seen until
//! `memory` values are, then an exponentially weighted one. So there is no bias towards the start, and no
//! correction for it is needed (T. Finch, "Incremental calculation of weighted mean and variance", 2009, §9).

/// What is remembered of all values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ewma {
    /// How many values there were.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their variance about it.
    pub variance: f64,
}

impl Ewma {
    /// Takes in a value.
    pub fn learn(&mut self, x: f64, memory: usize) {
        self.count = self.count.saturating_add(1);
        let weight = 1.0 / self.count.min(memory.max(1) as u64) as f64;
        // The largest double is farther from 0 than the difference of two may be.
        let step = (x - self.mean).clamp(-1e150, 1e150);
        self.mean += weight * step;
        self.variance = (1.0 - weight) * (self.variance + weight * step * step);
    }

    /// How many values still weigh.
    pub fn weight(&self, memory: usize) -> f64 {
        self.count.min(memory.max(1) as u64) as f64
    }

    /// Mean and standard deviation, the latter without the bias of few values; none of no values.
    pub fn centre_and_spread(&self, memory: usize) -> Option<(f64, f64)> {
        if self.count == 0 {
            return None;
        }
        let n = self.weight(memory);
        let correction = if n > 1.0 { n / (n - 1.0) } else { 1.0 };
        Some((self.mean, (self.variance * correction).sqrt()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_mean_and_variance_until_the_memory_is_full() {
        let mut ewma = Ewma::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].iter().for_each(|x| ewma.learn(*x, 100));
        let (mean, deviation) = ewma.centre_and_spread(100).unwrap();
        assert!((mean - 5.0).abs() < 1e-12 && (deviation * deviation - 32.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn it_follows_and_forgets() {
        let mut ewma = Ewma::default();
        (0..500).for_each(|_| ewma.learn(1000.0, 20));
        (0..600).for_each(|i| ewma.learn(f64::from(i % 2), 20));
        let (mean, deviation) = ewma.centre_and_spread(20).unwrap();
        assert!((mean - 0.5).abs() < 0.1 && deviation < 1.0, "{mean} {deviation}");
    }

    #[test]
    fn absurd_values_leave_it_finite() {
        let mut ewma = Ewma::default();
        for x in [f64::MAX, f64::MIN, f64::MAX, 1.0] {
            ewma.learn(x, 10);
            assert!(ewma.mean.is_finite() && ewma.variance.is_finite(), "{ewma:?}");
        }
    }
}
