//! Starting runs.

use bytes::Bytes;
use model::pricing::PricingInfo;
use model::{JobStatus, PermissionLevel, StorageKind};
use serde_json::{Value, json};
use store::Content;

use crate::testing::{TestEngine, start};
use crate::{EngineConfig, EngineError, RunInput, RunOptionsGiven, StartRun};

const SCHEMA: &str = r#"{
    "title": "Input", "type": "object", "schemaVersion": 1,
    "properties": {
        "url": { "title": "URL", "description": "Where to begin", "type": "string", "editor": "textfield" },
        "depth": { "title": "Depth", "description": "How deep", "type": "integer", "default": 3 }
    },
    "required": ["url"]
}"#;

/// An engine whose Actor has a build made of these files.
async fn with_files(files: &[(&str, &str)]) -> TestEngine {
    let mut test = TestEngine::start().await;
    let build = test.build("0.1", files).await;
    let build = test.built(&build.id).await;
    assert_eq!(build.status, JobStatus::Succeeded, "{:?}", build.status_message);
    test.reload_actor().await;
    test
}

fn with_input(body: &str, content_type: Option<&str>) -> StartRun {
    let input =
        RunInput { body: Bytes::copy_from_slice(body.as_bytes()), content_type: content_type.map(str::to_owned) };
    StartRun { input: Some(input), ..start(RunOptionsGiven::default()) }
}

async fn stored_input(test: &TestEngine, start: StartRun) -> Option<(String, String)> {
    let run = test.engine.start_run(&test.ada, &test.actor, start).await.unwrap();
    let record = test.engine.store().records.get(&run.storages.key_value_store, "INPUT").await.unwrap()?;
    let Content::Inline(body) = record.content else { panic!("small values are inline") };
    assert_eq!(run.stats.input_body_len, body.len() as u64, "START-21");
    Some((String::from_utf8(body.to_vec()).unwrap(), record.meta.content_type))
}

#[tokio::test(start_paused = true)]
async fn a_run_is_there_at_once_with_its_storages() {
    let test = TestEngine::start().await;

    let run = test.run().await;

    assert_eq!(run.status, JobStatus::Ready);
    assert_eq!((run.options.build.as_str(), run.build_number.as_str()), ("latest", "0.0.1"), "RUN-7");
    assert_eq!(run.build_tags, ["latest"], "START-10");
    assert_eq!((run.options.memory_mbytes, run.options.disk_mbytes), (1024, 2048));
    assert_eq!(run.pricing_info, None, "CHG-1");
    let store = test.engine.store();
    for (id, kind) in [
        (run.storages.key_value_store, StorageKind::KeyValueStore),
        (run.storages.dataset, StorageKind::Dataset),
        (run.storages.request_queue, StorageKind::RequestQueue),
    ] {
        let storage = store.storages.get(&id).await.unwrap().unwrap();
        assert_eq!((storage.kind, storage.run_id, storage.lives_with), (kind, Some(run.id), Some(run.id)), "START-23");
        assert_eq!((storage.actor_id, storage.user_id), (Some(test.actor.id), test.ada.user.id));
    }
    let stats = store.actors.stats(&test.actor.id).await.unwrap();
    assert_eq!((stats.total_runs, stats.last_run_started_at), (1, Some(run.started_at)), "START-22");
}

#[tokio::test(start_paused = true)]
async fn without_a_schema_the_input_is_stored_as_it_came() {
    let test = TestEngine::start().await;
    let json = "application/json; charset=utf-8";

    for (body, content_type, stored) in [
        ("{ \"a\" : 1 }", Some("application/json"), Some(("{ \"a\" : 1 }", "application/json"))),
        ("not json", Some("text/plain"), Some(("not json", "text/plain"))),
        ("[1,", None, Some(("[1,", json))),
        ("", Some("application/json"), None),
    ] {
        let found = stored_input(&test, with_input(body, content_type)).await;
        assert_eq!(found, stored.map(|(body, kind)| (body.to_owned(), kind.to_owned())), "{body}");
    }
    assert_eq!(stored_input(&test, start(RunOptionsGiven::default())).await, None, "START-17");
}

#[tokio::test(start_paused = true)]
async fn with_a_schema_the_input_is_completed_and_judged() {
    let test = with_files(&[(".actor/INPUT_SCHEMA.json", SCHEMA)]).await;

    let (body, content_type) = stored_input(&test, with_input(r#"{"url": "u"}"#, None)).await.unwrap();
    assert_eq!(body, r#"{"url":"u","depth":3}"#, "START-18");
    assert_eq!(content_type, "application/json; charset=utf-8");
    for (body, content_type, message) in [
        (r#"{"url":"u"}"#, Some("text/plain"), "Actor input must have content type \"application/json\"."),
        ("[]", None, "The input JSON must be object, got \"array\" instead."),
        ("{}", None, "Input is not valid: Field input.url is required"),
        ("null", None, "Input is not valid: Field input.url is required"),
    ] {
        let refused = test.engine.start_run(&test.ada, &test.actor, with_input(body, content_type)).await;
        assert_eq!(refused.unwrap_err().to_string(), message);
    }
    let build = test.engine.resolve_build(&test.actor, None).await.unwrap();
    assert!(test.engine.validate_input(&build, Some(br#"{"url":"u"}"#), None).await.is_ok(), "INP-21");
    assert!(test.engine.validate_input(&build, None, None).await.is_err());
    let stats = test.engine.store().actors.stats(&test.actor.id).await.unwrap();
    assert_eq!(stats.total_runs, 1, "a refused start leaves nothing");
}

#[tokio::test(start_paused = true)]
async fn the_definition_of_the_build_shapes_its_runs() {
    let actor_json = r#"{
        "actorSpecification": 1, "name": "my-actor", "version": "0.1",
        "defaultMemoryMbytes": "input.big ? 4096 : 300", "minMemoryMbytes": 512,
        "storages": { "datasets": {
            "default": { "actorSpecification": 1, "fields": {}, "views": {} },
            "errors": { "actorSpecification": 1, "fields": {}, "views": {} }
        } }
    }"#;
    let test = with_files(&[(".actor/actor.json", actor_json)]).await;

    let small = test.run().await;
    let big = test.engine.start_run(&test.ada, &test.actor, with_input(r#"{"big":true}"#, None)).await.unwrap();
    let told = test.run_with(RunOptionsGiven { memory_mbytes: Some(256), ..Default::default() }).await;

    assert_eq!((small.options.memory_mbytes, small.options.disk_mbytes), (512, 1024), "START-8");
    assert_eq!(big.options.memory_mbytes, 4096, "RES-5");
    assert_eq!(told.options.memory_mbytes, 256);
    let errors = small.storages.aliased_datasets["errors"];
    let errors = test.engine.store().storages.get(&errors).await.unwrap().unwrap();
    assert_eq!((errors.kind, errors.lives_with), (StorageKind::Dataset, Some(small.id)), "RUN-14");
    assert!(errors.schema.is_some());
    assert_eq!(small.storages.aliased_datasets.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_build_is_named_by_tag_or_number_and_must_have_succeeded() {
    let mut test = TestEngine::start().await;
    test.driver.hold_builds();
    let unfinished = test.build("0.1", &[]).await;
    test.reload_actor().await;
    let given = |build: &str| RunOptionsGiven { build: Some(build.into()), ..Default::default() };

    let by_number = test.run_with(given("0.0.1")).await;
    assert_eq!((by_number.options.build.as_str(), by_number.build_number.as_str()), ("0.0.1", "0.0.1"), "START-9");
    let refused =
        async |build: &str| test.engine.start_run(&test.ada, &test.actor, start(given(build))).await.unwrap_err();
    assert!(matches!(refused("beta").await, EngineError::NoBuildTagged(tag) if tag == "beta"), "START-12");
    assert!(matches!(refused("0.0").await, EngineError::NoBuildTagged(_)), "a version is no number");
    assert!(matches!(refused("0.0.9").await, EngineError::NoBuildNumbered(_)));
    assert!(matches!(refused(&unfinished.build_number).await, EngineError::BuildNotRunnable { .. }), "START-11");
}

#[tokio::test(start_paused = true)]
async fn the_permission_level_is_forced_by_the_call_then_by_the_default_options() {
    let test = TestEngine::start().await;
    let mut actor = (*test.actor).clone();
    let full = Some(PermissionLevel::FullPermissions);

    let level = async |actor: &model::Actor, force| {
        let start = StartRun { force_permission_level: force, ..start(RunOptionsGiven::default()) };
        test.engine.start_run(&test.ada, actor, start).await.unwrap().permission_level
    };

    assert_eq!(level(&actor, None).await, PermissionLevel::LimitedPermissions);
    assert_eq!(level(&actor, full).await, PermissionLevel::FullPermissions, "START-15");
    actor.default_run_options.force_permission_level = full;
    assert_eq!(level(&actor, None).await, PermissionLevel::FullPermissions);
}

#[tokio::test(start_paused = true)]
async fn a_run_waits_for_its_memory_first_come_first_served() {
    let test = TestEngine::start_with(EngineConfig { memory_mbytes: 2048, ..EngineConfig::default() }).await;
    let of = |memory| RunOptionsGiven { memory_mbytes: Some(memory), ..Default::default() };

    let first = test.running(of(1024)).await;
    let large = test.run_with(of(2048)).await;
    let small = test.run_with(of(128)).await;
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    assert_eq!(test.stored(&large.id).await.status, JobStatus::Ready, "it does not fit");
    assert_eq!(test.stored(&small.id).await.status, JobStatus::Ready, "it came later");

    test.exit(&first.id, 0);
    test.started(&large.id, 1).await;
    assert_eq!(test.stored(&small.id).await.status, JobStatus::Ready);
    test.exit(&large.id, 0);
    test.started(&small.id, 1).await;
    let huge = test.run_with(of(32_768)).await;
    test.exit(&small.id, 0);
    test.started(&huge.id, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_finds_its_surroundings_in_its_environment() {
    let test = TestEngine::start().await;
    let given = RunOptionsGiven { timeout_secs: Some(60), max_items: Some(5), ..Default::default() };

    let run = test.running(given).await;
    let spec = test.driver.started(run.id.as_str()).await;

    assert_eq!(spec.env["ACTOR_FULL_NAME"], "ada/my-actor");
    assert_eq!(spec.env["ACTOR_MAX_PAID_DATASET_ITEMS"], "5");
    assert_eq!(spec.env["ACTOR_TIMEOUT_AT"], run.deadline.unwrap().to_string());
    assert_eq!(spec.env["ACTOR_WEB_SERVER_PORT"], run.web_port.unwrap().to_string());
    let storages: Value = serde_json::from_str(&spec.env["ACTOR_STORAGES_JSON"]).unwrap();
    assert_eq!(storages["datasets"], json!({ "default": run.storages.dataset }));
    assert_eq!((spec.limits.memory_bytes, spec.limits.cpu_millis), (1 << 30, 250), "RES-1");
    let caller = test.engine.authenticate(&spec.env["APIFY_TOKEN"]).await.unwrap().unwrap();
    assert_eq!(caller.run.unwrap().id, run.id);
    assert!(spec.secrets.contains(&spec.env["APIFY_TOKEN"]));
}

#[tokio::test(start_paused = true)]
async fn secret_variables_are_opened_for_the_run_and_kept_out_of_its_log() {
    let mut test = TestEngine::start().await;
    test.add_version("0.1", &[]).await;
    let secret = test.engine.seal("hunter2");
    let change = Box::new(move |version: &mut model::Version| {
        let variable = |name: &str, value: &str, is_secret| model::EnvVar {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            is_secret,
        };
        version.env_vars = vec![variable("PASSWORD", &secret, true), variable("GREETING", "hello", false)];
        true
    });
    let now = test.engine.clock().now();
    test.engine.store().actors.modify_version(&test.actor.id, "0.1", change, now).await.unwrap();
    let build = test.start_build("0.1").await;
    test.built(&build.id).await;
    test.reload_actor().await;

    let run = test.running(RunOptionsGiven::default()).await;
    let spec = test.driver.started(run.id.as_str()).await;

    assert_eq!((spec.env["PASSWORD"].as_str(), spec.env["GREETING"].as_str()), ("hunter2", "hello"), "VER-11");
    assert!(spec.secrets.contains(&"hunter2".to_owned()), "LOG-12");
}

#[tokio::test(start_paused = true)]
async fn a_budget_below_the_minimum_of_the_pricing_is_refused() {
    let test = TestEngine::start().await;
    let mut actor = (*test.actor).clone();
    let pricing = json!({
        "pricingModel": "PAY_PER_EVENT", "createdAt": "2020-01-01T00:00:00Z", "startedAt": "2020-01-01T00:00:00Z",
        "minimalMaxTotalChargeUsd": 0.5, "pricingPerEvent": { "actorChargeEvents": {} },
    });
    actor.pricing_infos = vec![serde_json::from_value::<PricingInfo>(pricing).unwrap()];
    let given = |budget| RunOptionsGiven { max_total_charge_usd: Some(budget), ..Default::default() };

    let refused = test.engine.start_run(&test.ada, &actor, start(given(0.4))).await;

    assert!(matches!(refused, Err(EngineError::MaxTotalChargeBelowMinimum(least)) if least == 0.5), "START-13");
    assert!(test.engine.start_run(&test.ada, &actor, start(given(0.5))).await.is_ok());
}
