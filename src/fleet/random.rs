//! Random numbers that are the same on every machine: no platform's generator, no platform's logarithm.
//!
//! Everyone who throws dice has a stream of their own, named by what they are. So one more car, or an attack on
//! another, changes nobody's day.

/// A stream of random numbers (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number for a text: FNV-1a, mixed once more, since its high bits hardly move for short texts.
pub fn hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

impl Random {
    /// The stream of the `index`-th `whose` under a seed.
    pub fn new(seed: u64, whose: &str, index: u64) -> Random {
        Random(mix(mix(seed ^ GOLDEN) ^ hash(whose.as_bytes()) ^ mix(index.wrapping_mul(GOLDEN))))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// 0 or above, below `n` (of 0: 0).
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// An index of something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// From `low` to below `high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high.saturating_sub(low).max(1).unsigned_abs()) as i64
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `low` to below `high`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with a probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of some things.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// About the standard normal distribution, within ±6: the sum of twelve uniform ones, less six.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// An exponential waiting time, at least 1 ms and at most twenty times its mean.
    pub fn wait(&mut self, mean_ms: f64) -> i64 {
        let factor = (-libm::log(1.0 - self.unit())).min(20.0);
        (mean_ms * factor) as i64 + 1
    }

    /// So many hexadecimal digits.
    pub fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[self.index(16)])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_name_and_index_and_repeat() {
        let draw = |seed, whose: &str, index| Random::new(seed, whose, index).bits();
        let all = [draw(1, "car", 0), draw(2, "car", 0), draw(1, "owner", 0), draw(1, "car", 1)];
        let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), 4);
        assert_eq!(draw(1, "car", 0), draw(1, "car", 0));
    }

    #[test]
    fn draws_have_the_moments_they_should() {
        let mut random = Random::new(7, "test", 0);
        let n = 20_000;
        let mean = |sum: f64| sum / f64::from(n);
        let normal: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        assert!(mean(normal.iter().sum()).abs() < 0.03);
        assert!((mean(normal.iter().map(|x| x * x).sum()) - 1.0).abs() < 0.05);
        let wait = mean((0..n).map(|_| random.wait(1000.0) as f64).sum());
        assert!((wait - 1000.0).abs() < 30.0, "{wait}");
        let below = (0..n).map(|_| random.below(10)).max();
        assert_eq!(below, Some(9));
        assert_eq!(random.between(5, 6), 5);
    }
}
