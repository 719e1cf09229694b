//! Takes alerts to every sink: a bounded queue each, retries with jitter, one outcome per alert and sink.
//!
//! Each sink has a task of its own, so that a slow one delays no other until its queue is full: then
//! [`Delivery::offer`] gives the parcel back. Alerts leave a queue in the order in which they came; one that
//! has to be tried again does not hold up those behind it where the sink took them. Nothing is kept across
//! restarts.

mod gauge;
mod line;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use crate::alert::Alert;
use crate::event::{Stamp, Timestamp};
use crate::sink::Sink;

use gauge::Gauge;
pub use gauge::{Blockage, SinkStats};
use line::{Line, Pace};

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
}

/// The way into one sink's task.
#[derive(Debug)]
struct Queue {
    gauge: Arc<Gauge>,
    inbox: UnboundedSender<Arc<Load>>,
    task: AbortHandle,
}

/// A parcel under way, shared by all sinks.
#[derive(Debug)]
struct Load {
    parcel: Parcel,
    back: Sender<Report>,
    /// Outcomes that are still missing, over all sinks.
    missing: AtomicUsize,
}

impl Load {
    /// One more outcome; the last one settles the parcel. Nobody may be left to hear it: then nobody needs
    /// to.
    fn outcome(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.back.send(Report::Settled(self.parcel.stamp.clone())).ok();
        }
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
        let queues = sinks.into_iter().map(|(name, sink)| {
            let gauge = Arc::new(Gauge::new(name, queue_alerts.max(1)));
            let (inbox, outlet) = unbounded_channel();
            let task = handle.spawn(Line::new(sink, outlet, gauge.clone(), pace).run()).abort_handle();
            Queue { gauge, inbox, task }
        });
        Delivery { queues: queues.collect() }
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
        let missing = AtomicUsize::new(count * self.queues.len());
        if count == 0 || self.queues.is_empty() {
            back.send(Report::Settled(parcel.stamp)).ok();
            return Ok(());
        }
        let load = Arc::new(Load { parcel, back: back.clone(), missing });
        for queue in &self.queues {
            // A task is gone only when the process stops: then the parcel stays unsettled, as it must.
            queue.inbox.send(load.clone()).ok();
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
