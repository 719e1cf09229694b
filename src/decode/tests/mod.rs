//! Each trap has a name; the properties hold for any bytes.

mod mutants;
mod properties;
mod suite;
mod traps;
mod twins;

use arrow::array::Array;
use arrow::util::display::array_value_to_string;

use super::*;
use crate::diagnostic::Source;
use crate::event::time::SECOND;

/// A stream with a field of every type, deep paths, and JSON around other fields.
pub const CARS: &str = r#"
time = "ts"
key = "vin"
[fields]
vin   = { type = "string", normalize = ["trim", "upper"] }
ts    = { type = "timestamp", unit = "ms" }
n     = { type = "int", min = 0 }
x     = { type = "float", min = -1 }
lit   = { type = "bool" }
ip    = { type = "ip" }
tags  = { type = "strings" }
raw   = { type = "json" }
nested = { type = "int", path = "raw.inner" }
deep  = { type = "string", path = "a.b.c" }
side  = { type = "int", path = "a.d" }
dots  = { type = "float", path = ["Vehicle.Speed"] }
"#;

/// The same, with many events in a record.
pub fn lists(path: &str) -> String {
    format!("records = \"{path}\"\n{CARS}")
}

pub fn schema(text: &str) -> Arc<Schema> {
    let (schemas, problems) =
        crate::schema::load(&[Source { path: "cars.toml".into(), text: text.to_owned() }]);
    assert_eq!(problems, []);
    schemas.into_iter().next().unwrap()
}

/// The broker time of the record at a position: seconds 1,000,000 and on.
pub fn broker(position: usize) -> Timestamp {
    Timestamp((1_000_000 + position as i64) * SECOND)
}

pub struct Run {
    decoder: JsonDecoder,
    pub decoded: Decoded,
}

pub fn decode_as(
    schema: &Arc<Schema>,
    projection: Vec<bool>,
    limits: &Limits,
    payloads: &[impl AsRef<[u8]>],
) -> Run {
    let mut decoder = JsonDecoder::new(schema.clone(), projection.clone(), limits);
    let mut oracle = JsonDecoder::thorough(schema.clone(), projection, limits);
    for (position, payload) in payloads.iter().enumerate() {
        let record = record(position, payload.as_ref());
        decoder.push(&record, position as u32);
        oracle.push(&record, position as u32);
    }
    let decoded = decoder.finish(&sources());
    twins::assert_same(&decoded, &oracle.finish(&sources()));
    assert_eq!(decoder.reread(), decoded.rejects.len() as u64, "what is taken is taken quickly");
    Run { decoder, decoded }
}

/// The record at a position.
pub fn record(position: usize, payload: &[u8]) -> Record<'_> {
    Record { source: 0, offset: 100 + position as i64, broken: None, broker_time: broker(position), payload }
}

pub fn sources() -> Arc<[PartitionId]> {
    Arc::from([PartitionId { stream: "cars".into(), index: 0 }])
}

pub fn decode(text: &str, payloads: &[impl AsRef<[u8]>]) -> Run {
    let schema = schema(text);
    decode_as(&schema, vec![true; schema.fields.len()], &Limits::default(), payloads)
}

/// Decodes one record; its only reject.
pub fn reject(text: &str, payload: impl AsRef<[u8]>) -> Option<(RejectReason, usize)> {
    let run = decode(text, &[payload]);
    assert_eq!(run.decoded.rejects.len() + usize::from(run.is_accepted()), 1);
    run.decoded.rejects.first().map(|reject| (reject.reason, reject.at))
}

pub fn reason(text: &str, payload: impl AsRef<[u8]>) -> Option<RejectReason> {
    reject(text, payload).map(|(reason, _)| reason)
}

impl Run {
    fn is_accepted(&self) -> bool {
        self.decoded.rejects.is_empty()
    }

    pub fn rows(&self) -> usize {
        let batch = &self.decoded.batch;
        let rows = batch.columns.num_rows();
        assert_eq!([batch.time.len(), batch.names.len(), batch.positions.len()], [rows; 3]);
        assert_eq!(batch.columns.num_columns(), self.decoder.schema.width());
        rows
    }

    /// The values of a column as text, a space between them.
    pub fn column(&self, name: &str) -> String {
        let column = self.decoder.schema.column(name).unwrap();
        assert_eq!(self.decoded.batch.columns.schema().field(column).name(), name);
        let array = self.decoded.batch.columns.column(column);
        let cell = |row| match array.is_null(row) || array.data_type() == &arrow::datatypes::DataType::Null {
            true => "NULL".to_owned(),
            false => array_value_to_string(array, row).unwrap(),
        };
        (0..array.len()).map(cell).collect::<Vec<_>>().join(" ")
    }

    /// Values that became NULL, as `column:count`.
    pub fn mistyped(&self) -> String {
        let counts = self.decoded.stats.mistyped.iter().map(|(name, count)| format!("{name}:{count}"));
        counts.collect::<Vec<_>>().join(" ")
    }

    /// Every row with its name, and every reject, in order.
    pub fn all(&self) -> Vec<String> {
        let names = (0..self.decoder.schema.width()).map(|i| self.decoder.schema.column_name(i));
        let columns: Vec<_> = names.map(|name| self.decoder.schema.column(name).unwrap()).collect();
        let batch = &self.decoded.batch;
        let mut lines: Vec<(i64, u32, String)> = Vec::new();
        for (row, name) in batch.names.iter().enumerate() {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| {
                    let array = batch.columns.column(*column);
                    let shown = array_value_to_string(array, row).unwrap();
                    if array.is_null(row) { "NULL".to_owned() } else { format!("{shown:?}") }
                })
                .collect();
            lines.push((name.offset, name.index, format!("{} {cells:?}", batch.time[row])));
        }
        for reject in &self.decoded.rejects {
            lines.push((reject.offset, 0, format!("{:?} at {}", reject.reason, reject.at)));
        }
        lines.sort();
        lines.into_iter().map(|(offset, index, line)| format!("{offset}#{index} {line}")).collect()
    }
}
