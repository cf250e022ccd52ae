//! What the tests of the process driver have in common: a data directory with an image, and a driver on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use playhouse_drivers::process::image::StoredImage;
use playhouse_drivers::process::{ProcessConfig, ProcessDriver, sandbox};
use playhouse_drivers::{Driver, Exit, ImageInfo, Job, JobKind, Limits, RunSpec};
use tempfile::TempDir;

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
        bench.put_image();
        bench
    }

    /// A driver as a restarted server would open it.
    pub fn reopened(&self) -> ProcessDriver {
        ProcessDriver::open(self.config.clone()).unwrap()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.config.data_dir.clone()
    }

    fn put_image(&self) {
        let build = self.data_dir().join("builds/build1");
        let app = build.join("layers/1/usr/src/app");
        fs::create_dir_all(&app).unwrap();
        fs::write(app.join("hello.txt"), "from the image\n").unwrap();
        if sandbox::owner().is_some() {
            let owner = format!("{0}:{0}", sandbox::ACTOR_UID);
            std::process::Command::new("chown")
                .args(["-R", &owner])
                .arg(build.join("layers/1/usr/src"))
                .status()
                .unwrap();
        }
        let info = ImageInfo {
            env: BTreeMap::from([("FROM_IMAGE".into(), "yes".into()), ("OVERRIDDEN".into(), "image".into())]),
            workdir: "/usr/src/app".into(),
            ..ImageInfo::default()
        };
        let layers = vec![PathBuf::from("builds/build1/layers/1")];
        self.put_stored(&StoredImage { info, layers, binds: Vec::new() });
    }

    pub fn stored(&self) -> StoredImage {
        StoredImage::load(&self.data_dir(), "build1").unwrap().unwrap()
    }

    pub fn put_stored(&self, image: &StoredImage) {
        fs::write(self.data_dir().join("builds/build1/image.json"), serde_json::to_vec(image).unwrap()).unwrap();
    }

    /// A run of a shell script in the image.
    pub fn script(&self, id: &str, script: &str) -> RunSpec {
        let mut image = self.stored();
        image.info.cmd = ["/bin/sh", "-c", "eval \"$SCRIPT\""].map(str::to_owned).to_vec();
        self.put_stored(&image);
        RunSpec {
            job: Job { kind: JobKind::Run, id: id.into(), life: 1 },
            build_id: "build1".into(),
            env: BTreeMap::from([("SCRIPT".into(), script.into()), ("OVERRIDDEN".into(), "run".into())]),
            secrets: Vec::new(),
            mounts: Vec::new(),
            ports: Vec::new(),
            limits: Limits { memory_bytes: 256 << 20, cpu_millis: 2000, pids: 64, disk_bytes: 1 << 30 },
            log: self.data_dir().join("runs").join(id).join("log"),
        }
    }

    /// Runs a script to its end; its exit and its log without stamps.
    pub async fn run(&self, spec: &RunSpec) -> (Exit, String) {
        self.driver.start_run(spec).await.unwrap();
        let exit = soon(self.driver.wait(&spec.job)).await.unwrap();
        (exit, log(spec))
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

/// The log of a run without stamps; each line must have exactly one.
pub fn log(spec: &RunSpec) -> String {
    let text = fs::read_to_string(&spec.log).unwrap_or_default();
    let mut lines = String::new();
    for line in text.lines() {
        let (stamp, rest) = line.split_at(25);
        assert!(model::Timestamp::parse(stamp.trim()).is_some() && stamp.ends_with("Z "), "no stamp: {line}");
        lines.push_str(rest);
        lines.push('\n');
    }
    lines
}

/// Whatever takes a minute will take forever.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("still not there after a minute")
}

/// Waits for a fact.
pub async fn until(what: &str, fact: impl Fn() -> bool) {
    let begin = Instant::now();
    while !fact() {
        assert!(begin.elapsed() < Duration::from_secs(60), "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Process ids, as seen here, of all processes whose command line holds `text`.
pub fn processes(text: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id().cast_signed();
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != own && String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
    })
    .collect()
}

pub fn kill(pid: i32, signal: &str) {
    let status = std::process::Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
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

/// Whether the kernel holds runs to their limits here.
pub fn group_limits_memory(bench: &Bench) -> bool {
    bench.driver.isolation().details.iter().any(|detail| detail.starts_with("memory, CPU and processes limited"))
}
