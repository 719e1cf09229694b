//! Readers of the journal that deliver: one that knows an id again, one that does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetwarden::alert::Alert;
use fleetwarden::event::Marks;
use fleetwarden::journal::Entry;

use super::Bug;
use super::journal::{Lying, PARTITIONS};
use super::world::{Event, Outside, SECOND};

/// Entries that are delivered together.
const BATCH: usize = 4;

/// One sink; what it has committed survives it.
#[derive(Debug, Default)]
pub struct Sink {
    /// Per partition of the journal: where it goes on, and whom it believes there.
    positions: [(usize, Marks); PARTITIONS as usize],
    /// What it was given: per id how often, and what first.
    pub got: BTreeMap<u128, (u64, Arc<Alert>)>,
    /// Alerts that must be delivered once more, and how often: those of batches without an answer.
    pub unanswered: BTreeMap<u128, u64>,
}

impl Sink {
    /// Delivers some entries of one partition. It may be refused, and may crash before it knows what came of it.
    pub fn turn(&mut self, number: usize, outside: &mut Outside) {
        let at = outside.random.index(PARTITIONS as usize);
        let (refused, crashed) = match outside.calm {
            true => (false, false),
            false => (outside.random.percent(10), outside.random.percent(4)),
        };
        if !refused {
            self.deliver(at, &outside.journal.partitions[at], outside.bug, !crashed);
        }
        let next = outside.random.delay(SECOND / 5);
        outside.later(next, Event::Sink(number));
    }

    /// Delivers all that is left.
    pub fn finish(&mut self, outside: &Outside) {
        for at in 0..PARTITIONS as usize {
            while self.positions[at].0 < outside.journal.partitions[at].len() {
                self.deliver(at, &outside.journal.partitions[at], outside.bug, true);
            }
        }
    }

    fn deliver(&mut self, at: usize, journal: &[Lying], bug: Option<Bug>, answered: bool) {
        let (from, marks) = &mut self.positions[at];
        let mut believed = marks.clone();
        let to = journal.len().min(*from + BATCH);
        for (offset, lying) in (*from..to).zip(&journal[*from..to]) {
            for alert in heard(&mut believed, lying, offset as i64, bug) {
                let got = self.got.entry(alert.id).or_insert_with(|| (0, alert.clone()));
                got.0 += 1;
                if !answered {
                    *self.unanswered.entry(alert.id).or_default() += 1;
                }
            }
        }
        if answered {
            (*from, *marks) = (to, believed);
        }
    }
}

/// The alerts of an entry that count.
pub fn heard<'a>(marks: &mut Marks, lying: &'a Lying, offset: i64, bug: Option<Bug>) -> &'a [Arc<Alert>] {
    let Lying { stamp, entry, .. } = lying;
    match entry {
        Entry::Claim if bug == Some(Bug::MarksAtClaim) => marks.open(&stamp.source, offset),
        Entry::Claim => {}
        Entry::Alerts { alerts, .. } if bug == Some(Bug::NoEpochs) => return alerts,
        _ if !marks.accept(stamp) => {}
        Entry::Alerts { alerts, .. } => return alerts,
        _ => {}
    }
    &[]
}
