//! What was seen at a path → the field that a schema declares for it, and what speaks for that.

use super::profile::{Node, Seen, epoch};
use super::shape::{Says, Shape, is_measured, is_value, names_secret, says, says_time};
use crate::alert::EntityType;
use crate::schema::words;
use crate::schema::{Class, FieldType, Normalize, TimeUnit};

/// Of so many values one may be something else: it is NULL then, and said.
const ODD: u64 = 2000;
/// Columns that a schema declares before objects are kept whole.
const COLUMNS: usize = 200;

/// A field that will be declared.
#[derive(Debug)]
pub struct Column<'p> {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub path: Vec<&'p str>,
    /// Its type.
    pub kind: FieldType,
    /// Whom it names.
    pub entity: Option<EntityType>,
    /// How sensitive it is.
    pub class: Class,
    /// What is done to its texts.
    pub normalize: Vec<Normalize>,
    /// The texts it has, if they are few.
    pub values: Vec<&'p str>,
    /// What was seen.
    pub seen: &'p Seen,
    /// What speaks for the guess, for people.
    pub why: Vec<String>,
    /// What was not clear.
    pub doubt: Option<String>,
}

/// A path that is not declared.
#[derive(Debug)]
pub struct LeftOut {
    /// Where it stands, dotted.
    pub path: String,
    /// Why.
    pub why: String,
    /// What would declare it.
    pub secret: bool,
}

/// All columns of some events.
#[derive(Debug, Default)]
pub struct Columns<'p> {
    /// In the order in which they were first seen.
    pub all: Vec<Column<'p>>,
    /// What is not declared.
    pub left_out: Vec<LeftOut>,
}

/// How objects are treated.
struct Walk<'p> {
    columns: Columns<'p>,
    /// Objects below this depth are kept whole.
    depth: usize,
    events: u64,
}

/// The columns of what was seen. `records`: the path of a record's events, which is no column.
pub fn columns<'p>(root: &'p Node, events: u64, records: &[String]) -> Columns<'p> {
    let mut best = Columns::default();
    for depth in [6, 3, 2, 1] {
        let mut walk = Walk { columns: Columns::default(), depth, events };
        walk.members(root, &mut Vec::new(), records);
        best = walk.columns;
        if best.all.len() <= COLUMNS {
            break;
        }
    }
    if root.closed {
        let why = "the events have more members than are looked at".to_owned();
        best.left_out.push(LeftOut { path: "…".to_owned(), why, secret: false });
    }
    named(&mut best);
    best
}

impl<'p> Walk<'p> {
    fn members(&mut self, node: &'p Node, path: &mut Vec<&'p str>, records: &[String]) {
        for child in &node.children {
            path.push(&child.name);
            if child.name.is_empty() {
                self.leave_out(path, "a member without a name cannot be declared", false);
            } else if !(path.len() == 1 && records.first().is_some_and(|first| *first == child.name)) {
                self.member(child, path);
            }
            path.pop();
        }
    }

    fn member(&mut self, node: &'p Node, path: &mut Vec<&'p str>) {
        let seen = &node.seen;
        let name = words::snake(&node.name);
        let scalars = seen.ints + seen.floats + seen.big + seen.bools;
        let secret_name = names_secret(&name) && seen.values() > scalars;
        let secret_texts = seen.of_shape(Shape::Secret) * 2 > seen.texts.max(1);
        if node.doubled > 0 {
            return self.leave_out(path, "stands twice in one event, which would reject the record", false);
        }
        if seen.values() == 0 {
            return self.leave_out(path, "only null so far", false);
        }
        if secret_name || secret_texts {
            let why = if secret_name { "its name" } else { "its values" };
            return self.leave_out(path, &format!("looks secret by {why}"), true);
        }
        let only_objects = seen.objects == seen.values();
        if only_objects && path.len() < self.depth && !node.children.is_empty() && !is_map(node) {
            return self.members(node, path, &[]);
        }
        let column = column(node, path.clone(), self.events);
        self.columns.all.push(column);
    }

    fn leave_out(&mut self, path: &[&str], why: &str, secret: bool) {
        self.columns.left_out.push(LeftOut { path: path.join("."), why: why.to_owned(), secret });
    }
}

/// Whether an object is rather a table: its members' names are values, or many and each of them rare.
fn is_map(node: &Node) -> bool {
    let members = node.children.len() as u64;
    let values = node.children.iter().filter(|child| is_value(&child.name)).count() as u64;
    let present: u64 = node.children.iter().map(|child| child.seen.values() + child.seen.nulls).sum();
    let rare = members > 12 && present * 3 < members * node.seen.objects;
    node.closed || rare || (members >= 2 && values * 2 > members) || (members == 1 && values == 1)
}

fn column<'p>(node: &'p Node, path: Vec<&'p str>, events: u64) -> Column<'p> {
    let seen = &node.seen;
    let name = words::snake(&path.join("_"));
    let (kind, doubt) = kind(node, &name);
    let mut column = Column {
        name,
        path,
        kind,
        entity: None,
        class: Class::None,
        normalize: Vec::new(),
        values: Vec::new(),
        seen,
        why: Vec::new(),
        doubt,
    };
    if seen.values() < events {
        column.why.push(format!("in {} of the events", share(seen.values(), events)));
    }
    role(&mut column);
    form(&mut column, node);
    column
}

/// The type of a field.
fn kind(node: &Node, name: &str) -> (FieldType, Option<String>) {
    let seen = &node.seen;
    let numbers = seen.ints + seen.floats + seen.big;
    let kinds = [
        (seen.bools, "truth value"),
        (numbers, "number"),
        (seen.texts, "text"),
        (seen.objects, "object"),
        (seen.text_lists + seen.lists, "list"),
    ];
    let (most, _) = kinds.into_iter().max_by_key(|(count, _)| *count).unwrap_or_default();
    let odd = seen.values() - most;
    let shown = || -> String {
        let parts = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, what)| plural(*count, what));
        parts.collect::<Vec<_>>().join(" and ")
    };
    if odd * ODD > seen.values() {
        let doubt = format!("{}: kept as JSON text, in which texts keep their quotes", shown());
        return (FieldType::Json, Some(doubt));
    }
    let doubt = (odd > 0).then(|| format!("{}: the few are read as NULL", shown()));
    let kind = if most == seen.bools {
        FieldType::Bool
    } else if most == numbers {
        number(seen, name)
    } else if most == seen.texts {
        text(seen)
    } else if most == seen.text_lists + seen.lists && seen.lists == 0 {
        FieldType::TextList
    } else {
        FieldType::Json
    };
    (kind, doubt)
}

fn number(seen: &Seen, name: &str) -> FieldType {
    let numbers = seen.ints + seen.floats + seen.big;
    let in_unit = seen.time.units.iter().position(|count| *count == numbers);
    if let Some(unit) = in_unit.filter(|_| seen.big == 0 && is_time_number(seen, name)) {
        match (unit, seen.floats) {
            (0, _) => return FieldType::Time(TimeUnit::Seconds),
            (1, 0) => return FieldType::Time(TimeUnit::Millis),
            (2, 0) => return FieldType::Time(TimeUnit::Micros),
            (3, 0) => return FieldType::Time(TimeUnit::Nanos),
            _ => {}
        }
    }
    let whole = seen.floats == 0 && seen.big == 0 && !is_measured(name);
    if whole { FieldType::Int } else { FieldType::Float }
}

/// Whether numbers that could be times are: the name says so, or the broker's clock does.
fn is_time_number(seen: &Seen, name: &str) -> bool {
    let leaf = says_time(name) != 0 || says_time(name.rsplit('_').next().unwrap_or(name)) != 0;
    let by_clock = seen.time.compared > 0 && seen.time.near * 2 > seen.time.compared;
    leaf || by_clock
}

fn text(seen: &Seen) -> FieldType {
    let all = |shapes: &[Shape]| {
        let fit: u64 = shapes.iter().map(|shape| seen.of_shape(*shape)).sum();
        (seen.texts - fit) * ODD <= seen.texts
    };
    if all(&[Shape::Rfc3339]) {
        FieldType::Time(TimeUnit::Rfc3339)
    } else if all(&[Shape::Rfc3339, Shape::OtherTime]) {
        FieldType::Time(TimeUnit::Text)
    } else if all(&[Shape::Ip]) {
        FieldType::Ip
    } else {
        FieldType::Text
    }
}

/// Whom a field names, and how sensitive it is.
fn role(column: &mut Column<'_>) {
    let seen = column.seen;
    let share_of = |shape: Shape| seen.of_shape(shape) as f64 / seen.texts.max(1) as f64;
    let nameable = matches!(column.kind, FieldType::Text | FieldType::Int | FieldType::Ip);
    let said = says(&column.name);
    let vins = column.kind == FieldType::Text && share_of(Shape::Vin) > 0.5;
    let ips = share_of(Shape::Ip) > 0.5;
    let emails = share_of(Shape::Email) > 0.5;
    let constant = seen.distinct.len() <= 1 && seen.values() > 20;
    let found = match said {
        _ if vins => Some((EntityType::Vehicle, Class::Vin, "looks like a VIN")),
        _ if ips && said != Some(Says::User) => {
            Some((EntityType::Ip, Class::Location, "looks like an address"))
        }
        _ if emails => Some((EntityType::User, Class::Person, "looks like an e-mail address")),
        Some(Says::Vehicle) => Some((EntityType::Vehicle, Class::Vin, "named like a vehicle")),
        Some(Says::User) => Some((EntityType::User, Class::Person, "named like a user")),
        Some(Says::Certificate) => Some((EntityType::Certificate, Class::None, "named like a certificate")),
        Some(Says::Service) => Some((EntityType::Service, Class::None, "named like a service")),
        _ => None,
    };
    let named = matches!(said, Some(Says::Service | Says::Certificate)) && column.kind != FieldType::Text;
    if let Some((entity, class, why)) = found.filter(|_| nameable && !constant && !named) {
        (column.entity, column.class) = (Some(entity), class);
        let share = match entity {
            EntityType::Vehicle if vins => format!(" ({})", share(seen.of_shape(Shape::Vin), seen.texts)),
            EntityType::Ip => format!(" ({})", share(seen.of_shape(Shape::Ip), seen.texts)),
            _ => String::new(),
        };
        column.why.push(format!("{why}{share} → {}", entity.name()));
        if entity == EntityType::Vehicle && vins {
            column.normalize = vec![Normalize::Trim, Normalize::Upper];
        }
    } else if said == Some(Says::Location)
        && (matches!(column.kind, FieldType::Float | FieldType::Int | FieldType::Json)
            || column.name.ends_with("hash"))
    {
        column.class = Class::Location;
        column.why.push("named like a place → location".to_owned());
    }
}

/// What else is worth a word.
fn form(column: &mut Column<'_>, node: &Node) {
    let seen = column.seen;
    let all = |shape: Shape| seen.texts > 0 && seen.of_shape(shape) == seen.texts;
    match column.kind {
        FieldType::Text if all(Shape::Number) => {
            column.why.push("numbers written as text: TRY_CAST(… AS BIGINT) or AS DOUBLE".to_owned());
        }
        FieldType::Text if all(Shape::Bool) => column.why.push("true and false written as text".to_owned()),
        FieldType::Float if seen.big > 0 => {
            column.why.push(format!("{} beyond 64 bits: read as float", plural(seen.big, "number")));
        }
        FieldType::Float if seen.floats == 0 => {
            column
                .why
                .push("only whole numbers so far; float, since it is named like a measurement".to_owned());
        }
        FieldType::Json if seen.objects > 0 => {
            let secret = node.children.iter().find(|child| names_secret(&words::snake(&child.name)));
            let members = if node.closed { "very many".to_owned() } else { node.children.len().to_string() };
            column
                .why
                .push(format!("objects of {members} members, kept whole: json_get({}, '…')", column.name));
            if let Some(secret) = secret {
                column.why.push(format!("holds \"{}\", which looks secret", secret.name));
            }
        }
        FieldType::Int if seen.range.is_some_and(|(low, _)| epoch(low).is_some()) => {
            column.why.push("could be a time, but neither its name nor the clock says so".to_owned());
        }
        _ => {}
    }
    let few = !seen.many_words && seen.words.len() <= 12 && seen.texts >= 4 * seen.words.len() as u64;
    if column.kind == FieldType::Text
        && column.class == Class::None
        && few
        && seen.words.keys().any(|word| !word.is_empty())
    {
        column.values = seen.words.keys().map(String::as_str).collect();
    }
}

/// Gives every column a name of its own that SQL reads bare.
fn named(columns: &mut Columns<'_>) {
    let mut taken = std::collections::HashSet::new();
    for column in &mut columns.all {
        if let Some(better) = words::substitute(&column.name) {
            column.why.push(format!("SQL cannot read \"{}\" as a column", column.name));
            column.name = better;
        }
        let plain = column.name.clone();
        let mut n = 2;
        while !taken.insert(column.name.clone()) {
            column.name = format!("{plain}_{n}");
            n += 1;
        }
    }
}

/// `99.8 %`; never 100 unless it is all, never 0 unless it is none.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return "0 %".to_owned();
    }
    if part >= whole {
        return "100 %".to_owned();
    }
    let percent = (part as f64 * 100.0 / whole as f64).clamp(0.1, 99.9);
    format!("{percent:.1} %")
}

/// `1 text`, `1,204 texts`.
pub fn plural(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// `1,204`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
