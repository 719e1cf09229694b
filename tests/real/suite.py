"""The suite of tests/real/run: what a person would check by hand, in the order in which they would.

Everything that Fleetwarden wrote to OpenSearch is read back and compared, id for id, with `fleetwarden replay` over the
same records in the envelopes that Kafka gave them.
"""

import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import dashboard
import servers
from servers import Collector, Kafka, OpenSearch, Process, Unavailable, free_port, get_json

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "testdata/demo"
STRATUS = ROOT / "testdata/cloudtrail/stratus"
GROUP = "fleetwarden-real"
DEAD_LETTERS = "fleetwarden.dead-letters"
INDEX = "fleetwarden-alerts"
# Seconds until the last window of rules that wait for its end has closed: five, and the grace.
CLOSED = 9
# stream → topic, partitions
TOPICS = {
    "telemetry": ("vehicle.telemetry", 4),
    "diagnostics": ("vehicle.diagnostics", 4),
    "cloudtrail": ("cloud.cloudtrail", 1),
}

CONFIG = """
rules   = "rules"
schemas = "{schemas}"
workers = {workers}

[kafka]
brokers           = "{brokers}"
group             = "{group}"
dead_letter_topic = "{dead_letters}"
unplaced          = "skip"
start             = "{start}"

[kafka.consumer]
"session.timeout.ms" = {session}

[http]
listen = "127.0.0.1:{http}"

[sinks.siem]
type  = "opensearch"
url   = "{opensearch}"
index = "{index}"

[sinks.copy]
type = "file"
path = "{copy}"
"""

SPLUNK = """
[sinks.splunk]
type  = "splunk"
url   = "{url}"
token = "{token}"
index = "security"
"""


# What is kept of a Kafka message: times in ms, headers as texts.
Message = collections.namedtuple("Message", "partition offset time value headers")


class Report:
    """PASS and FAIL lines, and the last line."""

    def __init__(self):
        self.passed, self.failed, self.began = 0, 0, time.monotonic()

    def check(self, name, ok, detail=""):
        self.passed += bool(ok)
        self.failed += not ok
        stamp = f"{time.monotonic() - self.began:6.1f} s"
        print(f"{'PASS' if ok else 'FAIL'} {stamp}  {name}" + (f": {detail}" if detail else ""))
        return ok

    def note(self, text):
        print(f"  .. {time.monotonic() - self.began:6.1f} s  {text}")

    def same(self, name, got, expected):
        missing, extra = expected - got, got - expected
        detail = f"{len(got)} ids"
        if missing or extra:
            some = ", ".join(sorted(missing)[:3] + sorted(extra)[:3])
            detail = f"{len(missing)} missing, {len(extra)} too many of {len(expected)}: {some}"
        return self.check(name, not missing and not extra and len(got) > 0, detail)


class Fleetwarden(Process):
    """The program under test."""

    def __init__(self, folder, binary, kafka, opensearch, collector=None):
        super().__init__("fleetwarden", folder)
        self.binary, self.http = binary, free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.copy = folder / "alerts.ndjson"
        rules = folder / "rules"
        for stream in TOPICS:
            shutil.copytree(ROOT / "rules" / stream, rules / stream)
        shutil.copytree(ROOT / "tests/real/rules", rules / "real")
        self.rules = rules
        self.kafka, self.opensearch, self.collector = kafka, opensearch, collector
        self.config = folder / "fleetwarden.toml"
        # A broker that is away for longer than the session costs the partitions, and their windows start cold.
        self.configure(session=45_000)

    def configure(self, session, group=GROUP, workers=2, start="earliest"):
        self.config.write_text(CONFIG.format(
            schemas=ROOT / "schemas", brokers=self.kafka.address, group=group, dead_letters=DEAD_LETTERS, workers=workers,
            start=start,
            http=self.http, opensearch=self.opensearch.url, index=INDEX, copy=self.copy, session=session))
        if self.collector is not None:
            with self.config.open("a") as config:
                config.write(SPLUNK.format(url=self.collector.url, token=self.collector.TOKEN))

    def begin(self):
        self.launch([self.binary, "run", "-c", self.config])

    def ready(self):
        self.wait_until(lambda: self.status("/readyz") == 200, 60, "readyz 200")

    def answer(self, path):
        """Status and text."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self, path):
        return self.answer(path)[0]

    def metrics(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=5) as answer:
            return answer.read().decode()

    def total(self, name, **labels):
        """The sum of a metric over all label sets that have these labels."""
        total = 0.0
        for line in self.metrics().splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(f'{key}="{text}"' in series for key, text in labels.items()):
                total += float(value)
        return total

    def replay(self, inputs, out):
        command = [self.binary, "replay", "--rules", self.rules, "--schemas", ROOT / "schemas", "--out", out, "--quiet",
                   *(f"{stream}={path}" for stream, path in inputs.items())]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
        if done.returncode not in (0, 1):
            raise AssertionError(f"replay ended with {done.returncode}: {done.stderr[-800:]}")
        alerts = [json.loads(line) for line in out.read_text().splitlines()]
        return alerts, json.loads(done.stderr.strip().splitlines()[-1])


class Cluster:
    """What the suite does with Kafka itself."""

    def __init__(self, address):
        self.address = address
        self.admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        self.producer = Producer({
            "bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 5, "log_level": 0,
            "message.timeout.ms": 120_000, "reconnect.backoff.max.ms": 500})
        self.failures, self.sent = [], 0

    def create(self):
        wanted = [NewTopic(topic, partitions, 1, config={"message.timestamp.type": "LogAppendTime"})
                  for topic, partitions in [*TOPICS.values(), (DEAD_LETTERS, 1)]]
        for done in self.admin.create_topics(wanted).values():
            done.result(30)

    def send(self, topic, value, key=None, partition=-1):
        while True:
            try:
                self.producer.produce(topic, value, key, partition, on_delivery=self.delivered)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.sent += 1
        self.producer.poll(0)

    def delivered(self, error, _):
        if error is not None:
            self.failures.append(str(error))

    def flush(self):
        left = self.producer.flush(90)
        if left or self.failures:
            raise AssertionError(f"{left} records were not taken by Kafka, {self.failures[:3]}")

    def ends(self):
        """(topic, partition) → next offset."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "probe", "log_level": 0})
        try:
            return {(topic, index): consumer.get_watermark_offsets(TopicPartition(topic, index), 10)[1]
                    for topic, count in TOPICS.values() for index in range(count)}
        finally:
            consumer.close()

    def committed(self, group=GROUP):
        """(topic, partition) → where the group goes on; without joining it."""
        places = {}
        for topic, count in TOPICS.values():
            places.update(self.committed_of(topic, count, group))
        return places

    def committed_of(self, topic, count, group):
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group, "log_level": 0})
        try:
            places = [TopicPartition(topic, index) for index in range(count)]
            for attempt in range(40):  # a coordinator that has just started refuses for a moment
                try:
                    return {(p.topic, p.partition): max(p.offset, 0) for p in consumer.committed(places, 20)}
                except KafkaException:
                    if attempt == 39:
                        raise
                    time.sleep(0.25)
        finally:
            consumer.close()

    def read(self, topic, partitions):
        """All messages of a topic, each partition in its order."""
        consumer = Consumer({
            "bootstrap.servers": self.address, "group.id": "probe", "enable.auto.commit": False, "log_level": 0,
            "fetch.wait.max.ms": 50})
        found = []
        try:
            bounds = {index: consumer.get_watermark_offsets(TopicPartition(topic, index), 10)
                      for index in range(partitions)}
            open_ends = {index: end for index, (start, end) in bounds.items() if start < end}
            consumer.assign([TopicPartition(topic, index, bounds[index][0]) for index in open_ends])
            while open_ends:
                message = consumer.poll(20)
                if message is None or message.error():
                    raise AssertionError(f"{topic} cannot be read to its end: {message and message.error()}")
                found.append(Message(message.partition(), message.offset(), message.timestamp()[1], message.value(),
                                     {name: text.decode() for name, text in message.headers() or []}))
                if message.offset() + 1 >= open_ends.get(message.partition(), sys.maxsize):
                    del open_ends[message.partition()]
        finally:
            consumer.close()
        return sorted(found, key=lambda message: (message.partition, message.offset))

    def envelopes(self, folder, since=0):
        """Writes what every topic got from a time on (ms) as the NDJSON that `replay` reads; stream → file."""
        folder.mkdir(exist_ok=True)
        files = {}
        for stream, (topic, partitions) in TOPICS.items():
            files[stream] = self.envelope(topic, partitions, folder / f"{stream}.ndjson", since)
        return files

    def envelope(self, topic, partitions, file, since=0):
        with file.open("wb") as out:
            for message in self.read(topic, partitions):
                if message.time < since:
                    continue
                head = f'{{"_t":{message.time},"_p":{message.partition},"_o":{message.offset},"v":'
                out.write(head.encode() + message.value + b"}\n")
        return file


def sample(number):
    """The demo's records as (topic, key, value) in broker order, of other vehicles and another account each time."""
    start = json.loads((DEMO / "telemetry.ndjson").open().readline())["_t"]
    shift = int(time.time() * 1000) - start - 30_000
    records = []
    for stream, (topic, _) in TOPICS.items():
        for line in (DEMO / f"{stream}.ndjson").read_text().splitlines():
            record = json.loads(line)
            value, key = record["v"], None
            if "vin" in value:
                value["vin"] = f"{value['vin'][:2]}{chr(65 + number)}{value['vin'][3:]}"
                value["ts"] += shift
                key = value["vin"]
            text = json.dumps(value, separators=(",", ":")).replace("418273645501", f"4182736455{number:02}")
            records.append((record["_t"], topic, key, text))
    return [(topic, key, text) for _, topic, key, text in sorted(records, key=lambda r: r[0])]


class Flow(threading.Thread):
    """Plays a sample at a steady pace while something else happens."""

    def __init__(self, cluster, number, seconds):
        super().__init__(daemon=True)
        self.cluster, self.records, self.seconds, self.error = cluster, sample(number), seconds, None
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            for number, (topic, key, text) in enumerate(self.records):
                ahead = began + self.seconds * number / len(self.records) - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
                self.cluster.send(topic, text, key)
        except Exception as error:  # told by finish()
            self.error = error

    def finish(self):
        self.join(180)
        if self.error or self.is_alive():
            raise AssertionError(f"the producer did not get through: {self.error}")
        self.cluster.flush()


class Suite:
    def __init__(self, report, folder, binary, pki):
        # A copy: a build that goes on beside the suite must not exchange the program under test.
        self.report, self.folder, self.binary = report, folder, shutil.copy2(binary, folder / "fleetwarden-binary")
        self.kafka = self.opensearch = self.collector = self.program = self.cluster = None
        self.pki = pki(folder / "pki")

    def stop(self):
        for process in (self.program, self.kafka, self.opensearch, self.collector):
            if process is not None:
                process.stop()

    def start(self):
        for name in ("kafka", "opensearch", "fleetwarden"):
            (self.folder / name).mkdir()
        # Files first: a download that fails leaves nothing running.
        self.kafka = Kafka(self.folder / "kafka", self.pki)
        self.opensearch = OpenSearch(self.folder / "opensearch")
        if os.environ.get("FLEETWARDEN_REAL_HEC") == "1":
            self.collector = Collector(self.folder / "collector")
        running = [server for server in (self.kafka, self.opensearch, self.collector) if server is not None]
        for server in running:
            server.begin()
        for server in running:
            server.ready()
        version = get_json(self.opensearch.url)["version"]
        self.report.note(f"Apache Kafka {servers.KAFKA_VERSION} at {self.kafka.address}, "
                         f"OpenSearch {version['number']} at {self.opensearch.url}")
        self.cluster = Cluster(self.kafka.address)
        self.cluster.create()
        self.program = Fleetwarden(self.folder / "fleetwarden", self.binary, self.kafka, self.opensearch, self.collector)
        self.program.start()
        self.report.note("fleetwarden runs")

    def settle(self, seconds=90):
        """Until everything is read, delivered and committed."""
        end = time.monotonic() + seconds
        state = ""
        while time.monotonic() < end:
            try:
                ends, committed = self.cluster.ends(), self.cluster.committed()
                behind = {place: (committed.get(place, 0), last) for place, last in ends.items()
                          if last > 0 and committed.get(place, -1) < last}
                lag = self.program.total("fleetwarden_consumer_lag_records")
                waiting = self.program.total("fleetwarden_sink_queue_alerts")
                if not behind and lag == 0 and waiting == 0:
                    return
                state = f"lag {lag:.0f}, queues {waiting:.0f}, committed of end: {behind}"
            except Exception as error:
                state = repr(error)
            if not self.program.running():
                raise AssertionError(f"fleetwarden ended:\n{self.program.tail()}")
            time.sleep(0.25)
        raise AssertionError(f"not settled within {seconds} s: {state}\n{self.program.tail()}")

    def documents(self):
        return self.opensearch.documents(INDEX + "-*")

    def close_windows(self, wait=True):
        """Live, the last windows are closed by the clock. A record behind them closes them in `replay` too."""
        time.sleep(CLOSED)
        topic, partitions = TOPICS["telemetry"]
        for number in range(partitions):
            record = {"vin": f"XFWEND{number:011}", "ts": int(time.time() * 1000)}
            self.cluster.send(topic, json.dumps(record), record["vin"], number)
        self.cluster.flush()
        if wait:
            self.settle()

    def expected(self, name, since=0, close=True):
        if close:
            self.close_windows()
        files = self.cluster.envelopes(self.folder / name, since)
        alerts, summary = self.program.replay(files, self.folder / name / "alerts.ndjson")
        self.report.note(f"replay: {json.dumps(summary)}")
        return alerts, summary

    def happy_path(self):
        report = self.report
        for topic, key, text in sample(0):
            self.cluster.send(topic, text, key)
        for file in sorted(STRATUS.glob("*.json")):
            self.cluster.send("cloud.cloudtrail", json.dumps(json.loads(file.read_bytes()), separators=(",", ":")))
        broken = [("vehicle.telemetry", b'{"vin":"XFWREJECT00000001","vin":"XFWREJECT00000002","speed":1}', "doubled_key"),
                  ("vehicle.diagnostics", b'{"vin":"XFWREJECT00000001","service" 39}', "syntax")]
        for topic, value, _ in broken:
            self.cluster.send(topic, value, "XFWREJECT00000001")
        self.cluster.flush()
        self.settle()
        report.check("happy path: every record read and committed", True, f"{self.cluster.sent} records")

        alerts, summary = self.expected("a")
        documents = self.documents()
        ids = {alert["id"] for alert in alerts}
        report.check("replay gives each id once", len(ids) == len(alerts), f"{len(alerts)} alerts")
        report.same("happy path: documents in OpenSearch are the alerts of replay", set(documents), ids)
        self.bodies("happy path: bodies in the file are those of replay", alerts)
        self.attacks(alerts)
        self.dead_letters(broken, summary)
        self.health()

    def bodies(self, name, alerts):
        live = {}
        for line in self.program.copy.read_text().splitlines():
            alert = json.loads(line)
            live.setdefault(alert["id"], []).append(alert)
        wrong = [alert["id"] for alert in alerts
                 if [comparable({key: one.get(key) for key in alert}) for one in live.get(alert["id"], [])] != [comparable(alert)]]
        self.report.check(name, not wrong and len(live) == len(alerts), f"{len(live)} alerts, {len(wrong)} differ")

    def foreign_collector(self):
        """Off unless FLEETWARDEN_REAL_HEC=1: a download of 175 MB."""
        if self.collector is None:
            return
        alerts, _ = self.expected("hec")
        end = time.monotonic() + 10
        while len(self.collector.events()) < len(alerts) and time.monotonic() < end:
            time.sleep(0.25)
        events = self.collector.events()
        bodies = {alert["id"]: {key: alert[key] for key in alert if key != "event"} for alert in alerts}
        self.report.same("collector of another make: events are the alerts of replay",
                         {event["fields"]["alert_id"] for event in events}, set(bodies))
        self.report.check("collector of another make: each event once", len(events) == len(bodies), f"{len(events)} events")
        keys = {key for event in events for key in event}
        allowed = {"time", "host", "source", "sourcetype", "index", "event", "fields"}
        self.report.check("collector of another make: the keys of an event", keys == allowed, ", ".join(sorted(keys)))
        wrong = [event["fields"]["alert_id"] for event in events
                 if (event["event"]["id"], event["event"]["rule"]["id"], event["fields"]["risk_score"])
                 != (event["fields"]["alert_id"], event["fields"]["signature_id"], event["event"]["risk"])
                 or event["event"]["rule"]["id"] != bodies[event["event"]["id"]]["rule"]["id"]
                 or event["event"].get("event") is not None]
        self.report.check("collector of another make: bodies and fields agree", not wrong, f"{len(wrong)} differ")

    def attacks(self, alerts):
        """Every attack of the sample is found, and every file of known techniques gives the rules it should."""
        found = {(alert["rule"]["id"], json.dumps(alert["key"])) for alert in alerts}
        lost = []
        for line in (DEMO / "truth.jsonl").read_text().splitlines():
            truth = json.loads(line)
            key = [part.replace("418273645501", "418273645500") for part in truth["key"]]
            key[0] = f"{key[0][:2]}A{key[0][3:]}" if key[0].startswith("XFW") else key[0]
            if (truth["rule"], json.dumps(key)) not in found:
                lost.append(truth["id"])
        self.report.check("every attack of the sample is found", not lost, ", ".join(lost))

    def dead_letters(self, broken, summary):
        letters = self.cluster.read(DEAD_LETTERS, 1)
        by_value = {message.value: message.headers for message in letters}
        for topic, value, reason in broken:
            headers = by_value.get(value, {})
            good = (headers.get("topic"), headers.get("reason")) == (topic, reason) and headers.get("offset", "").isdigit()
            self.report.check(f"dead letter of a record in {topic}", good, json.dumps(headers))
        rejects = summary["rejects"]
        counted = sum(rejects.values()) if isinstance(rejects, dict) else rejects
        self.report.check("nothing else is a dead letter", len(letters) == len(broken) == counted,
                          f"{len(letters)} letters, replay rejects {rejects}")

    def health(self):
        for path in ("/livez", "/readyz"):
            status, text = self.program.answer(path)
            self.report.check(f"{path} answers 200", status == 200, f"{status} {' '.join(text.split())[:200]}")
        promtool = find_promtool()
        if promtool is None:
            self.report.check("promtool is there", os.environ.get("CI") != "true", "SKIPPED: no promtool (Debian: prometheus)")
            return
        page = self.program.metrics()
        done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True)
        self.report.check("promtool check metrics is clean", done.returncode == 0 and not done.stderr.strip(),
                          (done.stdout + done.stderr).strip()[:400] or f"{len(page.splitlines())} lines")
        self.report.check("no VIN is a label", "XF" not in page, "")
        server = pathlib.Path(shutil.which(promtool) or promtool).with_name("prometheus")
        asked, wrong = dashboard.check(server, f"127.0.0.1:{self.program.http}", self.folder)
        self.report.check("every query of the Grafana dashboard resolves", asked > 20 and not wrong,
                          "; ".join(wrong) or f"{asked} queries")

    def broker_dies(self):
        flow = Flow(self.cluster, 1, 12)
        time.sleep(4)
        self.kafka.kill()
        self.report.note("broker killed")
        time.sleep(2)
        self.kafka.start()
        self.report.note("broker is back")
        flow.finish()
        self.settle()
        self.report.check("broker killed and back: alive", self.program.running() and self.program.status("/livez") == 200)

    def opensearch_dies(self):
        flow = Flow(self.cluster, 2, 12)
        time.sleep(3)
        self.opensearch.kill()
        self.report.note("OpenSearch killed")
        time.sleep(3)
        self.opensearch.start()
        self.report.note("OpenSearch is back")
        flow.finish()
        self.settle()
        alerts, _ = self.expected("c")
        ids = {alert["id"] for alert in alerts}
        self.report.same("broker and OpenSearch killed and back: still id for id", set(self.documents()), ids)
        self.bodies("broker and OpenSearch killed and back: each body once in the file", alerts)

    def restarts(self):
        # A short one, so that the partitions of a crashed process are given out again soon.
        self.program.configure(session=6_000)
        self.restart("restart", 3, signal.SIGTERM)
        self.restart("crash", 4, signal.SIGKILL)

    def restart(self, name, number, signal_number):
        """In the middle of a stream: windows and suppression go on where they stood."""
        report = self.report
        flow = Flow(self.cluster, number, 10)
        time.sleep(4)
        code = self.program.signal(signal_number)
        if signal_number == signal.SIGTERM:
            report.check(f"{name}: ends with 0", code == 0, f"exit {code}, {self.program.tail(1)}")
        committed = sum(self.cluster.committed().values())
        time.sleep(1)
        self.program.start()
        flow.finish()
        self.settle()
        ends = sum(self.cluster.ends().values())
        read = self.program.total("fleetwarden_records_total")
        report.check(f"{name}: goes on at the committed offset", read == ends - committed,
                     f"read {read:.0f} records, {ends - committed} were left of {ends}")
        alerts, _ = self.expected(f"restart-{number}")
        documents = self.documents()
        plain = {alert["id"] for alert in alerts if alert["rule"]["id"] == "real-fast-driver"}
        live = {name for name, document in documents.items() if document["rule"]["id"] == "real-fast-driver"}
        report.same(f"{name}: of a rule without memory nothing is lost or doubled", live, plain)
        report.same(f"{name}: nothing is lost or doubled", set(documents), {alert["id"] for alert in alerts})

    def workers(self):
        """One worker and four, beside each other over the same records, and replay."""
        programs = {}
        for count in (1, 4):
            program = programs[count] = Fleetwarden(
                self.folder / f"workers-{count}", self.binary, self.kafka, self.opensearch)
            program.configure(session=45_000, group=f"{GROUP}-{count}", workers=count, start="latest")
        try:
            for count, program in programs.items():
                program.start()
                program.wait_until(lambda: self.owned(program, count), 60, "partitions for each worker")
            began, before = int(time.time() * 1000), self.cluster.sent
            Flow(self.cluster, 5, 3).finish()
            self.close_windows(wait=False)
            for program in programs.values():
                program.wait_until(lambda: program.total("fleetwarden_records_total") == self.cluster.sent - before
                                   and program.total("fleetwarden_sink_queue_alerts") == 0, 60, "all records")
                program.signal(signal.SIGTERM)
            lines = lambda file: sorted(json.dumps(comparable(json.loads(line))) for line in file.read_text().splitlines())
            self.expected("workers", began, close=False)
            wanted = lines(self.folder / "workers/alerts.ndjson")
            for count, program in programs.items():
                live = lines(program.copy)
                self.report.check(f"{count} workers: ids and bodies are those of replay", bool(wanted) and live == wanted,
                                  f"{len(live)} alerts of {len(wanted)}")
        finally:
            for program in programs.values():
                program.stop()

    @staticmethod
    def owned(program, count):
        """Whether all partitions are read, and each worker has some."""
        of = [program.total("fleetwarden_worker_partitions", worker=str(worker)) for worker in range(count)]
        return min(of) > 0 and sum(of) == sum(partitions for _, partitions in TOPICS.values())


def comparable(alert):
    """What of an alert does not depend on when a partition was told that nothing came."""
    return {**alert, "broker_time": alert["broker_time"] if alert["event"] is not None else None}


def find_promtool():
    """promtool of the machine, else out of Debian's package, unpacked without installing it."""
    if shutil.which("promtool"):
        return "promtool"
    tools = servers.CACHE / "tools"
    tool = tools / "usr/bin/promtool"
    if not tool.exists() and shutil.which("apt-get"):
        tools.mkdir(parents=True, exist_ok=True)
        for command in (["apt-get", "download", "-qq", "prometheus"], ["apt-get", "update", "-qq"],
                        ["apt-get", "download", "-qq", "prometheus"]):
            subprocess.run(command, cwd=tools, capture_output=True)
            packages = sorted(tools.glob("prometheus_*.deb"))
            if packages:
                subprocess.run(["dpkg-deb", "-x", packages[-1].name, "."], cwd=tools, capture_output=True)
                packages[-1].unlink()
                break
    return str(tool) if tool.exists() else None


def play(make, parts):
    """Makes a suite of a report and a folder, plays parts (functions of it) in their order, and ends the process."""
    report = Report()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fleetwarden-real-"))
    suite = make(report, folder)
    # A signal unwinds like an error: whatever was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        suite.start()
        for part in parts:
            part(suite)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if not isinstance(error, (Unavailable, AssertionError)):
            traceback.print_exc()
        report.check("the suite runs to its end", False, str(error) or repr(error))
    finally:
        suite.stop()
    if report.failed:
        print(f"logs and records are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{report.passed} passed, {report.failed} failed")
    sys.exit(1 if report.failed else 0)
