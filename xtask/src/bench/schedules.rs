//! Many schedules: pages of their list, and many that are due at once.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::load::scatter;
use super::p50_p90;
use super::server::Server;

const STORED: usize = 100_000;
const PAGES: usize = 200;
const DUE: usize = 1_000;

/// Pages of 100,000 schedules anywhere in their list, then the invocation of 1,000 that are due at the same second.
pub fn measure() -> anyhow::Result<()> {
    let server = Server::start()?;
    for number in 0..STORED {
        let body = json!({ "name": format!("stored-{number}"), "cronExpression": "0 3 * * *", "isEnabled": true });
        server.post("schedules", &body)?;
    }
    for limit in [10, 1000] {
        let mut samples = Vec::new();
        for number in 0..PAGES {
            let offset = scatter(number as u64 + 1) as usize % STORED;
            let started = Instant::now();
            server.bytes(&format!("schedules?limit={limit}&offset={offset}"))?;
            samples.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        let (p50, p90) = p50_p90(&mut samples);
        println!("page of {limit} of {STORED} schedules, at any offset: p50 {p50:.1} ms, p90 {p90:.1} ms");
    }

    let actor = server.post("actors", &json!({ "name": "nothing", "versions": [version()] }))?;
    let actor = actor["data"]["id"].as_str().context("no Actor")?.to_owned();
    let build = server.post(&format!("actors/{actor}/builds?version=0.0&waitForFinish=60"), &json!(null))?;
    anyhow::ensure!(build["data"]["status"] == "SUCCEEDED", "the build failed: {build}");
    let action = json!({ "type": "RUN_ACTOR", "actorId": actor, "runOptions": { "memoryMbytes": 128 } });
    for _ in 0..DUE {
        let body = json!({ "cronExpression": "0 * * * * *", "isEnabled": true, "actions": [action] });
        server.post("schedules", &body)?;
    }
    // The first minute may find some of them; those of the second find all.
    let runs = loop {
        std::thread::sleep(Duration::from_secs(1));
        let mut runs = server.get("actor-runs?desc=1&limit=1000")?["data"]["items"].take();
        let runs = std::mem::take(runs.as_array_mut().context("no runs")?);
        let ticks = runs.iter().map(|run| &run["meta"]["scheduledAt"]);
        if runs.len() == DUE && ticks.clone().all(|tick| *tick == runs[0]["meta"]["scheduledAt"]) {
            break runs;
        }
    };
    let millis = |text: &Value| -> anyhow::Result<f64> {
        let (minutes, seconds) = text.as_str().and_then(|text| text.split_at_checked(17)).context("no time")?;
        let minute: f64 = minutes.get(14..16).context("no minute")?.parse()?;
        Ok((minute * 60.0 + seconds.trim_end_matches('Z').parse::<f64>()?) * 1000.0)
    };
    let mut late = Vec::new();
    for run in &runs {
        late.push(millis(&run["startedAt"])? - millis(&run["meta"]["scheduledAt"])?);
    }
    let (p50, _) = p50_p90(&mut late);
    let last = late.last().copied().unwrap_or_default();
    println!("{DUE} schedules due at once: half of their runs made after {p50:.0} ms, the last after {last:.0} ms");
    Ok(())
}

fn version() -> Value {
    let files = json!([{ "name": "Dockerfile", "format": "TEXT", "content": "FROM node:20\nCMD [\"true\"]\n" }]);
    json!({ "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "buildTag": "latest", "sourceFiles": files })
}
