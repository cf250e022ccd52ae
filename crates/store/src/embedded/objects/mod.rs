//! Bulk bytes as objects: written under a fresh key, at once or [bit by bit](growing), named by a row, removed when no row names
//! them any more. What rows name of them never changes.

mod growing;
mod reading;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use model::{Random, hex};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use parking_lot::Mutex;

pub(super) use self::growing::Blank;
use self::reading::Spare;
use super::db::{Cache, Db, Sql as _, WriteTx};
use super::disk::{io_error, is_full};
use super::upkeep::Wake;
use crate::{ByteStream, StoreError};

/// Keys that are noted in one transaction, so that an object costs none of its own.
const RESERVED_AT_ONCE: usize = 32;
/// Bytes that are written at a time.
const PART: usize = 1024 * 1024;
/// Milliseconds for which a replaced object stays, for readers that have its key and have not opened it yet. On a full disk
/// it goes at once.
const GRACE_MILLIS: i64 = 30 * 1000;
/// Objects that are removed in one step.
const REMOVED_AT_ONCE: usize = 500;

/// A directory of objects.
#[derive(Debug)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    dir: PathBuf,
    db: Db,
    random: Arc<dyn Random>,
    /// Whether what is written has to outlive the process.
    durable: bool,
    /// Buffers to read into.
    buffers: Arc<Spare>,
    /// Keys that are noted as pending and not in use.
    spare: Mutex<Vec<String>>,
    /// Empty objects that are not in use.
    blanks: Mutex<Vec<Blank>>,
    /// Objects that grow, by key.
    open: Cache<String, Arc<File>>,
    /// Keys whose objects came to nothing.
    abandoned: Arc<Mutex<Vec<String>>>,
}

/// The key of an object that is being written. If no row claims it, the object is removed.
#[derive(Debug)]
pub(super) struct Reserved {
    key: String,
    abandoned: Arc<Mutex<Vec<String>>>,
    claimed: bool,
}

impl Objects {
    pub(super) fn open(dir: &Path, db: Db, random: Arc<dyn Random>) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(io_error)?;
        // Without threads there is nothing that must outlive the process.
        let durable = !db.is_inline();
        let store = LocalFileSystem::new_with_prefix(dir).map_err(object_error)?.with_fsync(durable);
        Ok(Self {
            store: Arc::new(store),
            dir: dir.to_owned(),
            db,
            random,
            durable,
            buffers: Arc::default(),
            spare: Mutex::default(),
            blanks: Mutex::default(),
            open: Cache::new(growing::OPEN_FILES),
            abandoned: Arc::default(),
        })
    }

    /// A fresh key, noted in the database before anything is written under it.
    async fn reserve(&self) -> Result<Reserved, StoreError> {
        let spare = self.spare.lock().pop();
        let key = match spare {
            Some(key) => key,
            None => {
                let mut keys: Vec<String> = (0..RESERVED_AT_ONCE)
                    .map(|_| {
                        let mut bytes = [0; 16];
                        self.random.fill(&mut bytes);
                        hex::encode(&bytes)
                    })
                    .collect();
                let noted = keys.clone();
                self.db
                    .write(move |tx| {
                        let now = tx.now().as_millis();
                        for key in &noted {
                            tx.run("INSERT INTO object_pending (object, since) VALUES (?1, ?2)", (key, now))?;
                        }
                        Ok(())
                    })
                    .await?;
                let key = keys.pop().unwrap_or_default();
                self.spare.lock().append(&mut keys);
                key
            }
        };
        Ok(Reserved { key, abandoned: self.abandoned.clone(), claimed: false })
    }

    /// Writes an object; it is on disk when this returns.
    pub(super) async fn put(&self, content: Bytes) -> Result<Reserved, StoreError> {
        let reserved = self.reserve().await?;
        self.store.put(&path(&reserved.key), PutPayload::from_bytes(content)).await.map_err(object_error)?;
        Ok(reserved)
    }

    /// Writes an object from `start` and then `rest` as it comes, and shows `seen` all of it. Memory does not grow with it.
    ///
    /// # Errors
    /// `Body` if the stream fails; `Full` if it fails for want of room.
    pub(super) async fn put_stream(
        &self,
        start: BytesMut,
        rest: &mut ByteStream,
        mut seen: impl FnMut(&[u8]) + Send,
    ) -> Result<(Reserved, u64), StoreError> {
        // The last part is written after the stream has ended, and then it is asked once more.
        let mut rest = rest.fuse();
        let reserved = self.reserve().await?;
        let mut upload = self.store.put_multipart(&path(&reserved.key)).await.map_err(object_error)?;
        let mut part = start;
        let mut size = 0;
        seen(&part);
        loop {
            let next = rest.next().await.transpose();
            match next {
                Ok(Some(bytes)) => {
                    seen(&bytes);
                    part.extend_from_slice(&bytes);
                    if part.len() < PART {
                        continue;
                    }
                }
                Ok(None) if part.is_empty() => break,
                Ok(None) => {}
                Err(error) => {
                    // What is left of it goes with its key if this fails.
                    let _ = upload.abort().await;
                    return Err(if is_full(&error) { StoreError::Full } else { StoreError::Body(error) });
                }
            }
            size += part.len() as u64;
            upload.put_part(PutPayload::from_bytes(part.split().freeze())).await.map_err(object_error)?;
        }
        upload.complete().await.map_err(object_error)?;
        Ok((reserved, size))
    }

    /// Reads some bytes of an object and makes something of them, both on one thread that may block.
    pub(super) async fn read<T, F>(&self, key: &str, range: Range<u64>, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(Vec<u8>) -> io::Result<T> + Send + 'static,
    {
        let file = self.file(key);
        let read = move || read_file(&file, range, make);
        let made = tokio::task::spawn_blocking(read).await.map_err(anyhow::Error::from)?;
        Ok(made.with_context(|| format!("cannot read object {key}"))?)
    }

    /// The same on the calling thread, which must be one that may block.
    pub(super) fn read_here<T>(
        &self,
        key: &str,
        range: Range<u64>,
        make: impl FnOnce(Vec<u8>) -> io::Result<T>,
    ) -> Result<T, StoreError> {
        Ok(read_file(&self.file(key), range, make).with_context(|| format!("cannot read object {key}"))?)
    }

    /// Where an object lies. It is read past the library, which would take a hop to another thread for each 8 KiB.
    fn file(&self, key: &str) -> PathBuf {
        let (shelf, name) = split(key);
        self.dir.join(shelf).join(name)
    }

    /// Streams a part of an object. It is opened when this returns, so that removing it does not matter any more.
    pub(super) async fn stream(&self, key: &str, range: Range<u64>) -> Result<ByteStream, StoreError> {
        let file = reading::open(self.file(key)).await.with_context(|| format!("cannot open object {key}"))?;
        Ok(self.stream_file(file, range))
    }

    /// Streams a part of a file.
    pub(super) fn stream_file(&self, file: File, range: Range<u64>) -> ByteStream {
        reading::stream(file, range, self.buffers.clone())
    }

    /// Takes up what a crash left behind. Nothing must be being written.
    pub(super) async fn recover(&self) -> Result<(), StoreError> {
        self.db
            .write(|tx| {
                tx.run("INSERT INTO object_garbage (object, since) SELECT object, 0 FROM object_pending", [])?;
                tx.run("DELETE FROM object_pending", [])?;
                Ok(())
            })
            .await
    }

    /// Removes the objects that no row names any more. Those of late stay for a while.
    pub(super) async fn sweep(&self, wake: &Wake) -> Result<(), StoreError> {
        self.give_up_abandoned().await?;
        while !wake.is_stopped() && self.remove_some().await? > 0 {}
        Ok(())
    }

    async fn remove_some(&self) -> Result<usize, StoreError> {
        let grace = if self.db.is_tight() { 0 } else { GRACE_MILLIS };
        let before = self.db.clock().now().as_millis().saturating_sub(grace);
        let keys: Vec<String> = self.db.read(|connection| {
            connection.all(
                "SELECT object FROM object_garbage WHERE since <= ?1 ORDER BY since LIMIT ?2",
                (before, REMOVED_AT_ONCE),
                |row| row.get(0),
            )
        })?;
        if keys.is_empty() {
            return Ok(0);
        }
        // First the files and only then the rows: a crash in between repeats the removal.
        self.remove_files(&keys).map_err(io_error)?;
        let removed = keys.len();
        self.db
            .write(move |tx| {
                for key in &keys {
                    tx.run("DELETE FROM object_garbage WHERE object = ?1", [key])?;
                }
                Ok(())
            })
            .await?;
        Ok(removed)
    }

    /// Makes garbage of what was written and never claimed.
    async fn give_up_abandoned(&self) -> Result<(), StoreError> {
        let abandoned = std::mem::take(&mut *self.abandoned.lock());
        if abandoned.is_empty() {
            return Ok(());
        }
        self.db
            .write(move |tx| {
                for key in &abandoned {
                    // Whoever let go of the key may have had its claim under way: then it is not pending any more.
                    if tx.run("DELETE FROM object_pending WHERE object = ?1", [key])? > 0 {
                        tx.run("INSERT OR IGNORE INTO object_garbage (object, since) VALUES (?1, 0)", [key])?;
                    }
                }
                Ok(())
            })
            .await
    }

    fn remove_files(&self, keys: &[String]) -> io::Result<()> {
        let mut shelves = BTreeSet::new();
        for key in keys {
            // Open it would keep its room.
            self.open.remove(key);
            let (shelf, _) = split(key);
            let shelf = self.dir.join(shelf);
            // The second is what a crash in the middle of writing leaves.
            for file in [shelf.join(key), shelf.join(format!("{key}#1"))] {
                match std::fs::remove_file(file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            shelves.insert(shelf);
        }
        for shelf in shelves {
            match File::open(&shelf).and_then(|shelf| shelf.sync_all()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Reserved {
    /// The object's key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Notes that a row of this transaction names the object.
    pub(super) fn claim(self, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
        tx.run("DELETE FROM object_pending WHERE object = ?1", [&self.key])?;
        // If the transaction fails, the hook is dropped without being run, and the key is abandoned.
        tx.after_commit(move || {
            // The whole of it: a closure that names the field alone would take a copy of that, and the rest be dropped here.
            let mut claimed = self;
            claimed.claimed = true;
        });
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.claimed {
            self.abandoned.lock().push(std::mem::take(&mut self.key));
        }
    }
}

/// Notes that no row names an object any more.
pub(super) fn discard(tx: &WriteTx<'_>, key: &str) -> Result<(), StoreError> {
    tx.run("INSERT OR IGNORE INTO object_garbage (object, since) VALUES (?1, ?2)", (key, tx.now().as_millis()))?;
    Ok(())
}

fn read_file<T>(file: &Path, range: Range<u64>, make: impl FnOnce(Vec<u8>) -> io::Result<T>) -> io::Result<T> {
    let length = range.end - range.start;
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(range.start))?;
    // Into memory that nobody has filled with zeros before.
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    make(bytes)
}

/// Shelf and name of an object: 256 shelves keep directories small.
fn split(key: &str) -> (&str, &str) {
    (key.get(..2).unwrap_or("xx"), key)
}

fn path(key: &str) -> object_store::path::Path {
    let (shelf, name) = split(key);
    object_store::path::Path::from_iter([shelf, name])
}

fn object_error(error: object_store::Error) -> StoreError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(is_full) {
            return StoreError::Full;
        }
        cause = error.source();
    }
    StoreError::Backend(error.into())
}
