//! What the back end writes down: requests at the gateway, changes of accounts, remote commands.
//!
//! Honest people and attackers pass through the same functions: what differs is what they ask for.

use super::random::Random;
use super::session::Session;
use super::stream::Stream;
use super::vehicle::{State, Vehicle};
use super::wire::Wire;

/// The back end's log writers.
pub(super) struct Backend {
    random: Random,
}

/// A request at the gateway.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub method: &'static str,
    pub route: &'static str,
    /// As asked, if it is not the route with the vehicle filled in.
    pub path: Option<String>,
    pub query: Option<String>,
    pub status: i64,
    pub bytes_out: i64,
    pub vin: Option<String>,
    pub owner: Option<String>,
    pub work_order: Option<String>,
    pub items: Option<i64>,
    pub waf: &'static str,
    pub scopes: &'static [&'static str],
    /// Algorithm and key of the token.
    pub signed: (&'static str, &'static str),
}

/// The key that signs tokens.
pub(super) const SIGNED: (&str, &str) = ("RS256", "idp-2025-a");

impl Call {
    /// A request that is answered with 200.
    pub fn new(method: &'static str, route: &'static str) -> Call {
        Call {
            method,
            route,
            path: None,
            query: None,
            status: 200,
            bytes_out: 900,
            vin: None,
            owner: None,
            work_order: None,
            items: None,
            waf: "allow",
            scopes: &["vehicle:read"],
            signed: SIGNED,
        }
    }

    /// About this vehicle of that owner.
    pub fn about(mut self, vin: &str, owner: &str) -> Call {
        (self.vin, self.owner) = (Some(vin.into()), Some(owner.into()));
        self
    }

    /// Answered with another status.
    pub fn status(mut self, status: i64) -> Call {
        (self.status, self.bytes_out) = (status, if status < 400 { self.bytes_out } else { 140 });
        self
    }
}

/// A change of an account, or a try.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub action: &'static str,
    /// Why it failed, if it did.
    pub failed: Option<&'static str>,
    /// Whose account, if it is not the session's own.
    pub account: Option<(String, &'static str)>,
    pub vin: Option<String>,
    pub old_owner: Option<String>,
    pub new_owner: Option<String>,
    pub consent: Option<String>,
    pub role: Option<&'static str>,
    pub approver: Option<String>,
    pub requester: Option<String>,
    pub ticket: Option<String>,
    pub mfa: Option<&'static str>,
    pub new_device: bool,
    pub risk: Option<&'static str>,
}

impl Change {
    /// Something that succeeded.
    pub fn new(action: &'static str) -> Change {
        Change { action, ..Change::default() }
    }

    /// Something that failed.
    pub fn failed(action: &'static str, reason: &'static str) -> Change {
        Change { action, failed: Some(reason), ..Change::default() }
    }

    /// Done to somebody else's account.
    pub fn of(mut self, account: &str, kind: &'static str) -> Change {
        self.account = Some((account.into(), kind));
        self
    }
}

/// A remote command.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub command: &'static str,
    pub channel: &'static str,
    pub granted_at: Option<i64>,
    pub work_order: Option<String>,
    pub consent: Option<String>,
    pub campaign: Option<(String, bool)>,
    pub attestation: &'static str,
    pub amps: Option<f64>,
    pub charge_limit: Option<f64>,
}

impl Command {
    /// A command from the owner's app.
    pub fn app(command: &'static str, granted_at: i64) -> Command {
        Command {
            command,
            channel: "app",
            granted_at: Some(granted_at),
            work_order: None,
            consent: None,
            campaign: None,
            attestation: "passed",
            amps: None,
            charge_limit: None,
        }
    }

    /// A command through another door.
    pub fn through(command: &'static str, channel: &'static str) -> Command {
        Command { channel, granted_at: None, attestation: "missing", ..Command::app(command, 0) }
    }
}

impl Backend {
    /// Writers with dice for ids and latencies.
    pub fn new(seed: u64) -> Backend {
        Backend { random: Random::new(seed, "backend", 0) }
    }

    fn delay(&mut self) -> i64 {
        5 + self.random.wait(25.0).min(900)
    }

    /// Logs a request.
    pub fn request(&mut self, wire: &mut Wire, now: i64, who: &Session, call: &Call) {
        let latency = 12 + self.random.wait(60.0).min(4_000);
        let mut event = wire.event();
        event.int("ts", now).text("request_id", &self.random.hex(16)).text("host", "api.fleet.example");
        event.text("method", call.method).text("route", call.route);
        let filled = || call.route.replace("{vin}", call.vin.as_deref().unwrap_or("-"));
        event.text("path", &call.path.clone().unwrap_or_else(filled));
        event.maybe("query", call.query.as_deref()).int("status", call.status);
        event.int("bytes_in", 420).int("bytes_out", call.bytes_out + self.random.between(0, 200));
        event.int("latency_ms", latency).text("waf_action", call.waf);
        event.text("client_ip", &who.ip).text("country", who.country).int("asn", who.asn);
        event.text("user_agent", &who.agent).text("client_id", &who.client_id);
        event.text("client_type", who.client_type);
        if !who.account.is_empty() {
            event.text("subject", &who.account).text("actor_type", who.actor);
            event.texts("scopes", call.scopes.iter().copied());
            event.object("jwt").text("iss", "https://id.fleet.example").text("aud", "vehicle-api");
            event.text("alg", call.signed.0).text("kid", call.signed.1).text("jti", &who.jti);
            event.int("iat", who.issued / 1_000).int("exp", who.issued / 1_000 + 14 * 86_400).end();
            event.text("session_id", &who.session_id);
        }
        event.maybe("org_id", who.org.as_deref()).maybe("vin", call.vin.as_deref());
        event.maybe("owner_id", call.owner.as_deref()).maybe("work_order_id", call.work_order.as_deref());
        if let Some(items) = call.items {
            event.int("items", items);
        }
        event.object("tls").text("version", "TLSv1.3").text("cipher", "TLS_AES_128_GCM_SHA256").end();
        let arrival = now + latency + self.delay();
        wire.send(Stream::ApiGateway, &who.client_id, arrival, event);
    }

    /// Logs a change of an account.
    pub fn change(&mut self, wire: &mut Wire, now: i64, who: &Session, change: &Change) {
        let (account, kind) = match &change.account {
            Some((account, kind)) => (account.as_str(), *kind),
            None => (who.account.as_str(), who.actor),
        };
        let mut event = wire.event();
        event.int("ts", now).text("record_id", &self.random.hex(16)).text("action", change.action);
        event.text("outcome", if change.failed.is_some() { "failure" } else { "success" });
        event.maybe("reason", change.failed).text("account", account).text("account_type", kind);
        if !who.account.is_empty() {
            event.text("actor_id", &who.account).text("actor_type", who.actor);
        }
        event.maybe("org_id", who.org.as_deref()).maybe("vin", change.vin.as_deref());
        event.maybe("old_owner", change.old_owner.as_deref()).maybe("new_owner", change.new_owner.as_deref());
        event.maybe("consent_id", change.consent.as_deref()).maybe("role", change.role);
        event.maybe("approver", change.approver.as_deref()).maybe("requester", change.requester.as_deref());
        event.maybe("ticket_id", change.ticket.as_deref()).maybe("mfa_method", change.mfa);
        event.text("device_id", &who.device_id).flag("is_new_device", change.new_device);
        event.text("risk_level", change.risk.unwrap_or("low")).text("src_ip", &who.ip);
        event.text("country", who.country).int("asn", who.asn).text("user_agent", &who.agent);
        event.text("client_id", &who.client_id).text("session_id", &who.session_id);
        let arrival = now + self.delay();
        wire.send(Stream::Identity, account, arrival, event);
    }

    /// Sends a command to a car: requested, delivered, and what became of it.
    pub fn command(&mut self, wire: &mut Wire, now: i64, who: &Session, car: &mut Vehicle, what: &Command) {
        let id = format!("c-{}", self.random.hex(12));
        let mut states = vec![("requested", 0, None), ("queued", 40, None)];
        let travel = car.link.carrier.latency * 2 + self.random.wait(1_500.0).min(20_000);
        let held = (car.link.offline_until - now).max(0);
        let driving = matches!(car.state, State::Driving(_));
        let unsafe_now = driving && matches!(what.command, "unlock" | "immobilize" | "start" | "diag_write");
        if held > 600_000 {
            states.push(("expired", 600_000, Some("vehicle_offline")));
        } else if unsafe_now {
            states.push(("rejected", held + travel, Some("unsafe_state")));
        } else if self.random.chance(0.01) {
            states.push(("failed", held + travel, Some("timeout")));
        } else {
            states.push(("delivered", held + travel, None));
            states.push(("executed", held + travel + 400 + self.random.between(0, 900), Some("ok")));
            self.execute(car, what.command);
        }
        for (status, after, result) in states {
            self.command_state(wire, now + after, (&id, status, result, after), who, car, what);
            // A car that drives acknowledges with its next message, which would tell nothing new here.
            if status == "executed" && held == 0 && !driving {
                car.report(wire, now + after, Some(&id));
            }
        }
    }

    fn execute(&self, car: &mut Vehicle, command: &str) {
        match command {
            "lock" => (car.locked, car.armed) = (true, true),
            "unlock" => (car.locked, car.armed) = (false, false),
            _ => {}
        }
    }

    fn command_state(
        &mut self,
        wire: &mut Wire,
        at: i64,
        (id, status, result, after): (&str, &str, Option<&str>, i64),
        who: &Session,
        car: &Vehicle,
        what: &Command,
    ) {
        let mut event = wire.event();
        event.text("cmd_id", id).int("ts", at).text("status", status).text("command", what.command);
        event.text("vin", &car.vin).text("model", car.model.name).text("region", car.city.region);
        event.text("actor_id", &who.account).text("actor_type", who.actor);
        if let Some(granted) = what.granted_at {
            event.int("access_granted_at", granted);
        }
        event.text("channel", what.channel).text("client_id", &who.client_id);
        event.text("session_id", &who.session_id).flag("mfa", who.mfa);
        if what.channel == "app" {
            event.text("app_id", "com.example.car").text("app_version", "6.2.1");
            event.text("attestation", what.attestation);
        }
        event.text("device_id", &who.device_id).text("src_ip", &who.ip).text("country", who.country);
        event.text("user_agent", &who.agent).maybe("consent_id", what.consent.as_deref());
        event.maybe("work_order_id", what.work_order.as_deref());
        if let Some((campaign, approved)) = &what.campaign {
            event.text("campaign_id", campaign).flag("campaign_approved", *approved);
        }
        event.maybe("result", result).int("latency_ms", after);
        if let Some(amps) = what.amps {
            event.fixed("amps", amps, 0);
        }
        if let Some(limit) = what.charge_limit {
            event.fixed("charge_limit", limit, 0);
        }
        event.int("local_hour", super::clock::hour(at, car.city.hours) as i64);
        if result.is_some_and(|result| result == "ok" || result == "unsafe_state") {
            let driving = matches!(car.state, State::Driving(_));
            event.object("vehicle_state").fixed("speed", car.motion.speed, 1);
            event.text("gear", if driving { "D" } else { "P" });
            event.text("ignition", if driving { "on" } else { "off" });
            event.fixed("lat", car.motion.at.lat, 5).fixed("lon", car.motion.at.lon, 5).end();
        }
        let arrival = at + self.delay();
        wire.send(Stream::RemoteCommands, &car.vin, arrival, event);
    }
}
