//! A stream as a table of DataFusion: records are decoded batch by batch as the query asks for them, and only
//! the columns that it reads are built.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use indicatif::ProgressBar;

use super::place::Place;
use crate::cli::look::{Decoded, record};
use crate::decode::JsonDecoder;
use crate::event::{EventBatch, PartitionId};
use crate::files::Line;
use crate::schema::{BUILT_IN, arrow_type};

/// Records of a batch.
const BATCH: usize = 8192;
const BATCH_BYTES: usize = 4 << 20;

/// What reading came upon, told by whoever reads.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Option<Decoded>>);

impl Seen {
    /// What was read so far; none if nothing was asked.
    pub fn decoded(&self) -> Option<Decoded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, decoded: &Decoded) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(decoded.clone());
    }
}

/// A stream that can be asked.
#[derive(Debug)]
pub struct StreamTable {
    place: Place,
    columns: SchemaRef,
    seen: Arc<Seen>,
    bar: ProgressBar,
}

impl StreamTable {
    /// The table of a stream: declared fields, built-in ones, and the place of each event.
    pub fn new(place: Place, bar: ProgressBar) -> StreamTable {
        let declared = place.schema.fields.iter().map(|field| (field.name.as_str(), field.kind.logical()));
        let mut fields: Vec<Field> =
            declared.chain(BUILT_IN).map(|(name, kind)| Field::new(name, arrow_type(kind), true)).collect();
        fields.push(Field::new(free(&fields, "_partition"), DataType::Int32, true));
        fields.push(Field::new(free(&fields, "_offset"), DataType::Int64, true));
        StreamTable { place, columns: Arc::new(ArrowSchema::new(fields)), seen: Arc::default(), bar }
    }

    /// What reading it comes upon.
    pub fn seen(&self) -> Arc<Seen> {
        self.seen.clone()
    }
}

/// A name that no field has.
fn free(fields: &[Field], name: &str) -> String {
    let taken = |name: &str| fields.iter().any(|field| field.name() == name);
    if taken(name) { free(fields, &format!("_{name}")) } else { name.to_owned() }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        self.columns.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = projection.cloned().unwrap_or_else(|| (0..self.columns.fields().len()).collect());
        let schema = Arc::new(self.columns.project(&wanted)?);
        let scan = Scan {
            schema: schema.clone(),
            wanted,
            place: self.place.clone(),
            seen: self.seen.clone(),
            bar: self.bar.clone(),
        };
        StreamingTable::try_new(schema, vec![Arc::new(scan)])?.scan(state, None, filters, limit).await
    }
}

/// One reading of a stream, of some columns.
#[derive(Debug)]
struct Scan {
    schema: SchemaRef,
    wanted: Vec<usize>,
    place: Place,
    seen: Arc<Seen>,
    bar: ProgressBar,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(self.schema.clone(), 2);
        let to = stream.tx();
        let mut reading = Reading::new(self);
        stream.spawn_blocking(move || {
            let failed = |message: String| DataFusionError::External(message.into());
            let mut records = reading.place.open().map_err(failed)?;
            loop {
                let more = reading.fill(&mut || records.next()).map_err(failed)?;
                let (read, total) = records.progress();
                reading.bar.set_length(total);
                reading.bar.set_position(read);
                let batch = reading.batch()?;
                // Nobody listens any more once the query has enough.
                if to.blocking_send(Ok(batch)).is_err() || !more {
                    return Ok(());
                }
            }
        });
        stream.build()
    }
}

/// Records becoming batches.
struct Reading {
    place: Place,
    schema: SchemaRef,
    wanted: Vec<usize>,
    seen: Arc<Seen>,
    bar: ProgressBar,
    decoder: JsonDecoder,
    decoded: Decoded,
    sources: Vec<PartitionId>,
    indices: BTreeMap<PartitionId, u16>,
}

impl Reading {
    fn new(scan: &Scan) -> Reading {
        let fields = scan.place.schema.fields.len();
        let built = (0..fields).map(|field| scan.wanted.contains(&field)).collect();
        Reading {
            place: scan.place.clone(),
            schema: scan.schema.clone(),
            wanted: scan.wanted.clone(),
            seen: scan.seen.clone(),
            bar: scan.bar.clone(),
            decoder: JsonDecoder::new(scan.place.schema.clone(), built, &scan.place.limits),
            decoded: Decoded::default(),
            sources: Vec::new(),
            indices: BTreeMap::new(),
        }
    }

    /// Reads as much as makes a batch; false at the end.
    fn fill(
        &mut self,
        next: &mut dyn FnMut() -> Option<std::result::Result<Line, String>>,
    ) -> std::result::Result<bool, String> {
        let (mut rows, mut bytes) = (0u32, 0);
        while (rows as usize) < BATCH && bytes < BATCH_BYTES {
            let Some(line) = next() else { return Ok(false) };
            let line = line?;
            bytes += line.payload.len();
            self.decoded.records += 1;
            if let Some((reason, why)) = &line.reject {
                self.decoded.reject(*reason, format!("{}@{}: {why}", line.partition, line.offset));
                continue;
            }
            let source = self.source(&line.partition)?;
            self.decoder.push(&record(&line, source), rows);
            rows += 1;
        }
        Ok(true)
    }

    fn source(&mut self, partition: &PartitionId) -> std::result::Result<u16, String> {
        if let Some(known) = self.indices.get(partition) {
            return Ok(*known);
        }
        let source =
            u16::try_from(self.sources.len()).map_err(|_| "more than 65,535 partitions: split the input")?;
        self.sources.push(partition.clone());
        self.indices.insert(partition.clone(), source);
        Ok(source)
    }

    /// What has been read, in the columns that are wanted.
    fn batch(&mut self) -> Result<RecordBatch> {
        let sources: Arc<[PartitionId]> = self.sources.clone().into();
        let decoded = self.decoder.finish(&sources);
        self.decoded.add(&decoded.stats, &decoded.rejects, decoded.batch.time.len());
        self.seen.tell(&self.decoded);
        let batch = decoded.batch;
        let columns = self.wanted.iter().map(|column| self.column(&batch, *column)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.time.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    fn column(&self, batch: &EventBatch, column: usize) -> ArrayRef {
        let width = self.place.schema.width();
        if column < width {
            return batch.columns.column(column).clone();
        }
        let of = |source: u16| self.sources.get(usize::from(source)).map(|partition| partition.index);
        if column == width {
            Arc::new(batch.names.iter().map(|name| of(name.source)).collect::<Int32Array>())
        } else {
            Arc::new(Int64Array::from_iter_values(batch.names.iter().map(|name| name.offset)))
        }
    }
}
