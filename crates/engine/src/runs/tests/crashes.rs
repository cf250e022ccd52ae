//! Servers that die in the middle, and those that come after them.

use std::time::Duration;

use drivers::fake::Call;
use drivers::{Driver as _, Exit, ExitCause, Job, JobKind, Limits, RunSpec, Usage};
use model::{EndCause, JobStatus, RequestId, RunId};
use store::{JobLog, Locker, NewRequest};

use crate::RunOptionsGiven;
use crate::testing::TestEngine;

fn starts(test: &TestEngine, id: &RunId) -> usize {
    let calls = test.driver.calls();
    calls.iter().filter(|call| matches!(call, Call::StartRun(spec) if spec.job.id == id.as_str())).count()
}

async fn the_only_run(test: &TestEngine) -> RunId {
    let runs = test.engine.store().runs.live().await.unwrap();
    assert_eq!(runs.len(), 1);
    runs[0].id
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_acknowledged_is_started_by_the_next_server() {
    for point in ["run created", "before start of run", "after start of run"] {
        let mut test = TestEngine::start().await;
        test.advance_to(point, test.run()).await;

        test.crash().await;
        let id = the_only_run(&test).await;
        test.started(&id, 1).await;
        test.exit(&id, 0);
        let run = test.ended(&id).await;

        assert_eq!((run.status, run.life), (JobStatus::Succeeded, 1), "{point}");
        let jobs = test.driver.calls().iter().filter(|call| matches!(call, Call::StartRun(_))).count();
        assert_eq!(jobs, 1, "{point}: nothing is executed twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_run_goes_on_under_the_next_server() {
    let mut test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven { timeout_secs: Some(100), ..Default::default() }).await;

    test.crash().await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(test.stored(&run.id).await.status, JobStatus::Running);
    let ended = test.ended(&run.id).await;

    assert_eq!(starts(&test, &run.id), 1);
    assert_eq!((ended.status, ended.web_port), (JobStatus::TimedOut, run.web_port), "its deadline holds");
    assert_eq!(ended.finished_at, Some(run.deadline.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_without_a_server_gets_its_true_end() {
    let mut test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.engine.shutdown().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let at = test.engine.clock().now();
    let exit = Exit { code: Some(137), cause: ExitCause::OutOfMemory, at, usage: Usage::default() };
    test.driver.finish(run.id.as_str(), exit);
    tokio::time::sleep(Duration::from_secs(1000)).await;

    test.crash().await;
    let run = test.ended(&run.id).await;

    assert_eq!((run.status, run.end_cause), (JobStatus::Failed, Some(EndCause::OutOfMemory)));
    assert_eq!(run.finished_at, Some(at));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_not_written_down_is_written_by_the_next_server() {
    for point in ["before end of run", "after end of run"] {
        let mut test = TestEngine::start().await;
        let run = test.running(RunOptionsGiven::default()).await;
        let queue = run.storages.request_queue;
        lock_a_request(&test, &run).await;
        test.exit(&run.id, 0);
        test.advance_to(point, std::future::pending::<()>()).await;

        test.crash().await;
        test.until(&run.id, |run| run.status == JobStatus::Succeeded).await;
        let job = Job { kind: JobKind::Run, id: run.id.to_string(), life: 1 };
        while test.driver.list().await.unwrap().contains(&job) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }

        let head = test.engine.store().queues.head(&queue, 10, &Locker::default()).await.unwrap();
        assert_eq!(head.items.len(), 1, "{point}: its locks are free");
        assert!(test.log(JobLog::Run(run.id)).await.ends_with("ACTOR: Actor finished with exit code 0.\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn aborts_and_reboots_that_were_stored_are_carried_out_by_the_next_server() {
    let mut test = TestEngine::start().await;
    let aborted = test.running(RunOptionsGiven::default()).await;
    let rebooted = test.running(RunOptionsGiven::default()).await;
    test.engine.shutdown().await;
    let store = test.engine.store().clone();
    let abort = |run: &mut model::Run| {
        run.status = JobStatus::Aborting;
        run.deadline = Some(run.started_at);
        true
    };
    store.runs.modify(&aborted.id, Box::new(abort)).await.unwrap();
    let reboot = |run: &mut model::Run| {
        run.life += 1;
        true
    };
    store.runs.modify(&rebooted.id, Box::new(reboot)).await.unwrap();

    test.crash().await;

    assert_eq!(test.ended(&aborted.id).await.status, JobStatus::Aborted);
    let run = test.started(&rebooted.id, 2).await;
    assert_eq!(run.status, JobStatus::Running);
    test.exit(&run.id, 0);
    assert_eq!(test.ended(&run.id).await.status, JobStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_which_nothing_is_left_is_lost_but_not_on_one_missed_sign() {
    let mut test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    test.engine.shutdown().await;
    test.driver.forget(&Job { kind: JobKind::Run, id: run.id.to_string(), life: 1 }).await.unwrap();

    test.crash().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(test.stored(&run.id).await.status, JobStatus::Running);
    let run = test.ended(&run.id).await;

    assert_eq!((run.status, run.end_cause), (JobStatus::Failed, Some(EndCause::Lost)));
}

#[tokio::test(start_paused = true)]
async fn jobs_that_nobody_knows_are_ended_and_forgotten() {
    let mut test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let orphan = Job { kind: JobKind::Run, id: "aaaaaaaaaaaaaaaaa".into(), life: 1 };
    let spec = RunSpec {
        mounts: Vec::new(),
        ports: Vec::new(),
        job: orphan.clone(),
        build_id: "build".into(),
        env: Default::default(),
        secrets: vec![],
        limits: Limits { memory_bytes: 1, cpu_millis: 1, pids: 1, disk_bytes: 1 },
        log: "log".into(),
    };
    test.driver.start_run(&spec).await.unwrap();

    test.crash().await;
    while test.driver.list().await.unwrap().contains(&orphan) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    assert_eq!(test.stored(&run.id).await.status, JobStatus::Running, "others are left alone");
}

#[tokio::test(start_paused = true)]
async fn locks_are_free_when_a_run_reboots() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    lock_a_request(&test, &run).await;

    test.engine.reboot_run(&run.id).await.unwrap();
    test.started(&run.id, 2).await;

    let head = test.engine.store().queues.head(&run.storages.request_queue, 10, &Locker::default()).await.unwrap();
    assert_eq!(head.items.len(), 1);
}

async fn lock_a_request(test: &TestEngine, run: &model::Run) {
    let queues = &test.engine.store().queues;
    let locker = Locker { client_key: Some("client".into()), run: Some(run.id) };
    let request = NewRequest {
        id: RequestId::of("https://a.example"),
        unique_key: "https://a.example".into(),
        url: "https://a.example".into(),
        method: "GET".into(),
        retry_count: 0,
        handled_at: None,
        body: br#"{"uniqueKey":"https://a.example","url":"https://a.example"}"#.as_slice().into(),
    };
    queues.add(&run.storages.request_queue, vec![request], false, &locker).await.unwrap();
    let locked = queues.lock_head(&run.storages.request_queue, 10, 3_600_000, &locker).await.unwrap();
    assert_eq!(locked.items.len(), 1);
    assert!(queues.head(&run.storages.request_queue, 10, &Locker::default()).await.unwrap().items.is_empty());
}
