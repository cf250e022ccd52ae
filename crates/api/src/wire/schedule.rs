//! Schedules as clients see them.

use model::schedule::{Schedule, ScheduleAction, ScheduleTarget, ScheduledInput};
use model::{ActorId, GivenOptions, JsonObject, ScheduleActionId, ScheduleId, TaskId, Timestamp, UserId};
use serde::Serialize;
use store::KeptSchedule;

/// A schedule (`SCH-1`, `VAL-4`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScheduleBody<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    description: Option<&'a str>,
    notifications: Notifications,
    actions: Vec<ActionBody<'a>>,
}

/// A schedule as lists show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScheduleItem<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    actions: Vec<ActionItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Base<'a> {
    id: ScheduleId,
    user_id: UserId,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    cron_expression: &'a str,
    timezone: &'a str,
    is_enabled: bool,
    is_exclusive: bool,
    created_at: Timestamp,
    modified_at: Timestamp,
    next_run_at: Option<Timestamp>,
    last_run_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Notifications {
    email: bool,
}

/// An action with everything (`SCH-5`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionBody<'a> {
    #[serde(flatten)]
    item: ActionItem,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_input: Option<RunInput<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_options: Option<&'a GivenOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a JsonObject>,
}

/// What an action starts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionItem {
    id: ScheduleActionId,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<ActorId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_task_id: Option<TaskId>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunInput<'a> {
    body: &'a str,
    content_type: &'a str,
}

impl<'a> ScheduleBody<'a> {
    /// The whole schedule.
    pub(crate) fn new(kept: &'a KeptSchedule) -> Self {
        let schedule = &kept.schedule;
        Self {
            base: Base::new(kept),
            description: schedule.description.as_deref(),
            notifications: Notifications { email: schedule.notify_by_email },
            actions: schedule.actions.iter().map(ActionBody::new).collect(),
        }
    }
}

impl<'a> ScheduleItem<'a> {
    /// The short form.
    pub(crate) fn new(kept: &'a KeptSchedule) -> Self {
        Self { base: Base::new(kept), actions: kept.schedule.actions.iter().map(ActionItem::new).collect() }
    }
}

impl<'a> Base<'a> {
    fn new(kept: &'a KeptSchedule) -> Self {
        let schedule: &Schedule = &kept.schedule;
        Self {
            id: schedule.id,
            user_id: schedule.user_id,
            name: &schedule.name,
            title: schedule.title.as_deref(),
            cron_expression: &schedule.cron_expression,
            timezone: &schedule.timezone,
            is_enabled: schedule.is_enabled,
            is_exclusive: schedule.is_exclusive,
            created_at: schedule.created_at,
            modified_at: schedule.modified_at,
            next_run_at: kept.state.next_run_at,
            last_run_at: kept.state.last_run_at,
        }
    }
}

impl ActionItem {
    fn new(action: &ScheduleAction) -> Self {
        let id = action.id;
        match &action.target {
            ScheduleTarget::RunActor { actor_id, .. } => {
                Self { id, r#type: "RUN_ACTOR", actor_id: Some(*actor_id), actor_task_id: None }
            }
            ScheduleTarget::RunActorTask { actor_task_id } => {
                Self { id, r#type: "RUN_ACTOR_TASK", actor_id: None, actor_task_id: Some(*actor_task_id) }
            }
        }
    }
}

impl<'a> ActionBody<'a> {
    fn new(action: &'a ScheduleAction) -> Self {
        let (run_input, input) = match &action.input {
            Some(ScheduledInput::Body { body, content_type }) => (Some(RunInput { body, content_type }), None),
            Some(ScheduledInput::Object(object)) => (None, Some(object)),
            None => (None, None),
        };
        let run_options = match &action.target {
            ScheduleTarget::RunActor { run_options, .. } => run_options.as_ref(),
            ScheduleTarget::RunActorTask { .. } => None,
        };
        Self { item: ActionItem::new(action), run_input, run_options, input }
    }
}
