//! One invocation of one schedule.

use std::sync::Arc;

use bytes::Bytes;
use model::schedule::{LogLevel, Schedule, ScheduleAction, ScheduleLogEntry, ScheduleTarget, ScheduledInput, decide};
use model::signature::hmac_sha256;
use model::{Origin, Random, Run, RunId, ScheduleId, Timestamp};
use store::{KeptSchedule, Noun, ScheduleNote, StoreError};
use tracing::{info, warn};

use super::Scheduled;
use crate::runs::{Asked, RunInput, StartRun};
use crate::{Caller, Engine, EngineError, RunOptionsGiven};

impl Engine {
    /// Starts what a schedule says if it is due, and notes that. A server that stops in between starts nothing twice: each
    /// run has an id that follows from action and time.
    ///
    /// # Errors
    /// Of the store, and `ShuttingDown`; the schedule is still due then.
    pub(super) async fn see_to_schedule(&self, id: &ScheduleId, missed_before: Timestamp) -> Result<(), EngineError> {
        let Some(kept) = self.inner.store.schedules.get(id).await? else { return Ok(()) };
        let Some(tick) = kept.state.next_run_at.filter(|tick| *tick <= self.now()) else { return Ok(()) };
        let note = match kept.schedule.ticks() {
            Ok(ticks) => {
                let has_begun = tick < missed_before && self.has_begun(&kept.schedule, tick).await?;
                let invocation = decide(&ticks, tick, missed_before, self.inner.config.missed_schedules, has_begun);
                let mut note = match invocation.starts {
                    true => self.invoke(&kept, tick).await?,
                    false => self.leave_out(&kept.schedule, tick),
                };
                note.next = invocation.next;
                note
            }
            // It was understood when it was made; whatever it was made by, it must not be looked at again and again.
            Err(error) => {
                warn!(schedule.id = %id, %error, "Schedule {id} cannot go on");
                ScheduleNote { entries: vec![self.entry(LogLevel::Error, error.to_string())], ..Default::default() }
            }
        };
        self.crash_point("schedule invoked").await;
        match self.inner.store.schedules.note(id, tick, note).await {
            Err(StoreError::NotFound(_)) => Ok(()),
            noted => Ok(noted?),
        }
    }

    async fn invoke(&self, kept: &KeptSchedule, tick: Timestamp) -> Result<ScheduleNote, EngineError> {
        let schedule = &kept.schedule;
        info!(schedule.id = %schedule.id, "Invoking schedule {}", schedule.id);
        let mut note = ScheduleNote { invoked_at: Some(self.now()), ..ScheduleNote::default() };
        note.entries.push(self.entry(LogLevel::Info, "Schedule invoked".to_owned()));
        for action in &schedule.actions {
            let run = self.run_of(schedule, action, tick);
            let what = describe(&action.target);
            if schedule.is_exclusive
                && let Some(before) = kept.state.last_runs.get(&action.id).filter(|before| **before != run)
                && self.is_live(before).await?
            {
                let message = format!("Cannot start {what}: its previous run {before} is still running");
                note.entries.push(self.entry(LogLevel::Warning, message));
                continue;
            }
            match self.start_action(schedule, action, Scheduled { schedule: schedule.id, at: tick, run }).await {
                Ok(()) => {
                    self.crash_point("schedule action started").await;
                    note.started.push((action.id, run));
                }
                Err(EngineError::ShuttingDown) => return Err(EngineError::ShuttingDown),
                Err(error) => {
                    note.entries.push(self.entry(LogLevel::Error, format!("Cannot start {what}: {}", reason(&error))));
                }
            }
        }
        Ok(note)
    }

    fn leave_out(&self, schedule: &Schedule, tick: Timestamp) -> ScheduleNote {
        info!(schedule.id = %schedule.id, "Leaving out what schedule {} missed since {tick}", schedule.id);
        let message = format!("Schedule not invoked at {tick} and after, since the server was not running");
        ScheduleNote { entries: vec![self.entry(LogLevel::Warning, message)], ..ScheduleNote::default() }
    }

    async fn start_action(
        &self,
        schedule: &Schedule,
        action: &ScheduleAction,
        scheduled: Scheduled,
    ) -> Result<(), EngineError> {
        let store = &self.inner.store;
        // A former server may have started it and stopped before that was noted.
        if store.runs.get(&scheduled.run).await?.is_some() {
            return Ok(());
        }
        let user = self.user(&schedule.user_id).await?.ok_or(EngineError::NotFound(Noun::User))?;
        let caller = Caller::of(user);
        let asked = Asked { origin: Origin::Scheduler, client_ip: None, user_agent: None, workflow_key: None };
        let start = StartRun {
            given: RunOptionsGiven::default(),
            force_permission_level: None,
            input: action.input.as_ref().map(body),
            without_dev_folder: false,
            asked,
            task: None,
            scheduled: Some(scheduled),
            webhooks: Vec::new(),
            without_input: false,
        };
        let started = match &action.target {
            ScheduleTarget::RunActor { actor_id, run_options } => {
                let actor = store.actors.get(actor_id).await?;
                let visible = actor.filter(|actor| actor.is_public || actor.user_id == schedule.user_id);
                let actor = visible.ok_or(EngineError::NotFound(Noun::Actor))?;
                let given = RunOptionsGiven::from(run_options.clone().unwrap_or_default());
                self.start_run(&caller, &actor, StartRun { given, ..start }).await
            }
            ScheduleTarget::RunActorTask { actor_task_id } => {
                let task = store.tasks.get(actor_task_id).await?;
                let own = task.filter(|task| task.user_id == schedule.user_id);
                let task = own.ok_or(EngineError::NotFound(Noun::Task))?;
                self.start_task(&caller, &task, start).await
            }
        };
        match started {
            // The store has the last word on that.
            Err(EngineError::Store(StoreError::NameTaken)) if store.runs.get(&scheduled.run).await?.is_some() => Ok(()),
            started => started.map(drop),
        }
    }

    /// Whether a run that the schedule is to start at `tick` is there already.
    async fn has_begun(&self, schedule: &Schedule, tick: Timestamp) -> Result<bool, EngineError> {
        for action in &schedule.actions {
            if self.inner.store.runs.get(&self.run_of(schedule, action, tick)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn is_live(&self, run: &RunId) -> Result<bool, EngineError> {
        let run: Option<Arc<Run>> = self.inner.store.runs.get(run).await?;
        Ok(run.is_some_and(|run| !run.status.is_terminal()))
    }

    /// The id of the run that an action starts at `tick`.
    fn run_of(&self, schedule: &Schedule, action: &ScheduleAction, tick: Timestamp) -> RunId {
        RunId::random(&Derived(self.inner.keys.scheduled_run(&schedule.id, &action.id, tick)))
    }

    fn entry(&self, level: LogLevel, message: String) -> ScheduleLogEntry {
        ScheduleLogEntry { message, level, created_at: self.now() }
    }
}

/// Bytes that follow from a key and nothing else.
#[derive(Debug)]
struct Derived([u8; 32]);

impl Random for Derived {
    fn fill(&self, bytes: &mut [u8]) {
        for (number, part) in bytes.chunks_mut(32).enumerate() {
            part.copy_from_slice(&hmac_sha256(&self.0, &number.to_le_bytes())[..part.len()]);
        }
    }
}

fn describe(target: &ScheduleTarget) -> String {
    match target {
        ScheduleTarget::RunActor { actor_id, .. } => format!("Actor \"{actor_id}\""),
        ScheduleTarget::RunActorTask { actor_task_id } => format!("Actor task \"{actor_task_id}\""),
    }
}

/// The reason that its owner may read; the server's own failures go to its log.
fn reason(error: &EngineError) -> String {
    if crate::supervision::is_passing(error) || matches!(error, EngineError::Driver(_)) {
        warn!(%error, "A schedule could not start a run");
        return match error {
            EngineError::Store(StoreError::Full) => error.to_string(),
            _ => "internal error".to_owned(),
        };
    }
    error.to_string()
}

fn body(input: &ScheduledInput) -> RunInput {
    match input {
        ScheduledInput::Body { body, content_type } => {
            RunInput { body: Bytes::copy_from_slice(body.as_bytes()), content_type: Some(content_type.clone()) }
        }
        ScheduledInput::Object(object) => {
            RunInput { body: Bytes::copy_from_slice(object.as_str().as_bytes()), content_type: None }
        }
    }
}
