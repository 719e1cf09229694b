//! From records to files that hold, by the verb itself.

use super::*;
use crate::config;
use crate::event::Timestamp;
use crate::kafka::mock::Mock;

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("fleetwarden-init-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn args(&self, sample: Vec<PathBuf>) -> InitArgs {
        let kafka = KafkaArgs::default();
        InitArgs { kafka, sample, name: None, dir: self.0.join("out"), force: false, records: None }
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join("out").join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

#[test]
fn what_it_writes_for_the_samples_holds() {
    for (sample, name) in [
        ("demo/telemetry.ndjson", "telemetry"),
        ("demo/diagnostics.ndjson", "diagnostics"),
        ("demo/cloudtrail.ndjson", "cloudtrail"),
        ("cloudtrail/stratus/aws.execution.ssm-send-command.json", "trail"),
    ] {
        let folder = Folder::new(name);
        let mut args = folder.args(vec![shipped(sample)]);
        args.name = Some(name.into());
        assert_eq!(init(&args), Ok(Exit::Ok), "{sample}");
        assert!(config::load(&args.dir.join("fleetwarden.toml")).is_ok());
        let schemas = super::super::schemas(Some(&args.dir.join("schemas"))).unwrap();
        assert!(schemas[0].time.is_some(), "{sample}");
        let files = super::super::rule_files(&[args.dir.join("rules")]).unwrap();
        let loaded = load(&files, &schemas);
        assert_eq!((loaded.problems.len(), loaded.tests.len()), (0, 2), "{:?}", loaded.problems);
    }
}

#[test]
fn nothing_is_overwritten_unless_that_is_wished() {
    let folder = Folder::new("force");
    let sample = folder.file("day.ndjson", "{\"vin\":\"V1\",\"n\":1}\n");
    let mut args = folder.args(vec![sample]);
    assert_eq!(init(&args), Ok(Exit::Ok));
    std::fs::write(args.dir.join("schemas/day.toml"), "mine").unwrap();
    assert_eq!(init(&args), Ok(Exit::Ok));
    assert_eq!(folder.text("schemas/day.toml"), "mine");
    args.force = true;
    assert_eq!(init(&args), Ok(Exit::Ok));
    assert!(folder.text("schemas/day.toml").starts_with("# Guessed from"));
}

#[test]
fn what_is_no_json_is_said_with_what_to_do() {
    let folder = Folder::new("bad");
    let said = |name: &str, text: &str| init(&folder.args(vec![folder.file(name, text)])).unwrap_err();
    assert!(said("a.csv", "vin,ts,speed\nV1,5,6\n").contains("it looks like CSV: make it JSON first"));
    assert!(said("b.xml", "<?xml version='1.0'?>\n<a/>\n").contains("it looks like XML"));
    assert!(said("c.avro", "Obj\u{1}avro.schema\n").contains("it looks binary"));
    assert!(said("d.json", "").ends_with("is empty"));
    assert!(said("e.json", "[]").contains("no event in"));
    assert!(said("f.json", "5\n6\n").contains("it is no JSON object"));
    let deep = format!("{}1{}\n", "{\"a\":".repeat(300), "}".repeat(300));
    assert!(said("g.json", &deep).contains("not one record could be read"));
    assert!(!folder.args(vec![]).dir.join("fleetwarden.toml").exists(), "and nothing was written");
    assert!(init(&folder.args(vec![folder.0.join("missing")])).unwrap_err().contains("cannot read"));
}

#[test]
fn a_pretty_printed_file_is_one_record() {
    let folder = Folder::new("pretty");
    let text = "{\n  \"Records\": [\n    { \"eventTime\": \"2025-06-02T07:59:58Z\", \"n\": 1 },\n\
                    { \"n\": 2 }\n  ]\n}\n";
    let looked = look::files("x", &[folder.file("trail.json", text)], None).unwrap();
    assert_eq!((looked.framing, looked.lines.len(), looked.look().events), (Framing::File, 1, 2));
}

#[test]
fn a_topic_is_sampled_from_all_its_partitions() {
    let kafka = Mock::start().unwrap();
    kafka.create_topic("vehicle.remote", 4).unwrap();
    for i in 0..400 {
        let vin = format!("XFWESWMHASL{:06}", i % 40);
        let result = if i % 9 == 0 { "denied" } else { "ok" };
        let payload = format!(
            "{{\"vin\":\"{vin}\",\"ts\":{},\"result\":\"{result}\"}}",
            1_700_000_000_000_i64 + i64::from(i) * 100
        );
        let at = Timestamp::from_millis(1_700_000_000_500 + i64::from(i) * 100);
        kafka.send("vehicle.remote", i % 40 % 4, vin.as_bytes(), payload.as_bytes(), at).unwrap();
    }
    kafka.flush().unwrap();
    let folder = Folder::new("topic");
    let mut args = folder.args(Vec::new());
    args.kafka =
        KafkaArgs { brokers: Some(kafka.brokers()), topic: Some("vehicle.remote".into()), config: None };
    assert_eq!(init(&args), Ok(Exit::Ok));
    let schema = folder.text("schemas/remote.toml");
    assert!(schema.contains("topic   = \"vehicle.remote\""), "{schema}");
    assert!(schema.contains("key     = \"vin\"          # equals the records' key in 100 %"), "{schema}");
    assert!(
        schema.contains("time    = \"ts\"           # 100 % within 3 s of the broker's clock"),
        "{schema}"
    );
    let rule = folder.text("rules/remote/remote-first-failure-burst.toml");
    assert!(rule.contains("where  = \"result = 'denied'\"") && rule.contains("key    = [\"vin\"]"), "{rule}");
}

#[test]
fn names_of_streams_come_from_files_and_topics() {
    let cases = [
        ("vehicle.remote", "remote"),
        ("/data/day-1.ndjson.zst", "day_1"),
        ("trail.json", "trail"),
        ("alerts", "alerts_stream"),
        ("2024", "field_2024"),
    ];
    for (of, name) in cases {
        assert_eq!(look::stream_name(of), name);
    }
}
