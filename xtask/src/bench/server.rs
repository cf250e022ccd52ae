//! A server to be measured.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tempfile::TempDir;

/// A running release build on a directory of its own.
pub struct Server {
    child: Child,
    pub url: String,
    pub token: String,
    pub agent: ureq::Agent,
    /// How long it took from the start of the program to the first answer.
    pub took: Duration,
    _directory: TempDir,
}

impl Server {
    /// Starts it on an empty directory.
    pub fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let ready_file = directory.path().join("ready.json");
        let started = Instant::now();
        let child = Command::new(crate::root().join("target/release/playhouse"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path().join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let agent = ureq::Agent::new_with_defaults();
        let mut server = Self {
            child,
            url: String::new(),
            token: String::new(),
            agent,
            took: Duration::ZERO,
            _directory: directory,
        };
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

    fn status(&self, key: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(key)).context("no such line")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no value")?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
