//! What the tests of builds have in common: a driver, build contexts, and a look at what a build left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use playhouse_drivers::process::{ProcessConfig, ProcessDriver, Separation};
use playhouse_drivers::{BuildSpec, Driver, Exit, ExitCause, ImageInfo, Job, JobKind, RunSpec};
use tempfile::TempDir;

use crate::contexts::{build_spec, context};
use crate::waiting::{log, soon};

pub struct Bench {
    pub driver: ProcessDriver,
    pub dir: TempDir,
}

/// A build that is over.
pub struct Built {
    pub id: String,
    pub exit: Exit,
    /// Without stamps.
    pub log: String,
}

impl Bench {
    pub fn new() -> Self {
        Self::apart(Separation::Best)
    }

    pub fn apart(separation: Separation) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ProcessConfig::new(dir.path().join("data"), env!("CARGO_BIN_EXE_drivers-shim"));
        config.min_free_bytes = 0;
        config.separation = separation;
        Self { driver: ProcessDriver::open(config).unwrap(), dir }
    }

    /// Whether layers are stacked here; where they are copied, some things are different, and said so.
    pub fn stacks_layers(&self) -> bool {
        let stacks = self.driver.isolation().details.iter().any(|detail| detail.contains("stacked by overlayfs"));
        if !stacks {
            eprintln!("skipped: overlayfs may not be mounted here");
        }
        stacks
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes files of a build context, replacing the one before.
    pub fn context(&self, files: &[(&str, &str)]) -> PathBuf {
        context(self.dir.path(), files)
    }

    pub fn spec(&self, id: &str, context: &Path, dockerfile: &str) -> BuildSpec {
        build_spec(&self.data_dir(), id, context, dockerfile)
    }

    pub async fn build(&self, spec: &BuildSpec) -> Built {
        self.driver.start_build(spec).await.unwrap();
        let exit = self.driver.wait(&spec.job);
        let exit = tokio::time::timeout(Duration::from_secs(900), exit).await.expect("no end").unwrap();
        Built { id: spec.job.id.clone(), exit, log: log(&spec.log) }
    }

    /// Builds `dockerfile` in a context of `files` and expects it to go well.
    pub async fn image(&self, id: &str, files: &[(&str, &str)], dockerfile: &str) -> (Built, ImageInfo) {
        let built = self.build(&self.spec(id, &self.context(files), dockerfile)).await;
        let info = self.driver.image(id).await.unwrap();
        (built.succeeded(), info.expect("an image"))
    }

    /// Runs a script in the image of a build, or the image's own command if it is empty; what it wrote.
    pub async fn run(&self, built: &Built, id: &str, script: &str) -> String {
        let image = self.data_dir().join("builds").join(&built.id).join("image.json");
        let stored = fs::read(&image).unwrap();
        if !script.is_empty() {
            let mut changed: serde_json::Value = serde_json::from_slice(&stored).unwrap();
            changed["info"]["cmd"] = serde_json::json!(["/bin/sh", "-c", script]);
            changed["info"]["entrypoint"] = serde_json::json!([]);
            fs::write(&image, changed.to_string()).unwrap();
        }
        let spec = RunSpec {
            job: Job { kind: JobKind::Run, id: id.into(), life: 1 },
            build_id: built.id.clone(),
            env: BTreeMap::new(),
            secrets: Vec::new(),
            mounts: Vec::new(),
            ports: Vec::new(),
            limits: self.spec(id, self.dir.path(), "").limits,
            log: self.data_dir().join("logs").join(format!("run-{id}")),
        };
        self.driver.start_run(&spec).await.unwrap();
        soon(self.driver.wait(&spec.job)).await.unwrap();
        fs::write(&image, stored).unwrap();
        log(&spec.log)
    }
}

impl Built {
    pub fn succeeded(self) -> Self {
        assert_eq!((self.exit.code, &self.exit.cause), (Some(0), &ExitCause::Exited), "{}", self.log);
        self
    }

    /// The reason for which it failed.
    pub fn reason(&self) -> &str {
        match &self.exit.cause {
            ExitCause::Failed { reason } => reason,
            other => panic!("{other:?}\n{}", self.log),
        }
    }
}
