//! `fleetwarden sink`: where each sink stands in the journal, and the alerts of a span of time sent to one
//! once more.

mod list;
mod replay;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::Exit;
use crate::config::{self, Config};

/// What to do with sinks.
#[derive(Subcommand, Debug)]
pub enum SinkVerb {
    /// Where each sink stands in the journal, and how much waits for it
    List(list::ListArgs),
    /// Send the alerts of a span of time to a sink once more, without disturbing those that run
    Replay(replay::ReplayArgs),
}

/// Which configuration.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    /// The configuration
    #[arg(short, long, default_value = "fleetwarden.toml", value_name = "FILE")]
    pub config: PathBuf,
}

/// Does it.
pub fn run(verb: &SinkVerb) -> Exit {
    match verb {
        SinkVerb::List(args) => list::run(args),
        SinkVerb::Replay(args) => replay::run(args),
    }
}

fn load(path: &Path) -> Result<Config, Exit> {
    config::load(path).map_err(|refused| {
        super::print_problems(&refused.problems, &[refused.source], crate::diagnostic::Gravity::Error);
        super::fail(&format!("{} cannot be used", path.display()))
    })
}
