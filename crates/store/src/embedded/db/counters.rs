//! The hot counters of storages, which the writer keeps and writes once for each storage and commit.

use std::collections::HashMap;

use model::{StorageCounters, StorageStats, Timestamp};
use rusqlite::{Connection, Row, params};

use super::sql::Sql as _;
use crate::{Noun, StoreError};

/// Counters that are kept between commits.
const MAX_KEPT: usize = 8 * 1024;

/// What is counted of one storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::embedded) struct Counter {
    /// Last change of data or settings.
    pub modified_at: Timestamp,
    /// Last use that was noted.
    pub accessed_at: Timestamp,
    /// Items, records or requests.
    pub items: u64,
    /// Clean items.
    pub clean: u64,
    /// Handled requests.
    pub handled: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Items, records or requests read so far.
    pub reads: u64,
    /// Items, records or requests written so far.
    pub writes: u64,
    /// Records or requests deleted so far.
    pub deletes: u64,
    /// Pages of keys listed so far.
    pub lists: u64,
    /// Requests read from the head so far.
    pub head_reads: u64,
    /// The open tail of a dataset; 0 if there is none.
    pub tail: i64,
    /// Index of its first item.
    pub tail_first: u64,
    /// Bytes in it.
    pub tail_bytes: u64,
    /// Chunks in it.
    pub tail_rows: u64,
    /// Bytes of its object, as long as all of its chunks are there; 0 otherwise.
    pub tail_packed: u64,
    /// Milliseconds by which the time of a queue is ahead of the clock.
    pub place_skew: i64,
    /// Place that a queue gave last.
    pub place: i64,
    /// Hash of the key of a queue's first client; 0 before the first.
    pub client: i64,
    /// Whether a queue had a second client.
    pub many_clients: bool,
}

impl Counter {
    /// Notes a change at `now`; time does not go back.
    pub(in crate::embedded) fn touch(&mut self, now: Timestamp) {
        self.modified_at = self.modified_at.max(now);
        self.accessed_at = self.accessed_at.max(self.modified_at);
    }

    /// Reads the counters of a storage as the last commit left them.
    ///
    /// # Errors
    /// `NotFound(Storage)`.
    pub(in crate::embedded) fn load(connection: &Connection, k: i64) -> Result<Self, StoreError> {
        connection.one(SELECT, [k], |row| Self::from_row(row, 0))?.ok_or(StoreError::NotFound(Noun::Storage))
    }

    /// Reads the columns of [`SELECT`] from a row, from column `at` on.
    pub(in crate::embedded) fn from_row(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            modified_at: Timestamp::from_millis(row.get(at)?),
            accessed_at: Timestamp::from_millis(row.get(at + 1)?),
            items: row.get(at + 2)?,
            clean: row.get(at + 3)?,
            handled: row.get(at + 4)?,
            bytes: row.get(at + 5)?,
            reads: row.get(at + 6)?,
            writes: row.get(at + 7)?,
            deletes: row.get(at + 8)?,
            lists: row.get(at + 9)?,
            head_reads: row.get(at + 10)?,
            tail: row.get(at + 11)?,
            tail_first: row.get(at + 12)?,
            tail_bytes: row.get(at + 13)?,
            tail_rows: row.get(at + 14)?,
            place_skew: row.get(at + 15)?,
            place: row.get(at + 16)?,
            client: row.get(at + 17)?,
            many_clients: row.get(at + 18)?,
            tail_packed: row.get(at + 19)?,
        })
    }

    /// As the traits show them.
    pub(in crate::embedded) fn shown(&self) -> StorageCounters {
        StorageCounters {
            modified_at: self.modified_at,
            accessed_at: self.accessed_at.max(self.modified_at),
            items: self.items,
            clean_items: self.clean,
            handled: self.handled,
            had_multiple_clients: self.many_clients,
            stats: StorageStats {
                read_count: self.reads,
                write_count: self.writes,
                delete_count: self.deletes,
                list_count: self.lists,
                head_item_read_count: self.head_reads,
                storage_bytes: self.bytes,
            },
        }
    }

    pub(super) fn insert(&self, connection: &Connection, k: i64) -> Result<(), StoreError> {
        self.bind(connection, INSERT, k)
    }

    fn bind(&self, connection: &Connection, sql: &'static str, k: i64) -> Result<(), StoreError> {
        connection.run(
            sql,
            params![
                k,
                self.modified_at.as_millis(),
                self.accessed_at.as_millis(),
                self.items,
                self.clean,
                self.handled,
                self.bytes,
                self.reads,
                self.writes,
                self.deletes,
                self.lists,
                self.head_reads,
                self.tail,
                self.tail_first,
                self.tail_bytes,
                self.tail_rows,
                self.place_skew,
                self.place,
                self.client,
                self.many_clients,
                self.tail_packed,
            ],
        )?;
        Ok(())
    }
}

/// Its columns are those that [`Counter::from_row`] reads.
const SELECT: &str =
    "SELECT modified_at, accessed_at, items, clean, handled, bytes, reads, writes, deletes, lists, head_reads,
            tail, tail_first, tail_bytes, tail_rows, place_skew, place, client, many_clients, tail_packed
     FROM counter WHERE k = ?1";
const INSERT: &str =
    "INSERT INTO counter (k, modified_at, accessed_at, items, clean, handled, bytes, reads, writes, deletes, lists,
            head_reads, tail, tail_first, tail_bytes, tail_rows, place_skew, place, client, many_clients, tail_packed)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";
const UPDATE: &str =
    "UPDATE counter SET modified_at = ?2, accessed_at = ?3, items = ?4, clean = ?5, handled = ?6, bytes = ?7,
            reads = ?8, writes = ?9, deletes = ?10, lists = ?11, head_reads = ?12, tail = ?13, tail_first = ?14,
            tail_bytes = ?15, tail_rows = ?16, place_skew = ?17, place = ?18, client = ?19, many_clients = ?20,
            tail_packed = ?21
     WHERE k = ?1";

/// Counters as the running transaction sees them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    kept: HashMap<i64, Kept>,
    /// Those that differ from their rows.
    dirty: Vec<i64>,
    /// What was kept before the running operation; `None` if it had to be read from its row.
    undo: Vec<(i64, Option<Kept>)>,
    /// Number of the running operation.
    op: u64,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    counter: Counter,
    dirty: bool,
    /// The last operation that changed it.
    changed_in: u64,
}

impl Counters {
    /// Begins an operation: what it changes can be taken back.
    pub(super) fn begin_op(&mut self) {
        self.op += 1;
        self.undo.clear();
    }

    /// Takes back what the operation changed.
    pub(super) fn undo_op(&mut self) {
        // Backwards, so that what was there first comes last.
        for (k, before) in self.undo.drain(..).rev() {
            match before {
                Some(before) => self.kept.insert(k, before),
                // The row may be one that the operation made, and its key one that is given again.
                None => self.kept.remove(&k),
            };
        }
    }

    pub(super) fn get(&mut self, connection: &Connection, k: i64) -> Result<&Counter, StoreError> {
        Ok(&self.keep(connection, k)?.counter)
    }

    pub(super) fn get_mut(&mut self, connection: &Connection, k: i64) -> Result<&mut Counter, StoreError> {
        let op = self.op;
        let before = *self.keep(connection, k)?;
        if before.changed_in != op {
            self.undo.push((k, Some(before)));
        }
        if !before.dirty {
            self.dirty.push(k);
        }
        let kept = self.kept.entry(k).or_insert(before);
        kept.changed_in = op;
        kept.dirty = true;
        Ok(&mut kept.counter)
    }

    pub(super) fn delete(&mut self, connection: &Connection, k: i64) -> Result<(), StoreError> {
        self.keep(connection, k)?;
        if let Some(before) = self.kept.remove(&k) {
            self.undo.push((k, Some(before)));
        }
        connection.run("DELETE FROM counter WHERE k = ?1", [k])?;
        Ok(())
    }

    /// Writes what has changed.
    pub(super) fn flush(&mut self, connection: &Connection) -> Result<(), StoreError> {
        for k in self.dirty.drain(..) {
            // Gone if the storage was deleted, clean if the change was taken back or is written already.
            if let Some(kept) = self.kept.get_mut(&k)
                && kept.dirty
            {
                kept.counter.bind(connection, UPDATE, k)?;
                kept.dirty = false;
            }
        }
        if self.kept.len() > MAX_KEPT {
            self.kept.clear();
        }
        Ok(())
    }

    /// Forgets everything: the transaction was taken back.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.dirty.clear();
        self.undo.clear();
    }

    fn keep(&mut self, connection: &Connection, k: i64) -> Result<&mut Kept, StoreError> {
        use std::collections::hash_map::Entry;

        match self.kept.entry(k) {
            Entry::Occupied(kept) => Ok(kept.into_mut()),
            Entry::Vacant(free) => {
                let counter = Counter::load(connection, k)?;
                self.undo.push((k, None));
                Ok(free.insert(Kept { counter, dirty: false, changed_in: 0 }))
            }
        }
    }
}
