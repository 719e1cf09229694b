"""What of the suite is played: main.py BINARY [network | backpressure [--minutes N]]."""

import argparse

from network import Network, Pki
from pressure import Pressure
from suite import Suite, play


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("part", nargs="?", choices=["all", "network", "backpressure"], default="all")
    parser.add_argument("--minutes", type=float, default=0.4, help="how long the sink stands still")
    given = parser.parse_args()
    network = lambda suite: Network(suite).run()
    pressure = lambda suite: Pressure(suite, given.minutes * 60).run()
    parts = {
        "all": [Suite.happy_path, Suite.foreign_collector, network, Suite.broker_dies, Suite.opensearch_dies,
                Suite.restarts, Suite.workers, pressure],
        "network": [Suite.happy_path, network],
        "backpressure": [pressure],
    }
    play(given.binary, Pki, parts[given.part])


if __name__ == "__main__":
    main()
