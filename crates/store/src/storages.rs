//! Storages as objects: made, found, named, shared, deleted.

use std::sync::Arc;

use async_trait::async_trait;
use model::{GeneralAccess, Listed, Page, RunId, Storage, StorageCounters, StorageId, StorageKind, Timestamp, UserId};

use crate::StoreError;

/// Keeps datasets, key-value stores and request queues as objects, whatever is in them.
#[async_trait]
pub trait StorageStore: Send + Sync + std::fmt::Debug {
    /// Makes a storage, or finds the caller's own of that kind and name (`S9`). Concurrent calls of one name get the same (`S11`).
    ///
    /// An existing one is returned unchanged.
    async fn get_or_create(&self, new: Storage) -> Result<NewStorage, StoreError>;

    /// The storage with that id.
    async fn get(&self, id: &StorageId) -> Result<Option<Arc<Storage>>, StoreError>;

    /// The user's storage of that kind and name; case does not count (`S3`).
    async fn find(&self, user: &UserId, kind: StorageKind, name: &str) -> Result<Option<Arc<Storage>>, StoreError>;

    /// Its counters at this moment.
    ///
    /// # Errors
    /// `NotFound`.
    async fn counters(&self, id: &StorageId) -> Result<StorageCounters, StoreError>;

    /// A page of a user's storages by creation, ties by id.
    async fn list(
        &self,
        filter: StorageFilter,
        page: Page,
    ) -> Result<Listed<(Arc<Storage>, StorageCounters)>, StoreError>;

    /// Changes settings and returns the result.
    ///
    /// # Errors
    /// `NotFound`; `NameTaken` if another storage of the owner and kind has the name (`S22`).
    async fn update(&self, id: &StorageId, change: StorageChange) -> Result<Arc<Storage>, StoreError>;

    /// Makes it invisible at once; its contents go in the background (`S23`).
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete(&self, id: &StorageId) -> Result<(), StoreError>;

    /// Notes reads for the statistics and the time of access. Buffered: never waits, may be lost in a crash.
    fn note_reads(&self, id: &StorageId, reads: Reads);

    /// Deletes up to `limit` unnamed storages of a user that nobody has used since that moment, and tells whether there may be
    /// more. Those that live with a run go with it (`U8`, `U9`).
    async fn expire(&self, user: &UserId, unused_since: Timestamp, limit: u64) -> Result<bool, StoreError>;

    /// Every storage that lives as long as that run, default or aliased (`U8`).
    async fn of_run(&self, run: &RunId) -> Result<Vec<Arc<Storage>>, StoreError>;
}

/// What [`StorageStore::get_or_create`] found or made.
#[derive(Clone, Debug)]
pub struct NewStorage {
    /// The storage.
    pub storage: Arc<Storage>,
    /// Whether it was made by this call.
    pub created: bool,
}

/// Which storages to list.
#[derive(Clone, Copy, Debug)]
pub struct StorageFilter {
    /// Whose.
    pub user: UserId,
    /// Of which kind.
    pub kind: StorageKind,
    /// Unnamed ones, too (`S15`).
    pub unnamed: bool,
}

/// Settings to change; `None` leaves them as they are (`S21`).
#[derive(Clone, Debug, Default)]
pub struct StorageChange {
    /// `Some(None)` takes the name away.
    pub name: Option<Option<String>>,
    /// `Some(None)` takes the title away.
    pub title: Option<Option<String>>,
    /// New access level.
    pub general_access: Option<GeneralAccess>,
}

/// Reads to be counted (`U2`, `U4`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Items, records or requests read.
    pub reads: u64,
    /// Pages of keys.
    pub lists: u64,
    /// Requests read from the head.
    pub head_items: u64,
}

/// A queue as head calls show it (`Q38`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Last change.
    pub modified_at: Timestamp,
    /// Whether a second client has ever used it (`Q45`).
    pub had_multiple_clients: bool,
}
