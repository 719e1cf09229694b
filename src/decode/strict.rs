//! What makes a record no record: the checks that `serde_json` does not make in values that it skips, and the
//! place of the first fault.
//!
//! A record that is not JSON within the limits is rejected for that, whatever else is wrong with it; of such
//! faults the first one counts.

use serde::de::IgnoredAny;

use crate::event::RejectReason;

/// Why a record is rejected, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub reason: RejectReason,
    /// The byte in the payload.
    pub at: usize,
    pub detail: String,
}

impl Fault {
    pub fn new(reason: RejectReason, at: usize, detail: impl Into<String>) -> Fault {
        Fault { reason, at, detail: detail.into() }
    }
}

/// Whether a payload has the size and the encoding of a record.
pub(super) fn text(payload: &[u8], max_bytes: usize) -> Result<&str, Fault> {
    if payload.len() > max_bytes {
        let detail = format!("{} bytes, limit {max_bytes}", payload.len());
        return Err(Fault::new(RejectReason::TooLarge, max_bytes, detail));
    }
    std::str::from_utf8(payload)
        .map_err(|error| Fault::new(RejectReason::Utf8, error.valid_up_to(), "not UTF-8"))
}

/// Nesting beyond the limit, and surrogates that are not pairs, in a text that otherwise may be anything.
pub(super) fn check(text: &str, max_depth: usize) -> Result<(), Fault> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at + 1)?,
            b'{' | b'[' if depth >= max_depth => {
                return Err(Fault::new(RejectReason::TooDeep, at, format!("nested deeper than {max_depth}")));
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The place of the quote that ends a string, or the end of the text.
fn string_end(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Ok(at),
            b'\\' => {
                at += match unit(bytes, at) {
                    None => 2,
                    Some(0xD800..=0xDBFF) if matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => 12,
                    Some(0xD800..=0xDFFF) => {
                        return Err(Fault::new(RejectReason::Syntax, at, "lone surrogate in a string"));
                    }
                    Some(_) => 6,
                }
            }
            _ => at += 1,
        }
    }
    Ok(at)
}

/// The UTF-16 code unit of `\uXXXX` at a place; none if there is no such escape.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(br"\u")?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// The fault for which a record is rejected in which `found` was found: the first one that makes it no JSON,
/// if there is one.
pub(super) fn first_fault(text: &str, max_depth: usize, found: Option<Fault>) -> Fault {
    let syntax = serde_json::from_str::<IgnoredAny>(text).err().map(|error| {
        let shown = error.to_string();
        let detail = shown.split(" at line ").next().unwrap_or_default();
        Fault::new(RejectReason::Syntax, error_at(text, &error), detail)
    });
    let strict = check(text, max_depth).err();
    match (syntax, strict) {
        (Some(syntax), Some(strict)) => {
            if syntax.at < strict.at {
                syntax
            } else {
                strict
            }
        }
        (Some(fault), None) | (None, Some(fault)) => fault,
        (None, None) => found.unwrap_or_else(|| Fault::new(RejectReason::Shape, 0, "no event")),
    }
}

/// The byte at which `serde_json` stopped.
pub(super) fn error_at(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split('\n').take(error.line().saturating_sub(1));
    let start: usize = lines.map(|line| line.len() + 1).sum();
    (start + error.column().saturating_sub(1)).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_open_arrays_and_objects_outside_strings() {
        assert_eq!(check(r#"{"a":[{"b":"[[[[[["}],"c":[[]]}"#, 3), Ok(()));
        assert_eq!(check(r#"{"a":[{"b":[]}]}"#, 3).unwrap_err().at, 11);
        assert_eq!(check(&"[]".repeat(1000), 1), Ok(()));
    }

    #[test]
    fn surrogates_come_in_pairs() {
        for good in
            [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\uD834\uDd1e""#, r#""\u00e9""#, r#""a\"\u0041""#]
        {
            assert_eq!(check(good, 1), Ok(()), "{good}");
        }
        for bad in
            [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\ud83d\ude00""#, r#""\ud83d\n""#, r#""\ud83dx\ude00""#]
        {
            assert_eq!(check(bad, 1).unwrap_err().at, 1, "{bad}");
        }
    }

    #[test]
    fn of_faults_of_form_the_first_one_counts() {
        let fault = |text| first_fault(text, 2, None);
        assert_eq!(fault("[[[ oops").reason, RejectReason::TooDeep);
        assert_eq!((fault("[oops [[[").reason, fault("[oops [[[").at), (RejectReason::Syntax, 1));
        assert_eq!(fault("{\"a\":1,\n\"b\":tru}").at, 15);
        let doubled = Fault::new(RejectReason::DoubledKey, 3, "x");
        assert_eq!(first_fault("{} x", 2, Some(doubled.clone())).reason, RejectReason::Syntax);
        assert_eq!(first_fault("{}", 2, Some(doubled.clone())), doubled);
    }
}
