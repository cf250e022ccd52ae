//! What the builder of images works with, inside the process that supervises a build.

use std::path::{Path, PathBuf};

use super::sandbox::{Command, CommandEnd, Sandbox, SandboxError};
use crate::BuildSpec;

/// A build in progress, as the builder of images sees it.
#[derive(Debug)]
pub struct BuildJob {
    spec: BuildSpec,
    data_dir: PathBuf,
}

impl BuildJob {
    /// What to build.
    pub fn spec(&self) -> &BuildSpec {
        &self.spec
    }

    /// The server's data directory, absolute.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Directory of this build, `builds/<id>`, absolute; layers go below `layers/` in it. `image.json` in it, renamed
    /// into place last, makes the image exist. Entries that start with a digit belong to the driver.
    pub fn dir(&self) -> PathBuf {
        self.data_dir.join("builds").join(&self.spec.job.id)
    }

    /// Appends a line of the server's own to the build's log, with stamp and `ACTOR: ` (`LOG-3`).
    pub fn say(&mut self, text: &str) {
        let _ = text;
    }

    /// Appends text to the build's log as if a command had written it: stamped by line, secrets masked.
    pub fn print(&mut self, text: &str) {
        let _ = text;
    }

    /// Runs a command in a sandbox to its end, within the limits of the build and with the host's network; its output
    /// goes to the build's log.
    ///
    /// # Errors
    /// See [`SandboxError`]; a command that fails is no error.
    pub fn run(&mut self, sandbox: &Sandbox, command: &Command) -> Result<CommandEnd, SandboxError> {
        let _ = (sandbox, command);
        Err(SandboxError::Setup("not connected yet".into()))
    }

    /// Whether the build is to end now; long work outside of commands asks now and then.
    pub fn is_stopped(&self) -> bool {
        false
    }
}
