//! The only source of chance: the same seed throws the same dice on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        random.bits();
        random
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to below `high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.saturating_sub(low).max(1) as u64;
        low + ((u128::from(self.bits()) * u128::from(span)) >> 64) as i64
    }

    /// An index of something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        self.between(0, length as i64) as usize
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, of_hundred: i64) -> bool {
        self.between(0, 100) < of_hundred
    }

    /// A delay: mostly up to `usual`, one in twelve up to twenty times as long.
    pub fn delay(&mut self, usual: i64) -> i64 {
        match self.between(0, 12) {
            0 => self.between(1, 20 * usual),
            _ => self.between(1, usual),
        }
    }
}
