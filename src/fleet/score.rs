//! Truth and alerts → figures: what was found, how soon, and what was said without a reason.
//!
//! An alert belongs to an attack if it names one of its entities (as entity or in its key) and was found
//! between the attack's start and some slack after its end. An attack counts as found if one of its alerts
//! comes from a rule that claims its class.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::truth::Attack;
use crate::alert::{Alert, Severity};
use crate::event::Value;

/// An alert, reduced to what is scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The rule's id.
    pub rule: String,
    /// How bad it says it is.
    pub severity: Severity,
    /// When it was found, by the broker's time, in milliseconds.
    pub at_ms: i64,
    /// The names in its key and entities.
    pub names: BTreeSet<String>,
}

impl Seen {
    /// What is scored of an alert.
    pub fn new(alert: &Alert) -> Seen {
        let mut names = BTreeSet::new();
        let entities = alert.entities.iter().map(|entity| &entity.value);
        alert.key.iter().chain(entities).for_each(|value| name(value, &mut names));
        Seen {
            rule: alert.rule.id.clone(),
            severity: alert.severity,
            at_ms: alert.broker_time.millis(),
            names,
        }
    }
}

/// The texts in a value. Numbers name nobody.
fn name(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Text(text) => {
            names.insert(text.to_string());
        }
        Value::List(values) => values.iter().for_each(|value| name(value, names)),
        _ => {}
    }
}

/// Which rules say that they find which class of attack.
pub type Claims = BTreeMap<String, Vec<String>>;

/// A file of claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimsFile {
    /// What holds from the first hour.
    #[serde(default)]
    pub claims: Claims,
    /// What holds once rules have learned what is normal, over days.
    #[serde(default)]
    pub learned: Claims,
}

impl ClaimsFile {
    /// The claims of the shipped rules.
    pub fn shipped() -> ClaimsFile {
        toml::from_str(include_str!("claims.toml")).unwrap_or_default()
    }

    /// What is claimed only once rules have learned: `CLASS` or `CLASS/VARIANT`.
    pub fn later(&self) -> Vec<String> {
        self.learned.keys().filter(|class| !self.claims.contains_key(*class)).cloned().collect()
    }

    /// What holds; with what is learned, if there was time for it.
    pub fn after(self, learned: bool) -> Claims {
        let mut claims = self.claims;
        for (class, rules) in self.learned.into_iter().filter(|_| learned) {
            claims.entry(class).or_default().extend(rules);
        }
        claims
    }
}

/// What is scored.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The truth.
    pub attacks: &'a [Attack],
    /// What was said.
    pub alerts: &'a [Seen],
    /// Who claims what; rules that do not run are left out.
    pub claims: &'a Claims,
    /// The rules that ran.
    pub rules: &'a BTreeSet<String>,
    /// How long after its end an attack may be found.
    pub slack_ms: i64,
    /// Cars times days.
    pub vehicle_days: f64,
}

/// One variant of a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassScore {
    /// Attacks played.
    pub attacks: usize,
    /// Of these, found by a rule that claims the class.
    pub found: usize,
    /// Of these, found by any rule.
    pub found_by_any: usize,
    /// From start to the first such alert, in milliseconds, rising.
    pub delays_ms: Vec<i64>,
    /// Rules that said anything about them, claiming or not.
    pub rules: BTreeSet<String>,
    /// Whether any rule that ran claims the class.
    pub claimed: bool,
    /// Ids of attacks that were missed.
    pub missed: Vec<String>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleScore {
    /// Alerts.
    pub alerts: usize,
    /// Of these, those that belong to no attack.
    pub false_alerts: usize,
    /// Attacks of the classes that it claims.
    pub claimed: usize,
    /// Of these, found by this rule.
    pub found: usize,
    /// From start to this rule's first alert, in milliseconds, rising.
    pub delays_ms: Vec<i64>,
}

/// All figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// By class and variant.
    pub classes: BTreeMap<(String, String), ClassScore>,
    /// By rule, all that ran.
    pub rules: BTreeMap<String, RuleScore>,
    /// Alerts that belong to no attack, by severity.
    pub false_by_severity: BTreeMap<Severity, usize>,
    /// Cars times days.
    pub vehicle_days: f64,
    /// The alerts that belong to no attack, by their place in the trial.
    pub false_alerts: Vec<usize>,
}

/// Scores a trial.
pub fn score(trial: &Trial<'_>) -> Score {
    let mut score = Score { vehicle_days: trial.vehicle_days, ..Score::default() };
    for rule in trial.rules {
        score.rules.entry(rule.clone()).or_default();
    }
    let mut firsts: Vec<BTreeMap<&str, i64>> = vec![BTreeMap::new(); trial.attacks.len()];
    let by_name = by_name(trial.attacks);
    for (index, alert) in trial.alerts.iter().enumerate() {
        let rule = score.rules.entry(alert.rule.clone()).or_default();
        rule.alerts += 1;
        let about = belongs_to(trial, &by_name, alert);
        if about.is_empty() {
            rule.false_alerts += 1;
            *score.false_by_severity.entry(alert.severity).or_default() += 1;
            score.false_alerts.push(index);
        }
        for attack in about {
            let first = firsts[attack].entry(&alert.rule).or_insert(alert.at_ms);
            *first = alert.at_ms.min(*first);
        }
    }
    for (attack, firsts) in trial.attacks.iter().zip(&firsts) {
        judge(trial, &mut score, attack, firsts);
    }
    score.classes.values_mut().for_each(|class| class.delays_ms.sort_unstable());
    score.rules.values_mut().for_each(|rule| rule.delays_ms.sort_unstable());
    score
}

/// Attacks by the names of their entities.
fn by_name(attacks: &[Attack]) -> BTreeMap<&str, Vec<usize>> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, attack) in attacks.iter().enumerate() {
        for target in &attack.entities {
            by_name.entry(&target.value).or_default().push(index);
        }
    }
    by_name
}

/// The attacks that an alert belongs to.
fn belongs_to(trial: &Trial<'_>, by_name: &BTreeMap<&str, Vec<usize>>, alert: &Seen) -> BTreeSet<usize> {
    let candidates = alert.names.iter().filter_map(|name| by_name.get(name.as_str())).flatten();
    let within = |index: &&usize| {
        let attack = &trial.attacks[**index];
        (attack.start_ms..=attack.end_ms.saturating_add(trial.slack_ms)).contains(&alert.at_ms)
    };
    candidates.filter(within).copied().collect()
}

fn judge(trial: &Trial<'_>, score: &mut Score, attack: &Attack, firsts: &BTreeMap<&str, i64>) {
    let of_variant = format!("{}/{}", attack.class, attack.variant);
    let claiming =
        [&attack.class, &of_variant].into_iter().filter_map(|name| trial.claims.get(name)).flatten();
    let claiming: Vec<&str> =
        claiming.map(String::as_str).filter(|rule| trial.rules.contains(*rule)).collect();
    let class = score.classes.entry((attack.class.clone(), attack.variant.clone())).or_default();
    class.attacks += 1;
    class.claimed = !claiming.is_empty();
    class.found_by_any += usize::from(!firsts.is_empty());
    class.rules.extend(firsts.keys().map(|rule| (*rule).to_owned()));
    match claiming.iter().filter_map(|rule| firsts.get(rule)).min() {
        Some(first) => {
            class.found += 1;
            class.delays_ms.push(first - attack.start_ms);
        }
        None => class.missed.push(attack.id.clone()),
    }
    for rule in claiming {
        let of_rule = score.rules.entry(rule.to_owned()).or_default();
        of_rule.claimed += 1;
        if let Some(first) = firsts.get(rule) {
            of_rule.found += 1;
            of_rule.delays_ms.push(first - attack.start_ms);
        }
    }
}

impl Score {
    /// Found of claimed attacks, by class; none where nothing is claimed.
    pub fn recall_by_class(&self) -> BTreeMap<&str, f64> {
        let mut sums: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for ((class, _), of) in self.classes.iter().filter(|(_, of)| of.claimed) {
            let sum = sums.entry(class).or_default();
            *sum = (sum.0 + of.found, sum.1 + of.attacks);
        }
        sums.into_iter().map(|(class, (found, all))| (class, found as f64 / all.max(1) as f64)).collect()
    }

    /// The lowest recall of any claimed class; 1 if none is claimed.
    pub fn lowest_recall(&self) -> f64 {
        self.recall_by_class().into_values().fold(1.0, f64::min)
    }

    /// A count per 1,000 vehicle-days.
    pub fn per_thousand(&self, count: usize) -> f64 {
        1_000.0 * count as f64 / self.vehicle_days.max(1e-9)
    }
}

/// The smallest value that a share `q` of the rising values does not exceed.
pub fn quantile(rising: &[i64], q: f64) -> Option<i64> {
    let rank = (q * rising.len() as f64).ceil() as usize;
    rising.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::super::truth::Target;
    use super::*;

    fn attack(class: &str, start_ms: i64, name: &str) -> Attack {
        Attack {
            id: format!("{class}@{start_ms}"),
            class: class.into(),
            variant: "plain".into(),
            start_ms,
            end_ms: start_ms + 100,
            entities: vec![Target { kind: "vehicle".into(), value: name.into() }],
            streams: Vec::new(),
            story: String::new(),
        }
    }

    fn seen(rule: &str, at_ms: i64, name: &str) -> Seen {
        let names = BTreeSet::from([name.to_owned()]);
        Seen { rule: rule.into(), severity: Severity::High, at_ms, names }
    }

    #[test]
    fn alerts_belong_to_attacks_by_name_and_time() {
        let attacks = [attack("a", 1_000, "V1"), attack("a", 5_000, "V2"), attack("b", 1_000, "V3")];
        let alerts = [
            seen("r1", 1_040, "V1"),
            seen("r1", 999, "V1"),
            seen("r1", 5_151, "V2"),
            seen("r2", 1_050, "V3"),
            seen("r2", 5_020, "V2"),
        ];
        let claims = Claims::from([("a".to_owned(), vec!["r1".to_owned(), "gone".to_owned()])]);
        let rules = BTreeSet::from(["r1".to_owned(), "r2".to_owned(), "r3".to_owned()]);
        let trial = Trial {
            attacks: &attacks,
            alerts: &alerts,
            claims: &claims,
            rules: &rules,
            slack_ms: 50,
            vehicle_days: 2_000.0,
        };
        let score = score(&trial);
        let a = &score.classes[&("a".to_owned(), "plain".to_owned())];
        assert_eq!((a.attacks, a.found, a.found_by_any, a.claimed), (2, 1, 2, true));
        assert_eq!((&a.delays_ms[..], &a.missed[..]), (&[40][..], &["a@5000".to_owned()][..]));
        assert_eq!(score.recall_by_class(), BTreeMap::from([("a", 0.5)]));
        assert_eq!(score.lowest_recall(), 0.5);
        assert_eq!(score.false_alerts, [1, 2]);
        let r1 = &score.rules["r1"];
        assert_eq!((r1.alerts, r1.false_alerts, r1.claimed, r1.found), (3, 2, 2, 1));
        assert_eq!(score.rules["r3"], RuleScore::default());
        assert_eq!(score.per_thousand(2), 1.0);
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7], 0.95), Some(7));
        assert_eq!(quantile(&[1, 2, 3, 4], 0.5), Some(2));
        assert_eq!(quantile(&[1, 2, 3, 4], 0.95), Some(4));
    }
}
