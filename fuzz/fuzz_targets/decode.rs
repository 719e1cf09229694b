//! The quick decoder and the thorough one say the same of any bytes, record by record: rows, rejects with reason,
//! place and detail, and counts. And what they accept of a stream of JSON is JSON
//! to a parser of another make.
//!
//! The input: one byte chooses the stream, eight which columns are built, one the limit of depth; the rest are records,
//! each ended by 0xFF, which no JSON contains.

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../parts.rs"]
mod parts;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use libfuzzer_sys::fuzz_target;
use parts::decode::{Decoded, JsonDecoder};
use parts::diagnostic::Source;
use parts::event::{Limits, PartitionId, Record, Reject, Timestamp};
use parts::schema::Schema;
// The rooms name one another from the root.
use parts::{alert, decode, diagnostic, event, files, schema};

/// A field of every type, every unit, every way to normalize, nested, with odd names; flat and in lists.
const EVERYTHING: &str = include_str!("../everything.toml");

static SCHEMAS: LazyLock<Vec<Arc<Schema>>> = LazyLock::new(|| {
    let made = ["", "records = \"Records\"\n", "records = \"a.zz\"\n"].map(|head| {
        let text = format!("{head}{EVERYTHING}");
        let (schemas, problems) = schema::load(&[Source { path: "everything.toml".into(), text }]);
        assert_eq!(problems, []);
        schemas
    });
    made.into_iter().flatten().chain(schema::built_in()).collect()
});

static SOURCES: LazyLock<Arc<[PartitionId]>> =
    LazyLock::new(|| Arc::from([PartitionId { stream: "fuzz".into(), index: 0 }]));

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<10>() else { return };
    let schema = &SCHEMAS[usize::from(head[0]) % SCHEMAS.len()];
    let columns = u64::from_le_bytes([head[1], head[2], head[3], head[4], head[5], head[6], head[7], head[8]]);
    let depth = if head[9] > 8 { 64 } else { usize::from(head[9]) };
    let limits = Limits { depth, record_bytes: 2048, ..Limits::default() };
    let built = |bits: u64| (0..schema.fields.len()).map(|i| bits.rotate_right(i as u32) & 1 == 1).collect();
    let records: Vec<&[u8]> = rest.split(|byte| *byte == 0xFF).collect();

    let thorough = all(JsonDecoder::thorough(schema.clone(), built(columns), &limits), &records);
    let quick = all(JsonDecoder::new(schema.clone(), built(columns), &limits), &records);
    assert_same(&quick, &thorough);
    // What is accepted does not depend on what is read.
    let nothing = all(JsonDecoder::new(schema.clone(), built(0), &limits), &records);
    assert_eq!(nothing.rejects.iter().map(said).collect::<Vec<_>>(), quick.rejects.iter().map(said).collect::<Vec<_>>());
    assert_eq!((&nothing.batch.names, &nothing.batch.time), (&quick.batch.names, &quick.batch.time));
    // Nor on the records beside it.
    let rejected: BTreeSet<i64> = quick.rejects.iter().map(|reject| reject.offset).collect();
    for (offset, record) in (0..).zip(&records) {
        let alone = all(JsonDecoder::new(schema.clone(), built(columns), &limits), &[record]);
        assert_eq!(alone.rejects.is_empty(), !rejected.contains(&offset), "alone and among others");
        if alone.rejects.is_empty() && schema.format == schema::Format::Json {
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(record).is_ok(), "no JSON was accepted");
        }
    }
});

fn all(mut decoder: JsonDecoder, records: &[&[u8]]) -> Decoded {
    for (position, payload) in (0u32..).zip(records) {
        let offset = i64::from(position);
        let broker_time = Timestamp(1_750_000_000_000_000 + offset);
        decoder.push(&Record { source: 0, offset, broker_time, payload, broken: None }, position);
    }
    let decoded = decoder.finish(&SOURCES);
    assert_eq!(decoder.finish(&SOURCES).batch.columns.num_rows(), 0, "nothing stays behind");
    decoded
}

type Said<'a> = (i64, &'a str, usize, &'a str, &'a [u8]);

fn said(reject: &Reject) -> Said<'_> {
    (reject.offset, reject.reason.name(), reject.at, &reject.detail, &reject.payload)
}

fn assert_same(quick: &Decoded, thorough: &Decoded) {
    let rejects = |decoded: &'_ Decoded| format!("{:?}", decoded.rejects.iter().map(said).collect::<Vec<_>>());
    assert_eq!(rejects(quick), rejects(thorough));
    assert_eq!(quick.stats, thorough.stats);
    let (left, right) = (&quick.batch, &thorough.batch);
    assert_eq!((&left.names, &left.time, &left.positions), (&right.names, &right.time, &right.positions));
    assert_eq!(left.columns.schema(), right.columns.schema());
    let columns = left.columns.columns().iter().zip(right.columns.columns());
    for (field, (one, other)) in left.columns.schema().fields().iter().zip(columns) {
        assert_eq!(one, other, "{}", field.name());
        if one.data_type() == &DataType::Float64 {
            let bits = |array: &dyn Array| -> Vec<u64> {
                array.as_primitive::<Float64Type>().values().iter().map(|float| float.to_bits()).collect()
            };
            assert_eq!(bits(one), bits(other), "{}", field.name());
        }
    }
}
