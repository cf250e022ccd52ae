//! Stores in directories, and what lies there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use playhouse_store::Store;
use playhouse_store::conformance::fixtures::{ForeseeableRandom, StoppedClock};
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};

pub async fn open(dir: &Path, clock: &Arc<StoppedClock>) -> Store {
    open_with(dir, clock, &Arc::default()).await
}

/// Whoever opens a directory again must not name what is new as what is there.
pub async fn open_with(dir: &Path, clock: &Arc<StoppedClock>, random: &Arc<ForeseeableRandom>) -> Store {
    let options = EmbeddedOptions { clock: clock.clone(), random: random.clone(), inline: true };
    EmbeddedStore::open(dir, options).await.unwrap()
}

pub fn count(dir: &Path, sql: &str) -> i64 {
    let database = rusqlite::Connection::open(dir.join("db.sqlite")).unwrap();
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

pub fn objects(dir: &Path) -> Vec<PathBuf> {
    let shelves = fs::read_dir(dir.join("objects")).unwrap();
    let paths = shelves.flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap());
    paths.map(|object| object.unwrap().path()).collect()
}
