//! The undisturbed run over the same inputs, with what the journal says was told, and how all else compares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetwarden::alert::Alert;
use fleetwarden::event::{Checkpoint, Limits, Marks, PartitionId, Record, Root, Stamp, Told};
use fleetwarden::journal::{Entry, Tail};
use fleetwarden::runtime::worker::{Action, Exchange, Habits, Past, Signal, Worker};

use super::content::content;
use super::journal::Lying;
use super::log::Log;
use super::sinks::Sink;
use super::world::Outside;

/// What the journal says of one partition, as everybody should read it.
#[derive(Default)]
struct Accepted {
    told: Vec<(Lying, i64, Told)>,
    alerts: Vec<Arc<Alert>>,
    /// Whether some owner went another way than the ones before, because what they had read was gone.
    branched: bool,
    /// How far owners had come since the last gap.
    reached: i64,
}

/// Everything that is wrong at the end.
pub fn check(outside: &Outside, sinks: &[Sink], limits: &Limits) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut expected, mut loose) = (BTreeMap::new(), BTreeSet::new());
    for (id, log) in &outside.logs {
        let accepted = accepted(outside, id);
        if accepted.branched || log.is_untold {
            loose.extend(accepted.alerts.iter().map(|alert| alert.id));
            continue;
        }
        let Some(start) = outside.watch.starts.get(id) else { continue };
        let (alerts, rejects) = undisturbed(outside, id, log, &accepted, *start, limits);
        wrong.extend(switches(id, &accepted));
        wrong.extend(compare(id, &alerts, &accepted.alerts));
        let lost = rejects
            .into_iter()
            .find(|(topic, offset)| !outside.letters.contains(&(id.clone(), *topic, *offset)));
        wrong.extend(lost.map(|(_, offset)| format!("{id}: the dead letter of {offset} is lost")));
        for alert in alerts {
            let same = expected.entry(alert.id).or_insert_with(|| (0u64, alert.clone()));
            same.0 += 1;
        }
    }
    if loose.is_empty() && !outside.logs.values().any(|log| log.is_untold) {
        wrong.extend(
            (outside.watch.divergence > 0).then(|| format!("{} divergences", outside.watch.divergence)),
        );
    }
    let unknown = outside.watch.unknown_sets;
    wrong.extend((unknown > 0).then(|| format!("{unknown} rule sets were not known")));
    wrong.extend(delivered(sinks, &expected, &loose));
    wrong
}

fn delivered(
    sinks: &[Sink],
    expected: &BTreeMap<u128, (u64, Arc<Alert>)>,
    loose: &BTreeSet<u128>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, sink) in sinks.iter().enumerate() {
        let got = sink.got.iter().filter(|(id, _)| !loose.contains(id));
        let extra = got.clone().find(|(id, _)| !expected.contains_key(id));
        let lost = expected.iter().find(|(id, _)| !sink.got.contains_key(id));
        wrong.extend(
            extra.map(|(_, (_, alert))| format!("sink {number} has what should not be: {}", text(alert))),
        );
        wrong.extend(lost.map(|(_, (_, alert))| format!("sink {number} lacks {}", text(alert))));
        let differs = got.clone().find(|(id, (_, alert))| expected.get(id).is_some_and(|(_, e)| e != alert));
        wrong.extend(
            differs.map(|(_, (_, alert))| format!("sink {number} has another body: {}", text(alert))),
        );
        let again = |id: &u128| sink.unanswered.get(id).copied().unwrap_or_default();
        let repeated =
            got.clone().find(|(id, (n, _))| expected.get(*id).is_some_and(|e| e.0 + again(id) != *n));
        wrong.extend(repeated.map(|(_, (n, alert))| format!("sink {number} got {n} times: {}", text(alert))));
    }
    wrong
}

fn text(alert: &Alert) -> String {
    let last = alert.evidence.last().map(ToString::to_string).unwrap_or_default();
    format!("{} of {:?} at {last} {:?}", alert.rule.id, alert.key, alert.window)
}

fn accepted(outside: &Outside, id: &PartitionId) -> Accepted {
    let at = super::journal::place(&Stamp { source: id.clone(), epoch: 0, seq: 0 });
    let (mut marks, mut accepted) = (Marks::default(), Accepted { reached: i64::MIN, ..Accepted::default() });
    let (mut opened, mut anew, log) = (0, -1, &outside.logs[id]);
    let mut topic = outside.watch.starts.get(id).map_or(0, |(_, topic)| *topic);
    let all = (0i64..).zip(&outside.journal.partitions[at]);
    for (offset, lying) in all.filter(|(_, lying)| lying.stamp.source == *id) {
        match &lying.entry {
            Entry::Claim => {}
            _ if !marks.accept(&lying.stamp) => {}
            Entry::Open { .. } => {
                opened = lying.given;
                // Whoever takes over a topic that was made anew has nothing to know the old one by, at first.
                accepted.branched |= opened > log.made && topic != log.topic();
                // Or knows it, and cannot read it once more.
                let from = outside.watch.journals.get(&(id.clone(), lying.stamp.epoch));
                accepted.branched |= from.is_some_and(|from| *from <= anew);
            }
            Entry::Told { at, told } => {
                if let Told::Gap { from, to } = told {
                    accepted.branched |= *from < accepted.reached;
                    // It had read of the topic before.
                    accepted.branched |= to <= from && opened > log.made;
                    anew = if to <= from { offset } else { anew };
                    (accepted.reached, topic) = (*to, lying.topic);
                } else {
                    accepted.reached = accepted.reached.max(*at);
                }
                accepted.told.push((lying.clone(), *at, *told));
            }
            Entry::Alerts { through, alerts, .. } => {
                // Nobody saw that the topic had been made anew: there was nothing to know the old one by.
                accepted.branched |= lying.topic != topic;
                accepted.reached = accepted.reached.max(*through);
                accepted.alerts.extend(alerts.iter().cloned());
            }
        }
    }
    accepted.branched |= topic != log.topic();
    accepted
}

/// A set that judges is not told once more.
fn switches(id: &PartitionId, accepted: &Accepted) -> Option<String> {
    let sets: Vec<(i64, u128)> = accepted
        .told
        .iter()
        .filter_map(|(_, at, told)| match told {
            Told::Rules(hash) => Some((*at, *hash)),
            _ => None,
        })
        .collect();
    let twice = sets.windows(2).find(|pair| pair[0].1 == pair[1].1)?;
    Some(format!("{id}: the same rules are told at {} and at {}", twice[0].0, twice[1].0))
}

fn compare(id: &PartitionId, expected: &[Arc<Alert>], found: &[Arc<Alert>]) -> Option<String> {
    let count = |alerts: &[Arc<Alert>]| {
        let mut count: BTreeMap<u128, (i64, Arc<Alert>)> = BTreeMap::new();
        alerts.iter().for_each(|a| count.entry(a.id).or_insert_with(|| (0, a.clone())).0 += 1);
        count
    };
    let (expected, found) = (count(expected), count(found));
    let ids: BTreeSet<&u128> = expected.keys().chain(found.keys()).collect();
    for of in ids {
        let n = |counts: &BTreeMap<u128, (i64, Arc<Alert>)>| counts.get(of).map_or(0, |(n, _)| *n);
        if n(&expected) != n(&found) {
            let (_, alert) = expected.get(of).or(found.get(of))?;
            return Some(format!(
                "{id}: journal has {} times, should {}: {}",
                n(&found),
                n(&expected),
                text(alert)
            ));
        }
        if expected.get(of).map(|(_, a)| a) != found.get(of).map(|(_, a)| a) {
            return Some(format!("{id}: another body: {}", text(&found.get(of)?.1)));
        }
    }
    None
}

/// One worker that nothing happens to: it reads what there was, and is told what the journal says.
fn undisturbed(
    outside: &Outside,
    id: &PartitionId,
    log: &Log,
    accepted: &Accepted,
    (start, topic): (i64, usize),
    limits: &Limits,
) -> (Vec<Arc<Alert>>, Vec<(usize, i64)>) {
    let mut run = Run { actions: Vec::new(), alerts: Vec::new(), rejects: Vec::new(), topic };
    let mut worker = run.begin(outside, id, (start, None), &accepted.told, limits);
    let mut next = start;
    let stops = accepted.told.iter().map(|(lying, at, told)| (lying.topic, *at, Some(*told)));
    for (stop, (topic, until, told)) in stops.chain([(usize::MAX, log.end(), None)]).enumerate() {
        let source = worker.source(id);
        while next < until {
            let to = until.min(next + 16);
            let records: Vec<Record<'_>> = (next..to)
                .filter_map(|offset| log.get(run.topic, offset))
                .map(|(offset, broker_time, payload)| Record {
                    source,
                    offset,
                    broker_time,
                    payload,
                    broken: None,
                })
                .collect();
            run.signal(&mut worker, Signal::Records(&records));
            next = to;
        }
        let Some(Told::Gap { from, to }) = told else { continue };
        (next, run.topic) = (to, topic);
        if to <= from {
            // Another log: another worker goes on with the state of this one.
            let saved = worker.checkpoints().into_iter().find(|saved| saved.partition == *id);
            let saved = saved.map(|saved| Checkpoint { next_offset: to, previous: None, ..saved });
            worker = run.begin(outside, id, (to, saved), &accepted.told[stop + 1..], limits);
        }
    }
    (run.alerts, run.rejects)
}

struct Run {
    actions: Vec<Action>,
    alerts: Vec<Arc<Alert>>,
    rejects: Vec<(usize, i64)>,
    topic: usize,
}

impl Run {
    fn signal(&mut self, worker: &mut Worker, signal: Signal<'_>) {
        worker.handle(signal, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Alert { said, .. } => self.alerts.extend(said.into_iter().map(|said| said.alert)),
                Action::DeadLetter(_, rejects) => {
                    self.rejects.extend(rejects.iter().map(|reject| (self.topic, reject.offset)));
                }
                _ => {}
            }
        }
    }

    /// A worker that a partition has become its own by the shortest way, and that is told all that is told till
    /// offsets count anew.
    fn begin(
        &mut self,
        outside: &Outside,
        id: &PartitionId,
        (next_offset, checkpoint): (i64, Option<Checkpoint>),
        told: &[(Lying, i64, Told)],
        limits: &Limits,
    ) -> Worker {
        let rules = content().sets[0].rules.clone();
        let habits = Habits { told_time: outside.told_time.clone(), save_every: i64::MAX / 4 };
        let mut worker =
            Worker::new(rules, &content().schemas, limits, Exchange::InPartition).with_habits(habits);
        let mut tail = Tail::behind(id, 0);
        let anew = |told: &Told| matches!(told, Told::Gap { from, to } if to <= from);
        for (lying, ..) in told.iter().take_while(|(_, _, told)| !anew(told)) {
            tail.push(&lying.stamp, &lying.entry);
        }
        // It never comes to an end of what is gone through once more, so it decides nothing by itself.
        (tail.through, tail.reach) = (i64::MAX, i64::MAX);
        let stamp = |epoch, seq| Stamp { source: id.clone(), epoch, seq };
        let (partition, tenure) = (id.clone(), 1);
        self.signal(&mut worker, Signal::Assigned(id.clone()));
        self.signal(&mut worker, Signal::Acked { stamp: stamp(-1, tenure), at: Some(0) });
        let root: Option<Root> = None;
        self.signal(&mut worker, Signal::Rooted { partition: partition.clone(), tenure, next_offset, root });
        self.signal(&mut worker, Signal::Committed { partition: partition.clone(), tenure, accepted: true });
        self.signal(&mut worker, Signal::Acked { stamp: stamp(0, 0), at: Some(1) });
        let past = Past { checkpoint, tail, sets: content().sets.clone() };
        self.signal(&mut worker, Signal::Loaded { partition, tenure, past: Box::new(past) });
        worker
    }
}
