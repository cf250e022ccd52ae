//! In which order the server syncs and answers, seen in its system calls: no 2xx leaves before the sync that covers it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use crate::server::{BINARY, Server};

const WRITES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn no_success_leaves_before_the_sync_that_covers_it() {
    if Command::new("strace").arg("--version").output().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let mut strace = Command::new("strace");
    // Not as our child but as a grandchild: whoever kills the tracer leaves the server running.
    strace.args([
        "-D",
        "-f",
        "-s",
        "64",
        "-e",
        "trace=fsync,fdatasync,read,recvfrom,write,writev,sendto,sendmsg",
        "-o",
    ]);
    strace.arg(&trace).arg(BINARY);
    let mut server = Server::start_with(strace, &directory.path().join("data"));
    let dataset = server.storage("datasets", "traced").await;
    let store = server.storage("key-value-stores", "traced").await;
    let queue = server.storage("request-queues", "traced").await;

    for number in 0..WRITES {
        let item = json!({ "n": number }).to_string();
        server.send(Method::POST, &format!("datasets/{dataset}/items"), item.clone()).await;
        server.send(Method::PUT, &format!("key-value-stores/{store}/records/key"), item).await;
        let request = json!({ "url": "http://example.com", "uniqueKey": number.to_string() }).to_string();
        server.send(Method::POST, &format!("request-queues/{queue}/requests"), request).await;
    }
    let pid = server.pid().to_string();
    server.kill();

    let deadline = Instant::now() + Duration::from_secs(30);
    let text = loop {
        // The last that the tracer writes down.
        let text = std::fs::read_to_string(&trace).unwrap();
        let is_end =
            |line: &str| line.split(' ').next() == Some(pid.as_str()) && line.contains("+++ killed by SIGKILL");
        if text.lines().any(is_end) {
            break text;
        }
        assert!(Instant::now() < deadline, "the tracer did not come to the end");
        std::thread::sleep(Duration::from_millis(5));
    };
    let answers = check_order(&text);
    assert!(answers >= 3 * WRITES, "only {answers} answers to writes were seen in {}", display(&trace));
}

/// One client writes one thing after the other, so between the request's bytes and its `201` there must be a finished sync.
/// Gives how many answers were checked.
fn check_order(trace: &str) -> usize {
    let mut synced = false;
    let mut answers = 0;
    for line in trace.lines() {
        let is_write_request = ["\"POST /v2/", "\"PUT /v2/"].iter().any(|start| line.contains(start));
        let sync_done = (line.contains("fdatasync(") || line.contains("fsync(") || line.contains("sync resumed>"))
            && line.trim_end().ends_with("= 0");
        if is_write_request {
            synced = false;
        } else if sync_done {
            synced = true;
        } else if line.contains("\"HTTP/1.1 201") {
            assert!(synced, "an answer left before any sync: {line}");
            answers += 1;
        }
    }
    answers
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
