//! Any order of calls to a queue has the outcome that a plain model of the contract foresees (`Q10` to `Q61`).

mod on_disk;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::{RequestId, Requeue, RunId, StateCounts, StorageKind, Timestamp};
use proptest::prelude::*;

use crate::conformance::fixtures::{ForeseeableRandom, StoppedClock, fresh, given};
use crate::embedded::EmbeddedStore;
use crate::{DeleteOutcome, Locker, NewRequest, Noun, RequestFilter, Store, StoreError};

const KEYS: usize = 8;
const START: i64 = 1_790_000_000_000;

#[derive(Clone, Debug)]
enum Call {
    Add { keys: Vec<usize>, handled: bool, forefront: bool, by: usize },
    Update { key: usize, handled: bool, forefront: bool, large: bool, by: usize },
    Delete { keys: Vec<usize>, by: usize },
    LockHead { limit: usize, secs: i64, by: usize },
    Prolong { key: usize, secs: i64, forefront: bool, by: usize },
    Release { key: usize, forefront: bool, by: usize },
    UnlockAll { by: usize },
    ReleaseRun,
    Requeue { keys: Option<Vec<usize>>, limit: Option<u64>, forefront: bool },
    Wait { secs: i64 },
    JumpBack { secs: i64 },
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let (key, by, flag, secs) = (0..KEYS, 0..4usize, any::<bool>(), 1..6i64);
    let keys = prop::collection::vec(key.clone(), 1..5);
    let call = prop_oneof![
        4 => (keys.clone(), prop::bool::weighted(0.1), flag, by.clone())
            .prop_map(|(keys, handled, forefront, by)| Call::Add { keys, handled, forefront, by }),
        3 => (key.clone(), flag, flag, flag, by.clone())
            .prop_map(|(key, handled, forefront, large, by)| Call::Update { key, handled, forefront, large, by }),
        1 => (keys.clone(), by.clone()).prop_map(|(keys, by)| Call::Delete { keys, by }),
        4 => (1..4usize, secs.clone(), by.clone()).prop_map(|(limit, secs, by)| Call::LockHead { limit, secs, by }),
        3 => (key.clone(), secs.clone(), flag, by.clone())
            .prop_map(|(key, secs, forefront, by)| Call::Prolong { key, secs, forefront, by }),
        3 => (key, flag, by.clone()).prop_map(|(key, forefront, by)| Call::Release { key, forefront, by }),
        1 => by.prop_map(|by| Call::UnlockAll { by }),
        1 => Just(Call::ReleaseRun),
        2 => (prop::option::of(keys), prop::option::of(0..4u64), flag)
            .prop_map(|(keys, limit, forefront)| Call::Requeue { keys, limit, forefront }),
        3 => secs.clone().prop_map(|secs| Call::Wait { secs }),
        1 => secs.prop_map(|secs| Call::JumpBack { secs }),
    ];
    prop::collection::vec(call, 1..60)
}

/// Where a request stands among the pending: what is in front is ordered the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    front: bool,
    milli: i64,
    number: u64,
}

impl Place {
    fn rank(self) -> (i64, i64) {
        let number = i64::try_from(self.number).unwrap();
        if self.front { (-self.milli, -number) } else { (self.milli, number) }
    }
}

#[derive(Clone, Debug)]
enum State {
    Pending(Place),
    /// Locked until the first place, which is where it stands afterwards; it came from the second.
    Locked {
        until: Place,
        from: Place,
        by: Locker,
    },
    Handled,
}

#[derive(Clone, Debug)]
struct Request {
    state: State,
    body: Bytes,
}

impl Request {
    fn failed(&self) -> bool {
        matches!(self.state, State::Handled) && String::from_utf8_lossy(&self.body).contains(FAILURE)
    }
}

/// The contract, as plainly as can be said.
#[derive(Clone)]
struct Model {
    requests: BTreeMap<RequestId, Request>,
    /// What the clock shows.
    clock: i64,
    /// Time of the queue: that of the clock, but it never goes back.
    last: i64,
    skew: i64,
    number: u64,
    first_client: Option<Option<String>>,
    many_clients: bool,
    modified_at: i64,
    /// Whether the run has locked something since it was last released: only then its release comes here.
    run_was_here: bool,
}

impl Model {
    fn new(clock: i64) -> Self {
        Self {
            requests: BTreeMap::new(),
            clock,
            last: 0,
            skew: 0,
            number: 0,
            first_client: None,
            many_clients: false,
            modified_at: clock,
            run_was_here: false,
        }
    }

    fn now(&self) -> i64 {
        (self.clock + self.skew).max(self.last)
    }

    /// What every writing call does first.
    fn enter(&mut self, by: Option<&Locker>) {
        self.last = self.now();
        self.skew = self.last - self.clock;
        self.settle();
        if let Some(by) = by {
            self.count_client(by);
        }
    }

    fn count_client(&mut self, by: &Locker) {
        match &self.first_client {
            None => self.first_client = Some(by.client_key.clone()),
            Some(first) => self.many_clients |= by.client_key.is_none() || *first != by.client_key,
        }
    }

    fn touch(&mut self) {
        self.modified_at = self.modified_at.max(self.clock);
    }

    fn place(&mut self, front: bool, milli: i64) -> Place {
        self.number += 1;
        Place { front, milli, number: self.number }
    }

    /// Turns locks that are over into places. A reader does so in a copy: the time that it sees leaves no trace.
    fn settle(&mut self) {
        let now = self.now();
        for request in self.requests.values_mut() {
            if let State::Locked { until, .. } = request.state
                && until.milli <= now
            {
                request.state = State::Pending(until);
            }
        }
    }

    fn head(&self) -> Vec<RequestId> {
        let mut pending: Vec<_> = self
            .requests
            .iter()
            .filter_map(|(id, request)| match request.state {
                State::Pending(place) => Some((place.rank(), *id)),
                _ => None,
            })
            .collect();
        pending.sort_unstable();
        pending.into_iter().map(|(_, id)| id).collect()
    }

    fn is_anothers(&self, id: &RequestId, by: &Locker) -> bool {
        match self.requests.get(id) {
            Some(Request { state: State::Locked { by: holder, .. }, .. }) => !same(holder, by),
            _ => false,
        }
    }

    fn has_locked(&self) -> bool {
        self.requests.values().any(|request| matches!(request.state, State::Locked { .. }))
    }

    fn unlock(&mut self, is_meant: impl Fn(&Locker) -> bool) -> u64 {
        let mut unlocked = 0;
        for request in self.requests.values_mut() {
            if let State::Locked { from, by, .. } = &request.state
                && is_meant(by)
            {
                request.state = State::Pending(*from);
                unlocked += 1;
            }
        }
        if unlocked > 0 {
            self.touch();
        }
        unlocked
    }
}

fn same(holder: &Locker, by: &Locker) -> bool {
    (by.client_key.is_some() && by.client_key == holder.client_key) || (by.run.is_some() && by.run == holder.run)
}

struct Bench {
    store: Store,
    clock: Arc<StoppedClock>,
    queue: model::StorageId,
    model: Model,
    clients: [Locker; 4],
    run: RunId,
    /// Makes the ends of locks differ from each other and from every place, so that no order is left to chance.
    odd: i64,
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::new(StoppedClock::default());
        let store = EmbeddedStore::in_memory(clock.clone(), Arc::new(ForeseeableRandom::default())).unwrap();
        let queue = given(&store, StorageKind::RequestQueue).await;
        let run: RunId = fresh();
        let locker = |key: Option<&str>, run| Locker { client_key: key.map(str::to_owned), run };
        let clients =
            [locker(Some("a"), None), locker(Some("b"), Some(run)), locker(None, Some(run)), locker(None, None)];
        Self { store, clock, queue, model: Model::new(START), clients, run, odd: 0 }
    }

    fn lock_millis(&mut self, secs: i64) -> i64 {
        self.odd += 1;
        secs * 1000 + self.odd
    }

    async fn call(&mut self, call: Call) {
        match call {
            Call::Add { keys, handled, forefront, by } => self.add(&keys, handled, forefront, by).await,
            Call::Update { key, handled, forefront, large, by } => {
                self.update(key, handled, forefront, large, by).await;
            }
            Call::Delete { keys, by } => self.delete(&keys, by).await,
            Call::LockHead { limit, secs, by } => self.lock_head(limit, secs, by).await,
            Call::Prolong { key, secs, forefront, by } => self.prolong(key, secs, forefront, by).await,
            Call::Release { key, forefront, by } => self.release(key, forefront, by).await,
            Call::UnlockAll { by } => {
                let by = self.clients[by].clone();
                let unlocked = self.store.queues.unlock_all(&self.queue, &by).await.unwrap();
                self.model.enter(Some(&by));
                assert_eq!(unlocked, self.model.unlock(|holder| same(holder, &by)));
            }
            Call::ReleaseRun => {
                let run = self.run;
                let released = self.store.queues.release_run(&run).await.unwrap();
                if std::mem::take(&mut self.model.run_was_here) {
                    self.model.enter(None);
                }
                assert_eq!(released, self.model.unlock(|holder| holder.run == Some(run)));
            }
            Call::Requeue { keys, limit, forefront } => self.requeue(keys, limit, forefront).await,
            Call::Wait { secs } => self.advance(secs * 1000),
            Call::JumpBack { secs } => self.advance(-secs * 1000),
        }
        self.check().await;
    }

    fn advance(&mut self, millis: i64) {
        self.clock.advance_millis(millis);
        self.model.clock += millis;
    }

    async fn add(&mut self, keys: &[usize], handled: bool, forefront: bool, by: usize) {
        let by = self.clients[by].clone();
        let requests: Vec<_> = keys.iter().map(|key| request(*key, handled, false)).collect();
        let added = self.store.queues.add(&self.queue, requests.clone(), forefront, &by).await.unwrap();

        self.model.enter(Some(&by));
        for (request, added) in requests.into_iter().zip(added) {
            let there = self.model.requests.get(&request.id);
            assert_eq!(added.id, request.id);
            assert_eq!(added.was_already_present, there.is_some());
            assert_eq!(added.was_already_handled, there.is_some_and(|there| matches!(there.state, State::Handled)));
            if there.is_none() {
                self.put(&request, forefront);
            }
        }
    }

    fn put(&mut self, request: &NewRequest, forefront: bool) {
        let state = match request.handled_at {
            Some(_) => State::Handled,
            None => State::Pending(self.model.place(forefront, self.model.now())),
        };
        self.model.requests.insert(request.id, Request { state, body: request.body.clone() });
        self.model.touch();
    }

    async fn update(&mut self, key: usize, handled: bool, forefront: bool, large: bool, by: usize) {
        let by = self.clients[by].clone();
        let request = request(key, handled, large);
        let updated = self.store.queues.update(&self.queue, request.clone(), forefront, &by).await.unwrap();

        self.model.enter(Some(&by));
        let there = self.model.requests.get(&request.id);
        let state = there.map(|there| &there.state);
        assert_eq!(updated.request.was_already_present, there.is_some());
        assert_eq!(updated.request.was_already_handled, matches!(state, Some(State::Handled)));
        let held = matches!(state, Some(State::Locked { by: holder, .. }) if same(holder, &by));
        assert_eq!(updated.released_lock, held);
        self.put(&request, forefront);
    }

    async fn delete(&mut self, keys: &[usize], by: usize) {
        let by = self.clients[by].clone();
        let ids: Vec<_> = keys.iter().map(|key| id(*key)).collect();
        let outcomes = self.store.queues.delete(&self.queue, &ids, &by).await.unwrap();

        self.model.enter(Some(&by));
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            let expected = if self.model.is_anothers(&id, &by) {
                DeleteOutcome::Locked
            } else if self.model.requests.remove(&id).is_some() {
                self.model.touch();
                DeleteOutcome::Deleted
            } else {
                DeleteOutcome::Absent
            };
            assert_eq!(outcome, expected);
        }
    }

    async fn lock_head(&mut self, limit: usize, secs: i64, by: usize) {
        let by = self.clients[by].clone();
        let millis = self.lock_millis(secs);
        let locked = self.store.queues.lock_head(&self.queue, limit, millis, &by).await.unwrap();

        self.model.enter(Some(&by));
        let mut head = self.model.head();
        head.truncate(limit);
        assert_eq!(locked.items.iter().map(|item| item.id).collect::<Vec<_>>(), head);
        let end = self.model.now() + millis;
        let is_front = |model: &Model, id: &RequestId| {
            matches!(model.requests[id].state, State::Pending(Place { front: true, .. }))
        };
        // The order among themselves is kept: in front, where the newest is first, the last is numbered first.
        let (front, back): (Vec<_>, Vec<_>) = head.iter().partition(|id| is_front(&self.model, id));
        for id in front.into_iter().rev().chain(back) {
            let State::Pending(from) = self.model.requests[id].state else { unreachable!() };
            let until = self.model.place(from.front, end);
            if let Some(request) = self.model.requests.get_mut(id) {
                request.state = State::Locked { until, from, by: by.clone() };
            }
        }
        if !head.is_empty() {
            self.model.run_was_here |= by.run.is_some();
            self.model.touch();
        }
        assert_eq!(locked.lock_expires_at, Timestamp::from_millis(self.model.clock + millis));
        assert_eq!(locked.queue_has_locked_requests, self.model.has_locked());
        assert_eq!(locked.queue.modified_at.as_millis(), self.model.modified_at);
        assert_eq!(locked.queue.had_multiple_clients, self.model.many_clients);
    }

    async fn prolong(&mut self, key: usize, secs: i64, forefront: bool, by: usize) {
        let by = self.clients[by].clone();
        let (id, millis) = (id(key), self.lock_millis(secs));
        let outcome = self.store.queues.prolong(&self.queue, &id, millis, forefront, &by).await;

        self.model.enter(Some(&by));
        let Some(request) = self.model.requests.get(&id).cloned() else {
            assert!(matches!(outcome, Err(StoreError::NotFound(Noun::Request))), "{outcome:?}");
            return;
        };
        let (from, holder) = match request.state {
            State::Pending(place) => (place, by.clone()),
            State::Locked { from, by: holder, .. } if same(&holder, &by) => {
                (from, Locker { client_key: by.client_key.clone().or(holder.client_key), run: by.run.or(holder.run) })
            }
            _ => {
                assert!(matches!(outcome, Err(StoreError::HandledOrLocked)), "{outcome:?}");
                return;
            }
        };
        assert_eq!(outcome.unwrap().as_millis(), self.model.clock + millis);
        self.model.run_was_here |= by.run.is_some();
        let until = self.model.place(forefront, self.model.now() + millis);
        self.model
            .requests
            .insert(id, Request { state: State::Locked { until, from, by: holder }, body: request.body });
        self.model.touch();
    }

    async fn release(&mut self, key: usize, forefront: bool, by: usize) {
        let by = self.clients[by].clone();
        let id = id(key);
        let outcome = self.store.queues.release(&self.queue, &id, forefront, &by).await;

        self.model.enter(Some(&by));
        let Some(request) = self.model.requests.get(&id).cloned() else {
            assert!(matches!(outcome, Err(StoreError::NotFound(Noun::Request))), "{outcome:?}");
            return;
        };
        if self.model.is_anothers(&id, &by) {
            assert!(matches!(outcome, Err(StoreError::HandledOrLocked)), "{outcome:?}");
            return;
        }
        outcome.unwrap();
        if matches!(request.state, State::Locked { .. }) {
            let place = self.model.place(forefront, self.model.now());
            self.model.requests.insert(id, Request { state: State::Pending(place), body: request.body });
            self.model.touch();
        }
    }

    async fn requeue(&mut self, keys: Option<Vec<usize>>, limit: Option<u64>, forefront: bool) {
        let ids = keys.map(|keys| keys.into_iter().map(id).collect());
        let how = Requeue { ids, limit, forefront, ..Requeue::default() };
        let requeued = self.store.queues.requeue(&self.queue, &how).await.unwrap();

        let failed = self.model.requests.iter().filter(|(_, request)| request.failed());
        let is_meant = |id: &RequestId| how.ids.as_ref().is_none_or(|ids| ids.contains(id));
        let meant: Vec<_> = failed.map(|(id, _)| *id).filter(is_meant).collect();
        if limit != Some(0) && (how.ids.is_some() || !meant.is_empty()) {
            self.model.enter(None);
        }
        let meant = &meant[..meant.len().min(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()))];
        assert_eq!(requeued, meant.len() as u64);
        for id in meant {
            let state = State::Pending(self.model.place(forefront, self.model.now()));
            let request = self.model.requests.get_mut(id).unwrap();
            let body = String::from_utf8(request.body.to_vec()).unwrap().replace(FAILURE, "");
            *request = Request { state, body: body.into() };
            self.model.touch();
        }
    }

    /// Whatever can be read is as the model has it.
    async fn check(&mut self) {
        let by = self.clients[0].clone();
        self.model.count_client(&by);
        let mut model = self.model.clone();
        model.settle();
        let queues = &self.store.queues;
        let head = queues.head(&self.queue, 1000, &by).await.unwrap();
        assert_eq!(head.items.iter().map(|item| item.id).collect::<Vec<_>>(), model.head());
        assert_eq!(head.queue.modified_at.as_millis(), model.modified_at);
        assert_eq!(head.queue.had_multiple_clients, model.many_clients);

        let skew = model.now() - model.clock;
        for key in 0..KEYS {
            let stored = queues.get(&self.queue, &id(key)).await.unwrap();
            let expected = model.requests.get(&id(key));
            assert_eq!(stored.is_some(), expected.is_some());
            let (Some(stored), Some(expected)) = (stored, expected) else { continue };
            assert_eq!(stored.body, expected.body);
            let (until, holder) = match &expected.state {
                State::Locked { until, by, .. } => (Some(until.milli - skew), by.client_key.clone()),
                _ => (None, None),
            };
            assert_eq!(stored.lock_expires_at.map(Timestamp::as_millis), until);
            assert_eq!(stored.lock_by, holder);
        }

        for (locked, pending) in [(false, false), (true, false), (false, true), (true, true)] {
            let expected: Vec<_> = model
                .requests
                .iter()
                .filter(|(_, request)| match request.state {
                    State::Pending(_) => pending || !locked,
                    State::Locked { .. } => locked || !pending,
                    State::Handled => !locked && !pending,
                })
                .map(|(id, _)| *id)
                .collect();
            let mut found = Vec::new();
            let mut after: Option<RequestId> = None;
            loop {
                let filter = RequestFilter { locked, pending };
                let page = queues
                    .list(&self.queue, 2, after.as_ref().map(RequestId::as_str), filter, Some(&by))
                    .await
                    .unwrap();
                assert!(page.items.len() == 2 || page.next.is_none());
                found.extend(page.items.iter().map(|request| request.id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected);
        }

        let counters = self.store.storages.counters(&self.queue).await.unwrap();
        let requests = model.requests.values();
        assert_eq!(counters.items, requests.len() as u64);
        let handled = requests.clone().filter(|request| matches!(request.state, State::Handled)).count();
        assert_eq!(counters.handled, handled as u64);
        let bytes = requests.clone().map(|request| request.body.len() as u64).sum::<u64>();
        assert_eq!(counters.stats.storage_bytes, bytes);

        let mut expected = StateCounts::default();
        for request in requests {
            match request.state {
                State::Pending(_) => expected.pending += 1,
                State::Locked { .. } => expected.locked += 1,
                State::Handled => expected.handled += 1,
            }
            expected.failed += u64::from(request.failed());
        }
        let stats = queues.stats(&self.queue).await.unwrap();
        assert_eq!(stats.all(), expected);
        assert_eq!(stats.hosts(1).0.iter().map(|(_, counts)| counts.total()).sum::<u64>(), expected.total());
    }
}

fn unique_key(key: usize) -> String {
    format!("https://example.com/{key}")
}

fn id(key: usize) -> RequestId {
    RequestId::of(&unique_key(key))
}

/// What a handled request with an odd key has in its body: such requests failed.
const FAILURE: &str = r#","handledAt":"2026-08-31T09:13:25.000Z","errorMessages":["x"]"#;

fn request(key: usize, handled: bool, large: bool) -> NewRequest {
    let padding = "x".repeat(if large { 5000 } else { key });
    let url = unique_key(key);
    let end = if handled && key % 2 == 1 { FAILURE } else { "" };
    NewRequest {
        id: id(key),
        unique_key: unique_key(key),
        url: unique_key(key),
        method: "GET".to_owned(),
        retry_count: 0,
        handled_at: handled.then(|| Timestamp::from_millis(START)),
        body: format!(r#"{{"uniqueKey":"{url}","url":"{url}","padding":"{padding}"{end}}}"#).into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_is_as_the_model_of_the_contract_has_it(calls in calls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new().await;
            for call in calls {
                bench.call(call).await;
            }
        });
    }
}
