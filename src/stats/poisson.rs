//! How odd a count is: tails of the negative binomial distribution, in logarithms.
//!
//! Counts of a key are Poisson with a rate that is known only from what was seen, so the next count is
//! negative binomial (a gamma posterior, Jeffreys prior Γ(½, 0); Gelman et al., "Bayesian Data Analysis", §2.6).
//! Where counts scatter more than Poisson ones, the excess of their variance over their mean adds to it (method
//! of moments; Cameron and Trivedi, "Regression Analysis of Count Data", §3). Rarer than 10⁻³⁰⁰ is still a
//! number here.

use super::ewma::Ewma;

/// Terms of a tail that are added one by one; what is left is taken for a geometric series, which is right to one
/// in a thousand of the tail, mostly to much less.
const TERMS: u32 = 400;

/// The largest count that is told apart from larger ones.
const MOST: f64 = 1e15;

/// The size above which a negative binomial distribution is a Poisson one.
const POISSON: f64 = 1e7;

/// The distribution of the next count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    mean: f64,
    /// The `size` of the negative binomial: variance = mean + mean² / size.
    size: f64,
}

impl Counts {
    /// What to expect after these counts, of which the last `memory` weigh; none of no counts.
    pub fn after(seen: &Ewma, memory: usize) -> Option<Counts> {
        if seen.count == 0 {
            return None;
        }
        let n = seen.weight(memory);
        let mean = seen.mean.clamp(0.0, MOST);
        let excess = (seen.variance - mean).max(0.0) / (mean * mean).max(1e-300);
        let unsure = 1.0 / (n * mean + 0.5);
        let scatter = if mean > 0.0 { excess } else { 0.0 };
        Some(Counts { mean: mean + 0.5 / n, size: 1.0 / (unsure + scatter) })
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// ln P(X ≥ x); 0 at or below the mean.
    pub fn ln_above(&self, x: f64) -> f64 {
        let x = x.floor().min(MOST);
        if x <= self.mean {
            return 0.0;
        }
        self.ln_tail(x, |counts, k, step| counts.ratio(k + step))
    }

    /// ln P(X ≤ x); 0 at or above the mean.
    pub fn ln_below(&self, x: f64) -> f64 {
        let x = x.floor();
        if x >= self.mean {
            return 0.0;
        }
        if x < 0.0 {
            return f64::NEG_INFINITY;
        }
        self.ln_tail(x, |counts, k, step| match k - step {
            at if at >= 1.0 => 1.0 / counts.ratio(at - 1.0),
            _ => 0.0,
        })
    }

    /// The largest count whose tail above is at least `ln_p`.
    pub fn highest(&self, ln_p: f64) -> f64 {
        let mut low = self.mean.floor();
        let deviation = (self.mean + self.mean * self.mean / self.size).sqrt();
        let mut step = deviation.ceil().max(1.0);
        while low + step < MOST && self.ln_above(low + step) >= ln_p {
            low += step;
            step *= 2.0;
        }
        let mut high = (low + step).min(MOST);
        while high - low > 1.0 {
            let middle = low + ((high - low) / 2.0).floor();
            if self.ln_above(middle) >= ln_p { low = middle } else { high = middle }
        }
        low
    }

    /// The smallest count whose tail below is at least `ln_p`.
    pub fn lowest(&self, ln_p: f64) -> f64 {
        let (mut low, mut high) = (-1.0, self.mean.ceil());
        while high - low > 1.0 {
            let middle = low + ((high - low) / 2.0).floor();
            if self.ln_below(middle) >= ln_p { high = middle } else { low = middle }
        }
        high
    }

    /// P(k + 1) / P(k).
    fn ratio(&self, k: f64) -> f64 {
        if self.size > POISSON {
            return self.mean / (k + 1.0);
        }
        (k + self.size) / (k + 1.0) * self.mean / (self.mean + self.size)
    }

    /// ln P(X = k).
    fn ln_at(&self, k: f64) -> f64 {
        let (mean, size) = (self.mean, self.size);
        if size > POISSON {
            return k * mean.ln() - mean - ln_gamma(k + 1.0);
        }
        let shape = ln_gamma(k + size) - ln_gamma(size) - ln_gamma(k + 1.0);
        shape - size * (mean / size).ln_1p() - k * (size / mean).ln_1p()
    }

    /// ln of P(x) and all that follows by `next`, the ratio of each term to the one before it.
    fn ln_tail(&self, x: f64, next: impl Fn(&Counts, f64, f64) -> f64) -> f64 {
        let (mut term, mut sum, mut ratio) = (1.0, 1.0, 0.0);
        for step in 0..TERMS {
            ratio = next(self, x, f64::from(step));
            term *= ratio;
            sum += term;
            if term < 1e-13 * sum {
                return (self.ln_at(x) + sum.ln()).min(0.0);
            }
        }
        if ratio >= 1.0 {
            return 0.0;
        }
        (self.ln_at(x) + (sum + term * ratio / (1.0 - ratio)).ln()).min(0.0)
    }
}

/// ln Γ(x) for x > 0, to about 10⁻¹³: Stirling's series from 10 on, the recurrence below (Abramowitz and Stegun
/// 6.1.15, 6.1.41).
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / x;
    (x - 0.5) * x.ln() - x + 0.918_938_533_204_672_7 + series - f64::ln(product)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(mean: f64, size: f64) -> Counts {
        Counts { mean, size }
    }

    #[test]
    fn gamma() {
        for (x, expected) in [(1.0, 0.0), (2.0, 0.0), (5.0, 24f64.ln()), (0.5, 0.572_364_942_924_700_1)] {
            assert!((ln_gamma(x) - expected).abs() < 1e-12, "{x}: {}", ln_gamma(x));
        }
        assert!((ln_gamma(171.0) - 706.573_062_245_787_4).abs() < 1e-9);
    }

    /// P(X ≥ 10) of Poisson(3) is 0.001102488; of NB(size 2, mean 3), by exact sums, 0.0302.
    #[test]
    fn tails_as_tables_have_them() {
        let poisson = counts(3.0, 1e9).ln_above(10.0).exp();
        assert!((poisson - 0.001_102_488).abs() < 1e-8, "{poisson}");
        let geometric = counts(1.0, 1.0).ln_above(20.0).exp();
        assert!((geometric / 0.5f64.powi(20) - 1.0).abs() < 1e-9, "{geometric}");
        let none = counts(5.0, 1e9).ln_below(0.0);
        assert!((none + 5.0).abs() < 1e-9, "{none}");
    }

    #[test]
    fn the_rarest_is_still_a_number() {
        let rare = counts(0.01, 0.5).ln_above(1e6);
        assert!(rare.is_finite() && rare < -1e6, "{rare}");
        assert!(counts(1e12, 1e9).ln_above(1e15).is_finite());
    }

    #[test]
    fn few_counts_promise_little() {
        let mut seen = Ewma::default();
        (0..5).for_each(|_| seen.learn(0.0, 200));
        let after_5 = Counts::after(&seen, 200).unwrap().highest(1e-6f64.ln());
        (0..195).for_each(|_| seen.learn(0.0, 200));
        let after_200 = Counts::after(&seen, 200).unwrap().highest(1e-6f64.ln());
        assert!(after_5 > after_200 && after_200 >= 1.0, "{after_5} {after_200}");
    }

    #[test]
    fn counts_that_come_in_bursts_are_expected_to() {
        let mut seen = Ewma::default();
        (0..200).for_each(|i| seen.learn(if i % 20 == 0 { 100.0 } else { 0.0 }, 200));
        let bursts = Counts::after(&seen, 200).unwrap();
        assert!(bursts.highest(1e-6f64.ln()) > 300.0, "{}", bursts.highest(1e-6f64.ln()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn tails_equal_the_sums_of_their_terms(mean in 0.01f64..60.0, size in 0.2f64..200.0, x in 0u32..150) {
            let counts = counts(mean, size);
            let x = f64::from(x);
            let sum = |from: u32, to: u32| (from..to).map(|k| counts.ln_at(f64::from(k)).exp()).sum::<f64>();
            if x > mean {
                let exact = 1.0 - sum(0, x as u32);
                let close = (counts.ln_above(x).exp() - exact).abs() < 2e-3 * exact.max(1e-9);
                prop_assert!(close, "{} {exact}", counts.ln_above(x).exp());
            } else {
                let exact = sum(0, x as u32 + 1);
                let told = counts.ln_below(x).exp();
                prop_assert!((told - exact).abs() < 1e-6 || x >= mean, "{told} {exact}");
            }
        }

        #[test]
        fn bounds_are_where_the_tail_falls_below(mean in 0.001f64..1e6, size in 0.05f64..1e8) {
            let (counts, ln_p) = (counts(mean, size), 1e-6f64.ln());
            let high = counts.highest(ln_p);
            prop_assert!(counts.ln_above(high) >= ln_p && counts.ln_above(high + 1.0) < ln_p, "{high}");
            let low = counts.lowest(ln_p);
            prop_assert!(counts.ln_below(low) >= ln_p);
            prop_assert!(low == 0.0 || counts.ln_below(low - 1.0) < ln_p, "{low}");
        }
    }
}
