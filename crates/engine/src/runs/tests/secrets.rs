//! Secret fields of inputs.

use std::time::Duration;

use bytes::Bytes;
use drivers::fake::{Call, FakeDriver};
use model::schedule::{Schedule, ScheduleAction, ScheduleTarget, ScheduledInput};
use model::{JobStatus, JsonObject, Run, ScheduleActionId, Task, TaskId};
use serde_json::{Value, json};
use store::Content;

use crate::testing::{START, TestEngine, start};
use crate::{RunInput, RunOptionsGiven, StartRun};

const SCHEMA: &str = r#"{"title":"I","type":"object","schemaVersion":1,"properties":{
    "password":{"title":"P","description":"P","type":"string","editor":"textfield","isSecret":true},
    "cookies":{"title":"C","description":"C","type":"array","editor":"json","isSecret":true},
    "preset":{"title":"D","description":"D","type":"string","editor":"textfield","isSecret":true,"default":"opensesame"},
    "url":{"title":"U","description":"U","type":"string","editor":"textfield"}
}}"#;
const URL: &str = "https://a.example";

/// An engine whose Actor has a build with secret fields.
async fn with_secrets() -> TestEngine {
    let mut test = TestEngine::start().await;
    let build = test.build("0.1", &[("INPUT_SCHEMA.json", SCHEMA)]).await;
    assert_eq!(test.built(&build.id).await.status, JobStatus::Succeeded);
    test.reload_actor().await;
    test
}

fn with_input(input: &Value) -> StartRun {
    let input = RunInput { body: Bytes::from(input.to_string()), content_type: None };
    StartRun { input: Some(input), ..start(RunOptionsGiven::default()) }
}

async fn record(test: &TestEngine, run: &Run, key: &str) -> Value {
    let record = test.engine.store().records.get(&run.storages.key_value_store, key).await.unwrap().unwrap();
    let Content::Inline(body) = record.content else { panic!("small values are inline") };
    serde_json::from_slice(&body).unwrap()
}

fn texts(value: &Value) -> [&str; 3] {
    ["password", "cookies", "preset"].map(|name| value[name].as_str().unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn secrets_are_stored_encrypted_for_the_run_and_kept_out_of_its_log() {
    let test = with_secrets().await;
    let input = json!({ "password": "hunter2", "cookies": [{ "value": "c00k1e" }], "url": URL });

    let run = test.engine.start_run(&test.ada, &test.actor, with_input(&input)).await.unwrap();
    let spec = test.driver.started(run.id.as_str()).await;

    let stored = record(&test, &run, "INPUT").await;
    let [password, cookies, preset] = texts(&stored);
    assert!(password.starts_with("ENCRYPTED_VALUE:") && preset.starts_with("ENCRYPTED_VALUE:"), "{stored}");
    assert!(cookies.starts_with("ENCRYPTED_JSON:"), "{stored}");
    assert_eq!(stored["url"], URL);
    for secret in ["hunter2", "c00k1e", "opensesame"] {
        assert!(!stored.to_string().contains(secret), "INP-24");
        assert!(spec.secrets.contains(&secret.to_owned()), "{secret} is masked");
    }
    assert!(!spec.secrets.contains(&URL.to_owned()));
    let passphrase = &spec.env["APIFY_INPUT_SECRETS_PRIVATE_KEY_PASSPHRASE"];
    assert!(spec.secrets.contains(passphrase), "INP-25");
    assert!(!spec.env["APIFY_INPUT_SECRETS_PRIVATE_KEY_FILE"].is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_next_server_masks_what_the_first_one_did() {
    let mut test = with_secrets().await;
    let input = json!({ "password": "hunter2", "url": URL });
    let run = test.engine.start_run(&test.ada, &test.actor, with_input(&input)).await.unwrap();
    let spec = test.driver.started(run.id.as_str()).await;
    test.started(&run.id, 1).await;

    test.crash().await;
    test.exit(&run.id, 0);
    test.ended(&run.id).await;

    let calls = test.driver.calls();
    let handed_over = calls.iter().find_map(|call| match call {
        Call::TakeUp(job, secrets) if *job == spec.job => Some(secrets),
        _ => None,
    });
    let handed_over = handed_over.expect("the driver was told");
    assert!(handed_over.contains(&spec.env["APIFY_INPUT_SECRETS_PRIVATE_KEY_PASSPHRASE"]), "INP-25");
    assert_eq!(*handed_over, spec.secrets);
}

#[tokio::test(start_paused = true)]
async fn what_is_encrypted_already_passes_and_is_masked_all_the_same() {
    let test = with_secrets().await;
    let input = sealed(&test, None, &format!(r#"{{"password":"shadowed","password":"hunter2","url":"{URL}"}}"#)).await;
    assert!(texts(&input)[0].starts_with("ENCRYPTED_VALUE:"), "as a task keeps it");
    assert_eq!(input["url"], URL);

    let run = test.engine.start_run(&test.ada, &test.actor, with_input(&input)).await.unwrap();

    let spec = test.driver.started(run.id.as_str()).await;
    assert_eq!(record(&test, &run, "INPUT").await["password"], input["password"]);
    assert!(spec.secrets.contains(&"hunter2".to_owned()));
    let unbuilt = sealed(&test, Some("no-such-tag"), r#"{"password":"hunter2"}"#).await;
    assert_eq!(unbuilt["password"], "hunter2", "nobody knows yet what is secret");
}

/// An input as a task keeps it.
async fn sealed(test: &TestEngine, build: Option<&str>, input: &str) -> Value {
    let input = JsonObject::parse(input.as_bytes()).unwrap().unwrap();
    let sealed = test.engine.seal_input(&test.ada.user.id, &test.actor, build, &input).await.unwrap();
    assert!(!sealed.as_str().contains("shadowed"), "a value that does not count is not kept readable either");
    serde_json::from_str(sealed.as_str()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_schedule_keeps_is_readable_in_its_runs_only() {
    let test = with_secrets().await;
    let mut task = Task::new(TaskId::random(test.engine.random()), test.ada.user.id, test.actor.id, "my-task", START);
    task.input = JsonObject::parse(br#"{"password":"of the task","preset":"p"}"#).unwrap();
    let task = test.engine.store().tasks.create(test.engine.seal_task(task).await.unwrap()).await.unwrap();
    assert!(!task.input.as_ref().unwrap().as_str().contains("of the task"));
    let action = |target, input| ScheduleAction {
        id: ScheduleActionId::random(test.engine.random()),
        target,
        input: Some(input),
    };
    let body = r#"{"password":"of the action"}"#.to_owned();
    let mut actions = vec![
        action(
            ScheduleTarget::RunActor { actor_id: test.actor.id, run_options: None },
            ScheduledInput::Body { body, content_type: "application/json".to_owned() },
        ),
        action(
            ScheduleTarget::RunActorTask { actor_task_id: task.id },
            ScheduledInput::Object(JsonObject::parse(br#"{"preset":"over it"}"#).unwrap().unwrap()),
        ),
    ];
    for action in &mut actions {
        *action = test.engine.seal_action(&test.ada.user.id, action.clone()).await.unwrap();
        let kept = format!("{:?}", action.input);
        assert!(kept.contains("ENCRYPTED_VALUE:") && !kept.contains("of the action") && !kept.contains("over it"));
    }
    let schedule = Schedule { actions, ..test.schedule("* * * * *", Vec::new()) };
    test.engine.create_schedule(schedule).await.unwrap();

    tokio::time::sleep(Duration::from_secs(36)).await;

    let mut seen = Vec::new();
    for run in test.runs().await {
        let spec = test.driver.started(run.id.as_str()).await;
        seen.extend(spec.secrets.iter().filter(|secret| secret.contains("the") || *secret == "over it").cloned());
    }
    seen.sort_unstable();
    assert_eq!(seen, ["of the action", "of the task", "over it"], "the run reads them, and its log masks them");
}

#[tokio::test(start_paused = true)]
async fn keys_outlive_the_server_and_are_of_one_user_and_actor() {
    let mut test = with_secrets().await;
    let input = json!({ "password": "hunter2" });
    let first = test.engine.start_run(&test.ada, &test.actor, with_input(&input)).await.unwrap();
    let encrypted = record(&test, &first, "INPUT").await;

    test.crash().await;

    let again = test.engine.start_run(&test.ada, &test.actor, with_input(&encrypted)).await.unwrap();
    let spec = test.driver.started(again.id.as_str()).await;
    assert!(spec.secrets.contains(&"hunter2".to_owned()), "the key is the same as before");

    let bob = crate::Caller::of(test.engine.create_user("bob").await.unwrap());
    let stolen = test.engine.start_run(&bob, &test.actor, with_input(&encrypted)).await.unwrap();
    let spec = test.driver.started(stolen.id.as_str()).await;
    assert_eq!(record(&test, &stolen, "INPUT").await["password"], encrypted["password"]);
    assert!(!spec.secrets.contains(&"hunter2".to_owned()), "bob's key does not open what ada's closed");
}

#[tokio::test(start_paused = true)]
async fn a_metamorph_gets_its_secrets_encrypted_for_what_the_run_becomes() {
    let test = with_secrets().await;
    let plain = test.engine.give_actor(&test.ada.user, "before").await;
    test.driver.put_image(plain.tagged_builds["latest"].build_id.as_str(), FakeDriver::default_image());
    let run = test.engine.start_run(&test.ada, &plain, start(RunOptionsGiven::default())).await.unwrap();
    let spec = test.driver.started(run.id.as_str()).await;
    assert_eq!(spec.env.get("APIFY_INPUT_SECRETS_PRIVATE_KEY_FILE"), None, "its Actor has no secrets to read");
    test.started(&run.id, 1).await;

    let input = RunInput { body: Bytes::from(json!({ "password": "hunter2" }).to_string()), content_type: None };
    test.engine.metamorph_run(&test.ada, &run.id, &test.actor, None, Some(input)).await.unwrap();

    let spec = test.driver.started_life(run.id.as_str(), 2).await;
    let stored = record(&test, &run, "INPUT-METAMORPH-1").await;
    assert!(texts(&stored)[0].starts_with("ENCRYPTED_VALUE:"), "{stored}");
    assert!(spec.secrets.contains(&"hunter2".to_owned()));
    assert!(spec.env.contains_key("APIFY_INPUT_SECRETS_PRIVATE_KEY_FILE"));
}
