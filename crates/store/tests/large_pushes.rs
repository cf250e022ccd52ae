//! Large pushes lie in an object from the beginning, and read as all others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dir;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt as _;
use model::push::{Items, split_items};
use model::{StorageId, StorageKind};
use playhouse_store::conformance::fixtures::{StoppedClock, given, lines};
use playhouse_store::{Store, Window};

use self::dir::{count, objects, open, open_with};

/// Milliseconds after which a tail is quiet.
const LONG: i64 = 11 * 60 * 1000;

fn line(number: usize) -> String {
    format!("{{\"n\":{number},\"of-{}\":\"{}\"}}", number / 1000, "text ".repeat(200))
}

fn push(numbers: Range<usize>) -> Items {
    let list: Vec<String> = numbers.map(line).collect();
    split_items(format!("[{}]", list.join(",")).as_bytes()).unwrap()
}

/// The dataset holds the first `n` lines, from wherever and however they are read.
async fn holds(store: &Store, id: &StorageId, n: usize) {
    for items in [0..n, 7..n - 7] {
        let frames = store.datasets.read_packed(id, items.start as u64..items.end as u64).await.unwrap();
        let packed = frames.map_ok(Vec::from).try_concat().await.unwrap();
        let expected: String = items.clone().map(|number| line(number) + "\n").collect();
        assert!(zstd::decode_all(&*packed).unwrap() == expected.as_bytes(), "{items:?}");
    }
    for desc in [false, true] {
        let mut expected: Vec<String> = (0..n).map(line).collect();
        if desc {
            expected.reverse();
        }
        for (offset, limit) in [(0, n), (0, 1), (7, 300), (n / 2, n), (n - 1, 1), (n - 150, 100)] {
            let window = Window { offset: offset as u64, limit: Some(limit as u64), desc };
            let read = lines(store.datasets.read(id, window).await.unwrap()).await;
            assert!(read == expected[offset..n.min(offset + limit)], "{window:?} of {n}");
        }
    }
}

/// The objects that have something in them; some are made ahead.
fn written(dir: &Path) -> Vec<PathBuf> {
    objects(dir).into_iter().filter(|path| fs::metadata(path).unwrap().len() > 0).collect()
}

/// The only object, read as any zstd reads it, holds the first `n` lines.
fn is_file_of(dir: &Path, n: usize) {
    let [object] = written(dir).try_into().unwrap();
    let unpacked = zstd::stream::decode_all(fs::read(object).unwrap().as_slice()).unwrap();
    let expected: String = (0..n).map(|number| line(number) + "\n").collect();
    assert!(unpacked == expected.as_bytes());
}

#[tokio::test]
async fn the_object_of_a_large_push_becomes_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let id = given(&store, StorageKind::Dataset).await;
    let in_rows = || count(dir.path(), "SELECT coalesce(sum(n), 0) FROM ds_chunk WHERE length(body) > 0");

    for numbers in [0..400, 400..800] {
        store.datasets.append(&id, push(numbers)).await.unwrap();
    }
    assert_eq!(in_rows(), 0);
    holds(&store, &id, 800).await;
    let [begun] = written(dir.path()).try_into().unwrap();
    // What comes behind something small is a row, too, however large.
    for numbers in [800..801, 801..1201] {
        store.datasets.append(&id, push(numbers)).await.unwrap();
    }
    assert_eq!(in_rows(), 401);
    holds(&store, &id, 1201).await;

    for is_sealed in [false, true] {
        if is_sealed {
            clock.advance_millis(LONG);
            store.upkeep.run().await.unwrap();
        }
        assert_eq!(count(dir.path(), "SELECT count(*) FROM ds_segment"), i64::from(is_sealed));
        assert_eq!(written(dir.path()), [begun.as_path()]);
        holds(&store, &id, 1201).await;
        assert_eq!(store.datasets.fields(&id).await.unwrap(), ["n", "of-0", "of-1"]);
        assert_eq!(store.datasets.columns(&id, 0..1000).await.unwrap(), ["n", "of-0"]);
        assert_eq!(store.datasets.columns(&id, 0..1201).await.unwrap(), ["n", "of-0", "of-1"]);
    }
    is_file_of(dir.path(), 1201);
}

#[tokio::test]
async fn a_large_push_behind_a_small_one_is_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let id = given(&store, StorageKind::Dataset).await;

    for numbers in [0..1, 1..500] {
        store.datasets.append(&id, push(numbers)).await.unwrap();
    }

    assert!(written(dir.path()).is_empty());
    holds(&store, &id, 500).await;
    clock.advance_millis(LONG);
    store.upkeep.run().await.unwrap();
    is_file_of(dir.path(), 500);
}

#[tokio::test]
async fn a_push_of_several_tails_has_an_object_for_each() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let id = given(&store, StorageKind::Dataset).await;

    store.datasets.append(&id, push(0..9000)).await.unwrap();

    assert_eq!(count(dir.path(), "SELECT sum(length(body)) FROM ds_chunk"), 0);
    assert_eq!(written(dir.path()).len(), 3);
    holds(&store, &id, 9000).await;
    store.upkeep.run().await.unwrap();
    assert_eq!(count(dir.path(), "SELECT count(*) FROM ds_segment"), 2);
    holds(&store, &id, 9000).await;
}

#[tokio::test]
async fn items_are_found_between_segments() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let id = given(&store, StorageKind::Dataset).await;
    for part in 0..3 {
        store.datasets.append(&id, push(part * 5000..(part + 1) * 5000)).await.unwrap();
    }
    // As long as this is away, its tail cannot be sealed.
    let is_second = |object: &PathBuf| {
        let lines = zstd::decode_all(fs::read(object).unwrap().as_slice()).unwrap();
        let number = String::from_utf8(lines[5..9].to_vec()).unwrap();
        number.parse().is_ok_and(|number: u32| (3000..6000).contains(&number))
    };
    let second = written(dir.path()).into_iter().find(is_second).unwrap();
    let away = dir.path().join("away");

    fs::rename(&second, &away).unwrap();
    store.upkeep.run().await.unwrap_err();
    fs::rename(&away, &second).unwrap();

    let last_ends = "SELECT max(first) > (SELECT min(first) FROM ds_tail) FROM ds_segment";
    assert_eq!(count(dir.path(), last_ends), 1, "segments lie on either side of the tail");
    holds(&store, &id, 15_000).await;
}

#[tokio::test]
async fn an_object_grows_on_after_a_restart_over_what_a_crash_left_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let random = Arc::default();
    let store = open_with(dir.path(), &clock, &random).await;
    let id = given(&store, StorageKind::Dataset).await;
    store.datasets.append(&id, push(0..400)).await.unwrap();
    drop(store);
    let [object] = written(dir.path()).try_into().unwrap();
    let mut file = OpenOptions::new().append(true).open(&object).unwrap();
    file.write_all(&[7; 100_000]).unwrap();

    let store = open_with(dir.path(), &clock, &random).await;
    holds(&store, &id, 400).await;
    store.datasets.append(&id, push(400..800)).await.unwrap();
    holds(&store, &id, 800).await;
    clock.advance_millis(LONG);
    store.upkeep.run().await.unwrap();

    holds(&store, &id, 800).await;
    is_file_of(dir.path(), 800);
    assert_eq!(written(dir.path()), [object]);
}

#[tokio::test]
async fn the_object_of_a_deleted_dataset_goes() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let id = given(&store, StorageKind::Dataset).await;
    store.datasets.append(&id, push(0..400)).await.unwrap();
    assert_eq!(written(dir.path()).len(), 1);

    store.storages.delete(&id).await.unwrap();
    store.upkeep.run().await.unwrap();
    clock.advance_millis(LONG);
    store.upkeep.run().await.unwrap();

    assert_eq!(count(dir.path(), "SELECT count(*) FROM ds_tail"), 0);
    assert!(written(dir.path()).is_empty());
}
