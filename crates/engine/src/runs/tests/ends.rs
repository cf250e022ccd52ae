//! How runs end.

use std::time::Duration;

use drivers::fake::Call;
use drivers::{Exit, ExitCause, Stop, Usage};
use futures::future::join_all;
use model::{EndCause, JobStatus};
use store::JobLog;

use crate::testing::TestEngine;
use crate::{EngineError, RunOptionsGiven, RunUpdate};

fn timeout(secs: i64) -> RunOptionsGiven {
    RunOptionsGiven { timeout_secs: Some(secs), ..RunOptionsGiven::default() }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_is_named_by_its_cause() {
    let test = TestEngine::start().await;
    use JobStatus::{Failed, Succeeded};
    for (cause, code, status, end_cause, message) in [
        (ExitCause::Exited, Some(0), Succeeded, EndCause::Exited, "Actor finished with exit code 0."),
        (ExitCause::Exited, Some(91), Failed, EndCause::Exited, "Actor finished with exit code 91."),
        (
            ExitCause::Signal { signal: 9 },
            Some(137),
            Failed,
            EndCause::Signal,
            "Actor was killed by signal 9 (SIGKILL).",
        ),
        (
            ExitCause::OutOfMemory,
            Some(137),
            Failed,
            EndCause::OutOfMemory,
            "Actor ran out of memory: it needed more than its 1024 MB.",
        ),
        (
            ExitCause::Failed { reason: "npm was not found".into() },
            None,
            Failed,
            EndCause::CannotStart,
            "Actor could not be started: npm was not found",
        ),
        (
            ExitCause::Lost,
            None,
            Failed,
            EndCause::Lost,
            "Actor was lost: its container or supervising process was removed or killed from outside, or the machine went down.",
        ),
    ] {
        let run = test.running(RunOptionsGiven::default()).await;
        let at = test.engine.clock().now().plus_millis(-1);
        test.driver.finish(run.id.as_str(), Exit { code, cause, at, usage: Usage::default() });

        let run = test.ended(&run.id).await;

        assert_eq!((run.status, run.end_cause, run.exit_code), (status, Some(end_cause), code), "{message}");
        assert_eq!(run.status_message.as_deref(), Some(message));
        assert_eq!(run.finished_at, Some(at.max(run.started_at)), "RUN-4");
        let log = test.log(JobLog::Run(run.id)).await;
        assert!(log.ends_with(&format!("ACTOR: {message}\n")), "LOG-16: {log}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_started_fails_with_the_reason() {
    let test = TestEngine::start().await;
    test.driver.refuse_start(Some("the image is gone"));

    let run = test.run().await;
    let run = test.ended(&run.id).await;

    assert_eq!((run.status, run.exit_code), (JobStatus::Failed, None), "RUN-5");
    assert_eq!(run.end_cause, Some(EndCause::CannotStart));
    assert_eq!(run.status_message.as_deref(), Some("Actor could not be started: the image is gone"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_overstays_is_timed_out() {
    let test = TestEngine::start().await;
    let run = test.running(timeout(60)).await;

    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(test.stored(&run.id).await.status, JobStatus::Running);
    let run = test.ended(&run.id).await;

    assert_eq!((run.status, run.end_cause), (JobStatus::TimedOut, Some(EndCause::Timeout)), "START-4");
    assert_eq!(run.status_message.as_deref(), Some("Actor run exceeded its timeout of 60 seconds."));
    assert_eq!(test.driver.stopped(run.id.as_str()).await, Stop::Kill);
    assert!((60_000..61_000).contains(&run.stats.duration_millis), "{}", run.stats.duration_millis);
}

#[tokio::test(start_paused = true)]
async fn without_a_timeout_a_run_goes_on() {
    let test = TestEngine::start().await;
    let run = test.running(timeout(0)).await;

    tokio::time::sleep(Duration::from_secs(100_000)).await;

    assert_eq!(test.stored(&run.id).await.status, JobStatus::Running);
    assert_eq!(run.deadline, None);
}

#[tokio::test(start_paused = true)]
async fn the_time_in_which_a_run_waits_is_not_counted() {
    let config = crate::EngineConfig { memory_mbytes: 1024, ..Default::default() };
    let test = TestEngine::start_with(config).await;
    let first = test.running(timeout(0)).await;
    let waiting = test.run_with(timeout(60)).await;

    tokio::time::sleep(Duration::from_secs(600)).await;
    test.exit(&first.id, 0);
    test.started(&waiting.id, 1).await;
    tokio::time::sleep(Duration::from_secs(50)).await;

    assert_eq!(test.stored(&waiting.id).await.status, JobStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn an_abort_kills_at_once_and_answers_when_it_is_done() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;

    let run = test.engine.abort_run(&test.ada, &run.id, false).await.unwrap();

    assert_eq!((run.status, run.end_cause), (JobStatus::Aborted, Some(EndCause::Aborted)), "ABORT-2, ABORT-8");
    assert_eq!(run.status_message.as_deref(), Some("Actor run was aborted by user ada."));
    assert_eq!(run.exit_code, Some(137));
    test.engine.delete_run(&run.id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_graceful_abort_leaves_half_a_minute() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;

    let asked = test.engine.abort_run(&test.ada, &run.id, true).await.unwrap();
    assert_eq!(asked.status, JobStatus::Aborting, "ABORT-3");
    tokio::time::sleep(Duration::from_secs(20)).await;
    test.engine.abort_run(&test.ada, &run.id, true).await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(test.stored(&run.id).await.status, JobStatus::Aborting, "ABORT-5");
    tokio::time::sleep(Duration::from_secs(2)).await;

    assert_eq!(test.stored(&run.id).await.status, JobStatus::Aborted);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_well_inside_the_window_is_aborted_all_the_same() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.engine.abort_run(&test.ada, &run.id, true).await.unwrap();

    test.exit(&run.id, 0);
    let run = test.ended(&run.id).await;

    assert_eq!((run.status, run.exit_code), (JobStatus::Aborted, Some(0)), "ABORT-4");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_standby_lets_go_is_told_then_signalled_and_counts_as_a_success() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.engine.ask_abort(&run.id, true, EndCause::Idle, None).await.unwrap();

    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!test.driver.calls().iter().any(|call| matches!(call, Call::Stop(..))), "it may end by itself");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(test.driver.stopped(run.id.as_str()).await, Stop::Signal);
    assert_eq!(test.stored(&run.id).await.status, JobStatus::Aborting);
    tokio::time::sleep(Duration::from_secs(25)).await;

    let run = test.stored(&run.id).await;
    assert_eq!((run.status, run.end_cause), (JobStatus::Succeeded, Some(EndCause::Idle)), "STB-6");
}

#[tokio::test(start_paused = true)]
async fn whoever_aborts_a_run_that_standby_lets_go_has_aborted_it() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.engine.ask_abort(&run.id, true, EndCause::Idle, None).await.unwrap();

    let run = test.engine.abort_run(&test.ada, &run.id, false).await.unwrap();

    assert_eq!((run.status, run.end_cause), (JobStatus::Aborted, Some(EndCause::Aborted)));
}

#[tokio::test(start_paused = true)]
async fn a_second_abort_without_grace_kills_at_once() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.engine.abort_run(&test.ada, &run.id, true).await.unwrap();

    let run = test.engine.abort_run(&test.ada, &run.id, false).await.unwrap();

    assert_eq!(run.status, JobStatus::Aborted, "ABORT-5");
    assert!(run.stats.duration_millis < 1000, "no time has passed");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_run_is_aborted_without_ever_starting() {
    let config = crate::EngineConfig { memory_mbytes: 1024, ..Default::default() };
    let test = TestEngine::start_with(config).await;
    test.running(RunOptionsGiven::default()).await;
    let waiting = test.run().await;

    let run = test.engine.abort_run(&test.ada, &waiting.id, true).await.unwrap();

    assert_eq!((run.status, run.exit_code), (JobStatus::Aborted, None), "ABORT-6");
    test.ended(&run.id).await;
    assert!(test.log(JobLog::Run(run.id)).await.contains("ACTOR: Actor run was aborted by user ada."), "LOG-16");
}

#[tokio::test(start_paused = true)]
async fn a_late_abort_changes_nothing() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.exit(&run.id, 0);
    let ended = test.ended(&run.id).await;

    for gracefully in [true, false] {
        let run = test.engine.abort_run(&test.ada, &run.id, gracefully).await.unwrap();
        assert_eq!(*run, *ended, "ABORT-1");
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_who_waits_is_woken_by_the_end() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let begin = tokio::time::Instant::now();
    let waiters = (0..1000).map(|_| test.engine.wait_for_run(&run.id, Duration::from_secs(60)));
    let end = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        test.exit(&run.id, 0);
    };

    let (waited, ()) = tokio::join!(join_all(waiters), end);

    assert!(waited.into_iter().all(|run| run.unwrap().status == JobStatus::Succeeded), "WAIT-5");
    assert!(begin.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn waiting_is_over_when_its_time_is() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;

    let run = test.engine.wait_for_run(&run.id, Duration::from_secs(2)).await.unwrap();

    assert_eq!(run.status, JobStatus::Running, "WAIT-1");
    let unknown = model::RunId::parse("aaaaaaaaaaaaaaaaa").unwrap();
    let missing = test.engine.wait_for_run(&unknown, Duration::ZERO).await;
    assert!(matches!(missing, Err(EngineError::NotFound(store::Noun::Run))));
}

#[tokio::test(start_paused = true)]
async fn only_a_finished_run_can_be_deleted() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;

    let refused = test.engine.delete_run(&run.id).await;
    assert!(matches!(refused, Err(EngineError::CannotRemoveRunningRun)), "DEL-1");
    test.exit(&run.id, 0);
    test.ended(&run.id).await;
    test.engine.delete_run(&run.id).await.unwrap();

    assert!(test.engine.store().runs.get(&run.id).await.unwrap().is_none());
    assert!(test.engine.store().storages.get(&run.storages.dataset).await.unwrap().is_none());
    let again = test.engine.delete_run(&run.id).await;
    assert!(matches!(again, Err(EngineError::NotFound(store::Noun::Run))));
}

#[tokio::test(start_paused = true)]
async fn the_last_message_of_an_actor_stays() {
    let test = TestEngine::start().await;
    for (is_terminal, expected) in [(Some(true), "All done"), (None, "Actor finished with exit code 0.")] {
        let run = test.running(RunOptionsGiven::default()).await;
        let update = RunUpdate {
            status_message: Some("All done".into()),
            is_status_message_terminal: is_terminal,
            general_access: None,
        };
        test.engine.update_run(&run.id, update).await.unwrap();

        test.exit(&run.id, 0);

        assert_eq!(test.ended(&run.id).await.status_message.as_deref(), Some(expected), "UPD-4");
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_run_still_takes_a_message() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.exit(&run.id, 0);
    test.ended(&run.id).await;

    let update = RunUpdate {
        status_message: Some("Scraped 3 pages".into()),
        is_status_message_terminal: Some(true),
        general_access: Some(model::GeneralAccess::Restricted),
    };
    let run = test.engine.update_run(&run.id, update).await.unwrap();

    assert_eq!(run.status_message.as_deref(), Some("Scraped 3 pages"), "UPD-4");
    assert_eq!((run.status, run.general_access), (JobStatus::Succeeded, model::GeneralAccess::Restricted));
}
