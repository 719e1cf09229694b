//! Any bytes are a file of events, with or without envelopes: no panic, every line is a record or a reject with a
//! reason, and the stream time of a partition never falls. (Offsets that do not rise are the worker's to reject.)

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../parts.rs"]
mod parts;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use parts::event::{Limits, PartitionId, Timestamp};
use parts::files::{Framing, Input, Origin, read_all};
use parts::schema::Schema;
// The rooms name one another from the root.
use parts::{alert, decode, diagnostic, event, files, schema};

static SCHEMAS: LazyLock<Vec<Arc<Schema>>> = LazyLock::new(schema::built_in);

fuzz_target!(|data: &[u8]| {
    let input = Input { stream: "telemetry".into(), origin: Origin::Bytes("fuzzed.ndjson".into(), Arc::from(data)) };
    let limits = Limits { record_bytes: 4096, ..Limits::default() };
    let lines = read_all(&[input], &SCHEMAS, &limits, Framing::Lines).unwrap_or_default();
    let mut last: BTreeMap<PartitionId, Timestamp> = BTreeMap::new();
    for line in lines {
        let time = last.entry(line.partition.clone()).or_insert(Timestamp(i64::MIN));
        assert!(line.stream_time >= *time, "stream time fell");
        *time = line.stream_time;
        assert!((0..i64::MAX).contains(&line.offset), "offset {}", line.offset);
        assert!(line.payload.len() <= data.len());
    }
});
