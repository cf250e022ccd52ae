//! What a request to an Actor on Standby costs beyond asking the Actor's web server itself.

use std::time::Instant;

use anyhow::Context as _;
use serde_json::json;

use super::p50_p90;
use super::server::Server;

const REQUESTS: usize = 5_000;

/// The Actor tells its port, so that it can be asked directly, too.
const ACTOR: &str = "const port = process.env.ACTOR_WEB_SERVER_PORT;\n\
    require('http').createServer((request, response) => response.end(port)).listen(port);\n";

pub fn measure() -> anyhow::Result<()> {
    let server = Server::start()?;
    let files = json!([
        { "name": ".actor/actor.json", "format": "TEXT", "content": r#"{"actorSpecification":1,"name":"echo","version":"0.0"}"# },
        { "name": "Dockerfile", "format": "TEXT", "content": "FROM node:20\nCOPY server.js ./\nCMD [\"node\", \"server.js\"]\n" },
        { "name": "server.js", "format": "TEXT", "content": ACTOR },
    ]);
    let version =
        json!({ "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "buildTag": "latest", "sourceFiles": files });
    let standby = json!({ "isEnabled": true, "memoryMbytes": 4096 });
    let actor = server.post("actors", &json!({ "name": "echo", "versions": [version], "actorStandby": standby }))?;
    let id = actor["data"]["id"].as_str().context("no Actor")?;
    let url = actor["data"]["standbyUrl"].as_str().context("no Standby")?.to_owned();
    let build = server.post(&format!("actors/{id}/builds?version=0.0&waitForFinish=60"), &json!(null))?;
    anyhow::ensure!(build["data"]["status"] == "SUCCEEDED", "the build failed: {build}");

    let ask = |url: &str| -> anyhow::Result<String> {
        let request = server.agent.get(url).header("authorization", server.bearer());
        Ok(request.call()?.body_mut().read_to_string()?)
    };
    let asked = Instant::now();
    let port = ask(&url)?;
    println!("standby, cold: {:.0} ms from the request to the answer of a run in Node", millis(asked));
    let sample = |url: &str| -> anyhow::Result<Vec<f64>> {
        (0..REQUESTS)
            .map(|_| {
                let asked = Instant::now();
                ask(url)?;
                Ok(millis(asked))
            })
            .collect()
    };
    let direct = format!("http://127.0.0.1:{port}/");
    sample(&direct)?;
    let (own_p50, own_p90) = p50_p90(&mut sample(&direct)?);
    sample(&url)?;
    let cpu = server.cpu_seconds()?;
    let (p50, p90) = p50_p90(&mut sample(&url)?);
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let cpu = (server.cpu_seconds()? - cpu) * 1e6 / REQUESTS as f64;
    println!(
        "standby, warm: p50 {p50:.3} ms, p90 {p90:.3} ms; the Actor asked directly: p50 {own_p50:.3} ms, p90 {own_p90:.3} ms; \
         {cpu:.0} µs of CPU a request ({REQUESTS} requests, one after the other)"
    );
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
