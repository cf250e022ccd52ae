//! Folders of the server's machine for runs, and runs that wait for a debugger.

use serde_json::json;

use crate::harness::TestServer;
use crate::platform::ACTOR;

#[tokio::test(start_paused = true)]
async fn a_folder_is_mounted_into_the_next_runs_until_it_is_cleared() {
    let server = TestServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap().to_owned();
    let url = "/actor-runtime/dev-folder/my-actor";
    let before = server.get(ACTOR).await.expect(200).data();

    let set = server.post(url).json(json!(folder)).await.expect(200).data();

    assert_eq!(set, json!({ "localDevFolder": folder }));
    assert_eq!(server.get(ACTOR).await.expect(200).data()["modifiedAt"], before["modifiedAt"]);
    let mounts = async |query: &str| {
        let run = server.post(&format!("{ACTOR}/runs{query}")).await.expect(201).data();
        let id = run["id"].as_str().unwrap().to_owned();
        server.running(&id, 1).await;
        let spec = server.engine.driver.started(&id).await;
        spec.mounts.iter().map(|mount| mount.source.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(mounts("").await, std::slice::from_ref(&folder));
    assert_eq!(mounts("?devFolder=false").await, Vec::<String>::new());
    let cleared = server.post(&format!("/v2{url}")).json(json!("")).await.expect(200).data();
    assert_eq!(cleared, json!({ "localDevFolder": null }));
    assert_eq!(mounts("").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_folder_is_refused() {
    let server = TestServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let url = "/actor-runtime/dev-folder/my-actor";

    for (body, kind) in [
        (json!("relative"), "invalid-request"),
        (json!({ "folder": "/" }), "invalid-request"),
        (json!(dir.path().join("absent")), "dev-folder-path-not-found"),
        (json!(file), "dev-folder-not-a-directory"),
    ] {
        server.post(url).json(body).await.expect_error(400, kind);
    }
    server.post("/actor-runtime/dev-folder/nobodys-actor").json(json!("")).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn runs_wait_for_a_debugger_while_that_is_switched_on() {
    let server = TestServer::start().await;
    let url = "/actor-runtime/debug/my-actor";

    let on = server.post(url).json(json!({ "enabled": true })).await.expect(200).data();

    assert_eq!(on, json!({ "localDebug": { "language": "auto", "port": 5678 } }));
    let run = server.given_running().await;
    let spec = server.engine.driver.started(&run).await;
    assert_eq!(spec.ports, [9229, 5678]);
    assert!(spec.env["NODE_OPTIONS"].starts_with("--import=data:"), "{:?}", spec.env.get("NODE_OPTIONS"));
    let node =
        server.post(url).json(json!({ "enabled": true, "language": "node", "port": 9300 })).await.expect(200).data();
    assert_eq!(node["localDebug"], json!({ "language": "node", "port": 9300 }));
    server.post(url).json(json!({ "enabled": true, "port": 0 })).await.expect_error(400, "invalid-request");
    let off = server.post(url).json(json!({ "enabled": false })).await.expect(200).data();
    assert_eq!(off, json!({ "localDebug": null }));
}
