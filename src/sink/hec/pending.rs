//! Which alerts wait for which acknowledgement. Keeps names, no alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::sink::{Outcome, Trouble};

/// Longest time between two questions.
const SELDOM: Duration = Duration::from_secs(5);

/// Alerts under way.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Requests without a known end, by the id of their acknowledgement.
    open: BTreeMap<u64, Request>,
    /// Alerts that are acknowledged and that nobody has asked for since.
    indexed: BTreeSet<u128>,
}

#[derive(Debug)]
struct Request {
    sent: Instant,
    alerts: BTreeSet<u128>,
}

impl Pending {
    /// A request was taken. Ids count upwards: if this one is in use, the server counts anew and will answer
    /// for nothing that it took before. Such alerts are unknown from here on, and sent again.
    pub fn add(&mut self, id: u64, alerts: impl Iterator<Item = u128>, now: Instant) {
        self.open.insert(id, Request { sent: now, alerts: alerts.collect() });
    }

    /// What is to be asked for.
    pub fn ids(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    /// A request is acknowledged.
    pub fn confirm(&mut self, id: u64) {
        self.indexed.extend(self.open.remove(&id).into_iter().flat_map(|request| request.alerts));
    }

    /// Whether an alert is under way.
    pub fn holds(&self, alert: u128) -> bool {
        self.indexed.contains(&alert) || self.of(alert).is_some()
    }

    /// What is known of an alert; none if it is not under way. `asked` is when the server last answered,
    /// `patience` how long an acknowledgement may take, `often` the shortest time between two questions.
    pub fn outcome(
        &self,
        alert: u128,
        asked: Option<Instant>,
        patience: Duration,
        often: Duration,
    ) -> Option<Outcome> {
        if self.indexed.contains(&alert) {
            return Some(Outcome::Delivered);
        }
        let request = self.of(alert)?;
        // While the server says nothing at all, time alone is no reason to send again.
        let age = asked.map(|asked| asked.saturating_duration_since(request.sent)).unwrap_or_default();
        if age >= patience {
            let why = format!("not acknowledged within {patience:?}");
            return Some(Outcome::Failed(Trouble::Retry { after: None, why }));
        }
        Some(Outcome::Pending(age.clamp(often, SELDOM.max(often))))
    }

    /// The outcome of an alert was told.
    pub fn forget(&mut self, alert: u128) {
        self.indexed.remove(&alert);
        self.open.retain(|_, request| {
            request.alerts.remove(&alert);
            !request.alerts.is_empty()
        });
    }

    fn of(&self, alert: u128) -> Option<&Request> {
        self.open.values().find(|request| request.alerts.contains(&alert))
    }
}
