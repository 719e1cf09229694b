//! What was really attacked: one line an attack.

use serde::Deserialize;

use super::json::Json;

/// Something that an attack is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Target {
    /// vehicle, user, ip, service, certificate, or what else names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name, as the events have it.
    pub value: String,
}

/// An attack that was played.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Attack {
    /// `attack-0001`.
    pub id: String,
    /// What kind of attack, such as `vin-enumeration`.
    pub class: String,
    /// How it is done: `plain`, `slow`, `spread`, `noisy`.
    pub variant: String,
    /// When its first event happens, in milliseconds.
    pub start_ms: i64,
    /// When its last event happens.
    pub end_ms: i64,
    /// Whom it is done to, by whom, from where.
    pub entities: Vec<Target>,
    /// Streams that show it.
    pub streams: Vec<String>,
    /// One line for people.
    pub story: String,
}

impl Attack {
    /// As a line of `truth.ndjson`, without its end.
    pub fn line(&self) -> Vec<u8> {
        let mut json = Json::begin(Vec::new());
        json.text("id", &self.id).text("class", &self.class).text("variant", &self.variant);
        json.int("start_ms", self.start_ms).int("end_ms", self.end_ms).list("entities");
        for target in &self.entities {
            json.item().text("type", &target.kind).text("value", &target.value).end();
        }
        json.end_list().texts("streams", self.streams.iter().map(String::as_str));
        json.text("story", &self.story);
        json.finish()
    }

    /// The attack of such a line.
    pub fn parse(line: &[u8]) -> Result<Attack, String> {
        serde_json::from_slice(line).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back() {
        let attack = Attack {
            id: "attack-0001".into(),
            class: "vin-enumeration".into(),
            variant: "slow".into(),
            start_ms: 5,
            end_ms: 7,
            entities: vec![Target { kind: "ip".into(), value: "1.2.3.4".into() }],
            streams: vec!["api_gateway".into()],
            story: "a \"quoted\" one".into(),
        };
        assert_eq!(Attack::parse(&attack.line()), Ok(attack));
        assert!(Attack::parse(b"{}").is_err());
    }
}
