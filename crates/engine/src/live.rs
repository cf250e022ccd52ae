//! Jobs that live, and what wakes those who wait for them.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The live jobs of one kind, and for a while those that have just ended.
pub(crate) struct Registry<Id, L>(RwLock<HashMap<Id, Arc<L>>>);

impl<Id, L> Default for Registry<Id, L> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<Id: Eq + Hash, L> Registry<Id, L> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, id: &Q) -> Option<Arc<L>>
    where
        Id: Borrow<Q>,
    {
        self.0.read().get(id).cloned()
    }

    pub(crate) fn insert(&self, id: Id, live: Arc<L>) {
        self.0.write().insert(id, live);
    }

    /// Removes exactly this one; a resurrected run has another in its place.
    pub(crate) fn remove(&self, id: &Id, live: &Arc<L>) {
        let mut jobs = self.0.write();
        if jobs.get(id).is_some_and(|known| Arc::ptr_eq(known, live)) {
            jobs.remove(id);
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<L>> {
        self.0.read().values().cloned().collect()
    }
}

/// What supervisors, waiters and callers share of one stretch of a job, from its start or resurrection to its end.
pub(crate) struct Live<T> {
    state: Mutex<Arc<T>>,
    /// One change at a time, so that `state` is always the newest.
    pub(crate) turn: tokio::sync::Mutex<()>,
    changed: Notify,
    /// Wakes everybody else who follows the job.
    news: Notify,
    /// The final status is stored and the log is complete.
    pub(crate) ended: CancellationToken,
    /// Everything that the job held is freed.
    pub(crate) gone: CancellationToken,
}

impl<T> Live<T> {
    pub(crate) fn new(state: Arc<T>) -> Self {
        Self {
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            news: Notify::new(),
            ended: CancellationToken::new(),
            gone: CancellationToken::new(),
        }
    }

    /// The job as it was stored last.
    pub(crate) fn state(&self) -> Arc<T> {
        self.state.lock().clone()
    }

    /// Shows a new state to everybody and wakes the supervisor. Called only by who holds the turn.
    pub(crate) fn publish(&self, state: Arc<T>) {
        *self.state.lock() = state;
        self.changed.notify_one();
        self.news.notify_waiters();
    }

    /// Waits until the job is as it `is_wanted`, and returns it so.
    pub(crate) async fn until(&self, is_wanted: impl Fn(&T) -> bool) -> Arc<T> {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // From here on no change is missed.
            news.as_mut().enable();
            let state = self.state();
            if is_wanted(&state) {
                return state;
            }
            news.await;
        }
    }

    /// Waits until something was published since this was last waited for. For the supervisor alone.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
