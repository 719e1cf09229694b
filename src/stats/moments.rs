//! Count, mean and spread of numbers, folded one by one and merged.
//!
//! No sum of squares: that would lose the spread of large numbers that lie close together (B. P. Welford,
//! Technometrics 4, 1962; merged as by Chan, Golub and LeVeque, 1979).

/// What is known of some numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The sum of their squared distances from it.
    pub squares: f64,
}

impl Moments {
    /// Takes in a number.
    pub fn add(&mut self, x: f64) {
        self.merge(&Moments { count: 1, mean: x.clamp(-1e150, 1e150), squares: 0.0 });
    }

    /// Takes in what is known of others.
    pub fn merge(&mut self, other: &Moments) {
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.mean += apart * (m / (n + m));
        self.squares += other.squares + apart * apart * (n * m / (n + m));
        self.count += other.count;
    }

    /// The standard deviation of a sample (n − 1); none of fewer than two numbers.
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(numbers: &[f64]) -> Moments {
        let mut moments = Moments::default();
        numbers.iter().for_each(|x| moments.add(*x));
        moments
    }

    #[test]
    fn small_samples_and_large_numbers() {
        assert_eq!(of(&[]).deviation(), None);
        assert_eq!(of(&[5.0]).deviation(), None);
        assert_eq!(of(&[5.0; 40]).deviation(), Some(0.0));
        let far = of(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]);
        assert!((far.deviation().unwrap() - 30f64.sqrt()).abs() < 1e-6);
        assert!(of(&[f64::MAX, f64::MIN, 0.0]).deviation().unwrap().is_finite());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn parts_merge_to_the_whole(numbers in proptest::collection::vec(-1e3f64..1e3, 2..60), cut in 0usize..60) {
            let (head, tail) = numbers.split_at(cut.min(numbers.len()));
            let mut merged = of(head);
            merged.merge(&of(tail));
            let whole = of(&numbers).deviation().unwrap();
            prop_assert!((merged.deviation().unwrap() - whole).abs() < 1e-9 * whole.max(1.0));
        }
    }
}
