//! The attack library: one file a family. Each class of attack has variants: plain, slow, spread over several
//! cars or addresses, noisy (among honest doings of the same people).
//!
//! Attacks are written from what attackers do, not from what rules look for.

mod account;
mod body;
mod cloud;
mod command;
mod diagnostic;
mod gateway;
mod script;
mod station;
mod telemetry;
mod update;

use std::collections::BTreeMap;

use super::stream::Stream;
use super::truth::Attack;
use super::world::World;
use super::{Attacks, Plan};
use script::{Script, Taken};

/// What happens at one moment of an attack.
pub(super) type Step = Box<dyn FnOnce(&mut World, i64) + Send>;

/// How an attack is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variant {
    /// As it comes.
    Plain,
    /// Over hours, to stay below thresholds.
    Slow,
    /// From or against several at a time.
    Spread,
    /// Among honest doings.
    Noisy,
}

impl Variant {
    /// Its name in the truth.
    fn name(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::Slow => "slow",
            Variant::Spread => "spread",
            Variant::Noisy => "noisy",
        }
    }
}

/// A class of attacks.
pub(super) struct Class {
    name: &'static str,
    story: &'static str,
    streams: &'static [Stream],
    variants: &'static [Variant],
    /// Writes the script of one attack; none if there is nobody left to attack, or no time.
    plan: fn(&mut Script<'_>) -> Option<()>,
}

fn all() -> impl Iterator<Item = &'static Class> {
    let families = [
        account::CLASSES,
        body::CLASSES,
        cloud::CLASSES,
        command::CLASSES,
        diagnostic::CLASSES,
        gateway::CLASSES,
        station::CLASSES,
        telemetry::CLASSES,
        update::CLASSES,
    ];
    families.into_iter().flatten()
}

/// All attacks: the class, and its variants.
pub fn classes() -> BTreeMap<&'static str, Vec<&'static str>> {
    all().map(|class| (class.name, class.variants.iter().map(|variant| variant.name()).collect())).collect()
}

/// A class, how it is done, and when, if that is not left to the dice.
type Wanted = (&'static Class, Variant, Option<i64>);

fn wanted(attacks: &Attacks) -> Result<Vec<Wanted>, String> {
    let every = || all().flat_map(|class| class.variants.iter().map(move |variant| (class, *variant, None)));
    let names = match attacks {
        Attacks::None => return Ok(Vec::new()),
        Attacks::All => return Ok(every().collect()),
        Attacks::These(names) => names,
        Attacks::Scheduled(named) => return scheduled(named),
    };
    let is = |name: &str, class: &Class, variant: Variant| match name.split_once('/') {
        Some((head, tail)) => head == class.name && tail == variant.name(),
        None => name == class.name,
    };
    for name in names {
        if !every().any(|(class, variant, _)| is(name, class, variant)) {
            let known: Vec<&str> = classes().into_keys().collect();
            return Err(format!("there is no attack \"{name}\"; there are {}", known.join(", ")));
        }
    }
    Ok(every().filter(|(class, variant, _)| names.iter().any(|name| is(name, class, *variant))).collect())
}

fn scheduled(named: &[(String, i64)]) -> Result<Vec<Wanted>, String> {
    let mut found = Vec::new();
    for (name, after) in named {
        let one = wanted(&Attacks::These(vec![name.clone()]))?;
        found.extend(one.into_iter().take(1).map(|(class, variant, _)| (class, variant, Some(*after))));
    }
    Ok(found)
}

/// Puts the attacks into a world. Nobody is attacked twice.
pub(super) fn place(world: &mut World, plan: &Plan) -> Result<Vec<Attack>, String> {
    let wanted = wanted(&plan.attacks)?;
    let twice = plan.vehicles >= 1_000 && !matches!(plan.attacks, Attacks::Scheduled(_));
    let rounds = if twice { 2 } else { 1 };
    let mut taken = Taken::default();
    let mut attacks = Vec::new();
    for round in 0..rounds {
        for (class, variant, after) in &wanted {
            let mut script = Script::new(world, plan, class, *variant, round, &mut taken);
            script.scheduled = after.map(|after| plan.start_ms + after);
            if (class.plan)(&mut script).is_some() {
                attacks.push(script.finish());
            }
        }
    }
    attacks.sort_by_key(|(attack, _)| attack.start_ms);
    let mut truths = Vec::new();
    for (number, (mut attack, steps)) in (1..).zip(attacks) {
        attack.id = format!("attack-{number:04}");
        truths.push(attack);
        for (at, step) in steps {
            world.steps.push(Some(step));
            world.agenda.note(at, super::agenda::Turn::Attack(world.steps.len() - 1));
        }
    }
    Ok(truths)
}
