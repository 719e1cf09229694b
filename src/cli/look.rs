//! What verbs look at before there is a rule: the first records of files, the newest of a topic.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::config;
use crate::decode::{JsonDecoder, probe};
use crate::event::time::parse_duration;
use crate::event::{Limits, PartitionId, Record, RejectReason, Timestamp};
use crate::files::{Framing, Input, Line, Origin, sample};
use crate::kafka::{Excerpt, Part, Settings};
use crate::schema::Schema;
use crate::schema::guess::{self, Look, Place, Sample};

/// Records that are looked at: of a topic, of files.
const OF_TOPIC: usize = 2_000;
const OF_FILES: usize = 20_000;

/// Longest record where each file is one.
pub const FILE_BYTES: usize = 256 << 20;

/// Reads a time as people write it on the command line: RFC 3339, or so long ago.
pub fn when(option: &str, text: &str) -> Result<Timestamp, String> {
    let now = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
    };
    let ago = || parse_duration(text).map(|span| now().minus(span));
    Timestamp::parse_text(text).or_else(ago).ok_or_else(|| {
        format!("{option} {text} is no time\n  hint: such as 2026-11-24T10:00:00Z, or so long ago: 90m, 2d")
    })
}

/// Where Kafka is.
#[derive(Args, Clone, Debug, Default)]
pub struct KafkaArgs {
    /// Kafka: host:port, several with commas
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// The topic to read
    #[arg(long)]
    pub topic: Option<String>,
    /// A configuration, for brokers, TLS and passwords
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl KafkaArgs {
    /// How to reach Kafka; none if nothing was said of it.
    pub fn settings(&self) -> Result<Option<Settings>, String> {
        let mut settings = match &self.config {
            Some(path) => match config::load(path) {
                Ok(config) => Some(config.kafka),
                Err(refused) => {
                    let gravity = crate::diagnostic::Gravity::Error;
                    super::print_problems(&refused.problems, &[refused.source], gravity);
                    return Err(format!("{} cannot be used", path.display()));
                }
            },
            None => None,
        };
        if let Some(brokers) = &self.brokers {
            match &mut settings {
                Some(settings) => settings.brokers.clone_from(brokers),
                None => settings = Some(Settings::new(brokers.clone())),
            }
        }
        Ok(settings)
    }
}

/// Records that were looked at.
pub struct Looked {
    /// The records, by partition in their order.
    pub lines: Vec<Line>,
    /// The keys of their records, where they come from Kafka.
    pub keys: Vec<Option<Vec<u8>>>,
    /// What a record of the files is.
    pub framing: Framing,
    /// Partitions of the topic; 0 for files.
    pub partitions: usize,
    /// What was read, for people.
    pub from: String,
    /// Whether that was all there is.
    pub whole: bool,
}

/// A name that a stream may have: of a file or topic, its last part.
pub fn stream_name(of: &str) -> String {
    let last = of.rsplit(['/', '\\']).next().unwrap_or(of);
    let stem = [".gz", ".zst", ".ndjson", ".jsonl", ".json", ".log"]
        .iter()
        .fold(last, |name, end| name.strip_suffix(end).unwrap_or(name));
    let word =
        if last == of && !of.ends_with("json") { stem.rsplit('.').next().unwrap_or(stem) } else { stem };
    let name = guess::name(word);
    if ["alerts", "exchange"].contains(&name.as_str()) { format!("{name}_stream") } else { name }
}

/// The first records of files, which must all be of one stream.
pub fn files(stream: &str, paths: &[PathBuf], most: Option<usize>) -> Result<Looked, String> {
    let most = most.unwrap_or(OF_FILES);
    let mut looked = Looked {
        lines: Vec::new(),
        keys: Vec::new(),
        framing: Framing::Lines,
        partitions: 0,
        from: match paths {
            [path] => path.display().to_string(),
            paths => format!(
                "{} files, the first {}",
                paths.len(),
                paths.first().map_or_else(String::new, |path| path.display().to_string())
            ),
        },
        whole: true,
    };
    for (at, path) in paths.iter().enumerate() {
        let origin = if path == Path::new("-") { Origin::Stdin } else { Origin::Path(path.clone()) };
        let input = Input { stream: stream.into(), origin };
        let room = most.saturating_sub(looked.lines.len());
        if at > 0 && room == 0 {
            looked.whole = false;
            break;
        }
        let (lines, whole) = read_file(&input, if at == 0 { None } else { Some(looked.framing) }, room)
            .and_then(|(lines, whole, framing)| {
                looked.framing = framing;
                if lines.is_empty() {
                    Err(format!("{} is empty", input.origin.name()))
                } else {
                    Ok((lines, whole))
                }
            })?;
        looked.whole &= whole;
        looked.lines.extend(lines);
    }
    looked.keys = vec![None; looked.lines.len()];
    Ok(looked)
}

/// The first records of one file. Is a record a line, or the whole file? Whatever can be read decides.
fn read_file(
    input: &Input,
    framing: Option<Framing>,
    most: usize,
) -> Result<(Vec<Line>, bool, Framing), String> {
    let read = |framing, most| {
        let record_bytes = if framing == Framing::File { FILE_BYTES } else { Limits::default().record_bytes };
        let limits = Limits { record_bytes, ..Limits::default() };
        sample(input, &limits, framing, most).map_err(|error| error.to_string())
    };
    if let Some(framing) = framing {
        let (lines, whole) = read(framing, most)?;
        return Ok((lines, whole, framing));
    }
    let (lines, whole) = read(Framing::Lines, most)?;
    let is_json = |line: &Line| {
        let text = line.payload.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line.payload);
        line.reject.is_none() && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
    };
    if lines.first().is_none_or(is_json) {
        return Ok((lines, whole, Framing::Lines));
    }
    // Some lines of a file that is one JSON text may be JSON of their own, but not its first.
    if input.origin != Origin::Stdin {
        let (file, whole) = read(Framing::File, 1)?;
        if file.iter().any(is_json) {
            return Ok((file, whole, Framing::File));
        }
    }
    if lines.iter().take(20).any(is_json) {
        return Ok((lines, whole, Framing::Lines));
    }
    Err(no_json(&input.origin.name(), lines.first()))
}

/// What a file without JSON is, and what to do about it.
fn no_json(name: &str, first: Option<&Line>) -> String {
    let bytes = first.map_or(&[][..], |line| line.payload.as_slice());
    let head = String::from_utf8_lossy(bytes.get(..200.min(bytes.len())).unwrap_or_default()).into_owned();
    let commas = head.matches([',', ';', '\t']).count();
    let advice = if head.starts_with("Obj\u{1}")
        || head.starts_with("PAR1")
        || head.contains(['\0', '\u{fffd}'])
    {
        "it looks binary (Avro, Parquet, Protobuf …): write it as JSON first".to_owned()
    } else if head.trim_start().starts_with('<') {
        "it looks like XML: write it as JSON first".to_owned()
    } else if commas >= 1 && !head.contains('{') {
        format!("it looks like CSV: make it JSON first, such as with `mlr --icsv --ojsonl cat {name}`")
    } else {
        format!("it starts with: {}", head.chars().take(60).filter(|c| !c.is_control()).collect::<String>())
    };
    format!(
        "{name} holds no JSON: a record is a JSON object a line, or the file is one JSON text\n  hint: {advice}"
    )
}

/// The newest records of a topic, from all its partitions.
pub fn topic(stream: &str, settings: &Settings, topic: &str, most: Option<usize>) -> Result<Looked, String> {
    let most = most.unwrap_or(OF_TOPIC);
    let part = Part::Newest(most as u64);
    let mut excerpt = Excerpt::open(settings, topic, part).map_err(|error| error.to_string())?;
    let mut taken = Vec::new();
    while let Some(record) = excerpt.next().map_err(|error| error.to_string())? {
        taken.push(record);
    }
    if taken.is_empty() {
        return Err(format!(
            "topic \"{topic}\" is empty\n  hint: wait for its first records, or look at a file with --sample"
        ));
    }
    taken.sort_by_key(|record| (record.broker_time, record.partition, record.offset));
    let (mut lines, mut keys) = (Vec::new(), Vec::new());
    for record in taken {
        lines.push(Line {
            partition: PartitionId { stream: stream.into(), index: record.partition },
            offset: record.offset,
            broker_time: record.broker_time,
            stream_time: record.broker_time,
            payload: record.payload,
            reject: None,
        });
        keys.push(record.key);
    }
    let (partitions, from) = (excerpt.partitions(), format!("topic {topic}"));
    Ok(Looked { lines, keys, framing: Framing::Lines, partitions, from, whole: false })
}

impl Looked {
    /// What was seen in them.
    pub fn look(&self) -> Look {
        let samples: Vec<Sample<'_>> = self
            .lines
            .iter()
            .zip(&self.keys)
            .map(|(line, key)| Sample {
                place: Place {
                    partition: line.partition.index,
                    broker_time: Some(line.broker_time).filter(|time| time.0 > 0),
                    key: key.as_deref(),
                },
                payload: &line.payload,
            })
            .collect();
        guess::look(&samples)
    }

    /// Dates records without a broker time by their events, as a replay does.
    pub fn date(&mut self, schema: &Schema) {
        let mut newest = Timestamp(0);
        for line in self.lines.iter_mut().filter(|line| line.broker_time.0 == 0) {
            newest = probe::event_time(schema, &line.payload).unwrap_or(newest).max(newest);
            (line.broker_time, line.stream_time) = (newest, newest);
        }
    }

    /// Decodes them all with a schema.
    pub fn decode(&self, schema: &Arc<Schema>) -> Decoded {
        let record_bytes =
            if self.framing == Framing::File { FILE_BYTES } else { Limits::default().record_bytes };
        let limits = Limits { record_bytes, ..Limits::default() };
        let mut decoder = JsonDecoder::new(schema.clone(), vec![true; schema.fields.len()], &limits);
        let sources: Arc<[PartitionId]> = Arc::from([PartitionId { stream: schema.name.clone(), index: 0 }]);
        let mut decoded = Decoded { records: self.lines.len() as u64, ..Decoded::default() };
        for (position, line) in (0u32..).zip(&self.lines) {
            if let Some((reason, why)) = &line.reject {
                decoded.reject(*reason, format!("offset {}: {why}", line.offset));
                continue;
            }
            decoder.push(&record(line, 0), position);
            if position % 4096 == 4095 {
                decoded.take(&mut decoder, &sources);
            }
        }
        decoded.take(&mut decoder, &sources);
        decoded
    }
}

/// A line as a record of a source.
pub fn record(line: &Line, source: u16) -> Record<'_> {
    Record {
        source,
        offset: line.offset,
        broker_time: line.broker_time,
        payload: &line.payload,
        broken: line.reject.as_ref().map(|(reason, _)| *reason),
    }
}

/// What a schema made of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Records read.
    pub records: u64,
    /// Events in them.
    pub events: u64,
    /// Records that could not be read, by reason, with the first of each.
    pub rejects: std::collections::BTreeMap<RejectReason, (u64, String)>,
    /// Values of the wrong type, by column.
    pub mistyped: std::collections::BTreeMap<String, u64>,
    /// Events without a plausible time.
    pub untimed: u64,
}

impl Decoded {
    /// Counts a record that could not be read.
    pub fn reject(&mut self, reason: RejectReason, first: String) {
        self.rejects.entry(reason).or_insert((0, first)).0 += 1;
    }

    /// Takes what a decoder has.
    pub fn take(&mut self, decoder: &mut JsonDecoder, sources: &Arc<[PartitionId]>) {
        let decoded = decoder.finish(sources);
        self.add(&decoded.stats, &decoded.rejects, decoded.batch.time.len());
    }

    /// Takes what became of a batch.
    pub fn add(
        &mut self,
        stats: &crate::decode::DecodeStats,
        rejects: &[crate::event::Reject],
        events: usize,
    ) {
        self.events += events as u64;
        self.untimed += stats.untimed;
        for (column, count) in &stats.mistyped {
            *self.mistyped.entry(column.clone()).or_default() += count;
        }
        for reject in rejects {
            self.reject(
                reject.reason,
                format!("offset {}, byte {}: {}", reject.offset, reject.at, reject.detail),
            );
        }
    }

    /// Records that could not be read.
    pub fn rejected(&self) -> u64 {
        self.rejects.values().map(|(count, _)| count).sum()
    }

    /// What went wrong, a line each.
    pub fn complaints(&self) -> Vec<String> {
        let rejects = self.rejects.iter().map(|(reason, (count, first))| {
            format!("rejected {} {count}, the first at {first}", reason.name())
        });
        let mistyped = self.mistyped.iter().map(|(column, count)| {
            format!("null instead: {count} values of {column} have another type than the schema says")
        });
        rejects.chain(mistyped).collect()
    }
}
