//! Storages as objects.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt as _;
use model::{Listed, Page, RunId, Storage, StorageCounters, StorageId, StorageKind, Timestamp, UserId, fold};
use parking_lot::Mutex;
use rusqlite::{Connection, params};

use super::blocks::{ALWAYS, List};
use super::core::{Core, Kept};
use super::db::{Counter, Sql as _, WriteTx};
use super::doc;
use crate::{NewStorage, Noun, Reads, StorageChange, StorageFilter, StorageStore, StoreError};

/// Milliseconds for which a time of access stands (`S27`).
const ACCESS_GRAIN_MILLIS: i64 = 60_000;
/// Storages whose reads may wait to be written; more are dropped, since statistics may lag and must not grow.
const MAX_NOTED: usize = 64 * 1024;

/// Number of a kind in the database.
pub(super) const fn code(kind: StorageKind) -> i64 {
    match kind {
        StorageKind::Dataset => 1,
        StorageKind::KeyValueStore => 2,
        StorageKind::RequestQueue => 3,
    }
}

/// The embedded store of storages.
#[derive(Debug)]
pub(super) struct Storages {
    core: Arc<Core>,
}

impl Storages {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[async_trait]
impl StorageStore for Storages {
    async fn get_or_create(&self, new: Storage) -> Result<NewStorage, StoreError> {
        if let Some(name) = &new.name
            && let Some(storage) = self.find(&new.user_id, new.kind, name).await?
        {
            return Ok(NewStorage { storage, created: false });
        }
        let core = self.core.clone();
        let new = Arc::new(new);
        self.core
            .db
            .grow(move |tx| {
                // Another call may have made it since we looked.
                let existing = match &new.name {
                    Some(name) => find_id(tx, &new.user_id, new.kind, name)?,
                    None => None,
                };
                if let Some(id) = existing {
                    let storage = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Storage))?.storage.clone();
                    return Ok(NewStorage { storage, created: false });
                }
                insert(&core, tx, new.clone())?;
                Ok(NewStorage { storage: new, created: true })
            })
            .await
    }

    async fn get(&self, id: &StorageId) -> Result<Option<Arc<Storage>>, StoreError> {
        Ok(self.core.storage(id)?.map(|kept| kept.storage.clone()))
    }

    async fn find(&self, user: &UserId, kind: StorageKind, name: &str) -> Result<Option<Arc<Storage>>, StoreError> {
        match self.core.db.read(|connection| find_id(connection, user, kind, name))? {
            Some(id) => self.get(&id).await,
            None => Ok(None),
        }
    }

    async fn counters(&self, id: &StorageId) -> Result<StorageCounters, StoreError> {
        let kept = self.core.storage(id)?.ok_or(StoreError::NotFound(Noun::Storage))?;
        self.core.db.read(|connection| Ok(Counter::load(connection, kept.k)?.shown()))
    }

    async fn list(
        &self,
        filter: StorageFilter,
        page: Page,
    ) -> Result<Listed<(Arc<Storage>, StorageCounters)>, StoreError> {
        self.core.db.snapshot_blocking(move |connection| list(connection, filter, page)).await
    }

    async fn update(&self, id: &StorageId, change: StorageChange) -> Result<Arc<Storage>, StoreError> {
        let (core, id) = (self.core.clone(), *id);
        self.core
            .db
            .write(move |tx| {
                let kept = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Storage))?;
                let storage = Arc::new(apply(change, &kept.storage));
                if let Some(name) = &storage.name
                    && find_id(tx, &storage.user_id, storage.kind, name)?.is_some_and(|other| other != id)
                {
                    return Err(StoreError::NameTaken);
                }
                tx.run(
                    "UPDATE storage SET name = ?2, doc = ?3 WHERE k = ?1",
                    params![kept.k, storage.name.as_deref().map(fold), doc::write(&storage)?],
                )?;
                if part(&storage) != part(&kept.storage) {
                    count(tx, &kept.storage, -1)?;
                    count(tx, &storage, 1)?;
                }
                let now = tx.now();
                tx.counter_mut(kept.k)?.touch(now);
                cache_after_commit(&core, tx, kept.k, storage.clone());
                Ok(storage)
            })
            .await
    }

    async fn delete(&self, id: &StorageId) -> Result<(), StoreError> {
        let (core, id) = (self.core.clone(), *id);
        self.core
            .db
            .write(move |tx| {
                let k = tx
                    .one("SELECT k FROM storage WHERE id = ?1 AND deleted_at IS NULL", [id.as_str()], |row| row.get(0))?
                    .ok_or(StoreError::NotFound(Noun::Storage))?;
                delete(&core, tx, k, id)
            })
            .await
    }

    fn note_reads(&self, id: &StorageId, reads: Reads) {
        self.core.reads.note(id, reads);
        if self.core.db.is_inline() {
            // Nobody comes by later. What cannot be written now may as well be lost.
            let _ = flush_reads(&self.core).now_or_never();
        }
    }

    async fn expire(&self, user: &UserId, unused_since: Timestamp, limit: u64) -> Result<bool, StoreError> {
        // What was read lately was used, too.
        flush_reads(&self.core).await?;
        let (core, user) = (self.core.clone(), *user);
        self.core
            .db
            .write(move |tx| {
                let due = tx.all(
                    "SELECT k, id FROM storage
                     WHERE user_id = ?1 AND name IS NULL AND lives_with IS NULL AND deleted_at IS NULL
                       AND coalesce(seen_at, created_at) < ?2
                     ORDER BY coalesce(seen_at, created_at) LIMIT ?3",
                    params![user.as_str(), unused_since.as_millis(), limit],
                    |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
                )?;
                let more = due.len() as u64 >= limit;
                for (k, id) in due {
                    let used_at = tx.counter_mut(k)?.accessed_at;
                    if used_at >= unused_since {
                        tx.run("UPDATE storage SET seen_at = ?2 WHERE k = ?1", [k, used_at.as_millis()])?;
                    } else if let Some(id) = StorageId::parse(&id) {
                        delete(&core, tx, k, id)?;
                    }
                }
                Ok(more)
            })
            .await
    }

    async fn of_run(&self, run: &RunId) -> Result<Vec<Arc<Storage>>, StoreError> {
        self.core.db.read(|connection| {
            let docs = connection.all(
                "SELECT doc FROM storage WHERE lives_with = ?1 AND deleted_at IS NULL ORDER BY k",
                [run.as_str()],
                |row| row.get::<_, String>(0),
            )?;
            docs.iter().map(|text| doc::read(text).map(Arc::new)).collect()
        })
    }
}

/// Makes a storage and returns its key. Its name must be free.
///
/// # Errors
/// `NameTaken`.
pub(super) fn insert(core: &Arc<Core>, tx: &mut WriteTx<'_>, storage: Arc<Storage>) -> Result<i64, StoreError> {
    if let Some(name) = &storage.name
        && find_id(tx, &storage.user_id, storage.kind, name)?.is_some()
    {
        return Err(StoreError::NameTaken);
    }
    tx.run(
        "INSERT INTO storage (id, kind, user_id, name, created_at, lives_with, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            storage.id.as_str(),
            code(storage.kind),
            storage.user_id.as_str(),
            storage.name.as_deref().map(fold),
            storage.created_at.as_millis(),
            storage.lives_with.as_ref().map(|run| run.as_str()),
            doc::write(&storage)?,
        ],
    )?;
    let k = tx.last_insert_rowid();
    count(tx, &storage, 1)?;
    let counter = Counter { modified_at: storage.created_at, accessed_at: storage.created_at, ..Counter::default() };
    tx.create_counter(k, &counter)?;
    cache_after_commit(core, tx, k, storage);
    Ok(k)
}

/// Counts a storage in its user's list in or out.
fn count(connection: &Connection, storage: &Storage, by: i64) -> Result<(), StoreError> {
    let list = List::storages(storage.user_id.as_str(), storage.kind);
    list.count(connection, part(storage), storage.created_at.as_millis(), by)
}

/// The part of the list that it belongs to.
fn part(storage: &Storage) -> i64 {
    i64::from(storage.name.is_some())
}

/// Makes every storage that lives with a run invisible, but for those that were given a name, which stay (`U8`, `U9`).
pub(super) fn delete_of_run(core: &Arc<Core>, tx: &mut WriteTx<'_>, run: &RunId) -> Result<(), StoreError> {
    let storages =
        tx.all("SELECT k, id FROM storage WHERE lives_with = ?1 AND deleted_at IS NULL", [run.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })?;
    for (k, id) in storages {
        let Some(id) = StorageId::parse(&id) else { continue };
        match read(tx, &id)? {
            Some(kept) if kept.storage.name.is_some() => {
                let freed = Arc::new(Storage { lives_with: None, ..(*kept.storage).clone() });
                tx.run("UPDATE storage SET lives_with = NULL, doc = ?2 WHERE k = ?1", params![k, doc::write(&freed)?])?;
                cache_after_commit(core, tx, k, freed);
            }
            _ => delete(core, tx, k, id)?,
        }
    }
    Ok(())
}

/// Makes a storage invisible; the reaper comes for what is in it.
fn delete(core: &Arc<Core>, tx: &mut WriteTx<'_>, k: i64, id: StorageId) -> Result<(), StoreError> {
    if let Some(kept) = read(tx, &id)? {
        count(tx, &kept.storage, -1)?;
    }
    tx.run("UPDATE storage SET deleted_at = ?2 WHERE k = ?1", [k, tx.now().as_millis()])?;
    tx.delete_counter(k)?;
    let core = core.clone();
    tx.after_commit(move || {
        core.storages.remove(&id);
        core.upkeep.wake();
    });
    Ok(())
}

fn cache_after_commit(core: &Arc<Core>, tx: &mut WriteTx<'_>, k: i64, storage: Arc<Storage>) {
    let core = core.clone();
    tx.after_commit(move || core.storages.set(storage.id, Arc::new(Kept { k, storage })));
}

fn apply(change: StorageChange, storage: &Storage) -> Storage {
    let mut storage = storage.clone();
    if let Some(name) = change.name {
        storage.name = name;
    }
    if let Some(title) = change.title {
        storage.title = title;
    }
    if let Some(general_access) = change.general_access {
        storage.general_access = general_access;
    }
    storage
}

/// Reads a storage past the cache.
pub(super) fn read(connection: &Connection, id: &StorageId) -> Result<Option<Kept>, StoreError> {
    let row =
        connection.one("SELECT k, doc FROM storage WHERE id = ?1 AND deleted_at IS NULL", [id.as_str()], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?))
        })?;
    let Some((k, doc)) = row else { return Ok(None) };
    Ok(Some(Kept { k, storage: Arc::new(doc::read(&doc)?) }))
}

fn find_id(
    connection: &Connection,
    user: &UserId,
    kind: StorageKind,
    name: &str,
) -> Result<Option<StorageId>, StoreError> {
    let id = connection.one(
        "SELECT id FROM storage WHERE user_id = ?1 AND kind = ?2 AND name = ?3 AND deleted_at IS NULL",
        params![user.as_str(), code(kind), fold(name)],
        |row| row.get::<_, String>(0),
    )?;
    Ok(id.and_then(|id| StorageId::parse(&id)))
}

fn list(
    connection: &Connection,
    filter: StorageFilter,
    page: Page,
) -> Result<Listed<(Arc<Storage>, StorageCounters)>, StoreError> {
    // Four statements rather than one with conditions: each finds its index.
    const PAGE: [[&str; 2]; 2] = [
        [
            "SELECT k, doc FROM storage WHERE user_id = ?1 AND kind = ?2 AND name IS NOT NULL AND deleted_at IS NULL
             AND created_at BETWEEN ?5 AND ?6 ORDER BY created_at, id LIMIT ?3 OFFSET ?4",
            "SELECT k, doc FROM storage WHERE user_id = ?1 AND kind = ?2 AND name IS NOT NULL AND deleted_at IS NULL
             AND created_at BETWEEN ?5 AND ?6 ORDER BY created_at DESC, id DESC LIMIT ?3 OFFSET ?4",
        ],
        [
            "SELECT k, doc FROM storage WHERE user_id = ?1 AND kind = ?2 AND deleted_at IS NULL
             AND created_at BETWEEN ?5 AND ?6 ORDER BY created_at, id LIMIT ?3 OFFSET ?4",
            "SELECT k, doc FROM storage WHERE user_id = ?1 AND kind = ?2 AND deleted_at IS NULL
             AND created_at BETWEEN ?5 AND ?6 ORDER BY created_at DESC, id DESC LIMIT ?3 OFFSET ?4",
        ],
    ];
    let (user, kind, unnamed) = (filter.user.as_str(), code(filter.kind), usize::from(filter.unnamed));
    let (list, parts) = (List::storages(user, filter.kind), if filter.unnamed { &[0, 1][..] } else { &[1] });
    // No time is given, so no stretch is counted in part.
    let total = list.total(connection, parts, ALWAYS, |_| Ok(0))?;
    let start = list.start(connection, parts, ALWAYS, page, |_| Ok(0))?;
    let Some((time, offset)) = start else { return Ok(Listed { total, items: Vec::new() }) };
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let bounds = params![user, kind, limit, offset, time.start(), time.end()];
    let rows = connection
        .all(PAGE[unnamed][usize::from(page.desc)], bounds, |row| Ok((row.get::<_, i64>(0)?, doc::column(row, 1)?)))?;
    let items = rows.into_iter().map(|(k, storage)| {
        let counters = Counter::load(connection, k)?.shown();
        Ok((Arc::new(storage?), counters))
    });
    Ok(Listed { total, items: items.collect::<Result<_, StoreError>>()? })
}

/// Reads that are noted and not written yet.
#[derive(Debug, Default)]
pub(super) struct NotedReads {
    noted: Mutex<HashMap<StorageId, Reads>>,
}

impl NotedReads {
    fn note(&self, id: &StorageId, reads: Reads) {
        let mut noted = self.noted.lock();
        if noted.len() >= MAX_NOTED && !noted.contains_key(id) {
            return;
        }
        let sum = noted.entry(*id).or_default();
        sum.reads += reads.reads;
        sum.lists += reads.lists;
        sum.head_items += reads.head_items;
    }
}

/// Writes the reads noted so far into the counters (`U4`, `S27`).
pub(super) async fn flush_reads(core: &Arc<Core>) -> Result<(), StoreError> {
    let noted = std::mem::take(&mut *core.reads.noted.lock());
    let mut sums = Vec::with_capacity(noted.len());
    for (id, reads) in noted {
        if let Some(kept) = core.storage(&id)? {
            sums.push((kept.k, reads));
        }
    }
    if sums.is_empty() {
        return Ok(());
    }
    let write = move |tx: &mut WriteTx<'_>| {
        let now = tx.now();
        for (k, reads) in sums {
            let counter = match tx.counter_mut(k) {
                Ok(counter) => counter,
                Err(StoreError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            counter.reads += reads.reads;
            counter.lists += reads.lists;
            counter.head_reads += reads.head_items;
            if now.millis_since(counter.accessed_at) >= ACCESS_GRAIN_MILLIS {
                counter.accessed_at = now;
            }
        }
        Ok(())
    };
    core.db.write(write).await
}
