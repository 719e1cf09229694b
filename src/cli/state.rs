//! `fleetwarden state`: looks at what is saved, and takes out of it what must go.

mod erase;
mod look;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use super::{Exit, fail, print};
use crate::checkpoint::store::Listed;
use crate::checkpoint::{Saved, Store, decode};
use crate::config::{self, Config};
use crate::event::{PartitionId, Timestamp};
use crate::runtime::run::edges;

/// What is done about saved state.
#[derive(Subcommand, Debug)]
pub enum StateVerb {
    /// List checkpoints: how old and large they are, where reading goes on, how many keys each rule has
    List(ListArgs),
    /// Say what is known of a key
    Show(ShowArgs),
    /// Read every checkpoint whole; exit code 1 if one could not be used
    Verify(PlaceArgs),
    /// Write a rule's state table as an Arrow file
    Export(ExportArgs),
    /// Make a rule start without memory, in every checkpoint
    DeleteRule(DeleteArgs),
    /// Take a key out of every rule, in every checkpoint: erasure
    Forget(ForgetArgs),
}

/// Where state lies.
#[derive(Args, Debug)]
pub struct PlaceArgs {
    /// The configuration that names the place
    #[arg(short, long, default_value = "fleetwarden.toml")]
    pub config: PathBuf,
    /// The place itself, a folder or a URL, instead of a configuration
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// What is listed.
#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Only this partition, such as telemetry/3
    partition: Option<String>,
}

/// Whose state is shown.
#[derive(Args, Debug)]
pub struct ShowArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The rule
    rule: String,
    /// The parts of the key, with commas; NULL for one that is not there
    #[arg(long, value_name = "V1,BCM")]
    key: String,
    /// Only this partition, such as telemetry/3
    #[arg(long)]
    partition: Option<String>,
}

/// What is exported.
#[derive(Args, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The rule
    rule: String,
    /// The file that is written
    #[arg(long, value_name = "FILE.arrow")]
    out: PathBuf,
    /// Only this partition, such as telemetry/3
    #[arg(long)]
    partition: Option<String>,
}

/// Whose state is deleted.
#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The rule
    rule: String,
    /// No process of the group runs: Kafka is not asked
    #[arg(long)]
    stopped: bool,
}

/// Who is forgotten.
#[derive(Args, Debug)]
pub struct ForgetArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// A part of keys, such as a VIN
    #[arg(long, value_name = "VIN")]
    key: String,
    /// No process of the group runs: Kafka is not asked
    #[arg(long)]
    stopped: bool,
}

/// Runs it. 1: something that is saved cannot be used; 2: the store cannot be reached, or wrong usage.
pub fn run(verb: &StateVerb) -> Exit {
    let done = match verb {
        StateVerb::List(args) => with(&args.place, async |store, _| {
            let newest = newest(&store, args.partition.as_deref()).await?;
            Ok((look::list(&newest, now()), Exit::Ok))
        }),
        StateVerb::Show(args) => with(&args.place, async |store, _| {
            let found = newest(&store, args.partition.as_deref()).await?;
            Ok((look::show(&found, &args.rule, &args.key)?, Exit::Ok))
        }),
        StateVerb::Verify(args) => with(args, async |store, _| look::verify(&store).await),
        StateVerb::Export(args) => with(&args.place, async |store, _| {
            let found = newest(&store, args.partition.as_deref()).await?;
            Ok((look::export(&found, &args.rule, &args.out)?, Exit::Ok))
        }),
        StateVerb::DeleteRule(args) => with(&args.place, async |store, config| {
            erase::only_if_stopped(config.as_ref(), args.stopped)?;
            Ok((erase::delete_rule(&store, &args.rule).await?, Exit::Ok))
        }),
        StateVerb::Forget(args) => with(&args.place, async |store, config| {
            erase::only_if_stopped(config.as_ref(), args.stopped)?;
            erase::forget(&store, &args.key).await
        }),
    };
    match done {
        Ok((text, exit)) => match print(text) {
            Exit::Ok => exit,
            failed => failed,
        },
        Err(message) => fail(&message),
    }
}

/// Opens the store and does something with it.
fn with<T>(
    place: &PlaceArgs,
    work: impl AsyncFnOnce(Store, Option<Config>) -> Result<T, String>,
) -> Result<T, String> {
    let (place, config) = match &place.store {
        Some(place) => (place.clone(), None),
        None => {
            let config = config::load(&place.config).map_err(|refused| {
                super::print_problems(
                    &refused.problems,
                    &[refused.source],
                    crate::diagnostic::Gravity::Error,
                );
                "the configuration names no place; name one with --store".to_string()
            })?;
            (config.checkpoints.url.clone(), Some(config))
        }
    };
    let runtime = edges().map_err(|error| error.to_string())?;
    let store = Store::existing(&place).map_err(|error| error.to_string())?;
    runtime.block_on(work(store, config))
}

/// The newest checkpoint of a partition, and those that lie beside it.
struct Newest {
    listed: Listed,
    read: Result<Saved, String>,
    older: Vec<Listed>,
}

/// The newest of every partition, or of one.
async fn newest(store: &Store, partition: Option<&str>) -> Result<Vec<Newest>, String> {
    let all = match partition {
        Some(text) => store.list(&partition_of(text)?).await,
        None => store.list_all().await,
    };
    let mut found: Vec<Newest> = Vec::new();
    for listed in all.map_err(|error| error.to_string())? {
        let folder = |name: &str| name.rsplit_once('/').map(|(folder, _)| folder.to_string());
        match found.last_mut() {
            Some(newest) if folder(&newest.listed.name) == folder(&listed.name) => newest.older.push(listed),
            _ => {
                let read = read(store, &listed.name).await;
                found.push(Newest { listed, read, older: Vec::new() });
            }
        }
    }
    if found.is_empty() {
        let whose = partition.map_or(String::new(), |partition| format!(" of {partition}"));
        return Err(format!("there is no checkpoint{whose} in {}", store.place()));
    }
    Ok(found)
}

async fn read(store: &Store, name: &str) -> Result<Saved, String> {
    let bytes = store.get(name).await.map_err(|error| error.to_string())?;
    decode(&bytes).map_err(|refused| format!("{name}: {refused}"))
}

fn partition_of(text: &str) -> Result<PartitionId, String> {
    let parsed = text
        .rsplit_once('/')
        .and_then(|(stream, index)| Some(PartitionId { stream: stream.into(), index: index.parse().ok()? }));
    parsed.ok_or_else(|| format!("\"{text}\" is no partition: write stream/number, such as telemetry/3"))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
