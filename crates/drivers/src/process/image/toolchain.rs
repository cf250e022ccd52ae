//! The Node.js or Python of this machine that stands in for the one of a base image.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::names::{Family, satisfies};
use crate::process::sandbox::Bind;

/// A toolchain of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Toolchain {
    /// Its version, like `20.11.1`.
    pub(super) version: String,
    /// The interpreter, free of links.
    pub(super) program: PathBuf,
    /// What must be shown inside a sandbox so that it works there.
    pub(super) binds: Vec<Bind>,
}

impl Toolchain {
    /// Finds the toolchain that is closest to version `wants`: that version if it is here, else the one on `PATH`.
    ///
    /// # Errors
    /// A sentence that says what to install.
    pub(super) fn find(family: Family, wants: &str) -> Result<Self, String> {
        let mut usable = candidates(family, wants).into_iter().filter_map(|program| Self::probe(family, &program));
        let first = usable.next();
        let close_enough = |found: &Self| match family {
            Family::Node => satisfies(&found.version, wants),
            // Packages for one minor version of Python do not fit another.
            Family::Python => minor(&found.version).starts_with(minor(wants)),
            Family::Sample => true,
        };
        let found = match first {
            Some(found) if close_enough(&found) => Some(found),
            Some(found) => usable.find(close_enough).or(Some(found)),
            None => None,
        };
        found.ok_or_else(|| match family {
            Family::Node => {
                "no Node.js on this machine; install node and npm and put them on the PATH of the server".into()
            }
            Family::Python => "no Python with venv and pip on this machine; install python3 and python3-venv \
                               and put python3 on the PATH of the server"
                .into(),
            Family::Sample => "our own program is not where it was started from".into(),
        })
    }

    fn probe(family: Family, program: &Path) -> Option<Self> {
        let (flag, script) = match family {
            Family::Node => (
                "-e",
                "const fs = require('fs'), path = require('path'); const real = fs.realpathSync(process.execPath);\
                 console.log([process.versions.node, real, path.dirname(path.dirname(real))].join('\\n'))",
            ),
            Family::Python => (
                "-c",
                "import sys, os, venv, ensurepip; real = os.path.realpath; \
                 print('.'.join(map(str, sys.version_info[:3])), \
                 real(getattr(sys, '_base_executable', sys.executable)), real(sys.base_prefix), sep='\\n')",
            ),
            Family::Sample => {
                let version = env!("CARGO_PKG_VERSION").to_owned();
                return Some(Self { version, program: program.to_owned(), binds: Vec::new() });
            }
        };
        let mut command = Command::new(program);
        command.args([flag, script]).stdin(Stdio::null()).stderr(Stdio::null());
        // These change what the interpreters load, here and nowhere else.
        command.env_remove("NODE_OPTIONS").env_remove("PYTHONPATH").env_remove("PYTHONHOME").env_remove("VIRTUAL_ENV");
        let output = command.output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        let [version, program, prefix] = text.lines().collect::<Vec<_>>().try_into().ok()?;
        let prefix = Path::new(prefix);
        let mut binds = Vec::new();
        if !is_shown(prefix) {
            binds.push(Bind { source: prefix.to_owned(), target: prefix.to_owned(), writable: false });
        }
        Some(Self { version: version.to_owned(), program: PathBuf::from(program), binds })
    }

    /// The directory of the interpreter, if it is not in everybody's `PATH`.
    pub(super) fn extra_path(&self) -> Option<&Path> {
        self.program
            .parent()
            .filter(|dir| !["/usr/local/bin", "/usr/bin", "/bin"].iter().any(|usual| *dir == Path::new(usual)))
    }
}

/// Programs worth asking, the best first.
fn candidates(family: Family, wants: &str) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let mut found = Vec::new();
    match family {
        Family::Sample => found.extend(std::env::current_exe()),
        Family::Node => {
            found.extend(on_path("node"));
            let versions = std::env::var_os("NVM_DIR").map(PathBuf::from).or(home.map(|home| home.join(".nvm")));
            if let Some(versions) = versions.filter(|_| !wants.is_empty()) {
                let major = wants.split('.').next().unwrap_or_default();
                found.extend(below(&versions.join("versions/node"), &format!("v{major}."), "bin/node"));
            }
        }
        Family::Python => {
            let minor = minor(wants);
            if minor.contains('.') {
                found.extend(on_path(&format!("python{minor}")));
            }
            found.extend(on_path("python3"));
            let versions = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or(home.map(|home| home.join(".pyenv")));
            if let Some(versions) = versions.filter(|_| minor.contains('.')) {
                found.extend(below(&versions.join("versions"), &format!("{minor}."), "bin/python3"));
            }
        }
    }
    found
}

/// All programs called `name` on the `PATH`, in its order.
fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).filter(|program| program.is_file()).collect()
}

/// `program` in each directory of `dir` whose name begins with `start`, the last name first.
fn below(dir: &Path, start: &str, program: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
        .map(|entry| entry.path())
        .collect();
    dirs.sort();
    dirs.into_iter().rev().map(|dir| dir.join(program)).filter(|program| program.is_file()).collect()
}

/// `3.13` of `3.13.1`.
fn minor(version: &str) -> &str {
    match version.match_indices('.').nth(1) {
        Some((end, _)) => &version[..end],
        None => version,
    }
}

/// Whether sandboxes show this path of the host without being told.
pub(super) fn is_shown(path: &Path) -> bool {
    const SHOWN: [&str; 8] = ["/usr", "/etc", "/opt", "/bin", "/sbin", "/lib", "/nix", "/gnu"];
    SHOWN.iter().any(|dir| path.starts_with(dir))
}
