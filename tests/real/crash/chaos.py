"""Kills, stops and restarts processes at random, by a seed, and measures how long the group takes to be itself again."""

import heapq
import itertools
import random
import signal
import threading
import time

from crash.member import SESSION

# Of a hundred strikes.
KILL, STILL, TERM = 70, 20, 10


class Watch(threading.Thread):
    """Looks at every process several times a second."""

    def __init__(self, members, partitions):
        super().__init__(daemon=True)
        self.members, self.partitions, self.going = members, partitions, True
        # Strikes that have no recovery yet; seconds of those that had one before the next strike.
        self.open, self.recoveries = [], []
        self.start()

    def run(self):
        while self.going:
            began = time.monotonic()
            pages = [page for page in [member.scrape() for member in self.members] if page is not None]
            if self.well(pages) and self.open:
                # Of strikes that came together, the last one counts.
                self.recoveries.append(began - self.open[-1])
                self.open.clear()
            time.sleep(max(0.0, 0.25 - (time.monotonic() - began)))

    def well(self, pages):
        """Every partition is owned, none repeats its past, and hardly anything waits."""
        owned = sum(page.total("fleetwarden_worker_partitions") for page in pages)
        lag = sum(page.total("fleetwarden_consumer_lag_records") for page in pages)
        replaying = sum(page.total("fleetwarden_partitions_replaying") for page in pages)
        return owned == self.partitions and lag < 100 and replaying == 0

    def struck(self):
        self.open.append(time.monotonic())

    def finish(self):
        self.going = False
        self.join(10)


class Chaos:
    """Strikes until so many kills have been done or so much time is over."""

    def __init__(self, members, watch, seed, note, brokers=None, places=()):
        self.members, self.watch, self.dice, self.note = members, watch, random.Random(seed), note
        # Three nodes whose leaders are killed too, and the partitions that are led; none = of one node.
        self.brokers, self.places = brokers, list(places)
        self.kills, self.zombies, self.restarts, self.broker_kills, self.bad_exits = 0, 0, 0, 0, []
        # What is to be done later: (when, number, what).
        self.later, self.numbers = [], itertools.count()

    def run(self, kills, seconds):
        began = strike = time.monotonic()
        broker = began + 20
        while self.kills < kills and time.monotonic() - began < seconds:
            now = time.monotonic()
            self.do_what_is_due(now)
            if now >= strike:
                strike = now + self.pause()
                self.strike(now)
            if self.brokers is not None and now >= broker:
                broker = now + 45
                self.kill_broker(now)
            time.sleep(0.02)

    def calm(self):
        """All processes and brokers run again."""
        while self.later:
            heapq.heappop(self.later)[2]()
        for member in self.members:
            if not member.running():
                member.begin()

    def do_what_is_due(self, now):
        while self.later and self.later[0][0] <= now:
            heapq.heappop(self.later)[2]()
        for member in self.members:
            if member.state == "up" and not member.running():
                self.bad_exits.append(f"{member.name} ended with {member.child.returncode}: {member.tail(3)}")
                member.begin()

    def after(self, now, seconds, what):
        heapq.heappush(self.later, (now + seconds, next(self.numbers), what))

    def pause(self):
        """Often long enough for a takeover to end, sometimes in the middle of one."""
        return self.dice.uniform(0.2, 2) if self.dice.random() < 0.3 else self.dice.uniform(2, 10)

    def strike(self, now):
        up = [member for member in self.members if member.state == "up"]
        if not up:
            return
        member, kind = self.dice.choice(up), self.dice.choices(["kill", "still", "term"], [KILL, STILL, TERM])[0]
        self.watch.struck()
        if kind == "kill":
            member.state = "dead"
            member.kill()
            self.kills += 1
            if self.kills % 10 == 0:
                self.note(f"{self.kills} kills")
            self.after(now, self.dice.uniform(0.1, 3), member.begin)
        elif kind == "still":
            member.state = "still"
            member.child.send_signal(signal.SIGSTOP)
            self.zombies += 1
            self.after(now, self.dice.uniform(0.5, 2) * SESSION, lambda: self.wake(member))
        else:
            member.state = "dead"
            self.restarts += 1
            # Until its first line runs, a process cannot do anything about a signal.
            unborn = time.monotonic() - member.since < 0.5
            code = member.signal(signal.SIGTERM, 30)
            if code != 0 and not (unborn and code == -signal.SIGTERM):
                self.bad_exits.append(f"{member.name} ended with {code} on SIGTERM")
            self.after(time.monotonic(), self.dice.uniform(0, 1), member.begin)

    def wake(self, member):
        member.child.send_signal(signal.SIGCONT)
        member.state = "up"

    def kill_broker(self, now):
        """The leader of a partition dies under load, unless one is away already."""
        if any(not node.running() for node in self.brokers.nodes.values()) or not self.brokers.whole():
            return
        node = self.brokers.leader(*self.dice.choice(self.places))
        node.kill()
        self.broker_kills += 1
        self.note(f"{node.name} killed")
        self.after(now, self.dice.uniform(4, 12), node.begin)
