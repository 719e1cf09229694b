"""A sink stands still under full load, and comes back.

Detection must go on, memory stay flat, the group keep its members and its partitions; and afterwards everything must arrive.
"""

import json
import pathlib
import threading
import time

from confluent_kafka.admin import NewTopic

import faults
import suite
from servers import Process, free_port

# So many partitions that the limit of alerts a second and partition cuts nothing off.
TOPIC, PARTITIONS, GROUP = "pressure.telemetry", 32, "pressure"
RATE = 3_000
CONFIG = """
rules   = "rules"
schemas = "{schemas}"
workers = 2

[kafka]
brokers = "{brokers}"
group   = "{group}"
dead_letter_topic = "{dead_letters}"

# Both far shorter than the sink stands still: a member that did not do its part would be put out.
[kafka.consumer]
"session.timeout.ms"   = 6000
"max.poll.interval.ms" = 8000

[streams.telemetry]
topic = "{topic}"

[http]
listen = "127.0.0.1:{http}"

[sinks.siem]
type     = "opensearch"
url      = "{url}"
timeout  = "2s"
template = false
"""
RULE = """
title    = "A fast car"
severity = "info"
risk     = 1
stream   = "telemetry"

[match]
where = "speed > 100"
"""


class Load(threading.Thread):
    """Writes records of a fleet at a steady pace until it is stopped."""

    def __init__(self, cluster, one_in):
        super().__init__(daemon=True)
        self.cluster, self.one_in, self.going, self.sent, self.error = cluster, one_in, True, 0, None
        self.start()

    def run(self):
        began = time.monotonic()
        padding = "x" * 300
        try:
            while self.going:
                ahead = self.sent / RATE - (time.monotonic() - began)
                if ahead > 0:
                    time.sleep(min(ahead, 0.05))
                    continue
                vin = f"XFWE{self.sent % 5_000:013}"
                speed = 130 if self.sent % self.one_in == 0 else 50
                self.cluster.send(TOPIC, json.dumps({"vin": vin, "ts": int(time.time() * 1000), "speed": speed, "note": padding}), vin)
                self.sent += 1
        except Exception as error:  # told by finish()
            self.error = error

    def finish(self):
        self.going = False
        self.join(60)
        if self.error is not None:
            raise AssertionError(f"the producer did not get through: {self.error}")
        self.cluster.flush()


class Program(suite.Fleetwarden):
    def __init__(self, folder, whole, url):
        Process.__init__(self, "fleetwarden", folder)
        self.binary, self.http = whole.binary, free_port()
        self.url, self.rules, self.config = f"http://127.0.0.1:{self.http}", folder / "rules", folder / "fleetwarden.toml"
        self.rules.mkdir()
        (self.rules / "fast-car.toml").write_text(RULE)
        self.config.write_text(CONFIG.format(schemas=suite.ROOT / "schemas", brokers=whole.kafka.address, group=GROUP, topic=TOPIC,
                                             dead_letters=suite.DEAD_LETTERS, http=self.http, url=url))

    def memory(self):
        """Resident bytes."""
        for line in pathlib.Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0


class Pressure:
    def __init__(self, whole, seconds):
        self.suite, self.report, self.seconds = whole, whole.report, seconds
        self.cluster, self.program, self.siem = whole.cluster, None, None

    def run(self):
        for done in self.cluster.admin.create_topics([NewTopic(
                TOPIC, PARTITIONS, 1, config={"message.timestamp.type": "LogAppendTime", "compression.type": "lz4"})]).values():
            done.result(30)
        self.siem = faults.Siem()
        self.program = Program(self.suite.folder / "pressure", self.suite, self.siem.url)
        try:
            self.program.start()
            self.stands_still()
        finally:
            self.siem.status = None
            self.program.stop()
            self.siem.stop()

    def members(self):
        """The members of the group with their partitions, as the broker knows them."""
        described = self.cluster.admin.describe_consumer_groups([GROUP])[GROUP].result(20)
        return {member.member_id: sorted((p.topic, p.partition) for p in member.assignment.topic_partitions)
                for member in described.members}

    def cold(self):
        return self.program.total("fleetwarden_blind_total", reason="cold_start")

    def committed(self):
        return sum(self.cluster.committed_of(TOPIC, PARTITIONS, GROUP).values())

    def stands_still(self):
        report, program = self.report, self.program
        # Of so many records one is an alert: soon the queue is full, or there is time.
        load = Load(self.cluster, 2 if self.seconds < 120 else 10)
        end = time.monotonic() + 30
        while len(self.siem.taken) < 1_000 and time.monotonic() < end:
            time.sleep(0.1)
        members, cold = self.members(), self.cold()
        self.siem.status = "hang"
        began = time.monotonic()
        samples, ready = [], set()
        while time.monotonic() - began < self.seconds:
            time.sleep(0.5)
            if time.monotonic() - began > 8:
                samples.append(program.memory())
                ready.add(program.status("/readyz"))
        held, read = program.total("fleetwarden_worker_held"), program.total("fleetwarden_records_total")
        report.check("a sink stands still: detection goes on", held == 0 and load.sent - read < 3 * RATE,
                     f"{read:.0f} records read of {load.sent}")
        lag = program.total("fleetwarden_sink_lag_records")
        report.check("what it has not taken waits in the journal", lag > 0, f"{lag:.0f} records of the journal")
        low, high = min(samples, default=0), max(samples, default=0)
        report.check("memory stays flat", samples and high < low * 1.05 + 8e6,
                     f"{low / 1e6:.0f} to {high / 1e6:.0f} MB in {len(samples)} samples over {self.seconds:.0f} s")
        report.check("a sink that stands still is not unready", ready == {200}, f"{ready}")
        report.check("the members keep their partitions", self.members() == members and len(members) == 2 and self.cold() == cold,
                     f"{len(members)} members, cold starts {cold:.0f} and {self.cold():.0f}")
        self.siem.status = None
        back = time.monotonic()
        load.finish()
        self.settle(load.sent, 60 + self.seconds)
        report.check("the sink is back: everything is read, delivered, committed", True,
                     f"{load.sent} records within {time.monotonic() - back:.1f} s")
        folder = self.suite.folder / "pressure"
        alerts, _ = program.replay({"telemetry": self.cluster.envelope(TOPIC, PARTITIONS, folder / "telemetry.ndjson")},
                                   folder / "alerts.ndjson")
        report.same("back-pressure: the sink has the alerts of replay, id for id", set(self.siem.taken),
                    {alert["id"] for alert in alerts})
        report.check("still the same members, no rebalance", self.members() == members and self.cold() == cold)

    def settle(self, sent, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.committed() == sent and not any(
                    self.program.total(f"fleetwarden_sink_{what}") for what in ("queue_alerts", "lag_records")):
                return
            time.sleep(0.25)
        raise AssertionError(f"not settled within {seconds:.0f} s: {self.committed()} of {sent} committed\n{self.program.tail()}")
