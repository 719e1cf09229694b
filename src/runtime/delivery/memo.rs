//! What a sink keeps beside its position in the journal: whom it believes there, and by what it will know the
//! log again. One line of ASCII, since Kafka keeps it as the metadata of a commit.
//!
//! `sink1 1764000000000 telemetry:0=4711,1=4680 ota:0=12` is: the format, the broker's time of the record
//! before the position in milliseconds (`-` if there is none), and per stream its partitions with the epoch
//! that is believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Marks, PartitionId, Timestamp};

/// What Kafka takes as metadata of a commit if nothing else is set there, in bytes.
const MOST: usize = 4_096;

/// The first word; another one is of a version that this one does not know.
const FORMAT: &str = "sink1";

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memo {
    /// When the broker took the record before the position.
    pub before: Option<Timestamp>,
    /// Whom to believe from the position on.
    pub marks: Marks,
}

impl Memo {
    /// As text. Marks that find no room are those of the owners that came first: an epoch is the offset of a
    /// claim, so the lowest are the oldest, and the least likely to have a predecessor who still writes.
    pub fn text(&self) -> String {
        let mut newest: Vec<(&PartitionId, i64)> = self.marks.iter().collect();
        newest.sort_by_key(|(_, epoch)| std::cmp::Reverse(*epoch));
        let before = self.before.map_or("-".to_string(), |at| at.millis().to_string());
        let mut length = FORMAT.len() + 1 + before.len();
        let mut kept: BTreeMap<&str, BTreeMap<i32, i64>> = BTreeMap::new();
        for (source, epoch) in newest {
            let stream = if kept.contains_key(&*source.stream) { 0 } else { source.stream.len() + 1 };
            // One more for what parts it from the one before: a blank, a colon or a comma.
            length += stream + format!("{}={epoch}", source.index).len() + 1;
            if length > MOST {
                break;
            }
            kept.entry(&source.stream).or_default().insert(source.index, epoch);
        }
        let mut text = format!("{FORMAT} {before}");
        for (stream, epochs) in kept {
            for (at, (index, epoch)) in epochs.into_iter().enumerate() {
                match at {
                    0 => text += &format!(" {stream}:{index}={epoch}"),
                    _ => text += &format!(",{index}={epoch}"),
                }
            }
        }
        text
    }

    /// From text; none if it is not ours, such as after somebody has set the position by hand.
    pub fn read(text: &str) -> Option<Memo> {
        let mut words = text.split(' ');
        if words.next() != Some(FORMAT) {
            return None;
        }
        let before = match words.next()? {
            "-" => None,
            millis => Some(Timestamp::from_millis(millis.parse().ok()?)),
        };
        let mut memo = Memo { before, marks: Marks::default() };
        for word in words {
            let (stream, epochs) = word.split_once(':')?;
            let stream: Arc<str> = Arc::from(stream);
            for pair in epochs.split(',') {
                let (index, epoch) = pair.split_once('=')?;
                let source = PartitionId { stream: stream.clone(), index: index.parse().ok()? };
                memo.marks.open(&source, epoch.parse().ok()?);
            }
        }
        Some(memo)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn memo(before: Option<i64>, all: &[(&str, i32, i64)]) -> Memo {
        let mut marks = Marks::default();
        for (stream, index, epoch) in all {
            marks.open(&PartitionId { stream: (*stream).into(), index: *index }, *epoch);
        }
        Memo { before: before.map(Timestamp::from_millis), marks }
    }

    #[test]
    fn the_text_is_short_and_comes_back() {
        let all = [("telemetry", 1, 4680), ("ota", 0, 12), ("telemetry", 0, 4711)];
        let kept = memo(Some(1_764_000_000_000), &all);
        assert_eq!(kept.text(), "sink1 1764000000000 ota:0=12 telemetry:0=4711,1=4680");
        assert_eq!(Memo::read(&kept.text()), Some(kept));
        assert_eq!(Memo::default().text(), "sink1 -");
        assert_eq!(Memo::read("sink1 -"), Some(Memo::default()));
    }

    #[test]
    fn what_is_not_ours_is_nothing() {
        for text in
            ["", "sink2 -", "sink1", "sink1 x", "sink1 - telemetry", "sink1 - t:0", "sink1 - t:0=x", "v"]
        {
            assert_eq!(Memo::read(text), None, "{text:?}");
        }
    }

    proptest! {
        /// Whatever there is: it fits, comes back, and what was left out is older than what was not.
        #[test]
        fn the_newest_marks_are_kept(
            epochs in prop::collection::btree_map((0usize..30, 0i32..200), 0i64..i64::MAX, 0..900),
        ) {
            let mut marks = Marks::default();
            for ((stream, index), epoch) in &epochs {
                let stream = format!("stream_of_some_length_{stream}").into();
                marks.open(&PartitionId { stream, index: *index }, *epoch);
            }
            let memo = Memo { before: Some(Timestamp(0)), marks };
            let text = memo.text();
            prop_assert!(text.len() <= MOST && text.is_ascii(), "{}", text.len());
            let back = Memo::read(&text).unwrap();
            prop_assert!(back.marks.iter().all(|(source, epoch)| memo.marks.epoch(source) == Some(epoch)));
            let least = back.marks.iter().map(|(_, epoch)| epoch).min().unwrap_or(i64::MAX);
            let left_out = memo.marks.iter().filter(|(source, _)| back.marks.epoch(source).is_none());
            let most = left_out.map(|(_, epoch)| epoch).max();
            prop_assert!(most.is_none_or(|most| most <= least));
            prop_assert!(most.is_none() || text.len() > MOST - 80);
        }
    }
}
