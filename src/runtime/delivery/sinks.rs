//! All sinks of a process: each an independent reader of the journal with a group of its own.

#[cfg(test)]
mod tests;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::AbortHandle;

use super::gauge::{Gauge, SinkStats};
use super::line::{Line, Pace, Tell};
use super::pump::{self, Setup};
use crate::kafka::{Complaints, Error, Settings, Start};
use crate::sink::Sink;

/// Alerts of one sink that may have no outcome yet. Too small: a slow answer leaves the sink with nothing to
/// do; too big: that much memory for each sink that takes nothing.
const UNDER_WAY: usize = 5_000;

/// A sink that is to run.
pub struct Outlet {
    /// Its name in the configuration: with that of the group, the name of its consumer group.
    pub name: Arc<str>,
    /// Where it starts in the journal if its group has committed nothing.
    pub start: Start,
    /// The sink.
    pub sink: Box<dyn Sink>,
}

/// All sinks of a process. Dropping it drops what still waits; it is read again by whoever comes next.
pub struct Sinks {
    all: Vec<Running>,
    stop: Arc<OnceLock<Instant>>,
}

struct Running {
    gauge: Arc<Gauge>,
    task: AbortHandle,
    thread: Mutex<Option<JoinHandle<Result<(), Error>>>>,
}

impl Outlet {
    /// One that starts with the oldest entry.
    pub fn new(name: &str, sink: Box<dyn Sink>) -> Outlet {
        Outlet { name: name.into(), start: Start::Earliest, sink }
    }
}

impl Sinks {
    /// Starts a thread, and a task on `handle`, for each sink. `topic` is the journal. Kafka need not answer
    /// yet: errors are those of settings.
    pub fn start(
        sinks: Vec<Outlet>,
        settings: &Arc<Settings>,
        topic: &str,
        complaints: &Arc<Complaints>,
        handle: &Handle,
    ) -> Result<Sinks, Error> {
        Sinks::start_with(sinks, settings, topic, complaints, handle, (UNDER_WAY, Pace::default()))
    }

    pub(super) fn start_with(
        sinks: Vec<Outlet>,
        settings: &Arc<Settings>,
        topic: &str,
        complaints: &Arc<Complaints>,
        handle: &Handle,
        (under_way, pace): (usize, Pace),
    ) -> Result<Sinks, Error> {
        let stop = Arc::new(OnceLock::new());
        let mut all = Vec::with_capacity(sinks.len());
        for Outlet { name, start, sink } in sinks {
            let gauge = Arc::new(Gauge::new(name.clone(), under_way));
            let (orders, inbox) = unbounded_channel();
            let (outcomes, reports) = channel();
            // Whoever no longer listens has stopped.
            let tell: Tell = Box::new(move |report| drop(outcomes.send(report)));
            let task = handle.spawn(Line::new(sink, inbox, tell, gauge.clone(), pace).run()).abort_handle();
            let setup = Setup {
                settings: settings.clone(),
                topic: topic.to_string(),
                complaints: complaints.clone(),
                start,
                gauge: gauge.clone(),
                orders,
                reports,
                stop: stop.clone(),
            };
            let builder = std::thread::Builder::new().name(format!("sink-{name}"));
            let thread = builder.spawn(move || {
                let ended = pump::run(setup);
                if let Err(error) = &ended {
                    tracing::error!("sink {name:?} has ended: {error}");
                }
                ended
            });
            let thread = thread.map_err(|error| Error::new(format!("cannot start a thread: {error}")))?;
            all.push(Running { gauge, task, thread: Mutex::new(Some(thread)) });
        }
        Ok(Sinks { all, stop })
    }

    /// How each sink is doing, in the order in which they were given.
    pub fn stats(&self) -> Vec<SinkStats> {
        self.all.iter().map(|sink| sink.gauge.stats()).collect()
    }

    /// Sinks whose thread has ended by itself: a fault of the program. The others go on.
    pub fn ended(&self) -> Vec<String> {
        let ended = |sink: &&Running| {
            let thread = sink.thread.lock().unwrap_or_else(PoisonError::into_inner);
            thread.as_ref().is_some_and(JoinHandle::is_finished)
        };
        self.all.iter().filter(ended).map(|sink| format!("sink {} has ended", sink.gauge.name)).collect()
    }

    /// Stops: nothing more is read, outcomes are waited for until shortly before the deadline, positions are
    /// committed, groups left. True if all sinks did in time; what was not committed is read again.
    pub fn stop(&self, deadline: Instant) -> bool {
        let now = Instant::now();
        // What remains is for the last commit.
        self.stop.set(now + deadline.saturating_duration_since(now) / 2).ok();
        let thread = |sink: &Running| sink.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads: Vec<_> = self.all.iter().filter_map(thread).collect();
        while !threads.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        // One that still hangs at a broker that does not answer is left behind: the process ends anyway.
        threads.into_iter().all(|thread| thread.is_finished() && matches!(thread.join(), Ok(Ok(()))))
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.stop.set(Instant::now()).ok();
        self.all.iter().for_each(|sink| sink.task.abort());
    }
}
