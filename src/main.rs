//! The `fleetwarden` binary: reads the command line and runs the verb that it names.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleetwarden::cli::main()
}
