//! What builds do, by the numbers of the contract.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use drivers::fake::Call;
use drivers::{BuildSpec, Driver as _, Exit, ExitCause, Job, JobKind, Login, Prebuilt, Usage};
use model::{
    Actor, Build, BuildId, EnvVar, FileFormat, JobStatus, PullPolicy, Source, SourceFile, Storage, StorageKind, Version,
};
use serde_json::Value;
use store::{JobLog, NewRecord, Noun, RecordBody};

use crate::testing::{TestEngine, a_version};
use crate::{EngineError, StartBuild};

fn spec_of(test: &TestEngine, build: &Build) -> BuildSpec {
    let calls = test.driver.calls();
    let spec = calls.into_iter().rev().find_map(|call| match call {
        Call::StartBuild(spec) if spec.job.id == build.id.as_str() => Some(*spec),
        _ => None,
    });
    spec.expect("the build was handed to the driver")
}

async fn actor(test: &TestEngine) -> std::sync::Arc<Actor> {
    test.engine.store().actors.get(&test.actor.id).await.unwrap().unwrap()
}

async fn build_source(test: &TestEngine, number: &str, source: Source) -> std::sync::Arc<Build> {
    let version = Version { source, ..a_version(number, &[]) };
    let now = test.engine.clock().now();
    test.engine.store().actors.create_version(&test.actor.id, version, now).await.unwrap();
    let build = test.start_build(number).await;
    test.built(&build.id).await
}

fn file(name: &str, format: Option<FileFormat>, content: Option<&str>) -> SourceFile {
    SourceFile {
        name: name.into(),
        format,
        content: content.map(str::to_owned),
        folder: content.is_none().then_some(true),
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_ends_with_an_image_a_definition_and_its_tag() {
    let test = TestEngine::start().await;
    let modified_at = actor(&test).await.modified_at;
    let files = [
        (
            ".actor/actor.json",
            r#"{ "actorSpecification": 1, "name": "a", "version": "0.1", /* lenient */ "readme": "./R.md", }"#,
        ),
        (".actor/R.md", "# Read me"),
        (".actor/INPUT_SCHEMA.json", r#"{"title":"I","type":"object","schemaVersion":1,"properties":{}}"#),
        (".actor/Dockerfile", "FROM apify/actor-node:24\n"),
    ];

    let started = test.build("0.1", &files).await;
    assert_eq!((started.status, started.build_number.as_str()), (JobStatus::Ready, "0.1.1"), "BLD-3");
    let build = test.built(&started.id).await;

    assert_eq!(build.status, JobStatus::Succeeded, "{:?}", build.status_message);
    assert_eq!((build.readme.as_deref(), build.stats.image_size_bytes), (Some("# Read me"), Some(1024)), "BLD-7");
    assert!(build.input_schema.as_ref().unwrap().contains("\"title\":\"I\""));
    let definition: Value = serde_json::from_str(build.actor_definition.as_ref().unwrap().get()).unwrap();
    assert_eq!((&definition["readme"], &definition["input"]["title"]), (&"# Read me".into(), &"I".into()));
    let actor = actor(&test).await;
    let tagged = &actor.tagged_builds["latest"];
    assert_eq!((tagged.build_id, tagged.build_number_int), (build.id, 100_001), "ACT-6");
    assert_eq!(actor.modified_at, modified_at.max(actor.modified_at), "ACT-4");
    assert_eq!(test.engine.store().actors.stats(&actor.id).await.unwrap().total_builds, 2, "BLD-6");
    let log = test.log(JobLog::Build(build.id)).await;
    assert!(log.contains("ACTOR: Build 0.1.1 was accepted.\n") && log.ends_with("ACTOR: Build finished.\n"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn the_driver_gets_the_source_and_the_dockerfile() {
    let test = TestEngine::start().await;
    test.driver.hold_builds();
    let files = vec![
        file("src/main.js", None, Some("run()")),
        file("logo.png", Some(FileFormat::Base64), Some(&STANDARD.encode([1, 2, 3]))),
        file("storage", None, None),
        file("dockerfile", None, Some("FROM scratch\n")),
    ];
    let version = Version { source: Source::SourceFiles { source_files: files }, ..a_version("0.1", &[]) };
    test.engine.store().actors.create_version(&test.actor.id, version, test.engine.clock().now()).await.unwrap();

    let build = test.start_build("0.1").await;
    while test.driver.list().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let spec = spec_of(&test, &build);
    assert_eq!(std::fs::read_to_string(spec.context.join("src/main.js")).unwrap(), "run()", "VER-2");
    assert_eq!(std::fs::read(spec.context.join("logo.png")).unwrap(), [1, 2, 3]);
    assert!(spec.context.join("storage").is_dir());
    assert_eq!((spec.dockerfile.as_str(), spec.dockerfile_name.as_str()), ("FROM scratch\n", "dockerfile"), "SRC-4");
    assert_eq!(spec.args["ACTOR_PATH_IN_DOCKER_CONTEXT"], ".", "SRC-5");
    assert_eq!(spec.limits.memory_bytes, 4096 << 20, "BLD-4");
    let context = spec.context.clone();
    test.driver.finish(build.id.as_str(), test.driver.exited(0));
    test.built(&build.id).await;
    while context.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_dockerfile_the_built_in_one_is_used() {
    let test = TestEngine::start().await;

    let build = test.build("0.1", &[("main.js", "")]).await;
    test.built(&build.id).await;

    assert!(spec_of(&test, &build).dockerfile.starts_with("FROM apify/actor-node:"), "SRC-4");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_makes_no_sense_fails_with_the_reason() {
    let test = TestEngine::start().await;
    let files = |files: Vec<SourceFile>| Source::SourceFiles { source_files: files };
    for (index, (source, reason)) in [
        (files(vec![file("../x", None, Some(""))]), "points outside the Actor root directory"),
        (files(vec![file("/etc/x", None, Some(""))]), "points outside the Actor root directory"),
        (files(vec![file("x", Some(FileFormat::Base64), Some("?"))]), "is not valid base64"),
        (files(vec![file(".actor/actor.json", None, Some("{"))]), "Could not parse .actor/actor.json"),
        (files(vec![file(".actor/INPUT_SCHEMA.json", None, Some("{}"))]), "Input schema is not valid"),
    ]
    .into_iter()
    .enumerate()
    {
        let build = build_source(&test, &format!("1.{index}"), source).await;

        assert_eq!(build.status, JobStatus::Failed, "BLD-14");
        let message = build.status_message.as_ref().unwrap();
        assert!(message.starts_with("Build failed: ") && message.contains(reason), "{message}");
        let log = test.log(JobLog::Build(build.id)).await;
        assert_eq!(log.matches(message.as_str()).count(), 1, "{log}");
    }
    assert!(test.driver.list().await.unwrap().is_empty(), "nothing was handed to the driver");
}

#[tokio::test(start_paused = true)]
async fn a_failing_build_keeps_the_tag_where_it_was() {
    let test = TestEngine::start().await;
    let before = actor(&test).await.tagged_builds.clone();
    test.driver.fail_builds(Some("line 3: npm install failed"));

    let build = test.build("0.1", &[]).await;
    let build = test.built(&build.id).await;

    assert_eq!(build.status, JobStatus::Failed);
    assert_eq!(build.status_message.as_deref(), Some("Build failed: line 3: npm install failed"));
    assert_eq!(actor(&test).await.tagged_builds, before);
    test.driver.fail_builds(None);
    let again = test.start_build("0.1").await;
    assert_eq!(again.build_number, "0.1.2", "BLD-3: numbers are never used again");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_overstays_is_timed_out_and_one_can_be_aborted() {
    let test = TestEngine::start().await;
    test.driver.hold_builds();
    let slow = test.build("0.1", &[]).await;
    let aborted = test.start_build("0.1").await;
    let refused = test.engine.delete_build(&slow.id).await;
    assert!(matches!(refused, Err(EngineError::DeletingUnfinishedBuild)), "BLD-10");

    tokio::time::sleep(Duration::from_secs(60)).await;
    let aborted = test.engine.abort_build(&aborted.id).await.unwrap();
    assert_eq!(aborted.status, JobStatus::Aborted, "BLD-4");
    assert_eq!(*test.engine.abort_build(&aborted.id).await.unwrap().status.as_str(), *"ABORTED");
    let slow = test.built(&slow.id).await;

    assert_eq!(slow.status, JobStatus::TimedOut, "BLD-4");
    assert_eq!(slow.status_message.as_deref(), Some("Build exceeded its timeout of 1800 seconds."));
}

#[tokio::test(start_paused = true)]
async fn builds_beyond_the_limit_wait_and_can_be_aborted_there() {
    let config = crate::EngineConfig { concurrent_builds: 1, ..Default::default() };
    let test = TestEngine::start_with(config).await;
    test.driver.hold_builds();
    let first = test.build("0.1", &[]).await;
    let second = test.start_build("0.1").await;
    let third = test.start_build("0.1").await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let second = test.engine.abort_build(&second.id).await.unwrap();
    assert_eq!(second.status, JobStatus::Aborted);
    assert_eq!(test.engine.store().builds.get(&third.id).await.unwrap().unwrap().status, JobStatus::Ready);
    test.driver.finish(first.id.as_str(), test.driver.exited(0));
    let mut status = JobStatus::Ready;
    while status == JobStatus::Ready {
        tokio::time::sleep(Duration::from_millis(1)).await;
        status = test.engine.store().builds.get(&third.id).await.unwrap().unwrap().status;
    }

    assert_eq!(status, JobStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn the_tag_of_the_call_wins_and_no_tag_is_none() {
    let test = TestEngine::start().await;
    test.add_version("0.1", &[]).await;
    let start = |tag: Option<&str>| StartBuild {
        version: "0.1".into(),
        tag: tag.map(str::to_owned),
        use_cache: true,
        beta_packages: false,
        asked: crate::testing::asked(),
    };

    let build = test.engine.start_build(&test.ada, &test.actor, start(Some("beta"))).await.unwrap();
    test.built(&build.id).await;
    let actor = actor(&test).await;
    assert_eq!(actor.tagged_builds["beta"].build_id, build.id, "BLD-2");
    assert_ne!(actor.tagged_builds["latest"].build_id, build.id);
    assert!(spec_of(&test, &build).use_cache);

    let missing = StartBuild { version: "9.9".into(), ..start(None) };
    let refused = test.engine.start_build(&test.ada, &test.actor, missing).await;
    assert!(matches!(refused, Err(EngineError::NotFound(Noun::Version))), "BLD-1");
}

#[tokio::test(start_paused = true)]
async fn standby_is_switched_on_by_the_definition_and_never_off() {
    let test = TestEngine::start().await;
    let json =
        |standby: bool| format!(r#"{{"actorSpecification":1,"name":"a","version":"0.1","usesStandbyMode":{standby}}}"#);

    for (version, standby) in [("0.1", true), ("0.2", false)] {
        let build = test.build(version, &[(".actor/actor.json", &json(standby))]).await;
        assert_eq!(test.built(&build.id).await.status, JobStatus::Succeeded);
        let settings = actor(&test).await.actor_standby.clone().unwrap();
        assert_eq!((settings.is_enabled, settings.idle_timeout_secs), (true, 300), "ACT-12");
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_build_stays_and_others_can_be_deleted() {
    let test = TestEngine::start().await;
    let old = test.actor.tagged_builds["latest"].build_id;
    let refused = test.engine.delete_build(&old).await;
    assert!(matches!(refused, Err(EngineError::DeletingDefaultBuild)), "BLD-10");

    let new = test.build("0.1", &[]).await;
    test.built(&new.id).await;
    test.engine.delete_build(&old).await.unwrap();

    assert!(test.engine.store().builds.get(&old).await.unwrap().is_none());
    assert!(test.driver.calls().contains(&Call::RemoveImage(old.to_string())));
    let unknown = BuildId::parse("aaaaaaaaaaaaaaaaa").unwrap();
    assert!(matches!(test.engine.delete_build(&unknown).await, Err(EngineError::NotFound(Noun::Build))));
}

#[tokio::test(start_paused = true)]
async fn an_actor_goes_with_its_builds_and_their_images() {
    let test = TestEngine::start().await;
    test.driver.hold_builds();
    let running = test.build("0.1", &[]).await;
    let old = test.actor.tagged_builds["latest"].build_id;

    test.engine.delete_actor(&test.actor.id).await.unwrap();

    assert!(test.engine.store().actors.get(&test.actor.id).await.unwrap().is_none());
    for id in [running.id, old] {
        assert!(test.driver.calls().contains(&Call::RemoveImage(id.to_string())), "ACT-8");
    }
}

#[tokio::test(start_paused = true)]
async fn an_archive_in_a_key_value_store_of_this_server_is_unpacked() {
    let test = TestEngine::start().await;
    let stranger = test.engine.create_user("bob").await.unwrap();
    let archive = zipped(&[("Dockerfile", "FROM scratch\n"), ("src/main.py", "run()")]);
    for (index, (user, signed, expected)) in [
        (test.ada.user.id, false, JobStatus::Succeeded),
        (stranger.id, true, JobStatus::Succeeded),
        (stranger.id, false, JobStatus::Failed),
    ]
    .into_iter()
    .enumerate()
    {
        let storage = Storage {
            id: model::StorageId::random(test.engine.random()),
            kind: StorageKind::KeyValueStore,
            user_id: user,
            name: None,
            title: None,
            created_at: test.engine.clock().now(),
            actor_id: None,
            run_id: None,
            general_access: model::GeneralAccess::default(),
            url_signing_secret: "secret".into(),
            schema: None,
            lives_with: None,
            token_id: None,
        };
        let store = test.engine.store();
        let id = store.storages.get_or_create(storage).await.unwrap().storage.id;
        let record =
            NewRecord { key: "version-0.1.zip".into(), content_type: "application/zip".into(), content_encoding: None };
        store.records.put(&id, record, RecordBody::Whole(archive.clone())).await.unwrap();
        let base = &test.engine.config().public_url;
        let mut url = format!("{base}/v2/key-value-stores/{id}/records/version-0.1.zip?disableRedirect=true");
        if signed {
            url += &format!("&signature={}", model::signature::sign("secret", "version-0.1.zip"));
        }

        let build = build_source(&test, &format!("2.{index}"), Source::Tarball { tarball_url: url }).await;

        assert_eq!(build.status, expected, "VER-5: {:?}", build.status_message);
    }
}

fn zipped(files: &[(&str, &str)]) -> Bytes {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner().into()
}

#[tokio::test(start_paused = true)]
async fn a_build_is_carried_on_by_the_next_server() {
    for point in
        ["build created", "build begun", "before start of build", "after start of build", "before end of build"]
    {
        let mut test = TestEngine::start().await;
        test.add_version("0.1", &[("main.js", "")]).await;
        test.advance_to(point, test.start_build("0.1")).await;

        test.crash().await;
        let live = test.engine.store().builds.live().await.unwrap();
        let build = test.built(&live[0].id).await;

        assert_eq!(build.status, JobStatus::Succeeded, "{point}: {:?}", build.status_message);
        assert_eq!(actor(&test).await.tagged_builds["latest"].build_id, build.id);
        let starts = test.driver.calls().iter().filter(|call| matches!(call, Call::StartBuild(_))).count();
        assert_eq!(starts, 1, "{point}: nothing is built twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_that_ended_without_a_server_gets_its_true_end() {
    let mut test = TestEngine::start().await;
    test.driver.hold_builds();
    let build = test.build("0.1", &[]).await;
    let job = Job { kind: JobKind::Build, id: build.id.to_string(), life: 1 };
    while test.driver.list().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    test.engine.shutdown().await;
    let at = test.engine.clock().now().plus_secs(5);
    test.driver.finish(&job.id, Exit { code: Some(0), cause: ExitCause::Exited, at, usage: Usage::default() });
    tokio::time::sleep(Duration::from_secs(500)).await;

    test.crash().await;
    let build = test.built(&build.id).await;

    assert_eq!((build.status, build.finished_at), (JobStatus::Succeeded, Some(at)));
}

#[tokio::test(start_paused = true)]
async fn a_prebuilt_image_goes_to_the_driver_with_the_login_of_its_registry() {
    let test = TestEngine::start().await;
    let image = "registry.example/ada/crawler:3".to_owned();
    let variable = |name: &str, value: &str| EnvVar { name: name.into(), value: Some(value.into()), is_secret: false };
    let version = Version {
        source: Source::XImage { x_image: image.clone(), x_image_pull: PullPolicy::Always },
        env_vars: vec![
            variable(model::REGISTRY_USERNAME, "ada"),
            variable("COLOUR", "red"),
            variable(model::REGISTRY_PASSWORD, "wonderland"),
        ],
        apply_env_vars_to_build: true,
        ..a_version("0.3", &[])
    };
    let now = test.engine.clock().now();
    test.engine.store().actors.create_version(&test.actor.id, version, now).await.unwrap();
    let build = test.start_build("0.3").await;
    let build = test.built(&build.id).await;

    assert_eq!(build.status, JobStatus::Succeeded, "{:?}", build.status_message);
    let spec = spec_of(&test, &build);
    let login = Login { username: "ada".into(), password: "wonderland".into() };
    assert_eq!(spec.prebuilt, Some(Prebuilt { image, pull: PullPolicy::Always, login: Some(login) }));
    assert_eq!(
        (spec.args.get("COLOUR").map(String::as_str), spec.args.get(model::REGISTRY_PASSWORD)),
        (Some("red"), None)
    );
    let log = test.log(JobLog::Build(build.id)).await;
    assert!(log.contains("Taking the image registry.example/ada/crawler:3."), "{log}");
    let run = test.running(crate::RunOptionsGiven { build: Some("0.3.1".into()), ..Default::default() }).await;
    let env = test.driver.started(run.id.as_str()).await.env;
    assert_eq!((env.get("COLOUR").map(String::as_str), env.get(model::REGISTRY_PASSWORD)), (Some("red"), None));
}
