//! Cutting and joining: records that are not even decoded, spans of a batch, a partition's part of it.

use crate::event::{EventBatch, Picked, Record, Reject, RejectReason, Slice, Span, Timestamp};

/// Why a record is not even decoded.
pub fn refuse(record: &Record<'_>, next_offset: i64) -> Option<Reject> {
    let (reason, detail) = match record.broken {
        Some(reason) => (reason, "its line cannot be a record".to_owned()),
        None if record.offset < next_offset => {
            (RejectReason::Envelope, format!("offset does not rise: expected {next_offset} or more"))
        }
        None => return None,
    };
    Some(Reject {
        source: record.source,
        offset: record.offset,
        broker_time: record.broker_time,
        reason,
        at: 0,
        detail,
        payload: record.payload.to_vec(),
    })
}

/// Fills in stream time and spans, which decoding cannot know.
pub fn timed(mut batch: EventBatch, times: &[(Timestamp, Timestamp)]) -> EventBatch {
    let at = |position: &u32| times.get(*position as usize).copied().unwrap_or_default();
    (batch.now, batch.exchange_now) = batch.positions.iter().map(at).unzip();
    for (row, name) in batch.names.iter().enumerate() {
        match batch.spans.last_mut() {
            Some(span) if span.source == name.source => span.rows.end = row + 1,
            _ => batch.spans.push(Span { source: name.source, rows: row..row + 1 }),
        }
    }
    batch
}

/// A partition's part of what was picked; none if it has no rows there.
pub fn part(picked: &Picked, source: usize) -> Option<Slice<'_>> {
    // Spans stand in the order of sources.
    let spans = &picked.of.spans;
    let at = spans.binary_search_by_key(&source, |span| usize::from(span.source)).ok()?;
    let span = spans.get(at)?;
    let from = picked.rows.partition_point(|row| (*row as usize) < span.rows.start);
    let to = picked.rows.partition_point(|row| (*row as usize) < span.rows.end);
    (from < to).then_some(Slice { picked, from, to, exchange: false })
}

/// What was picked, in the merged order of the input instead of partition by partition.
pub fn in_merged_order(picked: &Picked) -> Picked {
    let mut order: Vec<u32> = (0..picked.rows.len() as u32).collect();
    let place = |i: &u32| {
        let row = picked.rows[*i as usize] as usize;
        (picked.of.positions[row], row)
    };
    order.sort_by_key(place);
    let gather = |values: &[u32]| order.iter().map(|i| values[*i as usize]).collect();
    let values = picked.values.iter().map(|column| column.gather(&order)).collect();
    Picked { rows: gather(&picked.rows), steps: gather(&picked.steps), values, ..picked.clone() }
}
