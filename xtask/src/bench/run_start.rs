//! How much of our own time passes between a start request and the Actor's command.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::json;

use super::p50_p90;
use super::server::Server;

const RUNS: usize = 50;

/// Prints it. The command prints the time at which it runs, so the figure includes the start of `date` itself, about a millisecond.
pub fn measure() -> anyhow::Result<()> {
    let server = Server::start()?;
    let clock = Clock::on(&server)?;
    let mut samples = (0..RUNS).map(|_| clock.start()).collect::<anyhow::Result<Vec<_>>>()?;
    let (p50, p90) = p50_p90(&mut samples);
    println!("start request to the Actor's command: p50 {p50:.1} ms, p90 {p90:.1} ms ({RUNS} runs, process driver)");
    Ok(())
}

/// How many times as long a start takes on one server as on another: they take turns, since a machine is not always as fast.
/// Milliseconds of both come first.
pub fn compare(server: &Server, with: &Server) -> anyhow::Result<(f64, f64, f64)> {
    let (clock, other) = (Clock::on(server)?, Clock::on(with)?);
    let (mut times, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (other, time) = (other.start()?, clock.start()?);
        ratios.push(time / other);
        times.push(time);
        others.push(other);
    }
    Ok((p50_p90(&mut times).0, p50_p90(&mut others).0, p50_p90(&mut ratios).0))
}

/// An Actor that tells what time it is.
struct Clock<'a> {
    server: &'a Server,
    actor: String,
}

impl<'a> Clock<'a> {
    fn on(server: &'a Server) -> anyhow::Result<Self> {
        let files = json!([
            { "name": ".actor/actor.json", "format": "TEXT", "content": r#"{"actorSpecification":1,"name":"clock","version":"0.0"}"# },
            { "name": "Dockerfile", "format": "TEXT", "content": "FROM node:20\nCMD [\"date\", \"+started at %s.%N\"]\n" },
        ]);
        let version =
            json!({ "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "buildTag": "latest", "sourceFiles": files });
        let actor =
            server.post("actors", &json!({ "name": format!("clock-{}", now() as u64), "versions": [version] }))?;
        let actor = actor["data"]["id"].as_str().context("no Actor")?.to_owned();
        let build = server.post(&format!("actors/{actor}/builds?version=0.0&waitForFinish=60"), &json!(null))?;
        anyhow::ensure!(build["data"]["status"] == "SUCCEEDED", "the build failed: {build}");
        Ok(Self { server, actor })
    }

    /// Milliseconds from the request to its command.
    fn start(&self) -> anyhow::Result<f64> {
        let Self { server, actor } = self;
        let asked = now();
        let run = server.post(&format!("actors/{actor}/runs?memory=128&waitForFinish=60"), &json!({}))?;
        let id = run["data"]["id"].as_str().context("no run")?.to_owned();
        let request = server.agent.get(server.address(&format!("logs/{id}"))).header("authorization", server.bearer());
        let log = request.call()?.body_mut().read_to_string()?;
        let started =
            log.split("started at ").nth(1).and_then(|rest| rest.lines().next()).context("no start in the log")?;
        Ok((started.trim().parse::<f64>()? - asked) * 1000.0)
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
