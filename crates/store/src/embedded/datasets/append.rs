//! Appending to the open tail.
//!
//! A tail that begins with a large push has an object, in which its chunks lie side by side as in a segment, and which becomes
//! its segment. Once a chunk comes that is too small for that, it and all behind it are rows.

use std::sync::Arc;

use rusqlite::params;

use super::super::core::Core;
use super::super::db::{Counter, Sql as _, WriteTx};
use super::super::objects::Blank;
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

/// Pushes of so many bytes of lines are worth an object.
const MIN_OBJECT: usize = 256 * 1024;
/// Objects that one push may begin.
const MAX_OBJECTS: usize = 8;

/// How many tails a push of so many bytes of lines may begin with an object.
pub(super) fn objects_for(size: usize) -> usize {
    let tails = size / usize::try_from(MAX_TAIL_BYTES).unwrap_or(usize::MAX) + 1;
    if size < MIN_OBJECT { 0 } else { tails.min(MAX_OBJECTS) }
}

/// States of a tail.
pub(super) mod state {
    /// Open, and too small to be sealed.
    pub const OPEN: i64 = 0;
    /// Open, and worth sealing when it has gone quiet.
    pub const SEALABLE: i64 = 1;
    /// Closed: nothing is added any more.
    pub const CLOSED: i64 = 2;
}

/// Appends chunks to a dataset and returns the new number of items. Tails that it begins with a large chunk take one of the
/// `blanks` each, as long as there are any.
///
/// # Errors
/// `NotFound(Storage)`, before anything is changed; others only if there are frames among the chunks.
pub(super) fn append(
    core: &Arc<Core>,
    tx: &mut WriteTx<'_>,
    k: i64,
    chunks: &[Chunk],
    clean: u64,
    blanks: &mut Vec<Blank>,
) -> Result<u64, StoreError> {
    let now = tx.now();
    let mut counter = *tx.counter(k)?;
    if chunks.is_empty() {
        return Ok(counter.items);
    }
    let items_before = counter.items;
    // That of the open tail, as long as all of its chunks are there.
    let mut object = match counter.tail_packed {
        0 => None,
        _ => tx.one("SELECT object FROM ds_tail WHERE tail = ?1", [counter.tail], |row| row.get::<_, String>(0))?,
    };
    for chunk in chunks {
        if counter.tail != 0 && counter.items - counter.tail_first + chunk.n > MAX_TAIL_ITEMS {
            close(core, tx, counter.tail)?;
            counter.tail = 0;
        }
        if counter.tail == 0 {
            let blank = if chunk.is_frame() { blanks.pop() } else { None };
            object = blank.map(|blank| core.objects.begin(tx, blank)).transpose()?;
            tx.run(
                "INSERT INTO ds_tail (k, first, state, object) VALUES (?1, ?2, ?3, ?4)",
                params![k, counter.items, state::OPEN, object],
            )?;
            counter.tail = tx.last_insert_rowid();
            (counter.tail_first, counter.tail_bytes, counter.tail_rows) = (counter.items, 0, 0);
            counter.tail_packed = 0;
        }
        object = object.filter(|_| chunk.is_frame());
        insert(core, tx, &mut counter, chunk, object.as_deref())?;
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

/// Puts a chunk into the tail's object, or into a row.
fn insert(
    core: &Core,
    tx: &mut WriteTx<'_>,
    counter: &mut Counter,
    chunk: &Chunk,
    object: Option<&str>,
) -> Result<(), StoreError> {
    let row = row_of(counter.tail, counter.items - counter.tail_first);
    if let Some(object) = object {
        let (at, bytes) = (counter.tail_packed, chunk.body.len() as u64);
        core.objects.write_at(tx, object, at, chunk.body.clone())?;
        counter.tail_packed += bytes;
        tx.run(
            "INSERT INTO ds_chunk (r, n, size, codec, body, paths, at, bytes) VALUES (?1, ?2, ?3, ?4, x'', ?5, ?6, ?7)",
            params![row, chunk.n, chunk.size, chunk.codec, chunk.paths, at, bytes],
        )?;
    } else {
        counter.tail_packed = 0;
        tx.run(
            "INSERT INTO ds_chunk (r, n, size, codec, body, paths) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![row, chunk.n, chunk.size, chunk.codec, &*chunk.body, chunk.paths],
        )?;
    }
    Ok(())
}

fn close(core: &Arc<Core>, tx: &mut WriteTx<'_>, tail: i64) -> Result<(), StoreError> {
    tx.run("UPDATE ds_tail SET state = ?2 WHERE tail = ?1", [tail, state::CLOSED])?;
    let core = core.clone();
    tx.after_commit(move || core.upkeep.wake());
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use model::StorageKind;

    use super::super::super::assemble;
    use super::super::super::core::DataDir;
    use super::super::super::db::Db;
    use super::super::chunk;
    use super::*;
    use crate::Window;
    use crate::conformance::fixtures::{ForeseeableRandom, StoppedClock, given};

    #[tokio::test]
    async fn a_push_that_comes_to_nothing_leaves_the_object_as_it_was() {
        let db = Db::open_inline(None, Arc::new(StoppedClock::default())).unwrap();
        let dir = DataDir::Temporary(tempfile::tempdir().unwrap());
        let core = Arc::new(Core::new(db, Arc::new(ForeseeableRandom::default()), dir).unwrap());
        let store = assemble(core.clone()).unwrap();
        let id = given(&store, StorageKind::Dataset).await;
        let k = core.key(&id, StorageKind::Dataset).unwrap();
        let push = |mark: char| {
            let item = format!("{{\"t\":\"{}\"}}", mark.to_string().repeat(1000));
            let items = format!("[{}]", vec![item; 400].join(","));
            model::push::split_items(items.as_bytes()).unwrap()
        };

        for mark in ['a', 'b', 'c'] {
            let (chunks, _) = chunk::cut(push('x')).await.unwrap();
            let mut blanks = core.objects.blanks(1).await.unwrap();
            let fail = {
                let core = core.clone();
                move |tx: &mut WriteTx<'_>| {
                    append(&core, tx, k, &chunks, 0, &mut blanks)?;
                    core.objects.give_back(blanks);
                    Err::<(), _>(StoreError::Full)
                }
            };
            assert!(matches!(core.db.grow_much(0, fail).await, Err(StoreError::Full)));
            store.datasets.append(&id, push(mark)).await.unwrap();
        }

        let rows =
            core.db.read(|connection| connection.one("SELECT sum(length(body)) FROM ds_chunk", [], |row| row.get(0)));
        assert_eq!(rows.unwrap(), Some(0));
        let read = store.datasets.read(&id, Window::default()).await.unwrap().chunks;
        let lines = read.map_ok(|chunk| chunk.lines.to_vec()).try_concat().await.unwrap();
        assert!(lines == ['a', 'b', 'c'].map(|mark| push(mark).lines).concat());
    }
}
