//! Tasks as clients see them.

use std::sync::Arc;

use engine::{EngineConfig, StandbyOf};
use model::{Actor, ActorId, GivenOptions, JsonObject, PublicConfig, Task, TaskId, TaskStandby, Timestamp, UserId};
use serde::Serialize;

/// A task (`TASK-7`, `VAL-4`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskBody<'a> {
    #[serde(flatten)]
    item: TaskItem,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    removed_at: Option<Timestamp>,
    options: &'a GivenOptions,
    input: Option<&'a JsonObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_standby: Option<&'a TaskStandby>,
    standby_url: Option<String>,
    is_public: bool,
    public_config: Option<&'a PublicConfig>,
}

/// A task as lists show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskItem {
    id: TaskId,
    user_id: UserId,
    act_id: ActorId,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    username: String,
    act_name: Option<String>,
    act_username: Option<String>,
    created_at: Timestamp,
    modified_at: Timestamp,
    stats: TaskStats,
}

/// What has been done with a task.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskStats {
    total_runs: u64,
}

/// The names around a task.
#[derive(Clone, Debug)]
pub(crate) struct TaskNames {
    /// Of its owner.
    pub(crate) username: String,
    /// Of its Actor and of the Actor's owner, as far as they are there.
    pub(crate) actor: Option<(String, String)>,
}

impl TaskItem {
    /// The short form.
    pub(crate) fn new(task: &Task, total_runs: u64, names: TaskNames) -> Self {
        let (act_username, act_name) = names.actor.unzip();
        Self {
            id: task.id,
            user_id: task.user_id,
            act_id: task.actor_id,
            name: task.name.clone(),
            title: task.title.clone(),
            username: names.username,
            act_name,
            act_username,
            created_at: task.created_at,
            modified_at: task.modified_at,
            stats: TaskStats { total_runs },
        }
    }
}

impl<'a> TaskBody<'a> {
    /// The whole task; its Standby has an address if it is on (`STB-1`). Without its Actor it cannot be.
    pub(crate) fn new(
        task: &'a Arc<Task>,
        actor: Option<Arc<Actor>>,
        total_runs: u64,
        names: TaskNames,
        config: &EngineConfig,
    ) -> Self {
        let standby = actor.map(|actor| StandbyOf { actor, task: Some(task.clone()) });
        let is_on_standby = standby.is_some_and(|standby| standby.settings().is_enabled);
        Self {
            standby_url: is_on_standby.then(|| config.task_standby_url(&names.username, &task.name)),
            item: TaskItem::new(task, total_runs, names),
            description: task.description.as_deref(),
            removed_at: None,
            options: &task.options,
            input: task.input.as_ref(),
            actor_standby: task.actor_standby.as_ref(),
            is_public: task.is_public(),
            public_config: task.public_config.as_ref(),
        }
    }
}
