//! What an image says about how its command is run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dockerfile::Command;

/// The settings of an image, or of a stage on its way to one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) env: BTreeMap<String, String>,
    /// Absolute.
    pub(super) workdir: String,
    pub(super) user: String,
    /// What runs commands in shell form.
    pub(super) shell: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) cmd: Vec<String>,
}

impl Config {
    /// The words that are executed for a command of the Dockerfile.
    pub(super) fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(line) => self.shell.iter().chain([line]).cloned().collect(),
        }
    }

    /// `path` as an absolute one without `.` and `..`; a relative one is below the working directory.
    pub(super) fn absolute(&self, path: &str) -> String {
        let from = if path.starts_with('/') { "" } else { &self.workdir };
        let mut names: Vec<&str> = Vec::new();
        for name in from.split('/').chain(path.split('/')) {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop();
                }
                name => names.push(name),
            }
        }
        format!("/{}", names.join("/"))
    }

    /// The same for a destination, whose last `/` says that a directory is meant.
    pub(super) fn destination(&self, path: &str) -> String {
        let absolute = self.absolute(path);
        let last = path.rsplit('/').next().unwrap_or_default();
        if matches!(last, "" | "." | "..") && absolute != "/" { absolute + "/" } else { absolute }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_from_the_working_directory() {
        let config = Config { workdir: "/usr/src/app".into(), ..Config::default() };
        for (path, expected) in [
            ("./", "/usr/src/app/"),
            (".", "/usr/src/app/"),
            ("..", "/usr/src/"),
            ("a", "/usr/src/app/a"),
            ("a/./b/../c/", "/usr/src/app/a/c/"),
            ("/x", "/x"),
            ("/", "/"),
            ("../../../../..", "/"),
        ] {
            assert_eq!(config.destination(path), expected, "{path}");
        }
    }
}
