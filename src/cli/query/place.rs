//! Which streams a query can read, and where each of them comes from.

use std::path::PathBuf;
use std::sync::Arc;

use super::QueryArgs;
use crate::cli::look::{self, FILE_BYTES, Looked};
use crate::cli::replay::FramingArg;
use crate::cli::schema::Guessed;
use crate::cli::{Exit, fail};
use crate::event::{Limits, PartitionId};
use crate::files::{self, Files, Framing, Input, Line, inputs};
use crate::kafka::{Excerpt, Part, Settings};
use crate::schema::Schema;

/// A stream, and where its records are.
#[derive(Clone, Debug)]
pub struct Place {
    /// How it is decoded.
    pub schema: Arc<Schema>,
    /// Where it is read.
    pub origin: Origin,
    /// The limits of its records.
    pub limits: Limits,
}

/// Where records are.
#[derive(Clone, Debug)]
pub enum Origin {
    /// In files.
    Files(Vec<Input>, Framing),
    /// In a part of a topic.
    Topic {
        /// How to reach it.
        settings: Box<Settings>,
        /// Its name.
        topic: String,
        /// Which part.
        part: Part,
    },
}

/// Records on their way.
pub enum Records {
    /// Out of files.
    Files(Box<Files>),
    /// Out of a topic, as this stream.
    Topic(Box<Excerpt>, Arc<str>),
}

impl Place {
    /// Starts to read.
    pub fn open(&self) -> Result<Records, String> {
        match &self.origin {
            Origin::Files(inputs, framing) => {
                let files = Files::open(inputs, std::slice::from_ref(&self.schema), &self.limits, *framing);
                Ok(Records::Files(Box::new(files.map_err(|error| error.to_string())?)))
            }
            Origin::Topic { settings, topic, part } => {
                let excerpt = Excerpt::open(settings, topic, *part).map_err(|error| error.to_string())?;
                Ok(Records::Topic(Box::new(excerpt), self.schema.name.clone()))
            }
        }
    }
}

impl Records {
    /// The next record; none at the end.
    pub fn next(&mut self) -> Option<Result<Line, String>> {
        match self {
            Records::Files(files) => files.next().map(|line| line.map_err(|error| error.to_string())),
            Records::Topic(excerpt, stream) => match excerpt.next() {
                Ok(None) => None,
                Err(error) => Some(Err(error.to_string())),
                Ok(Some(taken)) => Some(Ok(Line {
                    partition: PartitionId { stream: stream.clone(), index: taken.partition },
                    offset: taken.offset,
                    broker_time: taken.broker_time,
                    stream_time: taken.broker_time,
                    payload: taken.payload,
                    reject: None,
                })),
            },
        }
    }

    /// How much has been read, and how much there is: bytes, or offsets.
    pub fn progress(&self) -> (u64, u64) {
        match self {
            Records::Files(files) => files.progress(),
            Records::Topic(excerpt, _) => excerpt.progress(),
        }
    }
}

/// All streams that the arguments name.
pub fn sources(args: &QueryArgs) -> Result<Vec<Place>, Exit> {
    let schemas = crate::cli::schemas(args.schemas.as_deref())?;
    let part = part(args).map_err(|message| fail(&message))?;
    let settings = args.kafka.settings().map_err(|message| fail(&message))?;
    let mut places = of_files(args, &schemas)?;
    match (settings, &args.kafka.topic) {
        (Some(settings), Some(topic)) => places.push(of_topic(args, &schemas, settings, topic, part)?),
        (Some(settings), None) => {
            let free: Vec<&Arc<Schema>> = schemas
                .iter()
                .filter(|schema| places.iter().all(|place| place.schema.name != schema.name))
                .filter(|schema| args.stream.as_ref().is_none_or(|stream| **stream == *schema.name))
                .collect();
            places.extend(free.into_iter().map(|schema| Place {
                origin: Origin::Topic {
                    settings: Box::new(settings.clone()),
                    topic: schema.topic.clone(),
                    part,
                },
                schema: schema.clone(),
                limits: Limits::default(),
            }));
        }
        (None, Some(_)) => return Err(fail("where is Kafka? add --brokers HOST:PORT, or -c FILE")),
        (None, None) if args.from.is_some() || args.to.is_some() => {
            return Err(fail("--from and --to are for topics; of files, ask WHERE event_time > '…'"));
        }
        (None, None) => {}
    }
    Ok(places)
}

fn of_files(args: &QueryArgs, schemas: &[Arc<Schema>]) -> Result<Vec<Place>, Exit> {
    let all = inputs(&args.inputs).map_err(|error| fail(&error.to_string()))?;
    let (framing, record_bytes) = match args.framing {
        FramingArg::Lines => (Framing::Lines, Limits::default().record_bytes),
        FramingArg::File => (Framing::File, FILE_BYTES),
    };
    let mut places: Vec<Place> = Vec::new();
    for input in all {
        if let Some(place) = places.iter_mut().find(|place| place.schema.name == input.stream)
            && let Origin::Files(inputs, _) = &mut place.origin
        {
            inputs.push(input);
            continue;
        }
        let known = schemas.iter().find(|schema| schema.name == input.stream).cloned();
        let schema = match (known, &input.origin) {
            (Some(known), _) => known,
            (None, files::Origin::Path(path)) => {
                let looked = look::files(&input.stream, &[PathBuf::from(path)], None);
                guessed(&input.stream, looked)?
            }
            (None, _) => return Err(unknown(&input.stream, schemas)),
        };
        let limits = Limits { record_bytes, ..Limits::default() };
        places.push(Place { schema, origin: Origin::Files(vec![input], framing), limits });
    }
    Ok(places)
}

fn of_topic(
    args: &QueryArgs,
    schemas: &[Arc<Schema>],
    settings: Settings,
    topic: &str,
    part: Part,
) -> Result<Place, Exit> {
    let named = args.stream.clone();
    let known = match &named {
        Some(stream) => schemas.iter().find(|schema| *schema.name == **stream),
        None => schemas.iter().find(|schema| schema.topic == topic),
    };
    let schema = match known {
        Some(schema) => schema.clone(),
        None => {
            let stream = named.unwrap_or_else(|| look::stream_name(topic));
            guessed(&stream, look::topic(&stream, &settings, topic, None))?
        }
    };
    let origin = Origin::Topic { settings: Box::new(settings), topic: topic.to_owned(), part };
    Ok(Place { schema, origin, limits: Limits::default() })
}

/// A schema for a stream that has none.
fn guessed(stream: &str, looked: Result<Looked, String>) -> Result<Arc<Schema>, Exit> {
    let schema = looked.and_then(|looked| {
        let look = looked.look();
        let guessed = Guessed::new(stream, &look, &looked, None)?;
        let records = crate::cli::number(looked.lines.len(), "record");
        eprintln!("note: stream {stream} has no schema; guessed from {records}: `fleetwarden schema infer` prints it");
        Ok(guessed.schema.clone())
    });
    schema.map_err(|message| fail(&message))
}

fn unknown(stream: &str, schemas: &[Arc<Schema>]) -> Exit {
    let names: Vec<&str> = schemas.iter().map(|schema| &*schema.name).collect();
    let hint = crate::diagnostic::suggest(stream, names.iter().copied());
    fail(&format!("there is no stream \"{stream}\": {hint}"))
}

fn part(args: &QueryArgs) -> Result<Part, String> {
    let time =
        |name: &str, text: &Option<String>| text.as_deref().map(|text| look::when(name, text)).transpose();
    Ok(Part::Between(time("--from", &args.from)?, time("--to", &args.to)?))
}
