//! A server to be measured.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tempfile::TempDir;

/// The variable that names another program to measure than the release build.
pub const BINARY: &str = "PLAYHOUSE_BENCH_BINARY";

/// Runs without a container engine, whatever the machine has.
const PROCESS: [&str; 2] = ["--driver", "process"];

/// A running release build on a directory of its own.
pub struct Server {
    child: Child,
    pub url: String,
    pub token: String,
    pub agent: ureq::Agent,
    /// How long it took from the start of the program to the first answer.
    pub took: Duration,
    directory: TempDir,
}

/// Bytes of a data directory.
#[derive(Default)]
pub struct Disk {
    pub database: u64,
    pub log: u64,
    pub objects: u64,
}

impl Disk {
    pub fn total(&self) -> u64 {
        self.database + self.log + self.objects
    }
}

impl Server {
    /// Starts it on an empty directory.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_as(&PROCESS)
    }

    /// The same with other arguments.
    pub fn start_as(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_on(tempfile::tempdir()?, arguments)
    }

    /// Stops it, lets something happen to its data directory, and starts it again.
    pub fn restart_after(mut self, change: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        self.child.kill()?;
        self.child.wait()?;
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir()?);
        std::fs::remove_file(directory.path().join("ready.json"))?;
        change(&directory.path().join("data"))?;
        Self::start_on(directory, &PROCESS)
    }

    fn start_on(directory: TempDir, arguments: &[&str]) -> anyhow::Result<Self> {
        let ready_file = directory.path().join("ready.json");
        let started = Instant::now();
        let binary = std::env::var_os(BINARY)
            .map_or_else(|| crate::root().join("target/release/playhouse"), std::path::PathBuf::from);
        let child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let agent = ureq::Agent::new_with_defaults();
        let mut server =
            Self { child, url: String::new(), token: String::new(), agent, took: Duration::ZERO, directory };
        let ready = server.ready(&ready_file)?;
        server.url = ready["url"].as_str().unwrap_or_default().to_owned();
        server.token = ready["token"].as_str().unwrap_or_default().to_owned();
        server.get("users/me")?;
        server.took = started.elapsed();
        Ok(server)
    }

    fn ready(&mut self, file: &Path) -> anyhow::Result<Value> {
        for _ in 0..30_000 {
            if let Ok(text) = std::fs::read_to_string(file) {
                return Ok(serde_json::from_str(&text)?);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("the server did not get ready")
    }

    /// A resource.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.agent.get(self.address(path)).header("authorization", self.bearer());
        Ok(request.call().with_context(|| path.to_owned())?.body_mut().read_json()?)
    }

    /// The same as bytes, so that a measurement has no reading of JSON in it.
    pub fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let request = self.agent.get(self.address(path)).header("authorization", self.bearer());
        let mut response = request.call().with_context(|| path.to_owned())?;
        Ok(response.body_mut().with_config().limit(64 << 20).read_to_vec()?)
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(self.address(path)).header("authorization", self.bearer());
        Ok(request.send_json(body).with_context(|| path.to_owned())?.body_mut().read_json()?)
    }

    /// The whole address of an API path.
    pub fn address(&self, path: &str) -> String {
        format!("{}/v2/{path}", self.url)
    }

    /// The value of the `Authorization` header.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Resident memory, in megabytes.
    pub fn resident_mb(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// Highest resident memory so far, in megabytes.
    pub fn peak_mb(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    /// Lets [`peak_mb`](Self::peak_mb) begin anew.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// Number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time so far.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.id())
    }

    /// Bytes that were sent to the disk so far.
    pub fn written_bytes(&self) -> anyhow::Result<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("no such line")?;
        Ok(line.parse()?)
    }

    /// What lies in the data directory.
    pub fn disk(&self) -> Disk {
        let mut disk = Disk::default();
        let data = self.directory.path().join("data");
        let (objects, mut directories) = (data.join("objects"), vec![data]);
        while let Some(directory) = directories.pop() {
            // What goes away under our hands counts no more.
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                let name = entry.file_name();
                match name.to_string_lossy().as_ref() {
                    _ if metadata.is_dir() => directories.push(entry.path()),
                    "db.sqlite" => disk.database += metadata.len(),
                    "db.sqlite-wal" => disk.log += metadata.len(),
                    _ if entry.path().starts_with(&objects) => disk.objects += metadata.len(),
                    _ => {}
                }
            }
        }
        disk
    }

    fn status(&self, key: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(key)).context("no such line")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no value")?.parse()?;
        Ok(kib / 1024.0)
    }
}

/// CPU time of a process so far.
pub fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    /// Linux counts in these for everybody.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, which may hold anything, ends at the last parenthesis; user and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ").context("no name")?;
    let times: Vec<f64> = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    Ok(times.iter().sum::<f64>() / TICKS_PER_SECOND)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
