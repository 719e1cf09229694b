//! Takes alerts to every sink: a bounded queue each, retries with jitter, one outcome per alert and sink.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use crate::alert::Alert;
use crate::event::{Stamp, Timestamp};

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
    /// A sink will never take this alert: it belongs into the dead-letter topic. Comes before `Settled` of its stamp.
    Refused {
        /// The append it was part of.
        stamp: Stamp,
        /// The sink that refused it.
        sink: Arc<str>,
        /// The alert.
        alert: Arc<Alert>,
        /// Why.
        reason: String,
    },
    /// Every sink has an outcome (delivered or refused) for every alert of this append.
    Settled(Stamp),
}

/// All sinks of a process.
#[derive(Debug)]
pub struct Delivery {}

impl Delivery {
    /// Hands a parcel to every sink's queue; reports go to `back`. `Err` gives it back untouched: some queue is full.
    pub fn offer(&self, parcel: Parcel, _back: &Sender<Report>) -> Result<(), Parcel> {
        Err(parcel)
    }
}
