//! What the demo plays: which fleet, on what day, and who attacks it when.

use crate::fleet::score::{Claims, ClaimsFile, Score, Seen, Trial, score};
use crate::fleet::{Attack, Attacks, Plan};
use crate::rule::RuleSet;

/// How many cars.
const VEHICLES: usize = 300;

const MINUTE: i64 = 60_000;
const WEEK: i64 = 7 * 24 * 60 * MINUTE;

/// A Monday at six in the morning, UTC, when people set out for work: 2026-03-02.
const MONDAY: i64 = 1_772_431_200_000;

/// How long it goes on, in simulated time.
pub const LENGTH_MS: i64 = 52 * MINUTE;

/// Attacks, with the minute in which each begins. Keys of the cloud account are used by whoever found them, all the
/// while; somebody guesses a key at a car; a charging station is cloned; a car is stolen; and an app account is
/// taken over, which ends in a mass lock-out.
const ATTACKS: [(&str, i64); 9] = [
    ("cloud-backdoor-login/plain", 2),
    ("uds-bruteforce/plain", 5),
    ("cloud-open-port/plain", 10),
    ("station-clone/plain", 13),
    ("vin-clone/plain", 18),
    ("can-injection-theft/plain", 23),
    ("takeover-lockout/plain", 28),
    ("cloud-snapshot-shared/plain", 42),
    ("cloud-logging-off/plain", 45),
];

/// The fleet of a seed. It begins on the first Monday that is not over yet: the same hours on whatever day it is
/// watched, and never a past in which the engine would have to believe that time stood still until now.
pub fn plan(seed: u64, now_ms: i64) -> Plan {
    let weeks = ((now_ms - MONDAY).max(0) + WEEK - 1) / WEEK;
    Plan {
        vehicles: VEHICLES,
        start_ms: MONDAY + weeks * WEEK,
        length_ms: LENGTH_MS,
        warm_up_ms: 0,
        seed,
        attacks: Attacks::Scheduled(
            ATTACKS.iter().map(|(name, minute)| ((*name).to_owned(), minute * MINUTE)).collect(),
        ),
    }
}

/// What was found of an attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The rule that said so first.
    pub rule: String,
    /// How long after the attack began, in milliseconds of simulated time.
    pub after_ms: i64,
}

/// How the demo went.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Per attack: who found it first, if somebody who claims to did.
    pub found: Vec<Option<Found>>,
    /// Alerts that belong to no attack.
    pub outside: usize,
}

impl Verdict {
    /// Holds alerts against the truth, with the rules' own claims.
    pub fn of(attacks: &[Attack], rules: &RuleSet, alerts: &[Seen]) -> Verdict {
        let claims = ClaimsFile::shipped().after(false);
        let ids = rules.rules.iter().map(|rule| rule.info.id.clone()).collect();
        let one = |attacks: &[Attack], alerts: &[Seen]| -> Score {
            let slack_ms = LENGTH_MS;
            score(&Trial { attacks, alerts, claims: &claims, rules: &ids, slack_ms, vehicle_days: 1.0 })
        };
        let outside = one(attacks, alerts).false_alerts.len();
        let found = attacks.iter().map(|attack| first(attack, &claims, alerts, &one)).collect();
        Verdict { found, outside }
    }

    /// Whether everything was found, and nothing else said.
    pub fn is_good(&self) -> bool {
        self.outside == 0 && self.found.iter().all(Option::is_some)
    }
}

/// The first alert about an attack by a rule that claims its class.
fn first(
    attack: &Attack,
    claims: &Claims,
    alerts: &[Seen],
    score: &impl Fn(&[Attack], &[Seen]) -> Score,
) -> Option<Found> {
    let mut claiming: Vec<&Seen> = alerts
        .iter()
        .filter(|alert| claims.get(&attack.class).is_some_and(|rules| rules.contains(&alert.rule)))
        .filter(|alert| {
            let alert = std::slice::from_ref(*alert);
            score(std::slice::from_ref(attack), alert).false_alerts.is_empty()
        })
        .collect();
    claiming.sort_by_key(|alert| alert.at_ms);
    let alert = claiming.first()?;
    Some(Found { rule: alert.rule.clone(), after_ms: alert.at_ms - attack.start_ms })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::*;
    use crate::alert::Severity;
    use crate::event::{Limits, PartitionId, Record, Timestamp};
    use crate::fleet::Simulation;
    use crate::rule::{self, shipped};
    use crate::runtime::replay::Replay;
    use crate::schema;

    /// What the rules say of the demo with this seed.
    fn play(seed: u64) -> (Vec<Attack>, Vec<Seen>, Verdict) {
        let schemas = schema::built_in();
        let rules = Arc::new(rule::load(&shipped::files(), &schemas).rules);
        let mut replay = Replay::new(rules.clone(), &schemas, &Limits::default());
        let mut simulation = Simulation::new(&plan(seed, MONDAY)).unwrap();
        let mut records: Vec<(u16, i64, Timestamp, Vec<u8>)> = Vec::new();
        let mut next: BTreeMap<u16, i64> = BTreeMap::new();
        while let Some(sent) = simulation.next_record() {
            // One partition a topic, as the demo's broker has it.
            let source = replay.source(&PartitionId { stream: sent.stream.name().into(), index: 0 });
            let next = next.entry(source).or_default();
            let broker_time = Timestamp::from_millis(sent.broker_ms);
            records.push((source, *next, broker_time, sent.payload.to_vec()));
            *next += 1;
        }
        let mut alerts = Vec::new();
        for part in records.chunks(1_024) {
            let batch: Vec<Record<'_>> = part
                .iter()
                .map(|(source, offset, broker_time, payload)| Record {
                    source: *source,
                    offset: *offset,
                    broker_time: *broker_time,
                    payload,
                    broken: None,
                })
                .collect();
            let (said, rejects) = replay.push(&batch);
            assert!(rejects.is_empty(), "{rejects:?}");
            alerts.extend(said.iter().map(|alert| Seen::new(alert)));
        }
        let verdict = Verdict::of(simulation.attacks(), &rules, &alerts);
        (simulation.attacks().to_vec(), alerts, verdict)
    }

    #[test]
    fn every_attack_is_found_and_nothing_else_said_whatever_the_seed() {
        for seed in [1, 2, 4711] {
            let (attacks, alerts, verdict) = play(seed);
            assert_eq!(attacks.len(), ATTACKS.len(), "seed {seed}: not all attacks could be placed");
            for (attack, found) in attacks.iter().zip(&verdict.found) {
                assert!(found.is_some(), "seed {seed}: {} was missed", attack.class);
            }
            assert_eq!(verdict.outside, 0, "seed {seed}: {alerts:#?}");
            // The story is told to its end.
            for rule in ["account-taken-over", "uds-seed-key-bruteforce", "station-on-two-connections"] {
                assert!(alerts.iter().any(|alert| alert.rule == rule), "seed {seed}: {rule} said nothing");
            }
            let lockout = alerts.iter().filter(|alert| alert.rule == "mass-lockout");
            let worst = lockout.map(|alert| alert.severity).max();
            assert_eq!(worst, Some(Severity::Critical), "seed {seed}");
            let first = alerts.iter().map(|alert| alert.at_ms).min().unwrap();
            assert!(first - MONDAY < 5 * MINUTE, "seed {seed}: the first alert comes late");
        }
    }

    #[test]
    fn what_is_missed_or_said_without_a_reason_spoils_the_verdict() {
        let attack = |class: &str, name: &str| Attack {
            id: class.into(),
            class: class.into(),
            variant: "plain".into(),
            start_ms: 1_000,
            end_ms: 2_000,
            entities: vec![crate::fleet::Target { kind: "user".into(), value: name.into() }],
            streams: Vec::new(),
            story: String::new(),
        };
        let alert = |rule: &str, at_ms, name: &str| Seen {
            rule: rule.into(),
            severity: Severity::High,
            at_ms,
            names: BTreeSet::from([name.to_owned()]),
        };
        let schemas = schema::built_in();
        let rules = rule::load(&shipped::files(), &schemas).rules;
        let attacks = [attack("mass-lockout", "ann"), attack("vin-clone", "bob")];
        let mut alerts = vec![
            alert("mass-lockout", 1_900, "ann"),
            alert("immobilisations-surge", 1_500, "ann"),
            // Somebody else's rule notices it as well: no find, and no false alert.
            alert("command-flood-on-vehicle", 1_400, "bob"),
        ];
        let verdict = Verdict::of(&attacks, &rules, &alerts);
        let found = Found { rule: "immobilisations-surge".into(), after_ms: 500 };
        assert_eq!((verdict.found.as_slice(), verdict.outside), (&[Some(found), None][..], 0));
        assert!(!verdict.is_good());
        alerts.push(alert("vin-on-two-devices", 1_600, "bob"));
        assert!(Verdict::of(&attacks, &rules, &alerts).is_good());
        alerts.push(alert("vin-on-two-devices", 1_600, "carla"));
        let verdict = Verdict::of(&attacks, &rules, &alerts);
        assert_eq!((verdict.outside, verdict.is_good()), (1, false));
    }

    #[test]
    fn the_day_is_a_monday_that_is_not_over() {
        for days in 0..15 {
            let now = MONDAY + days * WEEK / 7 + MINUTE;
            let start = plan(1, now).start_ms;
            assert!(start > now && start - now <= WEEK && (start - MONDAY) % WEEK == 0, "{days}");
        }
    }
}
