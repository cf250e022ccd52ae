//! Tasks.

use std::sync::Arc;

use model::{ActorId, GivenOptions, JobStatus, JsonObject, Page, Task, TaskId, UserId};

use super::fixtures::{fresh, shared, user};
use super::jobs::{at, given_actor, run, set_status};
use crate::{Noun, RunFilter, Store, StoreError};

fn task(actor: ActorId, name: &str, millis: i64) -> Task {
    Task::new(fresh(), user(), actor, name, at(millis))
}

pub(super) async fn given_task(store: &Store, actor: ActorId, name: &str) -> TaskId {
    store.tasks.create(task(actor, name, 0)).await.unwrap().id
}

fn input(text: &str) -> Option<JsonObject> {
    JsonObject::parse(text.as_bytes()).unwrap()
}

pub async fn a_task_is_found_by_id_and_by_its_owners_name_in_any_case(store: &Store) {
    let actor = given_actor(store, "a").await;
    let mut mine = task(actor, "My-Task", 0);
    mine.title = Some("Title".to_owned());
    mine.options = GivenOptions { timeout_secs: Some(0), max_total_charge_usd: Some(0.1), ..GivenOptions::default() };
    mine.input = input(r#"{"a":1.50}"#);
    let created = store.tasks.create(mine.clone()).await.unwrap();
    let other = Task { user_id: fresh(), ..task(actor, "my-task", 0) };
    store.tasks.create(other.clone()).await.unwrap();

    assert_eq!(*created, mine);
    assert_eq!(*store.tasks.get(&mine.id).await.unwrap().unwrap(), mine);
    assert_eq!(*store.tasks.find(&user(), "MY-TASK").await.unwrap().unwrap(), mine);
    assert_eq!(store.tasks.find(&other.user_id, "My-Task").await.unwrap().unwrap().id, other.id);
    assert!(store.tasks.find(&user(), "other").await.unwrap().is_none());
    assert!(store.tasks.get(&fresh()).await.unwrap().is_none());
    assert!(matches!(store.tasks.create(task(actor, "my-TASK", 1)).await, Err(StoreError::NameTaken)));
    let orphan = store.tasks.create(task(fresh(), "orphan", 1)).await;
    assert!(matches!(orphan, Err(StoreError::NotFound(Noun::Actor))));
    assert!(store.tasks.find(&user(), "orphan").await.unwrap().is_none());
}

pub async fn a_task_is_changed_whole_or_not_at_all(store: &Store) {
    let (actor, other_actor) = (given_actor(store, "a").await, given_actor(store, "b").await);
    let id = given_task(store, actor, "first").await;
    given_task(store, actor, "taken").await;
    let modify = |change: fn(&mut Task) -> bool| store.tasks.modify(&id, Box::new(change));

    let changed = modify(|task| {
        task.name = "Renamed".to_owned();
        task.input = JsonObject::parse(b"{\"a\":1}").unwrap();
        true
    });
    let changed = changed.await.unwrap();
    assert_eq!(store.tasks.get(&id).await.unwrap().unwrap(), changed);
    assert_eq!(store.tasks.find(&user(), "renamed").await.unwrap().unwrap(), changed);
    assert!(store.tasks.find(&user(), "first").await.unwrap().is_none(), "its old name is free");

    let refused = modify(|task| {
        task.input = None;
        false
    });
    assert_eq!(refused.await.unwrap(), changed);
    let taken = modify(|task| {
        task.name = "TAKEN".to_owned();
        task.input = None;
        true
    });
    assert!(matches!(taken.await, Err(StoreError::NameTaken)));
    assert_eq!(store.tasks.get(&id).await.unwrap().unwrap(), changed);

    let moved = move |task: &mut Task| {
        (task.actor_id, task.user_id) = (other_actor, fresh());
        true
    };
    let moved = store.tasks.modify(&id, Box::new(moved)).await.unwrap();
    assert_eq!((moved.actor_id, moved.user_id), (actor, user()));
    let unknown = store.tasks.modify(&fresh(), Box::new(|_| true)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Task))));

    let store = shared(store);
    let changes: Vec<_> = (0..20)
        .map(|_| {
            let store = Arc::clone(&store);
            let count = |task: &mut Task| {
                task.options.max_items = Some(task.options.max_items.unwrap_or_default() + 1);
                true
            };
            tokio::spawn(async move { store.tasks.modify(&id, Box::new(count)).await.unwrap() })
        })
        .collect();
    for change in changes {
        change.await.unwrap();
    }
    assert_eq!(store.tasks.get(&id).await.unwrap().unwrap().options.max_items, Some(20));
}

pub async fn an_input_of_any_size_comes_back_as_it_was(store: &Store) {
    let actor = given_actor(store, "a").await;
    for (name, size) in [("small", 10), ("large", 5 << 20)] {
        let text = format!(r#"{{"text":"{}","number":1.0e2}}"#, "i".repeat(size));
        let created = Task { input: input(&text), ..task(actor, name, 0) };
        store.tasks.create(created.clone()).await.unwrap();

        for _ in 0..2 {
            assert_eq!(store.tasks.get(&created.id).await.unwrap().unwrap().input, input(&text));
        }
        store.tasks.modify(&created.id, Box::new(|task| task.input.take().is_some())).await.unwrap();
        assert_eq!(store.tasks.get(&created.id).await.unwrap().unwrap().input, None);
    }
}

pub async fn tasks_are_listed_by_creation_without_their_inputs(store: &Store) {
    let actor = given_actor(store, "a").await;
    let mut expected = Vec::new();
    for (number, millis) in [5, 3, 3, 3, 1, 4, 3].into_iter().enumerate() {
        let task = Task { input: input(r#"{"a":1}"#), ..task(actor, &format!("task-{number}"), millis) };
        expected.push((millis, task.id));
        store.tasks.create(task).await.unwrap();
    }
    store.tasks.create(Task { user_id: fresh(), ..task(actor, "strange", 0) }).await.unwrap();
    expected.sort_unstable();

    for desc in [false, true] {
        let mut ids: Vec<_> = expected.iter().map(|(_, id)| *id).collect();
        if desc {
            ids.reverse();
        }
        for limit in [1, 2, 3, 1000] {
            let mut found = Vec::new();
            for offset in (0..8).step_by(usize::try_from(limit).unwrap()) {
                let listed = store.tasks.list(&user(), Page { offset, limit, desc }).await.unwrap();
                assert_eq!((listed.total, store.tasks.count(&user()).await.unwrap()), (7, 7));
                let named = Some((user(), "a".to_owned()));
                assert!(listed.items.iter().all(|item| item.task.input.is_none() && item.total_runs == 0));
                assert!(listed.items.iter().all(|item| item.actor == named));
                found.extend(listed.items.iter().map(|item| item.task.id));
            }
            assert_eq!(found, ids);
        }
    }
    assert_eq!(store.tasks.list(&fresh::<model::kind::User>(), Page::default()).await.unwrap().total, 0);
}

pub async fn runs_of_a_task_are_counted_for_it(store: &Store) {
    let actor = given_actor(store, "a").await;
    let (id, other) = (given_task(store, actor, "one").await, given_task(store, actor, "two").await);
    let start = |task: TaskId, user: UserId| async move {
        let (mut run, storages) = super::jobs::run_of(user, actor, 1);
        run.task_id = Some(task);
        store.runs.create(run, storages, None).await.unwrap().id
    };
    let total = |statuses: Vec<JobStatus>| async move {
        let filter = RunFilter { user: Some(user()), task: Some(id), statuses, ..RunFilter::default() };
        store.runs.list(filter, Page::default()).await.unwrap().total
    };
    let first = start(id, user()).await;
    start(id, user()).await;
    start(other, user()).await;
    start(id, fresh()).await;
    let (without, storages) = run(actor, 1);
    store.runs.create(without, storages, None).await.unwrap();

    assert_eq!((store.tasks.total_runs(&id).await.unwrap(), total(vec![]).await), (3, 2));
    set_status(store, &first, JobStatus::Succeeded).await;
    assert_eq!((total(vec![JobStatus::Succeeded]).await, total(vec![JobStatus::Ready]).await), (1, 1));
    store.runs.delete(&first).await.unwrap();
    assert_eq!((total(vec![]).await, total(vec![JobStatus::Succeeded]).await), (1, 0));
    assert_eq!(store.tasks.total_runs(&id).await.unwrap(), 3, "what was started stays counted");
    let listed = store.tasks.list(&user(), Page::default()).await.unwrap();
    let runs: Vec<_> = listed.items.iter().map(|item| (item.task.name.as_str(), item.total_runs)).collect();
    assert!(runs.contains(&("one", 3)) && runs.contains(&("two", 1)), "{runs:?}");
    assert!(matches!(store.tasks.total_runs(&fresh()).await, Err(StoreError::NotFound(Noun::Task))));
}

pub async fn a_deleted_task_is_gone_and_its_name_is_free(store: &Store) {
    let actor = given_actor(store, "a").await;
    let id = given_task(store, actor, "task").await;
    let (mut of_task, storages) = run(actor, 1);
    of_task.task_id = Some(id);
    let run = store.runs.create(of_task, storages, None).await.unwrap().id;

    store.tasks.delete(&id).await.unwrap();

    assert!(store.tasks.get(&id).await.unwrap().is_none());
    assert!(store.tasks.find(&user(), "task").await.unwrap().is_none());
    assert_eq!(store.tasks.list(&user(), Page::default()).await.unwrap().total, 0);
    assert_eq!(store.tasks.count(&user()).await.unwrap(), 0);
    assert_eq!(store.runs.get(&run).await.unwrap().unwrap().task_id, Some(id), "its runs stay");
    assert!(matches!(store.tasks.delete(&id).await, Err(StoreError::NotFound(Noun::Task))));
    given_task(store, actor, "task").await;
}

pub async fn a_deleted_actor_takes_its_tasks_along(store: &Store) {
    let (actor, other) = (given_actor(store, "a").await, given_actor(store, "b").await);
    let id = given_task(store, actor, "one").await;
    let kept = given_task(store, other, "two").await;
    let stranger: UserId = fresh();
    let strange = Task { user_id: stranger, ..task(actor, "one", 0) };
    let strange = store.tasks.create(strange).await.unwrap().id;

    store.actors.delete(&actor).await.unwrap();

    for id in [id, strange] {
        assert!(store.tasks.get(&id).await.unwrap().is_none());
    }
    assert_eq!(store.tasks.list(&stranger, Page::default()).await.unwrap().total, 0);
    let listed = store.tasks.list(&user(), Page::default()).await.unwrap();
    assert_eq!((listed.total, listed.items[0].task.id), (1, kept));
}
