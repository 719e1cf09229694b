"""Kafka to alerts, against consumers that do less: see benches/kafka/run.

A real broker, one topic, one consumer each: `bare` only counts bytes, `decode` only decodes the columns that the shipped
rules read, `run` is `fleetwarden run` with all of them and a file as its sink. They take turns, so that what else the
machine does weighs on all alike; the best turn of each is compared. Before: how long a start with 100 rules takes, and how
much memory it holds while nothing comes.
"""

import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/real"))

from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402

import servers  # noqa: E402
from servers import Kafka, Process, Unavailable, free_port  # noqa: E402

RECORDS = int(os.environ.get("RECORDS", "2000000"))
TURNS = int(os.environ.get("TURNS", "3"))
PARTITIONS = 4
TOPIC = "vehicle.telemetry"
# Below these it fails.
OF_DECODE, OF_BARE, START_MS, IDLE_MB = 0.85, 0.6, 300, 60

CONFIG = """
rules   = "{rules}"
schemas = "{schemas}"
workers = {workers}

[kafka]
brokers = "{brokers}"
group   = "{group}"

[http]
listen = "127.0.0.1:{http}"

[sinks.copy]
type = "file"
path = "{path}"
"""


class Fleetwarden(Process):
    """The program as it is shipped, in a group of its own, with other rules."""

    def __init__(self, folder, binary, brokers, group, rules, workers):
        super().__init__(group, folder)
        self.port, self.config = free_port(), folder / f"{group}.toml"
        self.config.write_text(CONFIG.format(
            rules=rules, schemas=ROOT / "schemas", workers=workers, brokers=brokers, group=group,
            http=self.port, path=folder / f"{group}.ndjson"))
        self.command = [binary, "run", "-c", self.config]

    def begin(self):
        self.launch(self.command)

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def joined(self):
        """Whether it owns the partitions: records are read only then."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            page = answer.read().decode()
        owned = re.findall(r"fleetwarden_worker_partitions{.*} (\d+)", page)
        return sum(map(int, owned)) == sum(topics().values())

    def megabytes(self, what):
        for line in pathlib.Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
        raise AssertionError(what)


def topics():
    """The topics that the shipped rules read, and their partitions: rules that need all partitions together have one."""
    texts = [path.read_text() for path in (ROOT / "rules").rglob("*.toml")]
    streams = {name for text in texts for name in re.findall(r'^stream *= *"(\w+)"', text, re.M)}
    schemas = [(ROOT / "schemas" / f"{stream}.toml").read_text() for stream in streams]
    names = {re.search(r'^topic *= *"(.+?)"', text, re.M)[1] for text in schemas}
    return {name: PARTITIONS if name == TOPIC else 1 for name in sorted(names)}


def many_rules(folder, count):
    """Copies of the shipped rules, each with other numbers, so that no two are alike; without their tests."""
    files = sorted(path for path in (ROOT / "rules").rglob("*.toml") if path.name != "_shared.toml")
    for path in (ROOT / "rules").rglob("_shared.toml"):
        target = folder / path.relative_to(ROOT / "rules")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for number in range(count):
        path, nth = files[number % len(files)], number // len(files)
        text = path.read_text().partition("[[test]]")[0]
        text = re.sub(r"(>=?|<) (\d+)(?=[^\d.])", lambda found: f"{found[1]} {int(found[2]) + nth}", text)
        target = folder / path.relative_to(ROOT / "rules").parent / f"{path.stem}-{nth}.toml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return folder


class Bench:
    def __init__(self, folder, program, meter):
        self.folder, self.failures = folder, []
        # Copies: a build that goes on meanwhile must not exchange them.
        self.program = shutil.copy2(program, folder / "fleetwarden")
        self.meter = shutil.copy2(meter, folder / "meter")
        self.kafka = Kafka(folder / "kafka")
        self.running = [self.kafka]

    def bar(self, what, good, said):
        print(f"{'ok  ' if good else 'MISS'} {what}: {said}")
        if not good:
            self.failures.append(what)

    def consume(self, mode):
        words = [self.meter, self.kafka.address, mode, TOPIC, str(PARTITIONS), str(RECORDS)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=ROOT, timeout=300)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            raise AssertionError(f"{mode}: {done.stderr[-800:]}")
        read = json.loads(done.stdout.strip().splitlines()[-1])
        read["cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return read

    def throughput(self):
        made = self.consume("produce")
        print(f"{made['records']} records of {made['bytes'] // made['records']} bytes in {PARTITIONS} partitions, one consumer, "
              f"best of {TURNS} turns")
        best = {}
        for turn in range(TURNS):
            for mode in ("bare", "decode", "run"):
                read = self.consume(mode)
                assert (read["records"], read["bytes"]) == (made["records"], made["bytes"]), f"{mode}: {read} of {made}"
                assert mode == "bare" or read["events"] == made["records"], f"{mode}: {read} of {made}"
                assert mode != "run" or read["alerts"] == made["alerts"], f"{mode}: {read} of {made}"
                if os.environ.get("VERBOSE"):
                    print(f"  turn {turn} {mode}: {read['records'] / read['seconds'] / 1e6:.3f} M/s, cpu {read['cpu']:.2f} s")
                if mode not in best or read["seconds"] < best[mode]["seconds"]:
                    best[mode] = read
        rate = {mode: read["records"] / read["seconds"] for mode, read in best.items()}
        for mode, read in best.items():
            print(f"  {mode:<7} {rate[mode] / 1e6:6.3f} M events/s {read['bytes'] / read['seconds'] / 1e6:6.0f} MB/s   "
                  f"{read['cpu'] / read['records'] * 1e6:.2f} us CPU a record")
        print(f"  {best['run']['alerts']} alerts, as many as attacks")
        for of, bar in (("decode", OF_DECODE), ("bare", OF_BARE)):
            ratio = rate["run"] / rate[of]
            self.bar(f"run to {of}", ratio >= bar, f"{ratio:.2f}, at least {bar}")

    def start(self):
        rules = many_rules(self.folder / "rules", 100)
        ways = {}
        for turn in range(TURNS):
            program = Fleetwarden(self.folder, self.program, self.kafka.address, f"start-{turn}", rules, 2)
            self.running.append(program)
            # What the broker takes is told apart: a port that nobody answers at is asked when all else is done.
            ways.setdefault("asks Kafka", []).append(self.until_asked(rules, turn))
            began = time.monotonic()
            program.begin()
            program.wait_until(program.is_ready, 30, "readyz 200")
            ways.setdefault("ready", []).append((time.monotonic() - began) * 1000)
            program.wait_until(program.joined, 30, "partitions")
            if turn == TURNS - 1:
                time.sleep(3)
                idle, peak = program.megabytes("VmRSS"), program.megabytes("VmHWM")
            program.signal(signal.SIGTERM)
        for what, times in ways.items():
            print(f"  start with 100 rules: {what} after {min(times):.0f} ms")
        self.bar("start with 100 rules", min(ways["asks Kafka"]) <= START_MS,
                 f"{min(ways['asks Kafka']):.0f} ms until Kafka is asked, at most {START_MS}")
        self.bar("idle memory", idle <= IDLE_MB, f"{idle:.0f} MB (highest {peak:.0f}), at most {IDLE_MB}")

    def until_asked(self, rules, turn):
        """Milliseconds from the start of the process to its first connection."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.settimeout(30)
            address = "127.0.0.1:%d" % listener.getsockname()[1]
            program = Fleetwarden(self.folder, self.program, address, f"asks-{turn}", rules, 2)
            self.running.append(program)
            began = time.monotonic()
            program.begin()
            connection, _ = listener.accept()
            took = (time.monotonic() - began) * 1000
            connection.close()
            program.kill()
            return took

    def run(self):
        self.kafka.start()
        wanted = [NewTopic(topic, count, 1, config={"message.timestamp.type": "LogAppendTime"})
                  for topic, count in topics().items()]
        admin = AdminClient({"bootstrap.servers": self.kafka.address})
        for done in admin.create_topics(wanted).values():
            done.result(30)
        # While the topics are empty: what is idle holds no state.
        if os.environ.get("ONLY", "start") == "start":
            self.start()
        if os.environ.get("ONLY", "throughput") == "throughput":
            self.throughput()

    def stop(self):
        for process in reversed(self.running):
            process.stop()


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fleetwarden-bench-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    bench = Bench(folder, *sys.argv[1:])
    try:
        bench.run()
    except (Unavailable, AssertionError, subprocess.SubprocessError) as error:
        bench.failures.append(str(error))
        print(f"FAILED: {error}")
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if bench.failures else 0)


main()
