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
    #[inline]
    pub fn int(self) -> Option<i64> {
        let short = self.count <= 18 && self.fraction == 0 && !self.exponent;
        let value = i64::try_from(self.digits).ok().filter(|_| short)?;
        Some(if self.negative { -value } else { value })
    }

    /// Its value, if one division of exact numbers gives it, which then is rounded once, as it must be. -0
    /// is 0.
    #[inline]
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

/// The high bit of each byte that is a quote, a backslash or a control character; above the lowest such byte
/// there may be more.
#[inline]
fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5c);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & (ONES * 0x80)
}

/// The first quote, backslash or control character.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let rest = bytes.get(at..)?;
        let Some(chunk) = rest.first_chunk::<8>() else {
            let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
            return Some(at + found);
        };
        let found = special(u64::from_le_bytes(*chunk));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
}

/// The string whose text begins at a place.
#[inline]
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
#[inline]
pub(super) fn literal(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    match rest.first_chunk::<4>()? {
        b"true" | b"null" => Some(at + 4),
        b"fals" if rest.get(4) == Some(&b'e') => Some(at + 5),
        _ => None,
    }
}

/// A place in a record, as far as it has been read.
pub(super) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    /// Whether there was white space.
    pub spaced: bool,
    max_depth: usize,
    /// The containers that are open in a value that is read over: whether each is an object.
    open: &'a mut Vec<bool>,
}

impl<'a> Cursor<'a> {
    /// The start of a record.
    pub fn new(bytes: &'a [u8], max_depth: usize, open: &'a mut Vec<bool>) -> Cursor<'a> {
        Cursor { bytes, at: 0, spaced: false, max_depth, open }
    }

    /// The byte that stands here.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Goes over white space.
    #[inline]
    pub fn space(&mut self) {
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.wide_space();
        }
    }

    #[inline(never)]
    fn wide_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
            self.spaced = true;
        }
    }

    /// Goes over white space and one byte, which must be this.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Goes into a container that is `depth` deep in others; true if something is in it.
    #[inline]
    pub fn enter(&mut self, depth: usize, close: u8) -> Option<bool> {
        if depth >= self.max_depth {
            return None;
        }
        self.at += 1;
        self.space();
        let is_empty = self.peek()? == close;
        self.at += usize::from(is_empty);
        Some(!is_empty)
    }

    /// Goes behind a value to the next one, or out of the container; true if there is a next one.
    #[inline]
    pub fn more(&mut self, close: u8) -> Option<bool> {
        self.space();
        let byte = self.peek()?;
        if byte == b',' {
            self.at += 1;
            self.space();
            return Some(true);
        }
        (byte == close).then(|| {
            self.at += 1;
            false
        })
    }

    /// Goes over a string that begins here; what stands between its quotes.
    #[inline]
    pub fn string(&mut self) -> Option<(std::ops::Range<usize>, bool)> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let text = string(self.bytes, start)?;
        self.at = text.end + 1;
        Some((start..text.end, text.escaped))
    }

    /// The same, or nothing if no string begins here.
    #[inline]
    pub fn text(&mut self) -> Option<Option<(std::ops::Range<usize>, bool)>> {
        if self.peek()? == b'"' { self.string().map(Some) } else { Some(None) }
    }

    /// Goes over a value that begins here and is `depth` deep in others.
    #[inline]
    pub fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' => self.nested(depth),
            _ => self.scalar(),
        }
    }

    #[inline]
    fn scalar(&mut self) -> Option<()> {
        self.at = match self.peek()? {
            b'"' => string(self.bytes, self.at + 1)?.end + 1,
            b'-' | b'0'..=b'9' => number(self.bytes, self.at)?.end,
            _ => literal(self.bytes, self.at)?,
        };
        Some(())
    }

    /// Goes over a member's name and the colon behind it.
    #[inline]
    fn name(&mut self) -> Option<()> {
        self.string()?;
        self.expect(b':')?;
        self.space();
        Some(())
    }

    /// Goes over an array or object: without recursion, so that no limit of depth is too deep for the stack.
    fn nested(&mut self, depth: usize) -> Option<()> {
        self.open.clear();
        loop {
            let byte = self.peek()?;
            let is_object = byte == b'{';
            if is_object || byte == b'[' {
                if self.enter(depth + self.open.len(), close(is_object))? {
                    self.open.push(is_object);
                    if is_object {
                        self.name()?;
                    }
                    continue;
                }
            } else {
                self.scalar()?;
            }
            loop {
                let Some(is_object) = self.open.last().copied() else { return Some(()) };
                if self.more(close(is_object))? {
                    if is_object {
                        self.name()?;
                    }
                    break;
                }
                self.open.pop();
            }
        }
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
        fn the_first_special_byte_is_found(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let first = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(plain_end(&bytes, 0), first);
        }
    }
}
