//! Attacks on software updates: what is sent, by whom, and what cars say about it.

use super::super::clock::{HOUR, MINUTE, SECOND};
use super::super::ota::{DEPOTS, SIGNER, Step, step};
use super::super::stream::Stream;
use super::super::world::World;
use super::script::Script;
use super::{Class, Variant};

use Variant::{Noisy, Plain, Slow, Spread};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "ota-forged-image",
        story: "cars refuse one image one after another: its hash or its signature is wrong",
        streams: &[Stream::Ota],
        variants: &[Plain, Slow, Spread],
        plan: forged,
    },
    Class {
        name: "ota-man-in-the-middle",
        story: "one car refuses update after update: somebody sits between it and the repository",
        streams: &[Stream::Ota],
        variants: &[Plain],
        plan: middle,
    },
    Class {
        name: "ota-downgrade",
        story: "cars are made to install an older version with known holes",
        streams: &[Stream::Ota],
        variants: &[Plain, Slow],
        plan: downgrade,
    },
    Class {
        name: "ota-unauthorised-campaign",
        story: "a campaign starts that nobody approved, for far more cars than were asked for",
        streams: &[Stream::Ota],
        variants: &[Plain, Slow],
        plan: unauthorised,
    },
    Class {
        name: "ota-hash-drift",
        story: "one image is delivered with two hashes: a mirror was changed",
        streams: &[Stream::Ota],
        variants: &[Plain, Slow],
        plan: drift,
    },
    Class {
        name: "ota-denial",
        story: "downloads of a running campaign fail all at once: the mirrors of its region are under attack",
        streams: &[Stream::Ota],
        variants: &[Plain, Noisy],
        plan: denial,
    },
    Class {
        name: "ota-metadata-rollback",
        story: "old metadata is served again, signed by a key that has never signed before",
        streams: &[Stream::Ota],
        variants: &[Plain],
        plan: metadata,
    },
];

/// A campaign that an attacker uses.
#[derive(Clone, Debug)]
struct Target {
    campaign: String,
    artifact: String,
    sha256: String,
    ecu: &'static str,
    from: (String, i64),
    to: (String, i64),
}

impl Target {
    fn new(script: &mut Script<'_>) -> Target {
        let build = script.random.between(5_000, 5_900);
        let ecu = *script.random.pick(&["TCU", "ADAS", "BCM"]);
        let name = ecu.to_lowercase();
        let target = Target {
            campaign: format!("camp-{}", script.random.hex(6)),
            artifact: format!("{name}-5.{build}.bin"),
            sha256: script.random.hex(64),
            ecu,
            from: (format!("{name}-{}", build - 10), build - 10),
            to: (format!("{name}-{build}"), build),
        };
        for (kind, value) in [("campaign", &target.campaign), ("artifact", &target.artifact)] {
            script.name(kind, value);
        }
        target
    }

    fn step(&self) -> Step<'_> {
        Step {
            campaign: Some(&self.campaign),
            ecu: Some(self.ecu),
            artifact: Some(&self.artifact),
            from: Some((&self.from.0, self.from.1)),
            to: Some((&self.to.0, self.to.1)),
            ..Step::default()
        }
    }

    /// What the service writes of it before any car hears of it.
    fn announce(&self, script: &mut Script<'_>, at: i64, cars: i64) {
        let (creator, approver) = ("e-ota-09", "e-release-09");
        for (after, action) in [(0, "campaign_created"), (1, "campaign_approved"), (2, "campaign_started")] {
            let target = self.clone();
            script.aside(at + after * MINUTE, move |world, now| {
                let approver = (action != "campaign_created").then_some(approver);
                let what = Step {
                    action,
                    creator: Some(creator),
                    actor: Some(approver.unwrap_or(creator)),
                    approver,
                    targets: Some((cars, cars)),
                    sha256: Some(&target.sha256),
                    signer: Some(SIGNER),
                    ecu: None,
                    from: None,
                    ..target.step()
                };
                step(&mut world.wire, now, None, &what);
            });
        }
    }
}

/// A car reports; `fill` says what differs from a step that goes well.
fn report(
    script: &mut Script<'_>,
    at: i64,
    car: usize,
    target: &Target,
    fill: impl Fn(&mut Step<'_>) + Send + 'static,
) {
    let target = target.clone();
    script.at(at, move |world, now| {
        let World { wire, vehicles, .. } = world;
        let mut what = target.step();
        fill(&mut what);
        step(wire, now, Some(&vehicles[car]), &what);
    });
}

const REFUSALS: [&str; 3] = ["TargetHashMismatch", "VERIFICATION_FAILED", "UnmetThreshold"];

fn forged(script: &mut Script<'_>) -> Option<()> {
    let cars = 14;
    let every = script.pace(25, 200);
    let start = script.begin(cars * every + MINUTE)?;
    let target = Target::new(script);
    target.announce(script, start - 10 * MINUTE, cars);
    for (index, car) in (0..).zip(script.victims(cars as usize)?) {
        let at = start + index * every;
        script.park(car, at, at + MINUTE);
        let depot = if script.variant == Spread { DEPOTS[index as usize % 3] } else { DEPOTS[0] };
        let result = REFUSALS[index as usize % if script.variant == Spread { 3 } else { 1 }];
        report(script, at, car, &target, move |what| {
            (what.action, what.success, what.depot) = ("EcuDownloadStarted", Some(true), Some(depot));
        });
        report(script, at + 20 * SECOND, car, &target, move |what| {
            (what.action, what.success, what.result) = ("EcuDownloadCompleted", Some(false), Some(result));
            (what.depot, what.signature_valid) = (Some(depot), Some(false));
        });
    }
    Some(())
}

fn middle(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(30 * MINUTE)?;
    let target = Target::new(script);
    target.announce(script, start - 10 * MINUTE, 1);
    let car = script.victim(|_| true)?;
    script.park(car, start, start + 30 * MINUTE);
    for round in 0..8 {
        let result = REFUSALS[round as usize % REFUSALS.len()];
        report(script, start + round * 3 * MINUTE, car, &target, move |what| {
            (what.action, what.success, what.result) = ("EcuDownloadCompleted", Some(false), Some(result));
            what.signature_valid = Some(false);
            what.attacks = Some("image and director repository disagree");
        });
    }
    Some(())
}

fn downgrade(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(60, 600);
    let start = script.begin(6 * every)?;
    let mut target = Target::new(script);
    std::mem::swap(&mut target.from, &mut target.to);
    target.announce(script, start - 10 * MINUTE, 6);
    for (index, car) in (0..).zip(script.victims(6)?) {
        let at = start + index * every;
        script.park(car, at, at + MINUTE);
        for (after, action) in [(0, "EcuInstallationStarted"), (30, "EcuInstallationApplied")] {
            report(script, at + after * SECOND, car, &target, move |what| {
                (what.action, what.success, what.result) = (action, Some(true), Some("OK"));
            });
        }
    }
    Some(())
}

fn unauthorised(script: &mut Script<'_>) -> Option<()> {
    let wait = script.pace(60, 1_200);
    let start = script.begin(3 * wait)?;
    let target = Target::new(script);
    let creator = format!("e-ota-{}", script.random.hex(4));
    script.name("user", &creator);
    for (index, action) in (0..).zip(["campaign_created", "campaign_approved", "campaign_started"]) {
        let (target, creator) = (target.clone(), creator.clone());
        if action == "campaign_approved" {
            continue;
        }
        script.at(start + index * wait, move |world, now| {
            let what = Step {
                action,
                creator: Some(&creator),
                actor: Some(&creator),
                targets: Some((1_800, 25)),
                sha256: Some(&target.sha256),
                signer: Some("ffee00112233aabb"),
                signature_valid: Some(true),
                ecu: None,
                from: None,
                ..target.step()
            };
            step(&mut world.wire, now, None, &what);
        });
    }
    Some(())
}

fn drift(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(40, 400);
    let start = script.begin(12 * every)?;
    let target = Target::new(script);
    target.announce(script, start - 10 * MINUTE, 12);
    let other = script.random.hex(64);
    for (index, car) in (0..).zip(script.victims(12)?) {
        let at = start + index * every;
        script.park(car, at, at + MINUTE);
        let changed = index > 3 && index % 2 == 0;
        let (good, bad) = (target.sha256.clone(), other.clone());
        let depot = if changed { DEPOTS[1] } else { DEPOTS[0] };
        let target = target.clone();
        script.at(at, move |world, now| {
            let what = Step {
                action: "EcuDownloadCompleted",
                success: Some(true),
                result: Some("OK"),
                sha256: Some(if changed { &bad } else { &good }),
                signer: Some(SIGNER),
                signature_valid: Some(true),
                depot: Some(depot),
                ..target.step()
            };
            step(&mut world.wire, now, Some(&world.vehicles[car]), &what);
        });
    }
    Some(())
}

fn denial(script: &mut Script<'_>) -> Option<()> {
    let (before, cars) = (16, 26);
    let quiet = 3 * HOUR;
    let start = script.begin(quiet + HOUR / 2)? + quiet;
    script.start = start;
    let target = Target::new(script);
    target.announce(script, start - quiet - 10 * MINUTE, before + cars);
    let region = "DE";
    for index in 0..before + cars {
        let car = script.victim(|car| car.city.region == region)?;
        let fails = index >= before;
        if index == before {
            script.prelude_ends();
        }
        let at = match fails {
            true => start + (index - before) * 25 * SECOND,
            false => start - quiet + index * 10 * MINUTE,
        };
        script.park(car, at, at + 5 * MINUTE);
        for round in 0..if fails { 3 } else { 1 } {
            let fine = !fails || script.variant == Noisy && index % 6 == 5;
            report(script, at + round * 70 * SECOND, car, &target, move |what| {
                (what.action, what.success) = ("EcuDownloadCompleted", Some(fine));
                what.result = Some(if fine { "OK" } else { "DOWNLOAD_FAILED" });
                what.depot = Some(DEPOTS[1]);
            });
        }
    }
    Some(())
}

fn metadata(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(10 * MINUTE)?;
    let target = Target::new(script);
    let car = script.victim(|_| true)?;
    let actor = format!("e-repo-{}", script.random.hex(4));
    script.name("user", &actor);
    script.park(car, start, start + 10 * MINUTE);
    let repo = ["image", "director"][script.round as usize % 2];
    for (index, role) in (0..).zip(["targets", "snapshot", "timestamp"]) {
        let (target, actor) = (target.clone(), actor.clone());
        script.at(start + index * MINUTE, move |world, now| {
            let what = Step {
                actor: Some(&actor),
                action: "metadata_published",
                campaign: Some(&target.campaign),
                role: Some((role, repo)),
                metadata: Some((31, 44)),
                signer: Some("0badc0de0badc0de"),
                signature_valid: Some(true),
                ..Step::default()
            };
            step(&mut world.wire, now, None, &what);
        });
    }
    report(script, start + 5 * MINUTE, car, &target, move |what| {
        (what.action, what.success, what.result) =
            ("EcuDownloadCompleted", Some(false), Some("VersionMismatch"));
        (what.metadata, what.role) = (Some((31, 44)), Some(("timestamp", repo)));
    });
    Some(())
}
