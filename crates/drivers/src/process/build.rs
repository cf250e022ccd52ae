//! What the builder of images works with, inside the process that supervises a build.

use std::path::{Path, PathBuf};

use super::means::{Apart, Files};
use super::sandbox::{Command, CommandEnd, Contained, Sandbox, SandboxError};
use super::supervisor::Supervisor;
use crate::BuildSpec;

/// A build in progress, as the builder of images sees it.
#[derive(Debug)]
pub struct BuildJob {
    spec: BuildSpec,
    supervisor: Supervisor,
}

impl BuildJob {
    pub(super) fn new(spec: BuildSpec, supervisor: Supervisor) -> Self {
        Self { spec, supervisor }
    }

    pub(super) fn into_supervisor(self) -> Supervisor {
        self.supervisor
    }

    /// What to build.
    pub fn spec(&self) -> &BuildSpec {
        &self.spec
    }

    /// The server's data directory, absolute.
    pub fn data_dir(&self) -> &Path {
        self.supervisor.data_dir()
    }

    /// Directory of this build, `builds/<id>`, absolute; layers go below `layers/` in it. `image.json` in it, renamed
    /// into place last, makes the image exist. Entries that start with a digit belong to the driver.
    pub fn dir(&self) -> PathBuf {
        self.data_dir().join("builds").join(&self.spec.job.id)
    }

    /// Whether, after a command, the upper directory holds all of the layers below it, too, because they were copied.
    pub fn upper_is_whole(&self) -> bool {
        let means = self.supervisor.means();
        means.apart == Apart::Nothing || means.files == Files::Copy
    }

    /// Whether commands see the files of their sandbox at the root, not merely in their working directory.
    pub fn has_own_root(&self) -> bool {
        self.supervisor.means().apart != Apart::Nothing
    }

    /// Appends a line of the server's own to the build's log, with stamp and `ACTOR: ` (`LOG-3`).
    pub fn say(&mut self, text: &str) {
        self.supervisor.log().say(text);
    }

    /// Appends text to the build's log as if a command had written it: stamped by line, secrets masked.
    pub fn print(&mut self, text: &str) {
        self.supervisor.log().output(text.as_bytes());
    }

    /// Runs a command in a sandbox to its end, within the limits of the build and with the host's network; its output
    /// goes to the build's log.
    ///
    /// # Errors
    /// See [`SandboxError`]; a command that fails is no error.
    pub fn run(&mut self, sandbox: &Sandbox, command: &Command) -> Result<CommandEnd, SandboxError> {
        let end = self.supervisor.run(sandbox, command, || ())?;
        Contained::collect(sandbox)?;
        if self.is_stopped() { Err(SandboxError::Stopped) } else { Ok(end) }
    }

    /// Whether the build is to end now; long work outside of commands asks now and then.
    pub fn is_stopped(&mut self) -> bool {
        self.supervisor.asked_to_stop()
    }
}
