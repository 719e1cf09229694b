"""One process of the group under test, and what it told in all of its lives."""

import collections
import re
import time

import suite
from servers import Process, free_port

SESSION = 6.0
CONFIG = """
rules   = "{rules}"
schemas = "{schemas}"
workers = 2

[kafka]
brokers           = "{brokers}"
group             = "{group}"
journal_topic     = "{group}.journal"
dead_letter_topic = "{group}.dead-letters"
start             = "earliest"

# The shortest that brokers allow: a process that stands still for longer is replaced, and wakes up as a zombie.
[kafka.consumer]
"session.timeout.ms"    = {session}
"heartbeat.interval.ms" = 1000

[streams.telemetry]
topic = "{topic}"

[checkpoints]
url   = "{store}"
every = "{every}"

[http]
listen = "127.0.0.1:{http}"
{sinks}
"""
SERIES = re.compile(r"^(fleetwarden_\w+)(?:\{(.*)\})? (\S+)$", re.M)


class Page:
    """One scrape."""

    def __init__(self, text):
        self.values = collections.defaultdict(dict)
        for name, labels, value in SERIES.findall(text):
            self.values[name][labels] = float(value)

    def total(self, name, label=""):
        return sum(value for labels, value in self.values[name].items() if label in labels)


class Member(suite.Fleetwarden):
    def __init__(self, folder, binary, name, **config):
        Process.__init__(self, name, folder)
        self.binary, self.http = binary, free_port()
        self.url, self.rules = f"http://127.0.0.1:{self.http}", config["rules"]
        self.config = folder / f"{name}.toml"
        config.setdefault("session", int(SESSION * 1000))
        config.setdefault("every", "2s")
        self.config.write_text(CONFIG.format(http=self.http, schemas=suite.ROOT / "schemas", **config))
        # "up", "still" (stopped by a signal) or "dead"; the last scrape of this life, and sums of earlier lives.
        self.state, self.page, self.past = "dead", None, collections.Counter()

    def begin(self):
        self.bury()
        self.launch([self.binary, "run", "-c", self.config])
        self.state, self.since = "up", time.monotonic()

    def bury(self):
        """What the last life counted goes to the sums: counters start anew."""
        if self.page is not None:
            self.past += collections.Counter(self.counts(self.page))
        self.page = None

    def scrape(self):
        """The page of this moment, or None."""
        if self.state != "up":
            return None
        try:
            self.page = Page(self.metrics())
            return self.page
        except OSError:
            return None

    @staticmethod
    def counts(page):
        """What must not happen, by name."""
        found = {"divergence": page.total("fleetwarden_divergence_total"),
                 "gaps": page.total("fleetwarden_gaps_total"), "sink gaps": page.total("fleetwarden_sink_gaps_total"),
                 "refused by sinks": page.total("fleetwarden_sink_refused_total"),
                 "failed checkpoints": page.total("fleetwarden_checkpoints_failed_total"),
                 "missing rule sets": page.total("fleetwarden_rule_sets_missing_total")}
        for labels, value in page.values["fleetwarden_blind_total"].items():
            reason = "blind: " + re.search(r'reason="(\w+)"', labels)[1]
            found[reason] = found.get(reason, 0) + value
        return {name: value for name, value in found.items() if value}

    def counted(self):
        """Over all lives; of one that was killed, what it said last."""
        now = collections.Counter(self.counts(self.page)) if self.page is not None else collections.Counter()
        return self.past + now
