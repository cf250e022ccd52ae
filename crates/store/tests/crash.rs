//! `kill -9` at any moment loses nothing that was acknowledged, and leaves nothing that nobody knows.
//!
//! The test starts itself again as a child that writes and prints each write once it is acknowledged. The parent reads, kills the
//! child in the middle of it, opens the directory and looks for everything that was printed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use model::push::split_items;
use model::{StorageId, StorageKind, SystemClock};
use playhouse_store::conformance::fixtures::storage;
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};
use playhouse_store::{Content, KeyQuery, NewRecord, RecordBody, Store, Window};

const CHILD_DIR: &str = "PLAYHOUSE_CRASH_TEST_DIR";
const DATASETS: usize = 4;
/// Acknowledgements after which the child is killed, round by round.
const ROUNDS: [usize; 6] = [1, 40, 150, 400, 900, 2000];

/// Differs between processes, as the foreseeable one does not.
#[derive(Debug)]
struct ProcessRandom;

impl model::Random for ProcessRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut source = std::fs::File::open("/dev/urandom").unwrap();
        std::io::Read::read_exact(&mut source, bytes).unwrap();
    }
}

async fn open(dir: &Path) -> Store {
    let options = EmbeddedOptions { clock: Arc::new(SystemClock), random: Arc::new(ProcessRandom), inline: false };
    EmbeddedStore::open(dir, options).await.unwrap()
}

async fn named(store: &Store, kind: StorageKind, name: &str) -> StorageId {
    let mut new = storage(kind, Some(name));
    new.id = StorageId::random(&ProcessRandom);
    store.storages.get_or_create(new).await.unwrap().storage.id
}

/// Items of about a kilobyte, many enough that tails are sealed all the time, and that some have objects from the beginning.
fn items(writer: usize, number: usize) -> String {
    let text = "x".repeat(1000);
    let count = if number.is_multiple_of(5) { 400 } else { 1 + number % 100 };
    let list: Vec<String> =
        (0..count).map(|at| format!("{{\"w\":{writer},\"n\":{number},\"at\":{at},\"t\":\"{text}\"}}")).collect();
    format!("[{}]", list.join(","))
}

fn record(writer: usize, number: usize) -> Bytes {
    // Small ones and objects by turns; the content tells which write it was.
    let size = if number.is_multiple_of(3) { 50_000 } else { 100 };
    format!("{writer}/{number}/{}", "y".repeat(size)).into()
}

/// Writes until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let store = open(Path::new(&dir)).await;
    let kvs = named(&store, StorageKind::KeyValueStore, "records").await;
    let mut writers = Vec::new();
    for writer in 0..DATASETS {
        let dataset = named(&store, StorageKind::Dataset, &format!("dataset-{writer}")).await;
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            let mut number = usize::try_from(store.storages.counters(&dataset).await.unwrap().items).unwrap();
            loop {
                let total = store
                    .datasets
                    .append(&dataset, split_items(items(writer, number).as_bytes()).unwrap())
                    .await
                    .unwrap();
                tell(&format!("push {writer} {number} {total}"));
                let new = NewRecord {
                    key: format!("key-{writer}-{}", number % 5),
                    content_type: "text/plain".to_owned(),
                    content_encoding: None,
                };
                store.records.put(&kvs, new, RecordBody::Whole(record(writer, number))).await.unwrap();
                tell(&format!("put {writer} {number} {}", number % 5));
                number += 1;
            }
        }));
    }
    // They go on until the process is killed.
    futures::future::join_all(writers).await;
}

fn tell(line: &str) {
    // One write, so that a line comes whole or not at all.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_is_there_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    // Items by dataset in the order of their pushes: writer, number, total after it.
    let mut pushes: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    let mut puts: BTreeMap<(usize, usize), usize> = BTreeMap::new();

    for kills_after in ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for (acknowledged, line) in lines.map_while(Result::ok).enumerate() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<usize>().unwrap_or_else(|_| panic!("{line}"));
            match words[0] {
                "push" => pushes.entry(number(1)).or_default().push((number(2), number(3))),
                "put" => {
                    puts.insert((number(1), number(3)), number(2));
                }
                _ => panic!("{line}"),
            }
            if acknowledged + 1 == kills_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let store = open(dir.path()).await;
        check_datasets(&store, &pushes).await;
        check_records(&store, &puts).await;
        check_objects(&store, dir.path()).await;
    }
}

async fn check_datasets(store: &Store, pushes: &BTreeMap<usize, Vec<(usize, usize)>>) {
    for (writer, pushes) in pushes {
        let dataset = named(store, StorageKind::Dataset, &format!("dataset-{writer}")).await;
        let read = store.datasets.read(&dataset, Window::default()).await.unwrap();
        let (total, chunks) = (read.total, read.chunks.try_collect::<Vec<_>>().await.unwrap());
        assert_eq!(total, store.storages.counters(&dataset).await.unwrap().items);
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.lines.to_vec()).collect();
        let lines: Vec<&str> = std::str::from_utf8(&bytes).unwrap().lines().collect();
        assert_eq!(lines.len() as u64, total);
        for (number, end) in pushes {
            let expected = split_items(items(*writer, *number).as_bytes()).unwrap();
            let found = lines[end - expected.len()..*end].iter().map(|line| line.as_bytes());
            assert!(expected.iter().eq(found), "push {number} of {writer}");
        }
    }
}

async fn check_records(store: &Store, puts: &BTreeMap<(usize, usize), usize>) {
    let kvs = named(store, StorageKind::KeyValueStore, "records").await;
    for ((writer, slot), number) in puts {
        let found = store.records.get(&kvs, &format!("key-{writer}-{slot}")).await.unwrap().unwrap();
        let parts: Vec<Bytes> = store.records.open(&found.content, None).await.unwrap().try_collect().await.unwrap();
        let found = String::from_utf8(parts.concat()).unwrap();
        let mut words = found.split('/');
        assert_eq!(words.next(), Some(writer.to_string().as_str()));
        let written: usize = words.next().unwrap().parse().unwrap();
        // A later write may have been committed without its acknowledgement being read.
        assert!(written >= *number, "{written} {number}");
        assert_eq!(found, record(*writer, written));
    }
}

/// No object lies in the directory that no row names, once the rubbish is swept out.
async fn check_objects(store: &Store, dir: &Path) {
    store.upkeep.run().await.unwrap();
    let kvs = named(store, StorageKind::KeyValueStore, "records").await;
    let page = store.records.keys(&kvs, KeyQuery { limit: 1000, ..KeyQuery::default() }).await.unwrap();
    for meta in page.items {
        if let Content::Object { object, .. } = store.records.get(&kvs, &meta.key).await.unwrap().unwrap().content {
            assert!(dir.join("objects").join(&object[..2]).join(&object).is_file(), "{object}");
        }
    }
    store.upkeep.close();

    let database = rusqlite::Connection::open(dir.join("db.sqlite")).unwrap();
    let mut known = database
        .prepare("SELECT object FROM record WHERE object IS NOT NULL UNION SELECT object FROM ds_segment UNION SELECT object FROM ds_tail WHERE object IS NOT NULL UNION SELECT object FROM object_garbage UNION SELECT object FROM object_pending")
        .unwrap();
    let known: BTreeSet<String> = known.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    for shelf in std::fs::read_dir(dir.join("objects")).unwrap() {
        for object in std::fs::read_dir(shelf.unwrap().path()).unwrap() {
            let name = object.unwrap().file_name().into_string().unwrap();
            assert!(known.contains(&name), "{name}");
        }
    }
}
