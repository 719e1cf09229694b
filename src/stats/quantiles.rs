//! Quantiles to one per cent of their value, in bounded memory, merged without loss.
//!
//! DDSketch (Masson, Rim and Lee, VLDB 2019): numbers are counted in bins whose bounds grow by a factor. What is
//! merged is the sum of counts, so order and parts do not matter. Magnitudes below 10⁻⁹ count as 0, those above
//! 10¹² as 10¹²: so there are at most 4,836 bins.

/// ln of the factor from bin to bin, (1 + e) / (1 − e) for a relative error e of 0.01.
const LOG_STEP: f64 = 0.020_000_666_706_669_5;

const SMALLEST: f64 = 1e-9;
const LARGEST: f64 = 1e12;

/// Counts of numbers by their magnitude.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// Bin and count, rising; the bins of negative numbers are below 0, that of 0 is 0.
    pub bins: Vec<(i32, u64)>,
}

impl Quantiles {
    /// Takes in a number.
    pub fn add(&mut self, x: f64) {
        self.count(bin(x), 1);
    }

    fn count(&mut self, bin: i32, n: u64) {
        match self.bins.binary_search_by_key(&bin, |(other, _)| *other) {
            Ok(at) => self.bins[at].1 += n,
            Err(at) => self.bins.insert(at, (bin, n)),
        }
    }

    /// Takes in what others counted.
    pub fn merge(&mut self, other: &Quantiles) {
        other.bins.iter().for_each(|(bin, n)| self.count(*bin, *n));
    }

    /// The number below which `share` (0 to 1) of all lie; none of no numbers. The lower of two, as the paper has
    /// it: rank share · (n − 1), rounded down.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.bins.iter().map(|(_, n)| n).sum();
        let rank = (share.clamp(0.0, 1.0) * all.saturating_sub(1) as f64).floor() as u64;
        let mut below = 0;
        self.bins.iter().find_map(|(bin, n)| {
            below += n;
            (below > rank).then(|| middle(*bin))
        })
    }
}

/// Bins of one sign are numbered from 1: the first holds the smallest magnitude.
fn bin(x: f64) -> i32 {
    let magnitude = x.abs().min(LARGEST);
    if magnitude < SMALLEST {
        return 0;
    }
    let nth = ((magnitude / SMALLEST).ln() / LOG_STEP).ceil() as i32 + 1;
    if x < 0.0 { -nth } else { nth }
}

/// The number that is within the error of all in a bin.
fn middle(bin: i32) -> f64 {
    if bin == 0 {
        return 0.0;
    }
    let upper = SMALLEST * (f64::from(bin.abs() - 1) * LOG_STEP).exp();
    let middle = upper * 2.0 / (1.0 + LOG_STEP.exp());
    if bin < 0 { -middle } else { middle }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ERROR: f64 = 0.01;

    fn of(numbers: &[f64]) -> Quantiles {
        let mut quantiles = Quantiles::default();
        numbers.iter().for_each(|x| quantiles.add(*x));
        quantiles
    }

    #[test]
    fn nothing_zero_and_the_absurd() {
        assert_eq!(of(&[]).quantile(0.5), None);
        assert_eq!(of(&[0.0, -1e-12, 1e-12]).quantile(0.5), Some(0.0));
        let high = of(&[f64::MAX]).quantile(1.0).unwrap();
        assert!((high / LARGEST - 1.0).abs() <= ERROR, "{high}");
        let many: Vec<f64> = (0..200_000).map(|i| 1.001f64.powi(i % 60_000) * 1e-12).collect();
        assert!(of(&many).bins.len() < 2500);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn within_one_per_cent_and_merged_without_loss(
            numbers in proptest::collection::vec(prop_oneof![-1e6f64..1e6, 0.001f64..1.0], 1..200),
            share in 0.0f64..=1.0,
            cut in 0usize..200,
        ) {
            let whole = of(&numbers);
            let (head, tail) = numbers.split_at(cut.min(numbers.len()));
            let mut merged = of(tail);
            merged.merge(&of(head));
            prop_assert_eq!(&merged, &whole);
            let mut sorted = numbers.clone();
            sorted.sort_by(f64::total_cmp);
            let exact = sorted[(share * (sorted.len() - 1) as f64).floor() as usize];
            let told = whole.quantile(share).unwrap();
            prop_assert!((told - exact).abs() <= ERROR * exact.abs() + 1e-9, "{} {}", told, exact);
        }
    }
}
