use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::schema::built_in;

fn input(stream: &str, text: impl AsRef<[u8]>) -> Input {
    Input { stream: stream.into(), origin: Origin::Bytes("bytes".into(), text.as_ref().into()) }
}

fn read(inputs: &[Input]) -> Vec<Line> {
    read_all(inputs, &built_in(), &Limits::default(), Framing::Lines).unwrap()
}

/// `stream/partition@offset broker-ms payload`, and the reason of a reject.
fn show(lines: &[Line]) -> Vec<String> {
    let show = |line: &Line| {
        let reject = line.reject.as_ref().map_or(String::new(), |(reason, _)| format!(" {}", reason.name()));
        let payload = String::from_utf8_lossy(&line.payload);
        format!("{}@{} {} {payload}{reject}", line.partition, line.offset, line.broker_time.millis())
    };
    lines.iter().map(show).collect()
}

fn envelope(time: i64, partition: i32, offset: i64, event: &str) -> String {
    format!("{{\"_t\":{time},\"_p\":{partition},\"_o\":{offset},\"v\":{event}}}\n")
}

#[test]
fn lines_without_envelopes_are_dated_by_the_highest_event_time() {
    let first = "{\"vin\":\"V\"}\n{\"ts\":3000}\n\n{\"ts\":1000}\n";
    let lines = read(&[input("telemetry", first), input("telemetry", "{\"ts\":2000}\n{\"ts\":9000}")]);
    assert_eq!(
        show(&lines),
        [
            "telemetry/0@0 0 {\"vin\":\"V\"}",
            "telemetry/0@1 3000 {\"ts\":3000}",
            "telemetry/0@2 3000 {\"ts\":1000}",
            "telemetry/0@3 3000 {\"ts\":2000}",
            "telemetry/0@4 9000 {\"ts\":9000}",
        ]
    );
}

#[test]
fn streams_are_merged_by_stream_time_then_name() {
    let telemetry = input("telemetry", "{\"ts\":1000}\n{\"ts\":3000}\n{\"ts\":2000}\n");
    let diagnostics = input("diagnostics", "{\"ts\":1000}\n{\"ts\":2500}\n{\"ts\":3000}\n");
    let lines = read(&[telemetry, diagnostics]);
    let order: Vec<String> = lines.iter().map(|line| format!("{}@{}", line.partition, line.offset)).collect();
    let expected =
        "diagnostics/0@0 telemetry/0@0 diagnostics/0@1 diagnostics/0@2 telemetry/0@1 telemetry/0@2";
    assert_eq!(order.join(" "), expected);
}

#[test]
fn partitions_of_one_file_are_merged_by_stream_time() {
    let text = [
        envelope(5000, 1, 10, "{\"n\":1}"),
        envelope(9000, 1, 11, "{\"n\":2}"),
        envelope(1000, 0, 7, "{\"n\":3}"),
        envelope(4000, 1, 12, "{\"n\":4}"),
        envelope(9000, 0, 8, "{\"n\":5}"),
    ];
    let expected = [
        "telemetry/0@7 1000 {\"n\":3}",
        "telemetry/1@10 5000 {\"n\":1}",
        "telemetry/0@8 9000 {\"n\":5}",
        "telemetry/1@11 9000 {\"n\":2}",
        "telemetry/1@12 4000 {\"n\":4}",
    ];
    let lines = read(&[input("telemetry", text.concat())]);
    assert_eq!(show(&lines), expected);
    assert_eq!(lines[4].stream_time.millis(), 9000);
    // One file a partition, or cut anywhere, is the same.
    for cut in 0..=text.len() {
        let files = [input("telemetry", text[..cut].concat()), input("telemetry", text[cut..].concat())];
        assert_eq!(show(&read(&files)), expected, "cut at {cut}");
    }
}

#[test]
fn an_offset_that_does_not_rise_is_a_reject_whose_time_counts() {
    let text = [envelope(1000, 0, 5, "{}"), envelope(8000, 0, 5, "{}"), envelope(2000, 0, 4, "{}")].concat();
    let lines = read(&[input("telemetry", text + &envelope(3000, 0, 6, "{}"))]);
    let expected =
        ["telemetry/0@5 1000 {}", "telemetry/0@5 8000 {} envelope", "telemetry/0@4 2000 {} envelope"];
    assert_eq!(show(&lines)[..3], expected);
    assert_eq!((lines[3].offset, &lines[3].reject), (6, &None));
    assert_eq!(lines[3].stream_time.millis(), 8000);
    assert_eq!(lines[1].reject.as_ref().unwrap().1, "offset 5 comes after offset 5");
}

#[test]
fn a_bad_envelope_is_a_reject_and_a_stray_event_takes_no_offset() {
    let bad = "{\"_t\":\"now\",\"_p\":0,\"_o\":9,\"v\":{}}\n";
    let text =
        [&envelope(1000, 0, 5, "{}"), "{\"ts\":500}\n", bad, "oops\n", &envelope(2000, 0, 6, "{}")].concat();
    assert_eq!(
        show(&read(&[input("telemetry", text)])),
        [
            "telemetry/0@5 1000 {}",
            "telemetry/0@6 1000 {\"ts\":500}",
            "telemetry/0@7 1000 {\"_t\":\"now\",\"_p\":0,\"_o\":9,\"v\":{}} envelope",
            "telemetry/0@8 1000 oops",
            "telemetry/0@6 2000 {}",
        ]
    );
}

#[test]
fn a_line_beyond_the_limit_is_a_reject_with_its_own_place_and_time() {
    let limits = Limits { record_bytes: 10, ..Limits::default() };
    let long = format!("{{\"vin\":\"{}\"}}", "x".repeat(5000));
    let plain = format!("{{\"ts\":7000,\"vin\":\"{}\"}}\n{{\"ts\":1}}\n", "x".repeat(5000));
    for (text, expected) in [
        (
            envelope(7000, 3, 8, &long) + &envelope(7001, 3, 9, "{}"),
            ["telemetry/3@8 7000", "telemetry/3@9 7001"],
        ),
        (plain, ["telemetry/0@0 7000", "telemetry/0@1 7000"]),
    ] {
        let lines = read_all(&[input("telemetry", text)], &built_in(), &limits, Framing::Lines).unwrap();
        for (line, expected) in show(&lines).iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
        let reject = lines[0].reject.as_ref().unwrap();
        assert_eq!(reject, &(RejectReason::TooLarge, "longer than 10 bytes".to_owned()));
        assert!(lines[0].payload.len() <= 10 + ENVELOPE && lines[0].payload.len() > 10);
        assert_eq!(lines[1].reject, None);
    }
}

#[test]
fn a_file_can_be_one_record_with_many_events() {
    let text =
        "[\n {\"eventTime\":\"1970-01-01T00:00:09Z\"},\n {\"eventTime\":\"1970-01-01T00:00:05Z\"}\n]\n";
    let inputs = [input("cloudtrail", text), input("cloudtrail", "{\"Records\":[]}\n")];
    let lines = read_all(&inputs, &built_in(), &Limits::default(), Framing::File).unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0].broker_time.millis(), lines[0].payload.as_slice()), (9000, text.as_bytes()));
    assert_eq!((lines[1].broker_time.millis(), lines[1].offset), (9000, 1));
}

#[test]
fn a_partition_that_shows_up_late_is_merged_from_there_on() {
    let text = "{\"ts\":5000}\n".repeat(150) + &envelope(1000, 3, 1, "{}") + "{\"ts\":6000}\n";
    let lines = read(&[input("telemetry", text)]);
    let places: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].partition.index == 3).collect();
    assert_eq!((lines.len(), places.len()), (152, 1));
    assert!(places[0] < 151, "{places:?}");
}

#[test]
fn a_stream_nobody_knows_has_no_times() {
    assert_eq!(show(&read(&[input("others", "{\"ts\":5000}")])), ["others/0@0 0 {\"ts\":5000}"]);
}

#[test]
fn an_error_comes_after_what_could_be_read_and_ends_it() {
    let mut packed = zstd::encode_all("{\"ts\":1000}\n".repeat(200_000).as_bytes(), 1).unwrap();
    packed.truncate(packed.len() - 3);
    let mut files =
        Files::open(&[input("telemetry", packed)], &built_in(), &Limits::default(), Framing::Lines).unwrap();
    let read = files.by_ref().take_while(Result::is_ok).count();
    assert!(read > 100, "{read}");
    assert!(files.next().is_none());
    assert_eq!(files.progress().0, files.progress().1);
}

/// A folder of its own for a test.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fleetwarden-{name}-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&path));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn inputs_are_files_with_their_stream_or_folders() {
    let path = folder("inputs");
    let text = path.display().to_string();
    for file in ["b.ndjson", "a.ndjson.zst", "a.ndjson", "c.ndjson.gz", "notes.txt"] {
        std::fs::write(path.join(file), "").unwrap();
    }
    let shown = |arguments: &[&str]| -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let show = |input: Input| format!("{} {}", input.stream, input.origin.name().replace(&text, ""));
        inputs(&arguments).unwrap().into_iter().map(show).collect()
    };
    assert_eq!(shown(&[&text]), ["a /a.ndjson", "a /a.ndjson.zst", "b /b.ndjson", "c /c.ndjson.gz"]);
    assert_eq!(shown(&["x=missing", "y=-"]), ["x missing", "y standard input"]);
    assert_eq!(shown(&[&format!("x={text}")]).len(), 5);
    let error = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        inputs(&arguments).unwrap_err().to_string()
    };
    assert!(error(&["missing.ndjson"]).contains("STREAM=FILE"));
    assert!(error(&["x=-", "y=-"]).contains("one input only"));
    std::fs::create_dir(path.join("empty")).unwrap();
    assert!(error(&[&format!("{text}/empty")]).contains("STREAM.ndjson"));
    let missing = Input { stream: "x".into(), origin: Origin::Path("no/such/file".into()) };
    let error = read_all(&[missing], &[], &Limits::default(), Framing::Lines).unwrap_err().to_string();
    assert!(error.starts_with("cannot read no/such/file: "), "{error}");
    std::fs::remove_dir_all(path).unwrap();
}

/// A line: partition (none = no envelope), time in seconds, whether its offset rises.
type Made = (Option<i32>, i64, bool);

fn made() -> impl Strategy<Value = Made> {
    (proptest::option::weighted(0.9, 0..4i32), 0..12i64, proptest::bool::weighted(0.9))
}

/// What comes out, by sorting everything.
fn expected(files: &[Vec<Made>]) -> Vec<(i64, i32, i64)> {
    let mut stream_time: BTreeMap<i32, i64> = BTreeMap::new();
    let mut all = Vec::new();
    for (place, (partition, time, _)) in files.iter().flatten().enumerate() {
        let index = partition.unwrap_or(0);
        let now = stream_time.entry(index).or_default();
        *now = (*now).max(*time);
        all.push((*now, index, place as i64));
    }
    all.sort();
    all
}

fn written(files: &[Vec<Made>]) -> Vec<Input> {
    let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
    let mut place = 0;
    let mut inputs = Vec::new();
    for file in files {
        let mut text = String::new();
        for (partition, time, rises) in file {
            let event = format!("{{\"seq\":{place},\"ts\":{}}}", time * 1000);
            place += 1;
            text += &match partition {
                None => event + "\n",
                Some(index) => {
                    let offset = offsets.entry(*index).or_default();
                    *offset += i64::from(*rises);
                    envelope(time * 1000, *index, *offset, &event)
                }
            };
        }
        inputs.push(input("telemetry", text));
    }
    inputs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_merge_is_a_sort(files in vec(vec(made(), 0..12), 1..4)) {
        let lines = read(&written(&files));
        let found: Vec<(i64, i32, i64)> = lines
            .iter()
            .map(|line| {
                let event: serde_json::Value = serde_json::from_slice(&line.payload).unwrap();
                (line.stream_time.millis() / 1000, line.partition.index, event["seq"].as_i64().unwrap())
            })
            .collect();
        prop_assert_eq!(found, expected(&files));
    }

    #[test]
    fn no_bytes_stop_it(bytes in vec(any::<u8>(), 0..64), head in 0..3usize) {
        let heads = ["", "{\"_t\":1,\"_p\":0,\"_o\":1,\"v\":", "{\"v\":1,"];
        let text = [heads[head].as_bytes(), &bytes].concat();
        let found = read_all(&[input("telemetry", text)], &built_in(), &Limits::default(), Framing::Lines);
        prop_assert!(found.is_err() || found.is_ok_and(|lines| lines.len() <= bytes.len() + 1));
    }
}
