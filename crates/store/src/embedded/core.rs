//! What all parts of the embedded store share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Random, Storage, StorageId, StorageKind, Timestamp};

use super::db::{Cache, Db, Sql as _};
use crate::{Noun, StoreError};

/// Storages whose settings are kept in memory.
const CACHED_STORAGES: usize = 8 * 1024;

/// The database, the directory and what is kept in memory of them. Every part holds it in an [`Arc`].
#[derive(Debug)]
pub(super) struct Core {
    pub db: Db,
    pub random: Arc<dyn Random>,
    pub storages: Cache<StorageId, Arc<Kept>>,
    dir: PathBuf,
}

/// A storage as the cache keeps it.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its key in the database.
    pub k: i64,
    /// Its settings.
    pub storage: Arc<Storage>,
}

impl Core {
    pub(super) fn new(db: Db, random: Arc<dyn Random>, dir: PathBuf) -> Self {
        Self { db, random, storages: Cache::new(CACHED_STORAGES), dir }
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        self.db.clock().now()
    }

    /// The data directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The storage with that id, unless it was deleted.
    pub(super) fn storage(&self, id: &StorageId) -> Result<Option<Arc<Kept>>, StoreError> {
        self.storages.get_or_read(id, || {
            self.db.read(|connection| {
                let row = connection.one(
                    "SELECT k, doc FROM storage WHERE id = ?1 AND deleted_at IS NULL",
                    [id.as_str()],
                    |row| Ok((row.get(0)?, row.get::<_, String>(1)?)),
                )?;
                let Some((k, doc)) = row else { return Ok(None) };
                let storage = serde_json::from_str(&doc).map_err(anyhow::Error::from)?;
                Ok(Some(Arc::new(Kept { k, storage: Arc::new(storage) })))
            })
        })
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
