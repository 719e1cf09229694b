//! What a text looks like, and what a name says: rules of thumb, each of them one question.

use std::net::IpAddr;

use crate::event::Timestamp;

/// What a text can be told to be; the first that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An RFC 3339 time.
    Rfc3339,
    /// A time in another form that a schema reads.
    OtherTime,
    /// An IP address.
    Ip,
    /// A vehicle identification number.
    Vin,
    /// An e-mail address.
    Email,
    /// A whole or decimal number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A token, a password header, a private key.
    Secret,
    /// Anything else.
    Other,
}

impl Shape {
    /// How many there are.
    pub const COUNT: usize = 9;
}

/// What a text looks like.
pub fn shape(text: &str) -> Shape {
    if text.len() > 4096 {
        return if is_secret(text) { Shape::Secret } else { Shape::Other };
    }
    type Test = (Shape, fn(&str) -> bool);
    let tests: [Test; 8] = [
        (Shape::Rfc3339, |text| Timestamp::parse_rfc3339(text).is_some()),
        (Shape::OtherTime, |text| Timestamp::parse_text(text).is_some()),
        (Shape::Ip, |text| text.parse::<IpAddr>().is_ok()),
        (Shape::Vin, is_vin),
        (Shape::Email, is_email),
        (Shape::Number, |text| text.len() < 40 && text.parse::<f64>().is_ok_and(f64::is_finite)),
        (Shape::Bool, |text| matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE")),
        (Shape::Secret, is_secret),
    ];
    tests.iter().find(|(_, fits)| fits(text)).map_or(Shape::Other, |(shape, _)| *shape)
}

/// 17 letters and digits without I, O and Q (ISO 3779), of which some are letters and at least four digits.
fn is_vin(text: &str) -> bool {
    let text = text.trim();
    let fits = |b: u8| b.is_ascii_digit() || (b.is_ascii_alphabetic() && !b"IOQioq".contains(&b));
    text.len() == 17
        && text.bytes().all(fits)
        && text.bytes().any(|b| b.is_ascii_alphabetic())
        && text.bytes().filter(u8::is_ascii_digit).count() >= 4
}

fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.split_once('@') else { return false };
    !user.is_empty()
        && host.contains('.')
        && !host.starts_with('.')
        && !text.contains(|c: char| c.is_whitespace() || c == '/')
        && !host.contains('@')
}

/// A JSON Web Token, an `Authorization` header, a PEM key.
fn is_secret(text: &str) -> bool {
    let is_jwt = text.starts_with("eyJ") && text.split('.').count() == 3 && text.len() > 40;
    is_jwt
        || text.starts_with("-----BEGIN")
        || ["Bearer ", "Basic "].iter().any(|head| text.starts_with(head) && text.len() > head.len() + 8)
}

/// What a name says about its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// A vehicle.
    Vehicle,
    /// An account or a person.
    User,
    /// A network address.
    Ip,
    /// A place.
    Location,
    /// A certificate.
    Certificate,
    /// A service or program.
    Service,
}

const VEHICLE: [&str; 7] = ["vin", "vehicle", "car", "vehicleid", "carid", "vinhash", "vehiclevin"];
const USER: [&str; 20] = [
    "user",
    "username",
    "userid",
    "actor",
    "actorid",
    "subject",
    "principal",
    "account",
    "login",
    "email",
    "mail",
    "owner",
    "driver",
    "customer",
    "requester",
    "sub",
    "idtag",
    "userarn",
    "identityarn",
    "issuerarn",
];
const ADDRESS: [&str; 6] = ["ip", "ipaddress", "address", "addr", "host", "xff"];
const PLACE: [&str; 10] =
    ["lat", "lon", "lng", "long", "latitude", "longitude", "geohash", "location", "position", "gps"];
const CERTIFICATE: [&str; 5] = ["cert", "certificate", "fingerprint", "thumbprint", "san"];
const SERVICE: [&str; 4] = ["service", "clientid", "appid", "application"];
/// Behind such a word a name speaks of a property, not of the thing.
const PROPERTY: [&str; 26] = [
    "type", "kind", "role", "agent", "count", "status", "state", "result", "version", "ttl", "size",
    "length", "valid", "level", "speed", "language", "group", "mode", "time", "date", "error", "policies",
    "model", "score", "fix", "class",
];

/// What the words of a name say about its values; a name is a column's: `client_ip`.
pub fn says(name: &str) -> Option<Says> {
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    let last = words.last()?;
    if words.len() > 1 && PROPERTY.contains(last) {
        return None;
    }
    // The id of an account is more often that of a tenant.
    if words.ends_with(&["account", "id"]) {
        return None;
    }
    // A name may end in `id`, and the word before it is what counts.
    let tail: Vec<&str> = match words.as_slice() {
        [head @ .., "id" | "name" | "no" | "number" | "hash" | "pseudo"] => {
            head.last().into_iter().copied().collect()
        }
        _ => vec![last],
    };
    let joined = words.iter().rev().take(2).rev().copied().collect::<String>();
    let is = |list: &[&str]| tail.iter().any(|word| list.contains(word)) || list.contains(&joined.as_str());
    let all: [(&[&str], Says); 6] = [
        (&VEHICLE, Says::Vehicle),
        (&SERVICE, Says::Service),
        (&USER, Says::User),
        (&ADDRESS, Says::Ip),
        (&PLACE, Says::Location),
        (&CERTIFICATE, Says::Certificate),
    ];
    all.iter().find(|(list, _)| is(list)).map(|(_, says)| *says)
}

const SECRET: [&str; 14] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "apikey",
    "privatekey",
    "credential",
    "credentials",
    "cvv",
    "otp",
];

/// Whether the name of a text says that it is a secret: `password`, `access_token`, `set_cookie`; not
/// `token_type`, `api_key_id`, `password_reset`.
pub fn names_secret(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    let Some(last) = words.last() else { return false };
    let joined = words.iter().rev().take(2).rev().copied().collect::<String>();
    SECRET.contains(last) || SECRET.contains(&joined.as_str()) || joined == "tokenvalue"
}

/// Names of the time of an event.
const SURE: [&str; 16] = [
    "ts",
    "timestamp",
    "time",
    "event_time",
    "eventtime",
    "datetime",
    "date_time",
    "occurred_at",
    "event_timestamp",
    "event_ts",
    "ts_event",
    "date",
    "event_date",
    "logged_at",
    "time_stamp",
    "recorded_at",
];
/// Words of other times.
const AGAINST: [&str; 26] = [
    "exp",
    "expires",
    "expire",
    "expiry",
    "expiration",
    "valid",
    "before",
    "after",
    "birth",
    "born",
    "creation",
    "updated",
    "modified",
    "deadline",
    "next",
    "until",
    "end",
    "ended",
    "iat",
    "nbf",
    "issue",
    "issued",
    "last",
    "previous",
    "scheduled",
    "due",
];
/// Words of some time.
const PERHAPS: [&str; 12] = [
    "ts",
    "timestamp",
    "time",
    "date",
    "at",
    "when",
    "epoch",
    "ms",
    "millis",
    "datetime",
    "created",
    "received",
];

/// How much a name speaks for being the time of an event: 3 surely, 1 perhaps, 0 says nothing, below 0 speaks
/// against it.
pub fn says_time(name: &str) -> i32 {
    let words: Vec<&str> = name.split('_').collect();
    if words.iter().any(|word| AGAINST.contains(word)) {
        return -3;
    }
    if SURE.contains(&name.trim_matches('_')) {
        return 3;
    }
    let perhaps = words.iter().any(|word| {
        PERHAPS.contains(word) || ["time", "date", "stamp"].iter().any(|end| word.ends_with(end))
    });
    i32::from(perhaps)
}

/// Whether a name is that of a measured quantity, whose values may have a fraction even if none was seen.
pub fn is_measured(name: &str) -> bool {
    const MEASURED: [&str; 26] = [
        "speed",
        "lat",
        "lon",
        "lng",
        "latitude",
        "longitude",
        "altitude",
        "heading",
        "odometer",
        "mileage",
        "soc",
        "temp",
        "temperature",
        "voltage",
        "current",
        "power",
        "energy",
        "pressure",
        "torque",
        "throttle",
        "acceleration",
        "yaw",
        "kwh",
        "latency",
        "score",
        "confidence",
    ];
    name.split('_').any(|word| MEASURED.contains(&word))
}

/// Whether the name of a member is rather a value: a number, an address, a VIN, a UUID, a hash, a date.
pub fn is_value(name: &str) -> bool {
    let hex = |text: &str| text.len() >= 8 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    is_vin(name)
        || name.parse::<f64>().is_ok()
        || name.parse::<IpAddr>().is_ok()
        || is_email(name)
        || (hex(name) && digits >= 2)
        || (digits >= 4 && digits * 2 > name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_by_their_form() {
        let cases = [
            ("2026-11-24T10:32:18.204Z", Shape::Rfc3339),
            ("Mon, 21 Nov 2022 18:12:16 GMT", Shape::OtherTime),
            ("2022-11-21 18:12:16", Shape::OtherTime),
            ("1732443138204", Shape::OtherTime),
            ("10.0.0.1", Shape::Ip),
            ("2001:db8::1", Shape::Ip),
            ("XFWESWMHASL105957", Shape::Vin),
            ("anna@example.org", Shape::Email),
            ("12.5", Shape::Number),
            ("true", Shape::Bool),
            ("Bearer abcdefghijkl", Shape::Secret),
            ("immobilize", Shape::Other),
            ("", Shape::Other),
            ("NaN", Shape::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(shape(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_read_by_their_words() {
        let cases = [
            ("vin", Some(Says::Vehicle)),
            ("vehicle_id", Some(Says::Vehicle)),
            ("actor_id", Some(Says::User)),
            ("user_agent", None),
            ("client_ip", Some(Says::Ip)),
            ("source_ip_address", Some(Says::Ip)),
            ("client_id", Some(Says::Service)),
            ("user_identity_account_id", None),
            ("user_identity_arn", Some(Says::User)),
            ("role_arn", None),
            ("user_identity_type", None),
            ("latitude", Some(Says::Location)),
            ("vehicle_speed", None),
            ("client_cert", Some(Says::Certificate)),
            ("command", None),
        ];
        for (name, expected) in cases {
            assert_eq!(says(name), expected, "{name}");
        }
    }

    #[test]
    fn secrets_are_told_from_what_is_about_them() {
        for name in ["password", "access_token", "set_cookie", "request_headers_authorization", "x_api_key"] {
            assert!(names_secret(name), "{name}");
        }
        for name in ["token_type", "api_key_id", "password_reset", "session_id", "token_count"] {
            assert!(!names_secret(name), "{name}");
        }
    }

    #[test]
    fn some_times_are_not_of_the_event() {
        assert_eq!([says_time("ts"), says_time("event_time"), says_time("@timestamp")], [3, 3, 1]);
        assert_eq!([says_time("creation_date"), says_time("jwt_exp"), says_time("valid_until")], [-3; 3]);
        assert_eq!([says_time("created_at"), says_time("ts_requested"), says_time("speed")], [1, 1, 0]);
    }

    #[test]
    fn members_can_be_values() {
        for name in
            ["4711", "10.0.0.1", "XFWESWMHASL105957", "d5222950-e688-4e3d-a357-4fac35041b42", "2024-01-01"]
        {
            assert!(is_value(name), "{name}");
        }
        for name in ["speed", "x509", "feedback", "row1", "face"] {
            assert!(!is_value(name), "{name}");
        }
    }
}
