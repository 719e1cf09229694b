//! Lists, shows, verifies and exports: nothing is changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatch;

use super::{Exit, Newest, read};
use crate::checkpoint::{Store, rules};
use crate::detect::codec::{Reader, Sources};
use crate::detect::memory::KeyState;
use crate::detect::state;
use crate::detect::table::KeyValues;
use crate::event::told::RuleState;
use crate::event::{Checkpoint, Key, Limits, Timestamp, Value};
use crate::pipeline::Pipeline;
use crate::rule::RuleSet;

/// Every partition with its checkpoints, and the keys of each rule in the newest.
pub(super) fn list(found: &[Newest], now: Timestamp) -> String {
    let mut out = String::new();
    for newest in found {
        let age = |written: Timestamp| (now.0 - written.0).max(0) / 1_000_000;
        let size = |bytes: u64| format!("{:.1} kB", bytes as f64 / 1000.0);
        let listed = &newest.listed;
        let head = format!("{}, {} s old, {}", size(listed.bytes), age(listed.written), listed.name);
        match &newest.read {
            Ok(saved) => {
                let Checkpoint { partition, next_offset, epoch, rules, stream_time, .. } = &saved.checkpoint;
                out += &format!("{partition}  next offset {next_offset}, epoch {epoch}, ");
                out += &format!("stream time {stream_time}, rules {rules:032x}\n  {head}\n");
                saved.checkpoint.tables.iter().for_each(|rule| out += &line_of(rule));
            }
            Err(why) => out += &format!("unreadable: {why}\n  {head}\n"),
        }
        for older in &newest.older {
            out += &format!("  {}, {} s old, {}\n", size(older.bytes), age(older.written), older.name);
        }
    }
    out
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// What a rule has; nothing is said of one that remembers nobody.
fn line_of(rule: &RuleState) -> String {
    let (keys, periods) = (rows(&rule.detector), rule.suppress.as_deref().map_or(0, rows));
    if keys + periods == 0 {
        return String::new();
    }
    let periods = if periods > 0 { format!(", {periods} in suppression") } else { String::new() };
    format!("    {:40} {}{periods}\n", rule.rule, crate::cli::number(keys, "key"))
}

/// The cells of a row.
pub(super) struct Row<'a> {
    pub values: Vec<Value>,
    pub once: bool,
    pub admitted: u64,
    pub state: &'a [u8],
}

/// All rows of a table.
pub(super) fn rows_of(batch: &RecordBatch) -> impl Iterator<Item = Row<'_>> {
    let cells = |name: &str| batch.column_by_name(name).and_then(|column| column.as_binary_opt::<i32>());
    let (values, states) = (cells("values"), cells("state"));
    let once = batch.column_by_name("once").and_then(|column| column.as_boolean_opt());
    let admitted = batch.column_by_name("admitted").and_then(|c| c.as_primitive_opt::<UInt64Type>());
    (0..batch.num_rows()).filter_map(move |row| {
        Some(Row {
            values: KeyValues::of_packed(values?.value(row)).to_vec(),
            once: once?.value(row),
            admitted: admitted?.value(row),
            state: states?.value(row),
        })
    })
}

/// The hashes of all rows.
pub(super) fn keys_of(batch: &RecordBatch) -> impl Iterator<Item = Key> + '_ {
    let keys = batch.column_by_name("key").and_then(|column| column.as_fixed_size_binary_opt());
    let keys = keys.into_iter().flat_map(|keys| (0..keys.len()).map(|row| keys.value(row)));
    keys.filter_map(|key| key.try_into().ok()).map(|key| Key(u128::from_be_bytes(key)))
}

/// A value as it is typed on a command line.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Text(text) => text.to_string(),
        other => other.json().to_string(),
    }
}

/// What is known of a key, in every partition that knows it.
pub(super) fn show(found: &[Newest], rule: &str, key: &str) -> Result<String, String> {
    let parts: Vec<&str> = key.split(',').collect();
    let (mut out, mut known) = (String::new(), false);
    for newest in found {
        let saved = newest.read.as_ref().map_err(Clone::clone)?;
        let of_rule = saved.checkpoint.tables.iter().filter(|table| table.rule == rule);
        for batch in of_rule.flat_map(|table| &table.detector) {
            known = true;
            let same = |row: &Row<'_>| row.values.iter().map(text).eq(parts.iter().copied());
            for row in rows_of(batch).filter(same) {
                out += &format!("{} in {}\n", key, saved.checkpoint.partition);
                describe(&row, &mut out);
            }
        }
    }
    match (out.is_empty(), known) {
        (false, _) => Ok(out),
        (true, true) => {
            Err(format!("rule {rule} knows no key {key}; its parts stand in the order of the rule"))
        }
        (true, false) => {
            Err(format!("no checkpoint holds keys of a rule \"{rule}\"; `state list` shows those there are"))
        }
    }
}

/// A threshold's memory in words; of other kinds, how large it is.
fn describe(row: &Row<'_>, out: &mut String) {
    let mut line = |head: &str, text: String| {
        out.push_str(&format!("  {head:14} {text}\n"));
    };
    line("seen", format!("{}, as key {}", if row.once { "once" } else { "more than once" }, row.admitted));
    let mut from = Reader(row.state, Sources::Same);
    let state = KeyState::read(&mut from).ok().filter(|_| from.0.is_empty());
    let Some(state) = state else {
        return line("learned", format!("{} bytes; `state export` writes them", row.state.len()));
    };
    line("last row", state.touched.to_string());
    if let Some(newest) = state.newest {
        line("newest event", newest.to_string());
    }
    for times in &state.rings {
        let times: Vec<String> = times.sorted().iter().map(Timestamp::to_string).collect();
        line("counted at", times.join(", "));
    }
    for pane in state.panes.heads() {
        let closed = if pane.closed.is_some() { ", closed" } else { "" };
        line(
            "pane",
            format!("{} with {}{closed}", pane.index, crate::cli::number(pane.rows as usize, "row")),
        );
    }
    for distinct in &state.distinct {
        let values: usize = distinct.sorted().iter().map(|(_, hashes)| hashes.len()).sum();
        line("distinct", format!("{values} by pane"));
    }
    let said =
        state.edge.open().map(|open| format!("its alert of severity {} still holds", open.said.name()));
    line("alert", said.unwrap_or_else(|| "none that still holds".into()));
}

/// Reads every checkpoint, and loads it where its rule set is in the store.
pub(super) async fn verify(store: &Store) -> Result<(String, Exit), String> {
    let (mut out, mut bad) = (String::new(), 0);
    let mut sets: BTreeMap<u128, Result<RuleSet, String>> = BTreeMap::new();
    let all = store.list_all().await.map_err(|error| error.to_string())?;
    for listed in &all {
        let verdict = match read(store, &listed.name).await {
            Err(why) => Err(why),
            Ok(saved) => {
                let hash = saved.checkpoint.rules;
                if let std::collections::btree_map::Entry::Vacant(place) = sets.entry(hash) {
                    place.insert(rule_set(store, hash).await);
                }
                loads(&saved.checkpoint, sets.get(&hash))
            }
        };
        match verdict {
            Ok(note) => out += &format!("good  {}{note}\n", listed.name),
            Err(why) => {
                bad += 1;
                out += &format!("bad   {}: {why}\n", listed.name);
            }
        }
    }
    out += &format!("{}, {bad} bad\n", crate::cli::number(all.len(), "checkpoint"));
    Ok((out, if bad > 0 { Exit::Findings } else { Exit::Ok }))
}

async fn rule_set(store: &Store, hash: u128) -> Result<RuleSet, String> {
    let bytes = store.get_rules(hash).await.map_err(|error| error.to_string())?;
    rules::compile(hash, &rules::decode(&bytes)?).map(|(rules, _)| rules)
}

/// Whether all that was saved can be loaded by the rules that saved it.
fn loads(checkpoint: &Checkpoint, set: Option<&Result<RuleSet, String>>) -> Result<String, String> {
    let Some(Ok(set)) = set else {
        return Ok(" (its rule set is not in the store, so states were not looked into)".into());
    };
    let saved = |id: &str| checkpoint.tables.iter().any(|table| table.rule == id);
    let runs: Vec<usize> = (0..set.rules.len()).filter(|at| saved(&set.rules[*at].info.id)).collect();
    let cut = (checkpoint, checkpoint.sources.as_slice());
    let (_, cold) = Pipeline::load(set, &runs, false, &Limits::default(), cut);
    match cold.is_empty() {
        true => Ok(String::new()),
        false => Err(format!("the state of {} cannot be read", cold.join(", "))),
    }
}

/// Writes the state table of a rule, of all partitions after each other.
pub(super) fn export(found: &[Newest], rule: &str, out: &Path) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", out.display());
    let file = File::create(out).map_err(|error| failed(&error))?;
    let mut writer = FileWriter::try_new_buffered(file, &state::schema()).map_err(|error| failed(&error))?;
    let mut keys = 0;
    for newest in found {
        let saved = newest.read.as_ref().map_err(Clone::clone)?;
        let of_rule = saved.checkpoint.tables.iter().filter(|table| table.rule == rule);
        for batch in of_rule.flat_map(|table| &table.detector) {
            writer.write(batch).map_err(|error| failed(&error))?;
            keys += batch.num_rows();
        }
    }
    writer.finish().map_err(|error| failed(&error))?;
    Ok(format!("{} of rule {rule} in {}\n", crate::cli::number(keys, "key"), out.display()))
}
