//! A running binary, and a client of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_playhouse");

/// A `playhouse serve` that is killed when this is dropped.
pub struct Server {
    child: Child,
    said: PathBuf,
    pub url: String,
    pub token: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Server {
    /// Starts the binary on a data directory and waits until it answers.
    pub fn start(data_dir: &Path) -> Self {
        Self::start_with(Command::new(BINARY), data_dir)
    }

    /// Starts it through `command`, which ends with the program to run: a tracer, for example.
    pub fn start_with(command: Command, data_dir: &Path) -> Self {
        Self::launch(command, data_dir, &["--driver", "process"])
    }

    /// Starts it with further arguments.
    pub fn start_as(data_dir: &Path, arguments: &[&str]) -> Self {
        Self::launch(Command::new(BINARY), data_dir, arguments)
    }

    fn launch(mut command: Command, data_dir: &Path, arguments: &[&str]) -> Self {
        let (ready_file, said) = (data_dir.with_extension("ready"), data_dir.with_extension("said"));
        std::fs::remove_file(&ready_file).ok();
        let child = command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .arg("--data-dir")
            .arg(data_dir)
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            said,
            url: String::new(),
            token: String::new(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        let ready = server.wait_for(&ready_file);
        server.url = ready["url"].as_str().unwrap().to_owned();
        server.token = ready["token"].as_str().unwrap().to_owned();
        server
    }

    fn wait_for(&mut self, ready_file: &PathBuf) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(text) = std::fs::read_to_string(ready_file) {
                return serde_json::from_str(&text).unwrap();
            }
            assert_eq!(self.child.try_wait().unwrap(), None, "the server ended early");
            assert!(Instant::now() < deadline, "the server did not get ready");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the server's own log has under that message.
    pub fn said(&self, message: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let log = std::fs::read_to_string(&self.said).unwrap();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = lines.find(|line| line["message"] == message) {
                return line;
            }
            assert!(Instant::now() < deadline, "{message:?} is not in {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Sends one request; `None` if the connection broke.
    pub async fn try_send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Option<(StatusCode, Value)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/v2/{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .unwrap();
        let response = self.client.request(request).await.ok()?;
        let status = response.status();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// Sends one request that must be answered with success, and gives the answer.
    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Value {
        let (status, answer) = self.try_send(method, path, body).await.expect("no answer");
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// Reads a resource.
    pub async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Reads a text.
    pub async fn text(&self, path: &str) -> String {
        let body = self.response(path).await.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// Reads what lies beside the API.
    pub async fn page(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(format!("{}/{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::default())
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Begins to read.
    pub async fn response(&self, path: &str) -> Response<Incoming> {
        let request = Request::get(format!("{}/v2/{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::default())
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response
    }

    /// Makes a storage of that kind and gives its id.
    pub async fn storage(&self, plural: &str, name: &str) -> String {
        let made = self.send(Method::POST, &format!("{plural}?name={name}"), Bytes::new()).await;
        made["data"]["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
