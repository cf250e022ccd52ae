//! Schedules.

use std::sync::Arc;

use model::schedule::{
    LogLevel, MAX_LOG_ENTRIES, Schedule, ScheduleAction, ScheduleLogEntry, ScheduleState, ScheduleTarget,
    ScheduledInput,
};
use model::{JsonObject, Page, ScheduleId};

use super::fixtures::{fresh, shared, user};
use super::jobs::at;
use crate::{Noun, ScheduleNote, Store, StoreError};

/// A schedule of the user of most cases, without actions.
pub fn schedule(name: &str, millis: i64) -> Schedule {
    Schedule {
        id: fresh(),
        user_id: user(),
        name: name.to_owned(),
        title: None,
        description: None,
        is_enabled: true,
        is_exclusive: true,
        cron_expression: "* * * * *".to_owned(),
        timezone: "UTC".to_owned(),
        notify_by_email: false,
        actions: vec![],
        token_id: None,
        created_at: at(millis),
        modified_at: at(millis),
    }
}

async fn given_schedule(store: &Store, name: &str, next: Option<i64>) -> ScheduleId {
    store.schedules.create(schedule(name, 0), next.map(at)).await.unwrap().schedule.id
}

fn entry(message: &str) -> ScheduleLogEntry {
    ScheduleLogEntry { message: message.to_owned(), level: LogLevel::Info, created_at: at(0) }
}

fn actions(size: usize) -> Vec<ScheduleAction> {
    let object = JsonObject::parse(format!(r#"{{"a":1.50,"text":"{}"}}"#, "i".repeat(size)).as_bytes()).unwrap();
    let body = ScheduledInput::Body { body: "b".repeat(size), content_type: "text/plain".to_owned() };
    let of_actor = ScheduleTarget::RunActor { actor_id: fresh(), run_options: None };
    let of_task = ScheduleTarget::RunActorTask { actor_task_id: fresh() };
    vec![
        ScheduleAction { id: fresh(), target: of_actor.clone(), input: Some(body) },
        ScheduleAction { id: fresh(), target: of_actor, input: None },
        ScheduleAction { id: fresh(), target: of_task, input: object.map(ScheduledInput::Object) },
    ]
}

pub async fn a_schedule_is_found_by_id_and_by_its_owners_name_in_any_case(store: &Store) {
    let mine = Schedule { actions: actions(10), title: Some("T".to_owned()), ..schedule("My-Schedule", 0) };
    let created = store.schedules.create(mine.clone(), Some(at(5))).await.unwrap();
    let other = Schedule { user_id: fresh(), ..schedule("my-schedule", 0) };
    store.schedules.create(other.clone(), None).await.unwrap();

    assert_eq!(*created.schedule, mine);
    assert_eq!(created.state, ScheduleState { next_run_at: Some(at(5)), ..ScheduleState::default() });
    assert_eq!(store.schedules.get(&mine.id).await.unwrap().unwrap(), created);
    assert_eq!(store.schedules.find(&user(), "MY-SCHEDULE").await.unwrap().unwrap(), created);
    let found = store.schedules.find(&other.user_id, "my-schedule").await.unwrap().unwrap();
    assert_eq!((found.schedule.id, found.state.next_run_at), (other.id, None));
    assert!(store.schedules.find(&user(), "other").await.unwrap().is_none());
    assert!(store.schedules.get(&fresh()).await.unwrap().is_none());
    let twice = store.schedules.create(schedule("my-SCHEDULE", 1), None).await;
    assert!(matches!(twice, Err(StoreError::NameTaken)));
}

pub async fn inputs_of_actions_of_any_size_come_back_and_are_in_no_list(store: &Store) {
    let large = Schedule { actions: actions(3 << 20), ..schedule("large", 0) };
    let id = store.schedules.create(large.clone(), None).await.unwrap().schedule.id;

    assert_eq!(*store.schedules.get(&id).await.unwrap().unwrap().schedule, large);
    let listed = store.schedules.list(&user(), Page::default()).await.unwrap();
    let listed = &listed.items[0].schedule.actions;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().zip(&large.actions).all(|(listed, action)| {
        listed.input.is_none() && (listed.id, &listed.target) == (action.id, &action.target)
    }));

    let shorten = |schedule: &mut Schedule, _: &mut ScheduleState| {
        schedule.actions.truncate(2);
        schedule.actions[0].input = None;
        true
    };
    store.schedules.modify(&id, Box::new(shorten)).await.unwrap();
    let kept = store.schedules.get(&id).await.unwrap().unwrap();
    assert!(kept.schedule.actions.len() == 2 && kept.schedule.actions.iter().all(|action| action.input.is_none()));
}

pub async fn a_schedule_is_changed_whole_or_not_at_all(store: &Store) {
    let id = given_schedule(store, "first", Some(1)).await;
    given_schedule(store, "taken", None).await;
    type Change = fn(&mut Schedule, &mut ScheduleState) -> bool;
    let modify = |change: Change| store.schedules.modify(&id, Box::new(change));

    let changed = modify(|schedule, state| {
        schedule.name = "Renamed".to_owned();
        schedule.user_id = fresh();
        state.next_run_at = None;
        true
    });
    let changed = changed.await.unwrap();
    assert_eq!((changed.schedule.user_id, changed.state.next_run_at), (user(), None));
    assert_eq!(store.schedules.get(&id).await.unwrap().unwrap(), changed);
    assert_eq!(store.schedules.find(&user(), "renamed").await.unwrap().unwrap(), changed);
    assert!(store.schedules.find(&user(), "first").await.unwrap().is_none(), "its old name is free");
    assert_eq!(store.schedules.next_due().await.unwrap(), None);

    let refused = modify(|schedule, state| {
        schedule.is_enabled = false;
        state.next_run_at = Some(at(1));
        false
    });
    assert_eq!(refused.await.unwrap(), changed);
    let taken = modify(|schedule, _| {
        schedule.name = "TAKEN".to_owned();
        true
    });
    assert!(matches!(taken.await, Err(StoreError::NameTaken)));
    assert_eq!(store.schedules.get(&id).await.unwrap().unwrap(), changed);
    let unknown = store.schedules.modify(&fresh(), Box::new(|_, _| true)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Schedule))));
}

pub async fn schedules_are_listed_by_creation(store: &Store) {
    let mut expected = Vec::new();
    for (number, millis) in [5, 3, 3, 3, 1, 4, 3].into_iter().enumerate() {
        let schedule = schedule(&format!("schedule-{number}"), millis);
        expected.push((millis, schedule.id));
        store.schedules.create(schedule, None).await.unwrap();
    }
    let strange = Schedule { user_id: fresh(), ..schedule("strange", 0) };
    store.schedules.create(strange, None).await.unwrap();
    expected.sort_unstable();

    for desc in [false, true] {
        let mut ids: Vec<_> = expected.iter().map(|(_, id)| *id).collect();
        if desc {
            ids.reverse();
        }
        for limit in [1, 2, 3, 1000] {
            let mut found = Vec::new();
            for offset in (0..8).step_by(usize::try_from(limit).unwrap()) {
                let listed = store.schedules.list(&user(), Page { offset, limit, desc }).await.unwrap();
                assert_eq!((listed.total, store.schedules.count(&user()).await.unwrap()), (7, 7));
                found.extend(listed.items.iter().map(|kept| kept.schedule.id));
            }
            assert_eq!(found, ids);
        }
    }
}

pub async fn what_is_due_comes_in_its_order(store: &Store) {
    let mut ids = Vec::new();
    for (name, next) in [("aaa", Some(30)), ("bbb", Some(10)), ("ccc", None), ("ddd", Some(20)), ("eee", Some(40))] {
        ids.push(given_schedule(store, name, next).await);
    }

    assert_eq!(store.schedules.next_due().await.unwrap(), Some(at(10)));
    assert!(store.schedules.due(at(9), 9).await.unwrap().is_empty());
    assert_eq!(store.schedules.due(at(30), 9).await.unwrap(), [ids[1], ids[3], ids[0]]);
    assert_eq!(store.schedules.due(at(99), 2).await.unwrap(), [ids[1], ids[3]]);
    store.schedules.delete(&ids[1]).await.unwrap();
    assert_eq!(store.schedules.next_due().await.unwrap(), Some(at(20)));
}

pub async fn an_invocation_is_noted_once_and_only_for_the_time_that_is_due(store: &Store) {
    let id = given_schedule(store, "schedule", Some(10)).await;
    let (action, run, other_run) = (fresh(), fresh(), fresh());
    let note = |next, run, message: &str| ScheduleNote {
        next: Some(at(next)),
        invoked_at: Some(at(11)),
        started: vec![(action, run)],
        entries: vec![entry(message)],
    };
    let log = || async {
        let entries = store.schedules.log(&id).await.unwrap();
        entries.into_iter().map(|entry| entry.message).collect::<Vec<_>>()
    };
    assert!(log().await.is_empty());

    let store_for_all = shared(store);
    let notes: Vec<_> = (0..20)
        .map(|_| {
            let (store, note) = (Arc::clone(&store_for_all), note(20, run, "first"));
            tokio::spawn(async move { store.schedules.note(&id, at(10), note).await.unwrap() })
        })
        .collect();
    for noted in notes {
        noted.await.unwrap();
    }

    let state = store.schedules.get(&id).await.unwrap().unwrap().state;
    assert_eq!((state.next_run_at, state.last_run_at, state.last_tick), (Some(at(20)), Some(at(11)), Some(at(10))));
    assert_eq!(state.last_runs[&action], run);
    assert_eq!(log().await, ["first"]);
    store.schedules.note(&id, at(15), note(99, other_run, "stray")).await.unwrap();
    assert_eq!(store.schedules.get(&id).await.unwrap().unwrap().state, state);

    let left_out = ScheduleNote { next: None, entries: vec![entry("left out")], ..ScheduleNote::default() };
    store.schedules.note(&id, at(20), left_out).await.unwrap();
    let after = store.schedules.get(&id).await.unwrap().unwrap().state;
    assert_eq!(after, ScheduleState { next_run_at: None, ..state });
    assert_eq!(log().await, ["first", "left out"]);
    let unknown = store.schedules.note(&fresh(), at(1), ScheduleNote::default()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Schedule))));
}

pub async fn a_log_keeps_its_newest_entries(store: &Store) {
    let id = given_schedule(store, "schedule", Some(0)).await;
    let other = given_schedule(store, "other", Some(0)).await;
    for tick in 0..11 {
        let entries = (0..100).map(|number| entry(&format!("{tick}-{number}"))).collect();
        let note = ScheduleNote { next: Some(at(tick + 1)), entries, ..ScheduleNote::default() };
        store.schedules.note(&id, at(tick), note).await.unwrap();
    }

    let log = store.schedules.log(&id).await.unwrap();
    assert_eq!(log.len(), MAX_LOG_ENTRIES);
    assert_eq!((log[0].message.as_str(), log[999].message.as_str()), ("1-0", "10-99"));
    assert!(store.schedules.log(&other).await.unwrap().is_empty());
}

pub async fn a_deleted_schedule_is_gone_with_its_log(store: &Store) {
    let id = given_schedule(store, "schedule", Some(0)).await;
    let note = ScheduleNote { entries: vec![entry("line")], ..ScheduleNote::default() };
    store.schedules.note(&id, at(0), note).await.unwrap();

    store.schedules.delete(&id).await.unwrap();

    assert!(store.schedules.get(&id).await.unwrap().is_none());
    assert!(store.schedules.find(&user(), "schedule").await.unwrap().is_none());
    assert_eq!(store.schedules.list(&user(), Page::default()).await.unwrap().total, 0);
    assert!(matches!(store.schedules.log(&id).await, Err(StoreError::NotFound(Noun::Schedule))));
    assert!(matches!(store.schedules.delete(&id).await, Err(StoreError::NotFound(Noun::Schedule))));
    assert!(store.schedules.log(&given_schedule(store, "schedule", None).await).await.unwrap().is_empty());
}
