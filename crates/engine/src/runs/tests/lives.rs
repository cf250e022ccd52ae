//! Runs with more than one life.

use std::time::Duration;

use bytes::Bytes;
use drivers::fake::Call;
use drivers::{Job, JobKind, Stop};
use futures::StreamExt as _;
use model::{JobStatus, MAX_METAMORPHS, PermissionLevel, RunId};
use store::JobLog;

use crate::testing::TestEngine;
use crate::{EngineError, RunInput, RunOptionsGiven, RunUpdate};

fn restarting() -> RunOptionsGiven {
    RunOptionsGiven { restart_on_error: Some(true), ..RunOptionsGiven::default() }
}

fn job(id: &RunId, life: u32) -> Job {
    Job { kind: JobKind::Run, id: id.to_string(), life }
}

#[tokio::test(start_paused = true)]
async fn a_failing_run_is_restarted_three_times_a_minute() {
    let test = TestEngine::start().await;
    let run = test.running(restarting()).await;

    for life in 1..=3 {
        test.exit(&run.id, 1);
        let run = test.started(&run.id, life + 1).await;
        assert_eq!((run.status, run.stats.restart_count), (JobStatus::Running, life), "START-24");
    }
    test.exit(&run.id, 1);
    let run = test.ended(&run.id).await;

    assert_eq!((run.status, run.stats.restart_count, run.exit_code), (JobStatus::Failed, 3, Some(1)));
    let log = test.log(JobLog::Run(run.id)).await;
    assert_eq!(log.matches("Restarting it").count(), 3, "LOG-14: {log}");
}

#[tokio::test(start_paused = true)]
async fn restarts_of_long_ago_do_not_count() {
    let test = TestEngine::start().await;
    let run = test.running(restarting()).await;

    for life in 1..=6 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        test.exit(&run.id, 1);
        test.started(&run.id, life + 1).await;
    }

    assert_eq!(test.stored(&run.id).await.status, JobStatus::Running, "START-24");
}

#[tokio::test(start_paused = true)]
async fn a_deliberate_failure_and_a_success_are_not_restarted() {
    let test = TestEngine::start().await;
    let failed = test.running(restarting()).await;
    let update = RunUpdate {
        status_message: Some("Wrong input".into()),
        is_status_message_terminal: Some(true),
        general_access: None,
    };
    test.engine.update_run(&failed.id, update).await.unwrap();
    let succeeded = test.running(restarting()).await;

    test.exit(&failed.id, 1);
    test.exit(&succeeded.id, 0);

    let (failed, succeeded) = (test.ended(&failed.id).await, test.ended(&succeeded.id).await);
    assert_eq!((failed.status, failed.life), (JobStatus::Failed, 1), "START-24");
    assert_eq!((succeeded.status, succeeded.life), (JobStatus::Succeeded, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reboot_kills_and_starts_the_same_again() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven { timeout_secs: Some(600), ..Default::default() }).await;
    let first = test.driver.started(run.id.as_str()).await;

    let rebooted = test.engine.reboot_run(&run.id).await.unwrap();
    assert_eq!((rebooted.status, rebooted.stats.reboot_count), (JobStatus::Running, 1), "REBOOT-1");
    let again = test.started(&run.id, 2).await;

    let second = test.driver.started_life(run.id.as_str(), 2).await;
    assert_eq!(again.deadline, run.deadline, "START-4: one budget of time");
    assert_eq!(first.env["APIFY_TOKEN"], second.env["APIFY_TOKEN"]);
    assert_eq!(first.env["ACTOR_WEB_SERVER_PORT"], second.env["ACTOR_WEB_SERVER_PORT"]);
    let calls = test.driver.calls();
    let at = |wanted: &Call| calls.iter().position(|call| call == wanted).unwrap();
    assert!(at(&Call::Stop(job(&run.id, 1), Stop::Kill)) < at(&Call::StartRun(Box::new(second))));
    test.exit(&run.id, 0);
    assert_eq!(test.ended(&run.id).await.status, JobStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn only_a_running_run_can_be_rebooted_or_changed_into_another() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.engine.abort_run(&test.ada, &run.id, true).await.unwrap();
    let refused = test.engine.reboot_run(&run.id).await;
    assert!(matches!(refused, Err(EngineError::NotRunning(JobStatus::Aborting))));
    test.exit(&run.id, 0);
    test.ended(&run.id).await;

    let reboot = test.engine.reboot_run(&run.id).await;
    let metamorph = test.engine.metamorph_run(&test.ada, &run.id, &test.actor, None, None).await;

    assert_eq!(reboot.unwrap_err().to_string(), "Actor job is already finished.", "REBOOT-1");
    assert_eq!(metamorph.unwrap_err().to_string(), "Actor job is already finished.", "META-5");
}

#[tokio::test(start_paused = true)]
async fn a_metamorph_goes_on_as_the_other_actor_with_the_new_input() {
    let test = TestEngine::start().await;
    let other = test.engine.give_actor(&test.ada.user, "other-actor").await;
    test.driver.put_image(other.tagged_builds["latest"].build_id.as_str(), drivers::fake::FakeDriver::default_image());
    let run = test.running(RunOptionsGiven::default()).await;
    let input = RunInput { body: Bytes::from_static(b"{\"a\":1}"), content_type: Some("application/json".into()) };

    let changed = test.engine.metamorph_run(&test.ada, &run.id, &other, None, Some(input)).await.unwrap();
    assert_eq!((changed.actor_id, changed.stats.metamorph), (other.id, 1), "META-3");
    test.started(&run.id, 2).await;

    let spec = test.driver.started_life(run.id.as_str(), 2).await;
    assert_eq!(spec.env["ACTOR_INPUT_KEY"], "INPUT-METAMORPH-1", "META-2");
    assert_eq!(
        (spec.env["ACTOR_FULL_NAME"].as_str(), spec.build_id.as_str()),
        ("ada/other-actor", other.tagged_builds["latest"].build_id.as_str())
    );
    assert_eq!(spec.env["ACTOR_DEFAULT_DATASET_ID"], run.storages.dataset.as_str());
    let records = &test.engine.store().records;
    let input = records.head(&run.storages.key_value_store, "INPUT-METAMORPH-1").await.unwrap();
    assert_eq!(input.unwrap().content_type, "application/json");
    assert_eq!(changed.metamorphs[0].input_key.as_deref(), Some("INPUT-METAMORPH-1"), "RUN-16");
}

#[tokio::test(start_paused = true)]
async fn metamorphs_are_limited_in_number_and_rights() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let mut full = (*test.actor).clone();
    full.actor_permission_level = PermissionLevel::FullPermissions;

    let refused = test.engine.metamorph_run(&test.ada, &run.id, &full, None, None).await;
    assert!(matches!(refused, Err(EngineError::MetamorphNeedsPermissions)), "META-5");
    for life in 0..MAX_METAMORPHS {
        test.engine.metamorph_run(&test.ada, &run.id, &test.actor, None, None).await.unwrap();
        test.started(&run.id, u32::try_from(life).unwrap() + 2).await;
    }

    let refused = test.engine.metamorph_run(&test.ada, &run.id, &test.actor, None, None).await;
    assert!(matches!(refused, Err(EngineError::MaxMetamorphsExceeded)), "META-5");
}

#[tokio::test(start_paused = true)]
async fn a_resurrected_run_goes_on_with_time_counted_anew() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven { timeout_secs: Some(60), ..Default::default() }).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    test.exit(&run.id, 1);
    let first = test.ended(&run.id).await;
    tokio::time::sleep(Duration::from_secs(5000)).await;

    let given = RunOptionsGiven { memory_mbytes: Some(2048), ..RunOptionsGiven::default() };
    let risen = test.engine.resurrect_run(&run.id, given).await.unwrap();
    assert_eq!((risen.status, risen.finished_at, risen.exit_code), (JobStatus::Ready, None, None), "RESUR-1, RESUR-2");
    assert_eq!((risen.stats.resurrect_count, risen.options.memory_mbytes), (1, 2048));
    assert_eq!(risen.storages, run.storages);
    test.started(&run.id, 2).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(test.stored(&run.id).await.status, JobStatus::Running, "RESUR-2");
    test.exit(&run.id, 0);
    let second = test.ended(&run.id).await;

    assert_eq!(second.status, JobStatus::Succeeded);
    let millis = second.stats.duration_millis - first.stats.duration_millis;
    assert!((50_000..51_000).contains(&millis), "RUN-9: {millis}");
    let units = second.stats.compute_units - first.stats.compute_units;
    assert!((units - 2.0 * 51.0 / 3600.0).abs() < 0.001, "RUN-9: {units}");
}

#[tokio::test(start_paused = true)]
async fn every_end_can_be_resurrected_but_not_a_live_run() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let refused = test.engine.resurrect_run(&run.id, RunOptionsGiven::default()).await;
    assert!(matches!(refused, Err(EngineError::NotFinished(JobStatus::Running))), "RESUR-3");

    test.engine.abort_run(&test.ada, &run.id, false).await.unwrap();
    for life in 2..5 {
        let risen = test.engine.resurrect_run(&run.id, RunOptionsGiven::default()).await.unwrap();
        assert_eq!((risen.status, risen.end_cause, risen.aborted_by.as_deref()), (JobStatus::Ready, None, None));
        test.started(&run.id, life).await;
        test.exit(&run.id, 0);
        assert_eq!(test.ended(&run.id).await.status, JobStatus::Succeeded);
    }
    let unknown = RunOptionsGiven { build: Some("nope".into()), ..RunOptionsGiven::default() };
    let refused = test.engine.resurrect_run(&run.id, unknown).await;
    assert!(matches!(refused, Err(EngineError::NoBuildTagged(_))));
    assert_eq!(test.stored(&run.id).await.status, JobStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn an_abort_during_a_reboot_ends_the_run() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;

    test.engine.reboot_run(&run.id).await.unwrap();
    let run = test.engine.abort_run(&test.ada, &run.id, false).await.unwrap();

    assert_eq!(run.status, JobStatus::Aborted);
    let started = test.driver.calls().into_iter().filter(|call| matches!(call, Call::StartRun(_))).count();
    let killed = test.driver.calls().contains(&Call::Stop(job(&run.id, u32::try_from(started).unwrap()), Stop::Kill));
    assert!(killed, "whatever was started last is dead");
}

#[tokio::test(start_paused = true)]
async fn a_migrating_run_is_told_and_goes_on_in_another_life() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let events = test.engine.events(&run.id, &test.events_secret(&run.id)).unwrap();
    let mut events = events.filter(|event| std::future::ready(!event.contains("systemInfo")));

    let first = test.engine.migrate_run(&run.id).await.unwrap();
    let again = test.engine.migrate_run(&run.id).await.unwrap();

    assert_eq!((first.stats.migration_count, again.stats.migration_count), (1, 1), "MIG-1");
    let told = [events.next().await.unwrap(), events.next().await.unwrap()];
    assert!(
        told[0].contains(r#""name":"migrating""#) && told[0].contains(r#""timeRemainingSecs":10"#),
        "EVT-10: {told:?}"
    );
    assert!(told[1].contains(r#""persistState""#) && told[1].contains(r#""isMigrating":true"#), "{told:?}");
    assert_eq!(test.stored(&run.id).await.life, 1, "it has time to save its state");
    let run = test.started(&run.id, 2).await;
    assert_eq!((run.status, run.migrate_at, run.stats.reboot_count), (JobStatus::Running, None, 0));
    assert!(test.driver.calls().contains(&Call::Stop(job(&run.id, 1), Stop::Kill)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(test.stored(&run.id).await.life, 2, "once");
}

#[tokio::test(start_paused = true)]
async fn a_migrating_run_that_reboots_itself_has_migrated() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;

    test.engine.migrate_run(&run.id).await.unwrap();
    test.engine.reboot_run(&run.id).await.unwrap();
    test.started(&run.id, 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;

    let run = test.stored(&run.id).await;
    assert_eq!((run.life, run.stats.migration_count, run.stats.reboot_count), (2, 1, 1), "REBOOT-2");
    test.exit(&run.id, 0);
    test.ended(&run.id).await;
    assert!(matches!(test.engine.migrate_run(&run.id).await, Err(EngineError::JobFinished)));
}
