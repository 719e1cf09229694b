"""What is played: main.py BINARY [network | backpressure | crash | deadsink | latency] [options]."""

import argparse

from crash.measure import DeadSink, Latency
from crash.stage import Stage
from crash.trial import Trial
from network import Network, Pki
from pressure import Pressure
from suite import Suite, play

PARTS = ["all", "network", "backpressure", "crash", "deadsink", "latency"]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("part", nargs="?", choices=PARTS, default="all")
    parser.add_argument("--minutes", type=float, help="backpressure: how long the sink stands still; crash: the longest time")
    of_crash = parser.add_argument_group("crash, deadsink, latency")
    of_crash.add_argument("--kills", type=int, default=200, help="how often a process is killed")
    of_crash.add_argument("--seed", type=int, default=1, help="of the records and of what is done to the processes")
    of_crash.add_argument("--nodes", type=int, choices=[1, 3], default=1, help="of Kafka; of three, leaders are killed too")
    of_crash.add_argument("--processes", type=int, default=2)
    of_crash.add_argument("--rate", type=int, default=400, help="records a second")
    of_crash.add_argument("--no-opensearch", action="store_true", help="only the collector")
    return parser.parse_args()


def main():
    given = arguments()
    if given.part in ("crash", "deadsink", "latency"):
        given.minutes = given.minutes or 60
        part = {"crash": Trial, "deadsink": DeadSink, "latency": Latency}[given.part]
        opensearch = given.part == "crash" and not given.no_opensearch
        make = lambda report, folder: Stage(report, folder, given.binary, given.nodes, opensearch)
        return play(make, [lambda stage: part(stage, given).run()])
    network = lambda suite: Network(suite).run()
    pressure = lambda suite: Pressure(suite, (given.minutes or 0.4) * 60).run()
    parts = {
        "all": [Suite.happy_path, Suite.foreign_collector, network, Suite.broker_dies, Suite.opensearch_dies,
                Suite.restarts, Suite.workers, pressure],
        "network": [Suite.happy_path, network],
        "backpressure": [pressure],
    }
    play(lambda report, folder: Suite(report, folder, given.binary, Pki), parts[given.part])


if __name__ == "__main__":
    main()
