//! What the process driver adds to the files of a life: all that is needed to find it again.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::identity::ProcessIdentity;
use super::wire::VERSION;
use crate::files::read_json;
pub(super) use crate::life::Life;

/// `life.json`, written before a supervisor is let go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Found {
    version: u32,
    pub(super) supervisor: ProcessIdentity,
    pub(super) group: Group,
}

impl Life {
    /// The host name in its sandboxes, and the mark of its processes where there are no sandboxes.
    pub(super) fn name(&self) -> String {
        let mut parts = self.dir().iter().rev().map(|part| part.to_string_lossy());
        let (life, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("{id}-{life}")
    }

    /// Takes the private writes of a run.
    pub(super) fn upper(&self) -> PathBuf {
        self.dir().join("upper")
    }

    /// For the sandbox's own needs.
    pub(super) fn scratch(&self) -> PathBuf {
        self.dir().join("scratch")
    }

    /// Keeps what went wrong in the supervisor itself, for whoever looks into it.
    pub(super) fn complain(&self, text: &str) {
        // There is nowhere else to say it.
        fs::write(self.dir().join("supervisor.log"), text).ok();
    }

    /// Writes down how to find the life. Survives the server, not a power cut; nor does the life.
    pub(super) fn write(&self, supervisor: ProcessIdentity, group: Group) -> io::Result<()> {
        fs::write(self.dir().join("life.json"), serde_json::to_vec(&Found { version: VERSION, supervisor, group })?)
    }

    /// How to find the life; `None` if it was never let go.
    pub(super) fn read(&self) -> io::Result<Option<Found>> {
        read_json(&self.dir().join("life.json"))
    }

    /// Makes the scratch directory, by which the supervisor has begun: from here on the life has happened.
    pub(super) fn begin(&self) -> io::Result<()> {
        fs::create_dir(self.scratch())
    }

    pub(super) fn has_begun(&self) -> bool {
        self.scratch().exists()
    }

    /// Notes the first process of the sandbox.
    pub(super) fn write_first_process(&self, pid: i32) -> io::Result<()> {
        let identity = ProcessIdentity::of(pid.cast_unsigned())?;
        fs::write(self.dir().join("first-process.json"), serde_json::to_vec(&identity)?)
    }

    pub(super) fn first_process(&self) -> Option<ProcessIdentity> {
        read_json(&self.dir().join("first-process.json")).ok().flatten()
    }
}
