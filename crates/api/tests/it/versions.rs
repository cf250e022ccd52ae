//! Versions and their variables (section 15 of the contract).

use serde_json::json;

use crate::harness::TestServer;
use crate::platform::{ACTOR, insist};

#[tokio::test(start_paused = true)]
async fn a_version_is_created_patched_listed_and_deleted() {
    let server = TestServer::start().await;
    let url = format!("{ACTOR}/versions");

    let body = json!({ "versionNumber": "0.1", "sourceType": "SOURCE_FILES", "sourceFiles": [
        { "name": "main.js", "format": "TEXT", "content": "1" },
        { "name": "logo.png", "format": "BASE64", "content": "AAAA" },
        { "name": "empty", "folder": true },
    ], "envVars": [{ "name": "A", "value": "1" }] });
    let created = server.post(&url).json(body).await.expect(201);
    assert!(created.header("location").ends_with("/versions/0.1"));
    let version = created.data();
    insist(&version, &["versionNumber", "sourceType", "sourceFiles", "envVars"]);
    assert_eq!(version["buildTag"], json!(null), "as sent");
    assert_eq!(version["envVars"], json!([{ "name": "A", "value": "1", "isSecret": false }]));

    let one = format!("{url}/0.1");
    let patched = server.put(&one).json(json!({ "buildTag": "latest" })).await.expect(200).data();
    assert_eq!((&patched["buildTag"], &patched["sourceFiles"][0]["content"]), (&json!("latest"), &json!("1")));
    let tarball = json!({ "sourceType": "TARBALL", "tarballUrl": "http://example.com/a.zip", "sourceFiles": null });
    let moved = server.post(&one).json(tarball).await.expect(200).data();
    assert_eq!((&moved["sourceType"], moved.get("sourceFiles")), (&json!("TARBALL"), None));
    assert_eq!(moved["envVars"][0]["name"], "A", "untouched when absent");
    let back =
        server.put(&one).json(json!({ "sourceType": "SOURCE_FILES", "sourceFiles": [] })).await.expect(200).data();
    assert_eq!((&back["sourceFiles"], back.get("tarballUrl")), (&json!([]), None));

    let list = server.get(&format!("{url}?limit=1")).await.expect(200).data();
    assert_eq!((&list["total"], list["items"].as_array().map(Vec::len)), (&json!(2), Some(2)), "never paged");
    server.delete(&one).await.expect(204);
    server.get(&one).await.expect_error(404, "record-not-found");
    server.delete(&format!("{url}/0.0")).await.expect_error(400, "too-few-versions");
}

#[tokio::test(start_paused = true)]
async fn a_version_may_be_an_image_that_was_built_elsewhere() {
    let server = TestServer::start().await;
    let url = format!("{ACTOR}/versions");
    let image = "registry.example:5000/ada/crawler@sha256:0123";

    let body = json!({ "versionNumber": "0.1", "sourceType": "X_IMAGE", "xImage": image });
    let created = server.post(&url).json(body).await.expect(201).data();

    assert_eq!((&created["xImage"], &created["xImagePull"]), (&json!(image), &json!("missing")));
    let one = format!("{url}/0.1");
    let changed = server.put(&one).json(json!({ "xImagePull": "always" })).await.expect(200).data();
    assert_eq!((&changed["xImage"], &changed["xImagePull"]), (&json!(image), &json!("always")));
    let back = server.put(&one).json(json!({ "sourceType": "SOURCE_FILES" })).await.expect(200).data();
    assert_eq!((back.get("xImage"), back.get("xImagePull")), (None, None));
    for body in [
        json!({ "versionNumber": "0.2", "sourceType": "X_IMAGE" }),
        json!({ "versionNumber": "0.2", "xImage": "" }),
        json!({ "versionNumber": "0.2", "xImage": "-v" }),
        json!({ "versionNumber": "0.2", "xImage": "../x" }),
        json!({ "versionNumber": "0.2", "xImage": "node 20" }),
        json!({ "versionNumber": "0.2", "xImage": "node?x=1" }),
        json!({ "versionNumber": "0.2", "xImage": "n".repeat(600) }),
        json!({ "versionNumber": "0.2", "xImage": "node", "xImagePull": "sometimes" }),
    ] {
        server.post(&url).json(body).await.expect_error(400, "invalid-request");
    }
    server.get(&format!("{url}/0.2")).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_version_is_refused_and_nothing_is_stored() {
    let server = TestServer::start().await;
    let url = format!("{ACTOR}/versions");
    let files = |files| json!({ "versionNumber": "0.1", "sourceType": "SOURCE_FILES", "sourceFiles": files });

    for (body, kind) in [
        (json!({ "versionNumber": "0.0", "sourceType": "SOURCE_FILES" }), "version-already-exists"),
        (json!({ "sourceType": "SOURCE_FILES" }), "invalid-request"),
        (json!({ "versionNumber": "1", "sourceType": "SOURCE_FILES" }), "invalid-value"),
        (json!({ "versionNumber": "01.1", "sourceType": "SOURCE_FILES" }), "invalid-value"),
        (json!({ "versionNumber": "0.1", "sourceType": "SOURCE_CODE" }), "invalid-request"),
        (json!({ "versionNumber": "0.1", "sourceType": "GIT_REPO" }), "invalid-request"),
        (json!({ "versionNumber": "0.1", "buildTag": "1.2.3" }), "invalid-value"),
        (files(json!([{ "name": "../x", "format": "TEXT", "content": "" }])), "invalid-value"),
        (files(json!([{ "name": "x", "format": "BASE64", "content": "?" }])), "invalid-value"),
        (files(json!([{ "name": "x", "format": "TEXT", "content": "x".repeat(3_145_729) }])), "versions-size-exceeded"),
        (json!({ "versionNumber": "0.1", "envVars": [{ "name": "A" }] }), "invalid-request"),
        (json!({ "versionNumber": "0.1", "envVars": [{ "name": "A=B", "value": "" }] }), "invalid-value"),
        (json!({ "versionNumber": "0.1", "envVars": [{ "name": "A", "value": "x".repeat(50_001) }] }), "invalid-value"),
        (
            json!({ "versionNumber": "0.1", "envVars": [{ "name": "A", "value": "" }, { "name": "A", "value": "" }] }),
            "env-var-already-exists",
        ),
    ] {
        server.post(&url).json(body).await.expect_error(400, kind);
    }
    assert_eq!(server.get(&url).await.expect(200).data()["total"], 1);
    for unknown in ["0.9", "nonsense", "0.0.1"] {
        server.get(&format!("{url}/{unknown}")).await.expect_error(404, "record-not-found");
        server.put(&format!("{url}/{unknown}")).json(json!({})).await.expect_error(404, "record-not-found");
        server.delete(&format!("{url}/{unknown}")).await.expect_error(404, "record-not-found");
    }
}

#[tokio::test(start_paused = true)]
async fn variables_are_created_replaced_and_deleted() {
    let server = TestServer::start().await;
    let url = format!("{ACTOR}/versions/0.0/env-vars");

    let created = server.post(&url).json(json!({ "name": "A", "value": "1" })).await.expect(201);
    assert_eq!(created.data(), json!({ "name": "A", "value": "1", "isSecret": false }));
    server.post(&url).json(json!({ "name": "A", "value": "2" })).await.expect_error(400, "env-var-already-exists");
    server.post(&url).json(json!({ "name": "", "value": "2" })).await.expect_error(400, "invalid-value");

    let one = format!("{url}/A");
    let changed = server.put(&one).json(json!({ "name": "A", "value": "3" })).await.expect(200).data();
    assert_eq!(changed["value"], "3");
    assert_eq!(server.post(&one).json(json!({ "value": "4" })).await.expect(200).data()["value"], "4");
    server.put(&one).json(json!({ "name": "B", "value": "3" })).await.expect_error(400, "cannot-rename-env-var");
    server.put(&one).json(json!({ "value": 3 })).await.expect_error(400, "invalid-request");
    assert_eq!(server.get(&url).await.expect(200).data()["total"], 1);
    assert_eq!(server.get(&one).await.expect(200).data()["value"], "4");

    server.delete(&one).await.expect(204);
    for request in [server.get(&one), server.delete(&one), server.put(&one).json(json!({ "value": "" }))] {
        request.await.expect_error(404, "record-not-found");
    }
    server.get(&format!("{ACTOR}/versions/0.7/env-vars")).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn secret_values_are_kept_sealed_and_never_shown() {
    let server = TestServer::start().await;
    let version = format!("{ACTOR}/versions/0.0");
    let secret = json!({ "name": "KEY", "isSecret": true });
    let body = json!({ "envVars": [{ "name": "KEY", "value": "hunter22", "isSecret": true }] });

    let shown = server.put(&version).json(body).await.expect(200);
    assert_eq!(shown.data()["envVars"], json!([secret]));
    for url in [ACTOR.to_owned(), version.clone(), format!("{version}/env-vars"), format!("{version}/env-vars/KEY")] {
        assert!(!server.get(&url).await.expect(200).text().contains("hunter22"), "{url}");
    }
    let value = async || {
        let engine = &server.engine.engine;
        let version = engine.store().actors.version(&server.engine.actor.id, "0.0").await.unwrap().unwrap();
        let stored = version.env_vars[0].value.clone().unwrap();
        assert_ne!(stored, "hunter22", "not in the clear");
        engine.unseal(&stored).unwrap()
    };
    assert_eq!(value().await, "hunter22");

    // What was read can be written back.
    server.put(&version).json(json!({ "envVars": [secret] })).await.expect(200);
    assert_eq!(value().await, "hunter22");
    server.put(&format!("{version}/env-vars/KEY")).json(json!({ "isSecret": true })).await.expect(200);
    assert_eq!(value().await, "hunter22");

    // To make it an open one takes its value.
    let open = json!({ "envVars": [{ "name": "KEY", "isSecret": false }] });
    server.put(&version).json(open).await.expect_error(400, "invalid-request");
}
