//! Actors (section 14 of the contract) and their lists (section 6).

use serde_json::json;

use crate::harness::TestServer;
use crate::platform::{ACTOR, id, insist, secs};

#[tokio::test(start_paused = true)]
async fn an_actor_is_created_found_in_every_way_changed_and_deleted() {
    let server = TestServer::start().await;

    let created = server.post("/v2/actors").json(json!({ "name": "New-Actor", "title": "New" })).await.expect(201);
    let actor = created.data();
    assert_eq!(created.header("location").rsplit('/').next(), actor["id"].as_str());
    insist(
        &actor,
        &[
            "id",
            "userId",
            "name",
            "username",
            "isPublic",
            "createdAt",
            "modifiedAt",
            "stats",
            "versions",
            "taggedBuilds",
        ],
    );
    insist(&actor, &["defaultRunOptions.build", "defaultRunOptions.timeoutSecs", "defaultRunOptions.memoryMbytes"]);
    insist(&actor, &["deploymentKey", "pricingInfos", "stats.totalRuns", "stats.totalBuilds"]);
    assert_eq!((&actor["actorPermissionLevel"], &actor["isPublic"]), (&json!("LIMITED_PERMISSIONS"), &json!(false)));

    let (actor_id, user_id) = (id(&actor), actor["userId"].as_str().unwrap());
    for reference in [
        actor_id.clone(),
        "ada~New-Actor".to_owned(),
        "ADA~new-actor".to_owned(),
        "ada%7Enew-actor".to_owned(),
        "~new-actor".to_owned(),
        format!("{user_id}~new-actor"),
        "new-actor".to_owned(),
    ] {
        let found = server.get(&format!("/v2/acts/{reference}")).await.expect(200).data();
        assert_eq!(id(&found), actor_id, "{reference}");
    }

    let body = json!({ "name": "renamed", "title": null, "defaultRunOptions": { "memoryMbytes": 256 } });
    let changed = server.put(&format!("/v2/actors/{actor_id}")).json(body).await.expect(200).data();
    assert_eq!((&changed["name"], changed.get("title")), (&json!("renamed"), None));
    assert_eq!(changed["defaultRunOptions"], json!({ "build": "latest", "timeoutSecs": 3600, "memoryMbytes": 256 }));

    server.delete(&format!("/v2/actors/{actor_id}")).await.expect(204);
    server.get("/v2/actors/~renamed").await.expect_error(404, "record-not-found");
    server.delete(&format!("/v2/actors/{actor_id}")).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_an_actor_is_refused() {
    let server = TestServer::start().await;

    server.post("/v2/actors").json(json!({ "name": "MY-ACTOR" })).await.expect_error(409, "actor-name-not-unique");
    server.post("/v2/actors").json(json!({})).await.expect_error(400, "invalid-request");
    server.post("/v2/actors").json(json!({ "name": "a b" })).await.expect_error(400, "invalid-value");
    server.post("/v2/actors").json(json!({ "name": 7 })).await.expect_error(400, "invalid-request");
    server.post("/v2/actors").json(json!([1])).await.expect_error(400, "invalid-request");
    server.post("/v2/actors").body("{").await.expect_error(400, "invalid-request");
    server.post("/v2/actors").await.expect_error(400, "invalid-request");
    server.post("/v2/actors").anonymous().json(json!({ "name": "abc" })).await.expect_error(401, "token-not-provided");
    server.put(ACTOR).json(json!({ "isPublic": true })).await.expect_error(403, "cannot-publish-actor");
    let standby = json!({ "actorStandby": { "desiredRequestsPerActorRun": 9 } });
    server.put(ACTOR).json(standby).await.expect_error(400, "invalid-value");
    let twice = json!({ "name": "twice", "versions": [
        { "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "sourceFiles": [] },
        { "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "sourceFiles": [] },
    ] });
    server.post("/v2/actors").json(twice).await.expect_error(400, "version-already-exists");

    server.post("/v2/actors").json(json!({ "name": "other" })).await.expect(201);
    server
        .put("/v2/actors/~other")
        .json(json!({ "name": "my-actor" }))
        .await
        .expect_error(409, "actor-name-not-unique");
    assert_eq!(server.get("/v2/actors?my=1").await.expect(200).data()["total"], 2, "nothing else was stored");
}

#[tokio::test(start_paused = true)]
async fn references_that_mean_no_actor_are_not_found() {
    let server = TestServer::start().await;

    for reference in ["nothing", "ada~nothing", "nobody~my-actor", "~nothing", "aB3aB3aB3aB3aB3aB", "a%2Fb", "x~y~z"] {
        server.get(&format!("/v2/actors/{reference}")).await.expect_error(404, "record-not-found");
    }
    for empty in ["~", "ada~"] {
        server.get(&format!("/v2/actors/{empty}")).await.expect_error(400, "invalid-request");
    }
    server.get(ACTOR).anonymous().await.expect_error(401, "token-not-provided");
}

#[tokio::test(start_paused = true)]
async fn only_a_change_of_content_moves_modified_at() {
    let server = TestServer::start().await;
    let build = server.build().await;
    let at = async || server.get(ACTOR).await.expect(200).data()["modifiedAt"].clone();
    let before = at().await;

    tokio::time::sleep(secs(60)).await;
    server.given_finished().await;
    server.put(ACTOR).json(json!({ "taggedBuilds": { "beta": { "buildId": build } } })).await.expect(200);
    server.put(ACTOR).json(json!({})).await.expect(200);
    server.put(ACTOR).json(json!({ "name": "my-actor" })).await.expect(200);
    assert_eq!(at().await, before);

    server.put(ACTOR).json(json!({ "title": "Changed" })).await.expect(200);
    let after = at().await;
    assert_ne!(after, before);

    tokio::time::sleep(secs(60)).await;
    server.put(&format!("{ACTOR}/versions/0.0")).json(json!({ "buildTag": "other" })).await.expect(200);
    assert_ne!(at().await, after);
}

#[tokio::test(start_paused = true)]
async fn tags_are_set_and_removed_one_by_one() {
    let server = TestServer::start().await;
    let build = server.build().await;

    let body = json!({ "taggedBuilds": { "beta": { "buildId": build } } });
    let tags = server.put(ACTOR).json(body).await.expect(200).data()["taggedBuilds"].clone();
    assert_eq!(tags["beta"]["buildId"], build.as_str());
    assert_eq!(tags["beta"]["buildNumberInt"], 1);
    assert_eq!(tags["latest"]["buildId"], build.as_str());

    let tags = server.put(ACTOR).json(json!({ "taggedBuilds": { "latest": null } })).await.expect(200).data();
    assert_eq!(tags["taggedBuilds"].get("latest"), None);
    assert_eq!(tags["taggedBuilds"]["beta"]["buildNumber"], "0.0.1");

    for unknown in ["aB3aB3aB3aB3aB3aB", "x"] {
        let body = json!({ "taggedBuilds": { "beta": { "buildId": unknown } } });
        server.put(ACTOR).json(body).await.expect_error(400, "invalid-build");
    }
}

#[tokio::test(start_paused = true)]
async fn others_see_public_actors_only() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let bob = bob.as_str();
    server.get(ACTOR).token(bob).await.expect_error(404, "record-not-found");
    server.post(&format!("{ACTOR}/runs")).token(bob).await.expect_error(404, "record-not-found");
    server.delete(ACTOR).token(bob).await.expect_error(404, "record-not-found");

    server.given_public_actor().await;
    let private = json!({
        "versionNumber": "9.9", "sourceType": "GIT_REPO", "gitRepoUrl": "https://ada:hush@git.example/a#main",
        "envVars": [{ "name": "A", "value": "hush" }, { "name": "B", "value": "hush", "isSecret": true }],
    });
    server.post(&format!("{ACTOR}/versions")).json(private).await.expect(201);

    let seen = server.get(ACTOR).token(bob).await.expect(200);
    assert!(!seen.text().contains("hush"), "neither variables nor credentials are for others");
    let seen = seen.data();
    assert_eq!(seen["versions"][0]["sourceFiles"], json!([]));
    assert_eq!(seen["versions"][1]["gitRepoUrl"], "https://*****@git.example/a#main");
    let run = server.post(&format!("{ACTOR}/runs")).token(bob).await.expect(201).data();
    assert_ne!(run["userId"], seen["userId"], "the run is its starter's");
    assert_eq!(server.get(&format!("{ACTOR}/runs/last")).token(bob).await.expect(200).data()["id"], run["id"]);
    assert_eq!(server.get(&format!("{ACTOR}/runs")).await.expect(200).data()["total"], 0, "not the owner's business");
    assert_eq!(server.get(&format!("{ACTOR}/builds")).token(bob).await.expect(200).data()["total"], 1);
    let used = server.get("/v2/actors").token(bob).await.expect(200).data();
    assert_eq!((&used["total"], &used["items"][0]["username"]), (&json!(1), &json!("ada")));
    assert_eq!(server.get("/v2/actors?my=1").token(bob).await.expect(200).data()["total"], 0);

    server.put(ACTOR).token(bob).json(json!({ "title": "X" })).await.expect_error(403, "insufficient-permissions");
    server.delete(ACTOR).token(bob).await.expect_error(403, "insufficient-permissions");
    server.get(&format!("{ACTOR}/versions")).token(bob).await.expect_error(403, "insufficient-permissions");

    server.put(ACTOR).json(json!({ "isSourceCodeHidden": true })).await.expect(200);
    let seen = server.get(ACTOR).token(bob).await.expect(200).data();
    assert_eq!(seen["versions"][0].get("sourceFiles"), None);
    insist(&server.get(ACTOR).await.expect(200).data()["versions"][0], &["sourceFiles"]);
}

#[tokio::test(start_paused = true)]
async fn lists_of_actors_are_paged_and_sorted() {
    let server = TestServer::start().await;
    for name in ["second", "third"] {
        tokio::time::sleep(secs(1)).await;
        server.post("/v2/actors").json(json!({ "name": name })).await.expect(201);
    }
    tokio::time::sleep(secs(1)).await;
    server.given_run().await;
    let names = async |query: &str| -> Vec<String> {
        let list = server.get(&format!("/v2/actors?{query}")).await.expect(200).data();
        insist(&list, &["total", "offset", "limit", "count", "desc", "items"]);
        assert_eq!(list["total"], 3, "{query}");
        list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(names("").await, ["my-actor", "second", "third"]);
    assert_eq!(names("desc=1&limit=2").await, ["third", "second"]);
    assert_eq!(names("offset=1&limit=1&my=true").await, ["second"]);
    assert_eq!(names("sortBy=stats.lastRunStartedAt&desc=1").await[0], "my-actor");
    assert_eq!(names("sortBy=stats.lastRunStartedAt").await[2], "my-actor", "never run counts as the oldest");
    assert_eq!(server.get("/v2/actors?limit=100000").await.expect(200).data()["limit"], 1000);
    server.get("/v2/actors?limit=-1").await.expect_error(400, "invalid-request");
    server.get("/v2/actors?sortBy=name").await.expect_error(400, "invalid-request");
}

#[tokio::test(start_paused = true)]
async fn an_input_is_validated_without_starting_anything() {
    let server = TestServer::start().await;
    let url = format!("{ACTOR}/validate-input");

    let valid = server.post(&url).json(json!({ "a": 1 })).await.expect(200);
    assert_eq!(valid.json(), json!({ "valid": true }), "no envelope, and no schema takes everything");
    server.post(&format!("{url}?build=nothing")).json(json!({})).await.expect_error(404, "record-not-found");
    server.post(&url).anonymous().await.expect_error(401, "token-not-provided");
    assert_eq!(server.get("/v2/actor-runs").await.expect(200).data()["total"], 0);
}
