//! Running tasks.

use std::sync::Arc;

use bytes::Bytes;
use model::input_schema::InputError;
use model::{Actor, JsonObject, Right, Run, Task};
use store::Noun;

use crate::runs::{RunInput, StartRun};
use crate::{Caller, Engine, EngineError, RunOptionsGiven};

impl Engine {
    /// Starts a run of a task. What the caller gives wins over what the task has: options one by one (`TASK-5`), the input
    /// member by member (`TASK-4`).
    ///
    /// # Errors
    /// `NotFound(Actor)` if the owner of the task cannot see its Actor any more; `TaskInput`; and all those of
    /// [`start_run`](Self::start_run).
    pub async fn start_task(&self, caller: &Caller, task: &Task, start: StartRun) -> Result<Arc<Run>, EngineError> {
        let actor = self.actor_of(task).await?;
        self.check_may_run(caller, task).await?;
        let start = StartRun {
            given: start.given.or(RunOptionsGiven::from(task.options.clone())),
            input: merged(task.input.as_ref(), start.input)?,
            task: Some(task.id),
            ..start
        };
        self.start_run(caller, &actor, start).await
    }

    /// Whoever may run a task need not have any right to its Actor.
    pub(crate) async fn check_may_run(&self, caller: &Caller, task: &Task) -> Result<(), EngineError> {
        match self.allows(caller, Right::Run, task.into()).await? {
            true => Ok(()),
            false => Err(EngineError::TokenMayNotStart),
        }
    }

    /// The task as it is kept: with the secrets of its input encrypted (`INP-24`), as far as the build that it names tells which
    /// they are.
    ///
    /// # Errors
    /// Of the store.
    pub async fn seal_task(&self, mut task: Task) -> Result<Task, EngineError> {
        if let Some(input) = &task.input {
            let actor = match self.actor_of(&task).await {
                Err(EngineError::NotFound(_)) => return Ok(task),
                found => found?,
            };
            task.input = Some(self.seal_input(&task.user_id, &actor, task.options.build.as_deref(), input).await?);
        }
        Ok(task)
    }

    /// The Actor of a task, if its owner may still run it.
    ///
    /// # Errors
    /// `NotFound(Actor)` otherwise.
    pub async fn actor_of(&self, task: &Task) -> Result<Arc<Actor>, EngineError> {
        let actor = self.inner.store.actors.get(&task.actor_id).await?;
        let visible = actor.filter(|actor| actor.is_public || actor.user_id == task.user_id);
        visible.ok_or(EngineError::NotFound(Noun::Actor))
    }
}

/// The input of a run of a task, which is always JSON.
fn merged(of_task: Option<&JsonObject>, given: Option<RunInput>) -> Result<Option<RunInput>, EngineError> {
    let given = match given.filter(|input| !input.body.trim_ascii().is_empty()) {
        Some(input) => {
            check_content_type(input.content_type.as_deref())?;
            JsonObject::parse(&input.body)?
        }
        None => None,
    };
    let input = match (of_task, given) {
        (Some(of_task), Some(given)) => of_task.merged(&given),
        (Some(of_task), None) => of_task.clone(),
        (None, Some(given)) => given,
        (None, None) => return Ok(None),
    };
    Ok(Some(RunInput { body: Bytes::copy_from_slice(input.as_str().as_bytes()), content_type: None }))
}

fn check_content_type(content_type: Option<&str>) -> Result<(), InputError> {
    let media_type = content_type.map_or("application/json", |header| header.split(';').next().unwrap_or(header));
    if media_type.trim().eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(InputError::ContentType) }
}

#[cfg(test)]
mod tests {
    use model::{GivenOptions, JsonObject, NoObject, Random, TaskId};

    use super::*;
    use crate::testing::{TestEngine, start};

    async fn given_task(test: &TestEngine, input: Option<&str>, options: GivenOptions) -> Arc<Task> {
        let random: &dyn Random = test.engine.random();
        let (id, now) = (TaskId::random(random), test.engine.now());
        let mut task = Task::new(id, test.ada.user.id, test.actor.id, "my-task", now);
        task.input = input.and_then(|text| JsonObject::parse(text.as_bytes()).unwrap());
        task.options = options;
        test.engine.store().tasks.create(task).await.unwrap()
    }

    fn body(text: &str) -> RunInput {
        RunInput { body: Bytes::copy_from_slice(text.as_bytes()), content_type: None }
    }

    #[tokio::test(start_paused = true)]
    async fn options_of_a_call_win_over_those_of_the_task_and_these_over_the_actors() {
        let test = TestEngine::start().await;
        let kept =
            GivenOptions { timeout_secs: Some(0), memory_mbytes: Some(256), max_items: Some(5), ..Default::default() };
        let task = given_task(&test, None, kept).await;
        let given = RunOptionsGiven { memory_mbytes: Some(512), ..RunOptionsGiven::default() };

        let run = test.engine.start_task(&test.ada, &task, start(given)).await.unwrap();

        assert_eq!((run.options.timeout_secs, run.options.memory_mbytes, run.options.max_items), (0, 512, Some(5)));
        assert_eq!((run.options.build.as_str(), run.task_id), ("latest", Some(task.id)));
        let started = test.driver.started(run.id.as_str()).await;
        assert_eq!(started.env["ACTOR_TASK_ID"], task.id.as_str());
        assert_eq!(started.env["APIFY_ACTOR_TASK_ID"], task.id.as_str());
    }

    #[test]
    fn an_input_is_merged_member_by_member_into_that_of_the_task() {
        let of_task = JsonObject::parse(br#"{"a":{"x":1},"b":2}"#).unwrap();
        let merged = |of_task: Option<&JsonObject>, given: Option<RunInput>| {
            let input = super::merged(of_task, given).unwrap();
            input.map(|input| String::from_utf8(input.body.to_vec()).unwrap())
        };

        assert_eq!(merged(of_task.as_ref(), Some(body(r#"{"a":{"y":2}}"#))).unwrap(), r#"{"a":{"y":2},"b":2}"#);
        for nothing in [None, Some(body("")), Some(body(" \n")), Some(body("null"))] {
            assert_eq!(merged(of_task.as_ref(), nothing.clone()).unwrap(), r#"{"a":{"x":1},"b":2}"#);
            assert_eq!(merged(None, nothing), None);
        }
        assert_eq!(merged(None, Some(body("{}"))).unwrap(), "{}");
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        let refused = |body: RunInput| super::merged(None, Some(body)).unwrap_err();

        assert!(matches!(refused(body("[1]")), EngineError::TaskInput(NoObject::Other("array"))));
        assert!(matches!(refused(body("{")), EngineError::TaskInput(NoObject::NotJson(_))));
        let text = RunInput { content_type: Some("text/plain".to_owned()), ..body("{}") };
        assert!(matches!(refused(text), EngineError::Input(InputError::ContentType)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_whose_actor_cannot_be_seen_any_more_does_not_start() {
        let test = TestEngine::start().await;
        let bob = test.engine.create_user("bob").await.unwrap();
        let public = |is_public| {
            let change = Box::new(move |actor: &mut Actor| {
                actor.is_public = is_public;
                true
            });
            test.engine.store().actors.modify(&test.actor.id, change)
        };
        let of_bob = Task::new(TaskId::random(test.engine.random()), bob.id, test.actor.id, "bobs", test.engine.now());
        let task = test.engine.store().tasks.create(of_bob).await.unwrap();
        let bob = Caller::of(bob);
        let run = || test.engine.start_task(&bob, &task, start(RunOptionsGiven::default()));

        public(true).await.unwrap();
        assert_eq!(run().await.unwrap().user_id, bob.user.id);
        public(false).await.unwrap();
        assert!(matches!(run().await, Err(EngineError::NotFound(Noun::Actor))));
    }
}
