//! The process above a job: owns its process tree, its log and its end, and outlives the server.
//!
//! It is our own binary, executed with [`SUPERVISE`] and the directory of the life. It waits at its gate, the standard
//! input, until the server has written down how to find it; if the server dies before, it ends with nothing done.

mod watch;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use model::{Clock, SystemClock};

use super::build::BuildJob;
use super::image::{self, StoredImage};
use super::life::Life;
use super::sandbox::{Command, CommandEnd, Sandbox, SandboxError, owner};
use super::wire::{self, Handover, Reply, Task};
use crate::log::LogFile;
use crate::{Exit, ExitCause, RunSpec};

pub(super) use watch::Supervisor;

/// First argument of our own binary for the supervisor of a run or build.
pub(super) const SUPERVISE: &str = "__shim";

/// Asks a supervisor to send the stop signal to the command.
pub(super) const ASK_SIGNAL: rustix::process::Signal = rustix::process::Signal::USR1;

/// Asks a supervisor to end the job.
pub(super) const ASK_KILL: rustix::process::Signal = rustix::process::Signal::USR2;

/// Supervises the life whose directory is `dir`.
pub(super) fn main(dir: &Path) -> ExitCode {
    let life = Life::at(dir);
    std::panic::set_hook(Box::new({
        let life = life.clone();
        move |panic| life.complain(&panic.to_string())
    }));
    match supervise(life.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            life.complain(&err.to_string());
            ExitCode::FAILURE
        }
    }
}

fn supervise(life: Life) -> io::Result<()> {
    // Signals are for us to read from here on, and a terminal's are not for us at all.
    let signals = watch::block_signals()?;
    rustix::process::setsid().ok();
    let gate = wire::gate()?;
    let Some(handover) = wire::receive::<Handover>(&gate)? else { return Ok(()) };
    if handover.version != wire::VERSION {
        let reason = format!("the server speaks version {} and its supervisor {}", handover.version, wire::VERSION);
        return wire::send(&gate, &Reply::CannotStart(reason));
    }
    life.begin()?;

    let Handover { task, secrets, means, ephemeral, min_free_bytes, .. } = handover;
    let (limits, path) = match &task {
        Task::Run(spec, _) => (spec.limits, &spec.log),
        Task::Build(spec) => (spec.limits, &spec.log),
    };
    let group = life.read()?.map(|found| found.group).unwrap_or_default();
    let log = LogFile::open(path, &secrets, min_free_bytes)
        .map_err(|err| format!("cannot open the log {}: {err}", path.display()))
        .and_then(|log| match group.create(&limits) {
            Ok(()) => Ok(log),
            Err(err) => Err(format!("cannot make the control group: {err}")),
        });
    let log = match log {
        Ok(log) => log,
        Err(reason) => {
            group.remove().ok();
            return wire::send(&gate, &Reply::CannotStart(reason));
        }
    };
    let server = ephemeral.then(|| gate.try_clone()).transpose()?;
    let mut supervisor = Supervisor::new(life, means, limits, group, log, signals, server);

    let ended = match task {
        Task::Run(spec, image) => run(&mut supervisor, &spec, &image, || answer(&gate, Reply::Started)),
        Task::Build(spec) => {
            answer(&gate, Reply::Started);
            let mut build = BuildJob::new(*spec, supervisor);
            let built = image::build(&mut build);
            supervisor = build.into_supervisor();
            built.map(|_| SUCCEEDED).map_err(SandboxError::NotExecuted)
        }
    };
    answer(
        &gate,
        match &ended {
            Err(SandboxError::Setup(reason)) => Reply::CannotStart(reason.clone()),
            // For a run that ended before it was started: the reason is in its exit.
            _ => Reply::Started,
        },
    );
    supervisor.finish(ended)
}

const SUCCEEDED: CommandEnd = CommandEnd { code: 0, signal: None, out_of_memory: false };

fn answer(gate: &std::os::unix::net::UnixStream, reply: Reply) {
    // A server that is gone finds out from the files.
    wire::send(gate, &reply).ok();
}

fn run(
    supervisor: &mut Supervisor,
    spec: &RunSpec,
    image: &StoredImage,
    started: impl FnOnce(),
) -> Result<CommandEnd, SandboxError> {
    let life = supervisor.life();
    let sandbox = Sandbox {
        layers: image.layer_dirs(supervisor.data_dir()),
        upper: life.upper(),
        scratch: life.scratch(),
        writable_system: false,
        binds: image.binds.clone(),
    };
    let made = std::fs::create_dir(&sandbox.upper).and_then(|()| match owner() {
        Some((uid, gid)) => std::os::unix::fs::chown(&sandbox.upper, Some(uid), Some(gid)),
        None => Ok(()),
    });
    made.map_err(|err| SandboxError::Setup(format!("cannot make the run's directory: {err}")))?;
    let mut env = image.info.env.clone();
    env.extend(spec.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    let argv = image.info.entrypoint.iter().chain(&image.info.cmd).cloned().collect();
    supervisor.run(&sandbox, &Command { argv, env, cwd: image.info.workdir.clone() }, started)
}

impl Supervisor {
    /// Writes down how the job ended, last of all.
    fn finish(mut self, ended: Result<CommandEnd, SandboxError>) -> io::Result<()> {
        let usage = self.total_usage();
        let (code, cause) = match ended {
            Ok(end) if self.was_stopped() => (Some(end.code), ExitCause::Stopped),
            Ok(end) if end.out_of_memory => (Some(end.code), ExitCause::OutOfMemory),
            Ok(CommandEnd { code, signal: Some(signal), .. }) => (Some(code), ExitCause::Signal { signal }),
            Ok(end) => (Some(end.code), ExitCause::Exited),
            Err(_) if self.was_stopped() => (None, ExitCause::Stopped),
            Err(SandboxError::Setup(reason) | SandboxError::NotExecuted(reason)) => {
                (None, ExitCause::Failed { reason })
            }
            Err(SandboxError::Stopped) => (None, ExitCause::Stopped),
        };
        self.close_log();
        // The log is complete before the end is known, and the end is known whole or not at all.
        self.life().write_exit(&Exit { code, cause, at: SystemClock.now(), usage })?;
        self.remove_group()
    }
}
