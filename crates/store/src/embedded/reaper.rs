//! Takes away what is in deleted storages, in small steps between which others write.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::params;

use super::core::Core;
use super::db::{Sql as _, WriteTx};
use super::{datasets, queues, records, storages};
use crate::StoreError;

use model::StorageKind;

/// Most rows that one step takes away.
const STEP: usize = 2000;
/// The same on a full disk, where the write-ahead log has little room.
const SHORT_STEP: usize = 200;
/// Pause between two steps.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes away the contents of all storages that were deleted, and then the storages.
pub(super) async fn reap(core: &Arc<Core>) -> Result<(), StoreError> {
    loop {
        let deleted = core.db.read(|connection| {
            connection.one(
                "SELECT k, kind FROM storage WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
        })?;
        let Some((k, kind)) = deleted else { return Ok(()) };
        loop {
            let limit = if core.db.is_tight() { SHORT_STEP } else { STEP };
            if !core.db.write(move |tx| step(tx, k, kind, limit)).await? {
                break;
            }
            if !core.db.is_inline() {
                core.upkeep.breathe(PAUSE);
                if core.upkeep.is_stopped() {
                    return Ok(());
                }
            }
        }
    }
}

/// One step; returns whether there is more.
fn step(tx: &mut WriteTx<'_>, k: i64, kind: i64, limit: usize) -> Result<bool, StoreError> {
    let gone = if kind == storages::code(StorageKind::Dataset) {
        datasets::purge(tx, k, limit)?
    } else if kind == storages::code(StorageKind::KeyValueStore) {
        records::purge(tx, k, limit)?
    } else {
        queues::purge(tx, k, limit)?
    };
    if gone == 0 {
        tx.run("DELETE FROM storage WHERE k = ?1", params![k])?;
    }
    Ok(gone > 0)
}
