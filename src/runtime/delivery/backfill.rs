//! Sends the alerts of a span of time to a sink once more, beside the sink's own reader, which is not
//! disturbed.
//!
//! The journal is read from its beginning, not from that of the span: whom to believe there is known only to
//! a reader who has seen who opened before. Nothing is committed and no dead letter written.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::gauge::{Gauge, SinkStats};
use super::line::{Line, Order, Pace, Parcel, Place, Report, Tell};
use super::progress::{Heard, judge};
use crate::event::{Marks, Timestamp};
use crate::journal;
use crate::kafka::{Error, Excerpt};
use crate::sink::Sink;

/// Alerts under way.
const UNDER_WAY: usize = 5_000;

/// How long one waits for an outcome before progress is shown again.
const GLANCE: Duration = Duration::from_millis(100);

/// What became of a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backfill {
    /// Alerts in it.
    pub alerts: u64,
    /// Of them, those that are there now and were not before, as far as the sink can tell.
    pub sent: u64,
    /// Those that were there already.
    pub present: u64,
    /// Those that the sink will never take.
    pub refused: u64,
    /// Entries of owners that had been replaced: not sent.
    pub superseded: u64,
    /// Records that are no entries.
    pub undecodable: u64,
}

/// How far a backfill is.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// Offsets of the journal that were passed, and all of them.
    pub offsets: (u64, u64),
    /// What was found so far.
    pub found: &'a Backfill,
    /// The sink's last trouble.
    pub trouble: Option<&'a str>,
}

impl Backfill {
    fn take(&mut self, stats: &SinkStats) {
        (self.sent, self.present) = (stats.delivered.saturating_sub(stats.present), stats.present);
        self.refused = stats.refused;
    }
}

/// Reads `journal`, which begins with the first entry there is, and sends to `sink` what the broker took in
/// `span`; without a sink it only counts. `watch` sees how far it is.
pub fn backfill(
    sink: Option<(&str, Box<dyn Sink>)>,
    journal: &mut Excerpt,
    span: Range<Timestamp>,
    handle: &Handle,
    watch: &mut dyn FnMut(Passing<'_>),
) -> Result<Backfill, Error> {
    let way = sink.map(|(name, sink)| Way::open(name, sink, handle));
    let (mut found, mut marks) = (Backfill::default(), Marks::default());
    while let Some(taken) = journal.next()? {
        let in_span = span.contains(&taken.broker_time);
        let Ok(written) = journal::decode(&taken.payload) else {
            found.undecodable += u64::from(in_span);
            continue;
        };
        match judge(&mut marks, &written.stamp, written.entry) {
            Heard::Alerts(alerts) if in_span => {
                found.alerts += alerts.len() as u64;
                let place = Place { partition: taken.partition, term: 0, offset: taken.offset };
                if let Some(way) = &way {
                    way.send(Parcel { place, alerts, detected: written.written })?;
                    way.wait(UNDER_WAY, journal.progress(), &mut found, watch)?;
                }
            }
            Heard::Superseded => found.superseded += u64::from(in_span),
            _ => {}
        }
        watch(Passing { offsets: journal.progress(), found: &found, trouble: None });
    }
    if let Some(way) = way {
        way.wait(1, journal.progress(), &mut found, watch)?;
        found.take(&way.gauge.stats());
    }
    Ok(found)
}

/// The way to the sink.
struct Way {
    gauge: Arc<Gauge>,
    orders: UnboundedSender<Order>,
    reports: Receiver<Report>,
}

impl Way {
    fn open(name: &str, sink: Box<dyn Sink>, handle: &Handle) -> Way {
        let gauge = Arc::new(Gauge::new(name.into(), UNDER_WAY));
        let (orders, inbox) = unbounded_channel();
        let (outcomes, reports) = channel();
        let tell: Tell = Box::new(move |report| drop(outcomes.send(report)));
        handle.spawn(Line::new(sink, inbox, tell, gauge.clone(), Pace::default()).run());
        Way { gauge, orders, reports }
    }

    fn send(&self, parcel: Parcel) -> Result<(), Error> {
        self.gauge.add(parcel.alerts.len());
        self.orders.send(Order::Deliver(parcel)).map_err(|_| self.broken())
    }

    fn broken(&self) -> Error {
        Error::new(format!("sink \"{}\" is broken: its task has ended", self.gauge.name))
    }

    /// Until fewer than `most` alerts are under way.
    fn wait(
        &self,
        most: usize,
        offsets: (u64, u64),
        found: &mut Backfill,
        watch: &mut dyn FnMut(Passing<'_>),
    ) -> Result<(), Error> {
        while self.gauge.waiting() >= most {
            if self.orders.is_closed() {
                return Err(self.broken());
            }
            // What each report says, the gauge has counted.
            self.reports.recv_timeout(GLANCE).ok();
            let stats = self.gauge.stats();
            found.take(&stats);
            let trouble = stats.last_error.as_ref().map(|(_, why)| why.as_str());
            watch(Passing { offsets, found, trouble });
        }
        self.reports.try_iter().for_each(drop);
        Ok(())
    }
}
