"""Every query of the Grafana dashboard, asked of a real Prometheus that scrapes a running Fleetwarden."""
import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request

import servers

DASHBOARD = pathlib.Path(__file__).resolve().parents[2] / "deploy/grafana/dashboards/fleetwarden.json"
# What Grafana fills in.
VARIABLES = {"$__rate_interval": "30s", "$__range": "1h", "$rule": ".*"}
# Series that exist once there was a reason.
MAY_BE_EMPTY = ("> 0", "fleetwarden_gap_records_total")


def queries():
    """Title and expression of every target."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            found.append((panel["title"], expression))
    return found


def ask(address, expression):
    """The number of series that an expression gives, or what is wrong with it."""
    url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return len(json.load(answer)["data"]["result"]), ""
    except urllib.error.HTTPError as error:
        return 0, json.load(error).get("error", str(error))


class Prometheus(servers.Process):
    """Scrapes one target every second."""

    def __init__(self, program, target, folder):
        super().__init__("prometheus", folder)
        self.program, self.address = program, f"127.0.0.1:{servers.free_port()}"
        self.config = folder / "prometheus.yml"
        self.config.write_text(json.dumps({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "fleetwarden", "static_configs": [{"targets": [target]}]}],
        }))

    def begin(self):
        self.launch([self.program, f"--config.file={self.config}", f"--storage.tsdb.path={self.folder}/data",
                     f"--web.listen-address={self.address}"])

    def ready(self):
        # A rate needs two scrapes.
        enough = "count_over_time(fleetwarden_build_info[1m]) >= 3"
        self.wait_until(lambda: ask(self.address, enough)[0] > 0, 30, "three scrapes")


def check(program, target, folder):
    """(number of queries, what did not resolve). `program` is Prometheus, `target` host:port of the metrics."""
    prometheus = Prometheus(program, target, folder / "prometheus")
    prometheus.start()
    try:
        wrong = []
        for title, expression in queries():
            series, error = ask(prometheus.address, expression)
            if error or (series == 0 and not any(part in expression for part in MAY_BE_EMPTY)):
                wrong.append(f"{title}: {expression}: {error or 'no series'}")
        return len(queries()), wrong
    finally:
        prometheus.stop()
