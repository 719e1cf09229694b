//! The JSON text of one value → what its field's type makes of it, or nothing. The text is known to be valid
//! JSON.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::event::Timestamp;
use crate::event::time::SECOND;
use crate::schema::{Normalize, TimeUnit};

/// A number without fraction and exponent that fits 64 bits; never by way of a float.
pub(super) fn int(raw: &str) -> Option<i64> {
    let whole = raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if whole { raw.parse().ok() } else { None }
}

/// Any number; none if it is beyond a double. -0 becomes 0.
pub(super) fn float(raw: &str) -> Option<f64> {
    if !is_number(raw) {
        return None;
    }
    raw.parse().ok().filter(|number: &f64| number.is_finite()).map(|number| number + 0.0)
}

/// `true` or `false`.
pub(super) fn bool(raw: &str) -> Option<bool> {
    raw.parse().ok()
}

/// The text of a string.
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// A text as the schema wants it.
pub(super) fn normalized<'t>(text: Cow<'t, str>, steps: &[Normalize]) -> Cow<'t, str> {
    steps.iter().fold(text, |text, step| match step {
        Normalize::Trim => match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        },
        Normalize::Upper if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_lowercase()) => text,
        Normalize::Upper => Cow::Owned(text.to_uppercase()),
        Normalize::Lower if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) => text,
        Normalize::Lower => Cow::Owned(text.to_lowercase()),
    })
}

/// An address in its one canonical form; an IPv4 address in IPv6 clothes is an IPv4 address.
pub(super) fn ip(raw: &str) -> Option<String> {
    let address: IpAddr = text(raw)?.parse().ok()?;
    let plain = match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    Some(plain.to_string())
}

/// A plausible instant.
pub(super) fn time(raw: &str, unit: TimeUnit) -> Option<Timestamp> {
    let time = match unit {
        TimeUnit::Seconds => seconds(raw)?,
        TimeUnit::Millis => int(raw)?.checked_mul(1000)?,
        TimeUnit::Micros => int(raw)?,
        TimeUnit::Nanos => int(raw)?.div_euclid(1000),
        TimeUnit::Rfc3339 => Timestamp::parse_rfc3339(&text(raw)?)?.0,
        TimeUnit::Text => Timestamp::parse_text(&text(raw)?)?.0,
    };
    Some(Timestamp(time)).filter(|time| time.is_plausible())
}

/// Microseconds of a number of seconds: exact, unless it is written with an exponent.
fn seconds(raw: &str) -> Option<i64> {
    if !is_number(raw) {
        return None;
    }
    if raw.contains(['e', 'E']) {
        let micros = (raw.parse::<f64>().ok()? * SECOND as f64).round();
        return (micros.abs() < Timestamp::LATEST.0 as f64).then_some(micros as i64);
    }
    let (whole, fraction) = raw.split_once('.').unwrap_or((raw, ""));
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    let micros = digits.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
    let whole = whole.parse::<i64>().ok()?.checked_mul(SECOND)?;
    whole.checked_add(if raw.starts_with('-') { -micros } else { micros })
}

/// The strings of an array of strings.
pub(super) fn texts(raw: &str) -> Option<Vec<Cow<'_, str>>> {
    if !raw.starts_with('[') {
        return None;
    }
    let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(raw).ok()?;
    items.into_iter().map(|item| text(item.get())).collect()
}

/// The same JSON without the white space between its parts; members stay in their order, numbers as they are
/// written.
pub(super) fn compact(raw: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut kept, mut in_string, mut escaped) = (0, false, false);
    for (at, byte) in raw.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push_str(raw.get(kept..at).unwrap_or_default());
            kept = at + 1;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(raw);
    }
    out.push_str(raw.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact() {
        assert_eq!(int("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(int("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(int("9223372036854775807"), Some(i64::MAX));
        assert_eq!(int("-0"), Some(0));
        for no in ["9223372036854775808", "1.0", "1e3", "1E3", "\"1\"", "true", "null", "[1]"] {
            assert_eq!(int(no), None, "{no}");
        }
    }

    #[test]
    fn floats_are_finite_and_never_minus_zero() {
        assert_eq!(float("1e3"), Some(1000.0));
        assert_eq!(float("-0.0").unwrap().to_bits(), 0.0f64.to_bits());
        assert_eq!(float("-0").unwrap().to_bits(), 0.0f64.to_bits());
        assert_eq!(float("-1e-400").unwrap().to_bits(), 0.0f64.to_bits());
        for no in ["1e999", "-1e999", "\"1\"", "null", "true", "\"NaN\""] {
            assert_eq!(float(no), None, "{no}");
        }
    }

    #[test]
    fn times_are_read_by_unit() {
        let at = |raw, unit| time(raw, unit).map(|time| time.0);
        assert_eq!(at("1732443138", TimeUnit::Seconds), Some(1_732_443_138_000_000));
        assert_eq!(at("1732443138.204", TimeUnit::Seconds), Some(1_732_443_138_204_000));
        assert_eq!(at("1732443138.2040009", TimeUnit::Seconds), Some(1_732_443_138_204_000));
        assert_eq!(at("1.732443138204e9", TimeUnit::Seconds), Some(1_732_443_138_204_000));
        assert_eq!(at("1732443138204", TimeUnit::Millis), Some(1_732_443_138_204_000));
        assert_eq!(at("1732443138204001", TimeUnit::Micros), Some(1_732_443_138_204_001));
        assert_eq!(at("1732443138204001999", TimeUnit::Nanos), Some(1_732_443_138_204_001));
        assert_eq!(at("\"2024-11-24T10:12:18.204Z\"", TimeUnit::Rfc3339), Some(1_732_443_138_204_000));
        assert_eq!(at("0", TimeUnit::Millis), Some(0));
        assert_eq!(at("-0.0", TimeUnit::Seconds), Some(0));
    }

    #[test]
    fn implausible_and_mistyped_times_are_none() {
        let cases = [
            ("-1", TimeUnit::Millis),
            ("-0.000001", TimeUnit::Seconds),
            ("7258118400", TimeUnit::Seconds),
            ("7258118400000", TimeUnit::Millis),
            ("9223372036854775807", TimeUnit::Seconds),
            ("9223372036854775807", TimeUnit::Millis),
            ("99999999999999999999", TimeUnit::Nanos),
            ("1e999", TimeUnit::Seconds),
            ("1e300", TimeUnit::Seconds),
            ("1732443138204.5", TimeUnit::Millis),
            ("1.7e12", TimeUnit::Millis),
            ("\"1732443138204\"", TimeUnit::Millis),
            ("1732443138", TimeUnit::Rfc3339),
            ("\"yesterday\"", TimeUnit::Rfc3339),
            ("true", TimeUnit::Seconds),
            ("[1]", TimeUnit::Seconds),
        ];
        for (raw, unit) in cases {
            assert_eq!(time(raw, unit), None, "{raw} {unit:?}");
        }
    }

    #[test]
    fn an_address_has_one_form() {
        let cases = [
            ("\"10.0.0.1\"", "10.0.0.1"),
            ("\"::ffff:10.0.0.1\"", "10.0.0.1"),
            ("\"2001:DB8:0:0::1\"", "2001:db8::1"),
            ("\"2001:db8\\u003a:1\"", "2001:db8::1"),
        ];
        for (raw, shown) in cases {
            assert_eq!(ip(raw).as_deref(), Some(shown), "{raw}");
        }
        for no in [
            "\"10.0.0.01\"",
            "\"10.0.0.1:80\"",
            "\"fe80::1%eth0\"",
            "\"cloudtrail.amazonaws.com\"",
            "\" 10.0.0.1\"",
            "7",
        ] {
            assert_eq!(ip(no), None, "{no}");
        }
    }

    #[test]
    fn texts_are_unescaped_and_normalized() {
        assert_eq!(text(r#""a\u00e9\n\ud83d\ude00""#).unwrap(), "aé\n😀");
        assert_eq!(text("\"\"").unwrap(), "");
        assert_eq!(text("1"), None);
        let upper = [Normalize::Trim, Normalize::Upper];
        assert_eq!(normalized(text("\" wdb1ß \"").unwrap(), &upper), "WDB1SS");
        assert!(matches!(normalized(Cow::Borrowed("WDB1"), &upper), Cow::Borrowed("WDB1")));
        assert_eq!(normalized(Cow::Borrowed("On"), &[Normalize::Lower]), "on");
    }

    #[test]
    fn a_list_is_all_strings_or_nothing() {
        assert_eq!(texts(r#"[ "a" , "\u0062" ]"#).unwrap(), ["a", "b"]);
        assert_eq!(texts("[]").unwrap().len(), 0);
        for no in [r#"["a",1]"#, r#"["a",null]"#, r#"[["a"]]"#, r#""a""#, "{}"] {
            assert_eq!(texts(no), None, "{no}");
        }
    }

    #[test]
    fn json_loses_only_the_space_between_its_parts() {
        let raw = "{ \"b\" : [ 1e999 , -0 ,\n\t\" a \\\" b \\\\\" ] , \"a\" : { } }";
        assert_eq!(compact(raw), r#"{"b":[1e999,-0," a \" b \\"],"a":{}}"#);
        assert!(matches!(compact("{\"a\":1}"), Cow::Borrowed(_)));
    }
}
