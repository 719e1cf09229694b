//! Attacks on the cloud account and on the broker.

use super::super::clock::{MINUTE, SECOND};
use super::super::cloud::{CloudCall, Decision, Engineer, decide};
use super::super::session::Origin;
use super::super::stream::Stream;
use super::script::Script;
use super::{Class, Variant};

use Variant::{Noisy, Plain, Slow};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "cloud-logging-off",
        story: "a found key stops the audit trail and deletes flow logs",
        streams: &[Stream::Cloudtrail],
        variants: &[Plain, Slow, Noisy],
        plan: logging,
    },
    Class {
        name: "cloud-backdoor-login",
        story: "a found key gives another user a console password",
        streams: &[Stream::Cloudtrail],
        variants: &[Plain, Noisy],
        plan: login,
    },
    Class {
        name: "cloud-open-port",
        story: "SSH of the ingest machines is opened to the whole internet",
        streams: &[Stream::Cloudtrail],
        variants: &[Plain, Noisy],
        plan: port,
    },
    Class {
        name: "cloud-snapshot-shared",
        story: "the disk of the position database is shared with an unknown account",
        streams: &[Stream::Cloudtrail],
        variants: &[Plain, Noisy],
        plan: snapshot,
    },
    Class {
        name: "broker-probing",
        story: "somebody with a stolen certificate tries every topic of the broker",
        streams: &[Stream::KafkaAudit],
        variants: &[Plain, Slow, Noisy],
        plan: probing,
    },
    Class {
        name: "broker-anonymous",
        story: "a client without a name writes to the topics that command cars",
        streams: &[Stream::KafkaAudit],
        variants: &[Plain],
        plan: anonymous,
    },
    Class {
        name: "broker-destruction",
        story: "topics and access rules are deleted with a service's certificate",
        streams: &[Stream::KafkaAudit],
        variants: &[Plain, Slow],
        plan: destruction,
    },
];

/// Somebody with a key that was found, and where they sit.
fn intruder(script: &mut Script<'_>) -> Engineer {
    let origin: Origin = script.origin();
    let name = format!("svc-legacy-{}", script.random.hex(4));
    let engineer = Engineer::intruder(&name, &origin.ip, &mut script.random);
    script.name("user", &engineer.arn());
    script.name("user", &name);
    engineer
}

/// Calls, some time apart; noisy ones look around between.
fn calls(script: &mut Script<'_>, start: i64, every: i64, who: &Engineer, what: Vec<CloudCall>) {
    for (index, call) in (0..).zip(what) {
        let mut engineer = who.clone();
        script.at(start + index * every, move |world, now| engineer.call(&mut world.wire, now, &call));
        if script.variant == Noisy {
            for look in 1..6 {
                let mut engineer = who.clone();
                let denied = (look % 2 == 0).then_some("AccessDenied");
                let call = CloudCall { error: denied, ..CloudCall::look("iam", "ListUsers") };
                let at = start + index * every + look * 3 * SECOND;
                script.at(at, move |world, now| engineer.call(&mut world.wire, now, &call));
            }
        }
    }
}

fn logging(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(30, 900);
    let start = script.begin(2 * every + MINUTE)?;
    let who = intruder(script);
    let what = vec![
        CloudCall::change("cloudtrail", "StopLogging", r#"{"name":"fleet-trail"}"#),
        CloudCall::change("ec2", "DeleteFlowLogs", r#"{"DeleteFlowLogsRequest":{"FlowLogId":"fl-0c1"}}"#),
    ];
    calls(script, start, every, &who, what);
    Some(())
}

fn login(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(3 * MINUTE)?;
    let who = intruder(script);
    let victim = format!("backup-operator-{}", script.random.hex(4));
    script.name("user", &victim);
    let parameters = format!(r#"{{"userName":"{victim}","passwordResetRequired":false}}"#);
    let mut call = CloudCall::change("iam", "CreateLoginProfile", parameters);
    call.response = Some(format!(r#"{{"loginProfile":{{"userName":"{victim}"}}}}"#));
    calls(script, start, MINUTE, &who, vec![call]);
    Some(())
}

fn port(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(3 * MINUTE)?;
    let who = intruder(script);
    let group = format!("sg-{}", script.random.hex(8));
    script.name("resource", &group);
    let ranges = r#""ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]}"#;
    let item = format!(r#"{{"ipProtocol":"tcp","fromPort":22,"toPort":22,{ranges}}}"#);
    let parameters = format!(r#"{{"groupId":"{group}","ipPermissions":{{"items":[{item}]}}}}"#);
    let mut call = CloudCall::change("ec2", "AuthorizeSecurityGroupIngress", parameters);
    call.response = Some(r#"{"_return":true}"#.into());
    calls(script, start, MINUTE, &who, vec![call]);
    Some(())
}

fn snapshot(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(3 * MINUTE)?;
    let who = intruder(script);
    let id = format!("snap-{}", script.random.hex(8));
    script.name("resource", &id);
    let account = format!("{:012}", script.random.below(900_000_000_000));
    let with = format!(r#""createVolumePermission":{{"add":{{"items":[{{"userId":"{account}"}}]}}}}"#);
    let parameters = format!(r#"{{"snapshotId":"{id}",{with},"attributeType":"CREATE_VOLUME_PERMISSION"}}"#);
    let mut call = CloudCall::change("ec2", "ModifySnapshotAttribute", parameters);
    call.response = Some(r#"{"_return":true}"#.into());
    calls(script, start, MINUTE, &who, vec![call]);
    Some(())
}

const TOPICS: [&str; 8] = [
    "vehicle.telemetry",
    "vehicle.diagnostics",
    "vehicle.remote_commands",
    "vehicle.ota",
    "charging.ocpp",
    "backend.identity",
    "backend.api_gateway",
    "fleetwarden.dead-letters",
];

/// Who asks the broker: principal and address.
fn ask(
    script: &mut Script<'_>,
    at: i64,
    who: (String, String),
    allowed: bool,
    what: (&'static str, &'static str, &'static str, &'static str),
) {
    let (operation, kind, name, request) = what;
    script.at(at, move |world, now| {
        let (principal, host) = (&who.0, &who.1);
        decide(
            &mut world.wire,
            now,
            Decision { principal, host, allowed, operation, resource: (kind, name), request },
        );
    });
}

fn probing(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(3, 100);
    let start = script.begin(26 * every)?;
    let origin = script.origin();
    let principal = format!("User:CN=tcu-{},O=Fleet", script.random.hex(6));
    script.name("user", &principal);
    for index in 0..26 {
        let topic = TOPICS[index as usize % TOPICS.len()];
        let who = (principal.clone(), origin.ip.clone());
        let allowed = script.variant == Noisy && index % 4 == 0;
        let what = if index % 2 == 0 {
            ("READ", "Topic", topic, "Fetch")
        } else {
            ("DESCRIBE", "Topic", topic, "Metadata")
        };
        ask(script, start + index * every, who, allowed, what);
    }
    Some(())
}

fn anonymous(script: &mut Script<'_>) -> Option<()> {
    let start = script.begin(5 * MINUTE)?;
    let origin = script.origin();
    script.name("user", "User:ANONYMOUS");
    for index in 0..12 {
        let who = ("User:ANONYMOUS".to_owned(), origin.ip.clone());
        let topic = TOPICS[2 + script.round as usize % 2];
        let what = ("WRITE", "Topic", topic, "Produce");
        ask(script, start + index * 15 * SECOND, who, index % 3 == 0, what);
    }
    Some(())
}

fn destruction(script: &mut Script<'_>) -> Option<()> {
    let every = script.pace(20, 400);
    let start = script.begin(8 * every)?;
    let service = script.service()?;
    let principal = script.world.services[service].principal.clone();
    let origin = script.origin();
    for index in 0..8 {
        let who = (principal.clone(), origin.ip.clone());
        let what = match index % 4 {
            0 => ("DELETE", "Topic", TOPICS[index as usize % TOPICS.len()], "DeleteTopics"),
            1 => ("ALTER", "Cluster", "kafka-cluster", "CreateAcls"),
            2 => ("ALTER_CONFIGS", "Topic", TOPICS[index as usize % TOPICS.len()], "IncrementalAlterConfigs"),
            _ => ("ALTER", "Cluster", "kafka-cluster", "DeleteAcls"),
        };
        ask(script, start + index * every, who, index % 3 != 2, what);
    }
    Some(())
}
