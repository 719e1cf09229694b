//! Takes state out of checkpoints. They are written again under their names, whole or not at all, so the group's
//! commits go on naming them; a process that runs would not notice, and write what it still knows with its next
//! checkpoint: so none may run.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::look::{rows_of, text};
use super::{Exit, read};
use crate::checkpoint::{Store, encode};
use crate::config::Config;
use crate::event::{Checkpoint, Key, Value};
use crate::kafka::Cluster;
use crate::runtime::run::edges;

/// An error if a process of the group runs, or may run.
pub(super) fn only_if_stopped(config: Option<&Config>, stopped: bool) -> Result<(), String> {
    if stopped {
        return Ok(());
    }
    let Some(config) = config else {
        return Err("a process that runs would bring back what is deleted: stop all of the group, then add \
                    --stopped; with -c FILE instead of --store, Kafka is asked"
            .into());
    };
    // Its own runtime: the question must not be asked from within another.
    let members = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let runtime = edges().map_err(|error| error.to_string())?;
            let cluster =
                Cluster::open(&config.kafka, runtime.handle()).map_err(|error| error.to_string())?;
            cluster.members(&config.kafka.group).map_err(|error| error.to_string())
        });
        asked.join().unwrap_or_else(|_| Err("asking Kafka failed".into()))
    })?;
    match members {
        0 => Ok(()),
        n => Err(format!(
            "group \"{}\" has {}, and a process that runs would bring back what is deleted: stop all of them first",
            config.kafka.group,
            crate::cli::number(n, "member")
        )),
    }
}

/// Writes every checkpoint anew that `change` changes; says how many.
async fn rewrite(
    store: &Store,
    mut change: impl FnMut(&mut Checkpoint) -> Result<bool, String>,
) -> Result<usize, String> {
    let mut changed = 0;
    for listed in store.list_all().await.map_err(|error| error.to_string())? {
        let mut saved = read(store, &listed.name).await.map_err(|why| {
            format!("{why}; delete that object first: what cannot be read cannot be cleaned")
        })?;
        if change(&mut saved.checkpoint)? {
            let bytes = encode(&saved.checkpoint).map_err(|refused| refused.to_string())?;
            store.put(&listed.name, bytes).await.map_err(|error| error.to_string())?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// Takes a rule's tables out of all checkpoints.
pub(super) async fn delete_rule(store: &Store, rule: &str) -> Result<String, String> {
    let changed = rewrite(store, |checkpoint| {
        let before = checkpoint.tables.len();
        checkpoint.tables.retain(|table| table.rule != rule);
        Ok(checkpoint.tables.len() < before)
    });
    match changed.await? {
        0 => Err(format!("no checkpoint holds a rule \"{rule}\"; `state list` shows those there are")),
        n => Ok(format!(
            "rule {rule} is gone from {}, and starts without memory\n",
            crate::cli::number(n, "checkpoint")
        )),
    }
}

/// Takes every key with that part out of all rules and checkpoints. Exit code 1 if the text is still in the
/// memory of other keys.
pub(super) async fn forget(store: &Store, part: &str) -> Result<(String, Exit), String> {
    let (mut gone, mut left) = (0, Vec::new());
    let changed = rewrite(store, |checkpoint| {
        let before = gone;
        for table in &mut checkpoint.tables {
            let mut keys = vec![Key::of(&[Value::text(part)])];
            for batch in &mut table.detector {
                gone += without(
                    batch,
                    |_, row_values| row_values.iter().any(|value| text(value) == part),
                    &mut keys,
                )?;
                let holds = |state: &[u8]| memchr::memmem::find(state, part.as_bytes()).is_some();
                if rows_of(batch).any(|row| holds(row.state)) && !left.contains(&table.rule) {
                    left.push(table.rule.clone());
                }
            }
            // Periods know hashes only: those of the keys that go, and that of the part alone.
            let known = keys.clone();
            for batch in table.suppress.iter_mut().flatten() {
                gone += without(batch, |key, _| known.contains(&key), &mut keys)?;
            }
        }
        Ok(gone > before)
    });
    let changed = changed.await?;
    let mut said = format!(
        "{part}: {} gone from {}\n",
        crate::cli::number(gone, "row"),
        crate::cli::number(changed, "checkpoint")
    );
    if left.is_empty() {
        return Ok((said, Exit::Ok));
    }
    said += &format!(
        "other keys still remember it among what they saw, in {}: `state delete-rule` takes their memory away\n",
        left.join(", ")
    );
    Ok((said, Exit::Findings))
}

/// Takes rows out of a batch, notes their keys, and says how many went.
fn without(
    batch: &mut RecordBatch,
    goes: impl Fn(Key, &[Value]) -> bool,
    keys: &mut Vec<Key>,
) -> Result<usize, String> {
    let mut stays = Vec::with_capacity(batch.num_rows());
    for (key, row) in super::look::keys_of(batch).zip(rows_of(batch)) {
        let gone = goes(key, &row.values);
        if gone {
            keys.push(key);
        }
        stays.push(!gone);
    }
    let gone = stays.iter().filter(|stays| !**stays).count();
    if gone > 0 {
        *batch = filter_record_batch(batch, &BooleanArray::from(stays)).map_err(|error| error.to_string())?;
    }
    Ok(gone)
}
