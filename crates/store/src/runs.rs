//! Runs.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::{
    ActorId, JobStatus, Listed, Origin, Page, Run, RunId, RunSummary, Storage, TaskId, Timestamp, Used, UserId, Webhook,
};

use crate::{NewRecord, StoreError};

/// Keeps runs.
#[async_trait]
pub trait RunStore: Send + Sync + std::fmt::Debug {
    /// Makes a run with its storages and its input, all in one transaction, and counts it in the
    /// statistics of its Actor and its task (`START-22`, `START-23`).
    ///
    /// # Errors
    /// `NameTaken` if there is a run of that id; nothing is made then.
    async fn create(
        &self,
        run: Run,
        storages: Vec<Storage>,
        input: Option<(NewRecord, Bytes)>,
    ) -> Result<Arc<Run>, StoreError> {
        self.create_with_webhooks(run, storages, input, Vec::new()).await
    }

    /// As [`create`](Self::create), with webhooks of the run's own, which hear of its creation, too (`START-14`). Of those
    /// whose idempotency key the user has used already, none is made.
    async fn create_with_webhooks(
        &self,
        run: Run,
        storages: Vec<Storage>,
        input: Option<(NewRecord, Bytes)>,
        webhooks: Vec<Webhook>,
    ) -> Result<Arc<Run>, StoreError>;

    /// The run with that id.
    async fn get(&self, id: &RunId) -> Result<Option<Arc<Run>>, StoreError>;

    /// A page of runs by start, ties by id.
    async fn list(&self, filter: RunFilter, page: Page) -> Result<Listed<RunSummary>, StoreError>;

    /// The newest run that matches (`LAST-1`).
    async fn last(&self, filter: RunFilter) -> Result<Option<Arc<Run>>, StoreError>;

    /// Changes a run in one transaction: `change` sees the newest state and says whether to keep what it made of it.
    /// It may be called again if the backend has to repeat the transaction.
    ///
    /// # Errors
    /// `NotFound`.
    async fn modify(&self, id: &RunId, change: RunChange) -> Result<Arc<Run>, StoreError>;

    /// As [`modify`](Self::modify), but only once for each `key` used since `remember_from`; a repeated key changes nothing (`CHG-3`).
    async fn modify_once(
        &self,
        id: &RunId,
        key: &str,
        remember_from: Timestamp,
        change: RunChange,
    ) -> Result<Arc<Run>, StoreError>;

    /// Deletes a run with its log and the storages that live with it.
    async fn delete(&self, id: &RunId) -> Result<(), StoreError>;

    /// What a user used on each day between two moments, oldest first; days without use are left out. It counts on the day on
    /// which it was written down, and stays when its run is deleted (`USR-8`).
    async fn used(&self, user: &UserId, from: Timestamp, to: Timestamp) -> Result<Vec<(Timestamp, Used)>, StoreError>;

    /// Up to `limit` finished runs of a user that were started before that moment, without the `keep` newest of all (`RET-1`).
    async fn old(
        &self,
        user: &UserId,
        started_before: Timestamp,
        keep: u64,
        limit: u64,
    ) -> Result<Vec<RunId>, StoreError>;

    /// Every run that has not ended.
    async fn live(&self) -> Result<Vec<Arc<Run>>, StoreError>;
}

/// Changes a run; returns whether the change is to be kept.
pub type RunChange = Box<dyn FnMut(&mut Run) -> bool + Send>;

/// Which runs to list; every condition given must hold (`LIST-7`, `LIST-8`).
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Started by this user.
    pub user: Option<UserId>,
    /// Of this Actor.
    pub actor: Option<ActorId>,
    /// Of this task.
    pub task: Option<TaskId>,
    /// In one of these statuses; any if empty.
    pub statuses: Vec<JobStatus>,
    /// Not started before.
    pub started_after: Option<Timestamp>,
    /// Not started after.
    pub started_before: Option<Timestamp>,
    /// Started in this way.
    pub origin: Option<Origin>,
}
