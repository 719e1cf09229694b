//! Records out of files: NDJSON, plain or packed with gzip or zstd, merged over all inputs.
//!
//! A line is an event, or an event in its envelope `{"_t":BROKER_MS,"_p":PARTITION,"_o":OFFSET,"v":{…}}`: an
//! object with exactly these members. Blank lines are nothing. Several files of one stream are read in the
//! order they are named.
//! - **Without envelope** a line belongs to partition 0; offsets count on from file to file; the broker time
//!   is the highest event time of the partition so far (1970 before the first one).
//! - **With envelope** the line says all of this. Its offset must be above those before it in its partition,
//!   else it is a reject; its time counts all the same.
//! - **Mixed**: each line is taken as what it is. A line without envelope among others is dated by the
//!   highest broker time of partition 0, gets the offset after the highest one, and takes no offset away from
//!   those that have one.
//!
//! What comes out is in the order (stream time, stream, partition), each partition in the order of its lines.
//! Stream time is the highest broker time of the partition so far.
//!
//! Memory: a line a partition; and where partitions alternate in one file, the lines between two lines of one
//! partition whose times lie apart: a file in which a whole partition stands before another is better split.
//! A file whose first 100 records have an envelope among them is read once before, to know its partitions;
//! standard input that starts with an envelope is held in memory whole. (A partition that shows up later than
//! that, in a file or input which starts without envelopes, is merged from there on.)
//!
//! Nothing here decodes events: broken ones are handed on for the decoder to reject.

mod envelope;
mod reader;
mod sample;
mod source;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::envelope::Framed;
use self::reader::{Raw, Reader};
use crate::decode::probe;
use crate::event::{Limits, PartitionId, RejectReason, Timestamp};
use crate::schema::Schema;

pub use self::sample::sample;
pub use self::source::Origin;

/// Bytes of a line beyond the limit of a record: room for its envelope.
const ENVELOPE: usize = 1024;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each line.
    Lines,
    /// Each file.
    File,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The stream it belongs to.
    pub stream: Arc<str>,
    /// Where its bytes are.
    pub origin: Origin,
}

/// One record, with its place in the merged order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset there.
    pub offset: i64,
    /// When the broker took it, or what stands for that.
    pub broker_time: Timestamp,
    /// The highest broker time of the partition so far, this record included.
    pub stream_time: Timestamp,
    /// The bytes of the event.
    pub payload: Vec<u8>,
    /// Why it is a reject before anybody has decoded it.
    pub reject: Option<(RejectReason, String)>,
}

/// What went wrong with an input.
#[derive(Debug)]
pub enum FilesError {
    /// It cannot be read, or not to its end.
    Io {
        /// The file.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// An argument is neither `STREAM=FILE` nor a folder.
    NotAnInput(String),
    /// A folder has no file `STREAM.ndjson`, packed or not.
    Empty(String),
    /// Standard input is named twice.
    StdinTwice,
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilesError::Io { name, error } => write!(f, "cannot read {name}: {error}"),
            FilesError::NotAnInput(text) => {
                write!(
                    f,
                    "\"{text}\" is no input: give STREAM=FILE, STREAM=- or a folder of STREAM.ndjson files"
                )
            }
            FilesError::Empty(folder) => {
                write!(
                    f,
                    "{folder} has no input: its files must be called STREAM.ndjson, STREAM.ndjson.gz or .zst"
                )
            }
            FilesError::StdinTwice => f.write_str("standard input can be one input only"),
        }
    }
}

impl std::error::Error for FilesError {}

/// The inputs that arguments name: `STREAM=FILE`, `STREAM=-`, `STREAM=FOLDER` (all its files), or a folder of
/// `STREAM.ndjson`, `STREAM.ndjson.gz` and `STREAM.ndjson.zst`. Files of a folder come by name.
pub fn inputs(arguments: &[String]) -> Result<Vec<Input>, FilesError> {
    let mut inputs = Vec::new();
    for argument in arguments {
        match argument.split_once('=') {
            Some((stream, "-")) => inputs.push(Input { stream: stream.into(), origin: Origin::Stdin }),
            Some((stream, path)) if !stream.contains('/') => {
                let files = if Path::new(path).is_dir() { folder(path)? } else { vec![path.to_owned()] };
                let input = |file: String| Input { stream: stream.into(), origin: Origin::Path(file.into()) };
                inputs.extend(files.into_iter().map(input));
            }
            _ if Path::new(argument).is_dir() => inputs.append(&mut streams(argument)?),
            _ => return Err(FilesError::NotAnInput(argument.clone())),
        }
    }
    if inputs.iter().filter(|input| input.origin == Origin::Stdin).count() > 1 {
        return Err(FilesError::StdinTwice);
    }
    Ok(inputs)
}

/// The files of a folder, by name.
fn folder(path: &str) -> Result<Vec<String>, FilesError> {
    let failed = |error| FilesError::Io { name: path.to_owned(), error };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?.path();
        if entry.is_file() {
            files.push(entry.display().to_string());
        }
    }
    files.sort();
    Ok(files)
}

/// The files of a folder that are called as a stream.
fn streams(path: &str) -> Result<Vec<Input>, FilesError> {
    let mut inputs = Vec::new();
    for file in folder(path)? {
        let name = file.rsplit('/').next().unwrap_or_default();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
        // Beside its streams a simulated fleet leaves the truth about attacks, which is none.
        if let Some(stream) = name.strip_suffix(".ndjson").filter(|stream| *stream != "truth") {
            inputs.push(Input { stream: stream.into(), origin: Origin::Path(file.clone().into()) });
        }
    }
    if inputs.is_empty() { Err(FilesError::Empty(path.to_owned())) } else { Ok(inputs) }
}

/// All records of some inputs, merged. After an error nothing comes.
pub struct Files {
    streams: Vec<Stream>,
    /// The next line of each partition: stream time, stream, partition.
    heads: BinaryHeap<Reverse<(Timestamp, usize, i32)>>,
    total: u64,
    read: Arc<AtomicU64>,
    error: Option<FilesError>,
}

/// The inputs of one stream.
struct Stream {
    name: Arc<str>,
    schema: Option<Arc<Schema>>,
    files: Vec<Reader>,
    partitions: BTreeMap<i32, Partition>,
    max_bytes: usize,
}

/// How far a partition has been read.
#[derive(Default)]
struct Partition {
    /// The file that is being read.
    file: usize,
    head: Option<Line>,
    stream_time: Timestamp,
    /// Where offsets count on.
    next_offset: i64,
    /// The highest offset that an envelope said.
    said: Option<i64>,
}

impl Files {
    /// Opens all inputs. A stream without a schema has no event times.
    pub fn open(
        inputs: &[Input],
        schemas: &[Arc<Schema>],
        limits: &Limits,
        framing: Framing,
    ) -> Result<Files, FilesError> {
        let read = Arc::new(AtomicU64::new(0));
        let names: BTreeSet<&Arc<str>> = inputs.iter().map(|input| &input.stream).collect();
        let mut streams = Vec::new();
        for name in names {
            let files = inputs.iter().filter(|input| input.stream == *name).map(|input| {
                let limit = limits.record_bytes.saturating_add(ENVELOPE);
                Reader::open(input.origin.clone(), framing, limit, read.clone())
            });
            streams.push(Stream {
                name: name.clone(),
                schema: schemas.iter().find(|schema| schema.name == *name).cloned(),
                files: files.collect::<Result<_, _>>()?,
                partitions: BTreeMap::new(),
                max_bytes: limits.record_bytes,
            });
        }
        let total = inputs.iter().map(|input| input.origin.bytes()).sum();
        let mut files = Files { streams, heads: BinaryHeap::new(), total, read, error: None };
        for stream in 0..files.streams.len() {
            files.discover(stream)?;
        }
        Ok(files)
    }

    /// Bytes read so far and bytes in all, as stored; standard input adds to the former only.
    pub fn progress(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.total)
    }

    /// Takes up the partitions of a stream that are new; reading their first lines may show more.
    fn discover(&mut self, stream: usize) -> Result<(), FilesError> {
        while let Some(partition) = self.streams.get(stream).and_then(Stream::unknown) {
            self.advance(stream, partition)?;
        }
        Ok(())
    }

    /// Puts the next line of a partition into the merge.
    fn advance(&mut self, stream: usize, partition: i32) -> Result<(), FilesError> {
        let Some(of) = self.streams.get_mut(stream) else { return Ok(()) };
        if let Some(time) = of.advance(partition)? {
            self.heads.push(Reverse((time, stream, partition)));
        }
        Ok(())
    }

    fn take(&mut self) -> Option<Line> {
        let Reverse((_, stream, partition)) = self.heads.pop()?;
        let line = self.streams.get_mut(stream)?.partitions.get_mut(&partition)?.head.take();
        self.error = self.advance(stream, partition).and_then(|()| self.discover(stream)).err();
        line
    }
}

impl Iterator for Files {
    type Item = Result<Line, FilesError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            self.heads.clear();
            return Some(Err(error));
        }
        self.take().map(Ok)
    }
}

impl Stream {
    /// A partition that some file is known to have and that is not read yet.
    fn unknown(&self) -> Option<i32> {
        let mut seen = self.files.iter().flat_map(|file| &file.seen);
        seen.find(|partition| !self.partitions.contains_key(partition)).copied()
    }

    /// Reads the next line of a partition, and tells its stream time; none = there is no more.
    fn advance(&mut self, index: i32) -> Result<Option<Timestamp>, FilesError> {
        let Stream { name, schema, files, partitions, max_bytes } = self;
        let partition = partitions.entry(index).or_default();
        while let Some(file) = files.get_mut(partition.file) {
            if let Some(raw) = file.next(index)? {
                let id = PartitionId { stream: name.clone(), index };
                let line = partition.line(raw, id, schema.as_deref(), *max_bytes);
                partition.head = Some(line);
                return Ok(Some(partition.stream_time));
            }
            partition.file += 1;
        }
        Ok(None)
    }
}

impl Partition {
    fn line(&mut self, raw: Raw, id: PartitionId, schema: Option<&Schema>, max_bytes: usize) -> Line {
        let Raw { bytes: mut payload, cut, framed } = raw;
        let mut reject = cut.then(|| (RejectReason::TooLarge, format!("longer than {max_bytes} bytes")));
        let (offset, broker_time) = match framed {
            Framed::Envelope(envelope) => {
                payload.truncate(envelope.payload.end);
                payload.drain(..envelope.payload.start.min(payload.len()));
                if let Some(said) = self.said.filter(|said| envelope.offset <= *said) {
                    let detail = format!("offset {} comes after offset {said}", envelope.offset);
                    reject = Some((RejectReason::Envelope, detail));
                }
                self.said = self.said.max(Some(envelope.offset));
                (envelope.offset, envelope.time)
            }
            Framed::Bad(detail) => {
                reject = Some((RejectReason::Envelope, detail));
                (self.next_offset, self.stream_time)
            }
            Framed::Event => {
                let time = schema.and_then(|schema| probe::event_time(schema, &payload));
                (self.next_offset, time.map_or(self.stream_time, |time| time.max(self.stream_time)))
            }
        };
        self.next_offset = self.next_offset.max(offset.saturating_add(1));
        self.stream_time = self.stream_time.max(broker_time);
        Line { partition: id, offset, broker_time, stream_time: self.stream_time, payload, reject }
    }
}

/// All records of some inputs at once: for tests and small samples.
pub fn read_all(
    inputs: &[Input],
    schemas: &[Arc<Schema>],
    limits: &Limits,
    framing: Framing,
) -> Result<Vec<Line>, FilesError> {
    Files::open(inputs, schemas, limits, framing)?.collect()
}

#[cfg(test)]
mod tests;
