//! One file, partition by partition: lines that are read before their turn wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::envelope::{self, Framed};
use super::source::{Lines, RawLine};
use super::{FilesError, Framing, Origin};

/// So many records tell whether a file has envelopes.
const SNIFFED: u64 = 100;

/// A line, and what it is.
pub(super) struct Raw {
    pub bytes: Vec<u8>,
    /// Whether it was longer than its limit.
    pub cut: bool,
    pub framed: Framed,
}

impl Raw {
    pub fn new(line: RawLine) -> Raw {
        Raw { framed: envelope::read(&line.bytes), bytes: line.bytes, cut: line.cut }
    }

    fn partition(&self) -> i32 {
        if let Framed::Envelope(envelope) = &self.framed { envelope.partition } else { 0 }
    }
}

/// One file.
pub(super) struct Reader {
    origin: Origin,
    framing: Framing,
    limit: usize,
    read: Arc<AtomicU64>,
    lines: Option<Lines>,
    waiting: BTreeMap<i32, VecDeque<Raw>>,
    /// How many lines of each partition are still to be handed out; none = nobody has counted.
    left: Option<BTreeMap<i32, u64>>,
    /// The partitions that it is known to have.
    pub seen: BTreeSet<i32>,
    done: bool,
}

impl Reader {
    /// Opens a file, finds out whether its lines have envelopes, and if so which partitions it has. `read`
    /// counts the bytes that are read after that.
    pub fn open(
        origin: Origin,
        framing: Framing,
        limit: usize,
        read: Arc<AtomicU64>,
    ) -> Result<Reader, FilesError> {
        let mut reader = Reader {
            origin,
            framing,
            limit,
            read,
            lines: None,
            waiting: BTreeMap::new(),
            left: None,
            seen: BTreeSet::new(),
            done: false,
        };
        if reader.origin == Origin::Stdin {
            reader.load()?
        } else {
            reader.count()?
        }
        Ok(reader)
    }

    fn lines(&self, read: Arc<AtomicU64>) -> Result<Lines, FilesError> {
        let lines = Lines::open(&self.origin, self.framing, self.limit, read);
        lines.map_err(|error| self.origin.failed(error))
    }

    /// Counts the lines of each partition, unless the first of them have no envelope.
    fn count(&mut self) -> Result<(), FilesError> {
        let mut lines = self.lines(Arc::default())?;
        let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
        let (mut records, mut enveloped) = (0, false);
        while let Some(line) = lines.next().map_err(|error| self.origin.failed(error))? {
            let raw = Raw::new(line);
            records += 1;
            enveloped |= raw.framed != Framed::Event;
            *counts.entry(raw.partition()).or_default() += 1;
            if records == SNIFFED && !enveloped {
                self.seen.insert(0);
                return Ok(());
            }
        }
        self.seen = counts.keys().copied().collect();
        self.left = Some(counts);
        Ok(())
    }

    /// Takes what cannot be read twice into memory, unless its first line has no envelope.
    fn load(&mut self) -> Result<(), FilesError> {
        let Some(first) = self.line()? else { return Ok(()) };
        let enveloped = first.framed != Framed::Event;
        self.wait(first);
        while enveloped && !self.done {
            if let Some(raw) = self.line()? {
                self.wait(raw);
            }
        }
        Ok(())
    }

    fn wait(&mut self, raw: Raw) {
        self.seen.insert(raw.partition());
        self.waiting.entry(raw.partition()).or_default().push_back(raw);
    }

    /// The next line of a partition; none = the file has no more of them.
    pub fn next(&mut self, partition: i32) -> Result<Option<Raw>, FilesError> {
        loop {
            if let Some(raw) = self.waiting.get_mut(&partition).and_then(VecDeque::pop_front) {
                if let Some(left) = self.left.as_mut().and_then(|left| left.get_mut(&partition)) {
                    *left = left.saturating_sub(1);
                }
                return Ok(Some(raw));
            }
            let none_left = |left: &BTreeMap<i32, u64>| left.get(&partition).is_none_or(|left| *left == 0);
            if self.done || self.left.as_ref().is_some_and(none_left) {
                return Ok(None);
            }
            if let Some(raw) = self.line()? {
                self.wait(raw);
            }
        }
    }

    fn line(&mut self) -> Result<Option<Raw>, FilesError> {
        if self.lines.is_none() {
            self.lines = Some(self.lines(self.read.clone())?);
        }
        let line = self.lines.as_mut().map_or(Ok(None), Lines::next);
        let line = line.map_err(|error| self.origin.failed(error))?;
        if line.is_none() {
            self.done = true;
            self.lines = None;
        }
        Ok(line.map(Raw::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(text: &str) -> Reader {
        Reader {
            origin: Origin::Bytes("bytes".into(), text.as_bytes().into()),
            framing: Framing::Lines,
            limit: 100,
            read: Arc::default(),
            lines: None,
            waiting: BTreeMap::new(),
            left: None,
            seen: BTreeSet::new(),
            done: false,
        }
    }

    fn line(partition: i32) -> String {
        format!("{{\"_t\":1,\"_p\":{partition},\"_o\":1,\"v\":{{}}}}\n")
    }

    #[test]
    fn what_cannot_be_read_twice_is_held_if_it_has_envelopes() {
        let mut enveloped = reader(&[line(4), line(2), "{}\n".into(), line(4)].concat());
        enveloped.load().unwrap();
        assert!(enveloped.done);
        assert_eq!(enveloped.seen, BTreeSet::from([0, 2, 4]));
        let mut plain = reader("{}\n{}\n");
        plain.load().unwrap();
        assert!(!plain.done && plain.waiting.len() == 1);
        assert_eq!((0..3).filter(|_| plain.next(0).unwrap().is_some()).count(), 2);
        let mut empty = reader("");
        empty.load().unwrap();
        assert!(empty.seen.is_empty());
    }

    #[test]
    fn a_file_with_envelopes_is_counted_and_another_is_not() {
        let mut enveloped = reader(&("{}\n".repeat(99) + &line(3) + &line(3) + &line(5)));
        enveloped.count().unwrap();
        assert_eq!(enveloped.left, Some(BTreeMap::from([(0, 99), (3, 2), (5, 1)])));
        let mut plain = reader(&("{}\n".repeat(100) + &line(3) + "{}\n"));
        plain.count().unwrap();
        assert_eq!((plain.left.as_ref(), &plain.seen), (None, &BTreeSet::from([0])));
        let found = (0..200).map_while(|_| plain.next(0).unwrap()).count();
        assert_eq!((found, plain.next(3).unwrap().is_some()), (101, true));
        assert_eq!(plain.seen, BTreeSet::from([0, 3]));
    }

    #[test]
    fn only_lines_between_two_of_a_partition_wait() {
        let mut file = reader(&(line(1).repeat(50) + &line(2)));
        file.count().unwrap();
        assert!(file.next(1).unwrap().is_some());
        assert_eq!(file.waiting.values().map(VecDeque::len).sum::<usize>(), 0);
        assert!(file.next(2).unwrap().is_some());
        assert_eq!(file.waiting.values().map(VecDeque::len).sum::<usize>(), 49);
        assert!(file.next(2).unwrap().is_none());
    }
}
