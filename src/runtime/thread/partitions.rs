//! The partitions that a thread owns, and how far each has come: told to the worker, about to be sought in,
//! live.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::event::{PartitionId, Timestamp};
use crate::kafka::consumer::Report;
use crate::metrics::Reading;

/// How far a partition has come since it is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The worker knows of it, and has not yet said where to read.
    Told,
    /// To be sought in, then resumed, not before `again`.
    Seek {
        /// The next offset to read.
        to: i64,
        /// When.
        again: Instant,
    },
    /// Records come.
    Live {
        /// The next offset to read: anything below is dropped.
        next: i64,
    },
}

#[derive(Debug)]
struct Owned {
    partition: PartitionId,
    topic: String,
    source: u16,
    phase: Phase,
    end: Option<i64>,
    /// Its broker says nothing: the end may be another by now.
    silent: bool,
    stuck_since: Option<Timestamp>,
    shown: Option<i64>,
}

/// All partitions of a thread.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    owned: Vec<Owned>,
    /// Where the last record belonged: mostly where the next belongs.
    last: usize,
}

impl Partitions {
    /// A partition became ours; anything known of an earlier time is gone.
    pub(super) fn insert(&mut self, partition: PartitionId, topic: String, source: u16) {
        self.remove(&partition);
        self.owned.push(Owned {
            partition,
            topic,
            source,
            phase: Phase::Told,
            end: None,
            silent: false,
            stuck_since: None,
            shown: None,
        });
    }

    /// No longer ours.
    pub(super) fn remove(&mut self, partition: &PartitionId) {
        self.owned.retain(|owned| owned.partition != *partition);
    }

    /// Sets the phase, if the partition is ours.
    pub(super) fn set(&mut self, partition: &PartitionId, phase: Phase) {
        if let Some(owned) = self.find(partition) {
            owned.phase = phase;
        }
    }

    fn find(&mut self, partition: &PartitionId) -> Option<&mut Owned> {
        self.owned.iter_mut().find(|owned| owned.partition == *partition)
    }

    /// All names.
    pub(super) fn names(&self) -> Vec<PartitionId> {
        self.owned.iter().map(|owned| owned.partition.clone()).collect()
    }

    /// Whether something is about to be tried again.
    pub(super) fn pending(&self) -> bool {
        self.owned.iter().any(|owned| !matches!(owned.phase, Phase::Live { .. }))
    }

    /// Those to be sought in now, and where.
    pub(super) fn ready(&self, now: Instant) -> Vec<(PartitionId, i64)> {
        self.owned
            .iter()
            .filter_map(|owned| match owned.phase {
                Phase::Seek { to, again } if again <= now => Some((owned.partition.clone(), to)),
                _ => None,
            })
            .collect()
    }

    /// Those that records come of, and their next offsets.
    pub(super) fn live(&self) -> Vec<(PartitionId, i64)> {
        self.owned
            .iter()
            .filter_map(|owned| match owned.phase {
                Phase::Live { next } => Some((owned.partition.clone(), next)),
                _ => None,
            })
            .collect()
    }

    /// Where one stands, if reading has started.
    pub(super) fn next_of(&self, partition: &PartitionId) -> Option<i64> {
        self.live().into_iter().find(|(live, _)| live == partition).map(|(_, next)| next)
    }

    /// A live partition is to be started again where it stands.
    pub(super) fn stop(&mut self, partition: &PartitionId, again: Instant) {
        if let Some(owned) = self.find(partition)
            && let Phase::Live { next } = owned.phase
        {
            owned.phase = Phase::Seek { to: next, again };
        }
    }

    /// Likewise all that are live; their names.
    pub(super) fn stop_all(&mut self) -> Vec<PartitionId> {
        let now = Instant::now();
        let live: Vec<PartitionId> = self.live().into_iter().map(|(partition, _)| partition).collect();
        live.iter().for_each(|partition| self.stop(partition, now));
        live
    }

    /// Whether this record is to be read; if so, the worker's index of its partition.
    pub(super) fn accept(&mut self, topic: &str, index: i32, offset: i64) -> Option<u16> {
        let is = |owned: &Owned| owned.partition.index == index && owned.topic == topic;
        if !self.owned.get(self.last).is_some_and(is) {
            self.last = self.owned.iter().position(is)?;
        }
        let owned = self.owned.get_mut(self.last)?;
        match &mut owned.phase {
            Phase::Live { next } if offset >= *next => {
                *next = offset + 1;
                Some(owned.source)
            }
            _ => None,
        }
    }

    /// Takes in what the client library reports.
    pub(super) fn report(&mut self, report: &Report) {
        for owned in &mut self.owned {
            owned.end = report.ends.get(&owned.partition).copied().or(owned.end);
            owned.silent = report.silent.contains(&owned.partition);
        }
    }

    /// How far each has come, for people. `held`: reading is stopped for the sake of sinks, and nobody's fault.
    pub(super) fn readings(&mut self, now: Timestamp, held: bool) -> BTreeMap<PartitionId, Reading> {
        let mut readings = BTreeMap::new();
        for owned in &mut self.owned {
            let next = match owned.phase {
                Phase::Live { next } | Phase::Seek { to: next, .. } => Some(next),
                Phase::Told => None,
            };
            let live = matches!(owned.phase, Phase::Live { .. });
            let at_end = owned.end.is_none_or(|end| next.is_some_and(|next| next >= end));
            let nothing_waits = at_end && !owned.silent;
            let moves = held || (live && (nothing_waits || owned.shown != next));
            owned.shown = next;
            owned.stuck_since = if moves { None } else { owned.stuck_since.or(Some(now)) };
            let reading = Reading { stuck_since: owned.stuck_since, next_offset: next, end: owned.end };
            readings.insert(owned.partition.clone(), reading);
        }
        readings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: i32) -> PartitionId {
        PartitionId { stream: "s".into(), index }
    }

    fn live(next: i64) -> Partitions {
        let mut all = Partitions::default();
        for index in 0..3 {
            all.insert(id(index), "t".into(), 10 + index as u16);
            all.set(&id(index), Phase::Live { next });
        }
        all
    }

    #[test]
    fn only_what_is_next_or_later_is_read_and_only_once() {
        let mut all = live(5);
        assert_eq!(all.accept("t", 1, 4), None);
        assert_eq!(all.accept("t", 1, 5), Some(11));
        assert_eq!(all.accept("t", 1, 5), None);
        assert_eq!(all.accept("t", 1, 9), Some(11), "offsets may have holes");
        assert_eq!(all.accept("t", 2, 5), Some(12));
        assert_eq!(all.accept("other", 2, 6), None);
        assert_eq!(all.accept("t", 7, 6), None);
        all.stop(&id(2), Instant::now());
        assert_eq!(all.accept("t", 2, 6), None, "stopped");
        assert_eq!(all.ready(Instant::now()), [(id(2), 6)]);
        all.remove(&id(1));
        assert_eq!(all.accept("t", 1, 10), None, "not ours");
    }

    #[test]
    fn what_has_records_and_does_not_move_is_stuck() {
        let mut all = live(5);
        let stuck = |all: &mut Partitions, at: i64, held: bool| {
            all.readings(Timestamp(at), held)[&id(0)].stuck_since.map(|t| t.0)
        };
        assert_eq!(stuck(&mut all, 1, false), None);
        all.report(&Report { ends: [(id(0), 9)].into(), ..Report::default() });
        assert_eq!(stuck(&mut all, 2, false), Some(2));
        assert_eq!(stuck(&mut all, 3, false), Some(2));
        assert_eq!(stuck(&mut all, 4, true), None, "back-pressure is another matter");
        assert_eq!(stuck(&mut all, 5, false), Some(5));
        all.accept("t", 0, 6);
        assert_eq!(stuck(&mut all, 6, false), None);
        all.accept("t", 0, 8);
        assert_eq!(stuck(&mut all, 7, false), None);
        assert_eq!(stuck(&mut all, 8, false), None, "at the end");
        let ends = [(id(0), 9)].into();
        all.report(&Report { ends, silent: [id(0)].into(), ..Report::default() });
        assert_eq!(stuck(&mut all, 9, false), Some(9), "at the end that was seen last");
        assert_eq!(stuck(&mut all, 10, true), None);
        assert_eq!(stuck(&mut all, 11, false), Some(11));
        all.report(&Report::default());
        assert_eq!(stuck(&mut all, 12, false), None);
    }
}
