//! Datasets: chunks of items in a hot tail, older items in sealed segments.
//!
//! A push becomes one row, or a few if it is large, in the dataset's open *tail*. A tail that has grown, or has gone quiet with
//! something in it, is *closed*, and then *sealed*: its items become one object, a plain `.jsonl.zst` file, and its rows
//! go. A tail that begins with a large push has its object from the beginning, so that the bulk of a large dataset is written
//! once. Pieces are found by the index of their first item, never by scanning.

mod append;
mod chunk;
mod columns;
mod fields;
mod locate;
mod packed;
mod pages;
mod read;
mod seal;
mod segment;
mod tail;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use model::push::Items;
use model::{StorageId, StorageKind};
use rusqlite::params;

use self::chunk::Chunk;
use self::locate::Form;
use super::core::Core;
use super::db::{Cache, Counter, Sql as _, WriteTx};
use super::objects;
use crate::{DatasetStore, ItemChunks, PackedItems, StoreError, Window};

pub(super) use self::seal::seal_due;

/// Bits of a chunk's row number that tell its place in its tail.
const PLACE_BITS: u32 = 24;
/// Datasets whose fields are kept in memory.
const CACHED_FIELDS: usize = 256;

/// The embedded store of datasets.
#[derive(Debug)]
pub(super) struct Datasets {
    core: Arc<Core>,
    fields: Cache<i64, Arc<fields::Known>>,
    pages: pages::Pages,
}

impl Datasets {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, fields: Cache::new(CACHED_FIELDS), pages: pages::Pages::new() }
    }

    fn key(&self, dataset: &StorageId) -> Result<i64, StoreError> {
        self.core.key(dataset, StorageKind::Dataset)
    }

    fn read_as(&self, id: &StorageId, window: Window, form: Form) -> Result<ItemChunks, StoreError> {
        let k = self.key(id)?;
        let counter = self.core.db.read(|connection| Counter::load(connection, k))?;
        Ok(read::read(self.core.clone(), self.pages.clone(), k, &counter, window, form))
    }
}

#[async_trait]
impl DatasetStore for Datasets {
    async fn append(&self, id: &StorageId, items: Items) -> Result<u64, StoreError> {
        let k = self.key(id)?;
        let clean = items.clean_count as u64;
        let size = items.lines.len();
        let (chunks, weight) = chunk::cut(items).await?;
        let core = self.core.clone();
        if !chunks.iter().any(Chunk::is_frame) {
            let append = move |tx: &mut WriteTx<'_>| append::append(&core, tx, k, &chunks, clean, &mut Vec::new());
            return self.core.db.grow_checked(weight, append).await;
        }
        self.core.db.admit(weight as u64)?;
        let mut blanks = self.core.objects.blanks(append::objects_for(size)).await?;
        let append = move |tx: &mut WriteTx<'_>| {
            let total = append::append(&core, tx, k, &chunks, clean, &mut blanks);
            core.objects.give_back(blanks);
            total
        };
        self.core.db.grow_much(weight, append).await
    }

    async fn read(&self, id: &StorageId, window: Window) -> Result<ItemChunks, StoreError> {
        self.read_as(id, window, Form::Lines)
    }

    async fn read_joined(&self, id: &StorageId, window: Window) -> Result<ItemChunks, StoreError> {
        self.read_as(id, window, Form::Joined)
    }

    async fn read_packed(&self, id: &StorageId, items: Range<u64>) -> Result<PackedItems, StoreError> {
        let k = self.key(id)?;
        let counter = self.core.db.read(|connection| Counter::load(connection, k))?;
        Ok(packed::read(self.core.clone(), k, &counter, items))
    }

    async fn fields(&self, id: &StorageId) -> Result<Vec<String>, StoreError> {
        fields::fields(&self.core, &self.fields, self.key(id)?).await
    }

    async fn note(&self, id: &StorageId) -> Result<Option<String>, StoreError> {
        let k = self.key(id)?;
        self.core.db.read(|connection| connection.one("SELECT body FROM ds_note WHERE k = ?1", [k], |row| row.get(0)))
    }

    async fn keep_note(&self, id: &StorageId, note: String) -> Result<(), StoreError> {
        let k = self.key(id)?;
        let keep = move |tx: &mut WriteTx<'_>| {
            // A dataset that was deleted meanwhile must not leave anything behind.
            tx.counter_mut(k)?;
            tx.run("INSERT OR REPLACE INTO ds_note (k, body) VALUES (?1, ?2)", params![k, note]).map(drop)
        };
        self.core.db.write_checked(0, keep).await
    }

    async fn columns(&self, id: &StorageId, items: Range<u64>) -> Result<Vec<String>, StoreError> {
        columns::columns(&self.core, &self.pages, self.key(id)?, items).await
    }
}

/// Row number of the chunk that begins `place` items into a tail; that of no chunk of the tail if it has fewer items.
const fn row_of(tail: i64, place: u64) -> i64 {
    (tail << PLACE_BITS).saturating_add_unsigned(place)
}

/// Takes up to `limit` rows of a deleted dataset away and tells how many.
pub(super) fn purge(tx: &WriteTx<'_>, k: i64, limit: usize) -> Result<usize, StoreError> {
    let segments = tx.all("SELECT first, object FROM ds_segment WHERE k = ?1 LIMIT ?2", params![k, limit], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    for (first, object) in &segments {
        tx.run("DELETE FROM ds_segment WHERE k = ?1 AND first = ?2", params![k, first])?;
        objects::discard(tx, object)?;
    }
    if !segments.is_empty() {
        return Ok(segments.len());
    }
    let tail = tx.one("SELECT tail, object FROM ds_tail WHERE k = ?1 LIMIT 1", [k], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
    })?;
    if let Some((tail, object)) = tail {
        let chunks = tx.run(
            "DELETE FROM ds_chunk WHERE r IN (SELECT r FROM ds_chunk WHERE r >= ?1 AND r < ?2 LIMIT ?3)",
            params![row_of(tail, 0), row_of(tail + 1, 0), limit],
        )?;
        if chunks < limit {
            tx.run("DELETE FROM ds_tail WHERE tail = ?1", [tail])?;
            if let Some(object) = object {
                objects::discard(tx, &object)?;
            }
        }
        return Ok(chunks + 1);
    }
    tx.run("DELETE FROM ds_note WHERE k = ?1", [k])?;
    tx.run("DELETE FROM ds_columns WHERE k = ?1", [k])
}
