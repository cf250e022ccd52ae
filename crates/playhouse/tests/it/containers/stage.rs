//! Container engines, and servers that use them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::server::Server;

/// A container engine: its word and its address.
#[derive(Clone)]
pub(super) struct Engine {
    pub(super) name: String,
    pub(super) address: String,
}

impl Engine {
    /// Those that a line of `tests/engines/engines` names.
    pub(super) fn named(text: &str) -> Vec<Self> {
        let words = text.split(['"', ' ', '\n']).filter_map(|word| word.split_once("=unix:"));
        words.map(|(name, path)| Self { name: name.to_owned(), address: format!("unix:{path}") }).collect()
    }

    /// Those that are there.
    pub(super) fn all() -> Vec<Self> {
        let engines = Self::named(&std::env::var("PLAYHOUSE_TEST_ENGINES").unwrap_or_default());
        if engines.is_empty() {
            eprintln!("SKIPPED: no container engine is named in PLAYHOUSE_TEST_ENGINES");
        }
        engines
    }

    /// The directory in which it was started, if that was for tests.
    pub(super) fn home(&self) -> Option<PathBuf> {
        let socket = Path::new(self.address.trim_start_matches("unix://"));
        let home = socket.parent().filter(|home| home.join("started-for-tests").exists()).map(Path::to_owned);
        if home.is_none() {
            eprintln!("SKIPPED: {} was not started for tests, so nothing is done to it", self.name);
        }
        home
    }

    pub(super) fn docker(&self, arguments: &[&str]) -> Output {
        Command::new("docker").args(["-H", &self.address]).args(arguments).output().unwrap()
    }

    pub(super) fn told(&self, arguments: &[&str]) -> Vec<String> {
        let told = String::from_utf8(self.docker(arguments).stdout).unwrap();
        told.split_whitespace().map(str::to_owned).collect()
    }
}

/// What `tests/engines/engines` prints.
pub(super) fn engines(arguments: &[&str], home: &Path, more: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/engines/engines");
    let output = Command::new(script).args(arguments).arg(home).args(more).output().unwrap();
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?} {more:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Engines of its own on a small disk, until it is dropped.
pub(super) struct Small {
    pub(super) home: PathBuf,
    pub(super) engines: Vec<Engine>,
}

impl Small {
    pub(super) fn start() -> Option<Self> {
        let home = Engine::all().first()?.home()?;
        let engines = Engine::named(&engines(&["small"], &home, &[]));
        Some(Self { home, engines })
    }

    pub(super) fn restart(&self, words: &[&str]) {
        engines(&["restart"], &self.home.join("small"), words);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        engines(&["end-small"], &self.home, &[]);
    }
}

/// A server with an engine, of which it leaves nothing there.
pub(super) struct Stage {
    pub(super) engine: Engine,
    pub(super) server: Server,
    pub(super) arguments: Vec<String>,
    pub(super) directory: TempDir,
}

impl Stage {
    pub(super) fn with(engine: Engine, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut words = vec!["--docker-host", &engine.address];
        if !arguments.contains(&"--driver") {
            words.extend(["--driver", "docker"]);
        }
        let arguments: Vec<String> = words.iter().chain(arguments).map(|word| (*word).to_owned()).collect();
        let server = serve(&directory, &arguments);
        Self { engine, server, arguments, directory }
    }

    /// Kills the server, and starts another one.
    pub(super) fn restart(&mut self) {
        self.server.kill();
        self.server = serve(&self.directory, &self.arguments);
    }

    /// How the images of its builds are named, without the build.
    pub(super) fn repository(&self) -> String {
        let instance = std::fs::read_to_string(self.directory.path().join("data/instance")).unwrap_or_default();
        format!("localhost/playhouse-{instance}")
    }

    pub(super) fn images(&self) -> Vec<String> {
        self.engine.told(&["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", &self.filter("reference")])
    }

    pub(super) fn filter(&self, by: &str) -> String {
        match by {
            "reference" => format!("reference={}:*", self.repository()),
            _ => {
                format!("label=org.playhouse.instance={}", self.repository().trim_start_matches("localhost/playhouse-"))
            }
        }
    }
}

fn serve(directory: &TempDir, arguments: &[String]) -> Server {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Server::start_as(&directory.path().join("data"), &arguments)
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.kill();
        for container in self.engine.told(&["ps", "--all", "--quiet", "--filter", &self.filter("label")]) {
            self.engine.docker(&["rm", "--force", &container]);
        }
        for image in self.images() {
            self.engine.docker(&["rmi", "--force", &image]);
        }
    }
}

/// Does the same on all engines, at the same time.
pub(super) async fn on_each(arguments: &[&str], test: impl AsyncFn(Stage)) {
    // Without root it is the same engine, which the tests of the driver look at.
    let engines = Engine::all().into_iter().filter(|engine| engine.name != "podman-rootless");
    futures::future::join_all(engines.map(|engine| test(Stage::with(engine, arguments)))).await;
}
