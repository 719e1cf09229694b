//! Times as other programs write them: everything that is neither a plain number nor RFC 3339.

use super::time::{SECOND, Timestamp};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

impl Timestamp {
    /// Reads the text of a time: RFC 3339; the same without a zone (then UTC), with a comma before the
    /// fraction or an offset without a colon; an HTTP date (`Mon, 21 Nov 2022 18:12:16 GMT`); the date of a web
    /// server's log (`21/Nov/2022:18:12:16 +0100`); a number of s, ms, us or ns, told apart by its size (a
    /// time between 2000 and 2100).
    pub fn parse_text(text: &str) -> Option<Timestamp> {
        let text = text.trim();
        if text.len() > 48 || !text.is_ascii() {
            return None;
        }
        Timestamp::parse_rfc3339(text)
            .or_else(|| number(text))
            .or_else(|| iso(text))
            .or_else(|| named_month(text))
    }
}

/// A number in the unit in which it lies between 2000 and 2100.
fn number(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 19 || fraction.len() > 9 || !is_digits(whole) || !is_digits(fraction)
    {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let micros = format!("{fraction:0<6}").get(..6)?.parse::<i64>().ok()?;
    let unit = [1, 1000, 1_000_000, 1_000_000_000]
        .into_iter()
        .find(|unit| (946_684_800..4_102_444_800).contains(&(whole / unit)))?;
    Some(Timestamp(match unit {
        1 => whole * SECOND + micros,
        1000 => whole * 1000 + micros / 1000,
        1_000_000 => whole,
        _ => whole / 1000,
    }))
}

/// A date and a time of day with anything that may follow.
fn iso(text: &str) -> Option<Timestamp> {
    let (clock, zone) = text.split_at_checked(19)?;
    let (fraction, zone) = match zone.strip_prefix(['.', ',']) {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("", zone),
    };
    let fraction = if fraction.is_empty() {
        String::new()
    } else {
        format!(".{}", fraction.get(..9).unwrap_or(fraction))
    };
    Timestamp::parse_rfc3339(&format!("{clock}{fraction}{}", zone_of(zone)?))
}

/// A zone as RFC 3339 writes it; none at all is UTC.
fn zone_of(text: &str) -> Option<String> {
    let text = text.trim();
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    match text.split_at_checked(1) {
        None => Some("Z".to_owned()),
        Some(("+" | "-", digits)) if is_digits(digits) && digits.len() == 4 => {
            Some(format!("{}:{}", text.get(..3)?, text.get(3..)?))
        }
        Some(("+" | "-", digits)) if is_digits(digits) && digits.len() == 2 => Some(format!("{text}:00")),
        _ if ["UTC", "GMT", "UT", "Z"].contains(&text.to_ascii_uppercase().as_str()) => Some("Z".to_owned()),
        _ => Some(text.to_owned()),
    }
}

/// A date whose month has a name.
fn named_month(text: &str) -> Option<Timestamp> {
    let text = text.split_once(", ").map_or(text, |(_, rest)| rest);
    let words: Vec<&str> = text.splitn(4, [' ', '/', '-']).collect();
    let [day, month, year, rest] = match words.as_slice() {
        [day, month, rest] => {
            let (year, rest) = rest.split_once(':')?;
            [*day, *month, year, rest]
        }
        [day, month, year, rest] => [*day, *month, *year, *rest],
        _ => return None,
    };
    let (year, rest) =
        year.split_once(':').map_or((year, rest.to_owned()), |(year, hour)| (year, format!("{hour} {rest}")));
    let month = MONTHS.iter().position(|name| month.to_ascii_lowercase().starts_with(name))? + 1;
    let day: u32 = day.parse().ok()?;
    let (clock, zone) = rest.split_at_checked(8)?;
    Timestamp::parse_rfc3339(&format!("{year:0>4}-{month:02}-{day:02}T{clock}{}", zone_of(zone)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_the_forms_that_logs_have() {
        let at = "2022-11-21T18:12:16.000Z";
        for text in [
            "2022-11-21T18:12:16Z",
            "2022-11-21T18:12:16",
            "2022-11-21 18:12:16",
            "2022-11-21 18:12:16,000",
            "2022-11-21T18:12:16.000000000000",
            "2022-11-21 18:12:16 UTC",
            "2022-11-21T20:12:16+0200",
            "2022-11-21T20:12:16+02",
            "Mon, 21 Nov 2022 18:12:16 GMT",
            "Mon, 21 Nov 2022 19:12:16 +0100",
            "21/Nov/2022:19:12:16 +0100",
            "21 November 2022 18:12:16",
            "1669054336",
            "1669054336000",
            "1669054336000000",
            "1669054336000000000",
            "1669054336.000",
            " 1669054336 ",
        ] {
            assert_eq!(Timestamp::parse_text(text).map(Timestamp::rfc3339).as_deref(), Some(at), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "5",
            "12.5",
            "2022",
            "20221121",
            "2022-11-21",
            "18:12:16",
            "yesterday",
            "1.2.3.4",
            "2022-13-21 18:12:16",
            "99999999999999999999",
            "Mon, 41 Nov 2022 18:12:16 GMT",
            "01/02/2022:18:12:16 +0000",
            "-1669054336",
            "2022-11-21T18:12:16 Europe/Berlin",
            "2022-11-21T18:12:16ä",
        ] {
            assert_eq!(Timestamp::parse_text(text), None, "{text}");
        }
    }
}
