//! Lists and starts beside a lot that is stored: a million runs, ten thousand Actors, a hundred thousand schedules.

use std::time::Instant;

use super::p50_p90;
use super::server::Server;

const ACTORS: usize = 10_000;
const DEFAULT_RUNS: usize = 1_000_000;
/// As the filler makes.
const SCHEDULES: usize = 100_000;
const CALLS: usize = 50;

/// Fills a directory straight through the store, and measures a server on it against one that is empty.
pub fn measure() -> anyhow::Result<()> {
    let runs = super::load::number_of("PLAYHOUSE_BENCH_RUNS", DEFAULT_RUNS)?;
    crate::run(crate::cargo(["build", "--release", "--workspace", "--example", "fill"]))?;
    let (server, empty) = (Server::start()?, Server::start()?);
    let user = server.get("users/me")?["data"]["id"].as_str().unwrap_or_default().to_owned();
    let server = server.restart_after(|data| {
        let mut fill = std::process::Command::new(crate::root().join("target/release/examples/fill"));
        fill.arg(data).args([&user, &ACTORS.to_string(), &runs.to_string()]);
        crate::run(fill)
    })?;

    let newest = server.get("actor-runs?desc=1&limit=1")?;
    let actor = newest["data"]["items"][0]["actId"].as_str().unwrap_or_default().to_owned();
    let half = runs / 2;
    for path in [
        "actor-runs?limit=1000".to_owned(),
        "actor-runs?limit=1000&desc=1".to_owned(),
        "actor-runs?limit=1000&desc=1&status=FAILED".to_owned(),
        "actor-runs?limit=1000&desc=1&status=RUNNING,READY".to_owned(),
        format!("actor-runs?limit=1000&offset={half}"),
        format!("actor-runs?limit=1000&offset={half}&desc=1"),
        format!("actor-runs?limit=1000&offset={}", runs - 1000),
        format!("actor-runs?limit=1000&offset={}&status=FAILED", runs / 40),
        format!("actor-runs?limit=1000&offset={half}&startedAfter=2020-01-01T00:00:00Z&desc=1"),
        format!("actor-runs?limit=100&offset={half}"),
        "actor-runs?limit=1000&startedAfter=2020-01-01T00:00:00Z".to_owned(),
        format!("actors/{actor}/runs?limit=1000&desc=1"),
        "actors?limit=1000&my=1".to_owned(),
        "actors?limit=1000".to_owned(),
        "actors?limit=1000&my=1&sortBy=stats.lastRunStartedAt&desc=1".to_owned(),
        format!("actors?limit=1000&my=1&offset={}", ACTORS - 1000),
        "actor-builds?limit=1000".to_owned(),
        "schedules?limit=1000".to_owned(),
        format!("schedules?limit=1000&offset={}", SCHEDULES / 2),
        format!("schedules?limit=1000&desc=1&offset={}", SCHEDULES - 1000),
        "actor-tasks?limit=1000".to_owned(),
        "webhooks?limit=1000".to_owned(),
        "datasets?limit=1000&unnamed=1".to_owned(),
        format!("datasets?limit=1000&unnamed=1&offset={}", runs / 20),
        "store?limit=1000".to_owned(),
        "store?search=crawler&limit=100".to_owned(),
    ] {
        let mut samples = Vec::new();
        let mut items = 0;
        for _ in 0..CALLS {
            let started = Instant::now();
            let body = server.bytes(&path)?;
            samples.push(started.elapsed().as_secs_f64() * 1000.0);
            if items == 0 {
                let list: serde_json::Value = serde_json::from_slice(&body)?;
                items = list["data"]["items"].as_array().map_or(0, Vec::len);
            }
        }
        let (p50, p90) = p50_p90(&mut samples);
        println!("GET {path} ({items} items): p50 {p50:.1} ms, p90 {p90:.1} ms");
    }

    let (full, empty, ratio) = super::run_start::compare(&server, &empty)?;
    println!("start of a run: p50 {full:.1} ms, on an empty server at the same time {empty:.1} ms, x {ratio:.2}");
    Ok(())
}
