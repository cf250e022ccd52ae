//! Appending to the open tail.

use std::sync::Arc;

use rusqlite::params;

use super::super::core::Core;
use super::super::db::{Sql as _, WriteTx};
use super::chunk::Chunk;
use super::{PLACE_BITS, row_of};
use crate::StoreError;

/// A tail is closed at this many chunks,
pub(super) const MAX_TAIL_ROWS: u64 = 4096;
/// or this many bytes of lines,
pub(super) const MAX_TAIL_BYTES: u64 = 4 * 1024 * 1024;
/// and before it has more items than a row number can tell apart.
const MAX_TAIL_ITEMS: u64 = 1 << PLACE_BITS;
/// A tail of this size is sealed when it has gone quiet; a smaller one stays.
pub(super) const MIN_SEALED_BYTES: u64 = 64 * 1024;

/// States of a tail.
pub(super) mod state {
    /// Open, and too small to be sealed.
    pub const OPEN: i64 = 0;
    /// Open, and worth sealing when it has gone quiet.
    pub const SEALABLE: i64 = 1;
    /// Closed: nothing is added any more.
    pub const CLOSED: i64 = 2;
}

/// Appends chunks to a dataset and returns the new number of items.
///
/// # Errors
/// `NotFound(Storage)`, before anything is changed.
pub(super) fn append(
    core: &Arc<Core>,
    tx: &mut WriteTx<'_>,
    k: i64,
    chunks: &[Chunk],
    clean: u64,
) -> Result<u64, StoreError> {
    let now = tx.now();
    let mut counter = *tx.counter(k)?;
    if chunks.is_empty() {
        return Ok(counter.items);
    }
    let items_before = counter.items;
    for chunk in chunks {
        if counter.tail != 0 && counter.items - counter.tail_first + chunk.n > MAX_TAIL_ITEMS {
            close(core, tx, counter.tail)?;
            counter.tail = 0;
        }
        if counter.tail == 0 {
            tx.run(
                "INSERT INTO ds_tail (k, first, state) VALUES (?1, ?2, ?3)",
                params![k, counter.items, state::OPEN],
            )?;
            counter.tail = tx.last_insert_rowid();
            (counter.tail_first, counter.tail_bytes, counter.tail_rows) = (counter.items, 0, 0);
        }
        let row = row_of(counter.tail, counter.items - counter.tail_first);
        tx.run(
            "INSERT INTO ds_chunk (r, n, size, codec, body, paths) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![row, chunk.n, chunk.size, chunk.codec, &*chunk.body, chunk.paths],
        )?;
        let was_small = counter.tail_bytes < MIN_SEALED_BYTES;
        counter.items += chunk.n;
        counter.bytes += chunk.size;
        counter.tail_bytes += chunk.size;
        counter.tail_rows += 1;
        if counter.tail_rows >= MAX_TAIL_ROWS || counter.tail_bytes >= MAX_TAIL_BYTES {
            close(core, tx, counter.tail)?;
            counter.tail = 0;
        } else if was_small && counter.tail_bytes >= MIN_SEALED_BYTES {
            tx.run("UPDATE ds_tail SET state = ?2 WHERE tail = ?1", [counter.tail, state::SEALABLE])?;
        }
    }
    counter.clean += clean;
    counter.writes += counter.items - items_before;
    counter.touch(now);
    *tx.counter_mut(k)? = counter;
    Ok(counter.items)
}

fn close(core: &Arc<Core>, tx: &mut WriteTx<'_>, tail: i64) -> Result<(), StoreError> {
    tx.run("UPDATE ds_tail SET state = ?2 WHERE tail = ?1", [tail, state::CLOSED])?;
    let core = core.clone();
    tx.after_commit(move || core.upkeep.wake());
    Ok(())
}
