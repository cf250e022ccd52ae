//! Request queues in SQLite: one row a request, one signed number for order, lock and handled mark.

mod order;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use model::{RequestId, RunId, StorageId, StorageKind, Timestamp};
use sha2::{Digest as _, Sha256};

use super::core::Core;
use super::db::Counter;
use crate::queues::Filter;
use crate::{
    Added, DeleteOutcome, Head, LockedHead, Locker, NewRequest, QueueStore, RequestPage, StoreError, StoredRequest,
    Touched, Updated,
};

pub(super) use self::write::{purge, release_run};

/// Heads up to this length are read on the calling thread.
const SHORT_HEAD: usize = 200;

/// The queues of an embedded store.
#[derive(Debug)]
pub(super) struct Queues {
    core: Arc<Core>,
}

impl Queues {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    fn key(&self, queue: &StorageId) -> Result<i64, StoreError> {
        self.core.key(queue, StorageKind::RequestQueue)
    }

    /// Counts a reader's client; costs a write only when it is one that changes the flag (`Q45`).
    async fn note_client(&self, k: i64, by: &Locker) -> Result<(), StoreError> {
        let mut counter = self.core.db.read(|connection| Counter::load(connection, k))?;
        if !count_client(&mut counter, by) {
            return Ok(());
        }
        let by = by.clone();
        self.core
            .db
            .write_checked(0, move |tx| {
                count_client(tx.counter_mut(k)?, &by);
                Ok(())
            })
            .await
    }
}

#[async_trait]
impl QueueStore for Queues {
    async fn add(
        &self,
        queue: &StorageId,
        requests: Vec<NewRequest>,
        forefront: bool,
        by: &Locker,
    ) -> Result<Vec<Added>, StoreError> {
        let (k, by) = (self.key(queue)?, by.clone());
        let weight = requests.iter().map(|request| request.body.len()).sum();
        self.core.db.grow_checked(weight, move |tx| write::add(tx, k, &requests, forefront, &by)).await
    }

    async fn get(&self, queue: &StorageId, request: &RequestId) -> Result<Option<StoredRequest>, StoreError> {
        let k = self.key(queue)?;
        let now = self.core.now();
        self.core.db.snapshot(|connection| read::get(connection, k, request, now))
    }

    async fn update(
        &self,
        queue: &StorageId,
        request: NewRequest,
        forefront: bool,
        by: &Locker,
    ) -> Result<Updated, StoreError> {
        let (k, by) = (self.key(queue)?, by.clone());
        let weight = request.body.len();
        self.core.db.grow_checked(weight, move |tx| write::update(tx, k, &request, forefront, &by)).await
    }

    async fn delete(
        &self,
        queue: &StorageId,
        requests: &[RequestId],
        by: &Locker,
    ) -> Result<Vec<DeleteOutcome>, StoreError> {
        let (k, requests, by) = (self.key(queue)?, requests.to_vec(), by.clone());
        self.core.db.write_checked(0, move |tx| write::delete(tx, k, &requests, &by)).await
    }

    async fn head(&self, queue: &StorageId, limit: usize, by: &Locker) -> Result<Head, StoreError> {
        let k = self.key(queue)?;
        self.note_client(k, by).await?;
        let now = self.core.now();
        if limit <= SHORT_HEAD {
            return self.core.db.snapshot(|connection| read::head(connection, k, limit, now));
        }
        self.core.db.snapshot_blocking(move |connection| read::head(connection, k, limit, now)).await
    }

    async fn lock_head(
        &self,
        queue: &StorageId,
        limit: usize,
        millis: i64,
        by: &Locker,
    ) -> Result<LockedHead, StoreError> {
        let (k, by) = (self.key(queue)?, by.clone());
        self.core.db.write_checked(0, move |tx| write::lock_head(tx, k, limit, millis, &by)).await
    }

    async fn prolong(
        &self,
        queue: &StorageId,
        request: &RequestId,
        millis: i64,
        forefront: bool,
        by: &Locker,
    ) -> Result<Timestamp, StoreError> {
        let (k, request, by) = (self.key(queue)?, *request, by.clone());
        self.core.db.write_checked(0, move |tx| write::prolong(tx, k, &request, millis, forefront, &by)).await?
    }

    async fn release(
        &self,
        queue: &StorageId,
        request: &RequestId,
        forefront: bool,
        by: &Locker,
    ) -> Result<(), StoreError> {
        let (k, request, by) = (self.key(queue)?, *request, by.clone());
        self.core.db.write_checked(0, move |tx| write::release(tx, k, &request, forefront, &by)).await?
    }

    async fn unlock_all(&self, queue: &StorageId, by: &Locker) -> Result<u64, StoreError> {
        let (k, by) = (self.key(queue)?, by.clone());
        self.core.db.write_checked(0, move |tx| write::unlock_all(tx, k, &by)).await
    }

    async fn release_run(&self, run: &RunId) -> Result<u64, StoreError> {
        let run = *run;
        // Most runs have never locked anything: they cost no write.
        if !self.core.db.read(|connection| read::has_locked(connection, &run))? {
            return Ok(0);
        }
        self.core.db.write(move |tx| release_run(tx, &run)).await
    }

    async fn list(
        &self,
        queue: &StorageId,
        limit: usize,
        after: Option<&str>,
        filter: Filter,
        by: Option<&Locker>,
    ) -> Result<RequestPage, StoreError> {
        let k = self.key(queue)?;
        if let Some(by) = by {
            self.note_client(k, by).await?;
        }
        let (now, after) = (self.core.now(), after.unwrap_or_default().to_owned());
        self.core.db.snapshot_blocking(move |connection| read::list(connection, k, limit, &after, filter, now)).await
    }
}

/// Stands for a first client that gave no key: whoever comes next is another.
const NAMELESS: i64 = -1;

/// Counts the client of a call and tells whether that changed anything (`Q45`).
fn count_client(counter: &mut Counter, by: &Locker) -> bool {
    if counter.many_clients {
        return false;
    }
    let client = by.client_key.as_deref().map_or(NAMELESS, client_hash);
    if counter.client == 0 {
        counter.client = client;
        return true;
    }
    counter.many_clients = client == NAMELESS || client != counter.client;
    counter.many_clients
}

/// A number by which a client is known again, neither 0 nor [`NAMELESS`].
fn client_hash(key: &str) -> i64 {
    let digest = Sha256::digest(key);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    (i64::from_be_bytes(bytes) & i64::MAX).max(1)
}

fn touched(counter: &Counter) -> Touched {
    Touched { modified_at: counter.modified_at, had_multiple_clients: counter.many_clients }
}
