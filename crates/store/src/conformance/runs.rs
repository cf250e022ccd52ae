//! Runs.

use std::sync::Arc;

use bytes::Bytes;
use model::{JobStatus, Origin, Page, Run, RunId, StorageKind};

use super::fixtures::{StoppedClock, fresh, shared, storage, user};
use super::jobs::{at, given_actor, given_run, run, run_of, set_status};
use crate::{Content, JobLog, Locker, NewRecord, Noun, RunFilter, Store, StoreError};

async fn list(store: &Store, filter: &RunFilter, page: Page) -> (u64, Vec<RunId>) {
    let listed = store.runs.list(filter.clone(), page).await.unwrap();
    (listed.total, listed.items.iter().map(|run| run.id).collect())
}

fn of_user() -> RunFilter {
    RunFilter { user: Some(user()), ..RunFilter::default() }
}

pub async fn a_run_is_made_with_its_storages_and_its_input(store: &Store) {
    let actor = given_actor(store, "a").await;
    for size in [10, 100_000] {
        let (run, storages) = run(actor, 1);
        let record =
            NewRecord { key: "INPUT".to_owned(), content_type: "application/json".to_owned(), content_encoding: None };
        let body = Bytes::from("i".repeat(size));

        let created = store.runs.create(run.clone(), storages.clone(), Some((record, body.clone()))).await.unwrap();

        assert_eq!(*created, run);
        assert_eq!(*store.runs.get(&run.id).await.unwrap().unwrap(), run);
        let of_run: Vec<_> = store.storages.of_run(&run.id).await.unwrap().iter().map(|storage| storage.id).collect();
        assert_eq!(of_run, storages.iter().map(|storage| storage.id).collect::<Vec<_>>());
        let input = store.records.get(&run.storages.key_value_store, "INPUT").await.unwrap().unwrap();
        assert_eq!(input.meta.size, size as u64);
        if let Content::Inline(bytes) = &input.content {
            assert_eq!(bytes, &body);
        }
    }
    let without = given_run(store, actor, 1).await;
    let without = store.runs.get(&without).await.unwrap().unwrap();
    assert!(store.records.get(&without.storages.key_value_store, "INPUT").await.unwrap().is_none());
    assert!(store.runs.get(&fresh()).await.unwrap().is_none());
}

pub async fn a_run_that_cannot_be_made_leaves_nothing(store: &Store) {
    let actor = given_actor(store, "a").await;
    store.storages.get_or_create(storage(StorageKind::Dataset, Some("taken"))).await.unwrap();
    let (run, mut storages) = run(actor, 1);
    storages.push(storage(StorageKind::Dataset, Some("taken")));

    let refused = store.runs.create(run.clone(), storages, None).await;

    assert!(matches!(refused, Err(StoreError::NameTaken)));
    assert!(store.runs.get(&run.id).await.unwrap().is_none());
    assert!(store.storages.get(&run.storages.dataset).await.unwrap().is_none());
    assert_eq!(store.actors.stats(&actor).await.unwrap().total_runs, 0);
    assert_eq!(list(store, &of_user(), Page::default()).await, (0, vec![]));
}

pub async fn of_runs_with_one_id_only_the_first_is_made(store: &Store) {
    let actor = given_actor(store, "a").await;
    let (first, _) = run(actor, 1);
    let store_for_all = shared(store);
    let starts: Vec<_> = (0..10)
        .map(|_| {
            let (store, (other, storages)) = (Arc::clone(&store_for_all), run(actor, 1));
            let storages: Vec<_> =
                storages.into_iter().map(|storage| model::Storage { lives_with: Some(first.id), ..storage }).collect();
            let run = Run { id: first.id, storages: other.storages.clone(), ..first.clone() };
            tokio::spawn(async move { store.runs.create(run, storages, None).await })
        })
        .collect();

    let mut made = 0;
    for start in starts {
        match start.await.unwrap() {
            Ok(_) => made += 1,
            Err(StoreError::NameTaken) => {}
            Err(error) => panic!("{error}"),
        }
    }

    assert_eq!(made, 1);
    assert_eq!(list(store, &of_user(), Page::default()).await, (1, vec![first.id]));
    assert_eq!(store.storages.of_run(&first.id).await.unwrap().len(), 3);
    assert_eq!(store.actors.stats(&actor).await.unwrap().total_runs, 1);
}

pub async fn changes_of_a_run_by_many_at_once_are_not_lost(store: &Store) {
    let actor = given_actor(store, "a").await;
    let id = given_run(store, actor, 1).await;
    let store = shared(store);

    let changes: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let charge = |run: &mut Run| {
                    *run.charged_event_counts.entry("event".to_owned()).or_default() += 1;
                    true
                };
                store.runs.modify(&id, Box::new(charge)).await.unwrap();
                assert!(store.runs.get(&id).await.unwrap().unwrap().charged_event_counts["event"] > 0);
            })
        })
        .collect();
    for change in changes {
        change.await.unwrap();
    }

    assert_eq!(store.runs.get(&id).await.unwrap().unwrap().charged_event_counts["event"], 50);
    let refused = |run: &mut Run| {
        run.charged_event_counts.clear();
        false
    };
    let kept = store.runs.modify(&id, Box::new(refused)).await.unwrap();
    assert_eq!(kept.charged_event_counts["event"], 50);
    assert_eq!(store.runs.get(&id).await.unwrap().unwrap().charged_event_counts["event"], 50);
    let unknown = store.runs.modify(&fresh(), Box::new(|_| true)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Run))));
}

pub async fn a_repeated_key_changes_nothing_while_it_is_remembered(store: &Store, clock: &StoppedClock) {
    use model::Clock as _;

    let actor = given_actor(store, "a").await;
    let (first, second) = (given_run(store, actor, 1).await, given_run(store, actor, 1).await);
    let charge = |id: RunId, key: &'static str, keep: bool| {
        let remember_from = clock.now().plus_secs(-180);
        let change = move |run: &mut Run| {
            *run.charged_event_counts.entry("event".to_owned()).or_default() += 1;
            keep
        };
        async move {
            let run = store.runs.modify_once(&id, key, remember_from, Box::new(change)).await.unwrap();
            run.charged_event_counts.get("event").copied().unwrap_or_default()
        }
    };

    assert_eq!(charge(first, "key", false).await, 0, "what is not kept is not remembered");
    assert_eq!(charge(first, "key", true).await, 1);
    assert_eq!(charge(first, "key", true).await, 1);
    assert_eq!(charge(first, "other", true).await, 2);
    assert_eq!(charge(second, "key", true).await, 1, "keys are each run's own");
    clock.advance_millis(180_000);
    assert_eq!(charge(first, "key", true).await, 2);
    clock.advance_millis(1);
    assert_eq!(charge(first, "key", true).await, 3);
}

pub async fn runs_are_listed_by_start_with_ties_by_id(store: &Store) {
    let actor = given_actor(store, "a").await;
    let mut expected = Vec::new();
    for millis in [5, 3, 3, 3, 1, 4, 3] {
        expected.push((millis, given_run(store, actor, millis).await));
    }
    for ((_, id), status) in expected.iter().zip(JobStatus::ALL) {
        set_status(store, id, status).await;
    }
    expected.sort_unstable();

    for desc in [false, true] {
        let mut ids: Vec<_> = expected.iter().map(|(_, id)| *id).collect();
        if desc {
            ids.reverse();
        }
        for limit in [1, 2, 3, 1000] {
            let mut listed = Vec::new();
            for offset in (0..7).step_by(usize::try_from(limit).unwrap()) {
                let (total, page) = list(store, &of_user(), Page { offset, limit, desc }).await;
                assert_eq!(total, 7);
                listed.extend(page);
            }
            assert_eq!(listed, ids);
        }
    }
    assert_eq!(list(store, &of_user(), Page { offset: 7, limit: 1, desc: false }).await, (7, vec![]));
}

pub async fn every_condition_of_a_list_must_hold(store: &Store) {
    let (actor, other_actor) = (given_actor(store, "a").await, given_actor(store, "b").await);
    let (task, stranger) = (fresh(), fresh());
    let mut all = Vec::new();
    for number in 0..64 {
        let (mut run, storages) = run_of(
            if number % 8 == 7 { stranger } else { user() },
            if number % 2 == 0 { actor } else { other_actor },
            number,
        );
        run.task_id = (number % 3 == 0).then_some(task);
        run.status = JobStatus::ALL[usize::try_from(number / 8).unwrap()];
        run.meta.origin = if number % 5 == 0 { Origin::Cli } else { Origin::Api };
        all.push((*store.runs.create(run, storages, None).await.unwrap()).clone());
    }

    let statuses = [vec![], vec![JobStatus::Succeeded], vec![JobStatus::Ready, JobStatus::Aborted, JobStatus::Ready]];
    let mut checked = 0;
    for bits in 0..64u32 {
        for statuses in &statuses {
            let is = |bit: u32| bits & (1 << bit) != 0;
            let filter = RunFilter {
                user: is(0).then(user),
                actor: is(1).then_some(actor),
                task: is(2).then_some(task),
                statuses: statuses.clone(),
                started_after: is(3).then(|| at(5)),
                started_before: is(4).then(|| at(60)),
                origin: is(5).then_some(Origin::Cli),
            };
            let expected: Vec<RunId> = all.iter().filter(|run| matches(&filter, run)).map(|run| run.id).collect();
            checked += expected.len();
            let page = Page { offset: 0, limit: 1000, desc: false };

            assert_eq!(list(store, &filter, page).await, (expected.len() as u64, expected.clone()), "{filter:?}");
            let last = store.runs.last(filter.clone()).await.unwrap().map(|run| run.id);
            assert_eq!(last, expected.last().copied(), "{filter:?}");
        }
    }
    assert!(checked > 1000);
}

fn matches(filter: &RunFilter, run: &Run) -> bool {
    filter.user.is_none_or(|user| user == run.user_id)
        && filter.actor.is_none_or(|actor| actor == run.actor_id)
        && filter.task.is_none_or(|task| Some(task) == run.task_id)
        && (filter.statuses.is_empty() || filter.statuses.contains(&run.status))
        && filter.started_after.is_none_or(|after| run.started_at >= after)
        && filter.started_before.is_none_or(|before| run.started_at <= before)
        && filter.origin.is_none_or(|origin| origin == run.meta.origin)
}

pub async fn totals_follow_every_change(store: &Store) {
    let (actor, other) = (given_actor(store, "a").await, given_actor(store, "b").await);
    let of = |actor, status| RunFilter { actor, statuses: vec![status], ..of_user() };
    let total = |filter: RunFilter| async move { list(store, &filter, Page::default()).await.0 };
    let id = given_run(store, actor, 1).await;
    let second = given_run(store, actor, 2).await;
    assert_eq!(total(of(Some(actor), JobStatus::Ready)).await, 2);

    set_status(store, &id, JobStatus::Running).await;
    assert_eq!(total(of(Some(actor), JobStatus::Ready)).await, 1);
    assert_eq!(total(of(None, JobStatus::Running)).await, 1);

    let metamorph = move |run: &mut Run| {
        run.actor_id = other;
        true
    };
    store.runs.modify(&id, Box::new(metamorph)).await.unwrap();
    assert_eq!(total(of(Some(actor), JobStatus::Running)).await, 0);
    assert_eq!(total(of(Some(other), JobStatus::Running)).await, 1);

    store.runs.delete(&second).await.unwrap();
    assert_eq!(total(of_user()).await, 1);
    assert_eq!(total(RunFilter { actor: Some(actor), ..of_user() }).await, 0);
}

pub async fn runs_that_have_not_ended_are_known(store: &Store) {
    let actor = given_actor(store, "a").await;
    let mut ids = Vec::new();
    for status in JobStatus::ALL {
        let id = given_run(store, actor, 1).await;
        set_status(store, &id, status).await;
        ids.push(id);
    }

    let live: Vec<_> = store.runs.live().await.unwrap().iter().map(|run| run.id).collect();

    assert_eq!(live, ids[..4]);
}

pub async fn a_deleted_run_takes_its_log_and_storages_along(store: &Store) {
    let actor = given_actor(store, "a").await;
    let id = given_run(store, actor, 1).await;
    let run = store.runs.get(&id).await.unwrap().unwrap();
    let kept = store.storages.get_or_create(storage(StorageKind::RequestQueue, None)).await.unwrap().storage.id;
    let log = JobLog::Run(id);
    store.logs.append(&log, "sealed\n").await.unwrap();
    store.logs.seal(&log).await.unwrap();
    store.logs.append(&log, "open\n").await.unwrap();
    let file = store.logs.file(&log).await.unwrap();
    let request = crate::NewRequest {
        id: model::RequestId::of("a"),
        unique_key: "a".to_owned(),
        url: "a".to_owned(),
        method: "GET".to_owned(),
        retry_count: 0,
        handled_at: None,
        body: "{}".into(),
    };
    let by = Locker { client_key: None, run: Some(id) };
    store.queues.add(&kept, vec![request], false, &by).await.unwrap();
    store.queues.lock_head(&kept, 1, 60_000, &by).await.unwrap();

    store.runs.delete(&id).await.unwrap();

    assert!(store.runs.get(&id).await.unwrap().is_none());
    assert_eq!(list(store, &of_user(), Page::default()).await, (0, vec![]));
    for storage in [run.storages.dataset, run.storages.key_value_store, run.storages.request_queue] {
        assert!(store.storages.get(&storage).await.unwrap().is_none());
    }
    assert_eq!(store.logs.len(&log).await.unwrap(), 0);
    assert!(!file.exists());
    assert_eq!(store.queues.head(&kept, 1, &by).await.unwrap().items.len(), 1, "its locks are free");
    assert!(matches!(store.runs.delete(&id).await, Err(StoreError::NotFound(Noun::Run))));
}

pub async fn old_runs_are_those_that_have_ended_but_for_the_newest(store: &Store) {
    let actor = given_actor(store, "a").await;
    let mut ids = Vec::new();
    for millis in 1..=10 {
        let id = given_run(store, actor, millis).await;
        set_status(store, &id, if millis == 2 { JobStatus::Running } else { JobStatus::Succeeded }).await;
        ids.push(id);
    }
    let old = |before, keep, limit| async move { store.runs.old(&user(), at(before), keep, limit).await };

    assert_eq!(old(100, 3, 100).await.unwrap(), [&ids[..1], &ids[2..7]].concat());
    assert_eq!(old(100, 3, 2).await.unwrap(), [ids[0], ids[2]]);
    assert_eq!(old(4, 3, 100).await.unwrap(), [ids[0], ids[2], ids[3]]);
    assert_eq!(old(100, 10, 100).await.unwrap(), []);
    assert_eq!(store.runs.old(&fresh(), at(100), 0, 100).await.unwrap(), []);
}

pub async fn what_a_user_used_is_known_by_day_and_outlives_its_runs(store: &Store, clock: &StoppedClock) {
    use model::Clock as _;

    let actor = given_actor(store, "a").await;
    let id = given_run(store, actor, 1).await;
    let use_up = |reads: u64, units: f64| {
        let change = move |run: &mut Run| {
            run.usage.dataset_reads += reads;
            run.usage.actor_compute_units += units;
            true
        };
        store.runs.modify(&id, Box::new(change))
    };
    let first = clock.now();
    let used = async |from, to| {
        let days = store.runs.used(&user(), from, to).await.unwrap();
        days.iter().map(|(_, used)| (used.usage.dataset_reads, used.usage.actor_compute_units)).collect::<Vec<_>>()
    };
    assert_eq!(used(first, first).await, []);

    use_up(1, 0.5).await.unwrap();
    use_up(2, 0.25).await.unwrap();
    clock.advance_millis(86_400_000);
    use_up(0, 0.0).await.unwrap();
    assert_eq!(used(first, clock.now()).await, [(3, 0.75)], "a day without use is none");
    use_up(4, 0.0).await.unwrap();
    store.runs.delete(&id).await.unwrap();

    assert_eq!(used(first, clock.now()).await, [(3, 0.75), (4, 0.0)]);
    assert_eq!(used(clock.now(), clock.now()).await, [(4, 0.0)]);
    let day = store.runs.used(&user(), first, first).await.unwrap()[0].0;
    assert!(day <= first && first.millis_since(day) < 86_400_000 && day.as_millis() % 86_400_000 == 0);
    assert!(store.runs.used(&fresh(), first, clock.now()).await.unwrap().is_empty());
}
