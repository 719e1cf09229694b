//! Centre and spread that a few wild values cannot move: median and MAD of the last so many values.
//!
//! Keeps the values themselves, so half of them must be hostile before the median follows. It does not judge:
//! that is for those who know which side matters.

use std::collections::VecDeque;

/// Makes the median absolute deviation of a normal distribution its standard deviation: 1 / Φ⁻¹(3/4).
const OF_MAD: f64 = 1.482_602_218_505_602;

/// Likewise for the mean absolute deviation: √(π/2).
const OF_MEAN_DEVIATION: f64 = 1.253_314_137_315_500_3;

/// The last values, in the order they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Robust(pub VecDeque<f64>);

impl Robust {
    /// Takes in a value; only the last `memory` are kept.
    pub fn learn(&mut self, x: f64, memory: usize) {
        while self.0.len() >= memory.max(1) {
            self.0.pop_front();
        }
        self.0.push_back(x);
    }

    /// Median and spread (in the unit of a standard deviation); none of no values.
    ///
    /// Spread = 1.4826 · MAD, and where that is 0 since more than half of the values are equal,
    /// 1.2533 · mean absolute deviation from the median (Iglewicz and Hoaglin, "How to Detect and Handle
    /// Outliers", 1993).
    pub fn centre_and_spread(&self) -> Option<(f64, f64)> {
        let mut values: Vec<f64> = self.0.iter().copied().collect();
        let centre = median(&mut values)?;
        values.iter_mut().for_each(|x| *x = (*x - centre).abs());
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mad = median(&mut values)?;
        Some((centre, if mad > 0.0 { OF_MAD * mad } else { OF_MEAN_DEVIATION * mean }))
    }
}

/// The middle value, or the mean of the two middle ones; reorders what it is given.
fn median(values: &mut [f64]) -> Option<f64> {
    let half = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let upper = *upper;
    if !even {
        return Some(upper);
    }
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some(lower + (upper - lower) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> (f64, f64) {
        let mut robust = Robust::default();
        values.iter().for_each(|x| robust.learn(*x, 100));
        robust.centre_and_spread().unwrap()
    }

    #[test]
    fn median_and_spread_of_small_samples() {
        assert_eq!(of(&[7.0]), (7.0, 0.0));
        assert_eq!(of(&[1.0, 2.0]), (1.5, OF_MAD * 0.5));
        assert_eq!(of(&[5.0, 1.0, 3.0, 2.0, 4.0]), (3.0, OF_MAD));
        assert_eq!(of(&[0.0, 0.0, 0.0, 8.0]), (0.0, OF_MEAN_DEVIATION * 2.0));
        assert_eq!(Robust::default().centre_and_spread(), None);
    }

    #[test]
    fn a_minority_of_wild_values_moves_neither() {
        let mut values: Vec<f64> = (0..61).map(|i| f64::from(i % 11)).collect();
        let before = of(&values);
        values.extend([1e300; 20]);
        let after = of(&values);
        assert!((after.0 - before.0).abs() <= 3.0 && after.1 < 2.5 * before.1, "{before:?} {after:?}");
    }

    #[test]
    fn only_the_last_values_are_kept() {
        let mut robust = Robust::default();
        (0..50).for_each(|i| robust.learn(f64::from(i), 10));
        assert_eq!(robust.0, (40..50).map(f64::from).collect::<VecDeque<_>>());
    }
}
