//! Batch → `Picked`: every distinct predicate and value is evaluated once per batch, for all rules of a
//! stream.
//!
//! It keeps nothing between batches, and what it gives for a row does not depend on the rows beside it: not
//! the values, and not the counts either.

mod term;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, UInt32Array, new_empty_array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;

use self::term::{Interner, Probe, Term, shared_term};
use super::expr::compile::{Evaluated, true_rows};
use super::{Rule, RuleSet};
use crate::alert::{Blind, Reason};
use crate::event::picked::hash_at;
use crate::event::{Column, EventBatch, Key, KeyHasher, Picked};
use crate::schema::{Schema, arrow_type};

/// What is evaluated once per batch of one stream, compiled.
#[derive(Clone, Debug)]
pub struct StreamScan {
    terms: Vec<Term>,
    probes: Vec<Probe>,
    /// Distinct keys: their parts, as terms.
    shapes: Vec<Vec<usize>>,
    plans: Vec<Plan>,
    projection: Vec<bool>,
}

/// What one rule wants, in terms.
#[derive(Clone, Debug)]
struct Plan {
    rule: usize,
    filters: Vec<usize>,
    steps: Vec<usize>,
    values: Vec<usize>,
    shape: usize,
}

/// What the scan of one batch gave: per rule that picked at least one row or counted something (by index in
/// the set, rising), its rows, maybe none, and what its expressions could not compute.
pub type Scanned = Vec<(usize, Picked, Blind)>;

impl RuleSet {
    /// Picks each rule's rows. No memory; once per worker and batch.
    pub fn scan(&self, batch: &Arc<EventBatch>) -> Scanned {
        self.scans.get(&batch.stream).map(|scan| scan.scan(batch)).unwrap_or_default()
    }
}

impl StreamScan {
    /// Compiles what the rules of one stream read. `rules` are (index in the set, rule). An error names the
    /// rule and what does not compile; the checker lets no such rule through.
    pub fn new(schema: &Arc<Schema>, rules: &[(usize, &Rule)]) -> Result<StreamScan, String> {
        let mut interner = Interner::default();
        let mut shapes: Vec<Vec<usize>> = Vec::new();
        let mut plans = Vec::with_capacity(rules.len());
        for (index, rule) in rules {
            let named = |problem: String| format!("{}: {problem}", rule.info.id);
            let inputs = &rule.inputs;
            if inputs.steps.len() > 32 || inputs.values.len() < rule.key.len() {
                return Err(named("more than 32 filters, or fewer values than key parts".into()));
            }
            let filters = interner.all(&inputs.filters).map_err(named)?;
            let steps = interner.all(&inputs.steps).map_err(named)?;
            let values = interner.all(&inputs.values).map_err(named)?;
            let key = values.iter().take(rule.key.len()).copied().collect();
            let shape = shapes.iter().position(|shape| *shape == key).unwrap_or(shapes.len());
            if shape == shapes.len() {
                shapes.push(key);
            }
            plans.push(Plan { rule: *index, filters, steps, values, shape });
        }
        plans.sort_by_key(|plan| plan.rule);
        let mut projection = vec![false; schema.fields.len()];
        let (terms, probes) = interner.finish()?;
        for column in terms.iter().flat_map(|term| term.compiled.columns()) {
            if let Some(read) = projection.get_mut(*column) {
                *read = true;
            }
        }
        Ok(StreamScan { terms, probes, shapes, plans, projection })
    }

    /// Which declared fields some rule reads.
    pub fn projection(&self) -> Vec<bool> {
        self.projection.clone()
    }

    fn scan(&self, batch: &Arc<EventBatch>) -> Scanned {
        let mut pass = Pass::new(self, batch);
        let chosen: Vec<Chosen> = self.plans.iter().map(|plan| pass.choose(plan)).collect();
        let keys = pass.all_keys(&chosen);
        let seen = chosen.into_iter().filter(|chosen| !chosen.rows.is_empty() || chosen.lost > 0);
        seen.map(|chosen| pass.pick(chosen, &keys)).collect()
    }
}

/// A term over all rows of the batch.
#[derive(Clone)]
struct Whole {
    array: ArrayRef,
    mask: BooleanBuffer,
    lost: Arc<[u32]>,
}

/// The rows of one rule, and how many NULLs its filters counted on the way to them.
struct Chosen<'a> {
    plan: &'a Plan,
    mask: BooleanBuffer,
    rows: Vec<u32>,
    lost: u64,
}

/// One scan of one batch: what has been evaluated so far.
struct Pass<'a> {
    scan: &'a StreamScan,
    batch: &'a Arc<EventBatch>,
    rows: usize,
    every: BooleanBuffer,
    whole: Vec<Option<Whole>>,
}

impl<'a> Pass<'a> {
    fn new(scan: &'a StreamScan, batch: &'a Arc<EventBatch>) -> Pass<'a> {
        let rows = batch.columns.num_rows();
        Pass { scan, batch, rows, every: BooleanBuffer::new_set(rows), whole: vec![None; scan.terms.len()] }
    }

    /// The term over the whole batch, evaluated when first asked for.
    fn whole(&mut self, term: usize) -> Whole {
        if let Some(whole) = &self.whole[term] {
            return whole.clone();
        }
        let scan = self.scan;
        if let Some(probe) = scan.terms[term].probe
            && self.probe(&scan.probes[probe])
            && let Some(whole) = &self.whole[term]
        {
            return whole.clone();
        }
        let Evaluated { array, lost } = match &scan.terms[term].combined {
            None => scan.terms[term].compiled.rows(&self.batch.columns),
            Some(combined) => combined.rows_of(self.rows, |column| match shared_term(column) {
                Some(shared) => Some(self.whole(shared).array),
                None => self.batch.columns.columns().get(column).cloned(),
            }),
        };
        let whole = Whole { mask: true_rows(&array), array, lost: lost.into() };
        self.whole[term] = Some(whole.clone());
        whole
    }

    /// Answers all comparisons of a column with constants; false if the column is not what it should be.
    fn probe(&mut self, probe: &Probe) -> bool {
        let Some(array) = self.batch.columns.columns().get(probe.column) else { return false };
        let Some(found) = probe.rows(array) else { return false };
        let none: Arc<[u32]> = [].into();
        let nowhere = BooleanBuffer::new_unset(self.rows);
        for (term, rows) in probe.terms.iter().zip(found) {
            let mask = if rows.is_empty() { nowhere.clone() } else { set_rows(&rows, self.rows) };
            let array = Arc::new(BooleanArray::new(mask.clone(), array.nulls().cloned()));
            self.whole[*term] = Some(Whole { array, mask, lost: none.clone() });
        }
        true
    }

    /// Whether a term is better evaluated on these few rows alone than on all: what is cheap, or what other
    /// rules want as well, only if they are very few.
    fn sparing(&self, term: usize, rows: usize) -> bool {
        let Term { compiled, uses, probe, .. } = &self.scan.terms[term];
        let share = if compiled.is_costly() { 4 } else { 16 };
        self.whole[term].is_none()
            && probe.is_none()
            && !compiled.columns().is_empty()
            && (compiled.is_costly() || *uses == 1)
            && rows < self.rows / share
    }

    /// The rows that satisfy all filters of a rule.
    fn choose(&mut self, plan: &'a Plan) -> Chosen<'a> {
        let mut mask = self.every.clone();
        let mut count = self.rows;
        let mut lost = 0;
        for term in &plan.filters {
            if count == 0 {
                break;
            }
            if self.sparing(*term, count) {
                let rows = UInt32Array::from_iter_values(mask.set_indices_u32());
                let few = self.scan.terms[*term].compiled.rows_at(&self.batch.columns, &rows);
                lost += few.lost.len();
                mask = scattered(&true_rows(&few.array), rows.values(), self.rows);
            } else {
                let whole = self.whole(*term);
                lost += within(&whole.lost, &mask);
                mask = if count == self.rows { whole.mask } else { &mask & &whole.mask };
            }
            count = mask.count_set_bits();
        }
        let rows = mask.set_indices_u32().collect();
        Chosen { plan, mask, rows, lost: lost as u64 }
    }

    /// Per key shape, the key of each batch row that some rule with that shape picked; none if no rule did.
    fn all_keys(&mut self, chosen: &[Chosen<'_>]) -> Vec<Arc<[Key]>> {
        let mut wanted: Vec<Option<BooleanBuffer>> = vec![None; self.scan.shapes.len()];
        for Chosen { plan, mask, .. } in chosen.iter().filter(|chosen| !chosen.rows.is_empty()) {
            let wanted = &mut wanted[plan.shape];
            *wanted = Some(wanted.as_ref().map_or_else(|| mask.clone(), |rows| rows | mask));
        }
        let shapes = wanted.into_iter().enumerate();
        shapes.map(|(shape, rows)| rows.map_or_else(|| [].into(), |rows| self.keys(shape, &rows))).collect()
    }

    fn keys(&mut self, shape: usize, wanted: &BooleanBuffer) -> Arc<[Key]> {
        let scan = self.scan;
        let parts = &scan.shapes[shape];
        if parts.is_empty() {
            return vec![Key::of(&[]); self.rows].into();
        }
        let rows: Vec<u32> = wanted.set_indices_u32().collect();
        let columns: Vec<Column> = parts.iter().map(|term| self.value(*term, wanted, &rows).0).collect();
        let mut keys = vec![Key(0); self.rows];
        for (place, row) in rows.iter().enumerate() {
            let mut hasher = KeyHasher::default();
            for column in &columns {
                let (array, at) = cell(column, place, *row);
                hash_at(array, at, &mut hasher);
            }
            keys[*row as usize] = Key(hasher.finish());
        }
        keys.into()
    }

    /// A term in the picked rows, and how many NULLs it counted in them.
    fn value(&mut self, term: usize, mask: &BooleanBuffer, rows: &[u32]) -> (Column, u64) {
        let Term { compiled, column, .. } = &self.scan.terms[term];
        let shared = column.and_then(|index| self.batch.columns.columns().get(index));
        if let Some(array) = shared.filter(|array| array.data_type() == &arrow_type(compiled.kind())) {
            return (Column::shared(array.clone()), 0);
        }
        if rows.is_empty() {
            return (Column::own(new_empty_array(&arrow_type(compiled.kind()))), 0);
        }
        let few = rows.len() < self.rows / 4 && !compiled.columns().is_empty();
        if few && self.whole[term].is_none() {
            let rows = UInt32Array::from_iter_values(rows.iter().copied());
            let Evaluated { array, lost } = compiled.rows_at(&self.batch.columns, &rows);
            return (Column::own(array), lost.len() as u64);
        }
        let whole = self.whole(term);
        (Column::shared(whole.array), within(&whole.lost, mask) as u64)
    }

    fn pick(&mut self, chosen: Chosen<'_>, keys: &[Arc<[Key]>]) -> (usize, Picked, Blind) {
        let Chosen { plan, mask, rows, mut lost } = chosen;
        let mut steps = vec![0; rows.len()];
        for (bit, term) in plan.steps.iter().enumerate() {
            let (column, counted) = self.value(*term, &mask, &rows);
            lost += counted;
            set_bits(&column, 1 << bit, &rows, &mut steps);
        }
        let mut values = Vec::with_capacity(plan.values.len());
        for term in &plan.values {
            let (column, counted) = self.value(*term, &mask, &rows);
            lost += counted;
            values.push(column);
        }
        let mut blind = Blind::default();
        blind.add(Reason::Expression, lost);
        blind.add(Reason::NullKey, null_keys(&values[..self.scan.shapes[plan.shape].len()], &rows));
        let keys = keys[plan.shape].clone();
        (plan.rule, Picked { of: self.batch.clone(), rows, steps, keys, values }, blind)
    }
}

/// The array of a column, and the index in it of the picked row at a place.
fn cell(column: &Column, place: usize, row: u32) -> (&ArrayRef, usize) {
    (column.array(), column.at(place, row as usize))
}

/// Sets a bit in the steps of the rows where a column is TRUE.
fn set_bits(column: &Column, bit: u32, rows: &[u32], steps: &mut [u32]) {
    let mask = true_rows(column.array());
    for (place, (row, step)) in rows.iter().zip(steps).enumerate() {
        if mask.value(cell(column, place, *row).1) {
            *step |= bit;
        }
    }
}

/// In how many picked rows some part of the key is NULL.
fn null_keys(parts: &[Column], rows: &[u32]) -> u64 {
    let may_be_null = |column: &&Column| column.array().is_nullable();
    let parts: Vec<&Column> = parts.iter().filter(may_be_null).collect();
    if parts.is_empty() {
        return 0;
    }
    let is_null = |place: usize, row: u32| {
        parts.iter().any(|column| {
            let (array, at) = cell(column, place, row);
            array.is_null(at) || array.data_type() == &DataType::Null
        })
    };
    rows.iter().enumerate().filter(|(place, row)| is_null(*place, **row)).count() as u64
}

/// How many of these rows are in the mask.
fn within(rows: &[u32], mask: &BooleanBuffer) -> usize {
    rows.iter().filter(|row| mask.value(**row as usize)).count()
}

/// What holds of a few rows, as a mask over all.
fn scattered(few: &BooleanBuffer, rows: &[u32], all: usize) -> BooleanBuffer {
    let rows: Vec<u32> = few.set_indices().map(|at| rows[at]).collect();
    set_rows(&rows, all)
}

/// These rows, as a mask over all.
fn set_rows(rows: &[u32], all: usize) -> BooleanBuffer {
    let mut mask = BooleanBufferBuilder::new(all);
    mask.append_n(all, false);
    rows.iter().for_each(|row| mask.set_bit(*row as usize, true));
    mask.finish()
}

#[cfg(test)]
mod tests;
