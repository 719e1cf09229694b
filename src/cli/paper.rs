//! What is printed about the program itself: completions for shells, manual pages.

use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Exit, fail};

/// Prints a shell's completions.
pub fn completions(shell: Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fleetwarden", &mut text);
    super::print(&text)
}

/// Prints the manual page; with a folder, writes it there, and one of each verb.
pub fn man(out: Option<&Path>) -> Exit {
    let failed = |error: io::Error| fail(&format!("cannot write manual pages: {error}"));
    match out {
        None => {
            let mut text = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut text) {
                Ok(()) => super::print(&text),
                Err(error) => failed(error),
            }
        }
        Some(folder) => {
            let written = std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
            match written {
                Ok(()) => Exit::Ok,
                Err(error) => failed(error),
            }
        }
    }
}
