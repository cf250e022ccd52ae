//! Queues that are long, deleted, or met again after a restart.

use std::path::Path;

use super::*;
use crate::embedded::EmbeddedOptions;

async fn open(dir: &Path, clock: &Arc<StoppedClock>) -> Store {
    let options =
        EmbeddedOptions { clock: clock.clone(), random: Arc::new(ForeseeableRandom::default()), inline: false };
    EmbeddedStore::open(dir, options).await.unwrap()
}

async fn head(store: &Store, queue: &model::StorageId) -> Vec<RequestId> {
    let by = Locker { client_key: Some("a".to_owned()), run: None };
    store.queues.head(queue, 100, &by).await.unwrap().items.iter().map(|item| item.id).collect()
}

#[tokio::test]
async fn order_locks_and_clients_survive_a_restart_and_a_clock_set_back_meanwhile() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(StoppedClock::default()));
    let by = Locker { client_key: Some("a".to_owned()), run: None };
    let store = open(dir.path(), &clock).await;
    let queue = given(&store, StorageKind::RequestQueue).await;
    let requests = (0..4).map(|key| request(key, false, key == 3)).collect();
    store.queues.add(&queue, requests, false, &by).await.unwrap();
    store.queues.lock_head(&queue, 1, 60_000, &by).await.unwrap();
    drop(store);

    clock.advance_millis(-3_600_000);
    let store = open(dir.path(), &clock).await;
    assert_eq!(head(&store, &queue).await, [id(1), id(2), id(3)]);
    store.queues.add(&queue, vec![request(4, false, false)], false, &by).await.unwrap();
    assert_eq!(head(&store, &queue).await, [id(1), id(2), id(3), id(4)]);
    assert!(!store.storages.counters(&queue).await.unwrap().had_multiple_clients);
    clock.advance_millis(59_999);
    assert_eq!(head(&store, &queue).await.len(), 4);
    clock.advance_millis(1);
    assert_eq!(head(&store, &queue).await, [id(1), id(2), id(3), id(4), id(0)]);
    let other = Locker { client_key: Some("b".to_owned()), run: None };
    store.queues.head(&queue, 1, &other).await.unwrap();
    assert!(store.storages.counters(&queue).await.unwrap().had_multiple_clients);
}

/// More than one step of anything that goes on in steps.
const MANY: usize = 2300;

async fn given_many(store: &Store, handled: bool) -> model::StorageId {
    let queue = given(store, StorageKind::RequestQueue).await;
    let requests = (0..MANY).map(|key| request(key, handled, key % 100 == 1)).collect();
    store.queues.add(&queue, requests, false, &Locker::default()).await.unwrap();
    queue
}

#[tokio::test]
async fn all_that_failed_comes_back_in_as_many_steps_as_it_takes() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(StoppedClock::default()));
    let store = open(dir.path(), &clock).await;
    let queue = given_many(&store, true).await;
    let failed = MANY as u64 / 2;
    let counts = StateCounts { pending: 0, locked: 0, handled: MANY as u64, failed };
    assert_eq!(store.queues.stats(&queue).await.unwrap().all(), counts);

    let some = Requeue { limit: Some(700), ..Requeue::default() };
    assert_eq!(store.queues.requeue(&queue, &some).await.unwrap(), 700);
    drop(store);
    let store = open(dir.path(), &clock).await;
    let counts = StateCounts { pending: 700, locked: 0, handled: MANY as u64 - 700, failed: failed - 700 };
    assert_eq!(store.queues.stats(&queue).await.unwrap().all(), counts);
    assert_eq!(store.queues.requeue(&queue, &Requeue::default()).await.unwrap(), failed - 700);
    assert_eq!(store.queues.requeue(&queue, &Requeue::default()).await.unwrap(), 0);

    let counters = store.storages.counters(&queue).await.unwrap();
    assert_eq!((counters.items, counters.handled), (MANY as u64, failed));
    let by = Locker { client_key: Some("a".to_owned()), run: None };
    assert_eq!(store.queues.head(&queue, MANY, &by).await.unwrap().items.len() as u64, failed);
    let bodies: usize = (0..MANY).map(|key| request(key, key % 2 == 0, key % 100 == 1).body.len()).sum();
    assert_eq!(counters.stats.storage_bytes, bodies as u64);
}

#[tokio::test]
async fn what_comes_back_is_added_once_while_others_use_the_queue() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(StoppedClock::default()));
    let store = open(dir.path(), &clock).await;
    let queue = given_many(&store, true).await;
    let by = Locker { client_key: Some("a".to_owned()), run: None };

    let (all, twice, locked) = tokio::join!(
        async { store.queues.requeue(&queue, &Requeue::default()).await.unwrap() },
        async { store.queues.requeue(&queue, &Requeue::default()).await.unwrap() },
        async {
            let mut locked = Vec::new();
            // A crawler that waits for work gets it as soon as it is there.
            while locked.len() < 100 {
                let head = store.queues.lock_head(&queue, 25, 60_000, &by).await.unwrap();
                locked.extend(head.items.into_iter().map(|item| item.id));
            }
            locked
        },
    );

    assert_eq!(all + twice, MANY as u64 / 2);
    let counts = store.queues.stats(&queue).await.unwrap().all();
    let locked = locked.len() as u64;
    assert_eq!((counts.locked, counts.pending), (locked, MANY as u64 / 2 - locked));
}

#[tokio::test]
async fn a_list_gets_past_any_number_of_requests_that_are_not_asked_for() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(StoppedClock::default()));
    let store = open(dir.path(), &clock).await;
    let queue = given(&store, StorageKind::RequestQueue).await;
    let requests = (0..25_000).map(|key| request(key, key != 9, false)).collect();
    store.queues.add(&queue, requests, false, &Locker::default()).await.unwrap();

    for filter in [RequestFilter { pending: true, locked: false }, RequestFilter { pending: true, locked: true }] {
        let (mut found, mut after, mut pages) = (Vec::new(), None::<RequestId>, 0);
        loop {
            let start = after.as_ref().map(RequestId::as_str);
            let page = store.queues.list(&queue, 10, start, filter, None).await.unwrap();
            found.extend(page.items.iter().map(|request| request.id));
            (after, pages) = (page.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!((found, pages), (vec![id(9)], 2));
    }
}

#[tokio::test]
async fn any_number_of_locks_is_given_back_and_those_of_others_stay() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(StoppedClock::default()));
    let store = open(dir.path(), &clock).await;
    let queue = given_many(&store, false).await;
    let run: RunId = fresh();
    let client = |key: &str, run| Locker { client_key: Some(key.to_owned()), run };
    let before = head(&store, &queue).await;
    store.queues.lock_head(&queue, MANY - 100, 60_000, &client("a", None)).await.unwrap();
    store.queues.lock_head(&queue, 40, 60_000, &client("b", Some(run))).await.unwrap();

    assert_eq!(store.queues.unlock_all(&queue, &client("a", None)).await.unwrap(), MANY as u64 - 100);

    assert_eq!(head(&store, &queue).await, before);
    assert_eq!(store.queues.stats(&queue).await.unwrap().all().locked, 40);
    assert_eq!(store.queues.release_run(&run).await.unwrap(), 40);
    assert_eq!(store.queues.stats(&queue).await.unwrap().all().pending, MANY as u64);
}

#[tokio::test]
async fn a_deleted_queue_leaves_no_rows() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(StoppedClock::default()));
    let store = open(dir.path(), &clock).await;
    let (queue, kept) =
        (given(&store, StorageKind::RequestQueue).await, given(&store, StorageKind::RequestQueue).await);
    for queue in [&queue, &kept] {
        let requests = (0..120).map(|key| request(key, key % 3 == 1, key % 2 == 0)).collect();
        store.queues.add(queue, requests, false, &Locker::default()).await.unwrap();
    }

    store.storages.delete(&queue).await.unwrap();
    store.upkeep.run().await.unwrap();
    drop(store);

    let connection = rusqlite::Connection::open(dir.path().join("db.sqlite")).unwrap();
    let count = |table: &str| -> usize {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("rq"), count("rq_body")), (120, 60));
    drop(connection);
    assert_eq!(head(&open(dir.path(), &clock).await, &kept).await.len(), 80);
}
