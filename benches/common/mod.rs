//! Several ways to do the same work, measured in turns, so that what else the machine does weighs on all alike.
//!
//! The first way of a [`Bench`] is what is measured; the others are its baselines. Each round runs every way
//! once and asserts what it gives; a way's best round counts, because whatever disturbs a round only makes it
//! longer. Not measured: memory, latency, more than one thread.
//!
//! Arguments: a part of a bench's name (others are left out), `--way NAME` (all others are left out, for a
//! profiler), `--rounds N`, and `--bars`: end with code 1 when
//! a ratio is below its bar. Without `--bench`, which `cargo bench` gives, all run once, as a test.

// Each bench uses a part of it.
#![allow(dead_code)]

pub mod events;
pub mod fleet;

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the command line asks for.
pub struct Options {
    filter: String,
    way: Option<String>,
    /// How often everything is measured.
    pub rounds: usize,
    bars: bool,
}

impl Options {
    /// Reads the command line; what it does not know is a part of a name.
    pub fn from_command_line() -> Options {
        let mut options = Options { filter: String::new(), way: None, rounds: 1, bars: false };
        let mut said = None;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => options.rounds = 500,
                "--bars" => options.bars = true,
                "--way" => options.way = arguments.next(),
                "--rounds" => said = arguments.next().and_then(|rounds| rounds.parse().ok()),
                part => part.clone_into(&mut options.filter),
            }
        }
        options.rounds = said.unwrap_or(options.rounds);
        options
    }

    /// Whether a bench of this name is asked for.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }
}

/// One way to do the work: the shortest time so far, and how often as fast the first way should be.
struct Way<'a> {
    name: &'a str,
    bar: Option<f64>,
    run: Box<dyn FnMut() -> (usize, Duration) + 'a>,
    best: Duration,
}

/// The same work, done in several ways.
pub struct Bench<'a> {
    name: &'a str,
    events: usize,
    bytes: usize,
    ways: Vec<Way<'a>>,
}

impl<'a> Bench<'a> {
    /// So many events of so many bytes together.
    pub fn new(name: &'a str, events: usize, bytes: usize) -> Bench<'a> {
        Bench { name, events, bytes, ways: Vec::new() }
    }

    /// Adds a way; `run` says how many events it took. The first way has no bar.
    pub fn way(self, name: &'a str, bar: Option<f64>, mut run: impl FnMut() -> usize + 'a) -> Bench<'a> {
        self.prepared(name, bar, || (), move |()| run())
    }

    /// The same with something made before each run that is not measured, nor is its end.
    pub fn prepared<P>(
        mut self,
        name: &'a str,
        bar: Option<f64>,
        mut prepare: impl FnMut() -> P + 'a,
        mut run: impl FnMut(&mut P) -> usize + 'a,
    ) -> Bench<'a> {
        let run = Box::new(move || {
            let mut prepared = prepare();
            let start = Instant::now();
            let events = run(&mut prepared);
            (events, start.elapsed())
        });
        self.ways.push(Way { name, bar, run, best: Duration::MAX });
        self
    }

    /// Measures and prints; false if a ratio is below its bar.
    pub fn measure(mut self, options: &Options) -> bool {
        if !options.wants(self.name) {
            return true;
        }
        if let Some(name) = &options.way {
            self.ways.retain(|way| way.name == name);
        }
        for _ in 0..options.rounds {
            for way in &mut self.ways {
                let (events, time) = (way.run)();
                assert_eq!(events, self.events, "{}: {}", self.name, way.name);
                way.best = way.best.min(time);
            }
        }
        self.print()
    }

    fn print(&self) -> bool {
        let (events, bytes) = (self.events as f64, self.bytes as f64);
        let Some(first) = self.ways.first().map(|way| way.best.as_secs_f64()) else { return true };
        println!("{}: {} events of {:.0} bytes", self.name, self.events, bytes / events);
        println!("  {:<20} {:>12} {:>8} {:>9} {:>7}", "", "events/s", "MB/s", "ns/event", "ratio");
        let mut good = true;
        for (i, way) in self.ways.iter().enumerate() {
            let time = way.best.as_secs_f64();
            let ratio = time / first;
            let (rate, speed) = (events / time, bytes / time / 1e6);
            print!("  {:<20} {rate:>12.0} {speed:>8.0} {:>9.1}", way.name, time / events * 1e9);
            if i > 0 {
                print!(" {ratio:>7.2}");
            }
            let bar = way.bar.map(|bar| format!("   bar {bar}{}", if ratio < bar { ", missed" } else { "" }));
            println!("{}", bar.unwrap_or_default());
            good &= way.bar.is_none_or(|bar| ratio >= bar);
        }
        good
    }
}

/// How a program ends whose benches were all good, or not.
pub fn exit(options: &Options, good: bool) -> ExitCode {
    if options.bars && !good { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
