//! No secret is ever printed: the program runs in many ways that fail and one that does not, with a marker as
//! every secret, and everything that it says is searched for it.
//!
//! What needs a server that knows passwords is in `tests/real`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleetwarden::event::Timestamp;
use fleetwarden::kafka::mock::Mock;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// What must not be seen, in any of the forms in which it travels: as it is, as base64, as base64 behind
/// `user:`.
const MARKER: &str = "hunter2-k7q9";
const FORMS: [&str; 3] = [MARKER, "aHVudGVyMi1rN3E5", "dXNlcjpodW50ZXIyLWs3cTk"];

/// A program under test; a test that fails leaves none behind.
struct Started(Child);

impl Started {
    fn wait(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A folder with a secret in a file, and one with a NUL in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("fleetwarden-secrets-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("rules")).unwrap();
        fs::write(path.join("secret"), format!("{MARKER}\n")).unwrap();
        fs::write(path.join("nul"), format!("{MARKER}\0")).unwrap();
        let rule = "title = \"T\"\nseverity = \"high\"\nrisk = 10\nstream = \"telemetry\"\n[match]\n\
                    where = \"speed > 250\"\nkey = [\"vin\"]\n";
        fs::write(path.join("rules/fast.toml"), rule).unwrap();
        for name in ["ca.pem", "client.pem", "client.key", "locked.key"] {
            let tls = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/wire/tls");
            fs::copy(tls.join(name), path.join(name)).unwrap();
        }
        Place(path)
    }

    /// Starts `fleetwarden run` with a configuration; everything it says goes to one file.
    fn start(&self, name: &str, config: &str) -> Started {
        let file = self.0.join(format!("{name}.toml"));
        fs::write(&file, config).unwrap();
        let said = fs::File::create(self.0.join(format!("{name}.said"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetwarden"));
        command.args(["run", "-c"]).arg(&file).env("SECRET", MARKER).env("RUST_BACKTRACE", "full");
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        Started(command.spawn().unwrap())
    }

    fn said(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.0.join(format!("{name}.said"))).unwrap()).into_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn assert_hidden(what: &str, text: &str) {
    for form in FORMS {
        assert!(!text.contains(form), "{what} tells {form}: {text}");
    }
}

const KAFKA: &str = "[kafka]\nbrokers = \"127.0.0.1:1\"\n";
const TLS: &str = "[kafka.tls]\ncert_file = \"client.pem\"\n";
const SINK: &str = "[sinks.a]\ntype = \"opensearch\"\nurl = \"https://127.0.0.1:1\"\n";

/// Configurations that nothing starts with. `@E` is the secret in an environment variable, `@F` in a file, and
/// `@M` as it is.
const REFUSED: [&str; 24] = [
    "[kafka.sasl]\nuser = \"user\"\npassword = \"@M\n",
    "[kafka.sasl]\nuser = \"user\"\npassword = @M\n",
    "[kafka.sasl]\nuser = \"user\"\npasword = \"@M\"\n",
    "[kafka.sasl]\nuser = \"user\"\npassword = [\"@M\"]\n",
    "[kafka.sasl]\nuser = \"user\"\npassword = \"@E\"\nmechanism = \"@E\"\n",
    "[kafka.sasl]\nuser = \"user\"\npassword = \"${file:nul}\"\n",
    "[kafka.sasl]\nuser = \"user\"\npassword = \"@E\"\n[kafka.settings]\n\"sasl.password\" = \"@F\"\n",
    "[kafka.settings]\n\"security.protocol\" = \"@E\"\n\"sasl.pasword\" = \"@M\"\n",
    "[kafka.settings]\n\"security.protocol\" = \"ssl\"\n\"ssl.key.password\" = \"@F\"\n\"ssl.key.location\" = \"@E\"\n\"ssl.ca.location\" = \"@E\"\n",
    "[kafka.producer]\n\"ssl.key.pem\" = \"@E\"\n\"linger.ms\" = \"@E\"\n",
    "@TLSkey_file = \"locked.key\"\nkey_password = \"@E\"\n[sinks.a]\ntype = \"stdout\"\nx = \"@M\"\n",
    "@TLSkey_file = \"locked.key\"\nkey_password = \"@F\"\n",
    "@TLSkey_file = \"@E\"\nkey_password = \"@M\"\n",
    "@TLSkey_file = \"\"\"-----BEGIN PRIVATE KEY-----\n@M\n-----END\"\"\"\n",
    "@SINKuser = \"user\"\npassword = \"@E\"\napi_key = \"@F\"\n",
    "@SINKpassword = \"@E\"\n",
    "@SINKapi_key = \"${file:nul}\"\n",
    "@SINKapi_key = \"@M\"\ntimeout = \"@E\"\nbatch = \"@F\"\n",
    "@SINKcert_file = \"client.pem\"\nkey_file = \"@F\"\nca_file = \"@E\"\n",
    "@SINKcert_file = \"client.pem\"\nkey_file = \"locked.key\"\npassword = \"@M\"\nuser = \"user\"\n",
    "[sinks.a]\ntype = \"opensearch\"\nurl = \"https://user:@M@127.0.0.1:1\"\n",
    "[sinks.a]\ntype = \"splunk\"\nurl = \"@E\"\ntoken = \"@F\"\n",
    "[sinks.a]\ntype = \"splunk\"\nurl = \"https://127.0.0.1:1\"\ntoken = \"@E \\n\"\n",
    "[sinks.a]\ntype = \"@E\"\ntoken = \"@M\"\n[log]\nlevel = \"@E\"\n[http]\nlisten = \"@F\"\n",
];

#[test]
fn a_configuration_that_is_refused_tells_no_secret() {
    let place = Place::new("refused");
    let started: Vec<(String, Started)> = REFUSED
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let text = text.replace("@TLS", TLS).replace("@SINK", SINK).replace("@M", MARKER);
            let text = text.replace("@E", "${env:SECRET}").replace("@F", "${file:secret}");
            let name = format!("case-{number}");
            (name.clone(), place.start(&name, &format!("{KAFKA}{text}")))
        })
        .collect();
    for (name, mut child) in started {
        let code = child.wait();
        let said = place.said(&name);
        assert_eq!(code, Some(2), "{name}: {said}");
        assert!(said.contains("error"), "{name} says what is wrong: {said}");
        assert_hidden(&name, &said);
    }
}

#[test]
fn without_a_broker_no_secret_is_told() {
    let place = Place::new("alone");
    let config = format!(
        "{KAFKA}{TLS}ca_file = \"ca.pem\"\nkey_file = \"client.key\"\nkey_password = \"${{env:SECRET}}\"\n\
         [kafka.sasl]\nuser = \"user\"\npassword = \"${{file:secret}}\"\n[kafka.settings]\n\"debug\" = \"all\"\n\
         \"ssl.keystore.password\" = \"{MARKER}\"\n[log]\nlevel = \"trace\"\n{SINK}api_key = \"{MARKER}\"\n"
    );
    let code = place.start("alone", &config).wait();
    let said = place.said("alone");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no answer from Kafka at 127.0.0.1:1"), "{said}");
    assert_hidden("a run without a broker", &said);
}

/// A server that quotes the credentials it is sent, in everything that it says.
fn quoting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || quote(stream.unwrap()));
        }
    });
    address
}

fn quote(mut stream: TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    let told = header("authorization");
    let wrong = format!("{{\"type\":\"{told}\",\"reason\":\"you said {told}\"}}");
    let documents = body.iter().filter(|byte| **byte == b'\n').count() / 2;
    let (status, text) = if head.contains("/_bulk") && head.contains("/dead") {
        let item = format!("{{\"create\":{{\"status\":400,\"error\":{wrong}}}}}");
        (200, format!("{{\"items\":[{}]}}", vec![item; documents].join(",")))
    } else if head.contains("/services/collector") {
        (400, format!("{{\"text\":\"you said {told}\",\"code\":6,\"invalid-event-number\":0}}"))
    } else {
        (403, format!("{{\"error\":{wrong}}}"))
    };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
    .unwrap();
}

fn get(address: &str, path: &str) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        stream.read_to_string(&mut text).ok();
    }
    text
}

/// Headers and values of the dead letters, once there are `n`.
fn letters(brokers: &str, n: usize) -> String {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "reader").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("fleetwarden.dead-letters", 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let (mut text, mut found) = (String::new(), 0);
    let end = Instant::now() + Duration::from_secs(20);
    while found < n && Instant::now() < end {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        found += 1;
        text.push_str(&String::from_utf8_lossy(message.payload().unwrap_or_default()));
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            let value = String::from_utf8_lossy(header.value.unwrap_or_default());
            text.push_str(&format!("\n{}: {value}\n", header.key));
        }
    }
    assert_eq!(found, n, "{text}");
    text
}

#[test]
fn a_run_whose_sinks_quote_what_they_are_sent_tells_no_secret() {
    let place = Place::new("running");
    let mock = Mock::start().unwrap();
    mock.create_topic("vehicle.telemetry", 1).unwrap();
    mock.create_topic("fleetwarden.dead-letters", 1).unwrap();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let siem = quoting();
    let config = format!(
        "[kafka]\nbrokers = \"{}\"\n[kafka.settings]\n\"debug\" = \"all\"\n\"sasl.password\" = \"${{env:SECRET}}\"\n\
         \"ssl.key.password\" = \"${{file:secret}}\"\n[kafka.consumer]\n\"session.timeout.ms\" = 6000\n\
         \"heartbeat.interval.ms\" = 300\n[http]\nlisten = \"{listen}\"\n[log]\nlevel = \"trace\"\n\
         [sinks.user]\ntype = \"opensearch\"\nurl = \"http://{siem}\"\nuser = \"user\"\npassword = \"${{env:SECRET}}\"\n\
         [sinks.key]\ntype = \"elasticsearch\"\nurl = \"http://{siem}/dead\"\napi_key = \"${{file:secret}}\"\n\
         template = false\ngzip = false\n[sinks.token]\ntype = \"splunk\"\nurl = \"http://{siem}\"\ntoken = \"${{env:SECRET}}\"\n",
        mock.brokers()
    );
    let mut child = place.start("running", &config);
    let record = br#"{"vin":"V1","ts":1,"speed":290}"#;
    mock.send("vehicle.telemetry", 0, b"V1", record, Timestamp::from_millis(1_750_000_000_000)).unwrap();
    mock.flush().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let mut pages = String::new();
    while !(pages.contains("403") && pages.contains("sink_refused_total{sink=\"token\"} 1"))
        && Instant::now() < end
    {
        pages = ["/readyz", "/livez", "/metrics"].map(|path| get(&listen, path)).join("\n");
        std::thread::sleep(Duration::from_millis(50));
    }
    let letters = letters(&mock.brokers(), 2);
    let stopped = Command::new("kill").arg(child.0.id().to_string()).status().unwrap();
    let code = child.wait();
    let said = place.said("running");
    assert!(stopped.success() && code == Some(0), "{said}");
    assert!(pages.contains("403"), "{pages}");
    assert!(letters.contains("you said") && letters.contains("***"), "{letters}");
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "everything is logged");
    assert_hidden("a page", &pages);
    assert_hidden("a dead letter", &letters);
    assert_hidden("a log", &said);
}

#[test]
fn help_tells_no_secret() {
    for words in
        [&["--help"][..], &["run", "--help"], &["run", "-c", "/nowhere/${env:SECRET}"], &["--version"]]
    {
        let done = Command::new(env!("CARGO_BIN_EXE_fleetwarden"))
            .args(words)
            .env("SECRET", MARKER)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert!(!said.is_empty(), "{words:?}");
        assert_hidden(&format!("{words:?}"), &said);
    }
}
