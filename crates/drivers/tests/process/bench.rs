//! What the tests of the process driver have in common: a data directory with an image, and a driver on it.

use std::fs;
use std::path::PathBuf;

use playhouse_drivers::process::image::StoredImage;
use playhouse_drivers::process::{ProcessConfig, ProcessDriver};
use playhouse_drivers::{Driver, Exit, RunSpec};
use tempfile::TempDir;

use crate::scripts::{kill, lay_out, script};
use crate::waiting::{log, soon};

pub const SHIM: &str = env!("CARGO_BIN_EXE_drivers-shim");

pub struct Bench {
    pub driver: ProcessDriver,
    pub config: ProcessConfig,
    _dir: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut ProcessConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The directory is the server's own, as a data directory is.
        let mut config = ProcessConfig::new(dir.path().join("data"), SHIM);
        config.min_free_bytes = 0;
        change(&mut config);
        let driver = ProcessDriver::open(config.clone()).unwrap();
        let bench = Self { driver, config, _dir: dir };
        lay_out(&bench.config.data_dir, "build1", "/usr/src/app", &[("hello.txt", "from the image\n")]);
        bench
    }

    pub fn data_dir(&self) -> PathBuf {
        self.config.data_dir.clone()
    }

    pub fn stored(&self) -> StoredImage {
        StoredImage::load(&self.data_dir(), "build1").unwrap().unwrap()
    }

    pub fn put_stored(&self, image: &StoredImage) {
        fs::write(self.data_dir().join("builds/build1/image.json"), serde_json::to_vec(image).unwrap()).unwrap();
    }

    /// A run of a shell script in the image.
    pub fn script(&self, id: &str, text: &str) -> RunSpec {
        script(&self.config.data_dir, id, text)
    }

    /// Runs a script to its end; its exit and its log without stamps.
    pub async fn run(&self, spec: &RunSpec) -> (Exit, String) {
        self.driver.start_run(spec).await.unwrap();
        let exit = soon(self.driver.wait(&spec.job)).await.unwrap();
        (exit, log(&spec.log))
    }

    fn life_dir(&self, spec: &RunSpec) -> PathBuf {
        self.data_dir().join("runs").join(&spec.job.id).join(spec.job.life.to_string())
    }

    /// Whether a file of a life is there and whole.
    pub fn has_life_file(&self, spec: &RunSpec, name: &str) -> bool {
        let file = fs::read(self.life_dir(spec).join(name));
        file.is_ok_and(|file| serde_json::from_slice::<serde_json::Value>(&file).is_ok())
    }

    fn life_file(&self, spec: &RunSpec, name: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.life_dir(spec).join(name)).unwrap()).unwrap()
    }
}

impl Drop for Bench {
    /// Leaves no process behind, also after a failed test.
    fn drop(&mut self) {
        let lives =
            std::process::Command::new("find").arg(self.data_dir()).args(["-name", "life.json"]).output().unwrap();
        for life in String::from_utf8(lives.stdout).unwrap().lines() {
            let life: serde_json::Value = serde_json::from_slice(&fs::read(life).unwrap()).unwrap();
            let pid = pid(&life["supervisor"]);
            let is_ours = |line: Vec<u8>| String::from_utf8_lossy(&line).contains(&*self.data_dir().to_string_lossy());
            if fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(is_ours) {
                kill(pid, "KILL");
                continue;
            }
            // Only empty groups can be removed, so this harms nobody.
            let group = life["group"].to_string();
            for dir in group.split('"').filter(|part| part.starts_with('/')) {
                fs::remove_dir(dir).ok();
                PathBuf::from(dir).parent().map(fs::remove_dir);
            }
        }
    }
}

/// Process id of a life's supervisor.
pub fn supervisor(bench: &Bench, spec: &RunSpec) -> i32 {
    pid(&bench.life_file(spec, "life.json")["supervisor"])
}

/// Process id of the first process of a life's sandbox.
pub fn first_process(bench: &Bench, spec: &RunSpec) -> i32 {
    pid(&bench.life_file(spec, "first-process.json"))
}

fn pid(identity: &serde_json::Value) -> i32 {
    i32::try_from(identity["pid"].as_i64().unwrap()).unwrap()
}
