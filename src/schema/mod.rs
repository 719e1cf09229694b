//! What the fields of a stream are: one TOML file a stream, read from `schemas/`.
//!
//! `file` turns one file into a [`Schema`] and documents its form; `words` knows which names SQL cannot read;
//! `guess` writes the file of a stream of which only records are known.

mod file;
pub mod guess;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, TimeUnit as ArrowUnit};

use crate::alert::EntityType;
use crate::diagnostic::{Diagnostic, Gravity, Source};
use crate::event::{Micros, Type};

/// A stream: where it comes from, how its records are laid out, and what its fields mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// The stream's name: the file's name.
    pub name: Arc<str>,
    /// One line for people.
    pub doc: String,
    /// The Kafka topic, which a configuration may rename.
    pub topic: String,
    /// Index of the declared timestamp field that is the event time; none = broker time.
    pub time: Option<usize>,
    /// Index of the field that is the partition key; none = records are not partitioned by any field.
    pub key: Option<usize>,
    /// Path of the array that holds the events of one record, e.g. `Records`; empty = one record is one
    /// event.
    pub records: Vec<String>,
    /// How a record is written.
    pub format: Format,
    /// Retransmissions are recognised by these fields (accepted; used by a later version).
    pub dedup: Option<Dedup>,
    /// Declared fields, in the order of the file.
    pub fields: Vec<Field>,
}

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    #[default]
    Json,
    /// JSON too, but a line of Kafka's authorizer log, or a record that holds one, is taken apart.
    KafkaAuthorizer,
}

/// How retransmissions are recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct Dedup {
    /// Indices of the fields that together name an event.
    pub by: Vec<usize>,
    /// For how long it is remembered.
    pub span: Micros,
}

/// One declared field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The column's name: `[a-z_][a-z0-9_]*`, readable by SQL without quotes.
    pub name: String,
    /// Where it stands in the event: member names, outermost first.
    pub path: Vec<String>,
    /// Its type.
    pub kind: FieldType,
    /// Its unit, e.g. `km/h`.
    pub unit: String,
    /// One line for people.
    pub doc: String,
    /// Applied to texts, in this order.
    pub normalize: Vec<Normalize>,
    /// What kind of entity it names.
    pub entity: Option<EntityType>,
    /// How sensitive it is.
    pub class: Class,
    /// A smaller number is NULL, counted. A field with `min = 0` is known to be non-negative.
    pub min: Option<f64>,
    /// The texts it can have, for hints (not enforced).
    pub values: Vec<String>,
}

/// The types of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// UTF-8 text.
    Text,
    /// 64-bit integer: a JSON number without fraction and exponent.
    Int,
    /// Double; also takes integers.
    Float,
    /// `true` or `false`.
    Bool,
    /// An instant.
    Time(TimeUnit),
    /// An IP address in canonical text.
    Ip,
    /// A list of texts.
    TextList,
    /// Any JSON, kept as its compact text.
    Json,
}

/// How an instant is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Number of seconds since 1970; a fraction is allowed.
    Seconds,
    /// Number of milliseconds.
    Millis,
    /// Number of microseconds.
    Micros,
    /// Number of nanoseconds.
    Nanos,
    /// RFC 3339 text.
    Rfc3339,
    /// Text in any form that [`Timestamp::parse_text`] reads.
    ///
    /// [`Timestamp::parse_text`]: crate::event::Timestamp::parse_text
    Text,
}

/// What is done to a text before anything else sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// White space at both ends goes.
    Trim,
    /// Upper case.
    Upper,
    /// Lower case.
    Lower,
}

/// How sensitive a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Not sensitive.
    None,
    /// Names a vehicle.
    Vin,
    /// Tells where somebody was.
    Location,
    /// Names a person.
    Person,
}

/// Columns that every stream has beside its declared fields, in this order after them.
pub const BUILT_IN: [(&str, Type); 4] = [
    ("event_time", Type::Time),
    ("broker_time", Type::Time),
    ("_time_skewed", Type::Bool),
    ("_bytes", Type::Int),
];

impl FieldType {
    /// The type that expressions see.
    pub fn logical(self) -> Type {
        match self {
            FieldType::Text | FieldType::Ip | FieldType::Json => Type::Text,
            FieldType::Int => Type::Int,
            FieldType::Float => Type::Float,
            FieldType::Bool => Type::Bool,
            FieldType::Time(_) => Type::Time,
            FieldType::TextList => Type::List,
        }
    }
}

/// The Arrow type of columns of a logical type.
pub fn arrow_type(kind: Type) -> DataType {
    match kind {
        Type::Null => DataType::Null,
        Type::Bool => DataType::Boolean,
        Type::Int => DataType::Int64,
        Type::Float => DataType::Float64,
        Type::Text => DataType::Utf8,
        Type::Time => DataType::Timestamp(ArrowUnit::Microsecond, None),
        Type::List => DataType::List(Arc::new(ArrowField::new("item", DataType::Utf8, true))),
    }
}

/// Reads schema files; the stream is called as its file. Every problem of every file is reported, in the
/// order of the files and their text; a file with an error gives no schema.
pub fn load(sources: &[Source]) -> (Vec<Arc<Schema>>, Vec<Diagnostic>) {
    let mut schemas = Vec::new();
    let mut problems = Vec::new();
    let mut files: BTreeMap<&str, &str> = BTreeMap::new();
    for source in sources {
        let (schema, mut found) = file::read(source);
        let name = file::stream_name(&source.path);
        if let Some(other) = files.insert(name, &source.path) {
            found.push(Diagnostic {
                gravity: Gravity::Error,
                file: source.path.clone(),
                span: 0..0,
                message: format!("the stream \"{name}\" is described twice"),
                hint: format!("the other file is {other}"),
            });
        } else if let Some(schema) = schema {
            schemas.push(Arc::new(schema));
        }
        found.sort_by_key(|problem| problem.span.start);
        problems.append(&mut found);
    }
    (schemas, problems)
}

/// The files that come with the binary, by name.
pub fn built_in_sources() -> Vec<Source> {
    [
        ("schemas/api_gateway.toml", include_str!("../../schemas/api_gateway.toml")),
        ("schemas/charging.toml", include_str!("../../schemas/charging.toml")),
        ("schemas/cloudtrail.toml", include_str!("../../schemas/cloudtrail.toml")),
        ("schemas/diagnostics.toml", include_str!("../../schemas/diagnostics.toml")),
        ("schemas/identity.toml", include_str!("../../schemas/identity.toml")),
        ("schemas/kafka_audit.toml", include_str!("../../schemas/kafka_audit.toml")),
        ("schemas/ota.toml", include_str!("../../schemas/ota.toml")),
        ("schemas/remote_commands.toml", include_str!("../../schemas/remote_commands.toml")),
        ("schemas/telemetry.toml", include_str!("../../schemas/telemetry.toml")),
        ("schemas/vehicle_security_events.toml", include_str!("../../schemas/vehicle_security_events.toml")),
    ]
    .map(|(path, text)| Source { path: path.to_owned(), text: text.to_owned() })
    .into()
}

/// The streams that come with the binary.
pub fn built_in() -> Vec<Arc<Schema>> {
    load(&built_in_sources()).0
}

/// The files `*.toml` of a folder, by name; or one file.
pub fn read_dir(path: &Path) -> io::Result<Vec<Source>> {
    let mut paths = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?.path();
            if entry.extension().is_some_and(|extension| extension == "toml") && entry.is_file() {
                paths.push(entry);
            }
        }
        paths.sort();
    } else {
        paths.push(path.to_owned());
    }
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            Ok(Source { path: path.display().to_string(), text })
        })
        .collect()
}

impl Schema {
    /// How many columns a batch of this stream has: declared fields and built-in ones.
    pub fn width(&self) -> usize {
        self.fields.len() + BUILT_IN.len()
    }

    /// Index, in a batch, of the column of that name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.fields
            .iter()
            .map(|field| field.name.as_str())
            .chain(BUILT_IN.iter().map(|(name, _)| *name))
            .position(|other| other == name)
    }

    /// Name of the column at an index; empty beyond the last.
    pub fn column_name(&self, column: usize) -> &str {
        match self.fields.get(column) {
            Some(field) => &field.name,
            None => BUILT_IN.get(column.wrapping_sub(self.fields.len())).map_or("", |(name, _)| name),
        }
    }

    /// Type of the column at an index.
    pub fn column_type(&self, column: usize) -> Type {
        match self.fields.get(column) {
            Some(field) => field.kind.logical(),
            None => {
                BUILT_IN.get(column.wrapping_sub(self.fields.len())).map_or(Type::Null, |(_, kind)| *kind)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAMS: [&str; 10] = [
        "api_gateway",
        "charging",
        "cloudtrail",
        "diagnostics",
        "identity",
        "kafka_audit",
        "ota",
        "remote_commands",
        "telemetry",
        "vehicle_security_events",
    ];

    #[test]
    fn what_is_shipped_loads_without_a_word() {
        let (schemas, problems) = load(&built_in_sources());
        assert_eq!(problems, []);
        let names: Vec<&str> = schemas.iter().map(|schema| &*schema.name).collect();
        assert_eq!(names, STREAMS);
        assert!(schemas.iter().all(|schema| !schema.doc.is_empty() && schema.time.is_some()));
        for field in schemas.iter().flat_map(|schema| &schema.fields) {
            assert!(!field.doc.is_empty(), "{}", field.name);
        }
    }

    #[test]
    fn columns_that_rules_read_exist() {
        let columns = [
            (
                "telemetry",
                "vin ts seq device_id boot_id src_ip speed odometer lat lon heading fix_type ignition \
                 gear rpm soc coolant_c charging alarm_flags doors_locked dtc_count firmware model region \
                 ack_id ambient_c torque throttle battery_v reefer_c reefer_setpoint_c event_time _bytes",
            ),
            (
                "diagnostics",
                "vin ts ecu service subfunction response nrc did rid client_address session event_id \
                 event_name count tester_id request_id bus dtc pdu idsm_instance reporting_mode src \
                 dst_port",
            ),
            (
                "cloudtrail",
                "ts event_version event_source event_name aws_region source_ip user_agent error_code \
                 error_message request_parameters response_elements additional_event_data user_identity \
                 identity_type principal_id user_arn account_id access_key_id user_name mfa_authenticated \
                 session_issuer_arn invoked_by read_only event_id event_type management_event \
                 recipient_account_id event_category tls_version resources shared_event_id \
                 vpc_endpoint_id",
            ),
        ];
        let schemas = built_in();
        for (stream, names) in columns {
            let schema = schemas.iter().find(|schema| &*schema.name == stream).unwrap();
            for name in names.split_whitespace() {
                assert!(schema.column(name).is_some(), "{stream}.{name}");
            }
        }
    }

    #[test]
    fn vehicles_and_places_are_marked() {
        let schemas = built_in();
        for stream in ["telemetry", "diagnostics"] {
            let schema = schemas.iter().find(|schema| &*schema.name == stream).unwrap();
            let vin = &schema.fields[schema.key.unwrap()];
            assert_eq!(
                (vin.name.as_str(), vin.class, vin.entity),
                ("vin", Class::Vin, Some(EntityType::Vehicle))
            );
            assert_eq!(vin.normalize, [Normalize::Trim, Normalize::Upper]);
        }
        let telemetry = schemas.iter().find(|schema| &*schema.name == "telemetry").unwrap();
        for name in ["lat", "lon"] {
            assert_eq!(telemetry.fields[telemetry.column(name).unwrap()].class, Class::Location);
        }
        let cloudtrail = schemas.iter().find(|schema| &*schema.name == "cloudtrail").unwrap();
        assert_eq!(
            (cloudtrail.key, cloudtrail.records.as_slice()),
            (None, ["Records".to_owned()].as_slice())
        );
    }

    #[test]
    fn a_stream_is_described_once() {
        let source =
            |path: &str| Source { path: path.into(), text: "[fields]\nx = { type = \"int\" }\n".into() };
        let (schemas, problems) = load(&[source("a/one.toml"), source("b/one.toml"), source("a/two.toml")]);
        assert_eq!(schemas.len(), 2);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("twice") && problems[0].file == "b/one.toml", "{problems:?}");
    }

    #[test]
    fn a_folder_is_read_by_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let sources = read_dir(&folder).unwrap();
        let names: Vec<&str> = sources.iter().map(|source| source.path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, STREAMS.map(|stream| format!("{stream}.toml")));
        assert_eq!(read_dir(&folder.join("telemetry.toml")).unwrap().len(), 1);
        let missing = read_dir(&folder.join("missing.toml")).unwrap_err();
        assert!(missing.to_string().contains("missing.toml"), "{missing}");
    }
}
