//! `kill -9` in the middle of a requeue leaves a queue whose counters are right, and the next call does what is left.
//!
//! The test starts itself again as a child that requeues in portions and prints each once it is acknowledged; the parent
//! kills it on the way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use model::{RequestId, Requeue, StorageId, StorageKind, SystemClock, Timestamp};
use playhouse_store::conformance::fixtures::storage;
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};
use playhouse_store::{Locker, NewRequest, Store};

const CHILD_DIR: &str = "PLAYHOUSE_CRASH_QUEUE_DIR";
const REQUESTS: u64 = 6000;
const PORTION: u64 = 250;

/// Differs between processes, as the foreseeable one does not.
#[derive(Debug)]
struct ProcessRandom;

impl model::Random for ProcessRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut source = std::fs::File::open("/dev/urandom").unwrap();
        std::io::Read::read_exact(&mut source, bytes).unwrap();
    }
}

async fn open(dir: &Path) -> (Store, StorageId) {
    let options = EmbeddedOptions { clock: Arc::new(SystemClock), random: Arc::new(ProcessRandom), inline: false };
    let store = EmbeddedStore::open(dir, options).await.unwrap();
    let mut new = storage(StorageKind::RequestQueue, Some("queue"));
    new.id = StorageId::random(&ProcessRandom);
    let queue = store.storages.get_or_create(new).await.unwrap().storage.id;
    (store, queue)
}

fn failed(number: u64) -> NewRequest {
    let url = format!("https://example.com/{number}");
    let end = r#""handledAt":"2026-08-31T09:13:25.000Z","errorMessages":["x"]"#;
    NewRequest {
        id: RequestId::of(&url),
        unique_key: url.clone(),
        url: url.clone(),
        method: "GET".to_owned(),
        retry_count: 0,
        handled_at: Some(Timestamp::from_millis(1)),
        body: format!(r#"{{"uniqueKey":"{url}","url":"{url}",{end}}}"#).into(),
    }
}

/// Requeues until it is killed.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let (store, queue) = open(Path::new(&dir)).await;
    let portion = Requeue { limit: Some(PORTION), ..Requeue::default() };
    while store.queues.requeue(&queue, &portion).await.unwrap() > 0 {
        // One write, so that a line comes whole or not at all.
        let _ = std::io::stderr().write_all(b"requeued\n");
    }
}

#[tokio::test]
async fn a_requeue_that_was_killed_is_taken_up_where_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let (store, queue) = open(dir.path()).await;
    store.queues.add(&queue, (0..REQUESTS).map(failed).collect(), false, &Locker::default()).await.unwrap();
    store.upkeep.close();
    drop(store);
    let mut acknowledged = 0;

    for kills_after in [1, 3, 7] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for (at, line) in lines.map_while(Result::ok).enumerate() {
            assert_eq!(line, "requeued");
            acknowledged += PORTION;
            if at + 1 == kills_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let (store, queue) = open(dir.path()).await;
        let counts = store.queues.stats(&queue).await.unwrap().all();
        let counters = store.storages.counters(&queue).await.unwrap();
        assert!(counts.pending >= acknowledged.min(REQUESTS), "{counts:?} {acknowledged}");
        assert_eq!((counts.total(), counts.handled), (REQUESTS, counts.failed));
        assert_eq!((counters.items, counters.handled), (REQUESTS, counts.handled));
        store.upkeep.close();
    }

    let (store, queue) = open(dir.path()).await;
    let left = store.queues.stats(&queue).await.unwrap().all().failed;
    assert_eq!(store.queues.requeue(&queue, &Requeue::default()).await.unwrap(), left);
    assert_eq!(store.queues.stats(&queue).await.unwrap().all().pending, REQUESTS);
}
