//! How much of our own time passes between a start request and the Actor's command.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::json;

use super::p50_p90;
use super::server::Server;

const RUNS: usize = 50;

/// Prints it. The command prints the time at which it runs, so the figure includes the start of `date` itself, about a millisecond.
pub fn measure() -> anyhow::Result<()> {
    let mut samples = samples(&Server::start()?)?;
    let (p50, p90) = p50_p90(&mut samples);
    println!("start request to the Actor's command: p50 {p50:.1} ms, p90 {p90:.1} ms ({RUNS} runs, process driver)");
    Ok(())
}

/// How many milliseconds each start takes on this server.
pub fn samples(server: &Server) -> anyhow::Result<Vec<f64>> {
    let files = json!([
        { "name": ".actor/actor.json", "format": "TEXT", "content": r#"{"actorSpecification":1,"name":"clock","version":"0.0"}"# },
        { "name": "Dockerfile", "format": "TEXT", "content": "FROM node:20\nCMD [\"date\", \"+started at %s.%N\"]\n" },
    ]);
    let version =
        json!({ "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "buildTag": "latest", "sourceFiles": files });
    let actor = server.post("actors", &json!({ "name": format!("clock-{}", now() as u64), "versions": [version] }))?;
    let actor = actor["data"]["id"].as_str().context("no Actor")?.to_owned();
    let build = server.post(&format!("actors/{actor}/builds?version=0.0&waitForFinish=60"), &json!(null))?;
    anyhow::ensure!(build["data"]["status"] == "SUCCEEDED", "the build failed: {build}");

    let mut samples = Vec::new();
    for _ in 0..RUNS {
        let asked = now();
        let run = server.post(&format!("actors/{actor}/runs?memory=128&waitForFinish=60"), &json!({}))?;
        let id = run["data"]["id"].as_str().context("no run")?.to_owned();
        let request = server.agent.get(server.address(&format!("logs/{id}"))).header("authorization", server.bearer());
        let log = request.call()?.body_mut().read_to_string()?;
        let started =
            log.split("started at ").nth(1).and_then(|rest| rest.lines().next()).context("no start in the log")?;
        samples.push((started.trim().parse::<f64>()? - asked) * 1000.0);
    }
    Ok(samples)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
