//! Rows → text: a table, CSV, NDJSON.

use std::io::{self, BufWriter, Stdout, Write};
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;

use super::Format;

/// Times as rules and alerts write them.
const TIME: &str = "%Y-%m-%dT%H:%M:%S%.3fZ";

/// Where rows go.
pub struct Out {
    writer: Writer,
    schema: Arc<Schema>,
    rows: usize,
    limit: usize,
}

enum Writer {
    /// Held, since a column is as wide as its widest value.
    Table(Vec<RecordBatch>),
    Csv(Box<arrow::csv::Writer<BufWriter<Stdout>>>),
    Ndjson(Box<arrow::json::LineDelimitedWriter<BufWriter<Stdout>>>),
}

impl Out {
    /// Nothing written yet.
    pub fn new(format: Format, schema: &Schema, limit: usize) -> Out {
        let stdout = || BufWriter::new(io::stdout());
        let writer = match format {
            Format::Table => Writer::Table(Vec::new()),
            Format::Csv => {
                let builder = arrow::csv::WriterBuilder::new().with_header(true);
                Writer::Csv(Box::new(builder.with_timestamp_format(TIME.to_owned()).build(stdout())))
            }
            Format::Ndjson => {
                let builder = arrow::json::WriterBuilder::new().with_timestamp_format(TIME.to_owned());
                Writer::Ndjson(Box::new(builder.build(stdout())))
            }
        };
        Out { writer, schema: Arc::new(schema.clone()), rows: 0, limit }
    }

    /// Whether there is no room for another row.
    pub fn is_full(&self) -> bool {
        self.rows >= self.limit
    }

    /// Takes rows; false once nobody reads them any more.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<bool, String> {
        let batch = batch.slice(0, batch.num_rows().min(self.limit - self.rows));
        if batch.num_rows() == 0 {
            return Ok(true);
        }
        self.rows += batch.num_rows();
        match &mut self.writer {
            Writer::Table(held) => {
                held.push(batch);
                Ok(true)
            }
            Writer::Csv(writer) => written(writer.write(&batch)),
            Writer::Ndjson(writer) => written(writer.write(&batch)),
        }
    }

    /// Prints what is held; how many rows there were.
    pub fn finish(mut self) -> Result<usize, String> {
        match self.writer {
            Writer::Table(held) => {
                let held = if held.is_empty() { vec![RecordBatch::new_empty(self.schema)] } else { held };
                let text = table(&held)?;
                let printed = writeln!(io::stdout(), "{text}");
                written(printed.map_err(ArrowError::from))?;
            }
            Writer::Csv(mut writer) => {
                if self.rows == 0 {
                    written(writer.write(&RecordBatch::new_empty(self.schema)))?;
                }
                written(writer.into_inner().flush().map_err(ArrowError::from))?;
            }
            Writer::Ndjson(ref mut writer) => {
                let finished = writer.finish().and_then(|()| Ok(writer.get_mut().flush()?));
                written(finished)?;
            }
        }
        Ok(self.rows)
    }
}

/// Rows as a table.
pub fn table(batches: &[RecordBatch]) -> Result<String, String> {
    let options = FormatOptions::default().with_display_error(true).with_timestamp_format(Some(TIME));
    let text = pretty_format_batches_with_options(batches, &options).map_err(|error| error.to_string())?;
    Ok(text.to_string())
}

/// A reader that has seen enough (`| head`) is no error worth a word.
fn written(result: Result<(), ArrowError>) -> Result<bool, String> {
    match result {
        Ok(()) => Ok(true),
        Err(ArrowError::IoError(_, error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        // The writer of CSV keeps no more of an error than its text.
        Err(ArrowError::CsvError(text)) if text.contains("Broken pipe") => Ok(false),
        Err(error) => Err(format!("cannot write rows: {error}")),
    }
}
