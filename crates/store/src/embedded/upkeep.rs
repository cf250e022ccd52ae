//! What is done in the background: sealing, reaping, sweeping, writing statistics.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use futures::executor::block_on;
use parking_lot::{Condvar, Mutex};
use tracing::error;

use super::core::Core;
use super::{datasets, reaper, storages};
use crate::{StoreError, Upkeep};

/// Time between rounds when nobody calls for one.
const PAUSE: Duration = Duration::from_secs(5);

/// Calls the thread that does the upkeep.
#[derive(Debug, Default)]
pub(super) struct Wake {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    called: bool,
    stopped: bool,
}

impl Wake {
    /// Says that there is something to do.
    pub(super) fn wake(&self) {
        self.state.lock().called = true;
        self.changed.notify_all();
    }

    /// Whether the store is being closed, and long work should be left for the next start.
    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Lets others work for a while between two steps of something long.
    pub(super) fn breathe(&self, pause: Duration) {
        self.changed.wait_while_for(&mut self.state.lock(), |state| !state.stopped, pause);
    }

    /// Waits for a call or for the next round. Returns false if the store is being closed.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| !state.called && !state.stopped, PAUSE);
        state.called = false;
        !state.stopped
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}

/// Does the upkeep of an embedded store, in a thread of its own or when told to.
#[derive(Debug)]
pub(super) struct Caretaker {
    core: Arc<Core>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Caretaker {
    /// Without a thread.
    pub(super) fn idle(core: Arc<Core>) -> Self {
        Self { core, thread: Mutex::new(None) }
    }

    /// With a thread, which ends when the caretaker does.
    pub(super) fn start(core: Arc<Core>) -> Result<Self, StoreError> {
        // The thread must not keep alive what ends it.
        let (watched, wake) = (Arc::downgrade(&core), core.upkeep.clone());
        let thread = std::thread::Builder::new()
            .name("store-upkeep".to_owned())
            .spawn(move || {
                while wake.wait() {
                    let Some(core) = Weak::upgrade(&watched) else { return };
                    if let Err(error) = block_on(round(&core)) {
                        error!(%error, "The upkeep of the store failed; trying again");
                    }
                }
            })
            .map_err(anyhow::Error::from)?;
        Ok(Self { core, thread: Mutex::new(Some(thread)) })
    }

    fn end(&self) {
        let Some(thread) = self.thread.lock().take() else { return };
        self.core.upkeep.stop();
        // A thread that panicked has nothing left to say.
        let _ = thread.join();
        if let Err(error) = block_on(storages::flush_reads(&self.core)) {
            error!(%error, "Cannot write the last statistics");
        }
        self.core.db.close();
    }
}

#[async_trait]
impl Upkeep for Caretaker {
    async fn run(&self) -> Result<(), StoreError> {
        round(&self.core).await
    }

    fn close(&self) {
        // In a thread of its own: this may be called from inside an executor, in which another cannot be entered.
        std::thread::scope(|scope| {
            scope.spawn(|| self.end());
        });
    }
}

impl Drop for Caretaker {
    fn drop(&mut self) {
        self.close();
    }
}

/// Does everything that is due.
async fn round(core: &Arc<Core>) -> Result<(), StoreError> {
    // One at a time, however many call: the steps rely on what they read a moment before.
    let _turn = core.round.lock().await;
    core.db.balance_room();
    // A step that fails does not hold up the others: sweeping makes the room that sealing lacks.
    let outcomes = [
        storages::flush_reads(core).await,
        datasets::seal_due(core).await,
        reaper::reap(core).await,
        core.objects.sweep(&core.upkeep).await,
    ];
    outcomes.into_iter().collect()
}
