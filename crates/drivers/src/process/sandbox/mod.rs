//! Runs a command in a file system put together from layers, apart from the host and from other jobs.
//!
//! The same code serves runs (the upper directory is thrown away) and build steps (it is kept and becomes a layer).

pub(super) mod base;
mod confine;
mod contained;
mod copies;
pub(super) mod init;
mod mounts;
mod uppers;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(super) use confine::has_landlock;
pub(super) use contained::{Contained, Event};

/// First argument of our own binary for the first process of a sandbox.
pub(super) const INIT: &str = "__init";

/// First argument of our own binary for the process that makes the user namespace.
pub(super) const ENTER: &str = "__enter";

/// Variable that marks the processes of a job where there are no process namespaces.
pub(super) const MARKER: &str = "PLAYHOUSE_JOB";

/// A file system for one or more commands, one after the other.
///
/// A *layer* is a directory whose tree mirrors `/`: `<layer>/usr/src/app/package.json`. What the command sees is, from
/// the top: `upper`, the layers from the newest to the oldest, then the host's system directories (`/usr`, `/bin`,
/// `/lib*`, `/etc`, `/opt`), with nothing of `/root`, `/home`, `/var` or the data directory. Whether or not the kernel
/// lets us use overlayfs, `upper` holds the changes afterwards, mirrored in the same way.
///
/// In a layer written under overlayfs a removed file is a character device 0/0, and a replaced directory carries the
/// extended attribute `trusted.overlay.opaque` (`user.overlay.opaque` if the server is an ordinary user).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Layers, oldest first; absolute paths. Never written to.
    pub layers: Vec<PathBuf>,
    /// An existing directory that takes everything written. Empty, or written earlier above the same `layers`.
    ///
    /// Not synced: whoever keeps it calls `syncfs` before relying on it.
    pub upper: PathBuf,
    /// An existing directory for the sandbox's own needs (overlay work directories), on the file system of `upper`.
    /// With `writable_system`, its `tmp` is the command's `/tmp`, so that nothing of that ends up in `upper`. Remove it
    /// with [`remove_tree`].
    pub scratch: PathBuf,
    /// Whether all of the host's system directories take writes (into `upper`), or only those that a layer has.
    ///
    /// Set for build steps; a run is faster to start without. Files and directories of the host itself belong to root
    /// and so stay unwritable for the command; new ones below a directory of a layer or of `upper` are what this is for.
    pub writable_system: bool,
    /// Further directories or files, for example a toolchain outside of the system directories.
    pub binds: Vec<Bind>,
}

/// A directory or file of the host shown inside a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Absolute path inside; made if it is not there.
    pub target: PathBuf,
    /// Whether the command may write to it (package caches), as far as its file modes let it.
    pub writable: bool,
}

/// What to execute in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments in exec form; the program is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited. `HOME`, `PATH`, `HOSTNAME` get a default if absent.
    pub env: BTreeMap<String, String>,
    /// Absolute working directory inside; made if it is not there, `/` if empty.
    pub cwd: String,
}

/// How a command in a sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEnd {
    /// Exit code as a shell would show it: 128 + signal for a signal.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it went over the memory limit.
    pub out_of_memory: bool,
}

/// Why a command in a sandbox did not come to an end of its own.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The sandbox could not be set up on this machine.
    #[error("cannot set up the sandbox: {0}")]
    Setup(String),
    /// The program could not be executed: not found, not executable, no such working directory.
    #[error("{0}")]
    NotExecuted(String),
    /// The job was stopped.
    #[error("stopped")]
    Stopped,
}

/// The user and group on the host that commands in a sandbox run as.
///
/// A server that is root drops to this one, so layers that it writes itself must be given to it ([`owner`]); for any
/// other server it is the server's own user.
pub const ACTOR_UID: u32 = 61_000;

/// Name of the user that commands see themselves as, the one of the platform's base images.
pub const ACTOR_USER: &str = "myuser";

/// Home directory of [`ACTOR_USER`].
pub const ACTOR_HOME: &str = "/home/myuser";

/// Whom files of a layer must belong to so that commands can write to them: user and group id, or `None` if they do so
/// by being created by this process.
pub fn owner() -> Option<(u32, u32)> {
    nix::unistd::geteuid().is_root().then_some((ACTOR_UID, ACTOR_UID))
}

/// Removes a directory with all in it, also where the sandbox left directories without permissions.
///
/// One that is not there is no error.
///
/// # Errors
/// Of the file system; part of the tree may be gone then.
pub fn remove_tree(dir: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(err) if err.kind() == std::io::ErrorKind::PermissionDenied => {
            open_up(dir);
            std::fs::remove_dir_all(dir)
        }
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Gives the owner all rights on every directory below `dir`, as far as it goes.
fn open_up(dir: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).ok();
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
}
