//! Takes alerts to every sink: a bounded queue each, retries with jitter, one outcome per alert and sink.
//!
//! Each sink has a task of its own, so that a slow one delays no other until its queue is full: then
//! [`Delivery::offer`] gives the parcel back. Alerts leave a queue in the order in which they came; one that
//! has to be tried again does not hold up those behind it where the sink took them. Nothing is kept across
//! restarts.

mod backfill;
mod gauge;
mod letters;
mod line;
mod memo;
mod progress;
mod pump;
mod sinks;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use crate::alert::Alert;
use crate::event::{Stamp, Timestamp};
use crate::sink::Sink;

pub use backfill::{Backfill, Passing, backfill};
use gauge::Gauge;
pub use gauge::{Blockage, SinkReading, SinkStats};
use line::{Line, Order, Pace, Place, Tell};
pub use pump::group;
pub use sinks::{Outlet, Sinks};

/// One append on its way to every sink.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Which append: acknowledged as a whole.
    pub stamp: Stamp,
    /// Its alerts.
    pub alerts: Vec<Arc<Alert>>,
    /// Wall time at which they were found.
    pub detected: Timestamp,
}

/// What came of a parcel.
#[derive(Clone, Debug)]
pub enum Report {
    /// A sink will never take this alert: it belongs into the dead-letter topic. Comes before `Settled` of
    /// its stamp.
    Refused {
        /// The append it was part of.
        stamp: Stamp,
        /// The sink that refused it.
        sink: Arc<str>,
        /// The alert.
        alert: Arc<Alert>,
        /// Why, in the words of the destination, which may quote the alert: not for logs.
        reason: String,
    },
    /// Every sink has an outcome (delivered or refused) for every alert of this append.
    Settled(Stamp),
}

/// All sinks of a process. Dropping it drops what still waits.
#[derive(Debug)]
pub struct Delivery {
    queues: Vec<Queue>,
    loads: Loads,
    offers: AtomicI64,
}

/// The way into one sink's task.
#[derive(Debug)]
struct Queue {
    gauge: Arc<Gauge>,
    inbox: UnboundedSender<Order>,
    task: AbortHandle,
}

/// Parcels under way, by the number that stands for an offset in their places.
type Loads = Arc<Mutex<HashMap<i64, Load>>>;

/// A parcel under way, at all sinks.
#[derive(Debug)]
struct Load {
    stamp: Stamp,
    back: Sender<Report>,
    /// Outcomes that are still missing, over all sinks.
    missing: usize,
}

/// One more outcome; the last one settles the parcel. Nobody may be left to hear it: then nobody needs to.
fn outcome(loads: &Loads, sink: &Arc<str>, report: line::Report) {
    let mut loads = loads.lock().unwrap_or_else(PoisonError::into_inner);
    let (place, refused) = match report {
        line::Report::Delivered(place) => (place, None),
        line::Report::Refused { place, alert, reason } => (place, Some((alert, reason))),
    };
    let Some(load) = loads.get_mut(&place.offset) else { return };
    if let Some((alert, reason)) = refused {
        let (stamp, sink) = (load.stamp.clone(), sink.clone());
        load.back.send(Report::Refused { stamp, sink, alert, reason }).ok();
    }
    load.missing -= 1;
    if load.missing == 0
        && let Some(load) = loads.remove(&place.offset)
    {
        load.back.send(Report::Settled(load.stamp)).ok();
    }
}

impl Delivery {
    /// Starts a task on `handle` for each sink. A queue holds at most `queue_alerts` alerts that have no
    /// outcome yet (a single larger parcel is taken by an empty queue). Too small: one busy second pauses
    /// reading; too big: that much memory, and as much to be found again after a crash.
    pub fn start(sinks: Vec<(Arc<str>, Box<dyn Sink>)>, handle: &Handle, queue_alerts: usize) -> Delivery {
        Delivery::start_with(sinks, handle, queue_alerts, Pace::default())
    }

    fn start_with(
        sinks: Vec<(Arc<str>, Box<dyn Sink>)>,
        handle: &Handle,
        queue_alerts: usize,
        pace: Pace,
    ) -> Delivery {
        let loads = Loads::default();
        let queues = sinks.into_iter().map(|(name, sink)| {
            let gauge = Arc::new(Gauge::new(name.clone(), queue_alerts.max(1)));
            let (inbox, outlet) = unbounded_channel();
            let known = loads.clone();
            let tell: Tell = Box::new(move |report| outcome(&known, &name, report));
            let task = handle.spawn(Line::new(sink, outlet, tell, gauge.clone(), pace).run()).abort_handle();
            Queue { gauge, inbox, task }
        });
        let queues = queues.collect();
        Delivery { queues, loads, offers: AtomicI64::new(0) }
    }

    /// Hands a parcel to every sink's queue; reports go to `back`. `Err` gives it back untouched: some queue
    /// is full.
    pub fn offer(&self, parcel: Parcel, back: &Sender<Report>) -> Result<(), Parcel> {
        let count = parcel.alerts.len();
        for (at, queue) in self.queues.iter().enumerate() {
            if !queue.gauge.reserve(count) {
                self.queues.iter().take(at).for_each(|taken| taken.gauge.release(count));
                return Err(parcel);
            }
        }
        if count == 0 || self.queues.is_empty() {
            back.send(Report::Settled(parcel.stamp)).ok();
            return Ok(());
        }
        let Parcel { stamp, alerts, detected } = parcel;
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = self.offers.fetch_add(1, Ordering::Relaxed);
        loads.insert(offset, Load { stamp, back: back.clone(), missing: count * self.queues.len() });
        let place = Place { partition: 0, term: 0, offset };
        for queue in &self.queues {
            let parcel = line::Parcel { place, alerts: alerts.clone(), detected };
            // A task is gone only when the process stops: then the parcel stays unsettled, as it must.
            queue.inbox.send(Order::Deliver(parcel)).ok();
        }
        Ok(())
    }

    /// How each sink is doing, in the order in which they were given.
    pub fn stats(&self) -> Vec<SinkStats> {
        self.queues.iter().map(|queue| queue.gauge.stats()).collect()
    }

    /// Waits until no alert waits any more, or until the time is up. Returns how many still wait, in the
    /// fullest queue.
    pub async fn drain(&self, limit: Duration) -> usize {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let waiting = self.queues.iter().map(|queue| queue.gauge.waiting()).max().unwrap_or(0);
            if waiting == 0 || tokio::time::Instant::now() >= end {
                return waiting;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.task.abort());
    }
}
