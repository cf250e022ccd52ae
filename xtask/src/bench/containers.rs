//! The docker driver: our own time around the engine's, many runs at once, and a flood of output.
//!
//! `PLAYHOUSE_TEST_ENGINES` names the engines, as in the tests.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::p50_p90;
use super::server::Server;

const RUNS: usize = 20;
const AT_ONCE: usize = 50;
/// Output of the flood.
const MEGABYTES: u64 = 256;
const BASE: &str = "node:20";

pub fn measure() -> anyhow::Result<()> {
    let named = std::env::var("PLAYHOUSE_TEST_ENGINES").unwrap_or_default();
    if named.trim().is_empty() {
        println!("SKIPPED: PLAYHOUSE_TEST_ENGINES names no container engine");
    }
    for (name, address) in named.split_whitespace().filter_map(|engine| engine.split_once('=')) {
        if name == "podman-rootless" {
            println!("SKIPPED: {name} is the same engine, and has no network of its own to compare with");
            continue;
        }
        let server = Server::start_as(&["--driver", "docker", "--docker-host", address])?;
        overhead(&server, name, address)?;
        at_once(&server, name)?;
        flood(&server, name)?;
    }
    Ok(())
}

/// What a run takes through us, and the same container through the engine alone, in turns.
fn overhead(server: &Server, name: &str, address: &str) -> anyhow::Result<()> {
    let actor = actor(server, "quick", "true\n")?;
    let socket = address.trim_start_matches("unix://");
    run(server, &actor, 256)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..RUNS {
        let begin = Instant::now();
        run(server, &actor, 256)?;
        ours.push(begin.elapsed().as_secs_f64() * 1000.0);
        theirs.push(engine_alone(socket, number)?.as_secs_f64() * 1000.0);
    }
    let ((ours, ours_90), (theirs, theirs_90)) = (p50_p90(&mut ours), p50_p90(&mut theirs));
    println!(
        "{name}: start request to answer of the end p50 {ours:.0} ms, p90 {ours_90:.0} ms; engine alone (create, start, wait) \
         p50 {theirs:.0} ms, p90 {theirs_90:.0} ms; our own p50 {:.0} ms ({RUNS} runs)",
        ours - theirs
    );
    Ok(())
}

fn engine_alone(socket: &str, number: usize) -> anyhow::Result<Duration> {
    let name = format!("playhouse-bench-{}-{number}", std::process::id());
    let body = json!({
        "Image": BASE,
        "Cmd": ["true"],
        "HostConfig": {
            "Memory": 256 << 20, "MemorySwap": 256 << 20, "NanoCpus": 62_500_000, "PidsLimit": 512, "Init": true,
            "NetworkMode": "bridge", "LogConfig": { "Type": "json-file" },
        },
    });
    let begin = Instant::now();
    ask(socket, "POST", &format!("/v1.41/containers/create?name={name}"), &body.to_string())?;
    ask(socket, "POST", &format!("/v1.41/containers/{name}/start"), "")?;
    ask(socket, "POST", &format!("/v1.41/containers/{name}/wait"), "")?;
    let took = begin.elapsed();
    ask(socket, "DELETE", &format!("/v1.41/containers/{name}?force=true"), "")?;
    Ok(took)
}

fn ask(socket: &str, method: &str, path: &str, body: &str) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    anyhow::ensure!(status.starts_with('2'), "{method} {path}: {answer}");
    Ok(())
}

fn at_once(server: &Server, name: &str) -> anyhow::Result<()> {
    let actor = actor(server, "crowd", "sleep 1\n")?;
    let begin = Instant::now();
    let mut runs = Vec::new();
    for _ in 0..AT_ONCE {
        let run = server.post(&format!("actors/{actor}/runs?memory=512"), &json!({}))?;
        runs.push(run["data"]["id"].as_str().context("no run")?.to_owned());
    }
    let accepted = begin.elapsed();
    for run in &runs {
        let ended = ended(server, run)?;
        anyhow::ensure!(ended["status"] == "SUCCEEDED", "{ended}");
    }
    println!("{name}: {AT_ONCE} runs of 512 MB accepted in {accepted:.1?}, all done in {:.1?}", begin.elapsed());
    Ok(())
}

fn flood(server: &Server, name: &str) -> anyhow::Result<()> {
    let line = "x".repeat(999);
    let actor = actor(server, "flood", &format!("yes {line} | head -c {}\n", MEGABYTES * 1_000_000))?;
    server.forget_peak()?;
    let begin = Instant::now();
    let run = server.post(&format!("actors/{actor}/runs?memory=4096"), &json!({}))?;
    let run = run["data"]["id"].as_str().context("no run")?.to_owned();
    ended(server, &run)?;
    let took = begin.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let rate = MEGABYTES as f64 / took;
    println!(
        "{name}: {MEGABYTES} MB of log in {took:.1} s, {rate:.0} MB/s, server at most {:.0} MB",
        server.peak_mb()?
    );
    Ok(())
}

fn run(server: &Server, actor: &str, memory: u32) -> anyhow::Result<()> {
    let run = server.post(&format!("actors/{actor}/runs?memory={memory}&waitForFinish=60"), &json!({}))?;
    anyhow::ensure!(run["data"]["status"] == "SUCCEEDED", "{run}");
    Ok(())
}

fn ended(server: &Server, run: &str) -> anyhow::Result<Value> {
    loop {
        let run = server.get(&format!("actor-runs/{run}?waitForFinish=60"))?["data"].take();
        if !matches!(run["status"].as_str(), Some("READY" | "RUNNING")) {
            return Ok(run);
        }
    }
}

fn actor(server: &Server, name: &str, script: &str) -> anyhow::Result<String> {
    let files = json!([
        { "name": ".actor/actor.json", "format": "TEXT", "content": format!(r#"{{"actorSpecification":1,"name":"{name}","version":"0.0"}}"#) },
        { "name": "Dockerfile", "format": "TEXT", "content": format!("FROM {BASE}\nCOPY main.sh ./\nCMD [\"sh\", \"main.sh\"]\n") },
        { "name": "main.sh", "format": "TEXT", "content": script },
    ]);
    let version =
        json!({ "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "buildTag": "latest", "sourceFiles": files });
    let actor = server.post("actors", &json!({ "name": name, "versions": [version] }))?;
    let actor = actor["data"]["id"].as_str().context("no Actor")?.to_owned();
    let build = server.post(&format!("actors/{actor}/builds?version=0.0&waitForFinish=60"), &json!(null))?;
    anyhow::ensure!(build["data"]["status"] == "SUCCEEDED", "the build failed: {build}");
    Ok(actor)
}
