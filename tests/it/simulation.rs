//! A fleet of workers driven from a seed: logs, journal, group, store and sinks are played, time is a number, and
//! whatever can go wrong does.
//!
//! Every seed draws processes with workers that are killed, stand still and come back as if nothing had happened,
//! are stopped and started; a group that moves partitions about; topics that lose records, stall, are made anew;
//! a store that fails and lies; rules that are edited; sinks that are refused and crash. Nothing here decides
//! anything about records: that is [`Worker`]'s, which is the real one, and what executes its actions (`member`)
//! does what `runtime/thread` and `runtime/keeper` do.
//!
//! At the end the journal is compared with the undisturbed run over the same inputs (`check`); what must never
//! happen is looked for meanwhile (`watch`).
//!
//! `cargo test --test it simulation` plays some hundreds of seeds, `FLEETWARDEN_SEEDS=20000 cargo test --release
//! --test it simulation` as many as one likes, `FLEETWARDEN_SEED=7` only that one, with everything that happens.
//!
//! [`Worker`]: fleetwarden::runtime::worker::Worker

mod chaos;
mod check;
mod content;
mod group;
mod journal;
mod keeper;
mod log;
mod member;
mod play;
mod random;
mod sinks;
mod store;
mod watch;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleetwarden::event::PartitionId;
use play::play;
use random::Random;
use world::SECOND;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 500;

/// A mistake that somebody could make, made on purpose: the simulation must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// What is told is applied before the journal has it.
    AppliesUnwritten,
    /// Readers believe an owner from its claim on, not from its opening.
    MarksAtClaim,
    /// A revoked partition is saved and committed all the same.
    CommitsAfterRevoke,
    /// Readers believe everybody.
    NoEpochs,
    /// A checkpoint is published as soon as it is written, whatever it stands on.
    PublishesEarly,
    /// An owner says again what the one before has said.
    SaysAgain,
}

/// What a seed plays.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    partitions: Vec<PartitionId>,
    processes: usize,
    /// Workers of each process.
    workers: usize,
    eager: bool,
    /// For how long things go wrong, in microseconds.
    lasts: i64,
    records: i64,
    save_every: i64,
    /// How long an entry is mostly on its way to the journal.
    slow: i64,
}

impl Plan {
    fn new(seed: u64) -> Plan {
        let mut random = Random::new(seed ^ 0x91a7);
        let mut partitions = Vec::new();
        for (stream, most) in [("cars", 3), ("doors", 2)] {
            for index in 0..random.between(1, most) {
                partitions.push(PartitionId { stream: Arc::from(stream), index: index as i32 });
            }
        }
        Plan {
            seed,
            partitions,
            processes: random.between(1, 4) as usize,
            workers: random.between(1, 3) as usize,
            eager: random.percent(20),
            lasts: random.between(8, 40) * SECOND,
            records: random.between(30, 160),
            save_every: random.between(1, 8) * SECOND,
            slow: if random.percent(30) { SECOND / 2 } else { SECOND / 50 },
        }
    }
}

/// What came of a seed.
struct Outcome {
    violations: Vec<String>,
    trace: Vec<String>,
    /// Alerts that the first sink has got.
    alerts: usize,
}

/// The first of so many seeds that goes wrong, and how.
fn first_bad(seeds: std::ops::Range<u64>, bug: Option<Bug>) -> Option<(u64, Vec<String>)> {
    let (next, bad) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let (alerts, threads) = (AtomicU64::new(0), std::thread::available_parallelism().map_or(2, usize::from));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || seed > bad.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = play(&Plan::new(seed), bug, false);
                    alerts.fetch_add(outcome.alerts as u64, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        bad.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let bad = bad.into_inner();
    if bad == u64::MAX {
        let seeds = seeds.end - seeds.start;
        assert!(alerts.into_inner() > 5 * seeds, "hardly anything is found, so hardly anything is tested");
        return None;
    }
    Some((bad, play(&Plan::new(bad), bug, false).violations))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn nothing_is_lost_and_nothing_doubled() {
    if let Some(seed) = number("FLEETWARDEN_SEED") {
        let outcome = play(&Plan::new(seed), None, true);
        println!("{:#?}\n{}", Plan::new(seed), outcome.trace.join("\n"));
        assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
        return;
    }
    let from = number("FLEETWARDEN_FROM").unwrap_or(0);
    let seeds = number("FLEETWARDEN_SEEDS").unwrap_or(SEEDS);
    if let Some((seed, violations)) = first_bad(from..from + seeds, None) {
        panic!(
            "seed {seed}: {violations:#?}\nto see it again: FLEETWARDEN_SEED={seed} cargo test --test it \
             simulation::nothing -- --nocapture"
        );
    }
}

#[test]
fn a_seed_plays_the_same_twice() {
    for seed in [3, 1_000_003] {
        let (one, other) = (play(&Plan::new(seed), None, true), play(&Plan::new(seed), None, true));
        assert!(one.trace.len() > 100);
        assert_eq!(one.trace, other.trace);
    }
}

#[test]
fn planted_bugs_are_found() {
    let bugs = [
        Bug::AppliesUnwritten,
        Bug::MarksAtClaim,
        Bug::CommitsAfterRevoke,
        Bug::NoEpochs,
        Bug::PublishesEarly,
        Bug::SaysAgain,
    ];
    for bug in bugs {
        let found = first_bad(0..1_000, Some(bug));
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
