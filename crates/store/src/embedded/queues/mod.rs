//! Request queues in SQLite: one row a request, one signed number for order, lock and handled mark.

mod order;
mod read;
#[cfg(test)]
mod tests;
mod unlock;
mod walk;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use model::{QueueStats, RequestId, Requeue, RunId, StorageId, StorageKind, Timestamp};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use super::core::Core;
use super::db::{Counter, Sql as _, WriteTx};
use crate::queues::Filter;
use crate::{
    Added, DeleteOutcome, Head, LockedHead, Locker, NewRequest, QueueStore, RequestPage, StoreError, StoredRequest,
    Touched, Updated,
};

pub(super) use self::write::purge;

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
        let k = self.key(queue)?;
        let (mut unlocked, mut seen) = (0, None);
        loop {
            let by = by.clone();
            let (more, next) = self.core.db.write_checked(0, move |tx| unlock::of_client(tx, k, &by, seen)).await?;
            unlocked += more;
            if next.is_none() {
                return Ok(unlocked);
            }
            seen = next;
        }
    }

    async fn release_run(&self, run: &RunId) -> Result<u64, StoreError> {
        release_run(&self.core, run).await
    }

    async fn requeue(&self, queue: &StorageId, how: &Requeue) -> Result<u64, StoreError> {
        let (k, how) = (self.key(queue)?, Arc::new(how.clone()));
        let (mut requeued, mut after, mut is_last) = (0, None, false);
        while !is_last && requeued < how.limit.unwrap_or(u64::MAX) {
            let batches = match &how.ids {
                Some(ids) => {
                    is_last = true;
                    let ids: Vec<_> = ids.iter().copied().collect();
                    ids.chunks(walk::BATCH).map(<[_]>::to_vec).collect()
                }
                None => {
                    let how = how.clone();
                    let find = move |connection: &Connection| walk::find_failed(connection, k, after, &how);
                    let (batches, next) = self.core.db.snapshot_blocking(find).await?;
                    (after, is_last) = (next, next.is_none());
                    batches
                }
            };
            for batch in batches {
                let (how, most) = (how.clone(), how.limit.unwrap_or(u64::MAX) - requeued);
                let put_back = move |tx: &mut WriteTx<'_>| walk::put_back(tx, k, &batch, &how, most);
                requeued += self.core.db.grow_checked(0, put_back).await?;
            }
        }
        Ok(requeued)
    }

    async fn stats(&self, queue: &StorageId) -> Result<QueueStats, StoreError> {
        let k = self.key(queue)?;
        let (mut stats, mut after) = (QueueStats::default(), None);
        loop {
            let now = self.core.now();
            let count = move |connection: &Connection| {
                let next = walk::count(connection, k, after, now, &mut stats)?;
                Ok((stats, next))
            };
            let (counted, next) = self.core.db.snapshot_blocking(count).await?;
            if next.is_none() {
                return Ok(counted);
            }
            (stats, after) = (counted, next);
        }
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

/// Gives back everything that a run holds in any queue, and forgets that it was there.
pub(super) async fn release_run(core: &Core, run: &RunId) -> Result<u64, StoreError> {
    let run = *run;
    // Most runs have never locked anything: they cost no write.
    let queues: Vec<i64> = core
        .db
        .read(|connection| connection.all("SELECT k FROM rq_run WHERE run = ?1", [run.as_str()], |row| row.get(0)))?;
    let mut released = 0;
    for k in queues {
        let mut seen = None;
        loop {
            let (more, next) = core.db.write(move |tx| unlock::of_run(tx, k, &run, seen)).await?;
            released += more;
            if next.is_none() {
                break;
            }
            seen = next;
        }
    }
    Ok(released)
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
