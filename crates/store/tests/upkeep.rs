//! What is done in the background changes nothing that can be read, and leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dir;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use model::push::split_items;
use model::{Page, StorageId, StorageKind};
use playhouse_store::conformance::fixtures::{ForeseeableRandom, StoppedClock, given, items, lines, numbered};
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};
use playhouse_store::{NewRecord, RecordBody, RunFilter, Store, Window};
use proptest::prelude::*;

use self::dir::{count, objects, open};

async fn put(store: &Store, id: &StorageId, size: usize) {
    let record = NewRecord { key: "key".to_owned(), content_type: "text/plain".to_owned(), content_encoding: None };
    store.records.put(id, record, RecordBody::Whole(vec![b'x'; size].into())).await.unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    /// Pushes that many items of that length.
    Push {
        items: usize,
        length: usize,
    },
    /// Pushes one small item that many times.
    PushSmall {
        times: usize,
    },
    /// Lets the tail go quiet.
    Wait,
    Upkeep,
    Read {
        offset: usize,
        limit: usize,
        desc: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..40_usize, prop_oneof![1..200_usize, 10_000..60_000_usize])
            .prop_map(|(items, length)| Step::Push { items, length }),
        (1..3000_usize).prop_map(|times| Step::PushSmall { times }),
        Just(Step::Wait),
        Just(Step::Upkeep),
        (0..6000_usize, 0..4000_usize, any::<bool>()).prop_map(|(offset, limit, desc)| Step::Read {
            offset,
            limit,
            desc
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dataset_is_a_list_however_pushes_seals_and_reads_mix(steps in prop::collection::vec(step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let clock = Arc::new(StoppedClock::default());
            let store = EmbeddedStore::in_memory(clock.clone(), Arc::new(ForeseeableRandom::default())).unwrap();
            let id = given(&store, StorageKind::Dataset).await;
            let mut model: Vec<String> = Vec::new();
            let mut next = 0;
            let mut item = |length: usize| {
                next += 1;
                format!("{{\"n\":{next},\"t\":\"{}\"}}", "x".repeat(length))
            };
            for step in steps {
                match step {
                    Step::Push { items, length } => {
                        let new: Vec<String> = (0..items).map(|_| item(length)).collect();
                        let push = split_items(format!("[{}]", new.join(",")).as_bytes()).unwrap();
                        model.extend(new);
                        assert_eq!(store.datasets.append(&id, push).await.unwrap(), model.len() as u64);
                    }
                    Step::PushSmall { times } => {
                        for _ in 0..times {
                            let new = item(1);
                            store.datasets.append(&id, items(&new)).await.unwrap();
                            model.push(new);
                        }
                    }
                    Step::Wait => clock.advance_millis(11 * 60 * 1000),
                    Step::Upkeep => store.upkeep.run().await.unwrap(),
                    Step::Read { offset, limit, desc } => {
                        let window = Window { offset: offset as u64, limit: Some(limit as u64), desc };
                        let read = store.datasets.read(&id, window).await.unwrap();
                        assert_eq!(read.total, model.len() as u64);
                        let mut expected = model.clone();
                        if desc {
                            expected.reverse();
                        }
                        let expected: Vec<_> = expected.into_iter().skip(offset).take(limit).collect();
                        assert!(lines(read).await == expected, "{window:?}");
                    }
                }
            }
            for desc in [false, true] {
                let read = store.datasets.read(&id, Window { desc, ..Window::default() }).await.unwrap();
                if desc {
                    model.reverse();
                }
                assert!(lines(read).await == model);
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_every_item_while_others_push_and_tails_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        clock: Arc::new(StoppedClock::default()),
        random: Arc::new(ForeseeableRandom::default()),
        inline: false,
    };
    let store = EmbeddedStore::open(dir.path(), options).await.unwrap();
    let id = given(&store, StorageKind::Dataset).await;
    let pusher = tokio::spawn({
        let store = store.clone();
        async move {
            for push in 0..10_000 {
                store.datasets.append(&id, numbered(push * 3..push * 3 + 3)).await.unwrap();
            }
        }
    });

    let mut reads = 0;
    while !pusher.is_finished() || reads < 3 {
        let desc = reads % 2 == 1;
        let read = store.datasets.read(&id, Window { desc, ..Window::default() }).await.unwrap();
        let total = read.total;
        let read: Vec<_> = read.chunks.try_collect().await.unwrap();
        let mut numbers: Vec<u64> = read
            .iter()
            .flat_map(|chunk| std::str::from_utf8(&chunk.lines).unwrap().lines())
            .map(|line| line[5..line.len() - 1].parse().unwrap())
            .collect();
        if desc {
            numbers.reverse();
        }
        assert!(numbers.into_iter().eq(0..total));
        reads += 1;
    }
    pusher.await.unwrap();
    store.upkeep.run().await.unwrap();
    assert_eq!(count(dir.path(), "SELECT count(*) FROM ds_segment"), 2);
}

#[tokio::test]
async fn only_a_quiet_tail_with_something_in_it_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let (small, large) = (given(&store, StorageKind::Dataset).await, given(&store, StorageKind::Dataset).await);
    store.datasets.append(&small, numbered(0..10)).await.unwrap();
    store.datasets.append(&large, numbered(0..10_000)).await.unwrap();

    store.upkeep.run().await.unwrap();
    assert_eq!(count(dir.path(), "SELECT count(*) FROM ds_segment"), 0);
    clock.advance_millis(11 * 60 * 1000);
    store.upkeep.run().await.unwrap();

    assert_eq!(count(dir.path(), "SELECT count(*) FROM ds_segment"), 1);
    assert_eq!(count(dir.path(), "SELECT count(*) FROM ds_tail"), 1);
    assert_eq!(count(dir.path(), "SELECT sum(n) FROM ds_chunk"), 10);
    store.datasets.append(&large, numbered(10_000..10_001)).await.unwrap();
    assert_eq!(lines(store.datasets.read(&large, Window::default()).await.unwrap()).await.len(), 10_001);
}

#[tokio::test]
async fn a_segment_is_a_file_that_any_zstd_reads() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let id = given(&store, StorageKind::Dataset).await;
    let text = "y".repeat(1000);
    let mut expected = String::new();
    for number in 0..4300 {
        let item = format!("{{\"n\":{number},\"t\":\"{text}\"}}\n");
        store.datasets.append(&id, items(item.trim_end())).await.unwrap();
        expected.push_str(&item);
    }

    store.upkeep.run().await.unwrap();

    let shelf = std::fs::read_dir(dir.path().join("objects")).unwrap().next().unwrap().unwrap();
    let object = std::fs::read_dir(shelf.path()).unwrap().next().unwrap().unwrap();
    let file = std::fs::read(object.path()).unwrap();
    let unpacked = zstd::stream::decode_all(file.as_slice()).unwrap();
    assert!(expected.as_bytes().starts_with(&unpacked));
    assert_eq!(unpacked.iter().filter(|&&byte| byte == b'\n').count(), 4096);
    assert!(file.ends_with(b"PLAYHSEG"));
}

#[tokio::test]
async fn a_page_beside_one_that_was_read_lately_needs_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let id = given(&store, StorageKind::Dataset).await;
    let expected: Vec<String> = (0..4300).map(|n| format!("{{\"n\":{n},\"t\":\"{}\"}}", "y".repeat(1000))).collect();
    for item in &expected {
        store.datasets.append(&id, items(item)).await.unwrap();
    }
    store.upkeep.run().await.unwrap();
    let page = async |offset, limit, desc| {
        let read = store.datasets.read(&id, Window { offset, limit: Some(limit), desc }).await?;
        read.chunks.map_ok(|chunk| chunk.lines.to_vec()).try_concat().await
    };
    let of = |range: std::ops::Range<usize>| (expected[range].join("\n") + "\n").into_bytes();
    assert!(page(1000, 1000, false).await.unwrap() == of(1000..2000));

    std::fs::remove_dir_all(dir.path().join("objects")).unwrap();

    assert!(page(1000, 1000, false).await.unwrap() == of(1000..2000));
    assert!(page(1500, 1, true).await.is_err(), "item 2799 was not read");
    assert!(page(4299 - 1234, 1, true).await.unwrap() == of(1234..1235));
    assert!(page(4000, 10, false).await.is_err());
}

#[tokio::test]
async fn nothing_is_left_of_deleted_storages() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let (kvs, other) =
        (given(&store, StorageKind::KeyValueStore).await, given(&store, StorageKind::KeyValueStore).await);
    let dataset = given(&store, StorageKind::Dataset).await;
    for number in 0..5000 {
        store.datasets.append(&dataset, numbered(number..number + 1)).await.unwrap();
    }
    store.upkeep.run().await.unwrap();
    for (id, size) in [(&kvs, 10), (&kvs, 100_000), (&other, 100_000), (&kvs, 50_000)] {
        put(&store, id, size).await;
    }

    for id in [kvs, dataset] {
        store.storages.delete(&id).await.unwrap();
    }
    store.upkeep.run().await.unwrap();

    for table in ["ds_chunk", "ds_tail", "ds_segment", "ds_columns", "record_body"] {
        assert_eq!(count(dir.path(), &format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    assert_eq!(count(dir.path(), "SELECT count(*) FROM storage"), 1);
    assert_eq!(count(dir.path(), "SELECT count(*) FROM counter"), 1);
    // Objects stay for a while, for those who have opened a record and not begun to read it.
    assert_eq!(objects(dir.path()).len(), 4);
    clock.advance_millis(6 * 60 * 1000);
    store.upkeep.run().await.unwrap();
    assert_eq!(objects(dir.path()).len(), 1);
    assert_eq!(count(dir.path(), "SELECT count(*) FROM object_garbage"), 0);
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_no_object() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock::default());
    let store = open(dir.path(), &clock).await;
    let kvs = given(&store, StorageKind::KeyValueStore).await;
    let record = NewRecord { key: "key".to_owned(), content_type: "text/plain".to_owned(), content_encoding: None };
    let (mut sender, receiver) = futures::channel::mpsc::channel::<std::io::Result<Bytes>>(8);
    sender.try_send(Ok(vec![b'x'; 3_000_000].into())).unwrap();

    let upload = tokio::spawn({
        let store = store.clone();
        async move { store.records.put(&kvs, record, RecordBody::Stream(Box::pin(receiver))).await }
    });
    while objects(dir.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    store.upkeep.run().await.unwrap();

    assert_eq!(objects(dir.path()).len(), 0);
    let spare = count(dir.path(), "SELECT count(*) FROM object_pending");
    drop(store);
    let store = open(dir.path(), &clock).await;
    store.upkeep.run().await.unwrap();
    assert!(spare > 0);
    assert_eq!(count(dir.path(), "SELECT count(*) FROM object_pending"), 0);
}

#[tokio::test]
async fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(dir.path().join("db.sqlite")).unwrap();
    database.pragma_update(None, "user_version", 1000).unwrap();

    for inline in [false, true] {
        let clock = Arc::new(StoppedClock::default());
        let options = EmbeddedOptions { clock, random: Arc::new(ForeseeableRandom::default()), inline };
        let error = EmbeddedStore::open(dir.path(), options).await.unwrap_err();
        let said = format!("{:#}", anyhow::Error::from(error));
        assert!(said.contains("use the version that made it, or a newer one"), "{said}");
    }
    assert_eq!(count(dir.path(), "SELECT count(*) FROM sqlite_schema"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stop_in_the_middle_hold_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, random) = (Arc::new(StoppedClock::default()), Arc::new(ForeseeableRandom::default()));
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions { clock, random, inline: false }).await.unwrap();
    let id = given(&store, StorageKind::Dataset).await;
    let item = format!("{{\"t\":\"{}\"}}", "z".repeat(3000));
    for _ in 0..5 {
        let body = format!("[{}]", vec![item.as_str(); 1000].join(","));
        store.datasets.append(&id, split_items(body.as_bytes()).unwrap()).await.unwrap();
    }
    store.upkeep.run().await.unwrap();
    assert!(count(dir.path(), "SELECT count(*) FROM ds_segment") > 1);

    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(store.datasets.read(&id, Window { offset: 0, limit: None, desc: false }).await.unwrap().chunks);
    }
    // All of them stop at the same places: before a segment, in it, behind it.
    let mut are_over = false;
    while !are_over {
        for reader in &mut readers {
            are_over = reader.try_next().await.unwrap().is_none();
        }
        let other = store.runs.list(RunFilter::default(), Page::default());
        let listed = tokio::time::timeout(Duration::from_secs(30), other).await.expect("it is held up");
        assert_eq!(listed.unwrap().total, 0);
    }
}

#[tokio::test]
async fn columns_of_a_range_are_those_of_its_items_before_and_after_sealing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Arc::new(StoppedClock::default())).await;
    let id = given(&store, StorageKind::Dataset).await;
    let text = "z".repeat(3000);
    for push in 0..5 {
        let pushed: Vec<String> = (0..1000)
            .map(|n| {
                format!("{{\"t\":\"{text}\",\"push\":{{\"{push}\":{{}}}},\"{}\":[1]}}", if n == 7 { push } else { 9 })
            })
            .collect();
        store.datasets.append(&id, split_items(format!("[{}]", pushed.join(",")).as_bytes()).unwrap()).await.unwrap();
    }
    let cases = [
        (0..5000, "0/0 1/0 2/0 3/0 4/0 9/0 push/0 push/1 push/2 push/3 push/4 t"),
        (0..1008, "0/0 1/0 9/0 push/0 push/1 t"),
        (8..4007, "1/0 2/0 3/0 9/0 push/0 push/1 push/2 push/3 push/4 t"),
        (2007..2008, "2/0 push/2 t"),
        (4999..9999, "9/0 push/4 t"),
        (5000..5000, ""),
    ];

    for is_sealed in [false, true] {
        if is_sealed {
            store.upkeep.run().await.unwrap();
            assert!(count(dir.path(), "SELECT count(*) FROM ds_segment") > 1);
            assert!(count(dir.path(), "SELECT count(*) FROM ds_tail") > 0);
        }
        for (range, expected) in cases.clone() {
            assert_eq!(store.datasets.columns(&id, range).await.unwrap().join(" "), expected);
        }
    }
}
