//! Updates over the air: approved campaigns, and what cars report about them.

use super::agenda::Turn;
use super::clock::{DAY, HOUR, MINUTE, SECOND};
use super::place::address;
use super::random::Random;
use super::stream::Stream;
use super::vehicle::{State, Vehicle};
use super::wire::Wire;
use super::world::World;

/// A campaign.
pub(super) struct Campaign {
    pub id: String,
    pub artifact: String,
    pub sha256: String,
    pub from: (String, i64),
    pub to: (String, i64),
    pub ecu: &'static str,
    pub creator: String,
    /// Indices of the cars it is for, and how far it is.
    targets: Vec<usize>,
    next: usize,
    random: Random,
}

/// The key that signs software.
pub(super) const SIGNER: &str = "a1c4e2f09b7d4410";
/// Mirrors.
pub(super) const DEPOTS: [&str; 3] = ["depot-eu-1", "depot-eu-2", "depot-us-1"];

/// A record of the update service, or of a car.
#[derive(Clone, Debug, Default)]
pub(super) struct Step<'a> {
    pub action: &'a str,
    pub campaign: Option<&'a str>,
    pub ecu: Option<&'a str>,
    pub success: Option<bool>,
    pub result: Option<&'a str>,
    pub artifact: Option<&'a str>,
    pub sha256: Option<&'a str>,
    pub signer: Option<&'a str>,
    pub signature_valid: Option<bool>,
    pub depot: Option<&'a str>,
    pub from: Option<(&'a str, i64)>,
    pub to: Option<(&'a str, i64)>,
    pub creator: Option<&'a str>,
    pub approver: Option<&'a str>,
    pub actor: Option<&'a str>,
    pub targets: Option<(i64, i64)>,
    pub role: Option<(&'a str, &'a str)>,
    pub metadata: Option<(i64, i64)>,
    pub bytes: Option<i64>,
    pub attacks: Option<&'a str>,
}

/// Logs a step; of a car, once that is connected.
pub(super) fn step(wire: &mut Wire, at: i64, car: Option<&Vehicle>, what: &Step<'_>) {
    let received = car.map_or(at, |car| at.max(car.link.offline_until)) + 150 + at % 400;
    let mut event = wire.event();
    let by_clock = car.map_or(at, |car| car.clock.read(at));
    event
        .int("ts", by_clock)
        .int("received_at", received)
        .text("record_id", &format!("r-{received:x}{}", at % 97));
    event.text("action", what.action).maybe("campaign_id", what.campaign);
    if let Some(car) = car {
        event.text("vin", &car.vin).text("model", car.model.name).text("region", car.city.region);
        event.text("src_ip", &car.ip);
    }
    event.maybe("depot", what.depot).maybe("ecu", what.ecu).maybe("result", what.result);
    for (name, flag) in [("success", what.success), ("signature_valid", what.signature_valid)] {
        if let Some(flag) = flag {
            event.flag(name, flag);
        }
    }
    event.maybe("artifact", what.artifact).maybe("sha256", what.sha256);
    event.maybe("signer_key_id", what.signer);
    for (version, build, of) in
        [("from_version", "from_build", what.from), ("to_version", "to_build", what.to)]
    {
        if let Some((text, number)) = of {
            event.text(version, text).int(build, number);
        }
    }
    if let Some(bytes) = what.bytes {
        event.int("bytes", bytes);
    }
    if let Some((role, repo)) = what.role {
        event.text("role", role).text("repo", repo);
    }
    if let Some((version, known)) = what.metadata {
        event.int("metadata_version", version).int("known_version", known).int("expires", at + 30 * DAY);
    }
    event.maybe("creator", what.creator).maybe("approver", what.approver).maybe("actor_id", what.actor);
    if let Some((targets, requested)) = what.targets {
        event.int("target_count", targets).int("requested_count", requested);
    }
    event.maybe("attacks_detected", what.attacks);
    wire.send(Stream::Ota, what.campaign.unwrap_or_default(), received, event);
}

impl Campaign {
    /// A campaign for some cars of a fleet.
    pub fn new(seed: u64, index: usize, fleet: usize) -> Campaign {
        let mut random = Random::new(seed, "campaign", index as u64);
        let share = random.range(0.06, 0.16);
        let targets = (0..fleet).filter(|_| random.chance(share)).collect();
        let ecu = *random.pick(&["TCU", "ADAS", "BCM"]);
        let build = 4_100 + random.between(0, 300);
        let name = ecu.to_lowercase();
        Campaign {
            id: format!("camp-{}", random.hex(6)),
            artifact: format!("{name}-{}.{}.bin", build / 1_000, build),
            sha256: random.hex(64),
            from: (format!("{name}-{}", build - 12), build - 12),
            to: (format!("{name}-{build}"), build),
            ecu,
            creator: format!("e-ota-{:02}", random.between(1, 5)),
            targets,
            next: 0,
            random,
        }
    }

    fn announce(&mut self, wire: &mut Wire, now: i64) -> i64 {
        let approver = format!("e-release-{:02}", self.random.between(1, 4));
        let count = self.targets.len() as i64;
        let base = Step {
            campaign: Some(&self.id),
            artifact: Some(&self.artifact),
            sha256: Some(&self.sha256),
            signer: Some(SIGNER),
            creator: Some(&self.creator),
            to: Some((&self.to.0, self.to.1)),
            targets: Some((count, count)),
            ..Step::default()
        };
        step(
            wire,
            now,
            None,
            &Step { action: "campaign_created", actor: Some(&self.creator), ..base.clone() },
        );
        let metadata = Step {
            action: "metadata_published",
            actor: Some("svc-ota-repository"),
            campaign: Some(&self.id),
            role: Some(("targets", "director")),
            metadata: Some((self.to.1, self.to.1 - 1)),
            signer: Some(SIGNER),
            signature_valid: Some(true),
            ..Step::default()
        };
        step(wire, now + 4 * MINUTE, None, &metadata);
        let approver = Some(approver.as_str());
        let approved = Step { action: "campaign_approved", approver, actor: approver, ..base.clone() };
        step(wire, now + 9 * MINUTE, None, &approved);
        let started = Step { action: "campaign_started", approver, actor: Some(&self.creator), ..base };
        step(wire, now + 12 * MINUTE, None, &started);
        now + 15 * MINUTE
    }

    /// A car downloads and installs; a few downloads fail and are tried again, a few installations fail.
    fn update(&mut self, wire: &mut Wire, now: i64, car: &mut Vehicle) {
        let depot = Some(if car.city.region == "US" { DEPOTS[2] } else { DEPOTS[self.random.index(2)] });
        let base = Step {
            campaign: Some(&self.id),
            ecu: Some(self.ecu),
            artifact: Some(&self.artifact),
            from: Some((&self.from.0, self.from.1)),
            to: Some((&self.to.0, self.to.1)),
            depot,
            ..Step::default()
        };
        let mut at = now;
        if self.random.chance(0.04) {
            return step(
                wire,
                at,
                Some(car),
                &Step { action: "campaign_declined", success: Some(true), ..base },
            );
        }
        step(wire, at, Some(car), &Step { action: "campaign_accepted", success: Some(true), ..base.clone() });
        let retries = i64::from(self.random.chance(0.025));
        for attempt in 0..=retries {
            at += self.random.between(10 * SECOND, 60 * SECOND);
            let started = Step { action: "EcuDownloadStarted", success: Some(true), ..base.clone() };
            step(wire, at, Some(car), &started);
            at += self.random.between(MINUTE, 9 * MINUTE);
            let good = attempt == retries;
            let done = Step {
                action: "EcuDownloadCompleted",
                success: Some(good),
                result: Some(if good { "OK" } else { "DOWNLOAD_FAILED" }),
                sha256: good.then_some(self.sha256.as_str()),
                signer: good.then_some(SIGNER),
                signature_valid: good.then_some(true),
                bytes: Some(if good { 48_200_000 } else { 11_700_000 }),
                ..base.clone()
            };
            step(wire, at, Some(car), &done);
        }
        let good = !self.random.chance(0.015);
        let finish = [
            ("EcuInstallationStarted", true, None, MINUTE),
            ("EcuInstallationApplied", good, Some(if good { "OK" } else { "INSTALL_FAILED" }), 6 * MINUTE),
            ("EcuInstallationCompleted", good, Some(if good { "OK" } else { "INSTALL_FAILED" }), 8 * MINUTE),
        ];
        for (action, success, result, after) in finish {
            step(
                wire,
                at + after,
                Some(car),
                &Step { action, success: Some(success), result, ..base.clone() },
            );
        }
        super::sentinel::raise(wire, at + 5 * MINUTE, car, super::sentinel::DOWNLOAD, self.ecu, 1);
    }
}

impl World {
    /// A campaign is announced, then reaches its next car.
    pub(super) fn campaign_turn(&mut self, index: usize, now: i64) {
        let World { campaigns, vehicles, wire, agenda, .. } = self;
        let campaign = &mut campaigns[index];
        if campaign.next == 0 && !campaign.targets.is_empty() {
            campaign.next = 1;
            let at = campaign.announce(wire, now);
            return agenda.note(at, Turn::Campaign(index));
        }
        let Some(target) = campaign.targets.get(campaign.next - 1).copied() else { return };
        campaign.next += 1;
        let car = &mut vehicles[target];
        if !matches!(car.state, State::Driving(_)) {
            campaign.update(wire, now, car);
        }
        let spread = 10.0 * HOUR as f64 / campaign.targets.len() as f64;
        agenda.note(now + campaign.random.wait(spread), Turn::Campaign(index));
    }
}

/// An address of somebody at the update service.
pub(super) fn office(random: &mut Random) -> String {
    address([84, 137], random)
}
