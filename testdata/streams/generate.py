#!/usr/bin/env python3
"""Writes a sample of each back-end stream: a quiet day of forty cars, twelve charging stations and those who work with them.

    python3 generate.py            writes STREAM.ndjson, seven of them
    python3 generate.py --check    writes nothing; fails if the files are not what it would write

A line is a record in its envelope: {"_t": broker time in ms, "_p": partition, "_o": offset, "v": record}. Nothing in
here is an attack: people mistype passwords, a fleet operator unlocks ten vans at dawn, a car uploads hours late, a
workshop reads faults, an update fails on one car. No shipped rule may say a word about it. Between them the records
use every field of their schema. One seed, nothing but the standard library: the same files everywhere.
"""

import base64
import datetime
import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
START_MS = 1_748_822_400_000  # 2025-06-02T00:00:00Z
HOUR, MINUTE = 3_600_000, 60_000
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
PLACES = [("DE", 53.55, 9.99), ("FR", 48.86, 2.35), ("SE", 59.33, 18.07), ("ES", 40.42, -3.70)]
MODELS = ["Aurora E3", "Aurora E5", "Kestrel 2.0", "Packhorse Van"]


class Log:
    """The records of one topic of two partitions, put into broker order at the end."""

    def __init__(self, key):
        self.key, self.records = key, []

    def add(self, at, arrives=None, line=False, **value):
        value = {name: what for name, what in value.items() if what is not None}
        value = {"ts": START_MS + int(at), **value} if not line else value
        self.records.append((int(arrives or at + 40), len(self.records), value))

    def lines(self):
        offsets, out = [0, 0], []
        for at, _, value in sorted(self.records, key=lambda record: record[:2]):
            partition = sum(str(value.get(self.key, "")).encode()) % 2
            record = {"_t": START_MS + at, "_p": partition, "_o": offsets[partition], "v": value}
            offsets[partition] += 1
            out.append(json.dumps(record, separators=(",", ":"), ensure_ascii=False))
        return out


class World:
    """Cars, people, addresses."""

    def __init__(self, rng):
        self.rng = rng
        self.cars = []
        for i in range(40):
            region, lat, lon = PLACES[i % 4]
            vin = "XFW" + "".join(rng.choice(LETTERS) for _ in range(8)) + f"{110000 + i * 7}"
            self.cars.append({
                "vin": vin, "model": MODELS[3] if i < 10 else MODELS[i % 3], "region": region, "lat": lat, "lon": lon,
                "owner": f"owner-{i:03}@mail.example", "phone": f"ph-{rng.randrange(16**8):08x}",
                "ip": f"198.51.100.{i + 10}", "since": START_MS - (300 + i) * 24 * HOUR,
            })

    def hex(self, digits):
        return f"{self.rng.randrange(16**digits):0{digits}x}"

    def time(self, first=6, last=22):
        return self.rng.uniform(first, last) * HOUR


def security_events(world, log):
    rng = world.rng
    routine = [
        (102, "SEV_UDS_SECURITY_ACCESS_SUCCESSFUL"), (103, "SEV_UDS_SECURITY_ACCESS_FAILED"),
        (51, "SEV_FW_PACKET_BLOCKED_IPV4_MISMATCH"), (116, "SEV_UDS_CLEAR_DTC_SUCCESSFUL"),
        (33001, "SEV_SECOC_MAC_VERIFICATION_FAILED"), (33010, "SEV_CAN_ERRORSTATE_PASSIVE"),
        (33020, "SEV_V2X_MESSAGE_MALFORMED"), (106, "SEV_UDS_WRITE_DATA_SUCCESSFUL"), (33030, "SEV_DTC_STORED"),
    ]
    for n in range(220):
        car = world.cars[rng.randrange(40)]
        event_id, name = routine[n % len(routine)]
        at = world.time(0, 20)
        late = rng.choice([800, 900, 1500, 2 * HOUR])
        frame = bytes([0x23]) + rng.randbytes(5) + bytes([0, 1, 0])
        value = {
            "vin": car["vin"], "received_at": START_MS + int(at + late), "model": car["model"], "region": car["region"],
            "firmware": rng.choice(["tcu-4.2.1", "tcu-4.3.0"]), "protocol_version": 2, "idsm_instance": 12,
            "sensor_instance": n % 6, "ecu": rng.choice(["GW", "BCM", "TCU"]), "event_id": event_id, "event_name": name,
            "count": rng.choice([1, 1, 1, 2]), "severity": "low", "reporting_mode": "DETAILED", "signature_valid": True,
            "ids_message": base64.b64encode(frame).decode(),
        }
        if event_id in (102, 103, 106, 116):
            value |= {"client_address": 3712, "service": {106: 46, 116: 20}.get(event_id, 39), "subfunction": 2}
            value |= {"did": 61840 if event_id == 106 else 65535, "rid": 65535, "context_version": 1}
        if event_id == 51:
            value |= {"src": "10.0.3.7", "dst": "10.0.3.1", "dst_port": 13400, "firewall_rule": 17, "bus": "eth0"}
            value |= {"context": {"FirewallRuleId": 17, "ttl": 64}}
        if event_id == 33001:
            value |= {"pdu": rng.choice(["VehDyn_01", "Brake_03"]), "can_id": 0x1A0, "bus": "CAN_CHASSIS"}
        if event_id == 33010:
            value |= {"bus": "CAN_BODY"}
        if event_id == 33020:
            value |= {"peer": world.hex(16), "pattern": world.hex(12)}
        if event_id == 33030:
            value |= {"dtc": rng.choice(["P0420", "U0100", "B1342"])}
        log.add(at, at + late, **value)


def remote_commands(world, log):
    rng, number = world.rng, [0]

    def command(at, car, what, actor, kind, channel, **more):
        number[0] += 1
        base = {
            "cmd_id": f"c-{number[0]:05}", "command": what, "vin": car["vin"], "model": car["model"],
            "region": car["region"], "actor_id": actor, "actor_type": kind, "access_granted_at": car["since"],
            "channel": channel, "client_id": f"client-{channel}", "session_id": world.hex(12),
            "local_hour": int(at // HOUR) + 2, **more,
        }
        state = {"speed": 0.0, "gear": "P", "ignition": "off", "lat": car["lat"], "lon": car["lon"]}
        asleep = rng.random() < 0.05
        log.add(at, status="requested", **base)
        if asleep:
            log.add(at + 8000, status="queued", latency_ms=8000, result="vehicle_offline", **base)
        wait = 40 * MINUTE if asleep else 1200
        log.add(at + wait, status="delivered", latency_ms=wait, **base)
        log.add(at + wait + 900, status="executed", latency_ms=wait + 900, result="ok", vehicle_state=state, **base)

    for n in range(70):
        car = world.cars[rng.randrange(10, 40)]
        what = rng.choice(["unlock", "lock", "climate", "locate", "lock", "charge_set"])
        more = {"amps": 16.0, "charge_limit": 80.0} if what == "charge_set" else {}
        command(
            world.time(5, 21), car, what, car["owner"], "owner", "app", mfa=n % 3 == 0, app_id="com.example.car",
            app_version="7.4.0", attestation="passed", device_id=car["phone"], src_ip=car["ip"], country=car["region"],
            user_agent="CarApp/7.4", consent_id="tos-12", **more)
    for i, car in enumerate(world.cars[:10]):
        # The parcel service opens its vans at dawn and locks them at night.
        for hour, what in ((4.5, "unlock"), (18, "lock")):
            command(hour * HOUR + i * 9000, car, what, "dispatch@parcels.example", "fleet_operator", "fleet_api")
    for i in range(3):
        # A workshop has an order for what it does.
        command(9 * HOUR + i * HOUR, world.cars[20 + i], "diag_read", "lift-2@dealer.example", "dealer",
                "dealer_portal", work_order_id=f"wo-{i}", mfa=True)
    for i in range(6):
        command(11 * HOUR + i * 4000, world.cars[12 + i], "sw_install", "campaigns", "service", "admin",
                campaign_id="camp-118", campaign_approved=True)


def ota(world, log):
    rng = world.rng
    campaign = {
        "campaign_id": "camp-118", "ecu": "TCU", "artifact": "tcu-4.3.0.img", "sha256": "ab" * 32,
        "signer_key_id": "d3" * 16, "from_version": "4.2.1", "to_version": "4.3.0", "from_build": 4201, "to_build": 4300,
    }
    people = {"creator": "lena@example", "target_count": 30, "requested_count": 30}
    for minute, action, who in ((0, "campaign_created", "lena@example"), (30, "campaign_approved", "omar@example"),
                                (60, "campaign_started", "omar@example"), (900, "campaign_finished", "omar@example")):
        approver = "omar@example" if minute else None
        log.add(6 * HOUR + minute * MINUTE, record_id=f"s-{minute}", action=action, actor_id=who, approver=approver,
                src_ip="10.20.0.8", **campaign, **people)
    for i, role in enumerate(("targets", "snapshot", "timestamp")):
        log.add(6 * HOUR + (40 + i) * MINUTE, action="metadata_published", campaign_id="camp-118", repo="director",
                role=role, metadata_version=118, known_version=117, expires=START_MS + 7 * 24 * HOUR, success=True)
    steps = ["campaign_accepted", "EcuDownloadStarted", "EcuDownloadCompleted", "EcuInstallationStarted",
             "EcuInstallationApplied", "EcuInstallationCompleted", "version_report"]
    for i, car in enumerate(world.cars[:30]):
        at, late = 7.2 * HOUR + rng.uniform(0, 10) * HOUR, rng.choice([500, 900, 3 * HOUR])
        for n, action in enumerate(steps):
            bad = i == 4 and action == "EcuDownloadCompleted"
            at += 4 * MINUTE
            log.add(at, at + late, received_at=START_MS + int(at + late), record_id=f"d-{i}-{n}", action=action,
                    vin=car["vin"], model=car["model"], region=car["region"], depot="mirror-" + car["region"].lower(),
                    src_ip=car["ip"], ecu_serial=f"TC{i:06}", hardware_id="tcu-g4", success=not bad,
                    result="DOWNLOAD_FAILED" if bad else "OK", result_code=5 if bad else 0, bytes=48_110_592,
                    signature_valid=True if n >= 2 else None, **campaign,
                    installed_version="4.3.0" if action == "version_report" else None,
                    attacks_detected="" if action == "version_report" else None)
            if bad:
                log.add(at + MINUTE, record_id="d-4-r", action="DevicePaused", vin=car["vin"], success=True, **campaign)
    log.add(15 * HOUR, action="EcuInstallationCompleted", vin=world.cars[33]["vin"], campaign_id="camp-090", ecu="HU",
            from_build=220, to_build=210, rollback_approved=True, success=True, result="OK", artifact="hu-2.1.img")


def api_gateway(world, log):
    rng = world.rng
    clients = {
        "car-app": ("app", "owner", "/vehicles/{vin}/status"), "dealer-portal": ("dealer_portal", "dealer", "/vehicles/{vin}/service"),
        "insurer": ("partner", None, "/vehicles/{vin}/odometer"), "parcels": ("fleet", "fleet_operator", "/vehicles/{vin}/location"),
    }
    for n in range(200):
        client = rng.choices(list(clients), [70, 12, 6, 12])[0]
        kind, actor, route = clients[client]
        car = world.cars[rng.randrange(10)] if client == "parcels" else world.cars[rng.randrange(10, 40)]
        subject = {"owner": car["owner"], "dealer": f"lift-{n % 4}@dealer.example"}.get(actor, actor and "dispatch@parcels.example")
        at = world.time(5, 21)
        issued = START_MS // 1000 + int(at // 1000) - 600
        log.add(at, request_id=world.hex(16), trace_id=world.hex(32), host="api.example", method="GET", route=route,
                path=route.replace("{vin}", car["vin"]), query="lang=en" if n % 5 == 0 else None,
                status=rng.choices([200, 304, 404, 401], [94, 3, 1, 2])[0], bytes_in=420, bytes_out=rng.randrange(300, 4000),
                latency_ms=rng.randrange(8, 220), response_flags="-", waf_action="allow", rate_limit_remaining=900,
                client_ip=car["ip"] if kind == "app" else "203.0.113.40", forwarded_for=car["ip"], country=car["region"],
                asn=64500, user_agent="CarApp/7.4" if kind == "app" else "client/2", client_id=client, client_type=kind,
                subject=subject, actor_type=actor, org_id="dealer-7" if actor == "dealer" else None,
                scopes=["vehicle:read"], session_id=world.hex(12), vin=car["vin"], owner_id=car["owner"],
                work_order_id=f"wo-{n}" if actor == "dealer" else None, items=1, tls=tls(world, kind),
                jwt={"iss": "https://id.example", "aud": "vehicles", "kid": "k-2025-05", "alg": "RS256",
                     "jti": world.hex(20), "iat": issued, "exp": issued + 3600})


def tls(world, kind):
    """Partners come with a certificate."""
    what = {"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256"}
    if kind == "partner":
        what |= {"client_cert_fp": "5c" * 20, "san": "insurer.example"}
    return what


def identity(world, log):
    rng = world.rng
    for n in range(220):
        car = world.cars[rng.randrange(40)]
        at = world.time(5, 22)
        base = {
            "account": car["owner"], "account_type": "owner", "src_ip": car["ip"], "country": car["region"], "asn": 64500,
            "user_agent": "CarApp/7.4", "client_id": "car-app", "device_id": car["phone"], "is_new_device": False,
            "risk_level": "low", "region": car["region"],
        }
        if rng.random() < 0.15:
            log.add(at - 20_000, record_id=world.hex(12), action="login", outcome="failure", reason="bad_password", **base)
        log.add(at, record_id=world.hex(12), action="login", outcome="success", mfa_method="push",
                session_id=world.hex(12), **base)
        if n % 40 == 0:
            log.add(at + 9000, action="mfa_challenge", outcome="failure", reason="mfa_timeout", mfa_method="push", **base)
        if n % 30 == 0:
            log.add(at + 60_000, action="password_reset_requested", outcome="success", **base)
            log.add(at + 90_000, action="password_reset", outcome="success", **base)
    # A car is sold: the seller confirms, the dealer transfers, the buyer adds it.
    sold = {"vin": world.cars[15]["vin"], "old_owner": world.cars[15]["owner"], "new_owner": "buyer@mail.example",
            "consent_id": "cf-2201", "ticket_id": "sale-18", "org_id": "dealer-7"}
    staff = {"actor_id": "sales-1@dealer.example", "actor_type": "dealer", "outcome": "success"}
    log.add(10 * HOUR, action="ownership_transfer", account="buyer@mail.example", account_type="owner", **sold, **staff)
    log.add(10 * HOUR + 5 * MINUTE, action="primary_user_change", account="buyer@mail.example", **sold, **staff)
    log.add(10 * HOUR + 9 * MINUTE, action="vehicle_add", account="buyer@mail.example", outcome="success", vin=sold["vin"])
    log.add(11 * HOUR, action="role_granted", account="new-colleague@example", account_type="employee", outcome="success",
            role="remote_operator", actor_id="hr@example", actor_type="employee", requester="hr@example",
            approver="head@example", ticket_id="hr-4411")


def kafka_audit(world, log):
    rng = world.rng
    work = [
        ("User:CN=ingest,O=Example", "10.0.0.7", "Allowed", "WRITE", "Topic", "vehicle.telemetry", "Produce"),
        ("User:fleetwarden", "10.0.0.9", "Allowed", "READ", "Topic", "vehicle.telemetry", "Fetch"),
        ("User:fleetwarden", "10.0.0.9", "Allowed", "READ", "Group", "fleetwarden", "JoinGroup"),
        ("User:analytics", "10.0.0.12", "Allowed", "DESCRIBE", "Topic", "vehicle.ota", "Metadata"),
        ("User:analytics", "10.0.0.12", "Denied", "READ", "Topic", "backend.identity", "Fetch"),
    ]
    for n in range(240):
        weights = [40, 30, 15, 14, 1]
        principal, host, decision, operation, kind, name, request = rng.choices(work, weights)[0]
        old = n % 4 == 0  # a cluster that still runs the older authorizer
        spelled = operation.capitalize() if old else operation
        word = "Operation" if old else "operation"
        rule = "DefaultDeny" if decision == "Denied" else "MatchingAcl(acl=" + principal + ")"
        message = (f"Principal = {principal} is {decision} {word} = {spelled} from host = {host} on resource = "
                   f"{kind}:LITERAL:{name} for request = {request} with resourceRefCount = 1")
        at, cluster = world.time(0, 24), "cars-old" if old else "cars"
        if n % 6 == 1:  # a shipper that sends the line alone
            wall = datetime.datetime.fromtimestamp((START_MS + int(at)) / 1000, datetime.timezone.utc)
            line = f"[{wall:%Y-%m-%d %H:%M:%S},{int(at) % 1000:03}] {'INFO' if decision == 'Denied' else 'DEBUG'} {message}"
            log.add(at, line=True, cluster=cluster, broker=f"kafka-{n % 3}", log=f"{line} (kafka.authorizer.logger)")
            continue
        log.add(at, cluster=cluster, broker=f"kafka-{n % 3}",
                level="INFO" if decision == "Denied" else "DEBUG", message=message + ("" if old else f" based on rule {rule}"),
                principal=principal, decision=decision, operation=spelled, host=host, resource_type=kind,
                pattern_type="LITERAL", resource=name, request=request, resource_ref_count=1,
                acl_rule=None if old else rule)


def charging(world, log):
    rng, number = world.rng, [0]

    def message(at, station, action, arrives=None, direction="in", kind="call", **more):
        number[0] += 1
        base = {k: station[k] for k in ("station_id", "connection_id", "src_ip", "ocpp_version", "security_profile",
                                        "site_id", "region")}
        log.add(at, arrives, received_at=START_MS + int(arrives or at + 40), direction=direction, message_type=kind,
                message_id=f"m-{number[0]:06}", action=action, **base, **more)

    for i in range(12):
        new = i % 2 == 0
        station = {
            "station_id": f"CP-{i:04}", "connection_id": world.hex(12), "src_ip": f"192.0.2.{i + 20}",
            "ocpp_version": "2.0.1" if new else "1.6", "security_profile": 3 if new else 1,
            "site_id": f"site-{i // 3}", "region": PLACES[i % 4][0],
        }
        about = {"vendor": "Voltine", "model": "Twin 22", "serial_number": f"VT{i:07}", "firmware_version": "3.1.4"}
        message(HOUR + i * MINUTE, station, "BootNotification", boot_reason="ScheduledReset" if new else None,
                certificate_fp=station["station_id"].encode().hex() if new else None, **about)
        message(HOUR + i * MINUTE + 300, station, "BootNotification", direction="out", kind="result", status="Accepted")
        for name in ("StartupOfTheDevice", "MaintenanceLoginAccepted")[: 2 if i == 3 else 1]:
            message(HOUR + i * MINUTE + 900, station, "SecurityEventNotification", security_event=name,
                    tech_info="scheduled", work_order_id="visit-5" if i == 3 else None)
        for hour in range(2, 23, 3):
            message(hour * HOUR + i * 7000, station, "Heartbeat")
        session(world, message, station, i, new)
        if i == 5:
            # An hour without network: what happened meanwhile arrives afterwards, with its own time.
            message(14 * HOUR, station, "SecurityEventNotification", 15.1 * HOUR, security_event="SettingSystemTime",
                    clock_shift_s=-1.5, is_queued=True)
        if i == 8:
            fleet = {"campaign_id": "fw-31", "firmware_version": "3.1.5"}
            message(3 * HOUR, station, "UpdateFirmware", direction="out", operator_id="noc-2", **fleet)
            for n, status in enumerate(("Downloading", "Downloaded", "SignatureVerified", "Installing", "Installed")):
                message(3 * HOUR + n * 3 * MINUTE, station, "FirmwareStatusNotification", firmware_status=status, **fleet)
            message(3.5 * HOUR, station, "SecurityEventNotification", security_event="FirmwareUpdated", **fleet)
            message(4 * HOUR, station, "SetVariables", direction="out", variable="HeartbeatInterval", operator_id="noc-2")
            message(4 * HOUR + 200, station, "SetVariables", kind="error", error_code="NotImplemented")


def session(world, message, station, i, new):
    """One car charges for an hour."""
    rng = world.rng
    at = world.time(6, 18)
    car, token = world.cars[i], f"04{world.hex(12)}"
    where = {"evse_id": 1, "connector_id": 1} if new else {"connector_id": 1}
    charge = {"transaction_id": world.hex(8), "id_token": token, **where}
    message(at, station, "Authorize", id_token=token)
    message(at + 200, station, "Authorize", direction="out", kind="result", auth_status="Accepted", id_token=token)
    message(at + 5000, station, "StatusNotification", status="Occupied" if new else "Charging", **where)
    for n in range(13):
        meter = {"energy_wh": 880.0 * n, "power_w": 10_600.0, "current_a": 15.4, "voltage_v": 230.1}
        if new:
            phase = "Started" if n == 0 else "Ended" if n == 12 else "Updated"
            message(at + 9000 + n * 5 * MINUTE, station, "TransactionEvent", event_type=phase, seq_no=n, vin=car["vin"],
                    soc=40.0 + n, **charge, **meter)
        else:
            phase = "StartTransaction" if n == 0 else "StopTransaction" if n == 12 else "MeterValues"
            message(at + 9000 + n * 5 * MINUTE, station, phase, **charge, **meter)


STREAMS = {
    "vehicle_security_events": ("vin", security_events), "remote_commands": ("vin", remote_commands),
    "ota": ("campaign_id", ota), "api_gateway": ("client_id", api_gateway), "identity": ("account", identity),
    "kafka_audit": ("principal", kafka_audit), "charging": ("station_id", charging),
}


def main():
    failed = False
    for seed, (stream, (key, make)) in enumerate(STREAMS.items()):
        log = Log(key)
        make(World(random.Random(20250602 + seed)), log)
        path, text = HERE / f"{stream}.ndjson", "\n".join(log.lines()) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path.name} is not what generate.py writes", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
