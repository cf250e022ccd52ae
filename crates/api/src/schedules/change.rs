//! What of a schedule can be given and changed (`SCH-1`, `SCH-5`, `SCH-6`).

use engine::{Caller, Subject};
use model::schedule::{MAX_ACTIONS_OF_KIND, Schedule, ScheduleAction, ScheduleTarget, ScheduledInput};
use model::{ActorId, GivenOptions, JsonObject, Random, Right, ScheduleActionId, ScheduleId, TaskId, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::Noun;

use crate::access;
use crate::app::App;
use crate::error::{ApiError, Problem};
use crate::wire::{Given, OptionsGiven, check_name, given, set_text};

const JSON: &str = "application/json; charset=utf-8";

/// A schedule as it is created or, field by field, changed. What is not given stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScheduleGiven {
    name: Option<String>,
    #[serde(deserialize_with = "given")]
    title: Given<String>,
    #[serde(deserialize_with = "given")]
    description: Given<String>,
    is_enabled: Option<bool>,
    is_exclusive: Option<bool>,
    cron_expression: Option<String>,
    timezone: Option<String>,
    notifications: Option<NotificationsGiven>,
    actions: Option<Vec<ActionGiven>>,
    /// The actions, checked.
    #[serde(skip)]
    checked: Vec<ScheduleAction>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NotificationsGiven {
    email: Option<bool>,
}

/// An action as it is given. Its type decides which of the fields count.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ActionGiven {
    id: Option<String>,
    r#type: Option<String>,
    actor_id: Option<String>,
    run_input: Option<BodyGiven>,
    run_options: Option<OptionsGiven>,
    actor_task_id: Option<String>,
    input: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BodyGiven {
    body: Option<String>,
    content_type: Option<String>,
}

impl ScheduleGiven {
    /// Checks the actions, if any are given, and encrypts the secrets of their inputs (`INP-24`).
    ///
    /// # Errors
    /// `400` for one that is malformed, one too many, or one of an Actor or task that the caller cannot see (`SCH-13`); `403` for
    /// one that the caller's token could not start itself.
    pub(super) async fn check_actions(&mut self, app: &App, caller: &Caller) -> Result<(), ApiError> {
        let (mut actors, mut tasks) = (0, 0);
        for action in self.actions.iter_mut().flatten() {
            let action = action.check(app.engine().random())?;
            match &action.target {
                ScheduleTarget::RunActor { actor_id, .. } => {
                    actors += 1;
                    let actor = app.store().actors.get(actor_id).await?;
                    let visible = actor.filter(|actor| actor.is_public || actor.user_id == caller.user.id);
                    let actor = visible.ok_or_else(|| no_actor(actor_id.as_str()))?;
                    if !caller.may_start(&actor) {
                        return Err(ApiError::token_is_limited());
                    }
                }
                ScheduleTarget::RunActorTask { actor_task_id } => {
                    tasks += 1;
                    let task = app.store().tasks.get(actor_task_id).await?;
                    let own = task.filter(|task| task.user_id == caller.user.id);
                    let task = own.ok_or_else(|| no_task(actor_task_id.as_str()))?;
                    access::check_kept(app, caller, Right::Run, Subject::from(&*task)).await?;
                }
            }
            if actors > MAX_ACTIONS_OF_KIND || tasks > MAX_ACTIONS_OF_KIND {
                let message = format!("A schedule can start at most {MAX_ACTIONS_OF_KIND} Actors and as many tasks");
                return Err(ApiError::new(Problem::InvalidValue, message));
            }
            self.checked.push(app.engine().seal_action(&caller.user.id, action).await?);
        }
        Ok(())
    }

    /// A new schedule of what was given.
    ///
    /// # Errors
    /// `400` for a value that breaks a rule.
    pub(super) fn create(&self, id: ScheduleId, caller: &Caller, app: &App) -> Result<Schedule, ApiError> {
        if self.cron_expression.is_none() {
            return Err(ApiError::new(Problem::CronExpressionInvalid, "\"cronExpression\" is required"));
        }
        let now = app.now();
        let bare = Schedule {
            id,
            user_id: caller.user.id,
            name: format!("schedule-{id}"),
            title: None,
            description: None,
            is_enabled: false,
            is_exclusive: true,
            cron_expression: String::new(),
            timezone: "UTC".to_owned(),
            notify_by_email: false,
            actions: Vec::new(),
            token_id: caller.scope.as_ref().map(|own| own.token),
            created_at: now,
            modified_at: now,
        };
        self.over(&bare, now, app.engine().random())
    }

    /// `old` with what was given, checked.
    ///
    /// # Errors
    /// `400` for a value that breaks a rule.
    pub(super) fn apply(&self, old: &Schedule, app: &App) -> Result<Schedule, ApiError> {
        self.over(old, app.now(), app.engine().random())
    }

    fn over(&self, old: &Schedule, now: Timestamp, random: &dyn Random) -> Result<Schedule, ApiError> {
        let mut schedule = Schedule { modified_at: now, ..old.clone() };
        if let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) {
            check_name(Noun::Schedule, name)?;
            name.clone_into(&mut schedule.name);
        }
        set_text(&mut schedule.title, &self.title);
        set_text(&mut schedule.description, &self.description);
        schedule.is_enabled = self.is_enabled.unwrap_or(old.is_enabled);
        schedule.is_exclusive = self.is_exclusive.unwrap_or(old.is_exclusive);
        if let Some(expression) = &self.cron_expression {
            expression.trim().clone_into(&mut schedule.cron_expression);
        }
        if let Some(zone) = self.timezone.as_deref().filter(|zone| !zone.is_empty()) {
            zone.clone_into(&mut schedule.timezone);
        }
        if let Some(email) = self.notifications.as_ref().and_then(|notifications| notifications.email) {
            schedule.notify_by_email = email;
        }
        if self.actions.is_some() {
            schedule.actions = with_ids(self.checked.clone(), old, random);
        }
        if !schedule.is_due_as(old) {
            schedule.ticks()?;
        }
        Ok(schedule)
    }
}

impl ActionGiven {
    /// What the action starts. Its id is the one that was given, or a new one.
    fn check(&mut self, random: &dyn Random) -> Result<ScheduleAction, ApiError> {
        let id = self.id.as_deref().and_then(ScheduleActionId::parse);
        let id = id.unwrap_or_else(|| ScheduleActionId::random(random));
        let (target, input) = match self.r#type.as_deref() {
            Some("RUN_ACTOR") => {
                let actor = self.actor_id.take().unwrap_or_default();
                let actor_id = ActorId::parse(&actor).ok_or_else(|| no_actor(&actor))?;
                let options = self.run_options.take().map(|options| options.over(&GivenOptions::default()));
                let body = self.run_input.take().and_then(|input| {
                    let content_type = input.content_type.unwrap_or_else(|| JSON.to_owned());
                    Some(ScheduledInput::Body { body: input.body?, content_type })
                });
                (ScheduleTarget::RunActor { actor_id, run_options: options.transpose()? }, body)
            }
            Some("RUN_ACTOR_TASK") => {
                let task = self.actor_task_id.take().unwrap_or_default();
                let actor_task_id = TaskId::parse(&task).ok_or_else(|| no_task(&task))?;
                let object = self.input.take().map(object_of).transpose()?.flatten();
                (ScheduleTarget::RunActorTask { actor_task_id }, object.map(ScheduledInput::Object))
            }
            _ => {
                let message = "\"type\" of an action must be one of RUN_ACTOR, RUN_ACTOR_TASK";
                return Err(ApiError::invalid_request(message));
            }
        };
        Ok(ScheduleAction { id, target, input })
    }
}

/// The input of a task: an object, or one as text, as the types of the JavaScript client have it.
fn object_of(raw: Box<RawValue>) -> Result<Option<JsonObject>, ApiError> {
    match serde_json::from_str::<String>(raw.get()) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(JsonObject::parse(text.as_bytes())?),
        Err(_) => Ok(JsonObject::of(raw)?),
    }
}

/// Actions that were there before keep their ids; all others get new ones, and so do those that stand twice (`SCH-6`).
fn with_ids(mut actions: Vec<ScheduleAction>, old: &Schedule, random: &dyn Random) -> Vec<ScheduleAction> {
    let mut free: Vec<ScheduleActionId> = old.actions.iter().map(|action| action.id).collect();
    for action in &mut actions {
        match free.iter().position(|id| *id == action.id) {
            Some(place) => {
                free.swap_remove(place);
            }
            None => action.id = ScheduleActionId::random(random),
        }
    }
    actions
}

fn no_actor(id: &str) -> ApiError {
    ApiError::new(Problem::ScheduleActorNotFound, format!("Actor with ID \"{id}\" of an action was not found"))
}

fn no_task(id: &str) -> ApiError {
    ApiError::new(Problem::ScheduleActorTaskNotFound, format!("Actor task with ID \"{id}\" of an action was not found"))
}
