//! Moves the write-ahead log into the database, beside the writer.

use std::ffi::c_int;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};
use tracing::{debug, warn};

use super::BUSY_TIMEOUT;

/// Time between checkpoints while there are writes.
const PAUSE: Duration = Duration::from_millis(200);
/// Pages in the log above which the writer makes a checkpoint itself. Only then does the log start over under constant load: one
/// that is made beside the writer ends behind what was committed meanwhile.
pub(super) const MAX_LOG_PAGES: i64 = 64 * 1024 * 1024 / 4096;
/// At so many times that, the writer waits for readers: as long as there is always one that began before the last commit, the log
/// is never moved whole, and does not start over.
const STRETCH: i64 = 4;
/// How long it waits. A reader that takes longer is waited for again when the log has grown by as much as the writer bears.
const PATIENCE: Duration = Duration::from_millis(100);

/// Makes checkpoints some time after commits. It sleeps while nobody writes.
#[derive(Debug)]
pub(super) struct Checkpointer {
    connection: Mutex<Connection>,
    state: Mutex<State>,
    changed: Condvar,
    /// Pages in the log after the last commit.
    log_pages: Arc<AtomicI64>,
    /// Pages above which the writer makes checkpoints,
    max_pages: i64,
    /// and above which it waits for readers next.
    wait_above: AtomicI64,
}

#[derive(Debug, Default)]
struct State {
    /// Whether there were commits since the last checkpoint began.
    dirty: bool,
    stopped: bool,
}

impl Checkpointer {
    pub(super) fn open(file: &Path, max_pages: i64) -> anyhow::Result<Self> {
        let connection = Connection::open_with_flags(file, OpenFlags::default())?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "cache_size", -64)?;
        Ok(Self {
            connection: Mutex::new(connection),
            state: Mutex::default(),
            changed: Condvar::new(),
            log_pages: Arc::default(),
            max_pages,
            wait_above: AtomicI64::new(STRETCH * max_pages),
        })
    }

    /// Has the writer's connection tell how long the log is.
    pub(super) fn watch(&self, writer: &mut Connection) -> rusqlite::Result<()> {
        let log_pages = self.log_pages.clone();
        writer.wal_hook(Some(move |_: &mut Wal, pages: c_int| {
            log_pages.store(pages.into(), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Hears from the writer that something was committed.
    pub(super) fn note_commit(&self, writer: &Connection) {
        let was_dirty = std::mem::replace(&mut self.state.lock().dirty, true);
        if !was_dirty {
            self.changed.notify_one();
        }
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages <= self.max_pages {
            self.wait_above.store(STRETCH * self.max_pages, Ordering::Relaxed);
            return;
        }
        // Two at a time are refused, and who writes faster than the log can be moved has to wait for it.
        let _turn = self.connection.lock();
        // What is moved whole is written over by the next commit, if no reader needs it any more.
        self.checkpoint(writer);
        if pages > self.wait_above.load(Ordering::Relaxed) {
            self.move_whole(writer, "PRAGMA wal_checkpoint(RESTART)", PATIENCE);
            self.wait_above.store(pages + self.max_pages, Ordering::Relaxed);
        }
    }

    /// Moves all of the log into the database in one of SQLite's ways, unless readers are still in the way after `patience`.
    fn move_whole(&self, connection: &Connection, checkpoint: &'static str, patience: Duration) {
        let move_log = || {
            connection.busy_timeout(patience)?;
            let moved = connection.query_row(checkpoint, [], |_| Ok(()));
            connection.busy_timeout(BUSY_TIMEOUT)?;
            moved
        };
        if let Err(error) = move_log() {
            debug!(%error, "Cannot move all of the write-ahead log now");
        }
    }

    /// Makes checkpoints until it is stopped.
    pub(super) fn serve(&self) {
        loop {
            {
                let mut state = self.state.lock();
                while !state.dirty && !state.stopped {
                    self.changed.wait(&mut state);
                }
                // Only `stop` cuts the pause short.
                self.changed.wait_while_for(&mut state, |state| !state.stopped, PAUSE);
                if state.stopped {
                    return;
                }
                state.dirty = false;
            }
            self.checkpoint(&self.connection.lock());
        }
    }

    /// Ends [`serve`](Self::serve).
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }

    /// Moves all of the log into the database and empties it, when nobody else is there any more.
    pub(super) fn truncate(&self) {
        if let Err(error) = self.connection.lock().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            warn!(%error, "Cannot empty the write-ahead log; the next start will");
        }
    }

    /// Moves the log into the database and gives its bytes back to the disk, if no reader is in the way.
    pub(super) fn empty_log(&self, connection: &Connection) {
        self.move_whole(connection, "PRAGMA wal_checkpoint(TRUNCATE)", Duration::ZERO);
    }

    /// Moves as much of the log as no reader is in the way of.
    fn checkpoint(&self, connection: &Connection) {
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            warn!(%error, "Cannot make a checkpoint; trying again after the next commit");
        }
    }
}
