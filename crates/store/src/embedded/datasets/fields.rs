//! The field paths of a dataset (`S29`): those that sealing found, and a walk through what is not sealed yet.

use std::sync::Arc;

use model::item_view::FieldCollector;

use super::super::core::Core;
use super::super::db::{Cache, Counter, Sql as _};
use super::tail;
use crate::StoreError;

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
        connection.all("SELECT tail, first, object FROM ds_tail WHERE k = ?1 ORDER BY first", [k], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?, row.get::<_, Option<String>>(2)?))
        })
    })?;
    for (tail, first, object) in tails {
        // A chunk that was walked in part at the last time cannot be: pushes come whole.
        let mut place = known.items.saturating_sub(first);
        loop {
            let chunks = tail::chunks(core, tail, place)?;
            let Some(last) = chunks.last() else { break };
            place = last.place + last.chunk.n;
            for chunk in &chunks {
                chunk.add_fields(&mut fields, core, object.as_deref())?;
            }
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
