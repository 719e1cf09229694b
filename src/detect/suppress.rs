//! How often an alert is said: the first finding of a period, then the 10th, 100th, 1000th folded one.
//!
//! No timer: a period starts with the first finding outside one and lasts so much stream time; nothing said
//! within moves it. A severity above all that was sent in it is sent at once. Folded findings that nobody was
//! told of wait for the key's next finding.

use arrow::record_batch::RecordBatch;

use super::StateError;
use super::codec::{Reader, Sources, Writer};
use super::edge::{read_severity, write_severity};
use super::table::KeyTable;
use crate::alert::{Blind, Severity};
use crate::event::{Key, Micros, Timestamp};

/// The periods of one rule in one partition.
pub struct Suppressor {
    span: Micros,
    cap: usize,
    periods: KeyTable<Period>,
}

/// One key's period.
#[derive(Debug)]
struct Period {
    start: Timestamp,
    sent: Severity,
    /// Findings folded in this period.
    folded: u64,
    /// Findings folded that no alert has told of.
    untold: u64,
}

impl Suppressor {
    /// No periods yet; each lasts `span`, for at most `cap` keys.
    pub fn new(span: Micros, cap: usize) -> Suppressor {
        Suppressor { span, cap, periods: KeyTable::new(cap) }
    }

    /// Whether a finding is sent: then with how many folds.
    pub fn send(&mut self, key: Key, now: Timestamp, severity: Severity, blind: &mut Blind) -> Option<u64> {
        self.expire(now);
        let outside = Period { start: now, sent: severity, folded: 0, untold: 0 };
        let fresh = self.periods.get_mut(key).is_none();
        let Some(entry) = self.periods.touch(key, blind, || (Box::default(), outside)) else {
            return Some(0);
        };
        let period = &mut entry.state;
        let end = period.start.plus(self.span);
        if fresh || now >= end {
            let folds = std::mem::take(&mut period.untold);
            *period = Period { start: now, sent: severity, folded: 0, untold: 0 };
            self.periods.schedule(key, Some(now.plus(self.span)));
            return Some(folds);
        }
        if severity > period.sent {
            period.sent = severity;
            return Some(std::mem::take(&mut period.untold));
        }
        period.folded += 1;
        if period.folded >= 10 && is_power_of_ten(period.folded) {
            return Some(std::mem::take(&mut period.untold));
        }
        period.untold += 1;
        None
    }

    /// A period that is over and has nothing left to tell is forgotten.
    fn expire(&mut self, now: Timestamp) {
        while let Some(key) = self.periods.pop_due(now) {
            if self.periods.get_mut(key).is_some_and(|entry| entry.state.untold == 0) {
                self.periods.remove(key);
            }
        }
    }

    /// The periods, one row a key.
    pub fn save(&self) -> Vec<RecordBatch> {
        super::state::save(&self.periods, Period::write)
    }

    /// Begins to save them as they are now, in slices; what was begun before is given up.
    pub fn begin_save(&mut self) {
        self.periods.begin_save(Period::write);
    }

    /// Saves so many bytes, which are taken off `budget`; all periods once they are whole.
    pub fn save_some(&mut self, budget: &mut usize) -> Option<Vec<RecordBatch>> {
        self.periods.save_some(budget)
    }

    /// Gives up what was begun.
    pub fn abandon_save(&mut self) {
        self.periods.abandon_save();
    }

    /// What [`save`](Self::save) made.
    pub fn load(&mut self, saved: &[RecordBatch]) -> Result<(), StateError> {
        self.periods = KeyTable::new(self.cap);
        let span = self.span;
        super::state::load(&mut self.periods, saved, |bytes| {
            let period = Period::read(&mut Reader(bytes, Sources::Same))?;
            let end = period.start.plus(span);
            Ok((period, Some(end)))
        })
    }
}

impl Period {
    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        out.time(self.start);
        write_severity(self.sent, out);
        out.u64(self.folded);
        out.u64(self.untold);
    }

    /// What [`write`](Self::write) made.
    pub fn read(from: &mut Reader<'_>) -> Result<Period, StateError> {
        let (start, sent) = (from.time()?, read_severity(from)?);
        Ok(Period { start, sent, folded: from.u64()?, untold: from.u64()? })
    }
}

fn is_power_of_ten(mut n: u64) -> bool {
    while n >= 10 && n.is_multiple_of(10) {
        n /= 10;
    }
    n == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::time::SECOND;

    fn sent(at: &[f64], span: f64) -> Vec<(f64, u64)> {
        let mut suppressor = Suppressor::new((span * 1e6) as i64, 9);
        let mut blind = Blind::default();
        at.iter()
            .filter_map(|t| {
                let now = Timestamp((t * SECOND as f64) as i64);
                suppressor.send(Key(1), now, Severity::Low, &mut blind).map(|folds| (*t, folds))
            })
            .collect()
    }

    #[test]
    fn the_tenth_folded_finding_tells_of_nine_and_the_next_period_of_what_is_left() {
        let mut at: Vec<f64> = (0..11).map(|i| f64::from(i) / 10.0).collect();
        at.extend([10.0, 10.5]);
        assert_eq!(sent(&at, 10.0), [(0.0, 0), (1.0, 9), (10.0, 0)]);
        assert_eq!(sent(&[0.0, 1.0, 2.0, 50.0], 10.0), [(0.0, 0), (50.0, 2)]);
    }

    #[test]
    fn the_hundredth_tells_of_what_came_since_the_tenth() {
        let at: Vec<f64> = (0..150).map(|i| f64::from(i) / 100.0).collect();
        let folds: Vec<u64> = sent(&at, 10.0).into_iter().map(|(_, folds)| folds).collect();
        assert_eq!(folds, [0, 9, 89]);
    }

    #[test]
    fn a_rise_of_severity_is_sent_at_once_and_is_not_folded() {
        let mut suppressor = Suppressor::new(10 * SECOND, 9);
        let mut blind = Blind::default();
        let mut send =
            |s: i64, severity| suppressor.send(Key(1), Timestamp(s * SECOND), severity, &mut blind);
        assert_eq!(send(0, Severity::Low), Some(0));
        assert_eq!(send(1, Severity::Low), None);
        assert_eq!(send(2, Severity::High), Some(1));
        assert_eq!(send(3, Severity::Medium), None);
        assert_eq!(send(10, Severity::Low), Some(1), "the rise did not move the period");
    }
}
