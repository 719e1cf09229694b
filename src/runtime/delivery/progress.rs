//! How far a sink has come in one partition of the journal: whom it believes, which alerts have no outcome
//! yet, and from where it would have to read again after a crash.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::memo::Memo;
use crate::alert::Alert;
use crate::event::{Marks, PartitionId, Stamp, Timestamp};
use crate::journal::Entry;

/// What a record of the journal means to a sink.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    /// To be delivered.
    Alerts(Vec<Arc<Alert>>),
    /// Not for sinks.
    Nothing,
    /// Written by an owner that had been replaced: it does not count.
    Superseded,
}

/// One partition of the journal.
#[derive(Debug)]
pub(super) struct Progress {
    /// The next offset to read.
    next: i64,
    /// When the broker took the record before it.
    last: Option<Timestamp>,
    /// Records whose alerts have not all got their outcomes.
    open: BTreeMap<i64, Open>,
    /// Whom to believe at `next`.
    marks: Marks,
    /// Whom to believe at the position: what was opened behind it must not discredit what is still to be
    /// delivered before.
    kept: Marks,
    /// What has been opened in between, by offset.
    opened: VecDeque<(i64, PartitionId, i64)>,
}

#[derive(Debug)]
struct Open {
    missing: usize,
    written: Timestamp,
    /// When the broker took the record before.
    before: Option<Timestamp>,
}

impl Progress {
    /// Reading starts at `next`, with what was kept for it.
    pub fn new(next: i64, memo: Memo) -> Progress {
        let Memo { before, marks } = memo;
        Progress {
            next,
            last: before,
            open: BTreeMap::new(),
            kept: marks.clone(),
            marks,
            opened: VecDeque::new(),
        }
    }

    /// The next offset to read.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Takes in a record that is no entry.
    pub fn skip(&mut self, offset: i64, at: Timestamp) {
        self.next = offset + 1;
        self.last = Some(at);
        self.keep_up();
    }

    /// Takes in an entry, which the broker took at `at` and its writer dates `written`.
    pub fn take(
        &mut self,
        offset: i64,
        at: Timestamp,
        stamp: &Stamp,
        written: Timestamp,
        entry: Entry,
    ) -> Heard {
        let heard = self.judge(offset, stamp, entry);
        if let Heard::Alerts(alerts) = &heard {
            let open = Open { missing: alerts.len(), written, before: self.last };
            self.open.insert(offset, open);
        }
        self.skip(offset, at);
        heard
    }

    fn judge(&mut self, offset: i64, stamp: &Stamp, entry: Entry) -> Heard {
        let before = self.marks.epoch(&stamp.source);
        let heard = judge(&mut self.marks, stamp, entry);
        if self.marks.epoch(&stamp.source) != before {
            self.opened.push_back((offset, stamp.source.clone(), stamp.epoch));
        }
        heard
    }

    /// An alert of that record has its outcome.
    pub fn settle(&mut self, offset: i64) {
        if let Some(open) = self.open.get_mut(&offset) {
            open.missing = open.missing.saturating_sub(1);
            if open.missing == 0 {
                self.open.remove(&offset);
                self.keep_up();
            }
        }
    }

    /// Everything below has its outcome.
    pub fn position(&self) -> i64 {
        self.open.first_key_value().map_or(self.next, |(offset, _)| *offset)
    }

    /// What is to be kept with the position.
    pub fn memo(&self) -> Memo {
        let before = self.open.first_key_value().map_or(self.last, |(_, open)| open.before);
        Memo { before, marks: self.kept.clone() }
    }

    /// Whether everything that was read has its outcome.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// When the oldest alert without an outcome was written.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.open.first_key_value().map(|(_, open)| open.written)
    }

    /// Records are gone: reading goes on at `next`.
    pub fn jump(&mut self, next: i64) {
        self.next = next;
        self.last = None;
        self.keep_up();
    }

    fn keep_up(&mut self) {
        let position = self.position();
        while let Some((offset, _, _)) = self.opened.front()
            && *offset < position
            && let Some((_, source, epoch)) = self.opened.pop_front()
        {
            self.kept.open(&source, epoch);
        }
    }
}

/// What an entry means to somebody who believes `marks`, which may be raised by it.
pub(super) fn judge(marks: &mut Marks, stamp: &Stamp, entry: Entry) -> Heard {
    match entry {
        // Whoever claims may be refused by the group, and would never know.
        Entry::Claim => Heard::Nothing,
        _ if !marks.accept(stamp) => Heard::Superseded,
        Entry::Alerts { alerts, .. } if !alerts.is_empty() => Heard::Alerts(alerts),
        _ => Heard::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::encode::ecs::tests::sample;

    fn stamp(source: i32, epoch: i64) -> Stamp {
        Stamp { source: PartitionId { stream: "s".into(), index: source }, epoch, seq: 1 }
    }

    fn alerts(ids: &[u128]) -> Entry {
        Entry::Alerts {
            through: 0,
            more: false,
            alerts: ids.iter().map(|id| Arc::new(sample(*id))).collect(),
        }
    }

    fn take(progress: &mut Progress, source: i32, epoch: i64, entry: Entry) -> Heard {
        let offset = progress.next();
        progress.take(offset, Timestamp(offset), &stamp(source, epoch), Timestamp(0), entry)
    }

    #[test]
    fn an_open_discredits_lower_epochs_and_a_claim_does_not() {
        let mut progress = Progress::new(10, Memo::default());
        assert_eq!(take(&mut progress, 0, -1, Entry::Claim), Heard::Nothing);
        assert!(matches!(take(&mut progress, 0, 5, alerts(&[1])), Heard::Alerts(_)));
        take(&mut progress, 0, -1, Entry::Claim);
        assert!(matches!(take(&mut progress, 0, 5, alerts(&[2])), Heard::Alerts(_)));
        assert_eq!(take(&mut progress, 0, 12, Entry::Open { cold: false }), Heard::Nothing);
        assert_eq!(take(&mut progress, 0, 5, alerts(&[3])), Heard::Superseded);
        assert!(matches!(take(&mut progress, 1, 5, alerts(&[4])), Heard::Alerts(_)), "of another partition");
        assert!(matches!(take(&mut progress, 0, 12, alerts(&[5])), Heard::Alerts(_)));
        assert_eq!(take(&mut progress, 0, 12, alerts(&[])), Heard::Nothing);
    }

    #[test]
    fn the_position_waits_for_every_alert_below_it() {
        let mut progress = Progress::new(10, Memo::default());
        take(&mut progress, 0, 5, alerts(&[1, 2]));
        take(&mut progress, 0, 5, alerts(&[3]));
        take(&mut progress, 0, 5, Entry::Open { cold: true });
        assert_eq!((progress.position(), progress.next()), (10, 13));
        progress.settle(11);
        progress.settle(10);
        assert_eq!(progress.position(), 10);
        progress.settle(10);
        progress.settle(10);
        assert_eq!((progress.position(), progress.is_idle()), (13, true));
    }

    /// What was opened later must not make a restarted sink skip what it had not delivered.
    #[test]
    fn what_is_kept_is_as_of_the_position() {
        let mut progress = Progress::new(10, Memo::default());
        take(&mut progress, 0, 5, alerts(&[1]));
        take(&mut progress, 0, 11, Entry::Open { cold: false });
        assert_eq!(progress.memo().marks.epoch(&stamp(0, 0).source), None);
        let mut again = Progress::new(progress.position(), progress.memo());
        assert!(matches!(take(&mut again, 0, 5, alerts(&[1])), Heard::Alerts(_)));
        progress.settle(10);
        let mut again = Progress::new(progress.position(), progress.memo());
        assert_eq!(take(&mut again, 0, 5, alerts(&[2])), Heard::Superseded);
    }

    #[test]
    fn the_log_is_known_again_by_the_record_before_the_position() {
        let mut progress = Progress::new(10, Memo::default());
        assert_eq!(progress.memo().before, None);
        take(&mut progress, 0, 5, Entry::Open { cold: true });
        assert_eq!(progress.memo().before, Some(Timestamp(10)));
        take(&mut progress, 0, 5, alerts(&[1]));
        take(&mut progress, 0, 5, alerts(&[2]));
        assert_eq!(progress.memo().before, Some(Timestamp(10)));
        progress.settle(12);
        progress.settle(11);
        assert_eq!(progress.memo().before, Some(Timestamp(12)));
        progress.jump(50);
        assert_eq!((progress.position(), progress.memo().before), (50, None));
    }

    /// The ids that a reader delivers which reads all of `log` once and settles everything.
    fn undisturbed(log: &[(i32, i64, Option<u128>)]) -> BTreeSet<u128> {
        let mut progress = Progress::new(0, Memo::default());
        let heard = log.iter().map(|(source, epoch, id)| match id {
            Some(id) => take(&mut progress, *source, *epoch, alerts(&[*id])),
            None => take(&mut progress, *source, *epoch, Entry::Open { cold: false }),
        });
        heard
            .flat_map(|heard| if let Heard::Alerts(alerts) = heard { alerts } else { vec![] })
            .map(|alert| alert.id)
            .collect()
    }

    proptest! {
        /// Whenever a sink is restarted, in whatever order alerts get their outcomes: it delivers what one
        /// does that never was.
        #[test]
        fn a_restart_changes_nothing_of_what_is_believed(
            log in prop::collection::vec((0i32..2, 0i64..4, any::<bool>()), 1..30),
            steps in prop::collection::vec(0u8..8, 0..120),
        ) {
            let log: Vec<(i32, i64, Option<u128>)> = (0u128..).zip(log)
                .map(|(id, (source, epoch, alert))| (source, epoch, alert.then_some(id))).collect();
            let mut progress = Progress::new(0, Memo::default());
            let mut under_way: Vec<(i64, u128)> = Vec::new();
            let mut delivered = BTreeSet::new();
            for step in steps.into_iter().chain(std::iter::repeat_n(0, log.len())).chain([7; 30]) {
                match step {
                    0..=3 => {
                        let offset = progress.next();
                        let Some((source, epoch, id)) = log.get(offset as usize) else { continue };
                        let entry = id.map_or(Entry::Open { cold: false }, |id| alerts(&[id]));
                        if let Heard::Alerts(alerts) = take(&mut progress, *source, *epoch, entry) {
                            under_way.extend(alerts.iter().map(|alert| (offset, alert.id)));
                        }
                    }
                    4 => {
                        let kept = Memo::read(&progress.memo().text()).unwrap();
                        progress = Progress::new(progress.position(), kept);
                        under_way.clear();
                    }
                    5 | 6 if !under_way.is_empty() => {
                        let (offset, id) = under_way.swap_remove(0);
                        progress.settle(offset);
                        delivered.insert(id);
                    }
                    _ => if let Some((offset, id)) = under_way.pop() {
                        progress.settle(offset);
                        delivered.insert(id);
                    }
                }
            }
            prop_assert_eq!(progress.position(), log.len() as i64);
            prop_assert_eq!(delivered, undisturbed(&log));
        }
    }
}
