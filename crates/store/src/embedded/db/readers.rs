//! Connections that only read.

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{closed, prepare_statements_once};
use crate::StoreError;

/// Connections that are kept when nobody reads.
const KEPT: usize = 4;
/// Kibibytes of pages that each keeps.
const CACHE_KIB: i64 = 8 * 1024;
/// Long reads at a time. Short ones are bounded by the threads of the runtime.
const LONG_READS: usize = 4;
/// Prepared statements that each keeps.
const STATEMENTS: usize = 128;

/// A pool of connections that only read. It grows with the readers at a time and shrinks to [`KEPT`].
#[derive(Debug)]
pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    long: Semaphore,
}

impl Readers {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, idle: Mutex::default(), long: Semaphore::new(LONG_READS) }
    }

    /// Lends a connection to `read`.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open()?,
        };
        let outcome = read(&connection);
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push(connection);
        }
        outcome
    }

    /// Waits for leave to read for long.
    pub(super) async fn long_turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.long.acquire().await.map_err(|_| closed())
    }

    fn open(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        prepare_statements_once(&connection, STATEMENTS)?;
        Ok(connection)
    }
}
