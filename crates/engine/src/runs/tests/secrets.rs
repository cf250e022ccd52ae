//! Secret fields of inputs.

use bytes::Bytes;
use drivers::fake::FakeDriver;
use model::{JobStatus, Run};
use serde_json::{Value, json};
use store::Content;

use crate::testing::{TestEngine, start};
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
async fn what_is_encrypted_already_passes_and_is_masked_all_the_same() {
    let test = with_secrets().await;
    let mut input = json!({ "password": "hunter2", "url": URL });
    let kept = input.as_object_mut().unwrap();
    test.engine.encrypt_input(&test.ada.user.id, &test.actor, None, kept).await.unwrap();
    assert!(texts(&input)[0].starts_with("ENCRYPTED_VALUE:"), "as a task keeps it");
    assert_eq!(input["url"], URL);

    let run = test.engine.start_run(&test.ada, &test.actor, with_input(&input)).await.unwrap();

    let spec = test.driver.started(run.id.as_str()).await;
    assert_eq!(record(&test, &run, "INPUT").await["password"], input["password"]);
    assert!(spec.secrets.contains(&"hunter2".to_owned()));
    let mut unbuilt = json!({ "password": "hunter2" });
    test.engine
        .encrypt_input(&test.ada.user.id, &test.actor, Some("no-such-tag"), unbuilt.as_object_mut().unwrap())
        .await
        .unwrap();
    assert_eq!(unbuilt["password"], "hunter2", "nobody knows yet what is secret");
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
