//! Stands in for the server's binary in this crate's tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    playhouse_drivers::process::run_hidden_command(&args).unwrap_or(ExitCode::FAILURE)
}
