//! Actors made of a script, and what becomes of their runs.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use crate::server::Server;

/// How long anything may take here that is expected to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Builds an Actor whose one file is a shell script, and gives its id.
pub async fn shell_actor(server: &Server, name: &str, script: &str) -> String {
    let actor = unbuilt_actor(server, name, "CMD [\"sh\", \"main.sh\"]\n", script).await;
    let build = server.send(Method::POST, &format!("actors/{actor}/builds?version=0.0&waitForFinish=60"), "").await;
    let log = server.text(&format!("logs/{}", build["data"]["id"].as_str().unwrap())).await;
    assert_eq!(build["data"]["status"], "SUCCEEDED", "{build} {log}");
    actor
}

/// The same, not built yet; `instructions` end its Dockerfile.
pub async fn unbuilt_actor(server: &Server, name: &str, instructions: &str, script: &str) -> String {
    let dockerfile = format!("FROM node:20\nWORKDIR /app\nCOPY main.sh ./\n{instructions}");
    let definition = json!({ "actorSpecification": 1, "name": name, "version": "0.0" }).to_string();
    let files = [(".actor/actor.json", definition), ("Dockerfile", dockerfile), ("main.sh", script.to_owned())];
    actor_of(server, name, files.map(|(path, text)| (path.to_owned(), text))).await
}

/// Makes an Actor of these files, not built yet, and gives its id.
pub async fn actor_of(server: &Server, name: &str, files: impl IntoIterator<Item = (String, String)>) -> String {
    let file = |(path, text)| json!({ "name": path, "format": "TEXT", "content": text });
    let files: Vec<Value> = files.into_iter().map(file).collect();
    let version =
        json!({ "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "buildTag": "latest", "sourceFiles": files });
    let body = json!({ "name": name, "versions": [version] }).to_string();
    server.send(Method::POST, "actors", body).await["data"]["id"].as_str().unwrap().to_owned()
}

/// Starts a build and gives its id.
pub async fn start_build(server: &Server, actor: &str) -> String {
    let build = server.send(Method::POST, &format!("actors/{actor}/builds?version=0.0"), "").await;
    build["data"]["id"].as_str().unwrap().to_owned()
}

/// Starts a run and gives its id; `options` are those of the query.
pub async fn start(server: &Server, actor: &str, options: &str) -> String {
    let run = server.send(Method::POST, &format!("actors/{actor}/runs?{options}"), Bytes::new()).await;
    run["data"]["id"].as_str().unwrap().to_owned()
}

/// Waits for the end of a run or build, of which `path` is the address.
pub async fn finished(server: &Server, path: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = server.get(&format!("{path}?waitForFinish=60")).await["data"].take();
        if !matches!(job["status"].as_str(), Some("READY" | "RUNNING" | "ABORTING" | "TIMING-OUT")) {
            return job;
        }
        assert!(Instant::now() < deadline, "{path} does not end: {job}");
    }
}

/// Waits until the log of that run or build has `text` in it.
pub async fn says(server: &Server, id: &str, text: &str) {
    until(&format!("{id} says {text:?}"), async || server.text(&format!("logs/{id}")).await.contains(text)).await;
}

/// The numbers of the lines `line N` in the log of a run.
pub async fn numbers(server: &Server, run: &str) -> Vec<usize> {
    let log = server.text(&format!("logs/{run}")).await;
    let numbers = log.lines().filter_map(|line| line.split_once("Z line ")?.1.parse().ok());
    numbers.collect()
}

/// Aborts a run or build, of which `path` is the address, and gives what it ended as.
pub async fn abort(server: &Server, path: &str) -> Value {
    server.send(Method::POST, &format!("{path}/abort"), Bytes::new()).await;
    finished(server, path).await
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The processes of a run or build: those that know its id by their environment, arguments or control group.
pub fn processes_of(id: &str) -> Vec<i32> {
    let knows_it = |process: &Path| {
        ["environ", "cmdline", "cgroup"].iter().any(|file| {
            let content = std::fs::read(process.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&content).contains(id)
        })
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| knows_it(&Path::new("/proc").join(pid.to_string())))
        .collect()
}
