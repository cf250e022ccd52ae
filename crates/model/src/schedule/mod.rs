//! Schedules: when to run which Actors and tasks (section 20 of the contract).

mod cron;
mod missed;
mod ticks;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ActorId, GivenOptions, JsonObject, RunId, ScheduleActionId, ScheduleId, TaskId, Timestamp, TokenId, UserId,
};

pub use self::cron::{Cron, CronError};
pub use self::missed::{Invocation, MissedTicks, Watch, decide};
pub use self::ticks::{MIN_DISTANCE_MILLIS, Ticks, TicksError};

/// Most Actors, and most tasks, of one schedule (`SCH-7`).
pub const MAX_ACTIONS_OF_KIND: usize = 10;
/// Entries that the log of a schedule keeps (`SCH-11`).
pub const MAX_LOG_ENTRIES: usize = 1000;

/// A schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Its owner, as whom it starts runs.
    pub user_id: UserId,
    /// Its name, unique for the owner without regard to case (`ID-9`).
    pub name: String,
    /// Shown title.
    #[serde(default)]
    pub title: Option<String>,
    /// Description.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether it goes at all.
    pub is_enabled: bool,
    /// Whether an action waits for its previous run (`SCH-9`).
    pub is_exclusive: bool,
    /// When, in the words given (`SCH-2`).
    pub cron_expression: String,
    /// The time zone of these words (`SCH-4`).
    pub timezone: String,
    /// Whether its owner wants mail about it; kept, and nothing is sent.
    #[serde(default)]
    pub notify_by_email: bool,
    /// What it starts.
    #[serde(default)]
    pub actions: Vec<ScheduleAction>,
    /// The token of limited scope that made it, which may do everything with it (`AUTH-19`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last change of its content; never by invocations.
    pub modified_at: Timestamp,
}

/// Something that a schedule starts (`SCH-5`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleAction {
    /// Its id, the same as long as it is in the schedule.
    pub id: ScheduleActionId,
    /// What it starts.
    #[serde(flatten)]
    pub target: ScheduleTarget,
    /// The input. Kept apart from the rest, since it can be large.
    #[serde(skip)]
    pub input: Option<ScheduledInput>,
}

/// What an action starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum ScheduleTarget {
    /// A run of an Actor.
    RunActor {
        /// The Actor.
        actor_id: ActorId,
        /// Options of the run.
        #[serde(default)]
        run_options: Option<GivenOptions>,
    },
    /// A run of a task.
    RunActorTask {
        /// The task.
        actor_task_id: TaskId,
    },
}

/// The input of an action: that of an Actor is a body of any kind, that of a task an object that goes over the task's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ScheduledInput {
    /// For an Actor.
    Body {
        /// The body as text.
        body: String,
        /// Its media type.
        content_type: String,
    },
    /// For a task.
    Object(JsonObject),
}

/// What becomes of a schedule by itself, apart from its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduleState {
    /// When it is due next; `None` while it is disabled (`SCH-8`).
    pub next_run_at: Option<Timestamp>,
    /// When it was last invoked.
    pub last_run_at: Option<Timestamp>,
    /// When that invocation was due.
    pub last_tick: Option<Timestamp>,
    /// The last run of each action (`SCH-9`).
    pub last_runs: BTreeMap<ScheduleActionId, RunId>,
}

/// A line of a schedule's log (`SCH-11`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleLogEntry {
    /// What happened.
    pub message: String,
    /// How bad it is.
    pub level: LogLevel,
    /// When it happened.
    pub created_at: Timestamp,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words speak for themselves")]
pub enum LogLevel {
    Info,
    Warning,
    Error,
}

impl Schedule {
    /// The times at which it is due.
    ///
    /// # Errors
    /// If its expression or its time zone is not (or no longer) understood.
    pub fn ticks(&self) -> Result<Ticks, TicksError> {
        Ticks::of(&self.cron_expression, &self.timezone)
    }

    /// Whether `other` is due at the same times.
    pub fn is_due_as(&self, other: &Self) -> bool {
        (self.is_enabled, &self.cron_expression, &self.timezone)
            == (other.is_enabled, &other.cron_expression, &other.timezone)
    }

    /// When a schedule that was made or changed just now is due first (`SCH-8`): not at a time that it was invoked for.
    ///
    /// # Errors
    /// As [`ticks`](Self::ticks).
    pub fn first_due(&self, state: &ScheduleState, now: Timestamp) -> Result<Option<Timestamp>, TicksError> {
        let ticks = self.ticks()?;
        // An invocation that lies ahead is due to a clock that was wrong.
        let last = state.last_tick.filter(|last| *last <= now);
        Ok(if self.is_enabled { ticks.next(now.plus_millis(1), last) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_schedule_is_due_in_the_future_and_never_twice_for_one_time() {
        let id = "aB3aB3aB3aB3aB3aB";
        let now = Timestamp::parse("2026-08-31T09:13:25Z").unwrap();
        let schedule = Schedule {
            id: ScheduleId::parse(id).unwrap(),
            user_id: UserId::parse(id).unwrap(),
            name: "my-schedule".to_owned(),
            title: None,
            description: None,
            is_enabled: true,
            is_exclusive: true,
            cron_expression: "*/5 * * * * *".to_owned(),
            timezone: "UTC".to_owned(),
            notify_by_email: false,
            actions: vec![],
            token_id: None,
            created_at: now,
            modified_at: now,
        };
        let due = |state: &ScheduleState| schedule.first_due(state, now).unwrap();
        let invoked = |at| ScheduleState { last_tick: Some(at), ..ScheduleState::default() };

        assert_eq!(due(&ScheduleState::default()), Some(now.plus_secs(5)));
        assert_eq!(due(&invoked(now)), Some(now.plus_secs(10)));
        assert_eq!(due(&invoked(now.plus_secs(3600))), Some(now.plus_secs(5)), "the clock was put back");
        let disabled = Schedule { is_enabled: false, ..schedule.clone() };
        assert_eq!(disabled.first_due(&ScheduleState::default(), now).unwrap(), None);
        assert!(!disabled.is_due_as(&schedule));
    }
}
