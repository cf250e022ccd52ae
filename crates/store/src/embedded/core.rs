//! What all parts of the embedded store share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Random, Storage, StorageId, StorageKind, Timestamp};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::db::{Cache, Db};
use super::objects::Objects;
use super::storages::{self, NotedReads};
use super::upkeep::Wake;
use crate::{Noun, Record, StoreError};

/// Storages whose settings are kept in memory.
const CACHED_STORAGES: usize = 8 * 1024;
/// Records that are kept in memory.
const CACHED_RECORDS: usize = 8 * 1024;

/// The database, the directory and what is kept in memory of them. Every part holds it in an [`Arc`].
#[derive(Debug)]
pub(super) struct Core {
    /// Rows.
    pub db: Db,
    /// Bulk bytes.
    pub objects: Objects,
    /// Settings of storages.
    pub storages: Cache<StorageId, Arc<Kept>>,
    /// Small records that were read lately.
    pub records: Cache<RecordName, Record>,
    /// Reads that wait to be counted.
    pub reads: NotedReads,
    /// Names what is made inside.
    pub random: Arc<dyn Random>,
    /// Tells that a dispatch was made.
    pub dispatch_made: Arc<Notify>,
    /// Calls for what runs in the background.
    pub upkeep: Arc<Wake>,
    /// Held during a round of upkeep.
    pub round: tokio::sync::Mutex<()>,
    dir: DataDir,
}

/// Key of a store in the database, and of a record in it.
pub(super) type RecordName = (i64, Box<str>);

/// Where the store is.
#[derive(Debug)]
pub(super) enum DataDir {
    /// In a directory that stays.
    Kept(PathBuf),
    /// In one that goes with the store.
    Temporary(TempDir),
}

/// A storage as the cache keeps it.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its key in the database.
    pub k: i64,
    /// Its settings.
    pub storage: Arc<Storage>,
}

impl DataDir {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

impl Core {
    pub(super) fn new(db: Db, random: Arc<dyn Random>, dir: DataDir) -> Result<Self, StoreError> {
        Ok(Self {
            objects: Objects::open(&dir.path().join("objects"), db.clone(), random.clone())?,
            db,
            random,
            dispatch_made: Arc::default(),
            storages: Cache::new(CACHED_STORAGES),
            records: Cache::new(CACHED_RECORDS),
            reads: NotedReads::default(),
            upkeep: Arc::default(),
            round: tokio::sync::Mutex::default(),
            dir,
        })
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        self.db.clock().now()
    }

    /// The data directory.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The storage with that id, unless it was deleted.
    pub(super) fn storage(&self, id: &StorageId) -> Result<Option<Arc<Kept>>, StoreError> {
        self.storages.get_or_read(id, || self.db.read(|connection| Ok(storages::read(connection, id)?.map(Arc::new))))
    }

    /// Key of the storage with that id and kind.
    ///
    /// It may be deleted before it is used: a write begins with [`WriteTx::counter`](super::db::WriteTx::counter), which fails then.
    ///
    /// # Errors
    /// `NotFound(Storage)`.
    pub(super) fn key(&self, id: &StorageId, kind: StorageKind) -> Result<i64, StoreError> {
        match self.storage(id)? {
            Some(kept) if kept.storage.kind == kind => Ok(kept.k),
            _ => Err(StoreError::NotFound(Noun::Storage)),
        }
    }
}
