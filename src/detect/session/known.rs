//! What one key remembers of its sessions: those that are open, in the order of time, and where closed ones
//! lay.

use crate::alert::{Blind, Reason, Severity};
use crate::detect::StateError;
use crate::detect::aggregate::{
    Layout, List, Place, add_to_list, distinct_hash, number_at, take_value, takes,
};
use crate::detect::codec::{Reader, Writer};
use crate::detect::edge::{read_severity, write_severity};
use crate::detect::judge::Plan;
use crate::event::{EventName, Limits, Micros, Slice, Timestamp};
use crate::rule::AggFunc;
use crate::stats::distinct::DistinctPanes;

/// Closed sessions that a key remembers at most.
const MARKS: usize = 1024;

/// The one pane under which a session's distinct values stand.
const ALL: i64 = 0;

/// A row on its way into a session.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// The slice it stands in.
    pub rows: &'a Slice<'a>,
    /// Its place there.
    pub i: usize,
    /// Its time by the rule's clock.
    pub time: Timestamp,
    /// Stream time at it.
    pub now: Timestamp,
    /// Whether it is older than the key's newest.
    pub older: bool,
    /// Whether it empties the session that it ends.
    pub resets: bool,
}

/// Rows of a key without a pause between them.
#[derive(Debug)]
pub struct Session {
    /// The time of its first row: what it is called by.
    pub first: Timestamp,
    /// The time of its last row.
    pub last: Timestamp,
    /// Its rows.
    pub rows: u64,
    /// The first and last row by arrival.
    pub ends: [EventName; 2],
    /// When it was touched, counted over the key's rows.
    turn: u64,
    /// Stream time at which it was touched last.
    touched: Timestamp,
    /// Whether the row that touched it last was older than the key's newest.
    by_older: bool,
    /// Whether it began with a row that empties: nothing before it belongs to it.
    sealed: bool,
    /// The severity that was said of it.
    pub said: Option<Severity>,
    /// What aggregates know, by [`Layout`].
    pub words: Box<[u64]>,
    /// Likewise.
    pub lists: Box<[List]>,
    /// One per aggregate that counts distinct values, in order.
    distinct: Box<[DistinctPanes]>,
}

/// Where a closed session lay: a row for it is late.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    from: Timestamp,
    to: Timestamp,
    first: Timestamp,
    /// Until when it is remembered.
    until: Timestamp,
}

/// What one key's memory holds.
#[derive(Debug, Default)]
pub struct Sessions {
    /// The newest time of a row that was folded; none before the first.
    pub newest: Option<Timestamp>,
    /// Counts rows.
    turns: u64,
    /// In the order of time.
    open: Vec<Session>,
    /// In the order of time.
    marks: Vec<Mark>,
}

/// What happens next to a key by time alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The session at this place closes.
    Close(usize),
    /// The mark at this place is forgotten.
    Unmark(usize),
}

impl Session {
    fn new(plan: &Plan, step: &Step<'_>) -> Session {
        let layout = &plan.layout;
        let distinct = layout.aggregates().iter().filter(|a| a.func == AggFunc::CountDistinct).count();
        Session {
            first: step.time,
            last: step.time,
            rows: 0,
            ends: [step.rows.name(step.i); 2],
            turn: 0,
            touched: step.now,
            by_older: step.older,
            sealed: false,
            said: None,
            words: layout.nothing().into(),
            lists: vec![List::Empty; layout.lists()].into(),
            distinct: vec![DistinctPanes::default(); distinct].into(),
        }
    }

    /// The first instant at which a row belongs to it.
    fn from(&self, pause: Micros) -> Timestamp {
        if self.sealed { self.first } else { Timestamp(self.first.minus(pause).0.saturating_add(1)) }
    }

    /// How many values a distinct set holds.
    pub fn distinct(&self, set: usize) -> usize {
        self.distinct.get(set).map_or(0, |set| set.count(ALL, ALL))
    }

    /// Takes in a session that lies behind it.
    fn merge(&mut self, layout: &Layout, later: Session) {
        self.last = self.last.max(later.last);
        self.rows += later.rows;
        let [first, last] = self.ends;
        self.ends = [first.min(later.ends[0]), last.max(later.ends[1])];
        self.said = self.said.max(later.said);
        for place in layout.places() {
            if let Place::Words(cell) = place {
                cell.merge(&mut self.words, &later.words);
            }
            let (Place::List { at, .. } | Place::Quantiles { at, .. }) = *place else { continue };
            let (Some(own), Some(theirs)) = (self.lists.get_mut(at), later.lists.get(at)) else { continue };
            match (*place, theirs) {
                (Place::List { most, .. }, theirs) => {
                    theirs.values().iter().for_each(|value| take_value(own, value.clone(), most));
                }
                (_, List::Counts(theirs)) => own.counts().into_iter().for_each(|own| own.merge(theirs)),
                _ => {}
            }
        }
        for (own, theirs) in self.distinct.iter_mut().zip(&later.distinct) {
            for (_, hashes) in theirs.sorted() {
                hashes.into_iter().for_each(|hash| {
                    own.insert(ALL, hash, usize::MAX);
                });
            }
        }
    }

    /// Adds a row; distinct values are not its business.
    fn add(&mut self, layout: &Layout, step: &Step<'_>, turn: u64) {
        self.first = self.first.min(step.time);
        self.last = self.last.max(step.time);
        self.rows += 1;
        self.ends[1] = step.rows.name(step.i);
        (self.turn, self.touched, self.by_older) = (turn, step.now, step.older);
        layout.fold(&mut self.words, step.rows, step.i);
        let steps = step.rows.steps(step.i);
        for (aggregate, place) in layout.aggregates().iter().zip(layout.places()) {
            let (Place::List { at, .. } | Place::Quantiles { at, .. }) = *place else { continue };
            let argument = aggregate.arg.filter(|_| takes(aggregate.filter, steps));
            let (Some(argument), Some(list)) = (argument, self.lists.get_mut(at)) else { continue };
            let cell = step.rows.cell(argument, step.i);
            match *place {
                Place::List { most, .. } => add_to_list(list, most, cell, None),
                _ => {
                    if let (Some(x), Some(counts)) = (number_at(cell.0, cell.1), list.counts()) {
                        counts.add(x);
                    }
                }
            }
        }
    }
}

impl Sessions {
    /// The open sessions, in the order of time.
    pub fn open(&self) -> &[Session] {
        &self.open
    }

    /// Likewise, to note what was said.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut Session> {
        self.open.get_mut(at)
    }

    /// Whether a row of that time belongs to a session that has closed: it changes nothing.
    pub fn is_late(&self, time: Timestamp) -> bool {
        self.marks.iter().any(|mark| mark.from <= time && time < mark.to)
    }

    /// Where a session ends: a pause after its last row, or where the next one starts that knows nothing of
    /// what was before.
    pub fn end(&self, at: usize, pause: Micros) -> Timestamp {
        let Some(session) = self.open.get(at) else { return Timestamp(i64::MAX) };
        let end = session.last.plus(pause);
        let next = self.open.get(at + 1).filter(|next| next.sealed);
        next.map_or(end, |next| end.min(next.first))
    }

    /// The sessions to which a row of that time belongs: at most two, side by side.
    pub fn of(&self, time: Timestamp, pause: Micros) -> std::ops::Range<usize> {
        let from = (0..self.open.len()).position(|at| time < self.end(at, pause)).unwrap_or(self.open.len());
        let rest = self.open.get(from..).unwrap_or_default();
        from..from + rest.iter().take_while(|session| session.from(pause) <= time).count()
    }

    /// Puts a row into its session, which may put two together, and says where that stands.
    pub fn add(&mut self, plan: &Plan, limits: &Limits, step: &Step<'_>, blind: &mut Blind) -> Option<usize> {
        self.turns += 1;
        let mut of = self.of(step.time, plan.cut.window);
        if step.resets && !of.is_empty() && self.open.get(of.start).is_some_and(|s| s.last <= step.time) {
            self.open.remove(of.start);
            of.end -= 1;
        }
        let at = of.start;
        if of.is_empty() {
            self.open.insert(at, Session::new(plan, step));
        }
        for _ in 1..of.len() {
            let later = self.open.remove(at + 1);
            self.open.get_mut(at)?.merge(&plan.layout, later);
        }
        let session = self.open.get_mut(at)?;
        session.add(&plan.layout, step, self.turns);
        session.sealed |= step.resets && session.first == step.time;
        self.add_distinct(plan, limits, at, step, blind);
        self.make_room(limits, blind);
        self.open.iter().position(|session| session.turn == self.turns)
    }

    fn add_distinct(&mut self, plan: &Plan, limits: &Limits, at: usize, step: &Step<'_>, blind: &mut Blind) {
        let all = plan.layout.aggregates().iter().filter(|a| a.func == AggFunc::CountDistinct);
        for (set, aggregate) in all.enumerate() {
            let taken = takes(aggregate.filter, step.rows.steps(step.i));
            if let Some(hash) = distinct_hash(aggregate, step.rows, step.i).filter(|_| taken) {
                self.add_value(set, at, hash, limits.distinct, blind);
            }
        }
    }

    /// At the limit the values of the session that was touched longest ago leave.
    fn add_value(&mut self, set: usize, at: usize, hash: u128, cap: usize, blind: &mut Blind) {
        loop {
            let others = || (0..).zip(&self.open).filter(|(other, _)| *other != at);
            let theirs: usize = others().map(|(_, session)| session.distinct(set)).sum();
            let oldest = others().filter(|(_, session)| session.distinct(set) > 0);
            let oldest = oldest.min_by_key(|(_, session)| session.turn).map(|(other, _)| other);
            let own = self.open.get_mut(at).and_then(|session| session.distinct.get_mut(set));
            if own.is_none_or(|own| own.insert(ALL, hash, cap.saturating_sub(theirs))) {
                return;
            }
            blind.add(Reason::Capped, 1);
            let gone = oldest.and_then(|other| self.open.get_mut(other)?.distinct.get_mut(set));
            let Some(gone) = gone else { return };
            gone.remove(ALL);
        }
    }

    /// By time, a backlog would be invisible: the session that was touched longest ago leaves.
    fn make_room(&mut self, limits: &Limits, blind: &mut Blind) {
        while self.open.len() > limits.panes.max(1) {
            let oldest = (0..).zip(&self.open).min_by_key(|(_, session)| session.turn);
            let Some((oldest, _)) = oldest else { return };
            self.open.remove(oldest);
            blind.add(Reason::Capped, 1);
        }
    }

    /// What happens next: earliest first, at one time by the start of the session.
    pub fn next(&self, pause: Micros, limits: &Limits) -> Option<(Timestamp, Next)> {
        let closing = self.open.iter().enumerate().map(|(at, session)| {
            let passed = self.newest.is_some_and(|newest| newest >= self.end(at, pause));
            let wait = if passed && !session.by_older { 0 } else { pause };
            (session.touched.plus(wait).plus(limits.grace), session.first, Next::Close(at))
        });
        let forgotten =
            self.marks.iter().enumerate().map(|(at, mark)| (mark.until, mark.first, Next::Unmark(at)));
        let first = closing.chain(forgotten).min_by_key(|(due, first, _)| (*due, *first));
        first.map(|(due, _, next)| (due, next))
    }

    /// Closes a session, and remembers until then where it lay.
    pub fn close(&mut self, at: usize, pause: Micros, until: Timestamp, blind: &mut Blind) {
        let to = self.end(at, pause);
        if at >= self.open.len() {
            return;
        }
        let session = self.open.remove(at);
        let mark = Mark { from: session.from(pause), to, first: session.first, until };
        let place = self.marks.partition_point(|other| other.from < mark.from);
        self.marks.insert(place, mark);
        if self.marks.len() > MARKS {
            let first = (0..).zip(&self.marks).min_by_key(|(_, mark)| mark.until);
            first.map(|(at, _)| at).into_iter().for_each(|at| self.unmark(at));
            blind.add(Reason::Capped, 1);
        }
    }

    /// Forgets where a closed session lay.
    pub fn unmark(&mut self, at: usize) {
        if at < self.marks.len() {
            self.marks.remove(at);
        }
    }

    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        out.option(self.newest.as_ref(), |out, time| out.time(*time));
        out.u64(self.turns);
        out.list(&self.open, |out, session| session.write(out));
        out.list(&self.marks, |out, mark| {
            [mark.from, mark.to, mark.first, mark.until].into_iter().for_each(|time| out.time(time));
        });
    }

    /// What [`write`](Self::write) made.
    pub fn read(from: &mut Reader<'_>) -> Result<Sessions, StateError> {
        Ok(Sessions {
            newest: from.option(Reader::time)?,
            turns: from.u64()?,
            open: from.list(Session::read)?,
            marks: from.list(|from| {
                let (start, to, first) = (from.time()?, from.time()?, from.time()?);
                Ok(Mark { from: start, to, first, until: from.time()? })
            })?,
        })
    }
}

impl Session {
    fn write(&self, out: &mut Writer) {
        out.time(self.first);
        out.time(self.last);
        out.u64(self.rows);
        self.ends.iter().for_each(|name| out.name(name));
        out.u64(self.turn);
        out.time(self.touched);
        out.u8(u8::from(self.by_older));
        out.u8(u8::from(self.sealed));
        out.option(self.said.as_ref(), |out, said| write_severity(*said, out));
        out.list(&self.words, |out, word| out.u64(*word));
        out.list(&self.lists, |out, list| list.write(out));
        out.list(&self.distinct, |out, set| {
            let hashes: Vec<u128> = set.sorted().into_iter().flat_map(|(_, hashes)| hashes).collect();
            out.list(&hashes, |out, hash| out.u128(*hash));
        });
    }

    fn read(from: &mut Reader<'_>) -> Result<Session, StateError> {
        Ok(Session {
            first: from.time()?,
            last: from.time()?,
            rows: from.u64()?,
            ends: [from.name()?, from.name()?],
            turn: from.u64()?,
            touched: from.time()?,
            by_older: from.u8()? != 0,
            sealed: from.u8()? != 0,
            said: from.option(read_severity)?,
            words: from.list(Reader::u64)?.into(),
            lists: from.list(List::read)?.into(),
            distinct: from
                .list(|from| {
                    let mut set = DistinctPanes::default();
                    from.list(Reader::u128)?.into_iter().for_each(|hash| {
                        set.insert(ALL, hash, usize::MAX);
                    });
                    Ok(set)
                })?
                .into(),
        })
    }
}
