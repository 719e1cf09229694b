//! The first records of an input, in the order of the file: for whoever wants to know what it looks like.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::envelope::Framed;
use super::reader::Raw;
use super::source::Lines;
use super::{ENVELOPE, FilesError, Framing, Input, Line, Partition};
use crate::event::{Limits, PartitionId};

/// Bytes of records that a sample holds at most.
const SAMPLE_BYTES: usize = 64 << 20;

/// The first `most` records of an input (64 MiB of them at most), and whether it ends there. No file is read
/// further than that; nothing is merged.
pub fn sample(
    input: &Input,
    limits: &Limits,
    framing: Framing,
    most: usize,
) -> Result<(Vec<Line>, bool), FilesError> {
    let failed = |error| input.origin.failed(error);
    let limit = limits.record_bytes.saturating_add(ENVELOPE);
    let mut lines = Lines::open(&input.origin, framing, limit, Arc::default()).map_err(failed)?;
    let mut partitions: BTreeMap<i32, Partition> = BTreeMap::new();
    let (mut all, mut bytes) = (Vec::new(), 0);
    while all.len() < most && bytes < SAMPLE_BYTES {
        let Some(line) = lines.next().map_err(failed)? else { return Ok((all, true)) };
        let raw = Raw::new(line);
        let index = if let Framed::Envelope(envelope) = &raw.framed { envelope.partition } else { 0 };
        let id = PartitionId { stream: input.stream.clone(), index };
        let line = partitions.entry(index).or_default().line(raw, id, None, limits.record_bytes);
        bytes += line.payload.len();
        all.push(line);
    }
    let ended = lines.next().map_err(failed)?.is_none();
    Ok((all, ended))
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    #[test]
    fn it_reads_no_further_than_asked_and_opens_envelopes() {
        let text = "{\"_t\":5000,\"_p\":3,\"_o\":7,\"v\":{\"a\":1}}\n{\"a\":2}\n\nno json\n";
        let input = Input { stream: "s".into(), origin: Origin::Bytes("b".into(), text.as_bytes().into()) };
        let read = |most| sample(&input, &Limits::default(), Framing::Lines, most).unwrap();
        let (lines, ended) = read(2);
        assert!(!ended && lines.len() == 2);
        assert_eq!((lines[0].partition.index, lines[0].offset, lines[0].broker_time.0), (3, 7, 5_000_000));
        assert_eq!(lines[0].payload, b"{\"a\":1}");
        let (lines, ended) = read(9);
        assert!(ended && lines.len() == 3);
    }
}
