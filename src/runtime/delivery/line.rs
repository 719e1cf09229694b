//! The task of one sink: collects what waits, tries, and tries again what must be.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::gauge::Gauge;
use crate::alert::Alert;
use crate::event::Timestamp;
use crate::sink::{Item, Outcome, Sink, Trouble};

/// Where in the journal an alert stands, and in which of our times as the owner of that part it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The partition of the journal.
    pub partition: i32,
    /// Rises each time the partition becomes ours: what was read before is nobody's business any more.
    pub term: u64,
    /// The offset of the record.
    pub offset: i64,
}

/// The alerts of one record of the journal, on their way to one sink.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// Where the record stands.
    pub place: Place,
    /// Its alerts.
    pub alerts: Vec<Arc<Alert>>,
    /// Wall time at which they were found.
    pub detected: Timestamp,
}

/// What a line is told.
#[derive(Debug)]
pub(super) enum Order {
    /// To deliver.
    Deliver(Parcel),
    /// To forget what came of a partition and has not been sent: it is somebody else's now.
    Forget(i32),
}

/// What came of one alert.
#[derive(Clone, Debug)]
pub(super) enum Report {
    /// It is there.
    Delivered(Place),
    /// The sink will never take it.
    Refused {
        /// Where it stands.
        place: Place,
        /// The alert.
        alert: Arc<Alert>,
        /// Why, in the words of the destination, which may quote the alert: not for logs.
        reason: String,
    },
}

/// Who hears what came of alerts.
pub(super) type Tell = Box<dyn Fn(Report) + Send>;

/// Longest wait that a destination can ask for.
const PATIENCE: Duration = Duration::from_secs(300);

/// Failures of the whole in a row before it is said: one of them happens now and then.
const SAID: u32 = 3;

/// How long to wait before the next attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// At most so long after the first failure, twice as long after each further one.
    pub first: Duration,
    /// Never longer.
    pub most: Duration,
    /// Half of it to all of it while somebody has to act first.
    pub blocked: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Pace { first: Duration::from_millis(100), most: seconds(30), blocked: seconds(30) }
    }
}

impl Pace {
    /// The wait after the `tries`th failure in a row: anything up to a limit that doubles ("full jitter"), so
    /// that many who failed together do not come back together.
    pub fn wait(self, tries: u32, trouble: &Trouble) -> Duration {
        match trouble {
            Trouble::Blocked { .. } => self.blocked.mul_f64(0.5 + 0.5 * chance()),
            Trouble::Retry { after, .. } => {
                let doubled = 1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
                let limit = self.first.saturating_mul(doubled).min(self.most);
                limit.mul_f64(chance()).max(after.unwrap_or_default().min(PATIENCE))
            }
        }
    }
}

/// Anything from 0 to 1: the standard library's only source of chance are the seeds of its hash maps.
fn chance() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// An alert without an outcome.
struct Waiting {
    place: Place,
    item: Item,
    /// Whether it failed when it was last attempted.
    tried: bool,
    /// Whether the sink has taken it and is asked what became of it.
    under_way: bool,
    /// Failures in a row of this alone.
    tries: u32,
    /// Not before this.
    due: Option<Instant>,
    /// Whether somebody has to act before this alone can pass.
    blocked: bool,
}

/// One sink, its queue and its state.
pub(super) struct Line {
    sink: Box<dyn Sink>,
    inbox: UnboundedReceiver<Order>,
    tell: Tell,
    gauge: Arc<Gauge>,
    pace: Pace,
    /// By the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    /// How many ever came.
    came: u64,
    /// Failures of the whole in a row.
    tries: u32,
    /// Whether it was said that the sink fails.
    said: bool,
    /// After a failure of the whole: nothing is tried before this.
    rest: Option<Instant>,
}

impl Line {
    pub fn new(
        sink: Box<dyn Sink>,
        inbox: UnboundedReceiver<Order>,
        tell: Tell,
        gauge: Arc<Gauge>,
        pace: Pace,
    ) -> Line {
        Line {
            sink,
            inbox,
            tell,
            gauge,
            pace,
            waiting: BTreeMap::new(),
            came: 0,
            tries: 0,
            said: false,
            rest: None,
        }
    }

    /// Runs until it is stopped, or nobody can offer anything any more and all is delivered.
    pub async fn run(mut self) {
        while self.collect().await {
            let (places, items) = self.due();
            if items.is_empty() {
                continue;
            }
            match self.sink.attempt(&items).await {
                Ok(outcomes) if !outcomes.is_empty() => self.each(&places, outcomes),
                Ok(_) => {
                    self.whole(&places, Trouble::Retry { after: None, why: "the sink said nothing".into() });
                }
                Err(trouble) => self.whole(&places, trouble),
            }
        }
    }

    /// Takes in what has come, and waits until something is due. False once nothing ever will be.
    async fn collect(&mut self) -> bool {
        loop {
            while let Ok(order) = self.inbox.try_recv() {
                self.obey(order);
            }
            // What was not tried yet is due at once: `None` is before any time.
            let first = self.waiting.values().map(|waiting| waiting.due).min();
            let next = first.map(|due| due.max(self.rest).unwrap_or_else(Instant::now));
            if next.is_some_and(|next| next <= Instant::now()) {
                return true;
            }
            let wake = next.unwrap_or_else(Instant::now);
            tokio::select! {
                order = self.inbox.recv(), if !self.inbox.is_closed() => {
                    order.into_iter().for_each(|order| self.obey(order));
                }
                () = sleep_until(wake), if next.is_some() => {}
                else => return false,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Deliver(parcel) => self.take_in(parcel),
            Order::Forget(partition) => self.forget(partition),
        }
    }

    fn take_in(&mut self, parcel: Parcel) {
        for alert in parcel.alerts {
            let item = Item { alert, detected: parcel.detected };
            let (tried, under_way, blocked) = (false, false, false);
            let place = parcel.place;
            let waiting = Waiting { place, item, tried, under_way, tries: 0, due: None, blocked };
            self.waiting.insert(self.came, waiting);
            self.came += 1;
        }
    }

    /// What a sink has taken stays until it says what became of it: it remembers it, too.
    fn forget(&mut self, partition: i32) {
        let before = self.waiting.len();
        self.waiting.retain(|_, waiting| waiting.under_way || waiting.place.partition != partition);
        self.gauge.release(before - self.waiting.len());
        self.recover();
    }

    /// The first alerts that are due, with their places.
    fn due(&self) -> (Vec<u64>, Vec<Item>) {
        let now = Instant::now();
        let due = self.waiting.iter().filter(|(_, waiting)| waiting.due.is_none_or(|due| due <= now));
        due.take(self.sink.batch().max(1)).map(|(place, waiting)| (*place, waiting.item.clone())).unzip()
    }

    /// Counts what was attempted again: of a batch a sink may have sent a part, and asking is no attempt.
    fn attempted(&self, places: &[u64]) {
        let again = |place: &&u64| self.waiting.get(place).is_some_and(|w| w.tried && !w.under_way);
        self.gauge.retried(places.iter().filter(again).count() as u64);
    }

    /// The sink had something to say about each of the first alerts of a batch.
    fn each(&mut self, places: &[u64], outcomes: Vec<Outcome>) {
        if std::mem::take(&mut self.said) {
            let waiting = self.gauge.waiting();
            tracing::info!("sink {:?} answers again, {waiting} alerts waiting", self.gauge.name);
        }
        self.tries = 0;
        self.rest = self.sink.pause().map(|pause| Instant::now() + pause.min(PATIENCE));
        self.attempted(places.get(..outcomes.len()).unwrap_or(places));
        for (place, outcome) in places.iter().zip(outcomes) {
            match outcome {
                Outcome::Delivered => self.delivered(*place),
                Outcome::Present => {
                    self.gauge.present();
                    self.delivered(*place);
                }
                Outcome::Refused { why, detail } => self.refused(*place, &why, &detail),
                Outcome::Pending(after) => self.pending(*place, after),
                Outcome::Failed(trouble) => self.failed(*place, trouble),
            }
        }
        self.recover();
    }

    fn delivered(&mut self, place: u64) {
        if let Some(waiting) = self.waiting.remove(&place) {
            self.gauge.delivered(now());
            // In this order: once nothing waits, everything has been told.
            (self.tell)(Report::Delivered(waiting.place));
            self.gauge.release(1);
        }
    }

    fn refused(&mut self, place: u64, why: &str, detail: &str) {
        self.gauge.error(now(), why);
        if let Some(Waiting { place, item, .. }) = self.waiting.remove(&place) {
            self.gauge.refused();
            let reason = if detail.is_empty() { why.to_string() } else { format!("{why}: {detail}") };
            (self.tell)(Report::Refused { place, alert: item.alert, reason });
            self.gauge.release(1);
        }
    }

    /// One alert is on its way: asking for it is no second try.
    fn pending(&mut self, place: u64, after: Duration) {
        if let Some(waiting) = self.waiting.get_mut(&place) {
            waiting.due = Some(Instant::now() + after);
            (waiting.tried, waiting.under_way, waiting.blocked) = (false, true, false);
        }
    }

    /// One alert did not get through: it waits, the others do not wait for it.
    fn failed(&mut self, place: u64, trouble: Trouble) {
        if let Some(waiting) = self.waiting.get_mut(&place) {
            waiting.tries += 1;
            (waiting.tried, waiting.under_way) = (true, false);
            waiting.due = Some(Instant::now() + self.pace.wait(waiting.tries, &trouble));
            waiting.blocked = matches!(trouble, Trouble::Blocked { .. });
        }
        self.note(&trouble);
    }

    /// Nothing got through: the sink is left alone for a while.
    fn whole(&mut self, places: &[u64], trouble: Trouble) {
        self.attempted(places);
        for place in places {
            if let Some(waiting) = self.waiting.get_mut(place) {
                waiting.tried = !waiting.under_way;
            }
        }
        self.tries = self.tries.saturating_add(1);
        self.rest = Some(Instant::now() + self.pace.wait(self.tries, &trouble));
        if let (SAID.., false, Trouble::Retry { why, .. }) = (self.tries, self.said, &trouble) {
            let (name, waiting) = (&self.gauge.name, self.gauge.waiting());
            tracing::warn!(
                "sink {name:?} fails: {why}; {waiting} alerts waiting, tried again until it works"
            );
        }
        self.note(&trouble);
    }

    /// Remembers a trouble, and says once that somebody has to act.
    fn note(&self, trouble: &Trouble) {
        let now = now();
        let why = match trouble {
            Trouble::Retry { why, .. } => why,
            Trouble::Blocked { why, mend } => {
                if self.gauge.block(now, why, mend) {
                    tracing::error!(
                        "sink {:?} is blocked: {why}, since {now}, {} of {} alerts waiting, \
                         detection goes on, more wait in Kafka; {mend}",
                        self.gauge.name,
                        self.gauge.waiting(),
                        self.gauge.capacity(),
                    );
                }
                why
            }
        };
        self.gauge.error(now, why);
    }

    /// After an attempt that got through: is anything blocked still?
    fn recover(&self) {
        let still = || self.waiting.values().any(|waiting| waiting.blocked);
        if let Some(since) = (self.gauge.is_blocked() && !still()).then(|| self.gauge.unblock()).flatten() {
            let (name, waiting) = (&self.gauge.name, self.gauge.waiting());
            tracing::info!("sink {name:?} takes alerts again, blocked since {since}; {waiting} waiting");
        }
    }
}
