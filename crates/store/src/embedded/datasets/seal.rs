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
use super::{row_of, tail};
use crate::{Noun, StoreError};

/// Milliseconds without a change after which a tail counts as quiet.
const QUIET_MILLIS: i64 = 10 * 60 * 1000;
/// A tail that is to be sealed.
#[derive(Clone, Debug)]
struct Tail {
    tail: i64,
    k: i64,
    first: u64,
    object: Option<String>,
}

/// Closes the tails that have gone quiet and seals all closed ones.
pub(in crate::embedded) async fn seal_due(core: &Arc<Core>) -> Result<(), StoreError> {
    close_quiet(core).await?;
    let mut last = 0;
    let mut outcome = Ok(());
    while !core.upkeep.is_stopped() {
        let next = core.db.read(|connection| {
            connection.one(
                "SELECT t.tail, t.k, t.first, t.object FROM ds_tail t JOIN counter ON counter.k = t.k
                 WHERE t.state = ?1 AND t.tail > ?2 ORDER BY t.tail LIMIT 1",
                [state::CLOSED, last],
                |row| Ok(Tail { tail: row.get(0)?, k: row.get(1)?, first: row.get(2)?, object: row.get(3)? }),
            )
        })?;
        let Some(tail) = next else { break };
        last = tail.tail;
        match seal(core, &tail).await {
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

async fn seal(core: &Arc<Core>, tail: &Tail) -> Result<(), StoreError> {
    let (segment, columns) = build(core, tail)?;
    let Segment { stored, file, frames, n, size } = segment;
    let bytes = stored + file.len() as u64;
    debug!(dataset = tail.k, items = n, size, bytes, "Sealing a tail");
    let (object, reserved) = match &tail.object {
        Some(object) => {
            core.objects.finish(object, stored, &file)?;
            (object.clone(), None)
        }
        None => {
            let reserved = core.objects.put(file.into()).await?;
            (reserved.key().to_owned(), Some(reserved))
        }
    };
    let paths = serde_json::to_string(&columns.paths().collect::<Vec<_>>()).map_err(anyhow::Error::from)?;
    let Tail { tail, k, first, .. } = *tail;
    core.db
        .write(move |tx| {
            tx.counter(k)?;
            if tx.run("DELETE FROM ds_tail WHERE tail = ?1", [tail])? == 0 {
                return Err(StoreError::NotFound(Noun::Storage));
            }
            tx.run("DELETE FROM ds_chunk WHERE r >= ?1 AND r < ?2", [row_of(tail, 0), row_of(tail + 1, 0)])?;
            let columns = columns_row(tx, k, &paths)?;
            tx.run(
                "INSERT INTO ds_segment (k, first, n, size, object, bytes, columns, frames)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![k, first, n, size, object, bytes, columns, frames],
            )?;
            reserved.map_or(Ok(()), |reserved| reserved.claim(tx))
        })
        .await
}

/// Reads a tail, which nobody changes any more, in steps.
fn build(core: &Arc<Core>, tail: &Tail) -> Result<(Segment, FieldCollector), StoreError> {
    let mut builder = Builder::default();
    let mut columns = FieldCollector::default();
    let mut place = 0;
    loop {
        let chunks = tail::chunks(core, tail.tail, place)?;
        if chunks.is_empty() {
            break;
        }
        for found in chunks {
            if found.place != place {
                return Err(StoreError::Backend(anyhow::anyhow!("a chunk of tail {} is missing", tail.tail)));
            }
            let chunk = &found.chunk;
            place += chunk.n;
            let added = if chunk.is_frame() {
                found.add_fields(&mut columns, core, tail.object.as_deref())?;
                match &found.stored {
                    Some(bytes) => builder.add_stored(chunk.n, bytes.end - bytes.start, chunk.size),
                    None => builder.add_frame(chunk),
                }
            } else {
                let lines = found.lines(core, None)?;
                add_fields(&mut columns, &lines);
                builder.add(chunk.n, &lines)
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
