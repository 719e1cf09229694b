"""Servers, a group of processes and traffic; and the comparison with an undisturbed run."""

import collections
import json
import subprocess
import time

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic

import suite
from crash.ledger import Ledger
from crash.member import Member
from crash.nodes import Trio
from crash.recorder import Recorder
from crash.traffic import PARTITIONS
from servers import Kafka, OpenSearch

RULES = suite.ROOT / "tests/real/crash/rules"
BATCH = 200
SIEM = """
[sinks.siem]
type     = "opensearch"
url      = "{url}"
index    = "{group}"
timeout  = "5s"
start    = "earliest"
"""
SPLUNK = """
[sinks.{name}]
type    = "splunk"
url     = "{url}"
token   = "00000000-0000-4000-8000-000000000000"
batch   = {batch}
timeout = "5s"
start   = "earliest"
"""


class Stage:
    """Apache Kafka of one node or three, OpenSearch if it is asked for, a recorder."""

    def __init__(self, report, folder, binary, nodes=1, opensearch=True):
        self.report, self.folder = report, folder
        self.binary = suite.shutil.copy2(binary, folder / "fleetwarden-binary")
        self.nodes, self.wants_opensearch = nodes, opensearch
        self.kafka = self.opensearch = self.cluster = self.recorder = None
        self.running, self.blind = [], set()

    def start(self):
        for name in ("kafka", "opensearch"):
            (self.folder / name).mkdir()
        self.kafka = Kafka(self.folder / "kafka") if self.nodes == 1 else Trio(self.folder / "kafka")
        self.running.append(self.kafka)
        if self.wants_opensearch:
            self.opensearch = OpenSearch(self.folder / "opensearch")
            self.running.append(self.opensearch)
        for server in self.running:
            server.begin()
        for server in self.running:
            server.ready()
        self.cluster = suite.Cluster(self.kafka.address)
        self.recorder = Recorder()
        self.running.append(self.recorder)
        self.report.note(f"{self.nodes} Kafka node{'s' if self.nodes > 1 else ''} at {self.kafka.address}")

    def stop(self):
        for process in reversed(self.running):
            process.stop()

    def topic(self, name, partitions=PARTITIONS):
        wanted = NewTopic(name, partitions, 1 if self.nodes == 1 else 3,
                          config={"message.timestamp.type": "LogAppendTime", "compression.type": "lz4"})
        for done in self.cluster.admin.create_topics([wanted]).values():
            done.result(30)

    def siem(self, group):
        return SIEM.format(url=self.opensearch.url, group=group)

    def splunk(self, recorder=None, name="splunk"):
        return SPLUNK.format(name=name, url=(recorder or self.recorder).url, batch=BATCH)

    def members(self, group, topic, count, sinks, **config):
        """Processes of one group with one store; not started."""
        (self.folder / group).mkdir(exist_ok=True)
        rules = config.pop("rules", RULES)
        made = [Member(self.folder / group, self.binary, f"{group}-{number}", rules=rules, brokers=self.kafka.address,
                       group=group, topic=topic, store=self.folder / group / "store", sinks=sinks, **config)
                for number in range(count)]
        self.running.extend(made)
        return made

    def undisturbed(self, topic, member):
        """Id → alert, as `replay` finds them in the records with the times that Kafka gave them."""
        file, out = self.folder / f"{topic}.ndjson", self.folder / f"{topic}-alerts.ndjson"
        with file.open("wb") as lines:
            for number in range(PARTITIONS):
                for message in self.messages(topic, number):
                    head = f'{{"_t":{message.time},"_p":{number},"_o":{message.offset},"v":'
                    lines.write(head.encode() + message.value + b"}\n")
        command = [self.binary, "replay", "--rules", member.rules, "--schemas", suite.ROOT / "schemas", "--out", out,
                   "--quiet", f"telemetry={file}"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=self.folder)
        if done.returncode not in (0, 1):
            raise AssertionError(f"replay ended with {done.returncode}: {done.stderr[-800:]}")
        summary = json.loads(done.stderr.strip().splitlines()[-1])
        self.report.note(f"undisturbed: {json.dumps(summary)}")
        # What is not seen however well it goes: a count beyond its cap.
        self.blind = {f"blind: {reason}" for counts in summary["blind"].values() for reason in counts}
        with out.open() as lines:
            return {alert["id"]: alert for alert in map(json.loads, lines)}

    def ledger(self, group):
        topic = f"{group}.journal"
        count = len(self.cluster.admin.list_topics(topic, timeout=10).topics[topic].partitions)
        ledger = Ledger()
        for number in range(count):
            ledger.read(self.messages(topic, number))
        return ledger

    def messages(self, topic, number):
        """The messages of one partition up to its end of now, one after another."""
        consumer = Consumer({"bootstrap.servers": self.kafka.address, "group.id": "probe", "log_level": 0,
                             "enable.auto.commit": False, "enable.partition.eof": False, "fetch.wait.max.ms": 50})
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), 20)
            consumer.assign([TopicPartition(topic, number, low)])
            last = low - 1
            while last + 1 < high:
                message = consumer.poll(20)
                if message is None or message.error():
                    raise AssertionError(f"{topic}/{number} cannot be read to its end: {message and message.error()}")
                last = message.offset()
                yield suite.Message(number, last, message.timestamp()[1], message.value(), {})
        finally:
            consumer.close()

    def settle(self, members, group, topic, seconds=120):
        """Until all is read and committed, every window is judged, and every sink has everything."""
        end, well = time.monotonic() + seconds, 0
        state = ""
        while time.monotonic() < end:
            for member in members:
                if not member.running():
                    raise AssertionError(f"{member.name} ended:\n{member.tail()}")
            well = well + 1 if (state := self.waits(members, group, topic)) == "" else 0
            if well == 8:
                return
            time.sleep(0.25)
        raise AssertionError(f"not settled within {seconds} s: {state}\n{members[0].tail()}")

    def waits(self, members, group, topic):
        """What still waits, in words; empty = nothing."""
        try:
            pages = [page for page in [member.scrape() for member in members] if page is not None]
            ends = sum(self.end_of(topic, number) for number in range(PARTITIONS))
            committed = sum(self.cluster.committed_of(topic, PARTITIONS, group).values())
        except Exception as error:
            return repr(error)
        sums = collections.Counter(committed=ends - committed, pages=len(members) - len(pages))
        for page in pages:
            for name in ("consumer_lag_records", "pending_windows", "partitions_replaying", "sink_queue_alerts",
                         "sink_lag_records"):
                sums[name] += page.total(f"fleetwarden_{name}")
        return ", ".join(f"{name} {value:.0f}" for name, value in sums.items() if value)

    def end_of(self, topic, number):
        if not hasattr(self, "prober"):
            self.prober = Consumer({"bootstrap.servers": self.kafka.address, "group.id": "probe", "log_level": 0})
        return self.prober.get_watermark_offsets(TopicPartition(topic, number), 10)[1]
