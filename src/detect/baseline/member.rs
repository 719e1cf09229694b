//! What is remembered of a key, and of a cohort.

use super::super::StateError;
use super::super::codec::{Reader, Writer};
use super::super::judge::Plan;
use super::super::memory::KeyState;
use super::super::normal::Normal;
use super::judgement::{Basis, Source};
use crate::event::{Key, Timestamp};
use crate::rule::learned::{AtLeast, Baseline};

/// What stands under a key of the table.
#[derive(Debug)]
pub enum Slot {
    /// A key of the rule.
    Member(Box<Member>),
    /// A cohort.
    Cohort(Cohort),
}

/// What is remembered of a key.
#[derive(Debug)]
pub struct Member {
    /// What it has learned itself.
    pub normal: Normal,
    /// Whose normal it borrowed last.
    pub cohort: Option<Key>,
    /// Its newest event, panes, what was said; its marks are of closed windows.
    pub rows: KeyState,
    /// The newest window that had an event, or was counted as empty.
    pub through: Option<i64>,
    /// Open windows that were counted as empty, or closed long ago, or lie before the first: never low.
    pub known: Vec<i64>,
    /// The last judgements, the newest in bit 0.
    recent: u64,
}

/// What is remembered of a cohort.
#[derive(Debug)]
pub struct Cohort {
    /// What its members have taught it.
    pub normal: Normal,
    /// Stream time of the last lesson.
    pub touched: Timestamp,
}

impl Cohort {
    /// Nothing learned yet.
    pub fn new(spec: &Baseline) -> Cohort {
        Cohort { normal: Normal::new(spec), touched: Timestamp(i64::MIN) }
    }
}

impl Member {
    /// Nothing seen yet.
    pub fn new(spec: &Baseline, plan: Option<&Plan>) -> Member {
        let rows = match plan {
            Some(plan) => KeyState::new(&plan.spec),
            None => KeyState { touched: Timestamp(i64::MIN), ..KeyState::default() },
        };
        let (cohort, through, known) = (None, None, Vec::new());
        Member { normal: Normal::new(spec), cohort, rows, through, known, recent: 0 }
    }

    /// Notes its cohort; if that has changed, the key starts again.
    pub fn meet(&mut self, spec: &Baseline, cohort: Option<Key>) {
        if self.cohort != cohort && self.cohort.is_some() {
            self.normal = Normal::new(spec);
            self.recent = 0;
        }
        self.cohort = cohort;
    }

    /// What it has learned itself, if that may judge.
    pub fn own(&self) -> Option<Basis> {
        Some(Basis { band: *self.normal.band()?, source: Source::Own })
    }

    /// Whether, with this one, enough of the last judgements were true.
    pub fn tally(&mut self, verdict: bool, at_least: Option<AtLeast>) -> bool {
        let Some(AtLeast { hits, of }) = at_least else { return verdict };
        self.recent = (self.recent << 1) | u64::from(verdict);
        let mask = if of >= 64 { u64::MAX } else { (1 << of) - 1 };
        (self.recent & mask).count_ones() >= hits
    }
}

impl Slot {
    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        match self {
            Slot::Cohort(cohort) => {
                out.u8(0);
                cohort.normal.write(out);
                out.time(cohort.touched);
            }
            Slot::Member(member) => {
                out.u8(1);
                member.normal.write(out);
                out.option(member.cohort.as_ref(), |out, key| out.u128(key.0));
                member.rows.write(out);
                out.option(member.through.as_ref(), |out, window| out.i64(*window));
                out.list(&member.known, |out, window| out.i64(*window));
                out.u64(member.recent);
            }
        }
    }

    /// What [`write`](Self::write) made.
    pub fn read(spec: &Baseline, from: &mut Reader<'_>) -> Result<Slot, StateError> {
        Ok(match from.u8()? {
            0 => Slot::Cohort(Cohort { normal: Normal::read(spec, from)?, touched: from.time()? }),
            1 => Slot::Member(Box::new(Member {
                normal: Normal::read(spec, from)?,
                cohort: from.option(|from| from.u128().map(Key))?,
                rows: KeyState::read(from)?,
                through: from.option(Reader::i64)?,
                known: from.list(Reader::i64)?,
                recent: from.u64()?,
            })),
            tag => return Err(StateError(format!("unknown entry {tag}"))),
        })
    }
}
