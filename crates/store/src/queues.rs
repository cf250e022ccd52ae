//! Request queues: each URL once, in order, locked while somebody works on it.

use async_trait::async_trait;
use bytes::Bytes;
use model::{QueueStats, RequestId, Requeue, RunId, StorageId, Timestamp};

use crate::{StoreError, Touched};

/// Keeps the requests of queues.
///
/// All methods fail with `NotFound` if the queue does not exist. Every method that takes a [`Locker`] counts its client
/// towards `hadMultipleClients` (`Q45`). Counters are exact as soon as a call returns (`Q61`).
#[async_trait]
pub trait QueueStore: Send + Sync + std::fmt::Debug {
    /// Adds requests in order, each only if its key is new (`Q14`, `Q16`, `Q17`); a forefront batch ends up with its last in front (`Q13`).
    async fn add(
        &self,
        queue: &StorageId,
        requests: Vec<NewRequest>,
        forefront: bool,
        by: &Locker,
    ) -> Result<Vec<Added>, StoreError>;

    /// The whole request with its live lock (`Q7`).
    async fn get(&self, queue: &StorageId, request: &RequestId) -> Result<Option<StoredRequest>, StoreError>;

    /// Replaces a request, or inserts it (`Q25`, `Q26`); releases its lock, and puts it at the end or the front unless it is handled (`Q27`, `Q28`).
    async fn update(
        &self,
        queue: &StorageId,
        request: NewRequest,
        forefront: bool,
        by: &Locker,
    ) -> Result<Updated, StoreError>;

    /// Deletes requests and tells of each what became of it, in order.
    async fn delete(
        &self,
        queue: &StorageId,
        requests: &[RequestId],
        by: &Locker,
    ) -> Result<Vec<DeleteOutcome>, StoreError>;

    /// The first pending requests without changing anything (`Q35`).
    async fn head(&self, queue: &StorageId, limit: usize, by: &Locker) -> Result<Head, StoreError>;

    /// Takes the first pending requests and locks them for `millis`; two callers never get the same (`Q41`).
    async fn lock_head(
        &self,
        queue: &StorageId,
        limit: usize,
        millis: i64,
        by: &Locker,
    ) -> Result<LockedHead, StoreError>;

    /// Locks a request until `millis` from now, whether the caller holds it or nobody does, and returns when the lock ends (`Q47`, `Q50`).
    ///
    /// # Errors
    /// `NotFound(Request)`; `HandledOrLocked` if it is handled or another holds a live lock (`Q49`).
    async fn prolong(
        &self,
        queue: &StorageId,
        request: &RequestId,
        millis: i64,
        forefront: bool,
        by: &Locker,
    ) -> Result<Timestamp, StoreError>;

    /// Gives a request back, to the end or the front; one that is not locked stays as it is (`Q51`).
    ///
    /// # Errors
    /// As [`prolong`](Self::prolong), but a handled request is no error.
    async fn release(
        &self,
        queue: &StorageId,
        request: &RequestId,
        forefront: bool,
        by: &Locker,
    ) -> Result<(), StoreError>;

    /// Gives back everything that the client or its run holds, each to its former place, and tells how many (`Q52`).
    ///
    /// Others use the queue meanwhile: a step takes effect whole, many locks take several.
    async fn unlock_all(&self, queue: &StorageId, by: &Locker) -> Result<u64, StoreError>;

    /// Gives back everything that a run holds in any queue: locks die with their owner. In steps as
    /// [`unlock_all`](Self::unlock_all).
    async fn release_run(&self, run: &RunId) -> Result<u64, StoreError>;

    /// Puts requests that failed back into the queue as if they had just been added, and tells how many.
    ///
    /// Others use the queue meanwhile: it goes over all requests in steps, each of which takes effect whole. After a crash
    /// the same call does what is left.
    async fn requeue(&self, queue: &StorageId, how: &Requeue) -> Result<u64, StoreError>;

    /// Counts all requests, in steps; what changes meanwhile is counted as before or as after.
    async fn stats(&self, queue: &StorageId) -> Result<QueueStats, StoreError>;

    /// Requests by id, whole, behind `after` (`Q54`). A page may be empty and still have a `next`.
    async fn list(
        &self,
        queue: &StorageId,
        limit: usize,
        after: Option<&str>,
        filter: Filter,
        by: Option<&Locker>,
    ) -> Result<RequestPage, StoreError>;
}

/// Who works on a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locker {
    /// `clientKey`; a call without one counts as a new client every time (`Q45`).
    pub client_key: Option<String>,
    /// The run whose token was used.
    pub run: Option<RunId>,
}

/// A request as it is to be stored, taken apart as far as the queue must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRequest {
    /// Id of `unique_key`.
    pub id: RequestId,
    /// What makes it the same request.
    pub unique_key: String,
    /// Its URL as it came; need not be valid.
    pub url: String,
    /// Its method as it came; `GET` if none did (`Q6`).
    pub method: String,
    /// Tries so far.
    pub retry_count: u32,
    /// When it was handled, if it was.
    pub handled_at: Option<Timestamp>,
    /// The whole JSON object without `id`, `null` members and what the queue itself adds (`Q5`): `{"uniqueKey":…}`.
    pub body: Bytes,
}

/// What became of an added request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its id.
    pub id: RequestId,
    /// It was there before and stays as it was.
    pub was_already_present: bool,
    /// It was there and handled.
    pub was_already_handled: bool,
}

/// What became of an updated request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// As of an added one; `was_already_handled` is the state before (`Q25`).
    pub request: Added,
    /// The caller held it until this update, which gave it back (`Q28`).
    pub released_lock: bool,
}

/// What became of a request that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// It is gone.
    Deleted,
    /// It was not there.
    Absent,
    /// Another client holds its lock (`Q34`).
    Locked,
}

/// A request with its live lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRequest {
    /// Its id.
    pub id: RequestId,
    /// The JSON object as given in [`NewRequest::body`].
    pub body: Bytes,
    /// When its lock ends, while there is one.
    pub lock_expires_at: Option<Timestamp>,
    /// Who holds it.
    pub lock_by: Option<String>,
}

/// The start of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The queue.
    pub queue: Touched,
    /// Its first requests.
    pub items: Vec<HeadItem>,
}

/// The start of a queue, locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedHead {
    /// The queue.
    pub queue: Touched,
    /// The requests that are now the caller's.
    pub items: Vec<HeadItem>,
    /// When their locks end.
    pub lock_expires_at: Timestamp,
    /// Whether any request of the queue is locked after this call, by whomever (`Q43`).
    pub queue_has_locked_requests: bool,
}

/// A request as a head shows it (`Q37`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in NewRequest")]
pub struct HeadItem {
    pub id: RequestId,
    pub unique_key: String,
    pub url: String,
    pub method: String,
    pub retry_count: u32,
}

/// Which requests to list (`Q58`): with neither all, with both all that are not handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those with a live lock.
    pub locked: bool,
    /// Those that are neither handled nor locked.
    pub pending: bool,
}

/// A page of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestPage {
    /// The requests.
    pub items: Vec<StoredRequest>,
    /// The id to go on behind, if more remain (`Q56`).
    pub next: Option<RequestId>,
}
