//! Attacks on accounts: passwords, codes, owners, dealers, procedures.

use super::super::backend::{Call, Change, Command};
use super::super::clock::{MINUTE, SECOND};
use super::super::place::CITIES;
use super::super::session::Session;
use super::super::stream::Stream;
use super::script::Script;
use super::{Class, Variant};

use Variant::{Noisy, Plain, Slow, Spread};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "credential-stuffing",
        story: "leaked passwords are tried on many accounts, and on some they work",
        streams: &[Stream::Identity],
        variants: &[Plain, Slow, Spread],
        plan: stuffing,
    },
    Class {
        name: "code-bruteforce",
        story: "the four digits of an account's one-time code are tried one after another",
        streams: &[Stream::Identity],
        variants: &[Plain, Slow],
        plan: codes,
    },
    Class {
        name: "account-takeover",
        story: "a password is reset, a new phone signs in, the owner is locked out of car and account",
        streams: &[Stream::Identity, Stream::RemoteCommands, Stream::ApiGateway],
        variants: &[Plain, Slow, Noisy],
        plan: takeover,
    },
    Class {
        name: "takeover-lockout",
        story: "a stolen app account immobilises strangers' cars: the back end forgets to ask whose they are",
        streams: &[Stream::Identity, Stream::ApiGateway, Stream::RemoteCommands],
        variants: &[Plain, Slow],
        plan: takeover_lockout,
    },
    Class {
        name: "dealer-takeover",
        story: "a dealer's token looks an owner up, makes the attacker primary user, and opens the car",
        streams: &[Stream::Identity, Stream::ApiGateway, Stream::RemoteCommands],
        variants: &[Plain, Slow, Noisy],
        plan: dealer,
    },
    Class {
        name: "former-owner",
        story: "a car is sold, and its former owner goes on opening it",
        streams: &[Stream::Identity, Stream::RemoteCommands],
        variants: &[Plain, Slow],
        plan: former,
    },
    Class {
        name: "procedure-bypass",
        story: "somebody switches off a second factor, approves their own role, and breaks the glass",
        streams: &[Stream::Identity],
        variants: &[Plain, Slow],
        plan: bypass,
    },
    Class {
        name: "push-fatigue",
        story: "second-factor prompts are sent until their victim gives in",
        streams: &[Stream::Identity],
        variants: &[Plain],
        plan: fatigue,
    },
];

fn stuffing(script: &mut Script<'_>) -> Option<()> {
    let tries = 90;
    let every = script.pace(3, 55);
    let start = script.begin(tries * every)?;
    let origins: Vec<_> =
        (0..if script.variant == Spread { 4 } else { 1 }).map(|_| script.origin()).collect();
    for index in 0..tries {
        let at = start + index * every + script.random.between(0, every / 2 + 1);
        let origin = &origins[index as usize % origins.len()];
        let known = index % 9 == 4;
        let account = if known {
            let car = script.victim(|_| true)?;
            script.world.owners[car].session.account.clone()
        } else {
            format!("user{}@mail.example", script.random.below(100_000))
        };
        script.name("user", &account);
        let city = &CITIES[0];
        let who = Session::owner(account, city, &mut script.random);
        let who = script.steal(&who, origin);
        let mut change = match index % 27 {
            13 => Change { new_device: true, ..Change::new("login") },
            _ if known => Change::failed("login", "bad_password"),
            _ => Change::failed("login", "unknown_account"),
        };
        change.risk = Some("medium");
        script.change(at, &who, change);
    }
    Some(())
}

fn codes(script: &mut Script<'_>) -> Option<()> {
    let tries = 40;
    let every = script.pace(3, 40);
    let start = script.begin(tries * every)?;
    let car = script.victim(|_| true)?;
    let origin = script.origin();
    let who = script.steal(&script.world.owners[car].session, &origin);
    script.name("user", &who.account);
    script.change(start, &who, Change { mfa: Some("sms"), ..Change::new("password_reset_requested") });
    for index in 1..tries {
        let change = Change { mfa: Some("sms"), ..Change::failed("otp_verify", "bad_code") };
        script.change(start + index * every, &who, change);
    }
    script.change(start + tries * every, &who, Change { mfa: Some("sms"), ..Change::new("otp_verify") });
    Some(())
}

/// An account is recovered by somebody else and bound to their phone, step by step; says when that is done.
fn steal_account(script: &mut Script<'_>, who: &Session, start: i64, wait: i64) -> i64 {
    let mut at = start;
    if script.variant == Noisy {
        for _ in 0..3 {
            script.change(at, who, Change::failed("login", "bad_password"));
            at += 6 * SECOND;
        }
    }
    script.change(at, who, Change::new("password_reset_requested"));
    at += wait;
    script.change(at, who, Change { risk: Some("medium"), ..Change::new("password_reset") });
    at += wait;
    let risk = Some("high");
    for action in ["login", "device_added", "mfa_disabled", "email_change"] {
        script.change(at, who, Change { new_device: true, risk, ..Change::new(action) });
        at += wait;
    }
    at
}

/// What was seen in 2025: the app locks its owner out, and a ransom is asked.
fn takeover(script: &mut Script<'_>) -> Option<()> {
    let wait = script.pace(25, 240);
    let start = script.begin(14 * wait + 2 * MINUTE)?;
    let car = script.victim(|_| true)?;
    script.park(car, start, start + 14 * wait + MINUTE);
    let origin = script.origin();
    let owner = &script.world.owners[car];
    let (granted, account) = (owner.granted_at, owner.session.account.clone());
    let who = script.steal(&owner.session, &origin);
    let vin = script.world.vehicles[car].vin.clone();
    script.name("user", &account);
    let mut at = steal_account(script, &who, start, wait);
    let call = Call::new("GET", "/vehicles/{vin}/location").about(&vin, &account);
    script.request(at, &who, call);
    for command in ["locate", "lock", "immobilize"] {
        at += wait;
        let what = Command { attestation: "failed", ..Command::app(command, granted) };
        script.command(at, &who, car, what);
    }
    Some(())
}

/// The same, by somebody who has noticed that the app may command any car whose number it names.
fn takeover_lockout(script: &mut Script<'_>) -> Option<()> {
    let (wait, every, cars) = (script.pace(25, 240), script.pace(6, 110), 38);
    let start = script.begin(8 * wait + cars * every + MINUTE)?;
    let own = script.victim(|_| true)?;
    let origin = script.origin();
    let who = script.steal(&script.world.owners[own].session, &origin);
    script.name("user", &who.account);
    let ready = steal_account(script, &who, start, wait);
    for (index, car) in (0..).zip(script.victims(cars as usize)?) {
        let at = ready + wait + index * every;
        let world = script.world;
        let (vin, owner) = (&world.vehicles[car].vin, &world.owners[car].session.account);
        script.request(at - 2 * SECOND, &who, Call::new("GET", "/vehicles/{vin}/status").about(vin, owner));
        script.park(car, at, at + MINUTE);
        let command = if index % 4 == 3 { "lock" } else { "immobilize" };
        let what = Command { granted_at: None, attestation: "failed", ..Command::app(command, 0) };
        script.command(at, &who, car, what);
    }
    Some(())
}

/// The four calls of the Kia incident of 2024, and what came after.
fn dealer(script: &mut Script<'_>) -> Option<()> {
    let wait = script.pace(8, 160);
    let start = script.begin(9 * wait + MINUTE)?;
    let car = script.victim(|_| true)?;
    script.park(car, start, start + 9 * wait + MINUTE);
    let origin = script.origin();
    let world = script.world;
    let (owner, vin) = (world.owners[car].session.account.clone(), world.vehicles[car].vin.clone());
    let account = format!("d-{}", script.random.hex(6));
    let thief = format!("o-{}", script.random.hex(8));
    for user in [&account, &thief, &owner] {
        script.name("user", user);
    }
    let desk = Session::desk(account, "dealer", ("dealer-portal", "dealer_portal"), &CITIES[4]);
    let mut who = script.steal(&desk, &origin);
    who.issued = start;
    script.change(start, &who, Change::new("dealer_registration"));
    script.change(start + wait / 2, &who, Change { new_device: true, ..Change::new("login") });
    let lookup = Call { items: Some(1), scopes: &["dealer:read"], ..Call::new("GET", "/owners/lookup") };
    script.request(start + wait, &who, lookup.about(&vin, &owner));
    if script.variant == Noisy {
        for index in 0..4 {
            let other = &world.vehicles[(car + index + 1) % world.vehicles.len()].vin;
            let call = Call::new("GET", "/vehicles/{vin}").about(other, "-").status(404);
            script.request(start + wait + (1 + index as i64) * SECOND, &who, call);
        }
    }
    let demoted = Change {
        vin: Some(vin.clone()),
        old_owner: Some(owner.clone()),
        new_owner: Some(thief.clone()),
        ..Change::new("primary_user_change").of(&owner, "owner")
    };
    script.change(start + 2 * wait, &who, demoted);
    script.change(start + 3 * wait, &who, Change::new("email_change").of(&owner, "owner"));
    let added = Change {
        vin: Some(vin.clone()),
        new_owner: Some(thief.clone()),
        ..Change::new("vehicle_add").of(&thief, "owner")
    };
    script.change(start + 4 * wait, &who, added);
    let actor = Session::owner(thief, world.vehicles[car].city, &mut script.random);
    let actor = script.steal(&actor, &origin);
    for (step, command) in (6..).zip(["locate", "unlock", "start"]) {
        script.command(start + step * wait, &actor, car, Command::app(command, start + 4 * wait));
    }
    Some(())
}

fn former(script: &mut Script<'_>) -> Option<()> {
    let wait = script.pace(1_200, 5_000);
    let start = script.begin(4 * wait)?;
    let car = script.victim(|_| true)?;
    script.park(car, start + wait, start + 4 * wait);
    let world = script.world;
    let (owner, vin) = (&world.owners[car], world.vehicles[car].vin.clone());
    let (old, granted) = (owner.session.clone(), owner.granted_at);
    let new = format!("o-{}", script.random.hex(8));
    script.name("user", &old.account);
    let technician = &world.technicians[car % world.technicians.len()].session;
    let sold = Change {
        vin: Some(vin),
        old_owner: Some(old.account.clone()),
        new_owner: Some(new.clone()),
        consent: Some(format!("cs-{}", script.random.hex(8))),
        ..Change::new("ownership_transfer").of(&new, "owner")
    };
    script.change(start, technician, sold);
    for (step, command) in (1..).zip(["locate", "unlock", "climate"]) {
        script.command(start + step * wait, &old, car, Command::app(command, granted));
    }
    Some(())
}

fn bypass(script: &mut Script<'_>) -> Option<()> {
    let wait = script.pace(60, 900);
    let start = script.begin(6 * wait)?;
    let account = format!("e-adm-{}", script.random.hex(4));
    script.name("user", &account);
    let who = Session::desk(account.clone(), "employee", ("admin-console", "internal"), &CITIES[1]);
    script.change(start, &who, Change::new("mfa_disabled"));
    let own = Some(account.clone());
    let role = Some("remote_operator");
    let granted = Change {
        role,
        approver: own.clone(),
        requester: own.clone(),
        ..Change::new("role_granted").of(&account, "employee")
    };
    script.change(start + wait, &who, granted);
    script.change(
        start + 2 * wait,
        &who,
        Change { approver: own.clone(), requester: own, ..Change::new("approval") },
    );
    script.change(start + 3 * wait, &who, Change::new("break_glass_used"));
    script.change(start + 4 * wait, &who, Change::new("policy_exception"));
    Some(())
}

fn fatigue(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(20 * MINUTE)?;
    let car = script.victim(|_| true)?;
    let origin = script.origin();
    let who = script.steal(&script.world.owners[car].session, &origin);
    script.name("user", &who.account);
    for index in 0..18 {
        let reason = if index % 2 == 0 { "mfa_denied" } else { "mfa_timeout" };
        let change = Change { mfa: Some("push"), ..Change::failed("mfa_challenge", reason) };
        script.change(start + index * 40 * SECOND, &who, change);
    }
    let at = start + 13 * MINUTE;
    script.change(at, &who, Change { mfa: Some("push"), ..Change::new("mfa_challenge") });
    script.change(at + SECOND, &who, Change { new_device: true, mfa: Some("push"), ..Change::new("login") });
    Some(())
}
