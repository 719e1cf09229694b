//! Destinations: one attempt, one outcome per alert.
//!
//! A sink tries once and says what came of it. How often, how fast and in what order is `runtime/delivery`;
//! how an alert looks is `encode`. A sink keeps no alerts and never waits between attempts.

pub mod channel;
pub mod config;
pub mod elastic;
#[cfg(test)]
pub mod fault;
pub mod file;
pub mod hec;
mod http;
pub mod pem;
pub mod stdout;
pub mod template;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use config::{ElasticConfig, Endpoint, FileConfig, SinkConfig, SplunkConfig, StdoutConfig};

use crate::alert::Alert;
use crate::encode::{Envelope, plain};
use crate::event::Timestamp;

/// One alert on its way.
#[derive(Clone, Debug)]
pub struct Item {
    /// The alert.
    pub alert: Arc<Alert>,
    /// Wall time at which it was found.
    pub detected: Timestamp,
}

/// What came of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there.
    Delivered,
    /// It was there already, by its id: this attempt changed nothing.
    Present,
    /// This sink will never take it.
    Refused {
        /// Why, in words that quote nothing of the alert: for logs.
        why: String,
        /// What the destination said, which may quote the alert: for the dead letter alone. May be empty.
        detail: String,
    },
    /// It was taken, and whether it is there is not known yet: to be attempted again after this time, which
    /// asks and does not send it once more.
    Pending(Duration),
    /// Not this time; other alerts of the batch may have got through.
    Failed(Trouble),
}

/// Why something did not get through. Quotes nothing of an alert and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It will pass: try again.
    Retry {
        /// The shortest wait that the destination asked for.
        after: Option<Duration>,
        /// What happened.
        why: String,
    },
    /// It will not pass until somebody does something: alarm, and try again slowly.
    Blocked {
        /// What happened.
        why: String,
        /// What to do about it.
        mend: String,
    },
}

/// A running attempt. `Ok` holds one outcome each for the first alerts of the batch, in order: for at least
/// one, and for all that were tried. `Err` is a failure of the whole, after which the fate of every alert is
/// unknown.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Vec<Outcome>, Trouble>> + Send + 'a>>;

/// A destination.
pub trait Sink: Send {
    /// Tries once to deliver the beginning of `batch`, which is never empty.
    fn attempt<'a>(&'a mut self, batch: &'a [Item]) -> Attempt<'a>;

    /// The most alerts that one attempt is worth.
    fn batch(&self) -> usize;

    /// How long the destination wants to be left alone after an attempt that got through. Asked once after
    /// each.
    fn pause(&mut self) -> Option<Duration> {
        None
    }
}

/// Makes the sink that a configuration describes. Nothing is contacted yet; an error says which setting is
/// wrong.
pub fn open(config: &SinkConfig) -> Result<Box<dyn Sink>, String> {
    Ok(match config {
        SinkConfig::Stdout(config) => Box::new(stdout::Stdout::new(config)),
        SinkConfig::File(config) => Box::new(file::File::new(config)),
        SinkConfig::Opensearch(config) | SinkConfig::Elasticsearch(config) => {
            Box::new(elastic::Elastic::open(config)?)
        }
        SinkConfig::Splunk(config) => Box::new(hec::Hec::open(config)?),
    })
}

/// Alerts per write of the sinks that write lines.
const LINES: usize = 1000;

/// Bodies of a batch, one line each.
fn lines(batch: &[Item], raw: bool) -> String {
    let mut text = String::new();
    for item in batch {
        text.push_str(&plain::line_for(&item.alert, &Envelope { detected: item.detected, raw }));
        text.push('\n');
    }
    text
}

/// Writes lines where a write may hang (a pipe that nobody reads, a dead disk), without holding up other
/// sinks.
async fn write_lines<F>(count: usize, write: F, mend: &str) -> Result<Vec<Outcome>, Trouble>
where
    F: FnOnce() -> io::Result<()> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(write).await.map_err(io::Error::other);
    match done.flatten() {
        Ok(()) => Ok(vec![Outcome::Delivered; count]),
        Err(error) => Err(Trouble::Blocked { why: error.to_string(), mend: mend.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines hold bodies, and the text of the event only where it may leave.
    #[test]
    fn lines_are_bodies() {
        let alert = Arc::new(crate::encode::ecs::tests::sample(7));
        let items = vec![Item { alert: alert.clone(), detected: Timestamp(0) }; 2];
        assert_eq!(lines(&items, true), format!("{0}\n{0}\n", plain::line(&alert)));
        assert!(lines(&items, true).contains("BCM\\\""));
        assert!(!lines(&items, false).contains("BCM\\\""));
    }
}
