//! Whose turn it is, and when: the heart of the discrete-event simulation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// A step of an attack: before all others of its millisecond, since it may prepare them.
    Attack(usize),
    /// A car drives, rests or charges.
    Vehicle(usize),
    /// A car's intrusion detection reports.
    Sentinel(usize),
    /// An owner opens the app.
    Owner(usize),
    /// A technician takes up the next car.
    Technician(usize),
    /// A call-centre agent takes the next call.
    Agent(usize),
    /// A station sends its heartbeat or serves a visitor.
    Station(usize),
    /// A partner polls.
    Partner(usize),
    /// A service on Kafka is checked by the broker.
    Service(usize),
    /// Somebody or something works on the cloud account.
    Engineer(usize),
    /// A campaign goes on.
    Campaign(usize),
    /// Somebody on the internet knocks at the gateway.
    Stranger(usize),
}

/// Turns to come. Equal times are served in the order in which they were noted.
#[derive(Default)]
pub(super) struct Agenda {
    turns: BinaryHeap<Reverse<(i64, u64, Turn)>>,
    number: u64,
}

impl Agenda {
    /// Notes a turn.
    pub fn note(&mut self, at: i64, turn: Turn) {
        self.number += 1;
        self.turns.push(Reverse((at, self.number, turn)));
    }

    /// When the next turn is.
    pub fn next_time(&self) -> Option<i64> {
        self.turns.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next turn.
    pub fn pop(&mut self) -> Option<(i64, Turn)> {
        self.turns.pop().map(|Reverse((at, _, turn))| (at, turn))
    }
}
