//! How fast records become rows: the decoder against `arrow-json` into the same columns, `simd-json` up to its
//! tape, `serde_json` into structs written by hand, and its own thorough twin. Each run asserts how many rows
//! came out; that they hold what `arrow-json` reads is asserted once.
//!
//! `cargo bench --bench decode`; `-- --bars` makes it fail below the bars. Not measured: files, Kafka, rules.

mod common;

use std::borrow::Cow;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field as ArrowField, Fields, Float64Type, Schema as ArrowSchema, TimeUnit};
use arrow::json::reader::{Decoder, ReaderBuilder};
use arrow::record_batch::RecordBatch;
use fleetwarden::decode::JsonDecoder;
use fleetwarden::event::{Limits, PartitionId, Record, Timestamp};
use fleetwarden::schema::{Field, FieldType, Schema, arrow_type, built_in};
use serde::Deserialize;

use self::common::{Bench, Options, events, exit};

const RECORDS: usize = 1024;

/// Ratios that the decoder is to reach over `arrow-json`, the tape of `simd-json`, and `serde_json`.
const BARS: [Option<f64>; 3] = [Some(3.5), Some(1.8), Some(1.7)];

/// What a text is in a struct: borrowed if nothing in it is escaped.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Four columns of telemetry.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Four<'a> {
    #[serde(borrow)]
    vin: Option<Text<'a>>,
    ts: Option<i64>,
    speed: Option<f64>,
    ignition: Option<Text<'a>>,
}

/// All columns that the telemetry has.
#[derive(Deserialize)]
#[allow(dead_code)]
struct All<'a> {
    #[serde(borrow)]
    vin: Option<Text<'a>>,
    ts: Option<i64>,
    seq: Option<i64>,
    device_id: Option<Text<'a>>,
    boot_id: Option<Text<'a>>,
    src_ip: Option<Text<'a>>,
    model: Option<Text<'a>>,
    region: Option<Text<'a>>,
    firmware: Option<Text<'a>>,
    ignition: Option<Text<'a>>,
    gear: Option<Text<'a>>,
    speed: Option<f64>,
    odometer: Option<f64>,
    rpm: Option<f64>,
    throttle: Option<f64>,
    brake: Option<f64>,
    steering_deg: Option<f64>,
    accel_long: Option<f64>,
    accel_lat: Option<f64>,
    lat: Option<f64>,
    lon: Option<f64>,
    heading: Option<f64>,
    fix_type: Option<i64>,
    battery_v: Option<f64>,
    doors_locked: Option<bool>,
    dtc_count: Option<i64>,
    dtc_list: Option<Vec<Text<'a>>>,
    soc: Option<f64>,
    charging: Option<bool>,
    alarm_flags: Option<i64>,
}

/// A record of CloudTrail, and six columns of its events.
#[derive(Deserialize)]
#[allow(dead_code, non_snake_case)]
struct Trail<'a> {
    #[serde(borrow)]
    Records: Vec<Six<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code, non_snake_case)]
struct Six<'a> {
    #[serde(borrow)]
    eventTime: Option<Text<'a>>,
    eventName: Option<Text<'a>>,
    sourceIPAddress: Option<Text<'a>>,
    errorCode: Option<Text<'a>>,
    userIdentity: Option<Identity<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code, non_snake_case)]
struct Identity<'a> {
    #[serde(borrow)]
    arn: Option<Text<'a>>,
    sessionContext: Option<Session<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Session<'a> {
    #[serde(borrow)]
    attributes: Option<Attributes<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code, non_snake_case)]
struct Attributes<'a> {
    #[serde(borrow)]
    mfaAuthenticated: Option<Text<'a>>,
}

/// One stream's records, and the columns that are built of them.
struct Case {
    schema: Arc<Schema>,
    projection: Vec<bool>,
    records: Vec<String>,
    rows: usize,
}

impl Case {
    /// Columns of these names, or all.
    fn new(stream: &str, records: Vec<String>, names: &[&str]) -> Case {
        let schema = built_in().into_iter().find(|schema| &*schema.name == stream).unwrap();
        let built = |field: &Field| names.is_empty() || names.contains(&field.name.as_str());
        let projection = schema.fields.iter().map(built).collect();
        let mut case = Case { schema, projection, records, rows: 0 };
        case.rows = case.decode(&mut case.decoder()).num_rows();
        case
    }

    fn decoder(&self) -> JsonDecoder {
        JsonDecoder::new(self.schema.clone(), self.projection.clone(), &Limits::default())
    }

    fn thorough(&self) -> JsonDecoder {
        JsonDecoder::thorough(self.schema.clone(), self.projection.clone(), &Limits::default())
    }

    fn decode(&self, decoder: &mut JsonDecoder) -> RecordBatch {
        for (position, record) in (0..).zip(&self.records) {
            let (offset, broker_time) = (i64::from(position), Timestamp(1_800_000_000_000_000));
            let payload = record.as_bytes();
            decoder.push(&Record { source: 0, offset, broker_time, payload, broken: None }, position);
        }
        let sources: Arc<[PartitionId]> = Arc::from([PartitionId { stream: "bench".into(), index: 0 }]);
        let decoded = decoder.finish(&sources);
        assert_eq!(decoded.rejects.len(), 0);
        decoded.batch.columns
    }

    fn built(&self) -> impl Iterator<Item = &Field> {
        self.schema.fields.iter().zip(&self.projection).filter(|(_, built)| **built).map(|(field, _)| field)
    }

    /// `arrow-json` for the same columns, where they lie.
    fn arrow(&self) -> Decoder {
        let mut fields = Fields::empty();
        for field in self.built() {
            fields = with(&fields, &field.path, arrow_kind(field));
        }
        if !self.schema.records.is_empty() {
            let item = ArrowField::new("item", DataType::Struct(fields), true);
            fields = with(&Fields::empty(), &self.schema.records, DataType::List(Arc::new(item)));
        }
        let schema = Arc::new(ArrowSchema::new(fields));
        ReaderBuilder::new(schema).with_batch_size(RECORDS).build_decoder().unwrap()
    }

    /// Fails unless `arrow-json` reads the same values.
    fn assert_same(&self) {
        let ours = self.decode(&mut self.decoder());
        let theirs: ArrayRef =
            Arc::new(arrow::array::StructArray::from(read(&mut self.arrow(), &self.records)));
        let theirs = match inside(&theirs, &self.schema.records) {
            lists if self.schema.records.is_empty() => lists,
            lists => {
                let lists = lists.as_list::<i32>().iter().flatten().collect::<Vec<_>>();
                concat(&lists.iter().map(AsRef::as_ref).collect::<Vec<_>>()).unwrap()
            }
        };
        for field in self.built() {
            let mut column = inside(&theirs, &field.path);
            if field.kind == FieldType::Time(fleetwarden::schema::TimeUnit::Millis) {
                let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
                column = arrow::compute::cast(&column, &millis).unwrap();
            }
            let mine = ours.column_by_name(&field.name).unwrap();
            let mut column = arrow::compute::cast(&column, mine.data_type()).unwrap();
            if let Some(floats) = column.as_primitive_opt::<Float64Type>() {
                // For the decoder, -0 is 0.
                column = Arc::new(floats.unary::<_, Float64Type>(|float| float + 0.0));
            }
            assert_eq!(mine, &column, "{}", field.name);
        }
    }

    /// Each record as a value of its own.
    fn parse<'a, T: Deserialize<'a>>(&'a self, rows: fn(&T) -> usize) -> usize {
        let value = |record: &'a String| serde_json::from_slice::<T>(record.as_bytes()).unwrap();
        self.records.iter().map(|record| rows(black_box(&value(record)))).sum()
    }

    /// Measures the decoder and all baselines; `by_hand` reads all records into a struct.
    fn measure(&self, name: &str, by_hand: impl FnMut() -> usize, options: &Options) -> bool {
        if !options.wants(name) {
            return true;
        }
        self.assert_same();
        let (mut fast, mut slow, mut arrow) = (self.decoder(), self.thorough(), self.arrow());
        let bytes = self.records.iter().map(String::len).sum();
        let [over_arrow, over_tape, over_struct] = BARS;
        let (mut buffers, mut kept) = (simd_json::Buffers::default(), None::<simd_json::Tape<'static>>);
        let good = Bench::new(name, self.rows, bytes)
            .way("decoder", None, || black_box(self.decode(&mut fast)).num_rows())
            .way("arrow-json", over_arrow, || {
                let read = read(&mut arrow, &self.records);
                if black_box(read).num_rows() == self.records.len() { self.rows } else { 0 }
            })
            // It writes into what it reads, so each run gets a copy, which is not measured.
            .prepared(
                "simd-json tape",
                over_tape,
                || self.records.clone().into_iter().map(String::into_bytes).collect::<Vec<_>>(),
                |records| {
                    for record in records {
                        let mut tape = kept.take().unwrap_or_else(simd_json::Tape::null).reset();
                        simd_json::fill_tape(record, &mut buffers, &mut tape).unwrap();
                        kept = Some(black_box(tape).reset());
                    }
                    self.rows
                },
            )
            .way("serde_json struct", over_struct, by_hand)
            .way("thorough decoder", None, || black_box(self.decode(&mut slow)).num_rows())
            .measure(options);
        assert_eq!(fast.reread(), 0);
        good
    }
}

/// What `arrow-json` makes of a field: it knows no times as numbers, and no JSON in JSON.
fn arrow_kind(field: &Field) -> DataType {
    match field.kind {
        FieldType::Time(fleetwarden::schema::TimeUnit::Rfc3339) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        FieldType::Time(_) => DataType::Int64,
        kind => arrow_type(kind.logical()),
    }
}

/// The same fields and one more at a path.
fn with(fields: &Fields, path: &[String], kind: DataType) -> Fields {
    let Some((name, rest)) = path.split_first() else { return fields.clone() };
    let mut all: Vec<ArrowField> = fields.iter().map(|field| field.as_ref().clone()).collect();
    let at = all.iter().position(|field| field.name() == name);
    let kind = match at.map(|at| all.remove(at).data_type().clone()) {
        Some(DataType::Struct(inner)) => DataType::Struct(with(&inner, rest, kind)),
        _ if rest.is_empty() => kind,
        _ => DataType::Struct(with(&Fields::empty(), rest, kind)),
    };
    all.push(ArrowField::new(name, kind, true));
    all.into()
}

/// The column at a path of structs.
fn inside(array: &ArrayRef, path: &[String]) -> ArrayRef {
    path.iter().fold(array.clone(), |array, name| {
        let structs = array.as_struct();
        let column = structs.column_by_name(name).unwrap();
        let nulls = arrow::buffer::NullBuffer::union(structs.nulls(), column.nulls());
        column.to_data().into_builder().nulls(nulls).build().map(arrow::array::make_array).unwrap()
    })
}

fn read(decoder: &mut Decoder, records: &[String]) -> RecordBatch {
    for record in records {
        assert_eq!(decoder.decode(record.as_bytes()).unwrap(), record.len());
    }
    decoder.flush().unwrap().unwrap()
}

fn main() -> ExitCode {
    let options = Options::from_command_line();
    let four = ["vin", "ts", "speed", "ignition"];
    let six = ["ts", "event_name", "user_arn", "source_ip", "error_code", "mfa_authenticated"];
    let mut good = true;
    for (name, records) in
        [("telemetry", events::telemetry(RECORDS)), ("disordered", events::disordered_telemetry(RECORDS))]
    {
        let case = Case::new("telemetry", records.clone(), &four);
        good &= case.measure(&format!("{name}, 4 columns"), || case.parse::<Four<'_>>(|_| 1), &options);
        let case = Case::new("telemetry", records, &[]);
        good &= case.measure(&format!("{name}, all columns"), || case.parse::<All<'_>>(|_| 1), &options);
    }
    let case = Case::new("cloudtrail", events::cloudtrail(RECORDS / 4), &six);
    good &=
        case.measure("cloudtrail, 6 columns", || case.parse::<Trail<'_>>(|it| it.Records.len()), &options);
    exit(&options, good)
}
