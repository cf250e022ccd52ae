//! A data directory on a disk that fills up: what is refused, what goes on, and how it ends.
//!
//! The disk is a small file system in a mount namespace of its own, which a process holds as long as the test runs.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::actors::{finished, says, shell_actor, start};
use crate::server::{BINARY, Server};

/// A small file system at `dir`, for those who enter the namespace of `holder`.
struct Disk {
    holder: Child,
    dir: PathBuf,
    _parent: tempfile::TempDir,
}

impl Disk {
    /// Mounts one of `size`; if that cannot be done here, tells why.
    fn mount(size: &str) -> Result<Self, String> {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        std::fs::create_dir(&dir).unwrap();
        let mut unshare = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            unshare.arg("--map-root-user");
        }
        let mut holder = unshare
            .args(["--mount", "sh", "-c"])
            .arg(format!("mount -t tmpfs -o size={size} none \"$0\" && echo mounted && exec cat"))
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare cannot be started: {error}"))?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said != "mounted\n" {
            return Err(format!("no file system can be mounted in a namespace: {}", holder.wait().unwrap()));
        }
        Ok(Self { holder, dir, _parent: parent })
    }

    /// A program that runs where the disk can be seen.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.holder.id().to_string();
        command.args(["--target", &target, "--mount"]);
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
            // It is root only in name there, which would confuse a server that could do more as root.
            command.args(["unshare", "--user", "--map-user=1000", "--map-group=1000"]);
        }
        command.arg(program);
        command
    }

    fn start(&self) -> Server {
        Server::start_with(self.command(BINARY), &self.dir)
    }

    fn sh(&self, script: &str, path: &Path) {
        let status = self.command("sh").args(["-c", script]).arg(path).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{script}: {status}");
    }

    /// Lets another process take all that is left.
    fn eat(&self) {
        self.sh("cat /dev/zero > \"$0\" || true", &self.dir.join("eaten"));
    }

    fn give_back(&self) {
        self.sh("rm \"$0\"", &self.dir.join("eaten"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

/// What was acknowledged.
struct Kept {
    dataset: String,
    store: String,
    queue: String,
    items: u64,
    records: Vec<(String, usize)>,
    requests: u64,
}

impl Kept {
    async fn new(server: &Server) -> Self {
        Self {
            dataset: server.storage("datasets", "d").await,
            store: server.storage("key-value-stores", "s").await,
            queue: server.storage("request-queues", "q").await,
            items: 0,
            records: Vec::new(),
            requests: 0,
        }
    }

    /// Writes one of each at once and tells how many were taken; the others must have been refused in so many words.
    async fn write(&mut self, server: &Server, round: usize) -> usize {
        let items = Value::from_iter((0..20).map(|n| json!({"n": n, "text": noise(round * 100 + n, 5_000)})));
        let request = json!({"url": "x", "uniqueKey": round.to_string(), "payload": noise(round, 5_000)});
        let record = |size| (format!("{size}-{round}"), size);
        let (small, large) = (record(10_000), record(300_000));
        let put = |(key, size): &(String, usize)| {
            let path = format!("key-value-stores/{}/records/{key}", self.store);
            is_taken(server, Method::PUT, path, noise(round, *size))
        };

        let (pushed, put_small, put_large, added) = tokio::join!(
            is_taken(server, Method::POST, format!("datasets/{}/items", self.dataset), items.to_string()),
            put(&small),
            put(&large),
            is_taken(server, Method::POST, format!("request-queues/{}/requests", self.queue), request.to_string()),
        );

        self.items += if pushed { 20 } else { 0 };
        self.records.extend(put_small.then_some(small));
        self.records.extend(put_large.then_some(large));
        self.requests += u64::from(added);
        [pushed, put_small, put_large, added].into_iter().filter(|taken| *taken).count()
    }

    /// All that was acknowledged is there, and nothing else.
    async fn check(&self, server: &Server) {
        let dataset = server.get(&format!("datasets/{}", self.dataset)).await;
        assert_eq!(dataset["data"]["itemCount"], self.items);
        let items = server.get(&format!("datasets/{}/items", self.dataset)).await;
        assert_eq!(items.as_array().unwrap().len() as u64, self.items);
        for (key, size) in &self.records {
            let text = server.text(&format!("key-value-stores/{}/records/{key}", self.store)).await;
            assert_eq!(text.len(), *size, "{key}");
        }
        let keys = server.get(&format!("key-value-stores/{}/keys", self.store)).await;
        assert_eq!(keys["data"]["count"], self.records.len());
        let queue = server.get(&format!("request-queues/{}", self.queue)).await;
        assert_eq!(queue["data"]["totalRequestCount"], self.requests);
    }
}

/// Whether a write succeeded. The only other answer is that the disk is full.
async fn is_taken(server: &Server, method: Method, path: String, body: String) -> bool {
    let (status, answer) = server.try_send(method, &path, body).await.expect("no answer");
    if status != StatusCode::CREATED {
        assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{path}: {answer}");
        assert_eq!(answer["error"]["type"], "insufficient-storage", "{path}: {answer}");
        assert_eq!(answer["error"]["message"], "There is no space left on the server's disk");
    }
    status == StatusCode::CREATED
}

/// Text that does not compress well.
fn noise(seed: usize, length: usize) -> String {
    let mut state = seed as u64 * 2_654_435_761 + 88_172_645_463_325_252;
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text.truncate(length);
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_grows_and_nothing_else_and_recovers_by_itself() {
    let disk = match Disk::mount("24m") {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    let mut server = disk.start();
    let mut kept = Kept::new(&server).await;
    let actor = shell_actor(&server, "sleeper", "echo started; sleep 1000").await;
    let run = start(&server, &actor, "memory=256").await;
    // Logs give way long before: the disk is too small for one from the beginning.
    says(&server, &run, "The log is cut here").await;

    // What is too large for the disk is refused on the way in and leaves nothing behind.
    let path = format!("key-value-stores/{}/records/too-large", kept.store);
    assert!(!is_taken(&server, Method::PUT, path, "x".repeat(30_000_000)).await);
    kept.check(&server).await;

    // Until nothing is taken any more.
    let mut refused = 0;
    for round in 0.. {
        assert!(round < 1000, "the disk did not fill up");
        refused = if kept.write(&server, round).await == 0 { refused + 1 } else { 0 };
        if refused == 3 {
            break;
        }
    }
    assert!(kept.items >= 200 && kept.records.len() >= 10 && kept.requests >= 10, "refused too early");
    kept.check(&server).await;

    // No run can start, but those that run are looked after.
    assert!(!is_taken(&server, Method::POST, format!("actors/{actor}/runs?memory=256"), String::new()).await);
    server.send(Method::POST, &format!("actor-runs/{run}/abort"), "").await;
    assert_eq!(finished(&server, &format!("actor-runs/{run}")).await["status"], "ABORTED");
    assert!(server.text(&format!("logs/{run}")).await.contains("The log is cut here"));

    // A restart changes nothing.
    server.kill();
    server = disk.start();
    kept.check(&server).await;

    // Another process takes the last byte, while the server is down too.
    server.kill();
    disk.eat();
    server = disk.start();
    assert_eq!(kept.write(&server, 2000).await, 0);
    kept.check(&server).await;
    server.kill();
    server = disk.start();
    kept.check(&server).await;

    // Even so, things can be deleted.
    for (key, _) in kept.records.split_off(kept.records.len() - 2) {
        let path = format!("key-value-stores/{}/records/{key}", kept.store);
        server.send(Method::DELETE, &path, "").await;
    }
    kept.check(&server).await;

    // The other process gives its bytes back, and the dataset goes: there is room again, without a restart.
    disk.give_back();
    server.send(Method::DELETE, &format!("datasets/{}", kept.dataset), "").await;
    kept.dataset = room_for_a_dataset(&server).await;
    kept.items = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut round = 3000;
    while kept.write(&server, round).await < 4 {
        assert!(Instant::now() < deadline, "no room came back");
        tokio::time::sleep(Duration::from_millis(100)).await;
        round += 1;
    }
    kept.check(&server).await;
    server.kill();
    server = disk.start();
    kept.check(&server).await;
    assert_eq!(server.stop(), Some(0));
}

/// Makes a dataset as soon as there is room for one.
async fn room_for_a_dataset(server: &Server) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (status, answer) = server.try_send(Method::POST, "datasets", "").await.expect("no answer");
        match status {
            StatusCode::CREATED => return answer["data"]["id"].as_str().unwrap().to_owned(),
            StatusCode::INSUFFICIENT_STORAGE => {}
            other => panic!("{other}: {answer}"),
        }
        assert!(Instant::now() < deadline, "no room came back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
