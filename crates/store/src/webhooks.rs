//! Webhooks, and the dispatches that are due for them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use model::{
    ActorId, Build, Call, Dispatch, DispatchId, EventData, Listed, Page, Run, TaskId, Timestamp, UserId, Webhook,
    WebhookEvent, WebhookId, WebhookStats,
};

use crate::StoreError;

/// Keeps webhooks and dispatches.
///
/// Dispatches come into being with the change that they tell of, in the same transaction: whenever a run or build is made
/// or changes its status, there is one for each webhook that waits for it (`WH-19`).
#[async_trait]
pub trait WebhookStore: Send + Sync + std::fmt::Debug {
    /// Makes a webhook and returns it; if its user has one with that idempotency key, that one is returned (`WH-3`).
    async fn create(&self, webhook: Webhook) -> Result<Arc<Webhook>, StoreError>;

    /// The webhook with that id, and what was sent for it.
    async fn get(&self, id: &WebhookId) -> Result<Option<(Arc<Webhook>, WebhookStats)>, StoreError>;

    /// A page of webhooks by creation, ties by id.
    async fn list(&self, filter: WebhookFilter, page: Page)
    -> Result<Listed<(Arc<Webhook>, WebhookStats)>, StoreError>;

    /// Changes a webhook in one transaction: `change` sees the newest state and says whether to keep what it made of it.
    ///
    /// # Errors
    /// `NotFound`.
    async fn modify(&self, id: &WebhookId, change: WebhookChange) -> Result<Arc<Webhook>, StoreError>;

    /// Deletes a webhook. Its dispatches stay until they expire; none of them is due with a webhook any more.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete(&self, id: &WebhookId) -> Result<(), StoreError>;

    /// Makes a dispatch of a test (`WH-16`).
    ///
    /// # Errors
    /// `NotFound`.
    async fn test(&self, id: &WebhookId) -> Result<Dispatch, StoreError>;

    /// The dispatch with that id.
    async fn dispatch(&self, id: &DispatchId) -> Result<Option<Dispatch>, StoreError>;

    /// A page of dispatches by creation, ties by id.
    async fn dispatches(&self, filter: DispatchFilter, page: Page) -> Result<Listed<Dispatch>, StoreError>;

    /// Up to `limit` dispatches that are due at `now` and not taken, the targets with the fewest under way first, so that
    /// none has to wait for another.
    async fn due(&self, now: Timestamp, taken: Taken, limit: usize) -> Result<Vec<Due>, StoreError>;

    /// When the next dispatch is due of those that are not due at `now`, as far as no earlier one of its target is.
    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Writes down what came of attempts, all in one transaction. Of a dispatch that is gone or has ended nothing is
    /// written.
    async fn note_attempts(&self, attempts: Vec<Attempted>) -> Result<(), StoreError>;

    /// Waits until a dispatch was made since this was last waited for. For one caller alone.
    async fn made(&self);

    /// Forgets up to `limit` dispatches that were made before `before` and have ended; returns whether there may be more.
    async fn expire(&self, before: Timestamp, limit: usize) -> Result<bool, StoreError>;
}

/// Changes a webhook; returns whether the change is to be kept.
pub type WebhookChange = Box<dyn FnMut(&mut Webhook) -> bool + Send>;

/// Which webhooks to list.
#[derive(Clone, Copy, Debug)]
pub enum WebhookFilter {
    /// All of a user.
    OfUser(UserId),
    /// Those of a user for an Actor (`ACT-13`).
    OfActor(UserId, ActorId),
    /// Those of a user for a task.
    OfTask(UserId, TaskId),
}

/// Which dispatches to list.
#[derive(Clone, Copy, Debug)]
pub enum DispatchFilter {
    /// All of a user.
    OfUser(UserId),
    /// Those of a webhook (`LIST-10`).
    OfWebhook(WebhookId),
}

/// Number of a target, that is of a scheme, host and port.
pub type TargetNumber = i64;

/// What is under way, and how much more there may be.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Dispatches that were handed out and are not written down yet.
    pub dispatches: HashSet<DispatchId>,
    /// Targets with something under way.
    pub targets: HashMap<TargetNumber, Load>,
    /// How many may go at once to a target that is not among them.
    pub room: usize,
}

/// How busy a target is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Dispatches handed out and not written down.
    pub taken: usize,
    /// How many more may go to it now.
    pub room: usize,
}

/// A dispatch that is to be sent.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its id.
    pub id: DispatchId,
    /// Whose it is.
    pub user_id: UserId,
    /// Where it goes.
    pub target: TargetNumber,
    /// The webhook as it is now; `None` if it was deleted.
    pub webhook: Option<Arc<Webhook>>,
    /// What happened.
    pub event_type: WebhookEvent,
    /// To what; nothing for tests.
    pub event_data: Option<EventData>,
    /// When.
    pub created_at: Timestamp,
    /// What it happened to, as it was then.
    pub subject: Subject,
    /// Attempts so far.
    pub attempts: u32,
}

/// What an event happened to.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A run.
    Run(Box<Run>),
    /// A build.
    Build(Box<Build>),
    /// Nothing: it is a test.
    Test,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// The dispatch.
    pub id: DispatchId,
    /// The attempt.
    pub call: Call,
    /// What is next.
    pub next: Next,
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it has arrived.
    Succeeded,
    /// Nothing: it is given up.
    Failed,
    /// Another attempt.
    Retry(Timestamp),
}
