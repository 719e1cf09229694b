//! The thread of one sink: reads the journal, believes whom it should, keeps the sink's line supplied, and
//! commits what has its outcome.
//!
//! It reads no more than the line may hold; beyond that it waits, and keeps its place in the group. Nothing
//! that happens here is seen by another sink, or by detection.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::gauge::Gauge;
use super::letters::Letters;
use super::line::{Order, Parcel, Place, Report};
use super::memo::Memo;
use super::progress::{Heard, Progress};
use crate::event::Timestamp;
use crate::journal;
use crate::kafka::reader::{Change, Position};
use crate::kafka::{Complaints, Error, Message, Polled, Reader, Settings, Start};

/// Records that are read in a row before anything else is looked at.
const RECORDS: usize = 1_000;

/// How long a poll waits for the first record.
const WAIT: Duration = Duration::from_millis(50);

/// How long one waits while something is about to be tried again.
const SHORT_WAIT: Duration = Duration::from_millis(10);

/// How long the line may be full before reading is stopped: what has been fetched then is fetched again.
const LINGER: Duration = Duration::from_millis(500);

/// How long the group and the cluster may take to answer while partitions change hands.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a new position is committed.
const COMMIT: Duration = Duration::from_secs(1);

/// How often one that has not moved is: a commit may have been lost.
const COMMIT_AGAIN: Duration = Duration::from_secs(5);

/// What a pump is given.
pub(super) struct Setup {
    /// How to reach Kafka.
    pub settings: Arc<Settings>,
    /// The topic of the journal.
    pub topic: String,
    /// What all clients of a process complain of together.
    pub complaints: Arc<Complaints>,
    /// Where reading starts in partitions for which nothing is committed.
    pub start: Start,
    /// What is shown of the sink.
    pub gauge: Arc<Gauge>,
    /// The way to its line.
    pub orders: UnboundedSender<Order>,
    /// What the line says of alerts.
    pub reports: Receiver<Report>,
    /// Set when it should end: until when it may wait for outcomes.
    pub stop: Arc<OnceLock<Instant>>,
}

/// How far a partition has come since it is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Where its reading starts is to be found out, not before then.
    Fresh(Instant),
    /// To be sought in, not before then.
    Seek(Instant),
    /// Records come.
    Live,
}

#[derive(Debug)]
struct Part {
    term: u64,
    phase: Phase,
    progress: Progress,
    /// What the broker's time of the record before the next must be, if this is still the log that we know.
    known_by: Option<Timestamp>,
    /// Whether it is not, so that what is committed means nothing.
    is_new: bool,
    /// The position that was said to be safe last.
    safe: Option<i64>,
    end: Option<i64>,
}

/// Runs until told to stop. An error is one of settings, or of a sink that is broken itself.
pub(super) fn run(setup: Setup) -> Result<(), Error> {
    let now = Instant::now();
    let (settings, complaints) = (setup.settings.clone(), setup.complaints.clone());
    let mut pump = Pump {
        letters: Letters::new(settings, complaints, setup.gauge.clone()),
        setup,
        parts: BTreeMap::new(),
        term: 0,
        full_since: None,
        held: false,
        check_ranges: None,
        moved: false,
        next_commit: now,
        again: now,
        next_second: now,
        complained: None,
    };
    let name = pump.setup.gauge.name.clone();
    loop {
        let Setup { settings, complaints, topic, .. } = &pump.setup;
        let group = group(settings, &name);
        let reader = Reader::open(settings, complaints, topic, &group, &format!("fleetwarden-sink-{name}"))?;
        match pump.serve(&reader)? {
            None => {
                pump.farewell(&reader);
                // Closing serves the last revocation, which commits what is safe, and leaves the group.
                drop(reader);
                return Ok(());
            }
            Some(reason) => {
                tracing::error!("the reader of sink {name:?} is broken, and replaced: {reason}");
                let all: Vec<i32> = pump.parts.keys().copied().collect();
                pump.lose(&all);
                drop(reader);
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

/// The consumer group of a sink.
pub fn group(settings: &Settings, sink: &str) -> String {
    format!("{}.sink.{sink}", settings.group)
}

struct Pump {
    setup: Setup,
    letters: Letters,
    parts: BTreeMap<i32, Part>,
    /// How many times any partition became ours.
    term: u64,
    /// Since when the line is full.
    full_since: Option<Instant>,
    /// Whether reading is stopped for that.
    held: bool,
    /// When to look for the partition that was out of range.
    check_ranges: Option<Instant>,
    /// Whether some position has moved since the last commit.
    moved: bool,
    next_commit: Instant,
    /// When to commit also what has not moved.
    again: Instant,
    next_second: Instant,
    /// When it was said last that a record cannot be read.
    complained: Option<Instant>,
}

impl Pump {
    /// None: told to stop. Some: this reader is of no more use, and why.
    fn serve(&mut self, reader: &Reader) -> Result<Option<String>, Error> {
        while self.setup.stop.get().is_none() {
            let now = Instant::now();
            self.settle(now);
            self.hold_or_release(reader, now);
            match self.full_since {
                Some(_) if !self.held => self.wait_for_room(),
                _ => match self.read(reader, now)? {
                    None => {}
                    Some(reason) => return Ok(Some(reason)),
                },
            }
            self.take_over(reader, now);
            self.find_gaps(reader, now);
            self.start(reader, now);
            self.commit(reader, now);
            self.show(reader, now);
        }
        Ok(None)
    }

    /// Hears what became of alerts and dead letters.
    fn settle(&mut self, now: Instant) {
        while let Ok(report) = self.setup.reports.try_recv() {
            self.hear(report, now);
        }
        for place in self.letters.work(now) {
            self.settled(place);
        }
    }

    fn hear(&mut self, report: Report, now: Instant) {
        match report {
            Report::Delivered(place) => self.settled(place),
            Report::Refused { place, alert, reason } => {
                // The reason may quote the alert: it goes with the letter, not into the log.
                let name = &self.setup.gauge.name;
                tracing::warn!("sink {name:?} refused alert {}: it is a dead letter", alert.id_hex());
                self.letters.write(place, &alert, reason, now);
            }
        }
    }

    /// An alert has its outcome. Of what was read when the partition was ours before, nobody needs to know.
    fn settled(&mut self, place: Place) {
        if let Some(part) = self.parts.get_mut(&place.partition).filter(|part| part.term == place.term) {
            part.progress.settle(place.offset);
        }
    }

    /// Alerts under way.
    fn load(&self) -> usize {
        self.setup.gauge.waiting() + self.letters.count()
    }

    /// Stops reading once the line has been full for a while, and lets it go on when it is half empty.
    fn hold_or_release(&mut self, reader: &Reader, now: Instant) {
        let most = self.setup.gauge.capacity();
        let full = self.load() >= if self.held { most.div_ceil(2) } else { most };
        if !full {
            (self.full_since, self.held) = (None, false);
            return;
        }
        let since = *self.full_since.get_or_insert(now);
        if !self.held && now.duration_since(since) >= LINGER {
            self.held = true;
            self.stop_reading(reader, now);
        }
    }

    fn stop_reading(&mut self, reader: &Reader, now: Instant) {
        let live = self.live();
        if let Err(error) = reader.pause(&live) {
            tracing::error!("pausing: {error}");
        }
        // Records that still arrive are dropped, and read again by the seek before reading goes on.
        live.iter().for_each(|partition| self.set(*partition, Phase::Seek(now)));
    }

    fn wait_for_room(&mut self) {
        match self.setup.reports.recv_timeout(SHORT_WAIT) {
            Ok(report) => self.hear(report, Instant::now()),
            // Nothing can be waited for; whoever sends the next alert notices, too.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(SHORT_WAIT),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }

    /// Takes what is waiting, as long as there is room for it.
    fn read(&mut self, reader: &Reader, now: Instant) -> Result<Option<String>, Error> {
        let hurry = self.held || self.load() > 0 || self.parts.values().any(|p| p.phase != Phase::Live);
        let mut wait = if hurry { SHORT_WAIT } else { WAIT };
        for _ in 0..RECORDS {
            let polled = reader.poll(wait);
            // First: what was polled before a partition went must not be taken after it.
            self.take_changes(reader, now);
            match polled {
                Polled::Message(message) => self.take(&message, now)?,
                Polled::Nothing => break,
                Polled::OutOfRange => {
                    self.check_ranges = Some(now);
                    break;
                }
                Polled::Fatal(reason) => return Ok(Some(reason)),
            }
            wait = Duration::ZERO;
            if self.load() >= self.setup.gauge.capacity() {
                break;
            }
        }
        Ok(None)
    }

    fn take_changes(&mut self, reader: &Reader, now: Instant) {
        for change in reader.changes() {
            match change {
                Change::Gained(partitions) => {
                    for partition in partitions {
                        self.term += 1;
                        let part = Part {
                            term: self.term,
                            phase: Phase::Fresh(now),
                            progress: Progress::new(0, Memo::default()),
                            known_by: None,
                            is_new: false,
                            safe: None,
                            end: None,
                        };
                        self.parts.insert(partition, part);
                    }
                }
                Change::Lost(partitions) => self.lose(&partitions),
            }
        }
    }

    /// Whoever has these partitions now delivers what has no outcome.
    fn lose(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.parts.remove(partition);
            // If the line is gone, the next alert tells.
            self.setup.orders.send(Order::Forget(*partition)).ok();
        }
    }

    fn take(&mut self, message: &Message<'_>, now: Instant) -> Result<(), Error> {
        let (partition, offset, at) = (message.index(), message.offset(), message.broker_time());
        let Some(part) = self.parts.get_mut(&partition).filter(|p| p.phase == Phase::Live) else {
            return Ok(());
        };
        if offset < part.progress.next() {
            let before = part.known_by.take().filter(|_| offset + 1 == part.progress.next());
            if before.is_some_and(|before| before.millis() != at.millis()) {
                (part.phase, part.is_new) = (Phase::Fresh(now), true);
                self.another_log(partition, "the record before the position is another one");
            }
            return Ok(());
        }
        part.known_by = None;
        let written = match journal::decode(message.payload()) {
            Ok(written) => written,
            Err(malformed) => {
                part.progress.skip(offset, at);
                self.complain(partition, offset, &malformed.to_string(), now);
                return Ok(());
            }
        };
        match part.progress.take(offset, at, &written.stamp, written.written, written.entry) {
            Heard::Nothing => Ok(()),
            Heard::Superseded => {
                self.setup.gauge.reading().superseded += 1;
                Ok(())
            }
            Heard::Alerts(alerts) => {
                let place = Place { partition, term: part.term, offset };
                self.setup.gauge.add(alerts.len());
                let parcel = Parcel { place, alerts, detected: written.written };
                self.setup.orders.send(Order::Deliver(parcel)).map_err(|_| {
                    Error::new(format!("sink \"{}\" is broken: its task has ended", self.setup.gauge.name))
                })
            }
        }
    }

    fn complain(&mut self, partition: i32, offset: i64, why: &str, now: Instant) {
        self.setup.gauge.reading().undecodable += 1;
        if self.complained.is_none_or(|said| now.duration_since(said) >= Duration::from_secs(60)) {
            self.complained = Some(now);
            let (name, topic) = (&self.setup.gauge.name, &self.setup.topic);
            tracing::error!("sink {name:?}: {topic}/{partition}@{offset} is no entry of a journal: {why}");
        }
    }

    /// Finds out where reading starts in partitions that are new here.
    fn take_over(&mut self, reader: &Reader, now: Instant) {
        let due = |part: &Part| matches!(part.phase, Phase::Fresh(again) if again <= now);
        let fresh: Vec<i32> =
            self.parts.iter().filter(|(_, part)| due(part)).map(|(partition, _)| *partition).collect();
        if fresh.is_empty() {
            return;
        }
        let begun = reader.committed(&fresh, PATIENCE).and_then(|committed| {
            committed.into_iter().try_for_each(|(partition, position)| {
                self.begin(partition, position, reader.range(partition, PATIENCE)?, now);
                Ok(())
            })
        });
        if let Err(error) = begun {
            let name = &self.setup.gauge.name;
            tracing::warn!("where sink {name:?} stands is not known, is asked again: {error}");
            let again = now + LINGER;
            let left = self.parts.values_mut().filter(|part| matches!(part.phase, Phase::Fresh(_)));
            left.for_each(|part| part.phase = Phase::Fresh(again));
        }
    }

    fn begin(&mut self, partition: i32, position: Option<Position>, range: (i64, i64), now: Instant) {
        let Some(part) = self.parts.get_mut(&partition) else { return };
        let (next, memo) = match position {
            _ if part.is_new => (range.0, Memo::default()),
            Some(Position { offset, metadata }) => (offset, Memo::read(&metadata).unwrap_or_default()),
            None if self.setup.start == Start::Latest => (range.1, Memo::default()),
            None => (range.0, Memo::default()),
        };
        part.known_by = memo.before.filter(|_| next > range.0);
        part.progress = Progress::new(next, memo);
        part.end = Some(range.1);
        self.mend(partition, range);
        self.set(partition, Phase::Seek(now));
    }

    /// Jumps over what is gone.
    fn mend(&mut self, partition: i32, (oldest, end): (i64, i64)) {
        let Some(part) = self.parts.get_mut(&partition) else { return };
        let next = part.progress.next();
        if next > end {
            part.progress = Progress::new(oldest, Memo::default());
            self.another_log(partition, &format!("it ends at {end}, before our position {next}"));
        } else if next < oldest {
            part.known_by = None;
            part.progress.jump(oldest);
            let mut reading = self.setup.gauge.reading();
            reading.gaps.jumps += 1;
            reading.gaps.records += oldest.abs_diff(next);
            let (name, topic) = (&self.setup.gauge.name, &self.setup.topic);
            tracing::error!(
                "sink {name:?}: {topic}/{partition}: records {next} to {oldest} are gone before they were \
                 delivered: reading from {oldest}; give the topic a longer retention.ms"
            );
        }
    }

    /// The topic was made anew: offsets, and with them epochs, count from the beginning.
    fn another_log(&mut self, partition: i32, how: &str) {
        let (name, topic) = (&self.setup.gauge.name, &self.setup.topic);
        tracing::error!("sink {name:?}: {topic}/{partition} is another log than before, {how}: reading all");
        self.setup.gauge.reading().gaps.jumps += 1;
        self.setup.orders.send(Order::Forget(partition)).ok();
        self.term += 1;
        if let Some(part) = self.parts.get_mut(&partition) {
            (part.term, part.known_by) = (self.term, None);
        }
    }

    /// Some partition's next offset is not there any more. Which one is not told, so all are looked at.
    fn find_gaps(&mut self, reader: &Reader, now: Instant) {
        if self.check_ranges.is_none_or(|due| now < due) {
            return;
        }
        self.check_ranges = None;
        let owned: Vec<i32> = self.parts.keys().copied().collect();
        for partition in self.live() {
            let looked = reader.range(partition, PATIENCE).and_then(|range| {
                self.mend(partition, range);
                reader.renew(partition, &owned)
            });
            match looked {
                Ok(again) => again.into_iter().for_each(|partition| {
                    if let Some(part) = self.parts.get_mut(&partition).filter(|p| p.phase == Phase::Live) {
                        part.phase = Phase::Seek(now);
                    }
                }),
                Err(error) => {
                    tracing::warn!("looking for the oldest record of the journal, tried again: {error}");
                    self.check_ranges = Some(now + Duration::from_secs(1));
                }
            }
        }
    }

    /// Lets records come of partitions that are ready for it.
    fn start(&mut self, reader: &Reader, now: Instant) {
        if self.held {
            return;
        }
        for (partition, part) in &mut self.parts {
            if !matches!(part.phase, Phase::Seek(again) if again <= now) {
                continue;
            }
            let next = part.progress.next() - i64::from(part.known_by.is_some());
            match reader.start(*partition, next) {
                Ok(()) => part.phase = Phase::Live,
                // Usual until the client library has set the partition up.
                Err(error) => {
                    tracing::debug!("starting the journal's partition {partition} at {next}: {error}");
                    part.phase = Phase::Seek(now + Duration::from_millis(20));
                }
            }
        }
    }

    /// Says what is safe, and commits it now and then.
    fn commit(&mut self, reader: &Reader, now: Instant) {
        for (partition, part) in &mut self.parts {
            let position = part.progress.position();
            if !matches!(part.phase, Phase::Fresh(_)) && part.safe != Some(position) {
                let metadata = part.progress.memo().text();
                reader.safe(*partition, Position { offset: position, metadata });
                part.safe = Some(position);
                self.moved = true;
            }
        }
        if now < self.next_commit || !(self.moved || now >= self.again) {
            return;
        }
        (self.moved, self.next_commit, self.again) = (false, now + COMMIT, now + COMMIT_AGAIN);
        if let Err(error) = reader.commit() {
            tracing::debug!("committing the position of sink {:?}: {error}", self.setup.gauge.name);
        }
    }

    /// Shows how it does, once a second.
    fn show(&mut self, reader: &Reader, now: Instant) {
        self.setup.gauge.oldest(self.parts.values().filter_map(|part| part.progress.oldest()).min());
        if now < self.next_second {
            return;
        }
        self.next_second = now + Duration::from_secs(1);
        let ends = reader.ends();
        // Until the group has decided for the first time, nothing is known.
        let mut lag = (self.term > 0).then_some(0);
        for (partition, part) in &mut self.parts {
            // What a fetch saw before reading stopped says little; then there is time to ask.
            part.end = match self.held {
                true => {
                    reader.range(*partition, Duration::from_secs(1)).ok().map(|(_, end)| end).or(part.end)
                }
                false => ends.get(partition).copied().max(part.end),
            };
            let behind = part.end.map(|end| end.saturating_sub(part.progress.position()));
            lag = lag.zip(behind).map(|(sum, behind)| sum + u64::try_from(behind).unwrap_or(0));
        }
        let mut reading = self.setup.gauge.reading();
        (reading.partitions, reading.lag) = (self.parts.len(), lag);
    }

    fn live(&self) -> Vec<i32> {
        let live = self.parts.iter().filter(|(_, part)| part.phase == Phase::Live);
        live.map(|(partition, _)| *partition).collect()
    }

    fn set(&mut self, partition: i32, phase: Phase) {
        if let Some(part) = self.parts.get_mut(&partition) {
            part.phase = phase;
        }
    }

    /// Takes what is there already, reads nothing more, and waits for outcomes, so that they can still be
    /// committed.
    fn farewell(&mut self, reader: &Reader) {
        let now = Instant::now();
        if self.full_since.is_none()
            && let Err(error) = self.read(reader, now)
        {
            tracing::warn!("{error}");
        }
        self.stop_reading(reader, now);
        let deadline = self.setup.stop.get().copied().unwrap_or_else(Instant::now);
        let idle = |pump: &Pump| pump.parts.values().all(|part| part.progress.is_idle());
        while !idle(self) && Instant::now() < deadline {
            let now = Instant::now();
            if let Polled::Fatal(reason) = reader.poll(SHORT_WAIT) {
                tracing::warn!("stopping sink {:?}: {reason}", self.setup.gauge.name);
                break;
            }
            self.take_changes(reader, now);
            self.settle(now);
        }
        // Closing commits what is said here.
        self.commit(reader, Instant::now());
    }
}
