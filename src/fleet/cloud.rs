//! The cloud account and the broker on quiet days: engineers, pipelines, services.

use super::agenda::Turn;
use super::clock::{HOUR, SECOND};
use super::json::Precision;
use super::people::next_by_day;
use super::random::Random;
use super::stream::Stream;
use super::wire::Wire;
use super::world::World;

/// The account.
pub(super) const ACCOUNT: &str = "418273645501";

/// Who works on the account.
#[derive(Clone, Debug)]
pub(super) struct Engineer {
    pub name: String,
    /// A role that is assumed; none = a user with a key.
    pub role: Option<&'static str>,
    pub ip: String,
    pub agent: &'static str,
    random: Random,
}

/// What is asked of the account.
#[derive(Clone, Debug)]
pub(super) struct CloudCall {
    pub source: &'static str,
    pub name: &'static str,
    pub read_only: bool,
    /// The members of `requestParameters`, as JSON.
    pub parameters: Option<String>,
    pub response: Option<String>,
    pub error: Option<&'static str>,
}

impl CloudCall {
    /// A call that looks.
    pub fn look(source: &'static str, name: &'static str) -> CloudCall {
        CloudCall { source, name, read_only: true, parameters: None, response: None, error: None }
    }

    /// A call that changes something, with its parameters as JSON.
    pub fn change(source: &'static str, name: &'static str, parameters: impl Into<String>) -> CloudCall {
        let parameters = Some(parameters.into());
        CloudCall { read_only: false, parameters, ..CloudCall::look(source, name) }
    }
}

/// Engineers and pipelines look at these all day.
const LOOKS: [(&str, &str); 9] = [
    ("ec2", "DescribeInstances"),
    ("ec2", "DescribeSecurityGroups"),
    ("s3", "GetBucketLocation"),
    ("s3", "ListBuckets"),
    ("ssm", "GetParameter"),
    ("sts", "GetCallerIdentity"),
    ("kms", "Decrypt"),
    ("cloudwatch", "GetMetricData"),
    ("ecs", "DescribeServices"),
];

impl Engineer {
    /// The `index`-th: two of three are pipelines.
    pub fn new(seed: u64, index: usize) -> Engineer {
        let mut random = Random::new(seed, "engineer", index as u64);
        let person = index.is_multiple_of(3);
        let name =
            if person { format!("eng-{index:02}") } else { format!("ci-{}", random.between(4_000, 5_000)) };
        Engineer {
            name,
            role: (!person).then_some(if index.is_multiple_of(2) { "deploy" } else { "ingest-service" }),
            ip: super::ota::office(&mut random),
            agent: if person { "aws-cli/2.24.0 md/arch#x86_64" } else { "aws-sdk-go-v2/1.36.3 os/linux" },
            random,
        }
    }

    /// Somebody with a key that was found somewhere.
    pub fn intruder(name: &str, ip: &str, random: &mut Random) -> Engineer {
        let random = Random::new(random.bits(), "intruder", 0);
        Engineer { name: name.into(), role: None, ip: ip.into(), agent: "Boto3/1.38.0 md/Botocore", random }
    }

    /// Its name to the account.
    pub fn arn(&self) -> String {
        match self.role {
            Some(role) => format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{}", self.name),
            None => format!("arn:aws:iam::{ACCOUNT}:user/{}", self.name),
        }
    }

    /// Logs a call.
    pub fn call(&mut self, wire: &mut Wire, now: i64, what: &CloudCall) {
        let mut event = wire.event();
        let id = super::random::hash(self.name.as_bytes()) % 1_000_000_000;
        event.text("eventVersion", "1.09").object("userIdentity");
        match self.role {
            Some(role) => {
                event.text("type", "AssumedRole").text("principalId", &format!("AROA{id:09}:{}", self.name));
                event.text("arn", &self.arn()).text("accountId", ACCOUNT);
                event.text("accessKeyId", &format!("ASIA{id:09}X")).object("sessionContext");
                event.object("sessionIssuer").text("type", "Role").text("userName", role).end();
                event.object("attributes").text("mfaAuthenticated", "false").end().end();
            }
            None => {
                event.text("type", "IAMUser").text("principalId", &format!("AIDA{id:09}"));
                event.text("arn", &self.arn()).text("accountId", ACCOUNT);
                event.text("accessKeyId", &format!("AKIA{id:09}X")).text("userName", &self.name);
            }
        }
        event.end().time("eventTime", now, Precision::Seconds);
        event.text("eventSource", &format!("{}.amazonaws.com", what.source)).text("eventName", what.name);
        event
            .text("awsRegion", "eu-central-1")
            .text("sourceIPAddress", &self.ip)
            .text("userAgent", self.agent);
        event.maybe("errorCode", what.error);
        for (name, json) in [("requestParameters", &what.parameters), ("responseElements", &what.response)] {
            match json {
                Some(json) => event.raw(name, json),
                None => event.null(name),
            };
        }
        let random = &mut self.random;
        event.text("requestID", &random.hex(16)).text("eventID", &random.hex(32));
        event.flag("readOnly", what.read_only).text("eventType", "AwsApiCall").flag("managementEvent", true);
        event.text("recipientAccountId", ACCOUNT).text("eventCategory", "Management");
        let arrival = now + 2 * SECOND + random.between(0, 4 * SECOND);
        wire.send(Stream::Cloudtrail, "", arrival, event);
    }
}

/// A client of the broker.
pub(super) struct Service {
    pub principal: String,
    pub ip: String,
    topic: &'static str,
    writes: bool,
    /// Somebody who tries things out.
    developer: bool,
    random: Random,
}

const SERVICES: [(&str, &str, bool); 8] = [
    ("User:CN=tcu-ingest,O=Fleet", "vehicle.telemetry", true),
    ("User:CN=diag-ingest,O=Fleet", "vehicle.diagnostics", true),
    ("User:CN=command-service,O=Fleet", "vehicle.remote_commands", true),
    ("User:CN=ota-service,O=Fleet", "vehicle.ota", true),
    ("User:CN=charging-hub,O=Fleet", "charging.ocpp", true),
    ("User:CN=analytics,O=Fleet", "vehicle.telemetry", false),
    ("User:CN=fleetwarden,O=Fleet", "vehicle.security_events", false),
    ("User:CN=trip-history,O=Fleet", "vehicle.telemetry", false),
];

/// A decision of the broker's authorizer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision<'a> {
    pub principal: &'a str,
    pub host: &'a str,
    pub allowed: bool,
    pub operation: &'a str,
    /// Kind and name.
    pub resource: (&'a str, &'a str),
    pub request: &'a str,
}

/// Logs a decision.
pub(super) fn decide(wire: &mut Wire, now: i64, what: Decision<'_>) {
    let (kind, name) = what.resource;
    let said = if what.allowed { "Allowed" } else { "Denied" };
    let rule = if what.allowed { "MatchingAcl(acl=ALLOW)" } else { "DefaultDeny" };
    let Decision { principal, operation, host, request, .. } = what;
    let message = format!(
        "Principal = {principal} is {said} operation = {operation} from host = {host} on resource = \
         {kind}:LITERAL:{name} for request = {request} with resourceRefCount = 1 based on rule {rule}"
    );
    let mut event = wire.event();
    event.int("ts", now).text("cluster", "fleet-1").text("broker", &format!("broker-{}", now % 3));
    event.text("level", if what.allowed { "DEBUG" } else { "INFO" }).text("message", &message);
    event.text("principal", principal).text("decision", said).text("operation", operation);
    event.text("host", host).text("resource_type", kind).text("pattern_type", "LITERAL");
    event.text("resource", name).text("request", request).int("resource_ref_count", 1);
    event.text("acl_rule", rule);
    wire.send(Stream::KafkaAudit, principal, now + 300 + now % 500, event);
}

impl Service {
    /// How many there are.
    pub const COUNT: usize = SERVICES.len() + 3;

    /// The `index`-th; after the services come developers.
    pub fn new(seed: u64, index: usize) -> Service {
        let mut random = Random::new(seed, "service", index as u64);
        let developer = format!("User:CN=dev-{index:02},O=Fleet");
        let known = SERVICES.get(index).copied();
        let (principal, topic, writes) = known.unwrap_or((&developer, "staging.telemetry", false));
        let ip = format!("10.20.{}.{}", index, random.between(2, 250));
        Service { principal: principal.into(), ip, topic, writes, developer: known.is_none(), random }
    }
}

impl World {
    /// A service, or a developer, is checked by the broker.
    pub(super) fn service_turn(&mut self, index: usize, now: i64) {
        let World { services, wire, agenda, .. } = self;
        let service = &mut services[index];
        let write = service.writes;
        let mut what = Decision {
            principal: &service.principal,
            host: &service.ip,
            allowed: true,
            operation: if write { "WRITE" } else { "READ" },
            resource: ("Topic", service.topic),
            request: if write { "Produce" } else { "Fetch" },
        };
        let mut at = now;
        if service.developer && service.random.chance(0.03) {
            // A wrong configuration, tried again once or twice.
            (what.allowed, what.resource) = (false, ("Topic", "vehicle.telemetry"));
            for _ in 0..service.random.between(1, 4) {
                decide(wire, at, what);
                at += service.random.between(2 * SECOND, 20 * SECOND);
            }
        } else {
            decide(wire, at, what);
        }
        let mean = if service.developer { HOUR / 2 } else { 90 * SECOND };
        let hours = if service.developer { (8.0, 18.0) } else { (0.0, 24.0) };
        let next = next_by_day(at, mean, hours, 1, &mut service.random);
        agenda.note(next, Turn::Service(index));
    }

    /// Somebody or something works on the account.
    pub(super) fn engineer_turn(&mut self, index: usize, now: i64) {
        let World { engineers, wire, agenda, .. } = self;
        let engineer = &mut engineers[index];
        let mut at = now;
        for _ in 0..engineer.random.between(1, 7) {
            let (source, name) = *engineer.random.pick(&LOOKS);
            let error = engineer.random.chance(0.01).then_some("AccessDenied");
            engineer.call(wire, at, &CloudCall { error, ..CloudCall::look(source, name) });
            at += engineer.random.between(SECOND, 20 * SECOND);
        }
        if engineer.random.chance(0.05) {
            let what = match engineer.role {
                Some(_) => {
                    CloudCall::change("ecs", "UpdateService", r#"{"service":"ingest","cluster":"fleet"}"#)
                }
                None => {
                    let ranges = r#""ipRanges":{"items":[{"cidrIp":"10.0.0.0/8"}]}"#;
                    let item = format!(r#"{{"ipProtocol":"tcp","fromPort":443,"toPort":443,{ranges}}}"#);
                    let parameters =
                        format!(r#"{{"groupId":"sg-0aa1","ipPermissions":{{"items":[{item}]}}}}"#);
                    CloudCall::change("ec2", "AuthorizeSecurityGroupIngress", parameters)
                }
            };
            engineer.call(wire, at, &what);
        }
        let hours = if engineer.role.is_none() { (8.0, 19.0) } else { (0.0, 24.0) };
        let next = next_by_day(at, 25 * 60 * SECOND, hours, 1, &mut engineer.random);
        agenda.note(next, Turn::Engineer(index));
    }
}
