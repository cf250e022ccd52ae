//! Moves the write-ahead log into the database, beside the writer.

use std::ffi::c_int;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};
use tracing::{debug, warn};

use super::BUSY_TIMEOUT;

/// Time between checkpoints while there are writes.
const PAUSE: Duration = Duration::from_millis(200);
/// Pages from which on the log is to start over. It does that only when all of it is moved and nothing is added meanwhile, so
/// the writer makes the last checkpoint itself.
pub(super) const LONG_LOG: i64 = 64 * 1024 * 1024 / PAGE;
/// Pages that may be left to be moved then; more are moved beside the writer first.
const SHORT_REST: i64 = 2 * 1024 * 1024 / PAGE;
/// At so many times a long log, the writer waits until it is moved, however much that is: it writes faster than the log can be
/// moved, or there is always a reader that began before the last commit.
const STRETCH: i64 = 4;
/// How long it waits for readers. One that takes longer is waited for again when the log has grown by as much as a long one.
const PATIENCE: Duration = Duration::from_millis(100);
/// When nobody has written for so long, the log gives its bytes back to the disk.
const QUIET: Duration = Duration::from_secs(1);
/// Bytes that it may keep, for writes that come now and then.
const SMALL_LOG: u64 = 4 * 1024 * 1024;
/// Bytes of a page.
const PAGE: i64 = 4096;

/// Makes checkpoints some time after commits. It sleeps while nobody writes.
#[derive(Debug)]
pub(super) struct Checkpointer {
    connection: Mutex<Connection>,
    log: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    /// Pages in the log after the last commit.
    log_pages: Arc<AtomicI64>,
    /// Of them, those that the last checkpoint has left behind it.
    moved_pages: AtomicI64,
    /// Pages of a long log.
    long_log: i64,
    /// Pages above which the writer waits for readers next.
    wait_above: AtomicI64,
}

#[derive(Debug, Default)]
struct State {
    /// Whether there were commits since the last checkpoint began.
    dirty: bool,
    stopped: bool,
}

/// The write-ahead log of a database.
pub(super) fn log_of(file: &Path) -> PathBuf {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

impl Checkpointer {
    pub(super) fn open(file: &Path, long_log: i64) -> anyhow::Result<Self> {
        let connection = Connection::open_with_flags(file, OpenFlags::default())?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "cache_size", -64)?;
        Ok(Self {
            connection: Mutex::new(connection),
            log: log_of(file),
            state: Mutex::default(),
            changed: Condvar::new(),
            log_pages: Arc::default(),
            moved_pages: AtomicI64::new(0),
            long_log,
            wait_above: AtomicI64::new(STRETCH * long_log),
        })
    }

    /// Has the writer's connection tell how long the log is, and give back what a log that was longer has taken.
    pub(super) fn watch(&self, writer: &mut Connection) -> rusqlite::Result<()> {
        writer.pragma_update(None, "journal_size_limit", self.long_log * PAGE)?;
        let log_pages = self.log_pages.clone();
        writer.wal_hook(Some(move |_: &mut Wal, pages: c_int| {
            log_pages.store(pages.into(), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Hears from the writer that something was committed.
    pub(super) fn note_commit(&self, writer: &Connection) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        let is_long = pages > self.long_log;
        self.wake();
        if !is_long {
            self.wait_above.store(STRETCH * self.long_log, Ordering::Relaxed);
            return;
        }
        let is_too_long = pages > STRETCH * self.long_log;
        // The log has started over if it was moved further than it reaches.
        let moved = Some(self.moved_pages.load(Ordering::Relaxed)).filter(|moved| *moved <= pages).unwrap_or_default();
        if !is_too_long && pages - moved > SHORT_REST {
            return;
        }
        // Two checkpoints at a time are refused.
        let turn = if is_too_long { Some(self.connection.lock()) } else { self.connection.try_lock() };
        let Some(_turn) = turn else { return };
        // What is moved whole is written over by the next commit, if no reader needs it any more.
        self.checkpoint(writer);
        if pages > self.wait_above.load(Ordering::Relaxed) {
            self.move_whole(writer, "PRAGMA wal_checkpoint(RESTART)", PATIENCE);
            self.wait_above.store(pages + self.long_log, Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        let was_dirty = std::mem::replace(&mut self.state.lock().dirty, true);
        if !was_dirty {
            self.changed.notify_one();
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
                    self.wait_for_commits(&mut state);
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

    /// Waits until something changes, or for a while if there is a log to be emptied when nothing does.
    fn wait_for_commits(&self, state: &mut MutexGuard<'_, State>) {
        let takes_room = fs::metadata(&self.log).is_ok_and(|log| log.len() > SMALL_LOG);
        if !takes_room {
            self.changed.wait(state);
        } else if self.changed.wait_for(state, QUIET).timed_out() && !state.dirty {
            MutexGuard::unlocked(state, || self.empty_log(&self.connection.lock()));
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
        match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2)) {
            // Refused, which says nothing about the log.
            Ok(..0) => {}
            Ok(moved) => self.moved_pages.store(moved, Ordering::Relaxed),
            Err(error) => warn!(%error, "Cannot make a checkpoint; trying again after the next commit"),
        }
    }
}
