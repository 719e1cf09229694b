//! A checkpoint ↔ bytes: `docs/formats/checkpoint.md`.
//!
//! A fixed head, the state tables as Arrow IPC streams, a directory of them, a checksum over everything. Bytes
//! are believed in this order: magic, version, length, checksum, directory, tables, invariants. The checksum
//! finds damage, not malice: who may write to the store may write any state.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;

use super::invariants;
use crate::detect::codec::{Reader, Sources, Writer};
use crate::detect::{StateError, state};
use crate::event::told::RuleState;
use crate::event::{Checkpoint, PartitionId};

/// The version that is written. It rises with any change of these bytes or of those in the `state` columns;
/// the version before it is read as well.
pub const VERSION: u32 = 1;

/// What a checkpoint begins with; the line ends show whether a transfer has changed such.
const MAGIC: [u8; 8] = *b"FWCKPT\r\n";

/// Magic, version, zeros, whole length, place of the directory.
const HEAD: usize = 32;

/// Tables start at multiples of this, so that they are read where they lie.
const ALIGN: usize = 64;

/// What was read, and who wrote it.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The cut.
    pub checkpoint: Checkpoint,
    /// The version of the program that wrote it.
    pub engine: String,
    /// The version of the format that it was written in.
    pub version: u32,
}

/// Why bytes are no checkpoint that can be used, or a cut none that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The object is something else.
    Foreign,
    /// A later program has written it.
    TooNew(u32),
    /// A much earlier program has written it.
    TooOld(u32),
    /// It has not the length that it says.
    Length {
        /// What it says.
        said: u64,
        /// What it has.
        found: u64,
    },
    /// Its checksum is not that of its bytes.
    Damaged,
    /// The checksum is right, yet the inside cannot be read.
    Unreadable(String),
    /// It breaks the invariant of this name.
    Violates(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Foreign => f.write_str(
                "this is no checkpoint: use a place of the store where nothing else writes, and remove the object",
            ),
            Refused::TooNew(version) => write!(
                f,
                "the checkpoint has format {version}, and this program reads up to {VERSION}: \
                 start the version that wrote it, or a later one"
            ),
            Refused::TooOld(version) => write!(
                f,
                "the checkpoint has format {version}, and this program reads {} and {VERSION}: \
                 start a version between first and let it write one",
                VERSION.saturating_sub(1).max(1)
            ),
            Refused::Length { said, found } => write!(
                f,
                "the checkpoint says it has {said} bytes and has {found}: it was cut off or added to; \
                 an older one is used"
            ),
            Refused::Damaged => f.write_str(
                "the checkpoint's checksum is wrong: its bytes were changed after it was written; \
                 an older one is used, and the store should be looked at",
            ),
            Refused::Unreadable(why) => write!(
                f,
                "the checkpoint cannot be read although its checksum is right: {why}; keep it for whoever \
                 looks after this program, an older one is used"
            ),
            Refused::Violates(name) => write!(
                f,
                "the checkpoint breaks the invariant \"{name}\": it is not used; this is a fault of the program"
            ),
        }
    }
}

impl std::error::Error for Refused {}

impl From<StateError> for Refused {
    fn from(error: StateError) -> Refused {
        Refused::Unreadable(error.0)
    }
}

fn unreadable(error: impl fmt::Display) -> Refused {
    Refused::Unreadable(error.to_string())
}

/// The bytes of a cut; an error if it breaks an invariant.
pub fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>, Refused> {
    invariants::check(checkpoint)?;
    let tables = || checkpoint.tables.iter().flat_map(|rule| [Some(&rule.detector), rule.suppress.as_ref()]);
    let size: usize = tables().flatten().flatten().map(RecordBatch::get_array_memory_size).sum();
    let mut out = Vec::with_capacity(size + size / 16 + 4096);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.resize(HEAD, 0);
    let mut places = Vec::new();
    for table in tables() {
        places.push(table.map(|table| write_table(&mut out, table)).transpose()?);
    }
    let directory = out.len() as u64;
    let mut writer = Writer(out);
    write_directory(checkpoint, &places, &mut writer);
    let mut out = writer.0;
    let length = out.len() as u64 + 4;
    for (at, value) in [(16, length), (24, directory)] {
        if let Some(place) = out.get_mut(at..at + 8) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
    let sum = crc32fast::hash(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    Ok(out)
}

/// Where a table lies: offset and length in bytes.
type Place = (u64, u64);

fn write_table(out: &mut Vec<u8>, table: &[RecordBatch]) -> Result<Place, Refused> {
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    let start = out.len();
    let mut writer = StreamWriter::try_new(&mut *out, &state::schema()).map_err(unreadable)?;
    for batch in table {
        writer.write(batch).map_err(unreadable)?;
    }
    writer.finish().map_err(unreadable)?;
    drop(writer);
    Ok((start as u64, (out.len() - start) as u64))
}

fn write_directory(checkpoint: &Checkpoint, places: &[Option<Place>], out: &mut Writer) {
    out.text(env!("CARGO_PKG_VERSION"));
    write_partition(&checkpoint.partition, out);
    out.i64(checkpoint.epoch);
    out.i64(checkpoint.journal);
    out.i64(checkpoint.next_offset);
    out.option(checkpoint.previous.as_ref(), |out, hash| out.u64(*hash));
    out.time(checkpoint.stream_time);
    out.u64(checkpoint.seq);
    out.u128(checkpoint.rules);
    out.list(&checkpoint.sources, |out, source| write_partition(source, out));
    let rules: Vec<_> = checkpoint.tables.iter().zip(places.chunks(2)).collect();
    out.list(&rules, |out, (rule, places)| {
        out.text(&rule.rule);
        out.u128(rule.fingerprint);
        out.i64(rule.second.0);
        out.u32(rule.second.1);
        for place in *places {
            out.option(place.as_ref(), |out, (start, length)| {
                out.u64(*start);
                out.u64(*length);
            });
        }
    });
}

fn write_partition(partition: &PartitionId, out: &mut Writer) {
    out.text(&partition.stream);
    out.u32(partition.index as u32);
}

/// What [`encode`] made, by this version or the one before.
pub fn decode(bytes: &Buffer) -> Result<Saved, Refused> {
    let length = bytes.len();
    let head = bytes.get(..HEAD).filter(|head| head.starts_with(&MAGIC)).ok_or(Refused::Foreign)?;
    let version = u32::from_le_bytes(part(head, 8)?);
    match version {
        VERSION => {}
        0 => return Err(Refused::Foreign),
        // The version before the first is none; a later format reads the one before it here.
        version if version < VERSION => return Err(Refused::TooOld(version)),
        version => return Err(Refused::TooNew(version)),
    }
    let said = u64::from_le_bytes(part(head, 16)?);
    if said != length as u64 || length < HEAD + 4 {
        return Err(Refused::Length { said, found: length as u64 });
    }
    let (body, sum) = bytes.split_at(length - 4);
    if crc32fast::hash(body).to_le_bytes() != sum {
        return Err(Refused::Damaged);
    }
    let start = u64::from_le_bytes(part(head, 24)?);
    let directory = usize::try_from(start).ok().filter(|start| *start >= HEAD).and_then(|at| body.get(at..));
    let directory = directory.ok_or_else(|| unreadable("the directory lies outside"))?;
    // Arrow checks what it reads, but it is a large reader, and a start must not end in a panic.
    let read = catch_unwind(AssertUnwindSafe(|| read_directory(directory, bytes)));
    let (checkpoint, engine) = read.unwrap_or_else(|_| Err(unreadable("a table is malformed")))?;
    invariants::check(&checkpoint)?;
    Ok(Saved { checkpoint, engine, version })
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Refused> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(Refused::Foreign)
}

fn read_directory(directory: &[u8], whole: &Buffer) -> Result<(Checkpoint, String), Refused> {
    let mut from = Reader(directory, Sources::Same);
    let engine = from.text()?;
    let partition = read_partition(&mut from)?;
    let (epoch, journal, next_offset) = (from.i64()?, from.i64()?, from.i64()?);
    let previous = from.option(Reader::u64)?;
    let (stream_time, seq, rules) = (from.time()?, from.u64()?, from.u128()?);
    let sources = from.list(read_partition)?;
    let listed = from.list(|from| {
        let (rule, fingerprint, second) = (from.text()?, from.u128()?, (from.i64()?, from.u32()?));
        let place = |from: &mut Reader<'_>| from.option(|from| Ok((from.u64()?, from.u64()?)));
        Ok((rule, fingerprint, second, place(from)?, place(from)?))
    })?;
    if !from.0.is_empty() {
        return Err(unreadable("there is more behind the directory"));
    }
    let mut tables = Vec::new();
    for (rule, fingerprint, second, detector, suppress) in listed {
        let detector = detector.ok_or_else(|| unreadable(format!("no table of rule \"{rule}\"")))?;
        let table = |place| read_table(whole, place).map_err(|why| why.of(&rule));
        let (detector, suppress) = (table(detector)?, suppress.map(table).transpose()?);
        tables.push(RuleState { rule, fingerprint, detector, suppress, second });
    }
    let checkpoint = Checkpoint {
        partition,
        epoch,
        journal,
        next_offset,
        previous,
        stream_time,
        seq,
        rules,
        sources,
        tables,
    };
    Ok((checkpoint, engine))
}

fn read_partition(from: &mut Reader<'_>) -> Result<PartitionId, StateError> {
    Ok(PartitionId { stream: Arc::from(from.text()?), index: from.u32()? as i32 })
}

impl Refused {
    fn of(self, rule: &str) -> Refused {
        match self {
            Refused::Unreadable(why) => Refused::Unreadable(format!("the table of rule \"{rule}\": {why}")),
            other => other,
        }
    }
}

fn read_table(whole: &Buffer, (start, length): Place) -> Result<Vec<RecordBatch>, Refused> {
    let (start, length) = (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(length));
    let length = length.unwrap_or(usize::MAX);
    if start.checked_add(length).is_none_or(|end| end > whole.len()) {
        return Err(unreadable("it lies outside"));
    }
    let mut bytes = whole.slice_with_length(start, length);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        batches.extend(decoder.decode(&mut bytes).map_err(unreadable)?);
    }
    decoder.finish().map_err(unreadable)?;
    Ok(batches)
}

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod tests;
