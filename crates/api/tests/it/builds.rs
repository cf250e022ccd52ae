//! Builds (section 16 of the contract).

use serde_json::json;
use tokio::time::Instant;

use crate::harness::TestServer;
use crate::platform::{ACTOR, id, insist, secs};

#[tokio::test(start_paused = true)]
async fn a_build_is_started_waited_for_shown_and_listed() {
    let server = TestServer::start().await;
    server.put(&format!("{ACTOR}/versions/0.0")).json(json!({ "buildTag": "beta" })).await.expect(200);

    let started = server.post(&format!("{ACTOR}/builds?version=0.0&useCache=1")).await.expect(201);
    let build = started.data();
    let build_id = id(&build);
    assert!(started.header("location").ends_with(&format!("/v2/actor-builds/{build_id}")));
    insist(
        &build,
        &["id", "actId", "userId", "startedAt", "status", "meta.origin", "buildNumber", "options.memoryMbytes"],
    );
    assert_eq!((&build["buildNumber"], &build["options"]["useCache"]), (&json!("0.0.2"), &json!(true)));

    let done = server.get(&format!("/v2/actor-builds/{build_id}?waitForFinish=999999")).await.expect(200).data();
    assert_eq!(done["status"], "SUCCEEDED");
    insist(&done, &["finishedAt", "stats.durationMillis", "usageTotalUsd"]);
    let actor = server.get(ACTOR).await.expect(200).data();
    assert_eq!(actor["taggedBuilds"]["beta"]["buildId"], build_id.as_str());
    assert_ne!(actor["taggedBuilds"]["latest"]["buildId"], build_id.as_str());

    for url in [format!("{ACTOR}/builds"), "/v2/actor-builds".to_owned()] {
        let list = server.get(&format!("{url}?desc=1")).await.expect(200).data();
        assert_eq!(list["total"], 2);
        insist(
            &list["items"][0],
            &["id", "actId", "status", "startedAt", "usageTotalUsd", "buildNumber", "meta.origin"],
        );
        assert!(list["items"][0]["usageTotalUsd"].is_number());
    }
    let below = server.get(&format!("{ACTOR}/builds/{build_id}")).await.expect(200).data();
    assert_eq!(below["id"], build_id.as_str());
}

#[tokio::test(start_paused = true)]
async fn the_default_build_is_found_and_cannot_be_deleted() {
    let server = TestServer::start().await;
    let build = server.build().await;
    server.delete(&format!("/v2/actor-builds/{build}")).await.expect_error(400, "deleting-default-build");

    server.put(ACTOR).json(json!({ "defaultRunOptions": { "build": "0.0.1" } })).await.expect(200);
    assert_eq!(server.build().await, build);
    server.delete(&format!("/v2/actor-builds/{build}")).await.expect_error(400, "deleting-default-build");

    server.put(ACTOR).json(json!({ "defaultRunOptions": { "build": "nothing" } })).await.expect(200);
    server.get(&format!("{ACTOR}/builds/default")).await.expect_error(404, "record-not-found");
    server.delete(&format!("{ACTOR}/builds/{build}")).await.expect(204);
    server.get(&format!("/v2/actor-builds/{build}")).await.expect_error(404, "record-not-found");
    assert_eq!(server.get(ACTOR).await.expect(200).data()["taggedBuilds"], json!({}), "tags go with it");
}

#[tokio::test(start_paused = true)]
async fn a_build_under_way_is_aborted_and_then_deleted() {
    let server = TestServer::start().await;
    server.engine.driver.hold_builds();
    let build = id(&server.post(&format!("{ACTOR}/builds?version=0.0&tag=next")).await.expect(201).data());
    let url = format!("/v2/actor-builds/{build}");
    server.delete(&url).await.expect_error(400, "deleting-unfinished-build");

    server.post(&format!("{url}/abort")).await.expect(200);
    let aborted = server.get(&format!("{url}?waitForFinish=60")).await.expect(200).data();
    assert_eq!(aborted["status"], "ABORTED");
    let again = server.post(&format!("{ACTOR}/builds/{build}/abort")).await.expect(200).data();
    assert_eq!(again, aborted, "a finished build is left alone");

    server.delete(&url).await.expect(204);
    server.delete(&url).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_cannot_be_is_refused() {
    let server = TestServer::start().await;
    let url = format!("{ACTOR}/builds");

    server.post(&url).await.expect_error(400, "parameter-required");
    server.post(&format!("{url}?version=0.7")).await.expect_error(404, "record-not-found");
    server.post(&format!("{url}?version=0.0&tag=1.2.3")).await.expect_error(400, "invalid-value");
    server.post(&format!("{url}?version=0.0&useCache=x")).await.expect_error(400, "invalid-request");
    server.post(&format!("{url}?version=0.0")).anonymous().await.expect_error(401, "token-not-provided");
    assert_eq!(server.get(&url).await.expect(200).data()["total"], 1);
    for unknown in ["x", "aB3aB3aB3aB3aB3aB"] {
        for path in ["", "/log", "/openapi.json"] {
            server.get(&format!("/v2/actor-builds/{unknown}{path}")).await.expect_error(404, "record-not-found");
            server.get(&format!("{url}/{unknown}{path}")).await.expect_error(404, "record-not-found");
        }
        server.post(&format!("/v2/actor-builds/{unknown}/abort")).await.expect_error(404, "record-not-found");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_build_ends_with_it_and_no_later_than_a_minute() {
    let server = TestServer::start().await;
    server.engine.driver.hold_builds();
    let start = Instant::now();
    let build = server.post(&format!("{ACTOR}/builds?version=0.0&waitForFinish=2")).await.expect(201).data();
    assert_eq!((&build["status"] != "SUCCEEDED", start.elapsed().as_secs()), (true, 2));

    let url = format!("/v2/actor-builds/{}?waitForFinish=999", id(&build));
    let start = Instant::now();
    server.get(&url).await.expect(200);
    assert_eq!(start.elapsed().as_secs(), 60);

    let start = Instant::now();
    let finish = async {
        tokio::time::sleep(secs(7)).await;
        server.engine.driver.finish(&id(&build), server.engine.driver.exited(0));
    };
    let (done, ()) = tokio::join!(async { server.get(&url).await.expect(200).data() }, finish);
    assert_eq!((&done["status"], start.elapsed().as_secs()), (&json!("SUCCEEDED"), 7));
}

#[tokio::test(start_paused = true)]
async fn builds_are_read_without_a_token_unless_they_are_restricted() {
    let server = TestServer::start().await;
    let build = server.build().await;
    let actor = id(&server.get(ACTOR).await.expect(200).data());
    let urls = [
        format!("/v2/actor-builds/{build}"),
        format!("/v2/actors/{actor}/builds/{build}"),
        format!("/v2/actors/{actor}/builds/default"),
    ];

    for url in &urls {
        let seen = server.get(url).anonymous().await.expect(200).data();
        insist(&seen, &["id", "actId", "userId", "startedAt", "status", "meta.origin", "buildNumber"]);
        for hidden in ["usageUsd", "usageTotalUsd", "usage"] {
            assert_eq!(seen.get(hidden), None);
        }
        server.get(&format!("{url}/openapi.json")).anonymous().await.expect(200);
    }
    server.get(&format!("{ACTOR}/builds/default")).anonymous().await.expect_error(401, "token-not-provided");
    server.get("/v2/actor-builds").anonymous().await.expect_error(401, "token-not-provided");
    server.get(&format!("/v2/actor-builds/{build}")).token("wrong").await.expect_error(401, "user-or-token-not-found");

    let change = Box::new(|build: &mut model::Build, _: Option<&mut model::Actor>| {
        build.general_access = model::GeneralAccess::Restricted;
        true
    });
    server.engine.engine.store().builds.modify(&model::BuildId::parse(&build).unwrap(), change).await.unwrap();
    let bob = server.given_user("bob").await;
    for url in &urls {
        server.get(url).anonymous().await.expect_error(404, "record-or-token-not-found");
        server.get(url).token(&bob).await.expect_error(404, "record-not-found");
        server.get(url).await.expect(200);
    }
    server.given_public_actor().await;
    server.get(&urls[0]).anonymous().await.expect(200);
    server.get(&format!("/v2/logs/{build}")).anonymous().await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn a_build_has_an_openapi_document_of_its_actor() {
    let server = TestServer::start().await;
    let build = server.build().await;
    let schema = r#"{"title":"T","type":"object","schemaVersion":1,"properties":{"url":{"type":"string","title":"U","editor":"textfield"}}}"#;
    let change = Box::new(move |build: &mut model::Build, _: Option<&mut model::Actor>| {
        build.input_schema = Some(schema.to_owned());
        true
    });
    server.engine.engine.store().builds.modify(&model::BuildId::parse(&build).unwrap(), change).await.unwrap();

    let document = server.get(&format!("/v2/actor-builds/{build}/openapi.json")).await.expect(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "no envelope");
    assert_eq!(document["info"]["x-build-id"], build.as_str());
    assert!(document["servers"][0]["url"].as_str().unwrap().ends_with("/v2"));
    for verb in ["run-sync-get-dataset-items", "runs", "run-sync"] {
        let path = document["paths"][format!("/acts/ada~my-actor/{verb}")].as_object().unwrap();
        assert_eq!(path.keys().collect::<Vec<_>>(), ["post"]);
        insist(&path["post"], &["operationId", "summary", "tags", "requestBody", "parameters", "responses.200"]);
        assert_eq!(path["post"]["x-openai-isConsequential"], false);
    }
    let input = &document["components"]["schemas"]["inputSchema"];
    assert_eq!(
        (&input["properties"]["url"]["type"], input["properties"]["url"].get("editor")),
        (&json!("string"), None)
    );
}
