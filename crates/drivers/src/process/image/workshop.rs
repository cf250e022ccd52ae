//! The builder's view of the process it works in; the one thing that its tests replace.

use std::path::{Path, PathBuf};

use crate::BuildSpec;
use crate::process::build::BuildJob;
use crate::process::sandbox::{Command, CommandEnd, Sandbox, SandboxError};

/// See [`BuildJob`], whose methods these are.
pub(super) trait Workshop {
    fn spec(&self) -> &BuildSpec;
    fn data_dir(&self) -> &Path;
    fn dir(&self) -> PathBuf;
    fn upper_is_whole(&self) -> bool;
    fn has_own_root(&self) -> bool;
    fn say(&mut self, text: &str);
    fn run(&mut self, sandbox: &Sandbox, command: &Command) -> Result<CommandEnd, SandboxError>;
    fn is_stopped(&mut self) -> bool;
}

impl Workshop for BuildJob {
    fn spec(&self) -> &BuildSpec {
        self.spec()
    }

    fn data_dir(&self) -> &Path {
        self.data_dir()
    }

    fn dir(&self) -> PathBuf {
        self.dir()
    }

    fn upper_is_whole(&self) -> bool {
        self.upper_is_whole()
    }

    fn has_own_root(&self) -> bool {
        self.has_own_root()
    }

    fn say(&mut self, text: &str) {
        self.say(text);
    }

    fn run(&mut self, sandbox: &Sandbox, command: &Command) -> Result<CommandEnd, SandboxError> {
        self.run(sandbox, command)
    }

    fn is_stopped(&mut self) -> bool {
        self.is_stopped()
    }
}
