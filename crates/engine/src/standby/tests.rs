//! Pools of runs whose web servers are real ones, so these tests run in real time.

use std::sync::Arc;
use std::time::Duration;

use drivers::fake::Call;
use drivers::{Job, RunSpec};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use model::{Actor, EndCause, JobStatus, JsonObject, Origin, RunId, Standby, Task, TaskId, TaskStandby};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{StandbyError, StandbyOf, StandbyPlace};
use crate::EngineError;
use crate::testing::{START, TestEngine};

/// A test whose Actor is on Standby: one request for each run, two at most.
async fn given_standby(change: impl Fn(&mut Standby) + Send + 'static) -> TestEngine {
    let mut test = TestEngine::start().await;
    let mut standby = Standby { is_enabled: true, ..Standby::default() };
    (standby.desired_requests_per_actor_run, standby.max_requests_per_actor_run) = (1, 2);
    change(&mut standby);
    set(&mut test, move |actor| actor.actor_standby = Some(standby.clone())).await;
    test
}

async fn set(test: &mut TestEngine, change: impl Fn(&mut Actor) + Send + 'static) {
    let change = Box::new(move |actor: &mut Actor| {
        change(actor);
        true
    });
    test.engine.store().actors.modify(&test.actor.id, change).await.unwrap();
    test.reload_actor().await;
}

fn actors(test: &TestEngine) -> StandbyOf {
    StandbyOf { actor: test.actor.clone(), task: None }
}

async fn place(test: &TestEngine) -> Result<StandbyPlace, StandbyError> {
    test.engine.standby_place(&test.ada, &actors(test)).await
}

/// Waits until the driver has been told to start that many runs, and returns the last of them.
async fn nth_start(test: &TestEngine, number: usize) -> RunSpec {
    loop {
        let calls = test.driver.calls();
        let mut starts = calls.into_iter().filter_map(|call| match call {
            Call::StartRun(spec) => Some(*spec),
            _ => None,
        });
        if let Some(spec) = starts.nth(number - 1) {
            return spec;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets that many runs start, and gives the last of them a web server that answers whatever it is asked.
async fn answering(test: &TestEngine, number: usize) -> RunId {
    let spec = nth_start(test, number).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = spec.env["ACTOR_WEB_SERVER_PORT"].parse().unwrap();
    test.driver.put_address(&spec.job, port, listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let count = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..count]).to_lowercase();
            assert!(request.starts_with("get / http/1.1\r\n"), "{request}");
            assert!(request.contains("\r\nx-apify-container-server-readiness-probe: 1\r\n"), "STB-4: {request}");
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    id_of(&spec.job)
}

fn id_of(job: &Job) -> RunId {
    RunId::parse(&job.id).unwrap()
}

fn runs(test: &TestEngine) -> Vec<(RunId, u64)> {
    test.engine.standby_runs(&test.ada.user.id, &actors(test))
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn the_first_request_starts_a_run_and_waits_until_its_web_server_answers() {
    let test = given_standby(|standby| standby.memory_mbytes = 256).await;

    let (place, id) = tokio::join!(place(&test), answering(&test, 1));

    let place = place.unwrap();
    assert_eq!((place.run_id, runs(&test)), (id, vec![(id, 1)]));
    let run = test.stored(&id).await;
    assert_eq!((run.meta.origin, run.options.timeout_secs, run.options.memory_mbytes), (Origin::Standby, 0, 256));
    assert_eq!(run.stats.input_body_len, 0, "STB-5");
    assert!(test.engine.is_web_server_ready(&id));
    assert_eq!(test.driver.started(id.as_str()).await.env["APIFY_META_ORIGIN"], "STANDBY");
    drop(place);
    assert_eq!(runs(&test), [(id, 0)]);
}

#[tokio::test]
async fn requests_are_spread_and_runs_start_ahead_of_them() {
    let test = given_standby(|_| {}).await;
    let (first, one) = tokio::join!(place(&test), answering(&test, 1));

    let second = place(&test).await.unwrap();
    assert_eq!(second.run_id, one, "below its most");
    // Two requests are more than one run is meant for, so another is on its way; the third request waits for it.
    let (third, two) = tokio::join!(place(&test), answering(&test, 2));
    assert_eq!(third.unwrap().run_id, two);
    drop(second);
    let fourth = place(&test).await.unwrap();
    assert_eq!(fourth.run_id, two, "the least loaded");
    drop((first, fourth));
    // Three requests at once have asked for a third run, too.
    assert_eq!(runs(&test)[..2], [(one, 0), (two, 0)]);
}

#[tokio::test]
async fn a_place_that_is_left_goes_to_whoever_waits_longest() {
    let test = Arc::new(given_standby(|standby| standby.max_requests_per_actor_run = 1).await);
    let (first, one) = tokio::join!(place(&test), answering(&test, 1));
    let waiter = |test: Arc<TestEngine>| async move { place(&test).await.unwrap().run_id };
    let second = tokio::spawn(waiter(test.clone()));
    let nobody = tokio::spawn(waiter(test.clone()));
    nth_start(&test, 2).await;
    nobody.abort();
    assert!(nobody.await.unwrap_err().is_cancelled());

    drop(first);

    assert_eq!(second.await.unwrap(), one);
    until(|| runs(&test).first() == Some(&(one, 0))).await;
}

#[tokio::test]
async fn a_run_that_is_idle_ends_well() {
    let test = given_standby(|standby| standby.idle_timeout_secs = 1).await;
    let (place, id) = tokio::join!(place(&test), answering(&test, 1));

    drop(place);
    test.until(&id, |run| run.status == JobStatus::Aborting).await;
    assert_eq!(runs(&test), [], "takes no more requests");
    test.exit(&id, 0);

    let run = test.ended(&id).await;
    assert_eq!((run.status, run.end_cause), (JobStatus::Succeeded, Some(EndCause::Idle)), "STB-6");
}

#[tokio::test]
async fn a_run_of_an_old_build_takes_no_requests_and_ends_once_it_is_idle() {
    let mut test = given_standby(|_| {}).await;
    let (old_place, old) = tokio::join!(place(&test), answering(&test, 1));
    let build = test.build("0.1", &[]).await;
    assert_eq!(test.built(&build.id).await.status, JobStatus::Succeeded);
    test.reload_actor().await;

    let (new_place, new) = tokio::join!(place(&test), answering(&test, 2));
    assert_eq!(new_place.unwrap().run_id, new);
    assert_eq!(test.stored(&new).await.build_number, "0.1.1", "STB-7");
    assert_eq!(test.stored(&old).await.status, JobStatus::Running, "a request is under way");

    drop(old_place);
    test.until(&old, |run| run.status == JobStatus::Aborting).await;
    assert_eq!(test.stored(&new).await.status, JobStatus::Running);
}

#[tokio::test]
async fn a_server_that_starts_again_takes_its_runs_up() {
    let mut test = given_standby(|standby| standby.idle_timeout_secs = 600).await;
    let (first, id) = tokio::join!(place(&test), answering(&test, 1));
    drop(first);

    test.crash().await;

    // Without a request, which would bring the settings.
    let ready = until(|| test.engine.is_web_server_ready(&id));
    tokio::time::timeout(Duration::from_secs(10), ready).await.expect("a run that goes on");
    assert_eq!(test.stored(&id).await.status, JobStatus::Running);
    assert_eq!(place(&test).await.unwrap().run_id, id);
    let starts = test.driver.calls().into_iter().filter(|call| matches!(call, Call::StartRun(_)));
    assert_eq!(starts.count(), 1);
}

#[tokio::test]
async fn a_run_that_reboots_must_answer_again_before_it_gets_requests() {
    let test = given_standby(|_| {}).await;
    let (first, id) = tokio::join!(place(&test), answering(&test, 1));
    drop(first);

    test.engine.reboot_run(&id).await.unwrap();
    until(|| !test.engine.is_web_server_ready(&id)).await;
    let (second, _) = tokio::join!(place(&test), answering(&test, 2));

    assert_eq!(second.unwrap().run_id, id);
    assert_eq!(test.stored(&id).await.life, 2);
}

#[tokio::test]
async fn a_run_that_is_doubted_gets_requests_once_it_answers_again() {
    let test = given_standby(|standby| standby.desired_requests_per_actor_run = 2).await;
    let (first, id) = tokio::join!(place(&test), answering(&test, 1));
    let first = first.unwrap();

    first.doubt();
    assert!(place(&test).now_or_never().is_none(), "no place before the next probe");
    let second = place(&test).await.unwrap();

    assert_eq!((second.run_id, runs(&test)), (id, vec![(id, 2)]));
}

#[tokio::test]
async fn a_run_that_ends_before_it_answers_is_told_to_those_who_wait() {
    let test = given_standby(|_| {}).await;

    let ending = async {
        let id = id_of(&nth_start(&test, 1).await.job);
        test.started(&id, 1).await;
        test.exit(&id, 1);
        id
    };
    let (first, second, id) = tokio::join!(place(&test), place(&test), ending);

    for refused in [first, second] {
        assert!(matches!(refused, Err(StandbyError::RunFinished(run)) if run == id));
    }
    let (again, id) = tokio::join!(place(&test), answering(&test, 2));
    assert_eq!(again.unwrap().run_id, id, "a later request tries again");
}

#[tokio::test]
async fn a_run_that_dies_is_replaced_when_it_is_needed() {
    let test = given_standby(|_| {}).await;
    let (first, one) = tokio::join!(place(&test), answering(&test, 1));

    test.engine.abort_run(&test.ada, &one, false).await.unwrap();
    until(|| runs(&test).is_empty()).await;
    drop(first);
    let (second, two) = tokio::join!(place(&test), answering(&test, 2));

    assert_eq!(second.unwrap().run_id, two);
    assert_eq!(test.ended(&one).await.status, JobStatus::Aborted, "by whoever aborted it");
}

#[tokio::test]
async fn what_keeps_a_run_from_starting_is_told() {
    let mut test = given_standby(|standby| standby.build = "beta".to_owned()).await;
    let refused = place(&test).await.unwrap_err();
    assert!(
        matches!(&refused, StandbyError::Refused(why) if matches!(**why, EngineError::NoBuildTagged(_))),
        "{refused}"
    );

    set(&mut test, |actor| actor.actor_standby = None).await;
    assert!(matches!(place(&test).await, Err(StandbyError::NotEnabled)));
}

#[tokio::test]
async fn switching_standby_off_ends_its_runs_and_sends_those_away_who_wait() {
    let mut test = given_standby(|_| {}).await;
    let (first, id) = tokio::join!(place(&test), answering(&test, 1));
    drop(first);
    set(&mut test, |actor| actor.actor_standby.as_mut().unwrap().is_enabled = false).await;

    assert!(matches!(place(&test).await, Err(StandbyError::NotEnabled)));

    test.until(&id, |run| run.status == JobStatus::Aborting).await;
}

#[tokio::test]
async fn no_more_requests_wait_than_are_held() {
    let test = given_standby(|_| {}).await;

    let mut asking: FuturesUnordered<_> = (0..=1000).map(|_| place(&test)).collect();

    let crowded = asking.next().await.unwrap();
    assert!(matches!(crowded, Err(StandbyError::Crowded)));
}

#[tokio::test]
async fn a_task_has_runs_of_its_own_with_its_settings_options_and_input() {
    let mut test = given_standby(|standby| standby.memory_mbytes = 512).await;
    let mut task = Task::new(TaskId::random(test.engine.random()), test.ada.user.id, test.actor.id, "my-task", START);
    task.actor_standby =
        Some(TaskStandby { memory_mbytes: Some(256), should_pass_actor_input: Some(true), ..TaskStandby::default() });
    task.options.max_items = Some(7);
    task.input = JsonObject::parse(b"{\"a\":1}").unwrap();
    let task = test.engine.store().tasks.create(task).await.unwrap();
    let of = StandbyOf { actor: test.actor.clone(), task: Some(task.clone()) };
    let (first, of_actor) = tokio::join!(place(&test), answering(&test, 1));

    let (second, of_task) = tokio::join!(test.engine.standby_place(&test.ada, &of), answering(&test, 2));

    assert_eq!((first.unwrap().run_id, second.unwrap().run_id), (of_actor, of_task));
    let run = test.stored(&of_task).await;
    assert_eq!((run.task_id, run.meta.origin), (Some(task.id), Origin::Standby));
    assert_eq!((run.options.memory_mbytes, run.options.timeout_secs, run.options.max_items), (256, 0, Some(7)));
    assert_eq!(run.stats.input_body_len, 7);
    assert_eq!(test.engine.standby_runs(&test.ada.user.id, &of), [(of_task, 0)]);
    assert_eq!(runs(&test), [(of_actor, 0)]);

    test.crash().await;
    until(|| test.engine.is_web_server_ready(&of_task)).await;
    assert_eq!(test.engine.standby_place(&test.ada, &of).await.unwrap().run_id, of_task, "also after a restart");

    test.engine.store().tasks.delete(&task.id).await.unwrap();
    test.until(&of_task, |run| run.status == JobStatus::Aborting).await;
    assert_eq!(test.stored(&of_actor).await.status, JobStatus::Running);
}
