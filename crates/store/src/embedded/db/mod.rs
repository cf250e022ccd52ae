//! The database: one writer that commits for many at once, readers beside it, and a checkpointer.

mod cache;
mod checkpoint;
mod counters;
mod files;
mod readers;
mod room;
mod sql;
#[cfg(test)]
mod tests;
mod tx;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use model::SharedClock;
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub(super) use self::cache::Cache;
pub(super) use self::counters::Counter;
pub(super) use self::sql::Sql;
pub(super) use self::tx::WriteTx;

use self::checkpoint::Checkpointer;
use self::readers::Readers;
use self::room::Room;
use self::writer::{Beside, Job, Nature, Pending, Queue, Writer};
use super::migrations;
use crate::StoreError;

/// Version of SQLite from which on a checkpoint beside a busy writer cannot damage the database.
const OLDEST_SQLITE: i32 = 3_051_003;

/// The database. Cheap to clone; the last clone that is dropped commits what waits and closes it.
#[derive(Clone, Debug)]
pub(super) struct Db {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: SharedClock,
    mode: Mode,
}

enum Mode {
    /// A writer thread with group commit, readers beside it.
    Threads {
        queue: Arc<Queue>,
        readers: Arc<Readers>,
        threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
        checkpointer: Arc<Checkpointer>,
        room: Arc<Room>,
    },
    /// One connection for everything, used on the caller's thread: nothing ever waits for another thread, which a paused
    /// clock would not survive.
    Inline(Mutex<Writer>),
}

impl Db {
    /// Opens the database in `file`, or makes it, with its threads.
    pub(super) fn open(file: &Path, clock: SharedClock) -> anyhow::Result<Self> {
        Self::open_with(file, clock, checkpoint::LONG_LOG)
    }

    /// The same with another size of the write-ahead log, in pages.
    fn open_with(file: &Path, clock: SharedClock, long_log: i64) -> anyhow::Result<Self> {
        // First of all: on a full disk nothing can be opened before the reserve is given up.
        let room = Arc::new(Room::open(file));
        let mut connection = open_writer(file)?;
        let checkpointer = Arc::new(Checkpointer::open(file, long_log)?);
        checkpointer.watch(&mut connection)?;
        let queue = Arc::new(Queue::default());
        let beside = Beside { checkpointer: checkpointer.clone(), room: room.clone() };
        let mut writer = Writer::new(connection, clock.clone(), Some(beside));
        let (jobs, checkpoints) = (queue.clone(), checkpointer.clone());
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let threads = vec![
            spawn("store-writer").spawn(move || writer.serve(&jobs))?,
            spawn("store-checkpoint").spawn(move || checkpoints.serve())?,
        ];
        let readers = Arc::new(Readers::new(file.to_owned()));
        let mode = Mode::Threads { queue, readers, threads: Mutex::new(threads), checkpointer, room };
        Ok(Self { inner: Arc::new(Inner { clock, mode }) })
    }

    /// Opens the database in `file`, or one in memory, without any thread.
    pub(super) fn open_inline(file: Option<&Path>, clock: SharedClock) -> anyhow::Result<Self> {
        let connection = match file {
            Some(file) => open_writer(file)?,
            None => {
                let mut connection = Connection::open_in_memory()?;
                migrations::apply(&mut connection)?;
                prepare_statements_once(&connection, WRITER_STATEMENTS)?;
                connection
            }
        };
        let writer = Writer::new(connection, clock.clone(), None);
        Ok(Self { inner: Arc::new(Inner { clock, mode: Mode::Inline(Mutex::new(writer)) }) })
    }

    /// Carries out `op` in a transaction and returns once it is on disk. It takes effect whole or, if it fails, not at all.
    pub(super) async fn write<T, F>(&self, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(Nature { checked: false, grows: false }, 0, op).await
    }

    /// As [`write`](Self::write), for what adds to the store: refused as long as the disk is full.
    ///
    /// # Errors
    /// `Full`.
    pub(super) async fn grow<T, F>(&self, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(Nature { checked: false, grows: true }, 0, op).await
    }

    /// As [`grow`](Self::grow), for what holds on to about `weight` bytes while it waits.
    ///
    /// # Errors
    /// `Full`.
    pub(super) async fn grow_much<T, F>(&self, weight: usize, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(Nature { checked: false, grows: true }, weight, op).await
    }

    /// As [`write`](Self::write), without the price of a savepoint: `op` promises to fail only before it first changes
    /// anything. If it breaks its promise, everything that is committed together with it fails.
    ///
    /// `weight` is about the number of bytes that it holds on to while it waits.
    pub(super) async fn write_checked<T, F>(&self, weight: usize, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(Nature { checked: true, grows: false }, weight, op).await
    }

    /// As [`write_checked`](Self::write_checked), for what adds to the store: refused as long as the disk is full.
    ///
    /// # Errors
    /// `Full`.
    pub(super) async fn grow_checked<T, F>(&self, weight: usize, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(Nature { checked: true, grows: true }, weight, op).await
    }

    /// Whether `bytes` may be written beside the database.
    ///
    /// # Errors
    /// `Full`.
    pub(super) fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        match &self.inner.mode {
            Mode::Threads { room, .. } => room.admit(bytes),
            Mode::Inline(_) => Ok(()),
        }
    }

    /// Makes the reserve anew once there is room for it.
    pub(super) fn balance_room(&self) {
        if let Mode::Threads { room, .. } = &self.inner.mode {
            room.balance();
        }
    }

    /// Whether there was no room on the disk at the last write.
    pub(super) fn is_tight(&self) -> bool {
        match &self.inner.mode {
            Mode::Threads { room, .. } => room.is_tight(),
            Mode::Inline(_) => false,
        }
    }

    async fn submit<T, F>(&self, nature: Nature, weight: usize, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        match &self.inner.mode {
            Mode::Threads { queue, .. } => {
                let room = queue.room(weight).await?;
                let (pending, reply) = Pending::new(op, nature, Some(room));
                queue.push(Box::new(pending), weight)?;
                reply.await.map_err(|_| closed())?
            }
            Mode::Inline(writer) => {
                let (pending, mut reply) = Pending::new(op, nature, None);
                let mut jobs: Vec<Box<dyn Job>> = vec![Box::new(pending)];
                writer.lock().commit(&mut jobs);
                reply.try_recv().map_err(|_| closed())?
            }
        }
    }

    /// Reads on the calling thread: for look-ups of some microseconds, which a hop to another thread would make dearer.
    ///
    /// Each statement sees everything acknowledged before it began; a [`snapshot`](Self::snapshot) sees one state.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &self.inner.mode {
            Mode::Threads { readers, .. } => readers.read(read),
            Mode::Inline(writer) => read(writer.lock().connection()),
        }
    }

    /// Reads several things as of one moment, on the calling thread.
    pub(super) fn snapshot<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            read(&transaction)
        })
    }

    /// Reads several things as of one moment on a thread that may block: for lists, counts and whatever may take long.
    pub(super) async fn snapshot_blocking<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let _turn = match &self.inner.mode {
            Mode::Threads { readers, .. } => Some(readers.long_turn().await?),
            Mode::Inline(_) => None,
        };
        let db = self.clone();
        tokio::task::spawn_blocking(move || db.snapshot(read))
            .await
            .map_err(|error| StoreError::Backend(error.into()))?
    }

    /// Whether everything happens on the caller's thread.
    pub(super) fn is_inline(&self) -> bool {
        matches!(self.inner.mode, Mode::Inline(_))
    }

    /// Tells the time as transactions see it.
    pub(super) fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    /// Commits what waits, moves the write-ahead log into the database and stops the threads. Later writes fail; closing again does nothing.
    pub(super) fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        if let Mode::Threads { queue, threads, checkpointer, .. } = &self.mode {
            queue.close();
            checkpointer.stop();
            for thread in threads.lock().drain(..) {
                // A thread that panicked has nothing left to say.
                let _ = thread.join();
            }
            checkpointer.truncate();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Threads { .. } => "Threads",
            Self::Inline(_) => "Inline",
        })
    }
}

/// Prepared statements that the writer keeps: more than there are.
const WRITER_STATEMENTS: usize = 256;
/// Kibibytes of pages that the writer keeps; with the readers' 40 MiB in all, if so much is read.
const WRITER_CACHE_KIB: i64 = 8 * 1024;
/// How long a connection waits for another.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

fn open_writer(file: &Path) -> anyhow::Result<Connection> {
    let version = rusqlite::version_number();
    ensure!(
        version >= OLDEST_SQLITE,
        "SQLite {version} is too old: before {OLDEST_SQLITE} a checkpoint can damage the database"
    );
    let mut connection = Connection::open_with_flags(file, OpenFlags::default())
        .with_context(|| format!("cannot open {}", file.display()))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    prepare_statements_once(&connection, WRITER_STATEMENTS)?;
    migrations::apply(&mut connection)?;
    Ok(connection)
}

/// Keeps prepared statements, and keeps SQLite from preparing them anew when a bound value might suggest another plan: there
/// is but one plan for each of ours.
fn prepare_statements_once(connection: &Connection, capacity: usize) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(capacity);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "temp_store", "memory")
}

fn closed() -> StoreError {
    StoreError::Backend(anyhow::anyhow!("the store is closed"))
}
