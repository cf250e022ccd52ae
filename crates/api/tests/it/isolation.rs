//! Two users on one server: what one has, the other neither sees nor changes (`AUTH-5`, `LIST-7`).

use engine::EngineConfig;
use model::GeneralAccess;
use serde_json::json;

use crate::harness::TestServer;
use crate::platform::{ACTOR, id};

async fn restricted() -> TestServer {
    TestServer::start_with(EngineConfig { run_access: GeneralAccess::Restricted, ..EngineConfig::default() }).await
}

/// Operations on what a private Actor of ada's has; each is answered to others as if there were none.
const HIDDEN: &[(&str, &str)] = &[
    ("GET", "/v2/actors/{actor}"),
    ("GET", "/v2/actors/ada~my-actor"),
    ("PUT", "/v2/actors/{actor}"),
    ("DELETE", "/v2/actors/{actor}"),
    ("POST", "/v2/actors/{actor}/validate-input"),
    ("GET", "/v2/actors/{actor}/versions"),
    ("POST", "/v2/actors/{actor}/versions"),
    ("GET", "/v2/actors/{actor}/versions/0.0"),
    ("PUT", "/v2/actors/{actor}/versions/0.0"),
    ("DELETE", "/v2/actors/{actor}/versions/0.0"),
    ("GET", "/v2/actors/{actor}/versions/0.0/env-vars"),
    ("POST", "/v2/actors/{actor}/versions/0.0/env-vars"),
    ("GET", "/v2/actors/{actor}/versions/0.0/env-vars/A"),
    ("PUT", "/v2/actors/{actor}/versions/0.0/env-vars/A"),
    ("DELETE", "/v2/actors/{actor}/versions/0.0/env-vars/A"),
    ("GET", "/v2/actors/{actor}/builds"),
    ("POST", "/v2/actors/{actor}/builds?version=0.0"),
    ("GET", "/v2/actors/{actor}/builds/default"),
    ("GET", "/v2/actors/{actor}/builds/{build}"),
    ("POST", "/v2/actors/{actor}/builds/{build}/abort"),
    ("GET", "/v2/actor-builds/{build}"),
    ("GET", "/v2/actor-builds/{build}/log"),
    ("GET", "/v2/actor-builds/{build}/openapi.json"),
    ("POST", "/v2/actor-builds/{build}/abort"),
    ("DELETE", "/v2/actor-builds/{build}"),
    ("GET", "/v2/actors/{actor}/runs"),
    ("POST", "/v2/actors/{actor}/runs"),
    ("POST", "/v2/actors/{actor}/run-sync"),
    ("POST", "/v2/actors/{actor}/run-sync-get-dataset-items"),
    ("GET", "/v2/actors/{actor}/runs/last"),
    ("GET", "/v2/actors/{actor}/runs/last/log"),
    ("GET", "/v2/actors/{actor}/runs/last/dataset/items"),
    ("POST", "/v2/actors/{actor}/runs/last/abort"),
    ("GET", "/v2/actors/{actor}/runs/{run}"),
    ("GET", "/v2/actor-runs/{run}"),
    ("PUT", "/v2/actor-runs/{run}"),
    ("DELETE", "/v2/actor-runs/{run}"),
    ("GET", "/v2/actor-runs/{run}/log"),
    ("GET", "/v2/logs/{run}"),
    ("GET", "/v2/logs/{build}"),
    ("GET", "/v2/actor-runs/{run}/dataset"),
    ("GET", "/v2/actor-runs/{run}/key-value-store/records/INPUT"),
    ("POST", "/v2/actor-runs/{run}/request-queue/requests"),
    ("POST", "/v2/actor-runs/{run}/abort"),
    ("POST", "/v2/actor-runs/{run}/reboot"),
    ("POST", "/v2/actor-runs/{run}/resurrect"),
    ("POST", "/v2/actor-runs/{run}/charge"),
    ("POST", "/v2/actor-runs/{run}/metamorph?targetActorId=ada~my-actor"),
];

#[tokio::test(start_paused = true)]
async fn a_private_actor_its_builds_and_runs_are_not_there_for_others() {
    let server = restricted().await;
    let bob = server.given_user("bob").await;
    let run = server.given_running().await;
    let (actor, build) = (server.engine.actor.id.to_string(), server.build().await);
    let before = server.get(&format!("/v2/actor-runs/{run}")).await.expect(200).data();

    for (method, path) in HIDDEN {
        let path = path.replace("{actor}", &actor).replace("{build}", &build).replace("{run}", &run);
        let body =
            json!({ "name": "A", "versionNumber": "0.1", "eventName": "e", "url": "http://a", "uniqueKey": "a" });
        let ask = server.ask(method.parse().unwrap(), &path).token(&bob).header("idempotency-key", "a");

        let reply = if *method == "GET" { ask.await } else { ask.json(body).await };

        let kind = reply.json()["error"]["type"].clone();
        assert_eq!((reply.status.as_u16(), &kind), (404, &json!("record-not-found")), "{method} {path}");
    }

    let after = server.get(&format!("/v2/actor-runs/{run}")).await.expect(200).data();
    assert_eq!(
        (&after["status"], &after["statusMessage"], &after["stats"]["rebootCount"]),
        (&before["status"], &before["statusMessage"], &json!(0))
    );
    server.get(ACTOR).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn lists_and_figures_are_each_users_own() {
    let server = restricted().await;
    let bob = server.given_user("bob").await;
    server.given_finished().await;
    server.post("/v2/datasets?name=mine").await.expect(201);
    let lists = [
        "/v2/actors",
        "/v2/actors?my=1",
        "/v2/actor-runs",
        "/v2/actor-builds",
        "/v2/datasets?unnamed=1",
        "/v2/key-value-stores?unnamed=1",
        "/v2/request-queues?unnamed=1",
    ];

    for list in lists {
        assert_eq!(server.get(list).token(&bob).await.expect(200).data()["total"], 0, "{list}");
        assert_ne!(server.get(list).await.expect(200).data()["total"], 0, "{list}");
    }
    let me = server.get("/v2/users/me").token(&bob).await.expect(200).data();
    assert_eq!(me["username"], "bob");
    let limits = server.get("/v2/users/me/limits").token(&bob).await.expect(200).data();
    assert_eq!((&limits["current"]["actorCount"], &limits["current"]["monthlyUsageUsd"]), (&json!(0), &json!(0.0)));
    let usage = server.get("/v2/users/me/usage/monthly").token(&bob).await.expect(200).data();
    assert_eq!(usage["dailyServiceUsages"], json!([]));

    // The same names are free for others.
    server.post("/v2/datasets?name=mine").token(&bob).await.expect(201);
    server.post("/v2/actors").token(&bob).json(json!({ "name": "my-actor" })).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn a_public_actor_is_run_by_others_as_their_own_and_changed_by_its_owner_only() {
    let server = restricted().await;
    let bob = server.given_user("bob").await;
    server.given_public_actor().await;

    for (method, path) in [("PUT", ""), ("DELETE", ""), ("GET", "/versions"), ("POST", "/builds?version=0.0")] {
        let ask = server.ask(method.parse().unwrap(), &format!("{ACTOR}{path}")).token(&bob);
        ask.json(json!({})).await.expect_error(403, "insufficient-permissions");
    }
    server.get(ACTOR).token(&bob).await.expect(200);

    let run = server.post(&format!("{ACTOR}/runs")).token(&bob).await.expect(201).data();
    let items = format!("/v2/datasets/{}/items", run["defaultDatasetId"].as_str().unwrap());
    server.post(&items).token(&bob).json(json!([{}])).await.expect(201);

    server.get(&format!("/v2/actor-runs/{}", id(&run))).await.expect_error(404, "record-not-found");
    server.get(&items).await.expect_error(403, "insufficient-permissions");
    assert_eq!(server.get(&format!("{ACTOR}/runs")).await.expect(200).data()["total"], 0);
    assert_eq!(server.get(&format!("{ACTOR}/runs")).token(&bob).await.expect(200).data()["total"], 1);
    assert_eq!(server.get("/v2/actors").token(&bob).await.expect(200).data()["items"][0]["name"], "my-actor", "LIST-6");
}
