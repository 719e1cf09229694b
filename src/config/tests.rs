//! What is read, and how mistakes are told.

use super::*;

fn env(name: &str) -> Option<String> {
    match name {
        "BROKERS" => Some("k1:9092,k2:9092".into()),
        "SECRET" => Some("hunter2".into()),
        _ => None,
    }
}

fn read_in(folder: &Path, text: &str) -> Result<Config, (Source, Vec<Diagnostic>)> {
    let source = Source { path: "f.toml".into(), text: text.into() };
    read::read(&source, folder, &env).map_err(|problems| (source, problems))
}

fn read(text: &str) -> Result<Config, (Source, Vec<Diagnostic>)> {
    read_in(Path::new("conf"), text)
}

/// Every problem as `line:column message | hint`.
fn told(text: &str) -> Vec<String> {
    let (source, problems) = read(text).unwrap_err();
    problems
        .iter()
        .map(|p| {
            let (line, column) = p.position(&source.text);
            format!("{line}:{column} {} | {}", p.message, p.hint)
        })
        .collect()
}

#[test]
fn little_is_needed() {
    let config = read("[kafka]\nbrokers = \"k:9092\"\n").unwrap();
    assert_eq!(config.kafka.group, "fleetwarden");
    assert_eq!(config.kafka.dead_letter_topic, "fleetwarden.dead-letters");
    assert_eq!(config.kafka.start, kafka::Start::Earliest);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.rules, Path::new("conf/rules"));
    assert_eq!((config.workers, config.schemas), (None, None));
}

#[test]
fn everything_can_be_said() {
    let config = read(
        "workers = 3\nrules = \"r\"\nschemas = \"/s\"\n[kafka]\nbrokers = \"${env:BROKERS}\"\ngroup = \"g\"\n\
         start = \"latest\"\nunplaced = \"skip\"\nmissing_topics = \"wait\"\n[kafka.settings]\n\
         \"sasl.password\" = \"${env:SECRET}\"\n[kafka.consumer]\n\"fetch.min.bytes\" = 1000\n\
         [streams.telemetry]\ntopic = \"cars\"\n[streams.cloudtrail]\nenabled = false\n\
         [http]\nlisten = \"0.0.0.0:80\"\n\
         [limits]\ngrace = \"5s\"\nkeys = 10\ndepth = 32\n[log]\nformat = \"json\"\nlevel = \"debug\"\n",
    )
    .unwrap();
    assert_eq!(config.kafka.brokers, "k1:9092,k2:9092");
    assert_eq!(config.kafka.settings.0.get("sasl.password").map(String::as_str), Some("hunter2"));
    assert_eq!(config.kafka.consumer.0.get("fetch.min.bytes").map(String::as_str), Some("1000"));
    assert_eq!(config.streams["telemetry"], Stream { topic: Some("cars".into()), enabled: true });
    assert!(!config.streams["cloudtrail"].enabled);
    assert_eq!((config.limits.grace, config.limits.keys, config.limits.depth), (5_000_000, 10, 32));
    assert_eq!(config.limits.panes, Limits::default().panes);
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, LogLevel::Debug));
    assert_eq!(
        (config.rules.as_path(), config.schemas.as_deref()),
        (Path::new("conf/r"), Some(Path::new("/s")))
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let problems = told(
        "workers = 0\nrulez = \"r\"\n[kafka]\nbroker = \"k:9092\"\nbrokers = \"k:9092\"\nstart = \"first\"\n\
         [kafka.settings]\n\"enable.auto.commit\" = true\n\"fetch.min.bites\" = 3\n\
         \"ssl.ca.location\" = 1.5\n\
         [http]\nlisten = \"nowhere\"\n[limits]\ngrace = \"soon\"\nkeys = 0\nlimit = 3\n\
         [log]\nlevel = \"info \"\n",
    );
    let lines: Vec<&str> = problems.iter().map(|p| p.split(' ').next().unwrap()).collect();
    let expected =
        ["1:11", "2:1", "4:1", "6:9", "8:1", "9:1", "10:21", "12:10", "14:9", "15:8", "16:1", "18:9"];
    assert_eq!(lines, expected, "{problems:#?}");
    assert_eq!(problems[1], "2:1 unknown key \"rulez\" | did you mean \"rules\"?");
    assert_eq!(problems[3], "6:9 \"kafka.start\": unknown value \"first\" | one of: earliest, latest");
    assert!(problems[4].contains("\"enable.auto.commit\" cannot be set"), "{}", problems[4]);
    assert!(problems[9].contains("expected 1 to"), "{}", problems[9]);
}

#[test]
fn what_is_missing_is_told_once() {
    assert_eq!(told("workers = 1\n"), ["1:1 \"kafka\" is missing | it has no default"]);
    let problems = told("[kafka]\ngroup = \"g\"\n[limits]\nkeys = -1\n");
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].contains("\"brokers\" is missing"), "{problems:#?}");
    assert!(problems[1].starts_with("4:8"), "{problems:#?}");
}

#[test]
fn every_mistake_about_checkpoints_is_told() {
    let problems = told(
        "[kafka]\nbrokers = \"k\"\n[checkpoints]\nurl = \"ftp://u:hunter2@x\"\nevery = \"100ms\"\n\
         keep = 0\ninterval = 3\n",
    );
    let expected = [
        "4:7 \"checkpoints.url\": no place for state | expected a folder, or a URL that begins with file://, \
         s3://, gs:// or az://",
        "5:9 \"checkpoints.every\": out of range | expected \"1s\" to \"1h\"",
        "6:8 \"checkpoints.keep\": invalid value: integer \"0\" | expected a nonzero u16",
        "7:1 unknown key \"checkpoints.interval\" | one of: url, every, keep",
    ];
    assert_eq!(problems, expected, "{problems:#?}");
    let place = |url: &str| read(&format!("[kafka]\nbrokers = \"k\"\n[checkpoints]\nurl = \"{url}\"\n"));
    assert_eq!(place("s3://bucket/state").unwrap().checkpoints.url, "s3://bucket/state");
    assert_eq!(place("/var/state").unwrap().checkpoints.url, "/var/state");
    assert_eq!(place("kept").unwrap().checkpoints.url, "conf/kept");
}

#[test]
fn a_broken_sink_hides_no_other_mistake() {
    let problems = told(
        "worker = 3\n[kafka]\nbrokers = \"k\"\n[sinks.a]\ntype = \"opensearch\"\nurll = \"http://x\"\n\
         [sinks.b]\n\
         type = \"nothing\"\n[sinks.c]\ntype = \"stdout\"\n[zz]\n",
    );
    let lines: Vec<&str> = problems.iter().map(|p| p.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["1:1", "6:1", "8:8", "11:2"], "{problems:#?}");
    assert_eq!(problems[1], "6:1 unknown key \"sinks.a.urll\" | did you mean \"url\"?");
}

#[test]
fn every_mistake_of_a_sink_is_told_at_its_place_by_its_key() {
    let problems = told(
        "[kafka]\nbrokers = \"k\"\n[sinks.a]\ntype = \"opensearch\"\nurl = \"ftp://u:hunter2@x\"\n\
         pasword = \"hunter2\"\npassword = 12345\nbatch = 0\ntimeout = \"soon\"\n\
         [sinks.b]\ntype = \"opensaerch\"\nuser = 3\n[sinks.c]\ntype = \"file\"\nurl = 3\n\
         [sinks.d]\npath = \"x\"\n[sinks]\ne = 3\n[limits]\nkeys = 0\n",
    );
    let expected = [
        "5:7 \"sinks.a.url\": url must start with http:// or https:// and name a host | ",
        "6:1 unknown key \"sinks.a.pasword\" | did you mean \"password\"?",
        "7:12 \"sinks.a.password\": invalid type: integer | expected a string",
        "8:9 \"sinks.a.batch\": invalid value: integer \"0\" | expected a nonzero usize",
        "9:11 \"sinks.a.timeout\": not a duration such as \"30s\" | ",
        "10:1 \"sinks.b\": \"url\" is missing | it has no default",
        "11:8 \"sinks.b.type\": unknown value \"opensaerch\" | did you mean \"opensearch\"?",
        "12:8 \"sinks.b.user\": invalid type: integer | expected a string",
        "13:1 \"sinks.c\": \"path\" is missing | it has no default",
        "15:1 unknown key \"sinks.c.url\" | one of: start, path, raw",
        "16:1 \"sinks.d\": \"type\" is missing | one of: stdout, file, opensearch, elasticsearch, splunk",
        "19:5 \"sinks.e\" is no table | write [sinks.e], and below it its type",
        "21:8 \"limits.keys\": 0 is out of range | expected 1 to 1000000000",
    ];
    assert_eq!(problems, expected, "{problems:#?}");
}

#[test]
fn what_is_missing_in_one_table_is_not_hidden_by_another() {
    let problems = told("[http]\nlisten = \"127.0.0.1:1\"\nbrokers = 3\n[kafka]\ngroup = \"g\"\n");
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert_eq!(problems[1], "4:1 \"kafka\": \"brokers\" is missing | it has no default");
    assert_eq!(told("[http]\nlisten = \"127.0.0.1:1\"\n").len(), 1);
    // Meant, and told as such.
    assert_eq!(told("[kafka]\nbroker = \"k\"\n").len(), 1);
}

#[test]
fn no_value_is_shown() {
    let kafka = "[kafka]\nbrokers = \"k\"\n";
    for (text, shown) in [
        ("[sinks.a]\ntype = \"opensearch\"\nurl = \"http://a\"\npassword=31337\n", "password="),
        ("[sinks.a]\ntype = \"opensearch\"\nurl = \"http://a\"\npassword=\"31337\n", "password="),
        ("[sinks.a]\ntype = \"opensearch\"\nurl = \"http://a\"\npassword=31337x\n", "password="),
        ("[sinks.a]\ntype = \"opensearch\"\nurl = \"http://31337@a\"\n", "url ="),
        ("[sinks.a]\ntype = \"opensearch\"\nurl = \"a\"\npassword = \"x${31337}y\"\n", "password ="),
        ("[sinks.a]\ntype = \"opensearch\"\nurl = [\"31337\"]\napi_key = { x = \"31337\" }\n", "api_key ="),
        ("[kafka.settings]\n\"sasl.pasword\"=\"31337\"\n", "\"sasl.pasword\"="),
        ("[kafka.settings]\nsasl.password = \"31337\"\n", "sasl.password ="),
        ("[kafka.settings]\n\"sasl.password\" = 31337.5 # 31337\n", "\"sasl.password\" ="),
        ("[kafka.settings]\n\"ssl.key.pen\" = \"\"\"\n31337==\n\"\"\"\n", "\"ssl.key.pen\" ="),
        ("[kafka.settings]\n\"ssl.key.pem\" = [\"\"\"\n31337==\n\"\"\"]\n", "\"ssl.key.pem\" ="),
        ("[sinks]\na = \"31337\"\n", "a ="),
        ("[streams.x]\ntopic = 31337\n", "topic ="),
    ] {
        let (source, problems) = read(&format!("{kafka}{text}")).unwrap_err();
        let places: Vec<_> = problems.iter().map(|p| p.position(&source.text)).collect();
        let refused = Refused::new(source, problems);
        let source = &refused.source.text;
        let kept: Vec<_> = refused.problems.iter().map(|p| p.position(source)).collect();
        assert_eq!(places, kept, "{text}");
        let told: Vec<String> = refused
            .problems
            .iter()
            .flat_map(|p| [p.render(source, false), p.json(source).to_string()])
            .collect();
        let told = told.join("\n");
        assert!(!told.contains("31337"), "{text}: {told}");
        assert!(told.contains(shown) && told.contains('^'), "{text}: {told}");
        assert!(!format!("{refused:?}").contains("31337"), "{text}");
    }
}

#[test]
fn the_shipped_configuration_is_one() {
    let text = include_str!("../../fleetwarden.toml");
    let source = Source { path: "fleetwarden.toml".into(), text: text.into() };
    let env = |name: &str| match name {
        "METRICS_LISTEN" => Some("0.0.0.0:9464".to_string()),
        "OPENSEARCH_URL" => Some("http://opensearch:9200".to_string()),
        "KAFKA_BROKERS" => Some("kafka:9092".to_string()),
        _ => None,
    };
    let config = read::read(&source, Path::new(""), &env).unwrap();
    assert_eq!(config.limits, Limits::default(), "it shows the defaults");
    assert_eq!(config.sinks.keys().collect::<Vec<_>>(), ["siem"]);
    // What is commented out is right as well.
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let folder = std::env::temp_dir().join(format!("fleetwarden-shipped-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("secrets")).unwrap();
    std::fs::write(folder.join("secrets/opensearch-password"), "x").unwrap();
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wire/tls");
    for (from, to) in
        [("client-ca.pem", "ca.pem"), ("client.pem", "client.pem"), ("client.key", "client.key")]
    {
        std::fs::copy(tls.join(from), folder.join("secrets").join(format!("kafka-{to}"))).unwrap();
        std::fs::copy(tls.join(from), folder.join("secrets").join(format!("siem-{to}"))).unwrap();
    }
    let source = Source { text: uncommented, ..source };
    let all = |name: &str| env(name).or(Some("x".into()));
    let read = read::read(&source, &folder, &all);
    std::fs::remove_dir_all(&folder).unwrap();
    let problems = read.map(|_| Vec::new()).unwrap_or_else(|problems| problems);
    let shown: Vec<String> = problems.iter().map(|p| p.render(&source.text, false)).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let problems = told("[kafka]\nbrokers = \"k\nstart = \"earliest\"\n");
    assert!(problems[0].starts_with("2:"), "{problems:#?}");
}

#[test]
fn what_cannot_be_filled_in_is_told_by_name() {
    let problems = told(
        "[kafka]\nbrokers = \"${env:NOBODY}\"\ngroup = \"${file:no/such}\"\n\
         dead_letter_topic = \"${vault:x}\"\n\
         start = \"${env:SECRET}\"\n",
    );
    assert!(
        problems[0].contains("\"kafka.brokers\": environment variable \"NOBODY\" is not set"),
        "{problems:#?}"
    );
    assert!(problems[1].contains("\"kafka.group\": cannot read file \"no/such\""), "{problems:#?}");
    assert!(problems[2].contains("\"${…}\" names no source"), "{problems:#?}");
    assert!(problems[3].starts_with("5:"), "{problems:#?}");
    assert!(!problems.join("\n").contains("hunter2"), "{problems:#?}");
    let listen = told("[kafka]\nbrokers = \"k\"\n[http]\nlisten = \"${env:SECRET}\"\n");
    assert!(listen[0].contains("the value that was filled in does not fit"), "{listen:#?}");
    assert!(!listen[0].contains("hunter2"), "{listen:#?}");
}

#[test]
fn files_fill_in_without_their_last_line_feed_and_dollars_can_be_plain() {
    let folder = std::env::temp_dir().join(format!("fleetwarden-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("group"), "from-file\n").unwrap();
    let config =
        read_in(&folder, "[kafka]\nbrokers = \"a$${env:B}-${env:SECRET}\"\ngroup = \"${file:group}\"\n");
    std::fs::remove_dir_all(&folder).unwrap();
    let config = config.unwrap();
    assert_eq!(
        (config.kafka.brokers.as_str(), config.kafka.group.as_str()),
        ("a${env:B}-hunter2", "from-file")
    );
}

#[test]
fn a_configuration_that_is_not_there_says_so() {
    let refused = load(Path::new("/no/such/fleetwarden.toml")).unwrap_err();
    assert!(refused.problems[0].message.contains("cannot read the configuration"));
}
