//! What every checkpoint holds to, whoever wrote it: looked at before one is written and when one is read.

use std::collections::BTreeSet;

use arrow::array::{AsArray, FixedSizeBinaryArray};
use arrow::record_batch::RecordBatch;

use super::Refused;
use crate::detect::state;
use crate::event::{Checkpoint, Timestamp};

/// A predicate with the name under which its violation is told.
pub type Invariant = (&'static str, fn(&Checkpoint) -> bool);

/// All of them.
pub const ALL: [Invariant; 8] = [
    ("offsets are not negative", offsets_are_not_negative),
    ("sources are unique and few", sources_are_unique_and_few),
    ("sources hold the partition", sources_hold_the_partition),
    ("stream time is plausible", stream_time_is_plausible),
    ("nothing was said before anything was read", nothing_was_said_before_anything_was_read),
    ("rules are sorted and unique", rules_are_sorted_and_unique),
    ("tables have their columns", tables_have_their_columns),
    ("keys are unique", keys_are_unique),
];

/// An error with the name of the first that does not hold.
pub fn check(checkpoint: &Checkpoint) -> Result<(), Refused> {
    match ALL.iter().find(|(_, holds)| !holds(checkpoint)) {
        Some((name, _)) => Err(Refused::Violates(name)),
        None => Ok(()),
    }
}

/// Neither the next offset nor the places in the journal: Kafka counts from 0.
pub fn offsets_are_not_negative(checkpoint: &Checkpoint) -> bool {
    checkpoint.next_offset >= 0 && checkpoint.journal >= 0 && checkpoint.epoch >= 0
}

/// Event names point to sources by an index of 16 bits, and to one source by one index.
pub fn sources_are_unique_and_few(checkpoint: &Checkpoint) -> bool {
    let unique: BTreeSet<_> = checkpoint.sources.iter().collect();
    unique.len() == checkpoint.sources.len() && unique.len() <= usize::from(u16::MAX)
}

/// Saved event names are of the partition's own records; those of the exchange are of others'.
pub fn sources_hold_the_partition(checkpoint: &Checkpoint) -> bool {
    &*checkpoint.partition.stream == "exchange" || checkpoint.sources.contains(&checkpoint.partition)
}

/// Nothing moves stream time but a plausible broker time or tick.
pub fn stream_time_is_plausible(checkpoint: &Checkpoint) -> bool {
    checkpoint.stream_time == Timestamp(i64::MIN) || checkpoint.stream_time.is_plausible()
}

/// Alerts stand on records or on time: a partition that has neither has said nothing.
pub fn nothing_was_said_before_anything_was_read(checkpoint: &Checkpoint) -> bool {
    checkpoint.seq == 0 || checkpoint.next_offset > 0 || checkpoint.stream_time != Timestamp(i64::MIN)
}

/// By their ids.
pub fn rules_are_sorted_and_unique(checkpoint: &Checkpoint) -> bool {
    checkpoint.tables.is_sorted_by(|a, b| a.rule < b.rule)
}

/// Those of `detect::state`, in every batch.
pub fn tables_have_their_columns(checkpoint: &Checkpoint) -> bool {
    let columns = state::schema();
    tables(checkpoint).flatten().all(|batch| {
        let schema = batch.schema();
        schema.fields() == columns.fields()
    })
}

/// A key has one row in its table.
pub fn keys_are_unique(checkpoint: &Checkpoint) -> bool {
    tables(checkpoint).all(|table| {
        let column =
            |batch: &'_ RecordBatch| batch.column_by_name("key")?.as_fixed_size_binary_opt().cloned();
        let columns: Vec<FixedSizeBinaryArray> = table.iter().filter_map(column).collect();
        let mut keys: Vec<&[u8]> = columns.iter().flatten().flatten().collect();
        keys.sort_unstable();
        keys.is_sorted_by(|a, b| a < b)
    })
}

/// The tables, each in its batches.
fn tables(checkpoint: &Checkpoint) -> impl Iterator<Item = &Vec<RecordBatch>> {
    checkpoint.tables.iter().flat_map(|rule| std::iter::once(&rule.detector).chain(&rule.suppress))
}

#[cfg(test)]
mod tests {
    use super::super::format::fixture;
    use super::*;
    use crate::event::PartitionId;

    fn broken(change: impl FnOnce(&mut Checkpoint)) -> String {
        let mut checkpoint = fixture::checkpoint(3);
        assert_eq!(check(&checkpoint), Ok(()));
        change(&mut checkpoint);
        match check(&checkpoint) {
            Err(Refused::Violates(name)) => name.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn each_invariant_can_be_broken() {
        let other = PartitionId { stream: "other".into(), index: 0 };
        let named = [
            broken(|c| c.next_offset = -1),
            broken(|c| c.sources.push(c.partition.clone())),
            broken(|c| c.sources = vec![other]),
            broken(|c| c.stream_time = Timestamp(-1)),
            broken(|c| (c.seq, c.next_offset, c.stream_time) = (1, 0, Timestamp(i64::MIN))),
            broken(|c| c.tables.reverse()),
            broken(|c| c.tables[0].detector[0] = c.tables[0].detector[0].project(&[0, 1]).unwrap()),
            broken(|c| {
                let again = c.tables[0].detector[0].slice(0, 1);
                c.tables[0].detector.push(again);
            }),
        ];
        assert_eq!(named.to_vec(), ALL.map(|(name, _)| name.to_string()).to_vec());
    }
}
