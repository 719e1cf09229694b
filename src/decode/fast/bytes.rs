//! JSON by RFC 8259, byte by byte: where a string, a number, a literal or any value ends. None = not JSON, or
//! nested too deep: who wants to know asks the slow reading.

/// Powers of ten that a double holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// A string: where its text ends, which is where its last quote stands, and whether it has escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub end: usize,
    pub escaped: bool,
}

/// A number, and what could be read of it on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// The byte behind it.
    pub end: usize,
    negative: bool,
    /// All its digits as one number; wrong beyond nineteen of them.
    digits: u64,
    count: usize,
    /// How many of them are behind the point.
    fraction: usize,
    exponent: bool,
}

impl Number {
    /// Its value, if it has neither fraction nor exponent and is short.
    #[inline(always)]
    pub fn int(self) -> Option<i64> {
        let short = self.count <= 18 && self.fraction == 0 && !self.exponent;
        let value = i64::try_from(self.digits).ok().filter(|_| short)?;
        Some(if self.negative { -value } else { value })
    }

    /// Its value, if one division of exact numbers gives it, which then is rounded once, as it must be. -0
    /// is 0.
    #[inline(always)]
    pub fn float(self) -> Option<f64> {
        if self.count > 19 || self.digits > 1 << 53 || self.exponent {
            return None;
        }
        let value = self.digits as f64 / TENS.get(self.fraction)?;
        Some(if self.negative { -value } else { value } + 0.0)
    }
}

/// What up to seven more digits multiply a number by.
const SCALES: [u64; 8] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];

const ONES: u64 = 0x0101_0101_0101_0101;
const WIDE_ONES: u128 = (ONES as u128) << 64 | ONES as u128;

/// The high bit of each byte that is a quote, a backslash or a control character; above the lowest such byte
/// there may be more.
#[inline(always)]
fn special(word: u128) -> u128 {
    let quote = word ^ (WIDE_ONES * 0x22);
    let backslash = word ^ (WIDE_ONES * 0x5c);
    let quote = quote.wrapping_sub(WIDE_ONES) & !quote;
    let backslash = backslash.wrapping_sub(WIDE_ONES) & !backslash;
    let control = word.wrapping_sub(WIDE_ONES * 0x20) & !word;
    (quote | backslash | control) & (WIDE_ONES * 0x80)
}

/// The first quote, backslash or control character.
#[inline(always)]
fn plain_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let rest = bytes.get(at..)?;
        let Some(chunk) = rest.first_chunk::<16>() else {
            let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
            return Some(at + found);
        };
        let found = special(u128::from_le_bytes(*chunk));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 16;
    }
}

/// The string whose text begins at a place.
#[inline(always)]
pub(super) fn string(bytes: &[u8], at: usize) -> Option<Text> {
    let end = plain_end(bytes, at)?;
    match bytes.get(end)? {
        b'"' => Some(Text { end, escaped: false }),
        b'\\' => escaped(bytes, end),
        _ => None,
    }
}

/// The same from its first backslash on.
#[inline(never)]
fn escaped(bytes: &[u8], mut at: usize) -> Option<Text> {
    loop {
        at = plain_end(bytes, at)?;
        match bytes.get(at)? {
            b'"' => return Some(Text { end: at, escaped: true }),
            b'\\' => at = escape(bytes, at)?,
            _ => return None,
        }
    }
}

/// The byte behind an escape; surrogates come in pairs.
fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => match unit(bytes, at)? {
            0xD800..=0xDBFF => matches!(unit(bytes, at + 6)?, 0xDC00..=0xDFFF).then_some(at + 12),
            0xDC00..=0xDFFF => None,
            _ => Some(at + 6),
        },
        _ => None,
    }
}

/// The UTF-16 code unit of `\uXXXX` at a place.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(br"\u")?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// The number that begins at a place.
#[inline(always)]
pub(super) fn number(bytes: &[u8], start: usize) -> Option<Number> {
    match short_number(bytes, start) {
        Some(number) => Some(number),
        None => any_number(bytes, start),
    }
}

/// A number without exponent, sign aside in fewer than eight bytes, read from one word; none if it is another
/// one, or not one at all.
#[inline(always)]
fn short_number(bytes: &[u8], start: usize) -> Option<Number> {
    let negative = *bytes.get(start)? == b'-';
    let first = start + usize::from(negative);
    let word = u64::from_le_bytes(*bytes.get(first..)?.first_chunk::<8>()?);
    let digits = word ^ (ONES * 0x30);
    // The high bit of each byte that is no digit, and of each that is a point.
    let others = (((digits & (ONES * 0x7f)) + ONES * 0x76) | digits) & (ONES * 0x80);
    let points = word ^ (ONES * 0x2e);
    let points = points.wrapping_sub(ONES) & !points & (ONES * 0x80);
    let last = others & !points;
    if last == 0 {
        return None;
    }
    let end_bit = last.trailing_zeros() & 0x38;
    let length = (end_bit / 8) as usize;
    // Below the byte behind the number, and below the point: all, if there is none.
    let inside = (1 << end_bit) - 1;
    let point = points & inside;
    let whole = (point >> 7).wrapping_sub(1);
    let whole_bits = (point | last).trailing_zeros() & 0x38;
    let zero_first = word as u8 == b'0' && whole_bits != 8;
    let exponent = matches!((word >> end_bit) as u8 | 0x20, b'e');
    let fraction = (end_bit - whole_bits) / 8;
    // A point is one byte of what is behind the whole part; at least one digit comes after it.
    if length == 0
        || point & point.wrapping_sub(1) != 0
        || whole_bits == 0
        || fraction == 1
        || zero_first
        || exponent
    {
        return None;
    }
    let count = length - usize::from(point != 0);
    let squeezed = (digits & whole) | ((digits >> 8) & !whole);
    let digits = eight(squeezed << (64 - 8 * count as u32));
    let fraction = (fraction as usize).saturating_sub(1);
    Some(Number { end: first + length, negative, digits, count, fraction, exponent: false })
}

/// Any number.
#[inline(never)]
fn any_number(bytes: &[u8], start: usize) -> Option<Number> {
    let negative = bytes.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let (mut digits, mut end) = run(bytes, first, 0);
    let mut count = end - first;
    if count == 0 || (count > 1 && bytes.get(first) == Some(&b'0')) {
        return None;
    }
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        let point = end + 1;
        (digits, end) = run(bytes, point, digits);
        fraction = end - point;
        count += fraction;
        if fraction == 0 {
            return None;
        }
    }
    let exponent = matches!(bytes.get(end), Some(b'e' | b'E'));
    if exponent {
        let sign = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        let first = end + 1 + usize::from(sign);
        (_, end) = run(bytes, first, 0);
        if end == first {
            return None;
        }
    }
    Some(Number { end, negative, digits, count, fraction, exponent })
}

/// Reads digits; the byte behind them. Eight at once, because how many there are is hard to foresee.
#[inline(always)]
fn run(bytes: &[u8], mut at: usize, mut digits: u64) -> (u64, usize) {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk) ^ (ONES * 0x30);
        let others = (((word & (ONES * 0x7f)) + ONES * 0x76) | word) & (ONES * 0x80);
        if others == 0 {
            digits = digits.wrapping_mul(100_000_000).wrapping_add(eight(word));
            at += 8;
            continue;
        }
        let count = (others.trailing_zeros() / 8) as usize;
        // Zeros in front change nothing. Shifted twice, for a shift by all bits is none.
        let value = eight(word << (56 - 8 * count) << 8);
        let scale = SCALES.get(count).copied().unwrap_or(1);
        return (digits.wrapping_mul(scale).wrapping_add(value), at + count);
    }
    while let Some(byte) = bytes.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (digits, at)
}

/// The number that eight digits are, the first in the lowest byte: pairs, then fours, then all (Lemire,
/// "Quickly parsing eight digits").
#[inline(always)]
fn eight(word: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8);
    let high = (pairs & PAIRS).wrapping_mul(0x000f_4240_0000_0064);
    let low = ((pairs >> 16) & PAIRS).wrapping_mul(0x0000_2710_0000_0001);
    high.wrapping_add(low) >> 32
}

/// The byte behind a literal, if it stands at a place.
#[inline(always)]
pub(super) fn literal(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    match rest.first_chunk::<4>()? {
        b"true" | b"null" => Some(at + 4),
        b"fals" if rest.get(4) == Some(&b'e') => Some(at + 5),
        _ => None,
    }
}

/// Whether a text is an IPv4 address in its canonical form.
#[inline]
pub(super) fn is_ipv4(text: &[u8]) -> bool {
    let (mut part, mut digits, mut points) = (0, 0, 0);
    for byte in text {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        if digit <= 9 {
            if digits > 0 && part == 0 {
                return false;
            }
            part = part * 10 + digit;
            digits += 1;
            if part > 255 {
                return false;
            }
        } else {
            if *byte != b'.' || digits == 0 {
                return false;
            }
            points += 1;
            (part, digits) = (0, 0);
        }
    }
    points == 3 && digits > 0
}

/// The bytes of a record. Whoever reads keeps the place where it is: what goes over something takes the place
/// where that begins, and gives the place behind it.
pub(super) struct Input<'a> {
    pub bytes: &'a [u8],
    /// Whether there was white space.
    pub spaced: bool,
    max_depth: usize,
    /// The containers that are open in a value that is read over: whether each is an object.
    open: &'a mut Vec<bool>,
}

impl<'a> Input<'a> {
    /// A record's bytes.
    pub fn new(bytes: &'a [u8], max_depth: usize, open: &'a mut Vec<bool>) -> Input<'a> {
        Input { bytes, spaced: false, max_depth, open }
    }

    /// Goes over white space.
    #[inline(always)]
    pub fn space(&mut self, at: usize) -> usize {
        if self.bytes.get(at).is_some_and(|byte| *byte <= b' ') { self.wide_space(at) } else { at }
    }

    #[inline(never)]
    fn wide_space(&mut self, mut at: usize) -> usize {
        while matches!(self.bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
            self.spaced = true;
        }
        at
    }

    /// Goes into a container that is `depth` deep in others; whether something is in it.
    #[inline(always)]
    pub fn enter(&mut self, at: usize, depth: usize, close: u8) -> Option<(usize, bool)> {
        if depth >= self.max_depth {
            return None;
        }
        let at = self.space(at + 1);
        let is_empty = *self.bytes.get(at)? == close;
        Some((at + usize::from(is_empty), !is_empty))
    }

    /// Goes behind a value to the next one, or out of the container; whether there is a next one.
    #[inline(always)]
    pub fn more(&mut self, at: usize, close: u8) -> Option<(usize, bool)> {
        let at = self.space(at);
        match *self.bytes.get(at)? {
            b',' => Some((self.space(at + 1), true)),
            byte => (byte == close).then_some((at + 1, false)),
        }
    }

    /// Goes over a string.
    #[inline(always)]
    pub fn string(&self, at: usize) -> Option<Text> {
        if *self.bytes.get(at)? == b'"' { string(self.bytes, at + 1) } else { None }
    }

    /// Goes over the colon behind a name.
    #[inline(always)]
    pub fn colon(&mut self, at: usize) -> Option<usize> {
        let at = self.space(at);
        if *self.bytes.get(at)? == b':' { Some(self.space(at + 1)) } else { None }
    }

    /// Goes over a value that is `depth` deep in others.
    #[inline(always)]
    pub fn skip(&mut self, at: usize, depth: usize) -> Option<usize> {
        match *self.bytes.get(at)? {
            b'"' => Some(string(self.bytes, at + 1)?.end + 1),
            b'-' | b'0'..=b'9' => Some(number(self.bytes, at)?.end),
            b'{' | b'[' => self.nested(at, depth),
            _ => literal(self.bytes, at),
        }
    }

    /// Goes over an array or object: without recursion, so that no limit of depth is too deep for the stack.
    #[inline(never)]
    fn nested(&mut self, mut at: usize, depth: usize) -> Option<usize> {
        self.open.clear();
        loop {
            let byte = *self.bytes.get(at)?;
            let is_object = byte == b'{';
            if is_object || byte == b'[' {
                let more;
                (at, more) = self.enter(at, depth + self.open.len(), close(is_object))?;
                if more {
                    self.open.push(is_object);
                    if is_object {
                        at = self.name(at)?;
                    }
                    continue;
                }
            } else {
                at = match byte {
                    b'"' => string(self.bytes, at + 1)?.end + 1,
                    b'-' | b'0'..=b'9' => number(self.bytes, at)?.end,
                    _ => literal(self.bytes, at)?,
                };
            }
            loop {
                let Some(is_object) = self.open.last().copied() else { return Some(at) };
                let more;
                (at, more) = self.more(at, close(is_object))?;
                if more {
                    if is_object {
                        at = self.name(at)?;
                    }
                    break;
                }
                self.open.pop();
            }
        }
    }

    /// Goes over a member's name and the colon behind it.
    #[inline(always)]
    fn name(&mut self, at: usize) -> Option<usize> {
        let name = self.string(at)?;
        self.colon(name.end + 1)
    }
}

fn close(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_follow_the_grammar() {
        for good in ["0", "-0", "10", "1.5", "-0.25e+10", "1E-3", "123456789012345678901234567890"] {
            assert_eq!(number(good.as_bytes(), 0).unwrap().end, good.len(), "{good}");
        }
        for bad in ["", "-", "01", "-01", "1.", ".5", "1e", "1e+", "+1"] {
            assert_eq!(number(bad.as_bytes(), 0), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn short_numbers_are_what_the_library_makes_of_them(
            text in "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?",
        ) {
            let number = number(text.as_bytes(), 0).unwrap();
            prop_assert_eq!(number.end, text.len());
            if let Some(float) = number.float() {
                prop_assert_eq!(float.to_bits(), (text.parse::<f64>().unwrap() + 0.0).to_bits());
            }
            if let Some(int) = number.int() {
                prop_assert_eq!(Ok(int), text.parse());
            }
        }

        #[test]
        fn digits_are_read_wherever_they_end(text in "[0-9]{0,19}([/:.eE, ]|\\PC){0,9}") {
            let count = text.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, end) = run(text.as_bytes(), 0, 0);
            prop_assert_eq!(end, count);
            // More than 19 digits wrap: whoever asks for the value looks at how many there are.
            if count <= 19 {
                prop_assert_eq!(digits, text[..count].parse().unwrap_or(0));
            }
        }

        #[test]
        fn addresses_are_those_of_the_library(
            near in "(0|[1-9][0-9]{0,2}|0[0-9])([.:](0|[1-9][0-9]{0,2})){2,4}\\.?", any in "\\PC{0,16}",
        ) {
            for text in [near, any] {
                let said = text.parse::<std::net::Ipv4Addr>().is_ok();
                prop_assert_eq!(is_ipv4(text.as_bytes()), said, "{}", text);
            }
        }

        #[test]
        fn the_first_special_byte_is_found(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let first = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(plain_end(&bytes, 0), first);
        }
    }
}
