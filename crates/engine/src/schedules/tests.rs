//! Schedules over a fake driver and a clock that stands still.

use std::sync::Arc;

use model::schedule::{LogLevel, MissedTicks, Schedule, ScheduleAction, ScheduleState, ScheduleTarget, ScheduledInput};
use model::{
    ActorId, GivenOptions, JobStatus, JsonObject, Origin, Page, Run, RunSummary, ScheduleActionId, ScheduleId, Task,
    TaskId, Timestamp,
};
use store::{KeptSchedule, RunFilter};

use crate::testing::{START, TestEngine};
use crate::{EngineConfig, EngineError};

/// The test clock begins 25 seconds past a minute.
const FIRST_MINUTE: Timestamp = START.plus_secs(35);

impl TestEngine {
    pub(crate) fn schedule(&self, cron: &str, targets: Vec<ScheduleTarget>) -> Schedule {
        let random = self.engine.random();
        let action = |target| ScheduleAction { id: ScheduleActionId::random(random), target, input: None };
        let now = self.engine.clock().now();
        let id = ScheduleId::random(random);
        Schedule {
            id,
            user_id: self.ada.user.id,
            name: format!("schedule-{id}"),
            title: None,
            description: None,
            is_enabled: true,
            is_exclusive: false,
            cron_expression: cron.to_owned(),
            timezone: "UTC".to_owned(),
            notify_by_email: false,
            actions: targets.into_iter().map(action).collect(),
            token_id: None,
            created_at: now,
            modified_at: now,
        }
    }

    fn my_actor(&self) -> ScheduleTarget {
        ScheduleTarget::RunActor { actor_id: self.actor.id, run_options: None }
    }

    async fn given_schedule(&self, cron: &str) -> ScheduleId {
        let schedule = self.schedule(cron, vec![self.my_actor()]);
        self.engine.create_schedule(schedule).await.unwrap().schedule.id
    }

    async fn kept(&self, id: &ScheduleId) -> KeptSchedule {
        self.engine.store().schedules.get(id).await.unwrap().unwrap()
    }

    pub(crate) async fn runs(&self) -> Vec<Arc<Run>> {
        let filter = RunFilter { user: Some(self.ada.user.id), ..RunFilter::default() };
        let listed = self.engine.store().runs.list(filter, Page::default()).await.unwrap().items;
        let whole = |run: RunSummary| async move { self.engine.store().runs.get(&run.id).await.unwrap().unwrap() };
        futures::future::join_all(listed.into_iter().map(whole)).await
    }

    /// When those runs were due, in milliseconds after the first minute.
    /// The times for which runs were started. Runs that were started at one time are listed by their ids.
    async fn ticks(&self) -> Vec<i64> {
        let runs = self.runs().await;
        let mut ticks: Vec<i64> =
            runs.iter().map(|run| run.meta.scheduled_at.unwrap().millis_since(FIRST_MINUTE)).collect();
        ticks.sort_unstable();
        ticks
    }

    async fn messages(&self, id: &ScheduleId) -> Vec<(LogLevel, String)> {
        let log = self.engine.store().schedules.log(id).await.unwrap();
        log.into_iter().map(|entry| (entry.level, entry.message)).collect()
    }
}

async fn sleep_secs(secs: u64) {
    tokio::time::sleep(std::time::Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn a_schedule_starts_its_actions_when_it_is_due() {
    let test = TestEngine::start().await;
    let mut task = Task::new(TaskId::random(test.engine.random()), test.ada.user.id, test.actor.id, "my-task", START);
    task.input = JsonObject::parse(b"{\"a\":1,\"b\":1}").unwrap();
    let task = test.engine.store().tasks.create(task).await.unwrap();
    let run_options = Some(GivenOptions { memory_mbytes: Some(256), timeout_secs: Some(9), ..Default::default() });
    let targets = vec![
        ScheduleTarget::RunActor { actor_id: test.actor.id, run_options },
        ScheduleTarget::RunActorTask { actor_task_id: task.id },
    ];
    let mut schedule = test.schedule("* * * * *", targets);
    let content_type = "text/plain".to_owned();
    schedule.actions[0].input = Some(ScheduledInput::Body { body: "hello".to_owned(), content_type });
    schedule.actions[1].input = JsonObject::parse(b"{\"b\":2}").unwrap().map(ScheduledInput::Object);

    let kept = test.engine.create_schedule(schedule).await.unwrap();
    assert_eq!((kept.state.next_run_at, kept.state.last_run_at), (Some(FIRST_MINUTE), None));
    sleep_secs(34).await;
    assert!(test.runs().await.is_empty());
    sleep_secs(2).await;

    let runs = test.runs().await;
    assert_eq!(runs.len(), 2);
    for run in &runs {
        assert_eq!((run.meta.origin, run.user_id), (Origin::Scheduler, test.ada.user.id));
        assert_eq!(run.meta.schedule_id.as_deref(), Some(kept.schedule.id.as_str()));
        assert_eq!(run.meta.scheduled_at, Some(FIRST_MINUTE));
        assert!((0..1000).contains(&run.started_at.millis_since(FIRST_MINUTE)), "on time");
    }
    let of_actor = runs.iter().find(|run| run.task_id.is_none()).unwrap();
    let of_task = runs.iter().find(|run| run.task_id.is_some()).unwrap();
    assert_eq!((of_actor.options.memory_mbytes, of_actor.options.timeout_secs), (256, 9));
    for (run, expected) in [(of_actor, "hello"), (of_task, "{\"a\":1,\"b\":2}")] {
        let input = test.engine.store().records.get(&run.storages.key_value_store, "INPUT").await.unwrap().unwrap();
        let store::Content::Inline(body) = input.content else { panic!("a small record") };
        assert_eq!(body, expected.as_bytes());
    }

    let after = test.kept(&kept.schedule.id).await;
    assert_eq!(after.state.next_run_at, Some(FIRST_MINUTE.plus_secs(60)));
    assert!((0..1000).contains(&after.state.last_run_at.unwrap().millis_since(FIRST_MINUTE)));
    assert_eq!(after.schedule.modified_at, kept.schedule.modified_at);
    assert_eq!(test.messages(&kept.schedule.id).await, [(LogLevel::Info, "Schedule invoked".to_owned())]);
    sleep_secs(600).await;
    assert_eq!(test.runs().await.len(), 22);
    assert_eq!(test.messages(&kept.schedule.id).await.len(), 11);
}

#[tokio::test(start_paused = true)]
async fn invocations_are_ten_seconds_apart_and_a_disabled_schedule_rests() {
    let test = TestEngine::start().await;
    let id = test.given_schedule("* * * * * *").await;
    sleep_secs(30).await;
    assert_eq!(test.runs().await.len(), 3);

    let disable = |schedule: &Schedule| Some(Schedule { is_enabled: false, ..schedule.clone() });
    assert_eq!(test.engine.change_schedule(&id, disable).await.unwrap().state.next_run_at, None);
    sleep_secs(3600).await;
    assert_eq!(test.runs().await.len(), 3);

    let hourly = |schedule: &Schedule| {
        Some(Schedule { is_enabled: true, cron_expression: "@hourly".to_owned(), ..schedule.clone() })
    };
    let next = test.engine.change_schedule(&id, hourly).await.unwrap().state.next_run_at.unwrap();
    assert_eq!(next.as_millis() % 3_600_000, 0);
    sleep_secs(3600).await;
    assert_eq!(test.runs().await.len(), 4);
    test.engine.store().schedules.delete(&id).await.unwrap();
    sleep_secs(7200).await;
    assert_eq!(test.runs().await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_action_of_an_exclusive_schedule_waits_for_its_previous_run() {
    let test = TestEngine::start().await;
    let other = test.engine.give_actor(&test.ada.user, "other").await;
    let image = other.tagged_builds["latest"].build_id;
    test.driver.put_image(image.as_str(), drivers::fake::FakeDriver::default_image());
    let others = ScheduleTarget::RunActor { actor_id: other.id, run_options: None };
    let schedule = Schedule { is_exclusive: true, ..test.schedule("* * * * *", vec![test.my_actor(), others]) };
    let id = test.engine.create_schedule(schedule).await.unwrap().schedule.id;

    sleep_secs(36).await;
    let runs = test.runs().await;
    let [first, second] = &runs[..] else { panic!("two runs: {runs:?}") };
    let finishing = if first.actor_id == other.id { first } else { second };
    test.started(&finishing.id, 1).await;
    test.exit(&finishing.id, 0);
    test.ended(&finishing.id).await;
    sleep_secs(60).await;

    let of = |actor: ActorId, runs: &[Arc<Run>]| runs.iter().filter(|run| run.actor_id == actor).count();
    let runs = test.runs().await;
    assert_eq!((of(test.actor.id, &runs), of(other.id, &runs)), (1, 2));
    let messages = test.messages(&id).await;
    let busy = runs.iter().find(|run| run.actor_id == test.actor.id).unwrap();
    let expected = format!("Cannot start Actor \"{}\": its previous run {} is still running", test.actor.id, busy.id);
    assert!(messages.contains(&(LogLevel::Warning, expected)), "{messages:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_started_is_told_in_the_log_and_holds_nothing_up() {
    let test = TestEngine::start().await;
    let mut task = Task::new(TaskId::random(test.engine.random()), test.ada.user.id, test.actor.id, "my-task", START);
    task.options.build = Some("none".to_owned());
    let task = test.engine.store().tasks.create(task).await.unwrap().id;
    let no_actor = ActorId::random(test.engine.random());
    let gone = Task::new(TaskId::random(test.engine.random()), test.ada.user.id, test.actor.id, "gone", START);
    let no_task = test.engine.store().tasks.create(gone).await.unwrap().id;
    test.engine.store().tasks.delete(&no_task).await.unwrap();
    let targets = vec![
        ScheduleTarget::RunActor { actor_id: no_actor, run_options: None },
        ScheduleTarget::RunActorTask { actor_task_id: no_task },
        ScheduleTarget::RunActorTask { actor_task_id: task },
        test.my_actor(),
    ];
    let schedule = test.schedule("* * * * *", targets);
    let id = test.engine.create_schedule(schedule).await.unwrap().schedule.id;

    sleep_secs(36).await;

    assert_eq!(test.runs().await.len(), 1);
    let expected = [
        (LogLevel::Info, "Schedule invoked".to_owned()),
        (LogLevel::Error, format!("Cannot start Actor \"{no_actor}\": Actor was not found")),
        (LogLevel::Error, format!("Cannot start Actor task \"{no_task}\": Actor task was not found")),
        (LogLevel::Error, format!("Cannot start Actor task \"{task}\": Actor has no build tagged \"none\"")),
    ];
    assert_eq!(test.messages(&id).await, expected);
    test.engine.delete_actor(&test.actor.id).await.unwrap();
    sleep_secs(60).await;
    assert_eq!(test.runs().await.len(), 1);
    let expected = format!("Cannot start Actor \"{}\": Actor was not found", test.actor.id);
    assert!(test.messages(&id).await.contains(&(LogLevel::Error, expected)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_between_a_start_and_its_note_starts_nothing_twice_and_finishes_the_rest() {
    for point in ["schedule action started", "schedule invoked"] {
        let mut test = TestEngine::start().await;
        let schedule = test.schedule("* * * * *", vec![test.my_actor(), test.my_actor()]);
        let id = test.engine.create_schedule(schedule).await.unwrap().schedule.id;
        test.advance_to(point, sleep_secs(36)).await;
        let before = test.runs().await.len();
        assert_eq!(before, if point == "schedule invoked" { 2 } else { 1 });
        assert_eq!(test.kept(&id).await.state.next_run_at, Some(FIRST_MINUTE), "nothing is noted yet");

        // Long enough for the time to count as missed.
        sleep_secs(20).await;
        test.crash().await;
        sleep_secs(1).await;

        assert_eq!(test.ticks().await, [0, 0], "{point}");
        let kept = test.kept(&id).await;
        assert_eq!((kept.state.last_tick, kept.state.last_runs.len()), (Some(FIRST_MINUTE), 2));
        assert_eq!(test.messages(&id).await, [(LogLevel::Info, "Schedule invoked".to_owned())]);
        sleep_secs(60).await;
        assert_eq!(test.ticks().await, [0, 0, 60_000, 60_000]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_comes_twice_is_one_run() {
    let test = TestEngine::start().await;
    let id = test.given_schedule("* * * * *").await;
    sleep_secs(36).await;

    let change = Box::new(|_: &mut Schedule, state: &mut ScheduleState| {
        state.next_run_at = Some(FIRST_MINUTE);
        true
    });
    test.engine.store().schedules.modify(&id, change).await.unwrap();
    sleep_secs(20).await;

    assert_eq!(test.ticks().await, [0]);
    assert_eq!(test.kept(&id).await.state.next_run_at, Some(FIRST_MINUTE.plus_secs(60)));
}

#[tokio::test(start_paused = true)]
async fn times_missed_while_the_server_was_down_follow_the_setting() {
    for (missed, expected) in [
        (MissedTicks::Skip, vec![600_000]),
        (MissedTicks::One, vec![0, 600_000]),
        (MissedTicks::All, (0..=10).map(|minute| minute * 60_000).collect()),
    ] {
        let config = EngineConfig { missed_schedules: missed, ..EngineConfig::default() };
        let mut test = TestEngine::start_with(config).await;
        let id = test.given_schedule("* * * * *").await;
        test.engine.shutdown().await;
        sleep_secs(35 + 10 * 60 - 5).await;
        assert!(test.runs().await.is_empty());

        test.crash().await;
        sleep_secs(10).await;

        assert_eq!(test.ticks().await, expected, "{missed:?}");
        let log = test.messages(&id).await;
        assert_eq!(log.len() - expected.len(), usize::from(missed == MissedTicks::Skip), "{log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_stop_of_the_server_loses_no_time() {
    let mut test = TestEngine::start().await;
    test.given_schedule("* * * * *").await;
    sleep_secs(33).await;
    test.engine.shutdown().await;
    sleep_secs(8).await;

    test.crash().await;
    sleep_secs(1).await;

    assert_eq!(test.ticks().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_is_never_due_is_refused() {
    let test = TestEngine::start().await;
    for (cron, zone) in [("0 0 30 2 *", "UTC"), ("x", "UTC"), ("* * * * *", "Mars/Olympus")] {
        let schedule = Schedule { timezone: zone.to_owned(), ..test.schedule(cron, vec![]) };
        assert!(matches!(test.engine.create_schedule(schedule).await, Err(EngineError::Schedule(_))), "{cron} {zone}");
    }
    let id = test.given_schedule("* * * * *").await;
    let before = test.kept(&id).await;
    let never = |schedule: &Schedule| Some(Schedule { cron_expression: "0 0 30 2 *".to_owned(), ..schedule.clone() });
    assert!(matches!(test.engine.change_schedule(&id, never).await, Err(EngineError::Schedule(_))));
    assert_eq!(test.kept(&id).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_schedule_waits_and_ends_like_any_other() {
    let test = TestEngine::start().await;
    test.given_schedule("0 * * * *").await;
    sleep_secs(3600).await;
    let run = test.runs().await[0].id;

    test.started(&run, 1).await;
    test.exit(&run, 0);

    assert_eq!(test.ended(&run).await.status, JobStatus::Succeeded);
    let env = test.driver.started(run.as_str()).await.env;
    assert_eq!(env["APIFY_META_ORIGIN"], "SCHEDULER");
}
