//! Storages as objects.

use std::collections::HashSet;

use model::{Clock as _, GeneralAccess, Page, StorageId, StorageKind, Timestamp};

use super::fixtures::{StoppedClock, fresh, given, items, numbered, shared, storage, user};
use crate::{Noun, Reads, StorageChange, StorageFilter, Store, StoreError};

pub async fn a_storage_is_found_by_id_and_by_name_in_any_case(store: &Store) {
    let mut new = storage(StorageKind::Dataset, Some("My-Name"));
    new.title = Some("T".to_owned());
    new.schema = Some(serde_json::value::RawValue::from_string(r#"{"b":1.0,"a":{}}"#.to_owned()).unwrap());

    let made = store.storages.get_or_create(new.clone()).await.unwrap();
    let again = store.storages.get_or_create(storage(StorageKind::Dataset, Some("mY-nAME"))).await.unwrap();

    assert!(made.created && !again.created);
    assert_eq!(again.storage.id, new.id);
    assert_eq!(again.storage.name.as_deref(), Some("My-Name"));
    let found = store.storages.get(&new.id).await.unwrap().unwrap();
    assert_eq!(serde_json::to_string(&*found).unwrap(), serde_json::to_string(&new).unwrap());
    let find = |kind, name: &'static str| async move { store.storages.find(&user(), kind, name).await.unwrap() };
    assert_eq!(find(StorageKind::Dataset, "MY-NAME").await.unwrap().id, new.id);
    assert!(find(StorageKind::KeyValueStore, "my-name").await.is_none());
    assert!(store.storages.find(&fresh(), StorageKind::Dataset, "my-name").await.unwrap().is_none());
    assert!(store.storages.get(&fresh()).await.unwrap().is_none());
}

pub async fn concurrent_calls_for_one_name_get_one_storage(store: &Store) {
    let calls = (0..16).map(|_| {
        let store = shared(store);
        tokio::spawn(async move {
            let made = store.storages.get_or_create(storage(StorageKind::RequestQueue, Some("one"))).await.unwrap();
            (made.storage.id, made.created)
        })
    });

    let mut made = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        made.push(call.await.unwrap());
    }

    assert_eq!(made.iter().map(|(id, _)| id).collect::<HashSet<_>>().len(), 1);
    assert_eq!(made.iter().filter(|(_, created)| *created).count(), 1);
}

pub async fn a_storage_takes_new_settings_but_not_a_taken_name(store: &Store) {
    let id = store.storages.get_or_create(storage(StorageKind::Dataset, Some("a"))).await.unwrap().storage.id;
    store.storages.get_or_create(storage(StorageKind::Dataset, Some("b"))).await.unwrap();
    store.storages.get_or_create(storage(StorageKind::KeyValueStore, Some("c"))).await.unwrap();
    let named = |name: Option<&str>| StorageChange { name: Some(name.map(str::to_owned)), ..StorageChange::default() };

    assert!(matches!(store.storages.update(&id, named(Some("B"))).await, Err(StoreError::NameTaken)));
    assert_eq!(store.storages.get(&id).await.unwrap().unwrap().name.as_deref(), Some("a"));
    let unknown = store.storages.update(&fresh(), named(None)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Storage))));

    // Its own name in another case, and one that another kind has.
    for name in ["A", "c"] {
        let changed = store.storages.update(&id, named(Some(name))).await.unwrap();
        assert_eq!(changed.name.as_deref(), Some(name));
    }
    let change = StorageChange {
        name: Some(None),
        title: Some(Some("T".to_owned())),
        general_access: Some(GeneralAccess::AnyoneWithIdCanRead),
    };
    store.storages.update(&id, change).await.unwrap();
    let changed = store.storages.update(&id, StorageChange::default()).await.unwrap();

    assert_eq!((changed.name.as_deref(), changed.title.as_deref()), (None, Some("T")));
    assert_eq!(changed.general_access, GeneralAccess::AnyoneWithIdCanRead);
    assert_eq!(store.storages.get(&id).await.unwrap().unwrap().title.as_deref(), Some("T"));
    assert!(store.storages.find(&user(), StorageKind::Dataset, "c").await.unwrap().is_none());
    store
        .storages
        .get_or_create(storage(StorageKind::Dataset, Some("a")))
        .await
        .map(|new| assert!(new.created))
        .unwrap();
}

pub async fn a_deleted_storage_is_gone_at_once_and_its_name_is_free(store: &Store) {
    for kind in StorageKind::ALL {
        let id = store.storages.get_or_create(storage(kind, Some("name"))).await.unwrap().storage.id;
        if kind == StorageKind::Dataset {
            store.datasets.append(&id, numbered(0..10)).await.unwrap();
        }

        store.storages.delete(&id).await.unwrap();

        assert!(store.storages.get(&id).await.unwrap().is_none());
        assert!(store.storages.find(&user(), kind, "name").await.unwrap().is_none());
        assert!(matches!(store.storages.counters(&id).await, Err(StoreError::NotFound(Noun::Storage))));
        assert!(matches!(store.storages.delete(&id).await, Err(StoreError::NotFound(Noun::Storage))));
        let filter = StorageFilter { user: user(), kind, unnamed: true };
        assert_eq!(store.storages.list(filter, Page::default()).await.unwrap().total, 0);
        let new = store.storages.get_or_create(storage(kind, Some("name"))).await.unwrap();
        assert!(new.created);
        store.upkeep.run().await.unwrap();
        assert_eq!(store.storages.counters(&new.storage.id).await.unwrap().items, 0);
    }
}

pub async fn lists_are_paged_by_creation_with_exact_totals(store: &Store) {
    let mut ids = Vec::new();
    for number in 0..10_i64 {
        let name = format!("name-{number}");
        let mut new = storage(StorageKind::KeyValueStore, (number % 2 == 0).then_some(name.as_str()));
        new.created_at = Timestamp::from_millis(1_790_000_000_000 + number / 3);
        ids.push((new.created_at, new.id, new.name.is_some()));
        store.storages.get_or_create(new).await.unwrap();
    }
    store.storages.get_or_create(storage(StorageKind::Dataset, Some("other"))).await.unwrap();
    ids.sort();

    let list = |unnamed, offset, limit, desc| async move {
        let filter = StorageFilter { user: user(), kind: StorageKind::KeyValueStore, unnamed };
        let listed = store.storages.list(filter, Page { offset, limit, desc }).await.unwrap();
        (listed.total, listed.items.iter().map(|(storage, _)| storage.id).collect::<Vec<_>>())
    };

    let all: Vec<_> = ids.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(list(true, 0, 1000, false).await, (10, all.clone()));
    assert_eq!(list(true, 3, 4, false).await, (10, all[3..7].to_vec()));
    assert_eq!(list(true, 0, 3, true).await, (10, all.iter().rev().take(3).copied().collect()));
    assert_eq!(list(true, 20, 5, false).await, (10, Vec::new()));
    let named: Vec<_> = ids.iter().filter(|(_, _, named)| *named).map(|(_, id, _)| *id).collect();
    assert_eq!(list(false, 0, 1000, false).await, (5, named));
}

pub async fn storages_of_a_run_are_found_by_it(store: &Store) {
    let run = fresh();
    let mut ids = Vec::new();
    for kind in StorageKind::ALL {
        let mut new = storage(kind, None);
        new.lives_with = Some(run);
        ids.push(new.id);
        store.storages.get_or_create(new).await.unwrap();
    }
    given(store, StorageKind::Dataset).await;

    let of_run = store.storages.of_run(&run).await.unwrap();
    assert_eq!(of_run.iter().map(|storage| storage.id).collect::<Vec<_>>(), ids);
    store.storages.delete(&ids[0]).await.unwrap();
    assert_eq!(store.storages.of_run(&run).await.unwrap().len(), 2);
    assert!(store.storages.of_run(&fresh()).await.unwrap().is_empty());
}

pub async fn reads_are_counted_and_never_touch_the_time_of_change(store: &Store) {
    let id = given(store, StorageKind::RequestQueue).await;
    let before = store.storages.counters(&id).await.unwrap();

    store.storages.note_reads(&id, Reads { reads: 2, lists: 0, head_items: 3 });
    store.storages.note_reads(&id, Reads { reads: 1, lists: 5, head_items: 0 });
    store.storages.note_reads(&fresh(), Reads { reads: 1, lists: 0, head_items: 0 });
    store.upkeep.run().await.unwrap();

    let after = store.storages.counters(&id).await.unwrap();
    assert_eq!((after.stats.read_count, after.stats.list_count, after.stats.head_item_read_count), (3, 5, 3));
    assert_eq!(after.modified_at, before.modified_at);
    assert!(after.accessed_at >= after.modified_at);
}

pub async fn unnamed_storages_expire_when_nobody_has_used_them_for_long(store: &Store, clock: &StoppedClock) {
    let storages = &store.storages;
    let made = |name, run| {
        let mut new = storage(StorageKind::Dataset, name);
        new.created_at = clock.now();
        new.lives_with = run;
        async move { storages.get_or_create(new).await.unwrap().storage.id }
    };
    let (idle, written, read) = (made(None, None).await, made(None, None).await, made(None, None).await);
    let (named, of_run) = (made(Some("named"), None).await, made(None, Some(fresh())).await);
    let there = |ids: &[StorageId]| {
        let ids = ids.to_vec();
        async move {
            let mut found = Vec::new();
            for id in ids {
                found.push(storages.get(&id).await.unwrap().is_some());
            }
            found
        }
    };
    const WEEK: i64 = 7 * 86_400_000;
    let expire = async || {
        let unused_since = clock.now().plus_millis(-WEEK);
        while storages.expire(&user(), unused_since, 2).await.unwrap() {}
    };

    clock.advance_millis(WEEK - 1000);
    expire().await;
    assert_eq!(there(&[idle, written, read, named, of_run]).await, [true; 5], "not yet");
    store.datasets.append(&written, items("{}")).await.unwrap();
    storages.note_reads(&read, Reads { reads: 1, lists: 0, head_items: 0 });

    clock.advance_millis(2000);
    assert!(!storages.expire(&fresh(), clock.now(), 10).await.unwrap(), "another user's are another's");
    expire().await;
    assert_eq!(there(&[idle, written, read, named, of_run]).await, [false, true, true, true, true]);

    clock.advance_millis(WEEK + 1000);
    let renamed = StorageChange { name: Some(Some("kept".to_owned())), ..StorageChange::default() };
    storages.update(&read, renamed).await.unwrap();
    expire().await;
    assert_eq!(there(&[written, read, named, of_run]).await, [false, true, true, true], "a name keeps a storage");

    let unnamed = StorageChange { name: Some(None), ..StorageChange::default() };
    storages.update(&read, unnamed).await.unwrap();
    clock.advance_millis(WEEK - 1000);
    expire().await;
    assert_eq!(there(&[read]).await, [true], "its time began anew");
    clock.advance_millis(2000);
    expire().await;
    assert_eq!(there(&[read, named]).await, [false, true]);
}
