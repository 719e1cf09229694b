//! A text that must not be seen: passwords, tokens, keys.

use std::fmt;

use serde::Deserialize;

/// A text that must not be seen: neither `Debug` nor `Display` show it.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(String);

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Secret, &'static str> {
        // What comes of files can hold anything; no protocol carries it.
        if text.contains('\0') { Err("a NUL byte") } else { Ok(Secret(text)) }
    }
}

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
