//! The `playhouse` binary: one program that is the server, its command line, and the supervisor of each run.

mod accounts;
mod cli;
mod control;
mod data_dir;
mod demo;
mod driver;
mod exit;
mod random;
mod server;
mod settings;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

/// Small operations and exports take a tenth less CPU than with the allocator of the GNU C library, which gives the memory of
/// large pieces back to the kernel and asks for it again (docs/measurements.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // A run's supervisor is this same program; it must start fast and without threads, so it comes before everything else.
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = drivers::process::run_hidden_command(&arguments) {
        return code;
    }
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => exit::report(&error),
    }
}
