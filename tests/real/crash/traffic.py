"""Records of a fleet, drawn from a seed, at a steady pace, with partitions that fall silent now and then.

The rules beside this file fire on them at a known rate: of a hundred records two on one event, two with suppression, and
so on. Ids of alerts never depend on when a partition was told that nothing came.
"""

import json
import random
import threading
import time

PARTITIONS = 8
VEHICLES = 240
# Seconds until the last window of any rule has closed: five, and the grace.
CLOSED = 9
# Some 400 bytes a record, as telematics units send.
NOTE = "x" * 220


class Vehicle:
    def __init__(self, number):
        self.vin, self.partition, self.sent = f"XFWC{number:013}", number % PARTITIONS, 0
        # One in five is fast.
        self.speed = 80 if number % 5 == 0 else 40

    def record(self, dice, now):
        """One message of this vehicle; `now` in ms."""
        self.sent += 1
        late = 30_000 if dice.random() < 0.01 else dice.randrange(1_500)
        record = {"vin": self.vin, "ts": now - late, "seq": self.sent,
                  "speed": round(self.speed + dice.uniform(-25, 25), 1),
                  "rpm": 7_000 if dice.random() < 0.02 else 2_000,
                  "battery_v": 9.5 if dice.random() < 0.02 else 12.6,
                  "brake": 95 if dice.random() < 0.08 else 10, "note": NOTE}
        if dice.random() < 0.1:
            record["src_ip"] = f"100.64.0.{dice.randrange(1, 60)}"
        return json.dumps(record, separators=(",", ":"))


class Traffic(threading.Thread):
    """Writes until it is finished. Failures to write are errors: what was not taken cannot be found."""

    def __init__(self, cluster, topic, seed, rate):
        super().__init__(daemon=True)
        self.cluster, self.topic, self.rate, self.dice = cluster, topic, rate, random.Random(seed)
        self.vehicles = [Vehicle(number) for number in range(VEHICLES)]
        self.sent, self.going, self.error = 0, True, None
        # Partition → until when it is silent.
        self.silent = {}
        self.start()

    def run(self):
        began = last = time.monotonic()
        try:
            while self.going:
                now = time.monotonic()
                ahead = self.sent / self.rate - (now - began)
                if ahead > 0:
                    time.sleep(min(ahead, 0.02))
                    continue
                if now - last > 3:
                    last = now
                    self.fall_silent(now)
                self.one(now)
        except Exception as error:  # told by finish()
            self.error = error

    def fall_silent(self, now):
        """For longer than a window and its grace: what is pending must be closed by the clock."""
        for partition in self.dice.sample(range(PARTITIONS), self.dice.randrange(3)):
            self.silent[partition] = now + self.dice.uniform(4, 14)

    def one(self, now):
        vehicle = self.dice.choice(self.vehicles)
        if self.silent.get(vehicle.partition, 0) <= now:
            value = vehicle.record(self.dice, int(time.time() * 1000))
            self.cluster.send(self.topic, value, vehicle.vin, vehicle.partition)
        self.sent += 1

    def finish(self):
        self.going = False
        self.join(120)
        if self.error is not None or self.is_alive():
            raise AssertionError(f"the producer did not get through: {self.error}")
        # Live, the last windows are closed by the clock. A record behind them closes them in an undisturbed run too.
        time.sleep(CLOSED)
        for partition in range(PARTITIONS):
            record = {"vin": f"XFWCEND{partition:010}", "ts": int(time.time() * 1000)}
            self.cluster.send(self.topic, json.dumps(record), record["vin"], partition)
        self.cluster.flush()
