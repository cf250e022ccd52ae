//! The field paths of a dataset (`S29`): those that sealing found, and a walk through what is not sealed yet.

use std::sync::Arc;

use model::item_view::FieldCollector;
use rusqlite::Connection;

use super::super::core::Core;
use super::super::db::{Cache, Counter, Sql as _};
use super::chunk::add_fields;
use super::{read, row_of};
use crate::StoreError;

/// Bytes of lines that are read at a time.
const STEP: u64 = 1024 * 1024;

/// The paths of a dataset's first items. What is among the first of all was among the first before, so this is only ever
/// added to.
#[derive(Debug, Default)]
pub(super) struct Known {
    items: u64,
    fields: FieldCollector,
}

/// The paths of all items of a dataset, sorted.
pub(super) async fn fields(
    core: &Arc<Core>,
    cache: &Cache<i64, Arc<Known>>,
    k: i64,
) -> Result<Vec<String>, StoreError> {
    let items = core.db.read(|connection| Counter::load(connection, k))?.items;
    let known = cache.get(&k).unwrap_or_default();
    let known = if known.items >= items {
        known
    } else {
        let core = core.clone();
        let grown = tokio::task::spawn_blocking(move || grow(&core, k, &known, items)).await;
        let grown = Arc::new(grown.map_err(anyhow::Error::from)??);
        cache.set(k, grown.clone());
        grown
    };
    Ok(known.fields.paths().map(str::to_owned).collect())
}

/// Walks what has come since; what was sealed meanwhile was walked by the sealer.
fn grow(core: &Core, k: i64, known: &Known, items: u64) -> Result<Known, StoreError> {
    let mut fields = known.fields.clone();
    let tails = core.db.read(|connection| {
        connection.all("SELECT tail, first FROM ds_tail WHERE k = ?1 ORDER BY first", [k], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?))
        })
    })?;
    for (tail, first) in tails {
        // A chunk that was walked in part at the last time cannot be: pushes come whole.
        let mut place = known.items.saturating_sub(first);
        while let Some(next) = core.db.read(|connection| walk(connection, tail, place, &mut fields))? {
            place = next;
        }
    }
    // Last, so that a tail that was sealed under our hands is in it.
    let sealed = core.db.read(|connection| {
        connection.all("SELECT paths FROM ds_columns WHERE k = ?1", [k], |row| row.get::<_, String>(0))
    })?;
    for paths in sealed {
        let paths: Vec<String> = serde_json::from_str(&paths).map_err(anyhow::Error::from)?;
        fields.extend(paths);
    }
    Ok(Known { items, fields })
}

/// Walks some chunks from `place` on and returns where to go on, or nothing at the end.
fn walk(
    connection: &Connection,
    tail: i64,
    place: u64,
    fields: &mut FieldCollector,
) -> Result<Option<u64>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT r, n, size, codec, body FROM ds_chunk WHERE r >= ?1 AND r < ?2 ORDER BY r")?;
    let mut rows = statement.query([row_of(tail, place), row_of(tail + 1, 0)])?;
    let (mut next, mut size) = (None, 0);
    while size < STEP
        && let Some(row) = rows.next()?
    {
        let (place, chunk) = read::chunk(row)?;
        add_fields(fields, &chunk.lines().map_err(anyhow::Error::from)?);
        size += chunk.size;
        next = Some(place + chunk.n);
    }
    Ok(next)
}
