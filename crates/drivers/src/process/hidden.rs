//! What our own binary does when a process of ours executes it.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use super::{probe, sandbox, supervisor};

/// Carries out a hidden command, if `args` (the program's name first) are one; `main` calls this before anything else.
///
/// Hidden commands need a process with one thread, and are on the way of every start of a run.
pub fn run_hidden_command(args: &[OsString]) -> Option<ExitCode> {
    match (args.get(1)?.to_str()?, args.get(2)) {
        (supervisor::SUPERVISE, Some(dir)) => Some(supervisor::main(Path::new(dir))),
        (sandbox::ENTER, None) => Some(sandbox::init::enter_user_namespace()),
        (sandbox::INIT, None) => Some(sandbox::init::main()),
        (probe::PROBE, None) => Some(probe::main()),
        _ => None,
    }
}
