//! Secret fields of the inputs that tasks and schedules keep (`INP-24`).

use std::path::Path;

use engine::testing::a_version;
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::platform::{ACTOR, id};

const SCHEMA: &str = r#"{"title":"I","type":"object","schemaVersion":1,"properties":{
    "password":{"title":"P","description":"P","type":"string","editor":"textfield","isSecret":true},
    "cookies":{"title":"C","description":"C","type":"array","editor":"json","isSecret":true},
    "url":{"title":"U","description":"U","type":"string","editor":"textfield"}
}}"#;
/// Words that stand in secret fields, and one that does not.
const SECRETS: [&str; 3] = ["hunter2", "c00k1e", "sw0rdfish"];
const OPEN: &str = "plain-as-day";

/// A server whose `my-actor` has secret fields.
async fn given_secrets() -> TestServer {
    let server = TestServer::start().await;
    let now = server.engine.engine.clock().now();
    let version = a_version("0.1", &[("INPUT_SCHEMA.json", SCHEMA)]);
    let actors = &server.engine.engine.store().actors;
    actors.create_version(&server.engine.actor.id, version, now).await.expect("a version");
    let build = server.engine.start_build("0.1").await;
    assert_eq!(server.engine.built(&build.id).await.status, model::JobStatus::Succeeded);
    server
}

/// Whether the text stands in any file of the store.
fn is_stored(server: &TestServer, text: &str) -> bool {
    fn look(directory: &Path, text: &[u8]) -> bool {
        let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
        entries.into_iter().any(|path| match path.is_dir() {
            true => look(&path, text),
            false => std::fs::read(&path).expect("a file").windows(text.len()).any(|part| part == text),
        })
    }
    look(server.engine.directory(), text.as_bytes())
}

#[track_caller]
fn check_sealed(input: &Value) {
    let text = input.to_string();
    assert!(text.contains("ENCRYPTED_VALUE:"), "{text}");
    assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
}

/// The secrets of the newest run: they are masked in its log, and only a run's own key opens them.
async fn opened(server: &TestServer, run: &Value) -> Vec<String> {
    let spec = server.engine.driver.started(&id(run)).await;
    assert!(spec.env.contains_key("APIFY_INPUT_SECRETS_PRIVATE_KEY_FILE"), "INP-25");
    spec.secrets.iter().filter(|secret| SECRETS.iter().any(|known| secret.contains(known))).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn secrets_of_a_task_are_never_stored_or_shown_readable() {
    let server = given_secrets().await;
    let input = json!({ "password": "hunter2", "cookies": [{ "v": "c00k1e" }], "url": OPEN });
    let body = json!({ "actId": "ada~my-actor", "name": "my-task", "input": input });

    let created = server.post("/v2/actor-tasks").json(body).await.expect(201).data();
    check_sealed(&created["input"]);
    assert_eq!(created["input"]["url"], OPEN);
    check_sealed(&server.get("/v2/actor-tasks/~my-task").await.expect(200).data()["input"]);
    let shown = server.get("/v2/actor-tasks/~my-task/input").await.expect(200).json();
    assert_eq!(shown, created["input"]);

    // As clients do it that read an input, change it and send it back.
    let again = server.put("/v2/actor-tasks/~my-task/input").json(shown.clone()).await.expect(200).json();
    assert_eq!(again, shown, "what is encrypted stays as it is");
    let changed = server.put("/v2/actor-tasks/~my-task/input").json(json!({ "password": "sw0rdfish" })).await;
    let changed = changed.expect(200).json();
    check_sealed(&changed);
    assert_eq!((&changed["cookies"], changed["password"] == shown["password"]), (&shown["cookies"], false));
    let whole = json!({ "input": { "password": "hunter2", "url": OPEN } });
    check_sealed(&server.put("/v2/actor-tasks/~my-task").json(whole).await.expect(200).data()["input"]);

    assert!(is_stored(&server, OPEN), "the search finds what is there");
    for secret in SECRETS {
        assert!(!is_stored(&server, secret), "{secret} is stored readable");
    }
    let run = server.post("/v2/actor-tasks/~my-task/runs").json(json!({ "cookies": ["c00k1e"] })).await.expect(201);
    let mut seen = opened(&server, &run.data()).await;
    seen.sort_unstable();
    assert_eq!(seen, ["c00k1e", "hunter2"]);
    assert!(!SECRETS.iter().any(|secret| is_stored(&server, secret)));
}

#[tokio::test(start_paused = true)]
async fn a_build_that_is_chosen_later_says_what_is_secret_from_then_on() {
    let server = given_secrets().await;
    let body = json!({
        "actId": "ada~my-actor", "name": "my-task", "options": { "build": "0.0.1" }, "input": { "password": "hunter2" },
    });
    let created = server.post("/v2/actor-tasks").json(body).await.expect(201).data();
    assert_eq!(created["input"]["password"], "hunter2", "that build knows no secrets");

    let body = json!({ "options": { "build": "latest" } });
    let changed = server.put("/v2/actor-tasks/~my-task").json(body).await.expect(200).data();

    check_sealed(&changed["input"]);
}

#[tokio::test(start_paused = true)]
async fn secrets_of_a_schedule_are_never_stored_or_shown_readable() {
    let server = given_secrets().await;
    let actor = id(&server.get(ACTOR).await.expect(200).data());
    let task = json!({ "actId": actor, "name": "my-task" });
    let task = id(&server.post("/v2/actor-tasks").json(task).await.expect(201).data());
    let input = json!({ "password": "hunter2", "cookies": ["c00k1e"], "url": OPEN });
    let body = json!({
        "name": "my-schedule", "cronExpression": "* * * * *", "isEnabled": true,
        "actions": [
            {
                "type": "RUN_ACTOR", "actorId": actor,
                "runInput": { "body": input.to_string(), "contentType": "application/json" },
            },
            { "type": "RUN_ACTOR_TASK", "actorTaskId": task, "input": { "password": "sw0rdfish" } },
        ],
    });

    let created = server.post("/v2/schedules").json(body).await.expect(201).data();

    let shown = server.get("/v2/schedules/~my-schedule").await.expect(200).data();
    assert_eq!(shown["actions"], created["actions"]);
    let body: Value =
        serde_json::from_str(shown["actions"][0]["runInput"]["body"].as_str().expect("a body")).expect("JSON");
    check_sealed(&body);
    assert_eq!(body["url"], OPEN);
    check_sealed(&shown["actions"][1]["input"]);
    let back = json!({ "actions": shown["actions"] });
    let again = server.put("/v2/schedules/~my-schedule").json(back).await.expect(200).data();
    assert_eq!(again["actions"], shown["actions"], "what is encrypted stays as it is");

    let mut seen = Vec::new();
    while seen.len() < 3 {
        tokio::time::sleep(crate::platform::secs(10)).await;
        seen.clear();
        let runs = server.get("/v2/actor-runs").await.expect(200).data()["items"].clone();
        for run in runs.as_array().expect("a list").iter().take(2) {
            seen.extend(opened(&server, run).await);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, ["c00k1e", "hunter2", "sw0rdfish"]);
    assert!(is_stored(&server, OPEN) && !SECRETS.iter().any(|secret| is_stored(&server, secret)));
}
