"""Reads the journal as its format page says, and believes whom it says: docs/formats/journal.md."""

import collections
import json

# An alert as far as runs are compared: `count` and `folds` are what the engine remembered.
Said = collections.namedtuple("Said", "rule severity count folds observed time broker_time written closed")


class Ledger:
    def __init__(self):
        # Source → epoch that is believed.
        self.marks = {}
        self.alerts, self.times_said = {}, collections.Counter()
        # Source → what it was told; how many entries were passed over; how many claims and openings there were.
        self.told, self.superseded, self.claims, self.opens, self.cold = collections.Counter(), 0, 0, 0, 0
        self.wrong, self.next_seq, self.warm, self.forgotten = [], {}, set(), []

    def read(self, messages):
        """All messages of the topic, each partition in its order."""
        for message in messages:
            entry = json.loads(message.value)
            if entry["v"] != 1:
                raise AssertionError(f"an entry of the journal of version {entry['v']}")
            self.entry(entry, message)
        return self

    def entry(self, entry, message):
        source, epoch, said = entry["source"], entry["epoch"], entry["entry"]
        if said == "claim":
            self.claims += 1
            return
        mark = self.marks[source] = max(epoch, self.marks.get(source, epoch))
        if epoch < mark:
            self.superseded += 1
            return
        self.in_order(source, epoch, entry["seq"], message)
        kind, what = next(iter(said.items()))
        if kind == "open":
            self.opens += 1
            self.cold += what["cold"]
            # Before anything was saved, a second owner starts as cold as the first.
            if what["cold"] and source in self.warm:
                self.forgotten.append(source)
            if not what["cold"]:
                self.warm.add(source)
        elif kind == "told":
            self.told[next(iter(what["told"]))] += 1
        elif kind == "alerts":
            for alert in what["alerts"]:
                self.alert(alert, what.get("rules", []), entry, message)
        else:
            self.wrong.append(f"an entry of kind {kind}")

    def in_order(self, source, epoch, seq, message):
        """What one owner wrote is all there, once, in its order."""
        expected = self.next_seq.get((source, epoch))
        if expected is not None and seq != expected:
            self.wrong.append(f"{source} epoch {epoch}: seq {seq} where {expected} was due, at {message.offset}")
        self.next_seq[source, epoch] = seq + 1

    def alert(self, alert, rules, entry, message):
        self.times_said[alert["id"]] += 1
        rule = rules[alert["rule"]]["id"]
        self.alerts[alert["id"]] = Said(
            rule, alert["severity"], alert["count"], alert["folds"], json.dumps(alert["observed"]), alert["time"],
            alert["broker_time"], message.time, "event" not in alert)

    def doubled(self):
        return {name: times for name, times in self.times_said.items() if times > 1}

    def latencies(self):
        """Seconds from the broker's time of the event that fired to the broker's time of the journal's record."""
        return sorted((said.written - said.broker_time / 1000) / 1000
                      for said in self.alerts.values() if not said.closed)


def quantile(ordered, q):
    """Of a sorted list; NaN if it is empty."""
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else float("nan")
