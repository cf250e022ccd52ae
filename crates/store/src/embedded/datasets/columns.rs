//! The columns of a table of items: what sealing found in whole segments, and a walk through the rest.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt as _;
use model::item_view::FieldCollector;
use rusqlite::params;

use super::super::core::Core;
use super::super::db::{Counter, Sql as _};
use super::chunk::add_fields;
use super::locate::Form;
use super::pages::Pages;
use super::read;
use crate::{StoreError, Window};

/// The field paths of some items of a dataset, sorted.
pub(super) async fn columns(
    core: &Arc<Core>,
    pages: &Pages,
    k: i64,
    items: Range<u64>,
) -> Result<Vec<String>, StoreError> {
    let counter = core.db.read(|connection| Counter::load(connection, k))?;
    let items = items.start..items.end.min(counter.items);
    let (mut columns, rest) = {
        let (core, items) = (core.clone(), items.clone());
        tokio::task::spawn_blocking(move || kept(&core, k, items)).await.map_err(anyhow::Error::from)??
    };
    for part in rest {
        let window = Window { offset: part.start, limit: Some(part.end - part.start), desc: false };
        let mut chunks = read::read(core.clone(), pages.clone(), k, &counter, window, Form::Lines).chunks;
        while let Some(chunk) = chunks.next().await {
            let lines = chunk?.lines;
            let walk = move || {
                add_fields(&mut columns, &lines);
                columns
            };
            columns = tokio::task::spawn_blocking(walk).await.map_err(anyhow::Error::from)?;
        }
    }
    Ok(columns.paths().map(str::to_owned).collect())
}

/// What was kept of the segments that lie wholly within `items`, and the parts that do not lie in any of them.
fn kept(core: &Core, k: i64, items: Range<u64>) -> Result<(FieldCollector, Vec<Range<u64>>), StoreError> {
    let segments = core.db.read(|connection| {
        connection.all(
            "SELECT first, n, columns FROM ds_segment WHERE k = ?1 AND first >= ?2 AND first + n <= ?3 ORDER BY first",
            params![k, items.start, items.end],
            |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?, row.get::<_, i64>(2)?)),
        )
    })?;
    let (mut rest, mut sets, mut at) = (Vec::new(), Vec::new(), items.start);
    for (first, n, set) in segments {
        if at < first {
            rest.push(at..first);
        }
        at = first + n;
        sets.push(set);
    }
    if at < items.end {
        rest.push(at..items.end);
    }
    sets.sort_unstable();
    sets.dedup();

    let mut columns = FieldCollector::default();
    for set in sets {
        let paths = core.db.read(|connection| {
            connection.one("SELECT paths FROM ds_columns WHERE c = ?1", [set], |row| row.get::<_, String>(0))
        })?;
        // Without it the dataset is being deleted.
        if let Some(paths) = paths {
            let paths: Vec<String> = serde_json::from_str(&paths).map_err(anyhow::Error::from)?;
            columns.extend(paths);
        }
    }
    Ok((columns, rest))
}
