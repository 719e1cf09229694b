//! What a rule counts by: typed values, and a 128-bit hash of them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use siphasher::sip128::{Hasher128, SipHasher24};

use super::Value;

/// A hash of typed, length-prefixed values; the values themselves lie beside the state. 128 bits of
/// SipHash-2-4 under a constant of the format, so that a key is the same in every process, replay and
/// checkpoint. The maps that hold keys salt them once more per process, so that nobody outside can aim at
/// their buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u128);

/// Feeds typed values into a [`Key`], or any other 128-bit name that must never change.
pub struct KeyHasher(SipHasher24);

impl Default for KeyHasher {
    fn default() -> Self {
        KeyHasher(SipHasher24::new_with_keys(0x666c_6565_7477_6172, 0x6465_6e2d_6b65_7931))
    }
}

impl KeyHasher {
    /// NULL, which is a key value of its own.
    pub fn null(&mut self) {
        self.0.write_u8(0);
    }

    /// A bool.
    pub fn bool(&mut self, value: bool) {
        self.0.write_u8(1);
        self.0.write_u8(u8::from(value));
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        self.0.write_u8(2);
        self.0.write_u64(value as u64);
    }

    /// A text: its length goes first, so that ("a", "bc") and ("ab", "c") differ.
    pub fn text(&mut self, value: &str) {
        self.bytes(3, value.as_bytes());
    }

    /// A float by its bits (never a key; distinct values may be floats).
    pub fn float(&mut self, value: f64) {
        self.0.write_u8(4);
        self.0.write_u64((value + 0.0).to_bits());
    }

    /// An instant.
    pub fn time(&mut self, value: i64) {
        self.0.write_u8(5);
        self.0.write_u64(value as u64);
    }

    /// Any value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(b) => self.bool(*b),
            Value::Int(i) => self.int(*i),
            Value::Float(x) => self.float(*x),
            Value::Text(t) => self.text(t),
            Value::Time(t) => self.time(t.0),
            Value::List(items) => {
                self.bytes(6, &(items.len() as u64).to_le_bytes());
                items.iter().for_each(|v| self.value(v));
            }
        }
    }

    /// Tagged, length-prefixed bytes.
    pub fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.0.write_u8(tag);
        self.0.write_u64(bytes.len() as u64);
        self.0.write(bytes);
    }

    /// The hash of all that was fed.
    pub fn finish(&self) -> u128 {
        self.0.finish128().as_u128()
    }
}

impl Key {
    /// The key of these values.
    pub fn of(values: &[Value]) -> Key {
        let mut hasher = KeyHasher::default();
        values.iter().for_each(|v| hasher.value(v));
        Key(hasher.finish())
    }
}

/// Two numbers of this process alone: nobody outside can aim at a map's buckets.
static SALT: LazyLock<(u64, u64)> = LazyLock::new(|| {
    let state = RandomState::new();
    (state.hash_one(0u64) | 1, state.hash_one(1u64))
});

/// The hash by which maps find a 128-bit hash: salted anew in every process, so never a part of any output.
#[inline]
pub fn spread(hash: u128) -> u64 {
    let (one, two) = *SALT;
    let (high, low) = ((hash >> 64) as u64, hash as u64);
    let product = u128::from(low ^ one).wrapping_mul(u128::from(high ^ two) | 1);
    (product >> 64) as u64 ^ product as u64
}

/// Makes [`spread`] the hasher of maps by 128-bit hashes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread(u64);

impl BuildHasher for Spread {
    type Hasher = Spread;

    fn build_hasher(&self) -> Spread {
        Spread(0)
    }
}

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = spread(u128::from(self.0) << 64 | u128::from(*byte));
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = spread(hash);
    }
}

/// Bytes of one text of a key that are remembered at most: whoever writes records writes keys, and a limit on their
/// number alone bounds no memory.
const REMEMBERED: usize = 1024;

/// Cuts long texts among the values of a key, and puts behind each the hash of the whole, so that two that begin
/// alike stay two; whether anything was cut. The key's own hash is that of the whole values.
pub fn shorten(values: &mut [Value]) -> bool {
    let mut cut = false;
    for value in values {
        let Value::Text(text) = value else { continue };
        if text.len() > REMEMBERED {
            let end = (0..=REMEMBERED).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            let whole = Key::of(std::slice::from_ref(&Value::Text(text.clone()))).0;
            *value = Value::text(format!("{}…{whole:032x}", text.get(..end).unwrap_or_default()));
            cut = true;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_typed_and_length_prefixed() {
        let t = |s: &str| Value::text(s);
        assert_ne!(Key::of(&[t("a"), t("bc")]), Key::of(&[t("ab"), t("c")]));
        assert_ne!(Key::of(&[Value::Int(1)]), Key::of(&[t("1")]));
        assert_ne!(Key::of(&[Value::Null]), Key::of(&[t("")]));
        assert_ne!(Key::of(&[]), Key::of(&[Value::Null]));
        assert_eq!(Key::of(&[Value::Float(-0.0)]), Key::of(&[Value::Float(0.0)]));
    }

    /// The format of ids and checkpoints: if this changes, every alert id changes.
    #[test]
    fn the_hash_is_part_of_the_format() {
        let key = Key::of(&[Value::text("V1"), Value::Int(39)]);
        let bytes = b"\x03\x02\0\0\0\0\0\0\0V1\x02\x27\0\0\0\0\0\0\0";
        let hasher = SipHasher24::new_with_keys(0x666c_6565_7477_6172, 0x6465_6e2d_6b65_7931);
        assert_eq!(key.0, hasher.hash(bytes).as_u128());
    }

    #[test]
    fn long_texts_of_a_key_are_cut_and_stay_apart() {
        let long = |end: &str| Value::text(format!("{}{end}", "é".repeat(600)));
        let mut values = [Value::Int(7), long("a"), long("b"), Value::text("short")];
        assert!(shorten(&mut values));
        assert_ne!(values[1], values[2]);
        assert_eq!((&values[0], &values[3]), (&Value::Int(7), &Value::text("short")));
        let Value::Text(text) = &values[1] else { panic!("{values:?}") };
        assert!(text.len() <= REMEMBERED + 3 + 32, "{}", text.len());
        assert!(!shorten(&mut [Value::text("x".repeat(REMEMBERED)), Value::Null]));
    }
}
