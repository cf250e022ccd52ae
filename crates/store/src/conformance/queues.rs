//! Request queues.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{RequestId, RunId, StorageId, StorageKind, Timestamp};

use super::fixtures::{StoppedClock, fresh, given, shared};
use crate::{
    Added, DeleteOutcome, Head, HeadItem, Locker, NewRequest, Noun, RequestFilter, Store, StoreError, StoredRequest,
};

const MINUTE: i64 = 60_000;

fn key(name: &str) -> String {
    format!("https://example.com/{name}")
}

fn id(name: &str) -> RequestId {
    RequestId::of(&key(name))
}

fn request(name: &str) -> NewRequest {
    NewRequest {
        id: id(name),
        unique_key: key(name),
        url: key(name),
        method: "GET".to_owned(),
        retry_count: 0,
        handled_at: None,
        body: format!("{{\"uniqueKey\":\"{}\"}}", key(name)).into(),
    }
}

fn handled(name: &str) -> NewRequest {
    NewRequest { handled_at: Some(Timestamp::from_millis(1_790_000_000_000)), ..request(name) }
}

fn client(key: &str) -> Locker {
    Locker { client_key: Some(key.to_owned()), run: None }
}

fn run(run: RunId) -> Locker {
    Locker { client_key: None, run: Some(run) }
}

async fn given_queue(store: &Store) -> StorageId {
    given(store, StorageKind::RequestQueue).await
}

async fn add(store: &Store, queue: &StorageId, names: &[&str], forefront: bool) -> Vec<Added> {
    let requests = names.iter().map(|name| request(name)).collect();
    store.queues.add(queue, requests, forefront, &client("a")).await.unwrap()
}

async fn given_requests(store: &Store, names: &[&str]) -> StorageId {
    let queue = given_queue(store).await;
    add(store, &queue, names, false).await;
    queue
}

fn names(items: &[HeadItem]) -> Vec<String> {
    items.iter().map(|item| item.url.trim_start_matches("https://example.com/").to_owned()).collect()
}

async fn peek(store: &Store, queue: &StorageId) -> Head {
    store.queues.head(queue, 1000, &client("a")).await.unwrap()
}

async fn head(store: &Store, queue: &StorageId) -> Vec<String> {
    names(&peek(store, queue).await.items)
}

async fn lock(store: &Store, queue: &StorageId, limit: usize, by: &Locker) -> Vec<String> {
    names(&store.queues.lock_head(queue, limit, MINUTE, by).await.unwrap().items)
}

async fn get(store: &Store, queue: &StorageId, name: &str) -> StoredRequest {
    store.queues.get(queue, &id(name)).await.unwrap().unwrap()
}

pub async fn requests_come_back_as_they_were_given(store: &Store, _: &StoppedClock) {
    let queue = given_queue(store).await;
    let long = "k".repeat(3000);
    for (name, size) in [("small", 10), ("page", 4000), ("large", 3_000_000), ("é\"\\\u{0}", 1)] {
        let unique_key = format!("{name}{long}");
        let new = NewRequest {
            id: RequestId::of(&unique_key),
            unique_key: unique_key.clone(),
            url: "not a url".to_owned(),
            method: "pOST".to_owned(),
            retry_count: 7,
            handled_at: None,
            body: "b".repeat(size).into(),
        };
        store.queues.add(&queue, vec![new.clone()], true, &client("a")).await.unwrap();

        let found = store.queues.get(&queue, &new.id).await.unwrap().unwrap();
        assert_eq!(found, StoredRequest { id: new.id, body: new.body, lock_expires_at: None, lock_by: None });
        let first = peek(store, &queue).await.items.remove(0);
        let expected =
            HeadItem { id: new.id, unique_key, url: "not a url".to_owned(), method: "pOST".to_owned(), retry_count: 7 };
        assert_eq!(first, expected);
    }
    assert_eq!(store.queues.get(&queue, &id("none")).await.unwrap(), None);
}

pub async fn the_head_is_first_in_first_out_and_last_in_first_out_in_front(store: &Store, clock: &StoppedClock) {
    let queue = given_requests(store, &["a", "b"]).await;

    add(store, &queue, &["p1"], true).await;
    add(store, &queue, &["p2", "p3"], true).await;
    clock.advance_millis(1);
    add(store, &queue, &["c"], false).await;

    assert_eq!(head(store, &queue).await, ["p3", "p2", "p1", "a", "b", "c"]);
    assert_eq!(names(&store.queues.head(&queue, 2, &client("a")).await.unwrap().items), ["p3", "p2"]);
}

pub async fn adding_again_neither_moves_nor_changes_a_request(store: &Store, _: &StoppedClock) {
    let queue = given_requests(store, &["a", "b"]).await;
    store.queues.update(&queue, handled("b"), false, &client("a")).await.unwrap();

    let again = NewRequest { body: "{}".into(), ..request("a") };
    let added = store.queues.add(&queue, vec![again, request("b"), request("c")], true, &client("a")).await.unwrap();

    let flags: Vec<_> = added.iter().map(|added| (added.was_already_present, added.was_already_handled)).collect();
    assert_eq!(flags, [(true, false), (true, true), (false, false)]);
    assert_eq!(added.iter().map(|added| added.id).collect::<Vec<_>>(), [id("a"), id("b"), id("c")]);
    assert_eq!(get(store, &queue, "a").await.body, request("a").body);
    assert_eq!(head(store, &queue).await, ["c", "a"]);
}

pub async fn a_key_that_comes_twice_in_a_batch_is_added_once(store: &Store, _: &StoppedClock) {
    let queue = given_queue(store).await;

    let added = add(store, &queue, &["a", "b", "a"], false).await;

    assert_eq!(added.iter().map(|added| added.was_already_present).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(head(store, &queue).await, ["a", "b"]);
}

pub async fn a_request_added_as_handled_is_never_in_the_head(store: &Store, _: &StoppedClock) {
    let queue = given_queue(store).await;

    let added = store.queues.add(&queue, vec![handled("a")], false, &client("a")).await.unwrap();

    assert_eq!((added[0].was_already_present, added[0].was_already_handled), (false, false));
    assert!(head(store, &queue).await.is_empty());
    let counters = store.storages.counters(&queue).await.unwrap();
    assert_eq!((counters.items, counters.handled), (1, 1));
}

pub async fn of_many_who_add_one_key_only_one_is_the_first(store: &Store, _: &StoppedClock) {
    let queue = given_queue(store).await;
    let store = shared(store);

    let adds: Vec<_> = (0..20)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { add(&store, &queue, &["a", "b"], false).await })
        })
        .collect();
    let mut first = [0, 0];
    for add in adds {
        for (first, added) in first.iter_mut().zip(add.await.unwrap()) {
            *first += u32::from(!added.was_already_present);
        }
    }

    assert_eq!(first, [1, 1]);
    assert_eq!(store.storages.counters(&queue).await.unwrap().items, 2);
}

pub async fn an_update_replaces_or_inserts_and_moves(store: &Store, _: &StoppedClock) {
    let queue = given_requests(store, &["a", "b", "c"]).await;
    let by = client("a");

    let changed = NewRequest { retry_count: 3, body: "{\"new\":1}".into(), ..request("a") };
    let updated = store.queues.update(&queue, changed, false, &by).await.unwrap();
    assert_eq!((updated.request.was_already_present, updated.request.was_already_handled), (true, false));
    assert_eq!(get(store, &queue, "a").await.body, "{\"new\":1}");
    assert_eq!(head(store, &queue).await, ["b", "c", "a"]);
    assert_eq!(peek(store, &queue).await.items[2].retry_count, 3);

    store.queues.update(&queue, request("c"), true, &by).await.unwrap();
    assert_eq!(head(store, &queue).await, ["c", "b", "a"]);

    let inserted = store.queues.update(&queue, request("d"), false, &by).await.unwrap();
    assert_eq!((inserted.request.was_already_present, inserted.request.was_already_handled), (false, false));
    assert_eq!(head(store, &queue).await, ["c", "b", "a", "d"]);
}

pub async fn handled_requests_leave_the_head_and_may_come_back(store: &Store, _: &StoppedClock) {
    let queue = given_requests(store, &["a", "b"]).await;
    let by = client("a");
    let counts = || async {
        let counters = store.storages.counters(&queue).await.unwrap();
        (counters.items, counters.handled)
    };

    for was_handled in [false, true] {
        let updated = store.queues.update(&queue, handled("a"), false, &by).await.unwrap();
        assert_eq!(updated.request.was_already_handled, was_handled);
        assert_eq!(head(store, &queue).await, ["b"]);
        assert_eq!(counts().await, (2, 1));
    }

    let updated = store.queues.update(&queue, request("a"), false, &by).await.unwrap();
    assert!(updated.request.was_already_handled);
    assert_eq!(head(store, &queue).await, ["b", "a"]);
    assert_eq!(counts().await, (2, 0));
}

pub async fn locked_requests_are_seen_by_nobody_until_the_lock_ends(store: &Store, clock: &StoppedClock) {
    let queue = given_requests(store, &["a", "b", "c"]).await;

    let locked = store.queues.lock_head(&queue, 2, MINUTE, &client("a")).await.unwrap();
    assert_eq!(names(&locked.items), ["a", "b"]);
    assert!(locked.queue_has_locked_requests);
    assert_eq!(head(store, &queue).await, ["c"]);
    assert_eq!(lock(store, &queue, 25, &client("b")).await, ["c"]);
    let found = get(store, &queue, "a").await;
    assert_eq!(found.lock_expires_at, Some(locked.lock_expires_at));
    assert_eq!(found.lock_by.as_deref(), Some("a"));

    clock.advance_millis(MINUTE - 1);
    let empty = store.queues.lock_head(&queue, 25, MINUTE, &client("c")).await.unwrap();
    assert!(empty.items.is_empty() && empty.queue_has_locked_requests);
    clock.advance_millis(1);
    assert!(get(store, &queue, "a").await.lock_expires_at.is_none());
    assert!(get(store, &queue, "a").await.lock_by.is_none());
    assert_eq!(head(store, &queue).await, ["a", "b", "c"]);
}

pub async fn an_expired_lock_stands_where_it_ended(store: &Store, clock: &StoppedClock) {
    let queue = given_requests(store, &["a", "b"]).await;
    add(store, &queue, &["p", "q"], true).await;
    assert_eq!(lock(store, &queue, 3, &client("a")).await, ["q", "p", "a"]);

    clock.advance_millis(MINUTE - 1);
    add(store, &queue, &["c"], false).await;
    add(store, &queue, &["r"], true).await;
    clock.advance_millis(2);
    add(store, &queue, &["d"], false).await;
    add(store, &queue, &["s"], true).await;

    assert_eq!(head(store, &queue).await, ["s", "q", "p", "r", "b", "c", "a", "d"]);
}

pub async fn whether_anything_is_locked_is_exact(store: &Store, clock: &StoppedClock) {
    let queue = given_requests(store, &["a"]).await;
    add(store, &queue, &["p"], true).await;
    let has_locked =
        || async { store.queues.lock_head(&queue, 0, MINUTE, &client("x")).await.unwrap().queue_has_locked_requests };

    assert!(!has_locked().await);
    assert_eq!(lock(store, &queue, 1, &client("a")).await, ["p"]);
    assert!(has_locked().await, "a lock in front counts");
    store.queues.update(&queue, handled("p"), false, &client("a")).await.unwrap();
    assert!(!has_locked().await, "a handled request has no lock");
    assert_eq!(lock(store, &queue, 1, &client("a")).await, ["a"]);
    assert!(has_locked().await);
    clock.advance_millis(MINUTE);
    assert!(!has_locked().await, "an expired lock does not count");
}

pub async fn two_clients_never_get_the_same_request(store: &Store, _: &StoppedClock) {
    let queue = given_queue(store).await;
    let all: Vec<String> = (0..200).map(|number| format!("r{number}")).collect();
    for batch in all.chunks(25) {
        add(store, &queue, &batch.iter().map(String::as_str).collect::<Vec<_>>(), false).await;
    }
    let store = shared(store);

    let lockers: Vec<_> = (0..16)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let by = client(&format!("client{number}"));
                let mut mine = Vec::new();
                loop {
                    let locked = lock(&store, &queue, 7, &by).await;
                    if locked.is_empty() {
                        return mine;
                    }
                    mine.extend(locked);
                }
            })
        })
        .collect();
    let mut given = Vec::new();
    for locker in lockers {
        given.extend(locker.await.unwrap());
    }

    assert_eq!(given.len(), 200);
    assert_eq!(given.into_iter().collect::<BTreeSet<_>>(), all.into_iter().collect());
}

pub async fn a_lock_is_prolonged_by_its_holder_only(store: &Store, clock: &StoppedClock) {
    let queue = given_requests(store, &["a", "b"]).await;
    lock(store, &queue, 1, &client("a")).await;
    let prolong = |name: &'static str, by: Locker| async move {
        store.queues.prolong(&queue, &id(name), 2 * MINUTE, false, &by).await
    };

    let until = prolong("a", client("a")).await.unwrap();
    assert_eq!(get(store, &queue, "a").await.lock_expires_at, Some(until));
    for other in [client("b"), run(fresh()), Locker::default()] {
        assert!(matches!(prolong("a", other.clone()).await, Err(StoreError::HandledOrLocked)));
        let release = store.queues.release(&queue, &id("a"), false, &other).await;
        assert!(matches!(release, Err(StoreError::HandledOrLocked)));
        let deleted = store.queues.delete(&queue, &[id("a")], &other).await.unwrap();
        assert_eq!(deleted, [DeleteOutcome::Locked]);
    }

    // Nobody holds these: the one expired, the other was never locked.
    clock.advance_millis(2 * MINUTE);
    prolong("a", client("b")).await.unwrap();
    prolong("b", client("b")).await.unwrap();
    assert_eq!(get(store, &queue, "b").await.lock_by.as_deref(), Some("b"));
    assert!(head(store, &queue).await.is_empty());

    store.queues.update(&queue, handled("a"), false, &client("b")).await.unwrap();
    assert!(matches!(prolong("a", client("b")).await, Err(StoreError::HandledOrLocked)));
    assert!(matches!(prolong("none", client("b")).await, Err(StoreError::NotFound(Noun::Request))));
}

pub async fn a_prolonged_lock_ends_where_the_last_call_wants_it(store: &Store, clock: &StoppedClock) {
    let queue = given_requests(store, &["a", "b", "c"]).await;
    add(store, &queue, &["p"], true).await;
    lock(store, &queue, 2, &client("a")).await;

    store.queues.prolong(&queue, &id("a"), MINUTE, true, &client("a")).await.unwrap();
    store.queues.prolong(&queue, &id("p"), MINUTE, false, &client("a")).await.unwrap();
    clock.advance_millis(MINUTE);

    assert_eq!(head(store, &queue).await, ["a", "b", "c", "p"]);
}

pub async fn the_run_of_a_holder_is_a_holder_too(store: &Store, _: &StoppedClock) {
    let queue = given_requests(store, &["a"]).await;
    let id_of_run = fresh();
    let by = Locker { client_key: Some("a".to_owned()), run: Some(id_of_run) };
    lock(store, &queue, 1, &by).await;

    store.queues.prolong(&queue, &id("a"), MINUTE, false, &run(id_of_run)).await.unwrap();
    assert_eq!(get(store, &queue, "a").await.lock_by.as_deref(), Some("a"));
    store.queues.prolong(&queue, &id("a"), MINUTE, false, &client("a")).await.unwrap();
    store.queues.release(&queue, &id("a"), false, &run(id_of_run)).await.unwrap();
    assert_eq!(head(store, &queue).await, ["a"]);
}

pub async fn a_request_is_given_back_to_the_end_or_the_front(store: &Store, _: &StoppedClock) {
    let queue = given_requests(store, &["a", "b", "c"]).await;
    let by = client("a");
    lock(store, &queue, 2, &by).await;

    store.queues.release(&queue, &id("a"), false, &by).await.unwrap();
    assert_eq!(head(store, &queue).await, ["c", "a"]);
    store.queues.release(&queue, &id("b"), true, &by).await.unwrap();
    assert_eq!(head(store, &queue).await, ["b", "c", "a"]);

    // Not locked, or handled: nothing happens.
    let before = store.storages.counters(&queue).await.unwrap();
    store.queues.release(&queue, &id("c"), true, &by).await.unwrap();
    assert_eq!(head(store, &queue).await, ["b", "c", "a"]);
    assert_eq!(store.storages.counters(&queue).await.unwrap().modified_at, before.modified_at);
    store.queues.update(&queue, handled("c"), false, &by).await.unwrap();
    store.queues.release(&queue, &id("c"), true, &by).await.unwrap();
    assert_eq!(head(store, &queue).await, ["b", "a"]);
    let unknown = store.queues.release(&queue, &id("none"), true, &by).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Request))));
}

pub async fn an_update_takes_any_lock_away(store: &Store, _: &StoppedClock) {
    let queue = given_requests(store, &["a", "b"]).await;
    lock(store, &queue, 1, &client("a")).await;

    store.queues.update(&queue, request("a"), false, &client("b")).await.unwrap();

    assert_eq!(get(store, &queue, "a").await.lock_expires_at, None);
    assert_eq!(head(store, &queue).await, ["b", "a"]);
}

pub async fn unlocking_all_puts_everything_back_where_it_was(store: &Store, clock: &StoppedClock) {
    let queue = given_requests(store, &["a", "b", "c", "d"]).await;
    add(store, &queue, &["p"], true).await;
    let id_of_run = fresh();
    lock(store, &queue, 2, &client("a")).await;
    lock(store, &queue, 1, &run(id_of_run)).await;
    lock(store, &queue, 1, &client("b")).await;
    clock.advance_millis(10);
    assert_eq!(head(store, &queue).await, ["d"]);

    assert_eq!(store.queues.unlock_all(&queue, &Locker::default()).await.unwrap(), 0);
    let by = Locker { client_key: Some("a".to_owned()), run: Some(id_of_run) };
    assert_eq!(store.queues.unlock_all(&queue, &by).await.unwrap(), 3);
    assert_eq!(head(store, &queue).await, ["p", "a", "b", "d"]);
    assert_eq!(store.queues.unlock_all(&queue, &by).await.unwrap(), 0);

    clock.advance_millis(MINUTE);
    assert_eq!(store.queues.unlock_all(&queue, &client("b")).await.unwrap(), 0, "its lock has expired");
}

pub async fn the_locks_of_a_run_die_with_it_in_every_queue(store: &Store, _: &StoppedClock) {
    let queues = [given_requests(store, &["a", "b"]).await, given_requests(store, &["a", "b"]).await];
    let gone = given_requests(store, &["a"]).await;
    let (mine, other): (RunId, RunId) = (fresh(), fresh());
    for queue in &queues {
        lock(store, queue, 1, &run(mine)).await;
        lock(store, queue, 1, &run(other)).await;
    }
    lock(store, &gone, 1, &run(mine)).await;
    store.storages.delete(&gone).await.unwrap();

    assert_eq!(store.queues.release_run(&mine).await.unwrap(), 2);

    for queue in &queues {
        assert_eq!(head(store, queue).await, ["a"]);
    }
    assert_eq!(store.queues.release_run(&mine).await.unwrap(), 0);
    assert_eq!(store.queues.release_run(&fresh()).await.unwrap(), 0);
    lock(store, &queues[0], 1, &run(mine)).await;
    assert_eq!(store.queues.release_run(&mine).await.unwrap(), 1, "a resurrected run locks again");
}

pub async fn deleted_requests_are_gone_and_may_come_anew(store: &Store, _: &StoppedClock) {
    let queue = given_requests(store, &["a", "b", "c"]).await;
    store.queues.update(&queue, handled("b"), false, &client("a")).await.unwrap();

    let deleted = store.queues.delete(&queue, &[id("b"), id("none"), id("a"), id("a")], &client("a")).await.unwrap();

    use DeleteOutcome::{Absent, Deleted};
    assert_eq!(deleted, [Deleted, Absent, Deleted, Absent]);
    assert_eq!(head(store, &queue).await, ["c"]);
    let counters = store.storages.counters(&queue).await.unwrap();
    assert_eq!((counters.items, counters.handled), (1, 0));
    assert!(!add(store, &queue, &["a"], false).await[0].was_already_present);
    assert_eq!(head(store, &queue).await, ["c", "a"]);
}

pub async fn lists_go_by_id_with_filters_and_never_end_early(store: &Store, clock: &StoppedClock) {
    let all = ["a", "b", "c", "d", "e", "f", "g"];
    let queue = given_requests(store, &all).await;
    let by = client("a");
    store.queues.update(&queue, handled("c"), false, &by).await.unwrap();
    lock(store, &queue, 2, &by).await;
    let list = |filter: RequestFilter, limit: usize| async move {
        let mut ids = Vec::new();
        let mut after: Option<RequestId> = None;
        loop {
            let after_id = after.as_ref().map(RequestId::as_str);
            let page = store.queues.list(&queue, limit, after_id, filter, None).await.unwrap();
            assert!(page.items.len() <= limit);
            ids.extend(page.items.iter().map(|request| request.id));
            if page.next.is_none() {
                return ids;
            }
            after = page.next;
        }
    };
    let sorted =
        |names: &[&str]| names.iter().map(|name| id(name)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    let (locked, pending) = (true, true);
    let none = RequestFilter::default();

    for limit in [1, 2, 3, 7, 100] {
        assert_eq!(list(none, limit).await, sorted(&all));
        assert_eq!(list(RequestFilter { locked, ..none }, limit).await, sorted(&["a", "b"]));
        assert_eq!(list(RequestFilter { pending, ..none }, limit).await, sorted(&["d", "e", "f", "g"]));
        let both = RequestFilter { locked, pending };
        assert_eq!(list(both, limit).await, sorted(&["a", "b", "d", "e", "f", "g"]));
    }
    let page = store.queues.list(&queue, 10, Some("zzz"), none, None).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
    clock.advance_millis(MINUTE);
    assert!(list(RequestFilter { locked, ..none }, 10).await.is_empty());
}

pub async fn a_second_client_is_remembered(store: &Store, _: &StoppedClock) {
    let had_many =
        |queue: StorageId| async move { store.storages.counters(&queue).await.unwrap().had_multiple_clients };

    let queue = given_requests(store, &["a"]).await;
    peek(store, &queue).await;
    lock(store, &queue, 1, &client("a")).await;
    store.queues.list(&queue, 1, None, RequestFilter::default(), None).await.unwrap();
    assert!(!had_many(queue).await, "one constant key");
    let refused = store.queues.prolong(&queue, &id("a"), MINUTE, false, &client("b")).await;
    assert!(refused.is_err() && had_many(queue).await, "a client that is refused is a client");
    assert!(peek(store, &queue).await.queue.had_multiple_clients);

    for nameless in [Locker::default(), run(fresh())] {
        let queue = given_queue(store).await;
        store.queues.head(&queue, 1, &nameless).await.unwrap();
        assert!(!had_many(queue).await, "the first");
        let head = store.queues.head(&queue, 1, &nameless).await.unwrap();
        assert!(head.queue.had_multiple_clients, "without a key every call is another client");
        peek(store, &queue).await;
        assert!(had_many(queue).await, "for ever");
    }
}

pub async fn only_changes_move_the_time_of_change(store: &Store, clock: &StoppedClock) {
    let queue = given_requests(store, &["a", "b"]).await;
    let by = client("a");
    let mut last = peek(store, &queue).await.queue.modified_at;
    let mut changed = async |what: &str, expected: bool| {
        let now = store.storages.counters(&queue).await.unwrap().modified_at;
        assert_eq!(now > last, expected, "{what}");
        last = now;
        clock.advance_millis(10);
    };
    clock.advance_millis(10);

    peek(store, &queue).await;
    store.queues.get(&queue, &id("a")).await.unwrap();
    store.queues.list(&queue, 10, None, RequestFilter::default(), Some(&client("b"))).await.unwrap();
    changed("reads", false).await;
    add(store, &queue, &["a"], false).await;
    changed("adding what is there", false).await;
    add(store, &queue, &["c"], false).await;
    changed("adding", true).await;
    lock(store, &queue, 1, &by).await;
    changed("locking", true).await;
    store.queues.prolong(&queue, &id("a"), MINUTE, false, &by).await.unwrap();
    changed("prolonging", true).await;
    store.queues.release(&queue, &id("a"), false, &by).await.unwrap();
    changed("giving back", true).await;
    store.queues.unlock_all(&queue, &by).await.unwrap();
    changed("unlocking nothing", false).await;
    lock(store, &queue, 25, &by).await;
    changed("locking all", true).await;
    lock(store, &queue, 25, &by).await;
    changed("locking nothing", false).await;
    store.queues.unlock_all(&queue, &by).await.unwrap();
    changed("unlocking", true).await;
    store.queues.update(&queue, handled("a"), false, &by).await.unwrap();
    changed("updating", true).await;
    store.queues.delete(&queue, &[id("none")], &by).await.unwrap();
    changed("deleting nothing", false).await;
    store.queues.delete(&queue, &[id("a")], &by).await.unwrap();
    changed("deleting", true).await;
}

pub async fn queue_operations_are_counted(store: &Store, _: &StoppedClock) {
    let queue = given_requests(store, &["a", "b"]).await;
    let by = client("a");
    let stats = || async { store.storages.counters(&queue).await.unwrap().stats };
    assert_eq!(stats().await.write_count, 2);

    add(store, &queue, &["a"], false).await;
    assert_eq!(stats().await.write_count, 3, "what is there counts too");
    lock(store, &queue, 2, &by).await;
    lock(store, &queue, 2, &by).await;
    assert_eq!(stats().await.write_count, 5);
    store.queues.prolong(&queue, &id("a"), MINUTE, false, &by).await.unwrap();
    store.queues.update(&queue, handled("a"), false, &by).await.unwrap();
    assert_eq!(stats().await.write_count, 7);
    store.queues.delete(&queue, &[id("a")], &by).await.unwrap();
    assert_eq!((stats().await.write_count, stats().await.delete_count), (8, 1));
    assert_eq!(stats().await.storage_bytes, request("b").body.len() as u64);
}

pub async fn a_queue_goes_on_when_the_clock_jumps_back(store: &Store, clock: &StoppedClock) {
    let queue = given_requests(store, &["a", "b"]).await;
    let by = client("a");
    lock(store, &queue, 1, &by).await;

    clock.advance_millis(-60 * MINUTE);
    add(store, &queue, &["c"], false).await;
    assert_eq!(head(store, &queue).await, ["b", "c"]);
    clock.advance_millis(MINUTE - 1);
    assert_eq!(head(store, &queue).await, ["b", "c"]);
    clock.advance_millis(1);
    assert_eq!(head(store, &queue).await, ["b", "c", "a"], "the lock was as long as it was meant to be");
    clock.advance_millis(1);
    add(store, &queue, &["d"], false).await;
    assert_eq!(lock(store, &queue, 25, &by).await, ["b", "c", "a", "d"]);
}

pub async fn an_unknown_or_deleted_queue_is_not_found(store: &Store, _: &StoppedClock) {
    let deleted = given_requests(store, &["a"]).await;
    store.storages.delete(&deleted).await.unwrap();
    let dataset = given(store, StorageKind::Dataset).await;
    let by = client("a");

    for queue in [&deleted, &fresh(), &dataset] {
        let is_unknown = |error: StoreError| matches!(error, StoreError::NotFound(Noun::Storage));
        assert!(is_unknown(store.queues.add(queue, vec![request("b")], false, &by).await.unwrap_err()));
        assert!(is_unknown(store.queues.get(queue, &id("a")).await.unwrap_err()));
        assert!(is_unknown(store.queues.update(queue, request("b"), false, &by).await.unwrap_err()));
        assert!(is_unknown(store.queues.delete(queue, &[id("a")], &by).await.unwrap_err()));
        assert!(is_unknown(store.queues.head(queue, 1, &by).await.unwrap_err()));
        assert!(is_unknown(store.queues.lock_head(queue, 1, 1, &by).await.unwrap_err()));
        assert!(is_unknown(store.queues.prolong(queue, &id("a"), 1, false, &by).await.unwrap_err()));
        assert!(is_unknown(store.queues.release(queue, &id("a"), false, &by).await.unwrap_err()));
        assert!(is_unknown(store.queues.unlock_all(queue, &by).await.unwrap_err()));
        let filter = RequestFilter::default();
        assert!(is_unknown(store.queues.list(queue, 1, None, filter, None).await.unwrap_err()));
    }
}
