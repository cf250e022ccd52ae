//! Tasks.

use std::sync::Arc;

use async_trait::async_trait;
use model::{Listed, Page, Task, TaskId, UserId};

use crate::StoreError;

/// Keeps tasks.
#[async_trait]
pub trait TaskStore: Send + Sync + std::fmt::Debug {
    /// Makes a task.
    ///
    /// # Errors
    /// `NotFound(Actor)`; `NameTaken`.
    async fn create(&self, task: Task) -> Result<Arc<Task>, StoreError>;

    /// The task with that id.
    async fn get(&self, id: &TaskId) -> Result<Option<Arc<Task>>, StoreError>;

    /// The user's task of that name; case does not count.
    async fn find(&self, user: &UserId, name: &str) -> Result<Option<Arc<Task>>, StoreError>;

    /// How many tasks the user has.
    async fn count(&self, user: &UserId) -> Result<u64, StoreError>;

    /// How many runs were started from it (`START-22`).
    ///
    /// # Errors
    /// `NotFound`.
    async fn total_runs(&self, id: &TaskId) -> Result<u64, StoreError>;

    /// A page of the user's tasks by creation, ties by id.
    async fn list(&self, user: &UserId, page: Page) -> Result<Listed<ListedTask>, StoreError>;

    /// Changes a task in one transaction: `change` sees the newest state and says whether to keep what it made of it.
    /// It may be called again if the backend has to repeat the transaction. Owner and Actor stay what they are.
    ///
    /// # Errors
    /// `NotFound`; `NameTaken` if the change gives it a name that another has.
    async fn modify(&self, id: &TaskId, change: TaskChange) -> Result<Arc<Task>, StoreError>;

    /// Deletes a task with the webhooks that wait for it; its runs stay. A deleted Actor takes its tasks along (`ACT-8`).
    async fn delete(&self, id: &TaskId) -> Result<(), StoreError>;
}

/// A task in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedTask {
    /// The task without its input.
    pub task: Task,
    /// How many runs were started from it.
    pub total_runs: u64,
    /// Owner and name of its Actor, as long as that is there.
    pub actor: Option<(UserId, String)>,
}

/// Changes a task; returns whether the change is to be kept.
pub type TaskChange = Box<dyn FnMut(&mut Task) -> bool + Send>;
