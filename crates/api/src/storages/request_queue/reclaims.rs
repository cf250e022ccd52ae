//! The second half of a reclaim.
//!
//! Crawlee gives a request back in two calls: it updates the request, which releases the lock (`Q28`), and then deletes the
//! lock (`C5`). Between the two, its own next look at the head may lock the same request anew, and even prolong that lock,
//! since answers overtake each other. The deletion must not take that lock away: the request would be given out once more,
//! while it is being worked on.

use std::collections::HashMap;
use std::sync::Mutex;

use model::{RequestId, StorageId, Timestamp};
use store::Locker;

/// How long the deletion of the lock may take to follow the update, in milliseconds: a busy crawler is late now and then.
const GRACE: i64 = 5000;
/// From so many on, those that are over are cleared away.
const MANY: usize = 1024;
/// No more than this are remembered.
const MOST: usize = 65_536;

/// A queue, a request of it, and the `clientKey` that gave it back.
type Key = (StorageId, RequestId, String);

/// The requests whose locks were released by an update a moment ago.
///
/// They are forgotten with the process; what may happen then is that a request is worked on twice.
#[derive(Debug, Default)]
pub(crate) struct Reclaims {
    updated_at: Mutex<HashMap<Key, Timestamp>>,
}

impl Reclaims {
    /// Notes that `by` gave a request back by an update, which has released its lock.
    pub(super) fn note(&self, queue: StorageId, request: RequestId, by: &Locker, now: Timestamp) {
        let Some(key) = key(queue, request, by) else { return };
        self.with(|reclaims| {
            if reclaims.len() >= MANY {
                reclaims.retain(|_, at| is_recent(*at, now));
            }
            if reclaims.len() < MOST {
                reclaims.insert(key, now);
            }
        });
    }

    /// Whether this deletion of a lock belongs to an update that has released it already. Only the first one does.
    pub(super) fn take(&self, queue: StorageId, request: RequestId, by: &Locker, now: Timestamp) -> bool {
        let updated_at = key(queue, request, by).and_then(|key| self.with(|reclaims| reclaims.remove(&key)));
        updated_at.is_some_and(|at| is_recent(at, now))
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<Key, Timestamp>) -> T) -> T {
        change(&mut self.updated_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn key(queue: StorageId, request: RequestId, by: &Locker) -> Option<Key> {
    Some((queue, request, by.client_key.clone()?))
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    (0..GRACE).contains(&(now.as_millis() - at.as_millis()))
}
