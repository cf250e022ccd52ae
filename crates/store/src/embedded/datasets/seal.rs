//! Sealing: the items of a closed tail become one object, and its rows go.

use std::sync::Arc;

use model::item_view::FieldCollector;
use rusqlite::params;
use tracing::{debug, warn};

use super::super::core::Core;
use super::super::db::{Sql as _, WriteTx};
use super::append::state;
use super::chunk::add_fields;
use super::segment::{Builder, Segment};
use super::{read, row_of};
use crate::{Noun, StoreError};

/// Milliseconds without a change after which a tail counts as quiet.
const QUIET_MILLIS: i64 = 10 * 60 * 1000;
/// Bytes of lines that are read at a time.
const STEP: u64 = 1024 * 1024;

/// A tail that is to be sealed.
#[derive(Clone, Copy, Debug)]
struct Tail {
    tail: i64,
    k: i64,
    first: u64,
}

/// Closes the tails that have gone quiet and seals all closed ones.
pub(in crate::embedded) async fn seal_due(core: &Arc<Core>) -> Result<(), StoreError> {
    close_quiet(core).await?;
    let mut last = 0;
    let mut outcome = Ok(());
    while !core.upkeep.is_stopped() {
        let next = core.db.read(|connection| {
            connection.one(
                "SELECT t.tail, t.k, t.first FROM ds_tail t JOIN counter ON counter.k = t.k
                 WHERE t.state = ?1 AND t.tail > ?2 ORDER BY t.tail LIMIT 1",
                [state::CLOSED, last],
                |row| Ok(Tail { tail: row.get(0)?, k: row.get(1)?, first: row.get(2)? }),
            )
        })?;
        let Some(tail) = next else { break };
        last = tail.tail;
        match seal(core, tail).await {
            // The dataset was deleted meanwhile.
            Ok(()) | Err(StoreError::NotFound(_)) => {}
            Err(error) => {
                warn!(%error, tail = tail.tail, "Cannot seal a tail; trying again later");
                outcome = Err(error);
            }
        }
    }
    outcome
}

/// Closes tails that are large enough and to which nothing was added for a while.
async fn close_quiet(core: &Arc<Core>) -> Result<(), StoreError> {
    let before = core.now().plus_millis(-QUIET_MILLIS);
    let quiet: Vec<(i64, i64)> = core.db.read(|connection| {
        connection.all(
            "SELECT t.tail, t.k FROM ds_tail t JOIN counter c ON c.k = t.k WHERE t.state = ?1 AND c.modified_at <= ?2",
            [state::SEALABLE, before.as_millis()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    })?;
    if quiet.is_empty() {
        return Ok(());
    }
    let close = move |tx: &mut WriteTx<'_>| {
        for (tail, k) in quiet {
            match tx.counter(k) {
                Ok(counter) if counter.tail == tail && counter.modified_at <= before => {
                    tx.counter_mut(k)?.tail = 0;
                    tx.run("UPDATE ds_tail SET state = ?2 WHERE tail = ?1", [tail, state::CLOSED])?;
                }
                Ok(_) | Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    core.db.write(close).await
}

async fn seal(core: &Arc<Core>, tail: Tail) -> Result<(), StoreError> {
    let (segment, columns) = build(core, tail)?;
    let Segment { file, frames, n, size } = segment;
    debug!(dataset = tail.k, items = n, size, bytes = file.len(), "Sealing a tail");
    let bytes = file.len();
    let object = core.objects.put(file.into()).await?;
    let paths = serde_json::to_string(&columns.paths().collect::<Vec<_>>()).map_err(anyhow::Error::from)?;
    core.db
        .write(move |tx| {
            tx.counter(tail.k)?;
            if tx.run("DELETE FROM ds_tail WHERE tail = ?1", [tail.tail])? == 0 {
                return Err(StoreError::NotFound(Noun::Storage));
            }
            tx.run("DELETE FROM ds_chunk WHERE r >= ?1 AND r < ?2", [row_of(tail.tail, 0), row_of(tail.tail + 1, 0)])?;
            let columns = columns_row(tx, tail.k, &paths)?;
            tx.run(
                "INSERT INTO ds_segment (k, first, n, size, object, bytes, columns, frames)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![tail.k, tail.first, n, size, object.key(), bytes, columns, frames],
            )?;
            object.claim(tx)
        })
        .await
}

/// Reads a tail, which nobody changes any more, in steps.
fn build(core: &Arc<Core>, tail: Tail) -> Result<(Segment, FieldCollector), StoreError> {
    let mut builder = Builder::default();
    let mut columns = FieldCollector::default();
    let mut place = 0;
    loop {
        let chunks = core.db.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT r, n, size, codec, body, paths FROM ds_chunk WHERE r >= ?1 AND r < ?2 ORDER BY r",
            )?;
            let mut rows = statement.query([row_of(tail.tail, place), row_of(tail.tail + 1, 0)])?;
            let (mut chunks, mut size) = (Vec::new(), 0);
            while size < STEP
                && let Some(row) = rows.next()?
            {
                let (place, mut chunk) = read::chunk(row)?;
                chunk.paths = row.get(5)?;
                size += chunk.size;
                chunks.push((place, chunk));
            }
            Ok(chunks)
        })?;
        if chunks.is_empty() {
            break;
        }
        for (found, chunk) in chunks {
            if found != place {
                return Err(StoreError::Backend(anyhow::anyhow!("a chunk of tail {} is missing", tail.tail)));
            }
            place += chunk.n;
            let added = match &chunk.paths {
                Some(paths) => {
                    columns.extend(serde_json::from_str::<Vec<String>>(paths).map_err(anyhow::Error::from)?);
                    builder.add_frame(&chunk)
                }
                None => {
                    let lines = chunk.lines().map_err(anyhow::Error::from)?;
                    add_fields(&mut columns, &lines);
                    builder.add(&chunk, &lines)
                }
            };
            added.map_err(anyhow::Error::from)?;
        }
    }
    if place == 0 {
        // The reaper came first.
        return Err(StoreError::NotFound(Noun::Storage));
    }
    Ok((builder.finish().map_err(anyhow::Error::from)?, columns))
}

/// The row of a set of field paths; segments of a dataset that have the same share one.
fn columns_row(tx: &WriteTx<'_>, k: i64, paths: &str) -> Result<i64, StoreError> {
    let known = tx.one("SELECT c FROM ds_columns WHERE k = ?1 AND paths = ?2", params![k, paths], |row| row.get(0))?;
    match known {
        Some(row) => Ok(row),
        None => {
            tx.run("INSERT INTO ds_columns (k, paths) VALUES (?1, ?2)", params![k, paths])?;
            Ok(tx.last_insert_rowid())
        }
    }
}
