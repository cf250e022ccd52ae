//! Schedules.

use std::sync::Arc;

use async_trait::async_trait;
use model::schedule::{Schedule, ScheduleLogEntry, ScheduleState};
use model::{Listed, Page, RunId, ScheduleActionId, ScheduleId, Timestamp, UserId};

use crate::StoreError;

/// Keeps schedules, each with what becomes of it by itself.
#[async_trait]
pub trait ScheduleStore: Send + Sync + std::fmt::Debug {
    /// Makes a schedule that is due at `next`.
    ///
    /// # Errors
    /// `NameTaken`.
    async fn create(&self, schedule: Schedule, next: Option<Timestamp>) -> Result<KeptSchedule, StoreError>;

    /// The schedule with that id.
    async fn get(&self, id: &ScheduleId) -> Result<Option<KeptSchedule>, StoreError>;

    /// The user's schedule of that name; case does not count.
    async fn find(&self, user: &UserId, name: &str) -> Result<Option<KeptSchedule>, StoreError>;

    /// A page of the user's schedules by creation, ties by id, without the inputs of their actions.
    async fn list(&self, user: &UserId, page: Page) -> Result<Listed<KeptSchedule>, StoreError>;

    /// How many schedules the user has.
    async fn count(&self, user: &UserId) -> Result<u64, StoreError>;

    /// Changes a schedule in one transaction: `change` sees the newest state and says whether to keep what it made of it.
    /// It may be called again if the backend has to repeat the transaction. The owner stays who it is.
    ///
    /// # Errors
    /// `NotFound`; `NameTaken` if the change gives it a name that another has.
    async fn modify(&self, id: &ScheduleId, change: ScheduleChange) -> Result<KeptSchedule, StoreError>;

    /// Deletes a schedule with its log; what it has started stays.
    async fn delete(&self, id: &ScheduleId) -> Result<(), StoreError>;

    /// When the first of all schedules is due.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Up to `limit` schedules that are due at `until` or before, the most overdue first.
    async fn due(&self, until: Timestamp, limit: u64) -> Result<Vec<ScheduleId>, StoreError>;

    /// Notes what became of an invocation, all in one transaction. Nothing of it is noted if the schedule is not due at
    /// `tick` any more: it was noted before, or the schedule was changed meanwhile.
    ///
    /// # Errors
    /// `NotFound`.
    async fn note(&self, id: &ScheduleId, tick: Timestamp, note: ScheduleNote) -> Result<(), StoreError>;

    /// The newest entries of a schedule's log, up to [`MAX_LOG_ENTRIES`](model::schedule::MAX_LOG_ENTRIES), oldest first.
    ///
    /// # Errors
    /// `NotFound`.
    async fn log(&self, id: &ScheduleId) -> Result<Vec<ScheduleLogEntry>, StoreError>;
}

/// Changes a schedule and its state; returns whether the change is to be kept.
pub type ScheduleChange = Box<dyn FnMut(&mut Schedule, &mut ScheduleState) -> bool + Send>;

/// A schedule with what has become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptSchedule {
    /// Its content.
    pub schedule: Arc<Schedule>,
    /// What has become of it.
    pub state: ScheduleState,
}

/// What became of an invocation.
#[derive(Clone, Debug, Default)]
pub struct ScheduleNote {
    /// When the schedule is due next.
    pub next: Option<Timestamp>,
    /// When it was invoked; `None` if the time was left out.
    pub invoked_at: Option<Timestamp>,
    /// The runs that were started, by action.
    pub started: Vec<(ScheduleActionId, RunId)>,
    /// What the log is to say.
    pub entries: Vec<ScheduleLogEntry>,
}
