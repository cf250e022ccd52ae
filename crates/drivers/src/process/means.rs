//! By what means jobs are kept apart on this machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cgroup::Cgroups;
use crate::Isolation;

/// What was found to work when the driver was opened; supervisors are told, so that they need not find out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Means {
    /// How processes are kept apart.
    pub(super) apart: Apart,
    /// How file systems are put together.
    pub(super) files: Files,
    /// Whether Landlock answers.
    pub(super) landlock: bool,
    /// What limits and measures.
    pub(super) cgroups: Cgroups,
    /// The server's data directory, absolute.
    pub(super) data_dir: PathBuf,
    /// Directory with the parts that every sandbox has in common.
    pub(super) base: PathBuf,
}

/// How processes are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Apart {
    /// Namespaces made by root; commands run as a user without rights.
    Root,
    /// The same within a user namespace, made by an ordinary user.
    User,
    /// No namespaces: a process group and what else there is.
    Nothing,
}

/// How the file system of a sandbox is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Files {
    /// Layers are stacked by overlayfs.
    Overlay,
    /// Layers are copied, and the copy's parts are mounted over the host's directories.
    Copy,
}

impl Means {
    /// The same as people read it.
    pub(super) fn describe(&self) -> Isolation {
        let (level, apart) = match self.apart {
            Apart::Root => ("full", "own mount, pid, ipc and uts namespaces; commands run as a user without rights"),
            Apart::User => ("full", "own user, mount, pid, ipc and uts namespaces"),
            Apart::Nothing if self.landlock => {
                ("partial", "no namespaces on this machine; files are guarded by Landlock")
            }
            Apart::Nothing => ("none", "no namespaces on this machine: Actors see what the server's user sees"),
        };
        let files = match (self.apart, self.files) {
            (Apart::Nothing, _) => "every run works in a copy of its image",
            (_, Files::Overlay) => "image layers are stacked by overlayfs above a read-only system",
            (_, Files::Copy) => "image layers are copied for every run, since overlayfs may not be mounted",
        };
        let limits = match &self.cgroups {
            Cgroups::V2(_) => "memory, CPU and processes limited by cgroup v2",
            Cgroups::V1(dirs) if dirs.memory.is_some() && dirs.cpu.is_some() && dirs.pids.is_some() => {
                "memory, CPU and processes limited by cgroup v1"
            }
            Cgroups::V1(_) => "limited by those of memory, CPU and processes that cgroup v1 has here",
            Cgroups::None => "memory sampled every half second; CPU and processes not limited (no cgroup may be made)",
        };
        let mut details = vec![apart.to_owned(), files.to_owned(), limits.to_owned()];
        details.push("no_new_privs and a seccomp filter".into());
        if self.landlock && self.apart != Apart::Nothing {
            details.push("Landlock keeps abstract sockets apart where the kernel knows how".into());
        }
        details.push("the network is the host's; disk use is not limited".into());
        Isolation { level: level.to_owned(), details }
    }
}
