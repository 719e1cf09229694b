//! The first rule for a stream that nobody has written a rule for yet: more of something by one key within a
//! minute than its sample shows.

use serde_json::{Value as Json, json};

use crate::alert::EntityType;
use crate::schema::guess::{Column, Guess};
use crate::schema::{Class, FieldType, Schema};

/// A rule that is not yet tried.
pub struct Draft {
    /// Its id: the name of its file.
    pub id: String,
    title: String,
    blind: String,
    stream: String,
    /// The key's column, if there is one.
    pub key: Option<Part>,
    /// The condition, with a value for tests that fulfils it.
    pub fails: Option<Part>,
    condition: String,
}

/// A column, and how an event of a test has it.
#[derive(Clone, Debug)]
pub struct Part {
    /// The column's name.
    pub name: String,
    path: Vec<String>,
    kind: FieldType,
    value: Json,
}

/// Words that say that something did not work, or was not allowed.
const FAILS: [&str; 13] = [
    "fail",
    "denied",
    "deny",
    "error",
    "reject",
    "invalid",
    "unauthor",
    "forbidden",
    "negative",
    "block",
    "refuse",
    "timeout",
    "abort",
];

/// What the first rule watches. `key`: the partition key if it is known; `many`: the topic has several
/// partitions, so that a rule can only count by that key.
pub fn draft(guess: &Guess<'_>, schema: &Schema, many: bool) -> Draft {
    let key = key_column(guess, many).map(|column| part(column, schema, Json::from("K1")));
    let events = guess.look.events;
    let all = || guess.columns.all.iter();
    let fails = all().find_map(failure).or_else(|| all().find_map(|column| error_code(column, events)));
    let (condition, fails) = match fails {
        Some((condition, column, value)) => (condition, Some(part(column, schema, value))),
        None => (String::new(), None),
    };
    let of =
        key.as_ref().map_or_else(|| format!("stream {}", schema.name), |key| format!("one {}", key.name));
    let (what, id) = match fails {
        Some(_) => ("failures", "first-failure-burst"),
        None => ("events", "first-burst"),
    };
    Draft {
        id: format!("{}-{id}", schema.name.replace('_', "-")),
        title: format!("Unusually many {what} of {of} within a minute"),
        blind: format!(
            "Slow attacks, and {what} spread over many keys; the number is taken from a sample, not from a threat."
        ),
        stream: schema.name.to_string(),
        key,
        fails,
        condition,
    }
}

fn key_column<'g>(guess: &'g Guess<'_>, many: bool) -> Option<&'g Column<'g>> {
    let by_key = guess.key.as_ref().and_then(|key| guess.columns.all.get(key.column));
    if many || by_key.is_some_and(|column| column.entity.is_some()) {
        return by_key;
    }
    let order =
        [EntityType::Vehicle, EntityType::User, EntityType::Ip, EntityType::Service, EntityType::Certificate];
    let events = guess.look.events;
    let able =
        |column: &&Column<'_>| column.seen.values() * 10 >= events * 9 && column.seen.distinct.len() > 1;
    let of =
        |kind: EntityType| guess.columns.all.iter().filter(able).find(|column| column.entity == Some(kind));
    order.into_iter().find_map(of).or(by_key)
}

/// A condition that is true where something went wrong, with its column and a value that fulfils it.
fn failure<'g>(column: &'g Column<'g>) -> Option<(String, &'g Column<'g>, Json)> {
    if column.kind == FieldType::Text && column.class == Class::None {
        let bad: Vec<&str> = column
            .values
            .iter()
            .copied()
            .filter(|word| {
                FAILS.iter().any(|fail| word.to_ascii_lowercase().contains(fail)) && !word.contains('\'')
            })
            .collect();
        let first = *bad.first()?;
        if bad.len() == column.values.len() {
            return None;
        }
        let condition = match bad.as_slice() {
            [one] => format!("{} = '{one}'", column.name),
            many => {
                let words: Vec<String> = many.iter().map(|word| format!("'{word}'")).collect();
                format!("{} IN ({})", column.name, words.join(", "))
            }
        };
        return Some((condition, column, first.into()));
    }
    let words: Vec<&str> = column.name.split('_').collect();
    let is = |names: &[&str]| words.iter().any(|word| names.contains(word));
    let http = column.seen.range.is_some_and(|(low, high)| low >= 100.0 && (400.0..600.0).contains(&high));
    if column.kind == FieldType::Int && is(&["status", "code"]) && http {
        return Some((format!("{} >= 400", column.name), column, 403.into()));
    }
    if column.kind == FieldType::Bool && is(&["success", "ok", "allowed", "succeeded", "authorized"]) {
        return Some((format!("NOT {}", column.name), column, false.into()));
    }
    None
}

/// The code of an error, which is there only if there was one.
fn error_code<'g>(column: &'g Column<'g>, events: u64) -> Option<(String, &'g Column<'g>, Json)> {
    let words: Vec<&str> = column.name.split('_').collect();
    let is_code =
        words.contains(&"error") && words.last().is_some_and(|last| ["error", "code"].contains(last));
    let is_rare = column.seen.values() * 10 <= events * 9;
    (is_code && is_rare && column.kind == FieldType::Text)
        .then(|| (format!("{} IS NOT NULL", column.name), column, "AccessDenied".into()))
}

fn part(column: &Column<'_>, schema: &Schema, value: Json) -> Part {
    let field = schema.fields.iter().find(|field| field.name == column.name);
    let path = field.map_or_else(Vec::new, |field| field.path.clone());
    Part { name: column.name.clone(), path, kind: column.kind, value }
}

impl Part {
    /// The value of the n-th key.
    fn numbered(&self, n: u8) -> Json {
        match self.kind {
            FieldType::Int => (1000 + u32::from(n)).into(),
            FieldType::Ip => format!("192.0.2.{n}").into(),
            _ => format!("K{n}").into(),
        }
    }
}

/// An event with these members.
fn event(members: &[(&[String], Json)]) -> String {
    let mut event = json!({});
    for (path, value) in members {
        let mut at = &mut event;
        for name in *path {
            at = &mut at[name.as_str()];
        }
        *at = value.clone();
    }
    event.to_string()
}

impl Draft {
    /// The rule's file with a limit, and its tests.
    pub fn text(&self, limit: u32) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let key = self.key.as_ref().map_or_else(String::new, |key| quoted(&key.name));
        let every = (30_000 / limit).max(1);
        let line = |n: u8, times: u32| {
            let mut members = Vec::new();
            if let Some(key) = &self.key {
                members.push((key.path.as_slice(), key.numbered(n)));
            }
            if let Some(fails) = &self.fails {
                members.push((fails.path.as_slice(), fails.value.clone()));
            }
            format!("+0s x{times} every {every}ms {}", event(&members))
        };
        let shown_key =
            self.key.as_ref().map_or_else(String::new, |key| format!("key = [{}], ", key.numbered(1)));
        let filter = if self.condition.is_empty() {
            "# where = \"\"                            # SQL over one event: which events count; none = all\n"
                .to_owned()
        } else {
            format!("where  = {}\n", quoted(&self.condition))
        };
        format!(
            "# The first rule of this stream: twice as many within a minute as the sample ever shows. Make it yours.\n\
             title       = {title}\n\
             severity    = \"low\"                       # info low medium high critical\n\
             risk        = 10                          # 0-100\n\
             stream      = {stream}\n\
             blind_spots = {blind}\n\
             triage      = \"Look at the events of the alert: what was asked for, by whom, from where.\"\n\
             \n\
             [threshold]\n\
             {filter}\
             key    = [{key}]\n\
             window = \"60s\"                            # slides; or \"tumbling 1h\"\n\
             having = \"count(*) >= {limit}\"\n\
             \n\
             [suppress]\n\
             for = \"1h\"                                # then one alert an hour, with the number that was folded\n\
             \n\
             [[test]]\n\
             name   = \"{limit} within a minute alert once\"\n\
             events = '''\n{fires}\n'''\n\
             alerts = [ {{ {shown_key}\"observed.count\" = {limit} }} ]\n\
             \n\
             [[test]]\n\
             name   = \"one fewer does not\"\n\
             events = '''\n{quiet}\n'''\n\
             alerts = []\n",
            title = quoted(&self.title),
            stream = quoted(&self.stream),
            blind = quoted(&self.blind),
            fires = line(1, limit),
            quiet = line(2, limit - 1),
        )
    }
}
