//! What is printed about the program itself: completions for shells, manual pages.

use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Exit, fail};

/// Prints a shell's completions.
pub fn completions(shell: Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fleetwarden", &mut text);
    print(&text)
}

/// Prints the manual page; with a folder, writes it there, and one of each verb.
pub fn man(out: Option<&Path>) -> Exit {
    let failed = |error: io::Error| fail(&format!("cannot write manual pages: {error}"));
    match out {
        None => {
            let mut text = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut text) {
                Ok(()) => print(&text),
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

/// To stdout; a reader that has seen enough is no error.
fn print(text: &[u8]) -> Exit {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&format!("cannot print: {error}")),
        _ => Exit::Ok,
    }
}
