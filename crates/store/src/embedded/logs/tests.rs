//! Whatever a crash leaves behind, a log is there once and whole.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::conformance::fixtures::{ForeseeableRandom, StoppedClock, fresh};
use crate::conformance::jobs::{given_actor, given_run};
use crate::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::{JobLog, Store};

/// One source for all openings, as names of objects must not repeat.
static RANDOM: LazyLock<Arc<ForeseeableRandom>> = LazyLock::new(Arc::default);

async fn open(dir: &Path) -> Store {
    let options = EmbeddedOptions { clock: Arc::new(StoppedClock::default()), random: RANDOM.clone(), inline: false };
    EmbeddedStore::open(dir, options).await.unwrap()
}

async fn read(store: &Store, log: &JobLog) -> String {
    let parts: Vec<Bytes> = store.logs.read(log, 0, None).await.unwrap().try_collect().await.unwrap();
    String::from_utf8(parts.concat()).unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir.join("logs")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_crash_between_the_commit_and_the_removal_of_the_file_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let log = JobLog::Run(given_run(&store, given_actor(&store, "a").await, 1).await);
    store.logs.append(&log, "first\n").await.unwrap();
    let file = store.logs.file(&log).await.unwrap();
    let content = std::fs::read(&file).unwrap();
    store.logs.seal(&log).await.unwrap();
    assert!(!file.exists());

    // As if it had not been removed.
    std::fs::write(&file, content).unwrap();
    assert_eq!(read(&store, &log).await, "first\n");
    store.logs.append(&log, "second\n").await.unwrap();
    drop(store);
    let store = open(dir.path()).await;

    assert_eq!(read(&store, &log).await, "first\nsecond\n");
    assert!(!file.exists());
    assert_eq!(files(dir.path()), [store.logs.file(&log).await.unwrap()]);
    store.logs.seal(&log).await.unwrap();
    assert_eq!(read(&store, &log).await, "first\nsecond\n");
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn a_crash_before_the_commit_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let log = JobLog::Run(given_run(&store, given_actor(&store, "a").await, 1).await);
    store.logs.append(&log, "first\n").await.unwrap();
    drop(store);

    // What the sealing had written by then has no row, and whatever else lies about is nobody's.
    std::fs::write(dir.path().join("logs").join(format!("run-{}.0.log", fresh::<model::kind::Run>())), "gone").unwrap();
    std::fs::write(dir.path().join("logs").join("notes.txt"), "kept").unwrap();
    let store = open(dir.path()).await;

    assert_eq!(read(&store, &log).await, "first\n");
    let mut left = files(dir.path());
    left.sort();
    assert_eq!(left, [dir.path().join("logs").join("notes.txt"), store.logs.file(&log).await.unwrap()]);
}

#[tokio::test]
async fn sealing_one_log_from_two_sides_seals_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let log = JobLog::Run(given_run(&store, given_actor(&store, "a").await, 1).await);
    store.logs.append(&log, "first\n").await.unwrap();

    let seals = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.logs.seal(&log).await.unwrap() })
    });
    for seal in seals.collect::<Vec<_>>() {
        seal.await.unwrap();
    }

    assert_eq!(read(&store, &log).await, "first\n");
}

#[tokio::test]
async fn a_log_of_any_size_is_sealed_and_read_in_small_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let log = JobLog::Run(given_run(&store, given_actor(&store, "a").await, 1).await);
    let line = "2026-08-31T09:13:25.123Z the same again\n";
    let lines = line.repeat(200_000);
    store.logs.append(&log, &lines).await.unwrap();

    for _ in 0..2 {
        let pieces: Vec<Bytes> = store.logs.read(&log, 0, None).await.unwrap().try_collect().await.unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= 256 * 1024));
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), lines.len());
        store.logs.seal(&log).await.unwrap();
    }
}
