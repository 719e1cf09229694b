"""Hostile and broken networks: Kafka behind TLS and passwords, sinks behind TLS, and what goes wrong with each.

Whatever is refused must be said so that a person can mend it, must lose nothing, and must not touch the other sinks.
Every secret of these runs is a marker that nothing printed may hold.
"""

import base64
import concurrent.futures
import json
import secrets
import signal
import subprocess
import time

import certs
import faults
import suite
from servers import Process, free_port

USER = "fleetwarden"
CONFIG = """
rules   = "{rules}"
schemas = "{schemas}"
workers = 1

[kafka]
brokers = "{brokers}"
group   = "{group}"
dead_letter_topic = "{dead_letters}"
unplaced = "skip"
{kafka}
[http]
listen = "127.0.0.1:{http}"

[log]
level = "{level}"

[sinks.copy]
type = "file"
path = "{copy}"
{sinks}
"""


class Pki:
    """The authorities of a run and what they signed, and its secrets."""

    def __init__(self, folder):
        self.right, self.other = certs.Authority(folder / "right", "the right"), certs.Authority(folder / "other", "another")
        self.right.sign("server")
        self.right.expired("lapsed-server")
        self.client, self.key = self.right.sign("client")
        self.lapsed, self.lapsed_key = self.right.expired("lapsed")
        self.secrets = {name: f"marker-{name}-{secrets.token_hex(6)}" for name in
                        ("sasl", "key", "password", "api-key", "token", "wrong", "settings")}
        self.locked = self.right.lock(self.key, self.secrets["key"])
        for name, text in self.secrets.items():
            (folder / f"secret-{name}").write_text(text + "\n")
        self.folder = folder

    def server(self, name="server"):
        return self.right.folder / f"{name}.both"

    def markers(self):
        """What nothing may hold: secrets, and what becomes of them in a header."""
        plain = list(self.secrets.values())
        encoded = [base64.b64encode(text.encode()).decode().rstrip("=")
                   for secret in plain for text in (secret, f"{USER}:{secret}")]
        return [text.encode() for text in plain + encoded]


def table(name, **keys):
    """A TOML table of texts; Python's underscores stay."""
    lines = "".join(f'{key} = {json.dumps(str(value))}\n' for key, value in keys.items())
    return f"[{name}]\n{lines}"


class Program(suite.Fleetwarden):
    """Fleetwarden with a configuration of its own, and all that it ever answered."""

    def __init__(self, name, network, kafka, sinks="", level="info", broker="mtls", env=None):
        folder = network.folder / name
        Process.__init__(self, "fleetwarden", folder)
        self.binary, self.http, self.env = network.suite.binary, free_port(), env or {}
        self.url, self.copy, self.group = f"http://127.0.0.1:{self.http}", folder / "copy.ndjson", f"network-{name}"
        self.config, self.broker, self.level, self.network = folder / "fleetwarden.toml", broker, level, network
        self.configure(kafka, sinks)

    def configure(self, kafka, sinks):
        self.config.write_text(CONFIG.format(
            rules=self.network.suite.program.rules, schemas=suite.ROOT / "schemas", group=self.group,
            dead_letters=suite.DEAD_LETTERS, brokers=f"localhost:{self.network.suite.kafka.ports[self.broker]}", kafka=kafka,
            sinks=sinks, http=self.http, level=self.level, copy=self.copy))

    def begin(self):
        self.launch([self.binary, "run", "-c", self.config], {"RUST_BACKTRACE": "full", **self.env})

    def run(self):
        """To its end: exit code, what it said, seconds."""
        began = time.monotonic()
        command = [self.binary, "run", "-c", self.config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=self.folder,
                              env={**suite.os.environ, "RUST_BACKTRACE": "full", **self.env})
        with (self.folder / "fleetwarden.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        return done.returncode, done.stdout + done.stderr, time.monotonic() - began

    def keep_pages(self):
        for path in ("/metrics", "/readyz", "/livez"):
            (self.folder / f"page{path.replace('/', '-')}").write_text(self.answer(path)[1])

    def ids(self):
        lines = self.copy.read_text().splitlines() if self.copy.exists() else []
        return {json.loads(line)["id"] for line in lines if line.endswith("}")}

    def sinks(self):
        return json.loads(self.answer("/readyz")[1])["sinks"]


class Network:
    def __init__(self, whole):
        self.suite, self.report, self.pki = whole, whole.report, whole.pki
        self.folder = whole.folder / "network"
        self.programs, self.siems = [], []

    def run(self):
        self.ids = {alert["id"] for alert in self.suite.expected("network")[0]}
        try:
            self.sinks_behind_tls()
            self.a_password()
            self.a_broker_that_hangs()
        finally:
            for running in [*self.programs, *self.siems]:
                running.stop()
        self.nothing_was_told()

    def siem(self, server="server"):
        made = faults.Siem(faults.context(self.pki.server(server), self.pki.right.ca))
        self.siems.append(made)
        return made

    def until(self, name, ready, seconds=45, detail=lambda: ""):
        """Waits for something that must come, and reports it."""
        end = time.monotonic() + seconds
        while not ready() and time.monotonic() < end:
            time.sleep(0.2)
        return self.report.check(name, ready(), detail())

    def complete(self, name, taken, once=False):
        self.until(name, lambda: set(taken()) == self.ids,
                   detail=lambda: f"{len(taken())} of {len(self.ids)} ids, {sum(taken().values())} events")
        if once:
            self.report.check(f"{name}, each once", sum(taken().values()) == len(self.ids))

    def sinks_behind_tls(self):
        """One sink is right; the others each have one thing wrong."""
        pki, right = self.pki, {"cert_file": self.pki.client, "key_file": self.pki.key}
        good, stranger, distrusted, lapsed = self.siem(), self.siem(), self.siem(), self.siem("lapsed-server")
        def sinks(mended):
            bulk = {"type": "opensearch", "user": USER, "password": f"${{file:{pki.folder}/secret-password}}"}
            keys = {"type": "elasticsearch", "api_key": f"${{file:{pki.folder}/secret-api-key}}"}
            ca = {"ca_file": pki.right.ca}
            return (table("sinks.good", type="splunk", url=good.url, token="${env:TOKEN}", **right, **ca)
                    + table("sinks.stranger", url=stranger.url, **bulk, **ca, **(right if mended else {}))
                    + table("sinks.distrusts", url=distrusted.url, **keys, **right,
                            ca_file=pki.right.ca if mended else pki.other.ca)
                    + table("sinks.lapsed", url=lapsed.url, timeout="2s", **bulk, **right, **ca))
        kafka = table("kafka.tls", ca_file=pki.right.ca, cert_file=pki.client, key_file=pki.locked,
                      key_password=f"${{file:{pki.folder}/secret-key}}")
        env = {"TOKEN": pki.secrets["token"]}
        program = Program("mtls", self, kafka, sinks(mended=False), level="debug", env=env)
        self.programs.append(program)
        program.start()
        self.complete("mutual TLS with Kafka and a collector: events are the alerts of replay", lambda: good.taken, once=True)
        self.until("while other sinks are refused: the file has all alerts", lambda: program.ids() == self.ids,
                   detail=lambda: f"{len(program.ids())} ids")
        blocked = lambda name: (program.sinks()[name]["blocked"] or {})
        for name, siem, why, mend in [
                ("stranger", stranger, "", "cert_file"), ("distrusts", distrusted, "UnknownIssuer", "ca_file"),
                ("lapsed", lapsed, "expired", "ca_file")]:
            self.until(f"a sink that {name}: is blocked, says why and what to do, and was told nothing",
                       lambda: why in blocked(name).get("why", "") and mend in blocked(name).get("mend", "")
                       and not siem.taken and not siem.told, detail=lambda: json.dumps(blocked(name)))
        status, _ = program.answer("/readyz")
        self.report.check("refused by sinks, Fleetwarden is ready", status == 200, f"{status}")
        program.keep_pages()
        # The server's certificate is renewed; it takes little at a time, and its first answers come too late.
        lapsed.limit, lapsed.late = 20_000, [4, 4]
        lapsed.context = faults.context(pki.server(), pki.right.ca)
        self.kafka_refuses()
        self.complete("a server's certificate renewed, with 413 and late answers: all arrives without a restart",
                      lambda: lapsed.taken, once=True)
        self.report.check("it was asked for less, and again", max(size for _, size in lapsed.told) > lapsed.limit,
                          f"{len(lapsed.told)} requests")
        code = program.signal(signal.SIGTERM)
        self.report.check("with refused sinks: ends with 0", code == 0, f"exit {code}")
        program.configure(kafka, sinks(mended=True))
        program.start()
        self.complete("the right certificate after a restart: nothing is lost", lambda: stranger.taken, once=True)
        self.complete("the right authority after a restart: nothing is lost", lambda: distrusted.taken, once=True)
        self.tls_program = program

    def kafka_refuses(self):
        """Each ends by itself, soon, with 2 and what to do; and reads nothing."""
        pki = self.pki
        ours = {"ca_file": pki.right.ca, "cert_file": pki.client, "key_file": pki.key}
        lapsed = {"security.protocol": "ssl", "ssl.ca.location": pki.right.ca,
                  "ssl.certificate.location": pki.lapsed, "ssl.key.location": pki.lapsed_key}
        raw = "[kafka.settings]\n" + "".join(f'"{key}" = "{value}"\n' for key, value in lapsed.items())
        user = {"user": USER, "password": f"${{file:{pki.folder}/secret-wrong}}"}
        locked = {**ours, "key_file": pki.locked, "key_password": f"${{file:{pki.folder}/secret-wrong}}"}
        trusted = table("kafka.tls", ca_file=pki.right.ca)
        cases = [
            ("no client certificate", "mtls", trusted, ["refuses our certificate", "`cert_file` and `key_file`"]),
            ("another authority", "mtls", table("kafka.tls", **{**ours, "ca_file": pki.other.ca}),
             ["the broker's certificate is not trusted", "`ca_file`"]),
            ("our certificate expired, seen by us", "mtls",
             table("kafka.tls", **{**ours, "cert_file": pki.lapsed, "key_file": pki.lapsed_key}),
             ["expired on 2025-02-01", "fleetwarden.toml:13:13"]),
            ("our certificate expired, seen by the broker", "mtls", raw, ["refuses our certificate"]),
            ("the broker's certificate expired", "lapsed", table("kafka.tls", **ours), ["not trusted", "must not have expired"]),
            ("a wrong password", "scram", trusted + table("kafka.sasl", **user), ["refuses user, password", "[kafka.sasl]"]),
            ("another mechanism", "scram", trusted + table("kafka.sasl", mechanism="PLAIN", **user), ["mechanism"]),
            ("a key with a wrong password", "mtls", table("kafka.tls", **locked), ["`key_password` is wrong"]),
            ("no TLS where there is some", "mtls", "", ["ends the connection at once", "[kafka.tls]"]),
        ]
        def refused(number, case):
            name, broker, kafka, says = case
            program = Program(f"refused-{number}", self, kafka, level="trace", broker=broker)
            return program, program.run()
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            done = list(pool.map(refused, range(len(cases)), cases))
        for (name, _, _, says), (program, (code, text, seconds)) in zip(cases, done):
            told = text[text.rfind("error"):]
            good = code == 2 and all(part in text for part in says) and seconds < 14 and not program.copy.exists()
            good = good and not any(self.suite.cluster.committed(program.group).values())
            self.report.check(f"Kafka refuses: {name}", good, f"exit {code} after {seconds:.1f} s, {' '.join(told.split())[:260]}")

    def a_password(self):
        """SCRAM over TLS, with everything logged that can be; sinks that refuse every credential."""
        pki = self.pki
        siem = self.siem()
        siem.status = 401
        files = {"ca_file": pki.right.ca, "cert_file": pki.client, "key_file": pki.key}
        sinks = (table("sinks.user", type="opensearch", url=siem.url, user=USER,
                       password=f"${{file:{pki.folder}/secret-password}}", **files)
                 + table("sinks.key", type="elasticsearch", url=siem.url, api_key="${env:API_KEY}", **files)
                 + table("sinks.token", type="splunk", url=siem.url, token=f"${{file:{pki.folder}/secret-token}}", **files))
        kafka = (table("kafka.tls", ca_file=pki.right.ca)
                 + table("kafka.sasl", user=USER, password=f"${{file:{pki.folder}/secret-sasl}}")
                 + '[kafka.settings]\n"debug" = "all"\n"ssl.keystore.password" = "${env:SETTINGS}"\n')
        env = {"API_KEY": pki.secrets["api-key"], "SETTINGS": pki.secrets["settings"]}
        program = Program("scram", self, kafka, sinks, level="trace", broker="scram", env=env)
        self.programs.append(program)
        program.start()
        self.until("SCRAM-SHA-512 over TLS: the file has the alerts of replay", lambda: program.ids() == self.ids,
                   detail=lambda: f"{len(program.ids())} of {len(self.ids)} ids")
        states = program.sinks()
        blocked = [name for name in ("user", "key", "token") if "401" in (states[name]["blocked"] or {}).get("why", "")]
        self.report.check("sinks that refuse our credentials: alarm, and wait", len(blocked) == 3 and not siem.taken,
                          json.dumps(states["user"]["blocked"]))
        program.keep_pages()
        program.signal(signal.SIGTERM)

    def a_broker_that_hangs(self):
        """It keeps its connections and says nothing: what waits there cannot be seen, and that is said."""
        program, kafka = self.tls_program, self.suite.kafka
        kafka.child.send_signal(signal.SIGSTOP)
        try:
            self.until("a broker that hangs: not ready, and says so", lambda: program.status("/readyz") == 503, 30,
                       lambda: " ".join(program.answer("/readyz")[1].split())[:220])
        finally:
            kafka.child.send_signal(signal.SIGCONT)
        self.until("it goes on: ready again", lambda: program.status("/readyz") == 200, 30)
        program.keep_pages()
        program.signal(signal.SIGTERM)

    def nothing_was_told(self):
        letters = self.suite.cluster.read(suite.DEAD_LETTERS, 1)
        (self.folder / "letters").write_bytes(b"\n".join(letter.value for letter in letters))
        looked, found = 0, []
        own = [path for folder in (self.folder, self.suite.folder / "fleetwarden") for path in folder.rglob("*")
               if path.is_file() and path.suffix != ".toml" and path.stat().st_size > 0]
        for path in own:
            text = path.read_bytes()
            looked += len(text)
            found += [f"{path.parent.name}/{path.name}" for marker in self.pki.markers() if marker in text]
        self.report.check("no secret in anything printed, answered or written", not found and looked > 100_000,
                          ", ".join(sorted(set(found))[:5]) or f"{len(own)} files, {looked / 1e6:.1f} MB")
