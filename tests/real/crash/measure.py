"""Two measurements: what a dead sink costs the others, and how long an event takes into the journal at a steady load."""

import json
import random
import time

from crash.ledger import quantile
from crash.recorder import Recorder
from crash.traffic import PARTITIONS, Traffic, Vehicle, VEHICLES

BACKLOG = 1_000_000
SECONDS = 25


class Measurement:
    def __init__(self, stage, given):
        self.stage, self.report, self.given = stage, stage.report, given

    def one(self, group, topic, sinks, **config):
        # A backlog is so dense that the limit of alerts a second would cut most of them off.
        sinks += "\n[limits]\nalerts_per_second = 1_000_000\n"
        member = self.stage.members(group, topic, 1, sinks, every="10s", session=45_000, **config)[0]
        member.start()
        return member

    def backlog(self, topic):
        """Many records, as fast as they are taken."""
        dice = random.Random(self.given.seed)
        vehicles = [Vehicle(number) for number in range(VEHICLES)]
        # Each text is written several times: making it costs more than sending it.
        for number in range(BACKLOG // 10):
            vehicle = vehicles[number % VEHICLES]
            value = vehicle.record(dice, int(time.time() * 1000))
            for _ in range(10):
                self.stage.cluster.send(topic, value, vehicle.vin, vehicle.partition)
        self.stage.cluster.flush()

    def speed(self, group, member):
        """Records a second while a backlog is read: by the broker's times of the first and the last alert in the journal."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            page = member.scrape()
            if page and page.total("fleetwarden_records_total") >= BACKLOG:
                times = [said.written for said in self.stage.ledger(group).alerts.values()]
                return BACKLOG / (max(times) - min(times)) * 1000
            time.sleep(0.2)
        raise AssertionError(f"the backlog was not read within 120 s\n{member.tail()}")


class DeadSink(Measurement):
    """The same twice: with a second sink that lives, and with one that is dead from the beginning to the end."""

    def run(self):
        topic = "backlog.telemetry"
        self.stage.topic(topic)
        self.backlog(topic)
        alive, dead = [], []
        for turn in range(3):
            alive.append(self.throughput(f"alive-{turn}", topic, Recorder()))
            dead.append(self.throughput(f"dead-{turn}", topic, None))
        ratio = sorted(dead)[1] / sorted(alive)[1]
        self.report.check("one of two sinks dead: detection reads as fast (5 %)", ratio >= 0.95,
                          f"{ratio:.3f} of {sorted(alive)[1]:,.0f} records/s (medians of three, in turns: "
                          f"{[round(x) for x in alive]}, {[round(x) for x in dead]})")
        with_alive, with_dead = self.latency("slow-alive", Recorder()), self.latency("slow-dead", None)
        ratios = [with_dead[n] / with_alive[n] for n in (0, 1)]
        self.report.check("one of two sinks dead: the other is told as soon (20 %)", all(ratio <= 1.2 for ratio in ratios),
                          f"p50 {with_dead[0] * 1e3:.1f} ms for {with_alive[0] * 1e3:.1f} ms, "
                          f"p99 {with_dead[1] * 1e3:.1f} ms for {with_alive[1] * 1e3:.1f} ms")

    def sinks(self, good, other):
        """Nobody listens at port 9."""
        second = self.stage.splunk(other, "other") if other else self.stage.splunk(name="other").replace(
            self.stage.recorder.url, "http://127.0.0.1:9")
        return self.stage.splunk(good, "good") + second

    def throughput(self, group, topic, other):
        good = Recorder()
        member = self.one(group, topic, self.sinks(good, other))
        try:
            return self.speed(group, member)
        finally:
            member.stop()
            for server in filter(None, (good, other)):
                server.stop()

    def latency(self, group, other):
        """p50 and p99 of seconds from the broker's time of the event that fired to the request at the good sink."""
        topic, good = f"{group}.telemetry", Recorder()
        self.stage.topic(topic)
        member = self.one(group, topic, self.sinks(good, other))
        traffic = Traffic(self.stage.cluster, topic, self.given.seed, self.given.rate)
        time.sleep(SECONDS)
        traffic.finish()
        end = time.monotonic() + 60
        expected = self.stage.undisturbed(topic, member)
        while set(good.seen) != set(expected) and time.monotonic() < end:
            time.sleep(0.25)
        self.report.check(f"{group}: the sink that lives has every alert", set(good.seen) == set(expected),
                          f"{len(good.seen)} of {len(expected)}")
        said = self.stage.ledger(group).alerts
        member.stop()
        good.stop()
        # The first seconds are those of the start.
        began = min(one.broker_time for one in said.values()) / 1e6 + 5
        taken = sorted(good.seen[name][2] - one.broker_time / 1e6 for name, one in said.items()
                       if not one.closed and one.broker_time / 1e6 > began and name in good.seen)
        return quantile(taken, 0.5), quantile(taken, 0.99)


class Latency(Measurement):
    """From the broker's time of the event that fired to the broker's time of the journal's record."""

    def run(self):
        topic = "steady.telemetry"
        self.stage.topic(topic)
        member = self.one("steady", topic, self.stage.splunk())
        traffic = Traffic(self.stage.cluster, topic, self.given.seed, self.given.rate)
        time.sleep(SECONDS)
        traffic.finish()
        self.stage.settle([member], "steady", topic, 60)
        ledger = self.stage.ledger("steady")
        began = min(one.broker_time for one in ledger.alerts.values()) / 1e6 + 5
        taken = sorted(one.written / 1e3 - one.broker_time / 1e6 for one in ledger.alerts.values()
                       if not one.closed and one.broker_time / 1e6 > began)
        p99 = quantile(taken, 0.99)
        self.report.check("event to journal: p99 within 50 ms", p99 <= 0.05,
                          f"p50 {quantile(taken, 0.5) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, max {taken[-1] * 1e3:.0f} ms of "
                          f"{len(taken)} alerts at {traffic.sent / SECONDS:,.0f} records/s; {json.dumps(dict(ledger.told))} told")
