#!/usr/bin/env python3
"""Writes the sample that `fleetwarden demo` plays: half a minute of a fleet of 300 vehicles, with attacks in it.

    python3 generate.py            writes telemetry.ndjson, diagnostics.ndjson, cloudtrail.ndjson and truth.jsonl
    python3 generate.py --check    writes nothing; fails if the files are not what it would write

A line is a record in its envelope: {"_t": broker time in ms, "_p": partition, "_o": offset, "v": record}. `truth.jsonl`
has a line for each attack: the rule that must find it, the key of its alerts, other rules that tell of it too, the
broker times of its first and last record. Nothing else in the files may raise an alert. One seed, nothing but the standard library: the same files
everywhere.
"""

import json
import math
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
START_MS = 1_748_851_200_000  # 2025-06-02T08:00:00Z
SPAN_MS = 28_000
ACCOUNT, OTHER_ACCOUNT = "418273645501", "990017264538"

MODELS = [
    # name, electric, share of the fleet
    ("Aurora E3", True, 0.35),
    ("Aurora E5", True, 0.20),
    ("Kestrel 2.0", False, 0.30),
    ("Packhorse Van", False, 0.15),
]
PLACES = [
    # region, latitude, longitude
    ("DE", 53.55, 9.99), ("DE", 48.14, 11.58), ("DE", 50.94, 6.96), ("FR", 48.86, 2.35),
    ("FR", 45.76, 4.84), ("SE", 59.33, 18.07), ("ES", 40.42, -3.70), ("IT", 45.46, 9.19),
]
FIRMWARE = ["tcu-4.2.1", "tcu-4.2.1", "tcu-4.2.1", "tcu-4.1.9", "tcu-4.3.0"]
VIN_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"


class Log:
    """The records of one topic, put into broker order at the end."""

    def __init__(self):
        self.records = []

    def add(self, at_ms, value):
        self.records.append((int(at_ms), len(self.records), value))

    def lines(self):
        out = []
        for offset, (at, _, value) in enumerate(sorted(self.records, key=lambda r: r[:2])):
            record = {"_t": START_MS + at, "_p": 0, "_o": offset, "v": value}
            out.append(json.dumps(record, separators=(",", ":")))
        return out


class Attacks:
    """What was done, and what must be found."""

    def __init__(self):
        self.lines = []

    def add(self, stream, rule, key, entity, start, end, story, also=()):
        self.lines.append({
            "id": "", "stream": stream, "rule": rule, "key": key, "also": also, "entity": {"type": entity[0], "value": entity[1]},
            "start_ms": START_MS + int(start), "end_ms": START_MS + int(end), "story": story,
        })

    def text(self):
        self.lines.sort(key=lambda line: (line["start_ms"], line["rule"]))
        for number, line in enumerate(self.lines, 1):
            line["id"] = f"attack-{number:02}"
        return [json.dumps(line, separators=(",", ":")) for line in self.lines]


# ---------------------------------------------------------------------------------------------------------- telemetry


class Car:
    """One vehicle: where it is, what it does, and what its telematics unit says about it."""

    def __init__(self, number, rng):
        self.rng = rng
        weights = [share for _, _, share in MODELS]
        self.model, self.electric, _ = rng.choices(MODELS, weights)[0]
        tail = "".join(rng.choice(VIN_LETTERS) for _ in range(5))
        self.vin = f"XFW{'E' if self.electric else 'C'}{tail}S{'HL'[number % 2]}{100_000 + 37 * number}"
        self.region, lat, lon = rng.choice(PLACES)
        self.lat, self.lon = lat + rng.gauss(0, 0.09), lon + rng.gauss(0, 0.14)
        self.device, self.boot = f"tcu-{rng.getrandbits(32):08x}", f"{rng.getrandbits(24):06x}"
        self.ip = f"100.{rng.randint(64, 127)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
        self.firmware = rng.choice(FIRMWARE)
        self.seq = rng.randint(2_000, 90_000)
        self.odometer = rng.uniform(1_200, 168_000)
        self.soc = rng.uniform(24, 92)
        self.coolant = rng.uniform(82, 94)
        self.heading = rng.uniform(0, 360)
        self.cruise = rng.choice([32, 48, 52, 78, 98, 118, 126])
        self.state = rng.choices(["driving", "parked", "charging"], [0.5, 0.36, 0.14])[0]
        if self.state == "charging" and not self.electric:
            self.state = "parked"
        self.speed = self.cruise if self.state == "driving" else 0.0
        self.dtcs = rng.choices([0, 1, 2, 5], [0.88, 0.07, 0.04, 0.01])[0]

    def step(self, seconds):
        """Lets time go by: the values stay consistent with each other."""
        if self.state == "driving":
            self.speed = max(0.0, min(150.0, self.speed + self.rng.gauss(0, 2.2) + 0.15 * (self.cruise - self.speed)))
            metres = self.speed / 3.6 * seconds
            self.odometer += metres / 1000
            self.heading = (self.heading + self.rng.gauss(0, 3)) % 360
            self.lat += metres * math.cos(math.radians(self.heading)) / 111_320
            self.lon += metres * math.sin(math.radians(self.heading)) / (111_320 * math.cos(math.radians(self.lat)))
            self.soc -= metres / 1000 * 0.19
        if self.state == "charging":
            self.soc = min(100.0, self.soc + seconds * 0.021)
        self.seq += 1

    def message(self, ts):
        """What the unit sends, with event time `ts` in ms after the start."""
        driving = self.state == "driving"
        out = {
            "vin": self.vin, "ts": START_MS + int(ts), "seq": self.seq, "device_id": self.device,
            "boot_id": self.boot, "src_ip": self.ip, "model": self.model, "region": self.region,
            "firmware": self.firmware, "ignition": "on" if driving else "off", "gear": "D" if driving else "P",
            "speed": round(self.speed, 1), "odometer": round(self.odometer, 2),
            "lat": round(self.lat, 5), "lon": round(self.lon, 5), "heading": round(self.heading), "fix_type": 3,
            "doors_locked": driving or self.seq % 9 != 0, "dtc_count": self.dtcs,
        }
        if self.electric:
            out |= {"soc": round(self.soc, 1), "charging": self.state == "charging", "alarm_flags": 0}
        else:
            rpm = 780 + self.speed * 17 + self.rng.gauss(0, 40) if driving else 0
            out |= {"rpm": round(rpm), "coolant_c": round(self.coolant + self.rng.gauss(0, 0.4), 1)}
        return out


def live(car, log, every_ms, start=0):
    """A car that is in reach: its messages arrive within a second."""
    at = start + car.rng.uniform(0, every_ms)
    while at < SPAN_MS:
        car.step(every_ms / 1000)
        log.add(at, car.message(at - car.rng.uniform(70, 900)))
        at += every_ms * car.rng.uniform(0.95, 1.05)


def backlog(car, log, arrives, minutes, frozen=False):
    """A car that comes back into reach: minutes of driving arrive within two seconds, oldest first."""
    count = minutes * 6
    car.state, car.cruise, car.speed = "driving", 74, 70.0
    for number in range(count):
        odometer = car.odometer
        car.step(10)
        if frozen:
            car.odometer = odometer
        at = arrives + number * 2_000 / count
        log.add(at, car.message(arrives - (count - number) * 10_000))
    return arrives + 2_000 * (count - 1) / count


def telemetry(rng, attacks):
    log = Log()
    cars = [Car(number, random.Random(rng.getrandbits(64))) for number in range(300)]
    for number, car in enumerate(cars[:-30]):
        live(car, log, 6_000 if car.state == "driving" else 14_000)
    for number, car in enumerate(cars[-30:-20]):  # out of reach until now
        backlog(car, log, 2_000 + number * 2_300, 2 + number % 3)

    twin = next(car for car in cars[-20:] if car.electric)
    twin.state, twin.speed = "parked", 0.0
    live(twin, log, 5_000)
    clone = Car(999, random.Random(rng.getrandbits(64)))
    clone.vin, clone.model, clone.electric, clone.region = twin.vin, twin.model, True, twin.region
    clone.state, clone.speed, clone.cruise, clone.ip = "driving", 61.0, 60, "203.0.113.66"
    live(clone, log, 4_000, start=5_500)
    first = min(at for at, _, v in log.records if v["device_id"] == clone.device)
    last = max(at for at, _, v in log.records if v["device_id"] == clone.device)
    attacks.add("telemetry", "vin-on-two-devices", [twin.vin], ("vehicle", twin.vin), first, last,
                "a second device reports as a parked car, driving, from an address outside the carrier's network")

    blocked = cars[-19]
    end = backlog(blocked, log, 15_000, 8, frozen=True)
    attacks.add("telemetry", "odometer-stands-still", [blocked.vin], ("vehicle", blocked.vin), 15_000, end,
                "a buffered trip of eight minutes at 70 km/h arrives, and the odometer did not move")

    injected = cars[-18]
    injected.state, injected.speed, injected.cruise = "driving", 47.0, 47
    for at in (9_200, 11_200, 13_200, 15_200):
        injected.step(2)
        log.add(at, injected.message(at - 310) | {"gear": "P"})
    attacks.add("telemetry", "vehicle-moves-in-park", [injected.vin], ("vehicle", injected.vin), 9_200, 15_200,
                "injected bus messages: 47 km/h with the lever in park")

    started = next(car for car in cars[-17:] if not car.electric)
    started.state, started.speed = "parked", 0.0
    for at in (21_400, 23_400, 25_400):
        started.step(2)
        log.add(at, started.message(at - 240) | {"rpm": 2_350 + at % 97})
    attacks.add("telemetry", "vehicle-moves-in-park", [started.vin], ("vehicle", started.vin), 21_400, 25_400,
                "an engine turns at 2,400/min although the ignition is off")
    skip = {id(car) for car in (twin, blocked, injected, started)}
    for car in cars[-20:]:
        if id(car) not in skip:
            live(car, log, 6_000 if car.state == "driving" else 14_000)
    return log, cars


# -------------------------------------------------------------------------------------------------------- diagnostics


def answer(vin, at, ecu, service, subfunction, response, nrc=None, **more):
    """One diagnostic request and how the ECU answered."""
    out = {"vin": vin, "ts": START_MS + int(at) - 180, "ecu": ecu, "service": service}
    if subfunction is not None:
        out["subfunction"] = subfunction
    out["response"] = response
    if nrc is not None:
        out["nrc"] = nrc
    return out | {"client_address": 3_712} | more


def workshop(rng, log, vin, start, tester):
    """An ordinary session: read, unlock (mistyped once in a while), write one value, clear the faults."""
    ecu, at = rng.choice(["BCM", "ECM", "TCM", "ADAS", "GW"]), start
    more = {"tester_id": tester, "session": 3, "remote": False}
    log.add(at, answer(vin, at, ecu, 16, 3, "positive", **more))
    for did in (61_840, 61_841, 61_844, 61_847):
        at += rng.uniform(250, 700)
        log.add(at, answer(vin, at, ecu, 34, None, "positive", did=did, **more))
    for wrong in range(rng.choices([0, 1, 2], [0.7, 0.2, 0.1])[0] + 1):
        at += rng.uniform(300, 900)
        log.add(at, answer(vin, at, ecu, 39, 1, "positive", **more))
        at += 120
        log.add(at, answer(vin, at, ecu, 39, 2, "negative", 53, **more))
    at += 700
    log.add(at, answer(vin, at, ecu, 39, 1, "positive", **more))
    log.add(at + 130, answer(vin, at + 130, ecu, 39, 2, "positive", **more))
    log.add(at + 600, answer(vin, at + 600, ecu, 46, None, "positive", did=61_840, **more))
    log.add(at + 1_100, answer(vin, at + 1_100, ecu, 20, None, "positive", **more))


def report(vin, at, ecu, event_id, name, count):
    """One report of a car's intrusion detection."""
    return {"vin": vin, "ts": START_MS + int(at) - 260, "ecu": ecu, "event_id": event_id, "event_name": name,
            "count": count, "idsm_instance": 17, "sensor_instance": 2, "reporting_mode": "BRIEF"}


def brute_force(log, vin, ecu, start, pace, tries, found=False):
    """Seed, wrong key, seed, wrong key …; the ECU soon says that there were too many."""
    at, more = start, {"session": 3, "remote": True, "client_address": 3_840}
    for number in range(tries):
        log.add(at, answer(vin, at, ecu, 39, 1, "positive", **more))
        at += pace / 2
        log.add(at, answer(vin, at, ecu, 39, 2, "negative", 54 if number % 4 == 3 else 53, **more))
        at += pace / 2
    if found:
        log.add(at, answer(vin, at, ecu, 39, 1, "positive", **more))
        at += pace / 2
        log.add(at, answer(vin, at, ecu, 39, 2, "positive", **more))
        log.add(at + 400, answer(vin, at + 400, ecu, 46, None, "positive", did=61_584, **more))
    return at


def diagnostics(rng, cars, attacks):
    log = Log()
    vins = [car.vin for car in cars if car.state == "parked"]
    rng.shuffle(vins)
    targets, vins = vins[:3], vins[3:]
    for number in range(18):
        workshop(rng, log, vins.pop(), rng.uniform(200, 22_000), f"tester-{number % 7:03}")
    for _ in range(40):  # fleet management reads a value over the air
        at, vin = rng.uniform(100, 27_500), rng.choice(vins)
        log.add(at, answer(vin, at, "GW", 34, None, "positive", did=61_840, remote=True, session=1))
    chatter = [(116, "SEV_UDS_CLEAR_DTC_SUCCESSFUL"), (120, "SEV_UDS_ECU_RESET_SUCCESSFUL"),
               (55, "SEV_FW_PACKET_BLOCKED_UDP_MISMATCH"), (100, "SEV_UDS_SECURITY_ACCESS_NEEDED"),
               (103, "SEV_UDS_SECURITY_ACCESS_FAILED")]
    for _ in range(60):
        at, (event_id, name) = rng.uniform(100, 27_500), rng.choice(chatter)
        count = 1 if event_id == 103 else rng.choice([1, 1, 2, 7, 30])
        log.add(at, report(vins.pop() if event_id == 103 else rng.choice(vins), at, "GW", event_id, name, count))

    rule, slow = "uds-seed-key-bruteforce", "uds-invalid-key-repeated"
    end = brute_force(log, targets[0], "BCM", 6_400, 700, 9)
    attacks.add("diagnostics", rule, [targets[0], "BCM"], ("vehicle", targets[0]), 6_400, end,
                "nine wrong keys for the body computer in six seconds, over the air", [[slow, [targets[0]]]])
    end = brute_force(log, targets[1], "GW", 16_300, 600, 8, found=True)
    attacks.add("diagnostics", rule, [targets[1], "GW"], ("vehicle", targets[1]), 16_300, end,
                "eight wrong keys for the gateway, then the right one, then a write", [[slow, [targets[1]]]])
    log.add(22_800, report(targets[2], 22_800, "ADAS", 103, "SEV_UDS_SECURITY_ACCESS_FAILED", 64))
    attacks.add("diagnostics", rule, [targets[2], "ADAS"], ("vehicle", targets[2]), 22_800, 22_800,
                "one report of the car's own intrusion detection that stands for 64 failures")
    return log


# --------------------------------------------------------------------------------------------------------- cloudtrail


def user(name, key):
    return {"type": "IAMUser", "principalId": f"AIDA{key}", "arn": f"arn:aws:iam::{ACCOUNT}:user/{name}",
            "accountId": ACCOUNT, "accessKeyId": f"AKIA{key}", "userName": name}


def role(name, session, key):
    issuer = {"type": "Role", "principalId": f"AROA{key}", "arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
              "accountId": ACCOUNT, "userName": name}
    return {"type": "AssumedRole", "principalId": f"AROA{key}:{session}",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}", "accountId": ACCOUNT,
            "accessKeyId": f"ASIA{key}", "sessionContext": {"sessionIssuer": issuer, "attributes": {
                "creationDate": "2025-06-02T06:11:09Z", "mfaAuthenticated": "true"}}}


class Trail:
    """Events of one account, delivered a few at a time."""

    def __init__(self, rng):
        self.rng, self.events = rng, []

    def add(self, at, who, service, name, parameters, address, error=None, read=False):
        # CloudTrail writes whole seconds, and delivers later.
        second = (START_MS + int(at)) // 1000 - self.rng.randint(1, 4)
        day = second - START_MS // 1000 + 8 * 3600
        event = {
            "eventVersion": "1.09", "userIdentity": who,
            "eventTime": f"2025-06-02T{day // 3600:02}:{day // 60 % 60:02}:{day % 60:02}Z",
            "eventSource": f"{service}.amazonaws.com", "eventName": name, "awsRegion": "eu-central-1",
            "sourceIPAddress": address, "userAgent": "aws-sdk-go-v2/1.36.3 os/linux lang/go#1.24",
        }
        if error:
            event |= {"errorCode": error, "errorMessage": "not authorized to perform this operation"}
        event |= {
            "requestParameters": parameters, "responseElements": None, "eventID": self.uuid(),
            "readOnly": read, "eventType": "AwsApiCall", "managementEvent": True,
            "recipientAccountId": ACCOUNT, "eventCategory": "Management",
        }
        self.events.append((int(at), event))

    def uuid(self):
        digits = f"{self.rng.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def log(self):
        log, waiting = Log(), []
        for at, event in sorted(self.events, key=lambda e: e[0]):
            waiting.append(event)
            if len(waiting) >= self.rng.randint(1, 3):
                log.add(at, {"Records": waiting})
                waiting = []
        if waiting:
            log.add(SPAN_MS, {"Records": waiting})
        return log


def permission(port, network):
    return {"ipProtocol": "tcp", "fromPort": port, "toPort": port, "groups": {},
            "ipRanges": {"items": [{"cidrIp": network}]}, "ipv6Ranges": {}, "prefixListIds": {}}


def ordinary(trail, rng):
    """A working day in the account of a fleet's back end, with acts that look like attacks and are none."""
    deploy, ops = role("deploy", "ci-4411", "DEPLOY7Q2M"), user("mara", "MARA83KDJ2")
    ingest, auditor = role("telemetry-ingest", "i-0aa1", "INGEST55PX"), user("tom", "TOM0091LSK")
    office, inside = "198.51.100.24", "10.20.4.17"
    reads = [("ec2", "DescribeInstances", ops), ("sts", "GetCallerIdentity", deploy), ("iam", "ListUsers", auditor),
             ("s3", "GetBucketLocation", ingest), ("kms", "Decrypt", ingest), ("ec2", "DescribeFlowLogs", auditor),
             ("cloudtrail", "GetTrailStatus", auditor), ("rds", "DescribeDBSnapshots", ops),
             ("ssm", "GetParameter", deploy), ("kinesis", "DescribeStream", ingest)]
    for _ in range(260):
        service, name, who = rng.choice(reads)
        trail.add(rng.uniform(0, 27_000), who, service, name, None, inside if who is ingest else office, read=True)
    full = [{"readWriteType": "All", "includeManagementEvents": True, "dataResources": [],
             "excludeManagementEventSources": []}]
    near_misses = [
        (1_900, deploy, "ec2", "AuthorizeSecurityGroupIngress", {"groupId": "sg-0c0ffee1", "ipPermissions": {
            "items": [permission(443, "10.0.0.0/8"), permission(22, f"{office}/32")]}}, None),
        (4_100, deploy, "ec2", "ModifySnapshotAttribute", {"snapshotId": "snap-0b5c0001", "createVolumePermission": {
            "add": {"items": [{"userId": ACCOUNT}]}}}, None),
        (7_700, ops, "iam", "UpdateLoginProfile", {"userName": "mara", "passwordResetRequired": False}, None),
        (9_900, auditor, "cloudtrail", "PutEventSelectors", {"trailName": "fleet", "eventSelectors": full}, None),
        (12_800, ops, "cloudtrail", "StopLogging", {"name": "fleet"}, "AccessDenied"),
        (14_600, ops, "iam", "CreateLoginProfile", {"userName": "lea"}, "EntityAlreadyExistsException"),
        (20_300, deploy, "logs", "DeleteLogGroup", {"logGroupName": "/aws/lambda/thumbnail"}, None),
        (23_500, ops, "ec2", "RevokeSecurityGroupIngress", {"groupId": "sg-0c0ffee2", "ipPermissions": {
            "items": [permission(22, "0.0.0.0/0")]}}, None),
    ]
    for at, who, service, name, parameters, error in near_misses:
        trail.add(at, who, service, name, parameters, office, error)


def cloudtrail(rng, attacks):
    trail = Trail(rng)
    ordinary(trail, rng)
    thief, arn, address = user("ci-legacy", "LEGACY04ZT"), f"arn:aws:iam::{ACCOUNT}:user/ci-legacy", "203.0.113.9"

    def act(at, service, name, parameters, rule, key, story):
        trail.add(at, thief, service, name, parameters, address)
        attacks.add("cloudtrail", rule, [ACCOUNT, *key], ("user", arn), at, at + 1_500, story)

    act(2_600, "ec2", "AuthorizeSecurityGroupIngress", {"groupId": "sg-0bad5ec7", "ipPermissions": {
        "items": [permission(443, "10.0.0.0/8"), permission(22, "0.0.0.0/0")]}},
        "aws-security-group-open-to-world", ["sg-0bad5ec7"],
        "SSH of the ingest machines opened to the internet, beside a harmless rule")
    act(11_300, "iam", "CreateLoginProfile", {"userName": "backup-operator", "passwordResetRequired": False},
        "aws-login-profile-for-another-user", ["backup-operator"],
        "a forgotten build user gives a privileged user a console password")
    act(18_200, "ec2", "DeleteFlowLogs", {"DeleteFlowLogsRequest": {"FlowLogId": {
        "tag": 1, "content": "fl-0d1e5a11"}}}, "aws-logging-impaired", [arn, "DeleteFlowLogs"],
        "flow logs of the vehicles' network deleted")
    act(19_600, "cloudtrail", "StopLogging", {"name": "fleet"}, "aws-logging-impaired", [arn, "StopLogging"],
        "the trail stopped")
    act(24_700, "ec2", "ModifySnapshotAttribute", {"snapshotId": "snap-0f1ee7db", "attributeType":
        "CREATE_VOLUME_PERMISSION", "createVolumePermission": {"add": {"items": [{"userId": OTHER_ACCOUNT}]}}},
        "aws-snapshot-or-image-shared-outside", ["snap-0f1ee7db"],
        "the disk of the position database shared with an unknown account")
    return trail.log()


def main():
    rng, attacks = random.Random(20_250_602), Attacks()
    cars_log, cars = telemetry(rng, attacks)
    files = {
        "telemetry.ndjson": cars_log.lines(),
        "diagnostics.ndjson": diagnostics(rng, cars, attacks).lines(),
        "cloudtrail.ndjson": cloudtrail(rng, attacks).lines(),
        "truth.jsonl": attacks.text(),
    }
    stale = []
    for name, lines in files.items():
        text = "".join(line + "\n" for line in lines)
        if len(lines) > 2_000:
            sys.exit(f"{name}: {len(lines)} records are more than the demo's broker keeps")
        if "--check" not in sys.argv[1:]:
            (HERE / name).write_text(text, encoding="utf-8")
        elif (HERE / name).read_text(encoding="utf-8") != text:
            stale.append(name)
        print(f"{name}: {len(lines)} lines, {len(text) // 1024} KiB")
    if stale:
        sys.exit(f"not what generate.py writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
