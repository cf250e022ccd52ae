//! What the official CLI asks for, call by call (section 29 of the contract).

use serde_json::json;

use crate::harness::{Ask, TestServer};
use crate::platform::{id, secs};

fn cli(ask: Ask<'_>) -> Ask<'_> {
    ask.header("x-apify-request-origin", "CLI")
}

#[tokio::test(start_paused = true)]
async fn apify_push_creates_and_then_updates_an_actor() {
    let server = TestServer::start().await;

    let me = cli(server.get("/v2/users/me")).await.expect(200).data();
    let name = format!("{}~pushed", me["username"].as_str().unwrap());
    cli(server.get(&format!("/v2/actors/{name}"))).await.expect_error(404, "record-not-found");
    let body = json!({
        "name": "pushed",
        "title": "Pushed",
        "description": "From the CLI",
        "defaultRunOptions": { "build": "latest", "memoryMbytes": 4096, "timeoutSecs": 3600 },
        "versions": [{ "versionNumber": "0.0", "buildTag": "latest", "sourceType": "SOURCE_FILES", "sourceFiles": [] }],
    });
    let actor = cli(server.post("/v2/actors")).json(body).await.expect(201).data();
    let url = format!("/v2/actors/{}", id(&actor));

    for round in 1..=2 {
        let before = cli(server.get(&url)).await.expect(200).data();
        cli(server.get(&format!("{url}/versions/0.0"))).await.expect(200);
        tokio::time::sleep(secs(1)).await;
        let definition = r#"{ "actorSpecification": 1, "name": "pushed", "version": "0.0" }"#;
        let patch = json!({
            "sourceType": "SOURCE_FILES",
            "buildTag": "latest",
            "sourceFiles": [
                { "name": ".actor/actor.json", "format": "TEXT", "content": definition },
                { "name": "Dockerfile", "format": "TEXT", "content": "FROM apify/actor-node:22\nCOPY . ./\n" },
                { "name": "main.js", "format": "TEXT", "content": format!("// {round}") },
            ],
            "envVars": [{ "name": "A", "value": "1" }],
        });
        let version = cli(server.put(&format!("{url}/versions/0.0"))).json(patch).await.expect(200).data();
        assert_eq!(version["sourceFiles"].as_array().map(Vec::len), Some(3));
        let pushed = cli(server.get(&url)).await.expect(200).data();
        assert_ne!(pushed["modifiedAt"], before["modifiedAt"]);

        let build =
            cli(server.post(&format!("{url}/builds?version=0.0&useCache=1&waitForFinish=2"))).await.expect(201).data();
        let build_id = id(&build);
        assert_eq!((&build["buildNumber"], &build["meta"]["origin"]), (&json!(format!("0.0.{round}")), &json!("CLI")));
        let log = cli(server.get(&format!("/v2/logs/{build_id}?stream=1"))).await.expect(200);
        assert!(!log.text().is_empty());
        let build = cli(server.get(&format!("/v2/actor-builds/{build_id}"))).await.expect(200).data();
        assert_eq!((&build["status"], &build["actId"]), (&json!("SUCCEEDED"), &actor["id"]), "{}", log.text());
        let after = cli(server.get(&url)).await.expect(200).data();
        assert_eq!(after["taggedBuilds"]["latest"]["buildId"], build_id.as_str());
        assert_eq!(after["modifiedAt"], pushed["modifiedAt"], "a build does not touch it");
    }
}

#[tokio::test(start_paused = true)]
async fn apify_call_finds_its_actor_by_a_bare_name_and_follows_the_run() {
    let server = TestServer::start().await;

    server.get("/v2/actors/unknown").await.expect_error(404, "record-not-found");
    let actor = server.get("/v2/actors/my-actor").await.expect(200).data();
    let url = format!("/v2/actors/{}/runs?waitForFinish=2&memory=1024&timeout=60", id(&actor));
    let run = server.post(&url).json(json!({ "q": 1 })).await.expect(201).data();
    assert!(run["buildNumber"].is_string(), "split by dots");
    let run = id(&run);
    let finish = async {
        tokio::time::sleep(secs(1)).await;
        server.end(&run, 7).await;
    };
    let stream = format!("/v2/logs/{run}?stream=1");
    let (log, ()) = tokio::join!(async { server.get(&stream).await.expect(200) }, finish);
    assert!(log.broken.is_none());
    let run = server.get(&format!("/v2/actor-runs/{run}")).await.expect(200).data();
    assert_eq!((&run["status"], &run["exitCode"]), (&json!("FAILED"), &json!(7)));
}
