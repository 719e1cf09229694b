//! Writes JSON into bytes: no tree, no allocation of its own.

/// A JSON text in the making. What closes must have been opened: that is up to the caller.
#[derive(Clone, Debug, Default)]
pub struct Json {
    bytes: Vec<u8>,
}

impl Json {
    /// An open object, in a buffer that is used again.
    pub fn begin(mut bytes: Vec<u8>) -> Json {
        bytes.clear();
        bytes.push(b'{');
        Json { bytes }
    }

    /// The text, its object closed.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'}');
        self.bytes
    }

    fn comma(&mut self) {
        if !matches!(self.bytes.last(), Some(b'{' | b'[' | b':') | None) {
            self.bytes.push(b',');
        }
    }

    fn name(&mut self, name: &str) {
        self.comma();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }

    /// A text member.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Json {
        self.name(name);
        self.quoted(value);
        self
    }

    /// A text member, or none.
    pub fn maybe(&mut self, name: &str, value: Option<&str>) -> &mut Json {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// A whole number.
    pub fn int(&mut self, name: &str, value: i64) -> &mut Json {
        self.name(name);
        push_int(&mut self.bytes, value);
        self
    }

    /// A number with so many decimals.
    pub fn fixed(&mut self, name: &str, value: f64, decimals: u32) -> &mut Json {
        self.name(name);
        push_fixed(&mut self.bytes, value, decimals);
        self
    }

    /// True or false.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Json {
        self.name(name);
        self.bytes.extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// A member without a value.
    pub fn null(&mut self, name: &str) -> &mut Json {
        self.name(name);
        self.bytes.extend_from_slice(b"null");
        self
    }

    /// A member whose value is JSON already.
    pub fn raw(&mut self, name: &str, json: &str) -> &mut Json {
        self.name(name);
        self.bytes.extend_from_slice(json.as_bytes());
        self
    }

    /// A time as RFC 3339.
    pub fn time(&mut self, name: &str, ms: i64, precision: Precision) -> &mut Json {
        self.name(name);
        self.bytes.push(b'"');
        super::clock::push_rfc3339(&mut self.bytes, ms, precision == Precision::Millis);
        self.bytes.push(b'"');
        self
    }

    /// Opens an object member.
    pub fn object(&mut self, name: &str) -> &mut Json {
        self.name(name);
        self.bytes.push(b'{');
        self
    }

    /// Closes an object.
    pub fn end(&mut self) -> &mut Json {
        self.bytes.push(b'}');
        self
    }

    /// Opens a list member.
    pub fn list(&mut self, name: &str) -> &mut Json {
        self.name(name);
        self.bytes.push(b'[');
        self
    }

    /// Closes a list.
    pub fn end_list(&mut self) -> &mut Json {
        self.bytes.push(b']');
        self
    }

    /// Opens an object within a list.
    pub fn item(&mut self) -> &mut Json {
        self.comma();
        self.bytes.push(b'{');
        self
    }

    /// A text within a list.
    pub fn element(&mut self, value: &str) -> &mut Json {
        self.comma();
        self.quoted(value);
        self
    }

    /// A list of texts.
    pub fn texts<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) -> &mut Json {
        self.list(name);
        values.into_iter().for_each(|value| {
            self.element(value);
        });
        self.end_list()
    }

    fn quoted(&mut self, value: &str) {
        self.bytes.push(b'"');
        for byte in value.bytes() {
            match byte {
                b'"' | b'\\' => self.bytes.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.bytes.extend_from_slice(b"\\n"),
                b'\r' => self.bytes.extend_from_slice(b"\\r"),
                b'\t' => self.bytes.extend_from_slice(b"\\t"),
                0..0x20 => self.bytes.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => self.bytes.push(byte),
            }
        }
        self.bytes.push(b'"');
    }
}

/// How exactly a time is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Whole seconds.
    Seconds,
    /// With three decimals.
    Millis,
}

/// Appends a whole number.
pub fn push_int(bytes: &mut Vec<u8>, value: i64) {
    if value < 0 {
        bytes.push(b'-');
    }
    push_digits(bytes, value.unsigned_abs(), 1);
}

/// Appends a number with at least so many digits.
pub fn push_digits(bytes: &mut Vec<u8>, mut value: u64, least: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 || digits.len() - at < least {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    bytes.extend_from_slice(&digits[at..]);
}

/// Appends a number with so many decimals.
pub fn push_fixed(bytes: &mut Vec<u8>, value: f64, decimals: u32) {
    let scale = 10u64.pow(decimals);
    let scaled = (value * scale as f64).round() as i64;
    if scaled < 0 {
        bytes.push(b'-');
    }
    let scaled = scaled.unsigned_abs();
    push_digits(bytes, scaled / scale, 1);
    if decimals > 0 {
        bytes.push(b'.');
        push_digits(bytes, scaled % scale, decimals as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nested_members_are_separated() {
        let mut json = Json::begin(Vec::new());
        json.text("a", "x\"\\\u{1}\n").int("b", -12).object("c").flag("d", true).end();
        json.list("e").item().null("f").end().item().end().end_list().texts("g", ["h", "i"]);
        json.time("t", 1_748_851_200_017, Precision::Millis).fixed("k", -0.04, 1);
        let text = String::from_utf8(json.finish()).unwrap();
        let expected = r#"{"a":"x\"\\\u0001\n","b":-12,"c":{"d":true},"e":[{"f":null},{}],"g":["h","i"],"#;
        assert_eq!(text, format!("{expected}\"t\":\"2025-06-02T08:00:00.017Z\",\"k\":0.0}}"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in ".*", int: i64, float in -1e9..1e9f64) {
            let mut json = Json::begin(Vec::new());
            json.text("t", &text).int("i", int).fixed("f", float, 4);
            let read: serde_json::Value = serde_json::from_slice(&json.finish()).unwrap();
            prop_assert_eq!(read["t"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["i"].as_i64(), Some(int));
            prop_assert!((read["f"].as_f64().unwrap() - float).abs() <= 5.1e-5);
        }
    }
}
