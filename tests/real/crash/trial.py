"""The trial: processes of one group are killed, stopped and restarted under load, and every alert is accounted for."""

import collections
import json
import time

from crash.chaos import Chaos, Watch
from crash.ledger import quantile
from crash.stage import BATCH
from crash.traffic import PARTITIONS, Traffic

GROUP, TOPIC = "crash", "crash.telemetry"


class Trial:
    def __init__(self, stage, given):
        self.stage, self.report, self.given = stage, stage.report, given

    def run(self):
        stage, given = self.stage, self.given
        stage.topic(TOPIC)
        sinks = stage.splunk() + (stage.siem(GROUP) if stage.opensearch else "")
        members = stage.members(GROUP, TOPIC, given.processes, sinks)
        for member in members:
            member.begin()
        for member in members:
            member.ready()
        watch = Watch(members, PARTITIONS)
        traffic = Traffic(stage.cluster, TOPIC, given.seed, given.rate)
        chaos = Chaos(members, watch, given.seed, self.report.note, stage.kafka if stage.nodes > 1 else None,
                      [(TOPIC, number) for number in range(PARTITIONS)])
        began = time.monotonic()
        try:
            time.sleep(5)
            chaos.run(given.kills, given.minutes * 60)
        finally:
            chaos.calm()
        seconds = time.monotonic() - began
        traffic.finish()
        self.report.note(f"{chaos.kills} kills, {chaos.zombies} zombies, {chaos.restarts} restarts, "
                         f"{chaos.broker_kills} brokers killed in {seconds:.0f} s, {stage.cluster.sent} records; calm now")
        calm = time.monotonic()
        stage.settle(members, GROUP, TOPIC, 180)
        self.report.note(f"settled after {time.monotonic() - calm:.1f} s")
        watch.finish()
        self.compare(members, chaos, watch)

    def compare(self, members, chaos, watch):
        stage, report = self.stage, self.report
        expected = stage.undisturbed(TOPIC, members[0])
        kinds = collections.Counter(alert["rule"]["id"] for alert in expected.values())
        report.check("every rule fires", len(kinds) == 5, json.dumps(kinds))
        ledger = stage.ledger(GROUP)
        self.same("journal", set(ledger.alerts), expected)
        doubled = ledger.doubled()
        report.check("journal: 0 doubled", not doubled, f"{len(doubled)} of {len(ledger.alerts)} {list(doubled)[:3]}")
        self.bodies(ledger, expected)
        report.check("journal: each owner's entries in order, none missing", not ledger.wrong, "; ".join(ledger.wrong[:3]))
        report.check("journal: no partition started without its state", not ledger.forgotten,
                     f"{ledger.claims} claims, {ledger.opens} openings, {ledger.cold} cold, told {dict(ledger.told)}, "
                     f"{ledger.superseded} entries of replaced owners passed over")
        if stage.opensearch:
            self.same("OpenSearch", set(stage.opensearch.documents(f"{GROUP}-*")), expected)
        self.recorder(expected, chaos)
        self.counters(members, chaos)
        self.times(ledger, watch)

    def same(self, where, got, expected):
        lost, extra = set(expected) - got, got - set(expected)
        rules = collections.Counter(expected[name]["rule"]["id"] for name in lost)
        self.report.check(f"{where}: 0 lost", not lost and got, f"{len(lost)} lost of {len(expected)} {dict(rules)} {sorted(lost)[:3]}")
        self.report.check(f"{where}: 0 that an undisturbed run does not find", not extra, f"{len(extra)} {sorted(extra)[:3]}")

    def bodies(self, ledger, expected):
        """What rests on memory: counts, folds, severities."""
        wrong = [name for name, said in ledger.alerts.items() if name in expected and
                 (said.count, said.folds, said.severity) != tuple(expected[name][key] for key in ("count", "folds", "severity"))]
        self.report.check("journal: counts, folds and severities are those of the undisturbed run", not wrong,
                          f"{len(wrong)} differ {wrong[:3]}")

    def recorder(self, expected, chaos):
        recorder = self.stage.recorder
        self.same("collector", set(recorder.seen), expected)
        allowed = (chaos.kills + chaos.zombies + chaos.restarts) * BATCH
        repeated = recorder.repeated()
        self.report.check("collector: repeated events stay below one batch a strike, each with equal bytes",
                          repeated <= allowed and not recorder.altered,
                          f"{repeated} repeated of {len(recorder.seen)}, {allowed} allowed, {len(recorder.altered)} altered, "
                          f"largest request {max(recorder.sizes, default=0)}")

    def counters(self, members, chaos):
        sums = sum((member.counted() for member in members), collections.Counter())
        self.report.check("divergence 0", sums["divergence"] == 0, f"{sums['divergence']:.0f}")
        allowed = {"divergence", "blind: cold_start", *self.stage.blind}
        bad = {name: value for name, value in sums.items() if name not in allowed}
        self.report.check("no gaps, nothing blind, nothing refused, no failed checkpoint", not bad, json.dumps(bad) if bad else "")
        self.report.note(f"counted blind at the first start: {sums['blind: cold_start']:.0f}")
        self.report.check("processes ended only when told", not chaos.bad_exits, "; ".join(chaos.bad_exits[:3]))

    def times(self, ledger, watch):
        recoveries, latencies = sorted(watch.recoveries), ledger.latencies()
        self.report.note(f"recovery, from a strike to all partitions owned and no lag: p50 {quantile(recoveries, 0.5):.1f} s, "
                         f"p95 {quantile(recoveries, 0.95):.1f} s, max {quantile(recoveries, 1):.1f} s of {len(recoveries)}")
        self.report.note(f"event to journal under all this: p50 {quantile(latencies, 0.5):.3f} s, "
                         f"p99 {quantile(latencies, 0.99):.1f} s, max {quantile(latencies, 1):.1f} s of {len(latencies)}")
