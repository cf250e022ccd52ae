//! Schedules: keeping them, and starting what they say when they are due.

mod invoke;
mod ticker;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::schedule::{Schedule, ScheduleAction, ScheduleState, ScheduleTarget, ScheduledInput, TicksError};
use model::{JsonObject, RunId, ScheduleId, Timestamp, UserId};
use parking_lot::Mutex;
use store::KeptSchedule;

use crate::{Engine, EngineError};

/// What a run was started by, if it was a schedule (`SCH-10`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// The schedule.
    pub schedule: ScheduleId,
    /// When it was due.
    pub at: Timestamp,
    /// The id of the run: one for each action and time, so that none is started twice.
    pub run: RunId,
}

impl Engine {
    /// Makes a schedule.
    ///
    /// # Errors
    /// `Schedule` if it is never due; `Store(NameTaken)`.
    pub async fn create_schedule(&self, schedule: Schedule) -> Result<KeptSchedule, EngineError> {
        let next = schedule.first_due(&ScheduleState::default(), self.now())?;
        let kept = self.inner.store.schedules.create(schedule, next).await?;
        self.inner.scheduler.notify_one();
        Ok(kept)
    }

    /// An action as `user` keeps it in a schedule: with the secrets of its input encrypted (`INP-24`), as far as the build that it
    /// starts tells which they are.
    ///
    /// # Errors
    /// Of the store.
    pub async fn seal_action(&self, user: &UserId, mut action: ScheduleAction) -> Result<ScheduleAction, EngineError> {
        let Some(input) = &mut action.input else { return Ok(action) };
        let (actor, build) = match &action.target {
            ScheduleTarget::RunActor { actor_id, run_options } => {
                let build = run_options.as_ref().and_then(|options| options.build.clone());
                (self.inner.store.actors.get(actor_id).await?, build)
            }
            ScheduleTarget::RunActorTask { actor_task_id } => match self.inner.store.tasks.get(actor_task_id).await? {
                Some(task) => (self.inner.store.actors.get(&task.actor_id).await?, task.options.build.clone()),
                None => (None, None),
            },
        };
        let Some(actor) = actor else { return Ok(action) };
        match input {
            // Whatever else it is, no run takes it as an input with secrets.
            ScheduledInput::Body { body, .. } => {
                if let Ok(Some(object)) = JsonObject::parse(body.as_bytes()) {
                    let sealed = self.seal_input(user, &actor, build.as_deref(), &object).await?;
                    sealed.as_str().clone_into(body);
                }
            }
            ScheduledInput::Object(object) => {
                *object = self.seal_input(user, &actor, build.as_deref(), object).await?;
            }
        }
        Ok(action)
    }

    /// Changes a schedule to what `change` makes of its newest state; `None` leaves it alone. When it is due is reckoned
    /// anew only if the change concerns it, so that a time that has just come is not lost (`SCH-8`).
    ///
    /// # Errors
    /// `NotFound(Schedule)`; `Schedule` if it would never be due; `Store(NameTaken)`.
    pub async fn change_schedule(
        &self,
        id: &ScheduleId,
        change: impl Fn(&Schedule) -> Option<Schedule> + Send + 'static,
    ) -> Result<KeptSchedule, EngineError> {
        let refusal: Arc<Mutex<Option<TicksError>>> = Arc::default();
        let (refused, now) = (refusal.clone(), self.now());
        let changed = self.inner.store.schedules.modify(
            id,
            Box::new(move |schedule, state| {
                let Some(new) = change(schedule) else { return false };
                if !new.is_due_as(schedule) {
                    match new.first_due(state, now) {
                        Ok(next) => state.next_run_at = next,
                        Err(error) => {
                            *refused.lock() = Some(error);
                            return false;
                        }
                    }
                }
                let kept = |action| new.actions.iter().any(|other| other.id == action);
                state.last_runs.retain(|action, _| kept(*action));
                *schedule = new;
                true
            }),
        );
        let kept = changed.await?;
        if let Some(refusal) = refusal.lock().take() {
            return Err(refusal.into());
        }
        self.inner.scheduler.notify_one();
        Ok(kept)
    }
}
