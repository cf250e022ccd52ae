//! Finds out by what means jobs can be kept apart here, by doing it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::cgroup::{Cgroups, Group};
use super::means::{Apart, Files, Means};
use super::sandbox::{self, Command, Contained, Event, Sandbox, owner, remove_tree};
use super::{Separation, wire};
use crate::Limits;

/// First argument of our own binary for a process that tries means out.
pub(super) const PROBE: &str = "__probe";

/// What to try, and where.
#[derive(Serialize, Deserialize)]
struct Trial {
    means: Means,
    sandbox: Sandbox,
}

/// Finds the best means that work for this user on this machine, none better than `wanted`.
///
/// `exe` is our own binary; a group `name` is made in the control groups if that is allowed.
pub(super) fn probe(exe: &Path, data_dir: &Path, name: &str, wanted: Separation) -> io::Result<Means> {
    let base = sandbox::base::make(&data_dir.join("sandbox"))?;
    let mut means = Means {
        apart: Apart::Nothing,
        files: Files::Copy,
        landlock: sandbox::has_landlock(),
        cgroups: Cgroups::find(name),
        data_dir: data_dir.to_owned(),
        base,
    };
    let namespaces = if owner().is_some() { Apart::Root } else { Apart::User };
    let candidates = [
        (Separation::Best, namespaces, Files::Overlay),
        (Separation::WithoutOverlay, namespaces, Files::Copy),
        (Separation::WithoutNamespaces, Apart::Nothing, Files::Copy),
    ];
    for (separation, apart, files) in candidates {
        if separation < wanted {
            continue;
        }
        (means.apart, means.files) = (apart, files);
        match try_out(exe, &means) {
            Ok(()) => return Ok(means),
            Err(reason) => tracing::warn!("Cannot keep Actors apart by {apart:?} and {files:?}: {reason}"),
        }
    }
    // Said when a run is started, with the reason; reading what is stored must work all the same.
    Ok(means)
}

fn try_out(exe: &Path, means: &Means) -> io::Result<()> {
    let dir = means.data_dir.join("sandbox").join(format!("trial-{}", std::process::id()));
    remove_tree(&dir)?;
    let sandbox = Sandbox {
        layers: Vec::new(),
        upper: dir.join("upper"),
        scratch: dir.join("scratch"),
        writable_system: false,
        binds: Vec::new(),
    };
    for part in [&sandbox.upper, &sandbox.scratch] {
        fs::create_dir_all(part)?;
    }
    if let Some((uid, gid)) = owner() {
        chown(&sandbox.upper, Some(uid), Some(gid))?;
    }
    let (socket, theirs) = UnixStream::pair()?;
    let mut process = std::process::Command::new(exe);
    let mut child = process.arg(PROBE).env_clear().stdin(OwnedFd::from(theirs)).spawn()?;
    drop(process);
    let result = wire::send(&socket, &Trial { means: means.clone(), sandbox })
        .and_then(|()| wire::receive::<Result<(), String>>(&socket));
    child.wait()?;
    remove_tree(&dir)?;
    match result? {
        Some(tried) => tried.map_err(io::Error::other),
        None => Err(io::Error::other("the trial's process died")),
    }
}

/// Tries out what is asked for on the standard input.
pub(super) fn main() -> ExitCode {
    let tried = wire::gate().and_then(|gate| {
        let Some(trial) = wire::receive::<Trial>(&gate)? else { return Ok(()) };
        wire::send(&gate, &run(&trial))
    });
    if tried.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(trial: &Trial) -> Result<(), String> {
    let argv = ["/bin/sh", "-c", "exit 7"].map(str::to_owned).to_vec();
    let command = Command { argv, env: BTreeMap::new(), cwd: "/".into() };
    let limits = Limits { memory_bytes: 64 << 20, cpu_millis: 1000, pids: 16, disk_bytes: 0 };
    let started = Contained::start(&trial.means, &trial.sandbox, &command, "trial", &limits, &Group::None);
    let mut contained = started.map_err(|err| err.to_string())?;
    let mut last = String::from("it ended at once");
    while let Some(event) = contained.next_event() {
        match event {
            Event::Ended { code: 7, .. } => return Ok(()),
            Event::Ended { code, .. } => last = format!("a shell ends with code {code}"),
            Event::Failed(err) => last = err.to_string(),
            Event::Executed(_) => {}
        }
    }
    Err(last)
}
