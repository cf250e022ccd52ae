//! Datasets.

use futures::{StreamExt as _, TryStreamExt as _};
use model::StorageKind;
use model::push::Items;

use super::fixtures::{fresh, given, items, lines, numbered, numbered_item, shared};
use crate::{ItemChunks, Noun, Store, StoreError, Window};

pub async fn a_note_stays_as_long_as_the_dataset(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;
    assert_eq!(store.datasets.note(&id).await.unwrap(), None);
    for note in ["one", "two"] {
        store.datasets.keep_note(&id, note.to_owned()).await.unwrap();
        assert_eq!(store.datasets.note(&id).await.unwrap().as_deref(), Some(note));
    }
    store.storages.delete(&id).await.unwrap();
    let gone = store.datasets.keep_note(&id, "three".to_owned()).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
}

pub async fn items_come_back_as_they_were_pushed(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;

    let pushed = [r#"{"b":1.0,"a":1e400,"a":"\u0041"}"#, r#"{ "x" : [1, 2] }"#, "{}"];
    assert_eq!(store.datasets.append(&id, items(pushed[0])).await.unwrap(), 1);
    assert_eq!(store.datasets.append(&id, items(&format!("[{},{}]", pushed[1], pushed[2]))).await.unwrap(), 3);
    assert_eq!(store.datasets.append(&id, Items::default()).await.unwrap(), 3);

    let read = store.datasets.read(&id, Window::default()).await.unwrap();
    assert_eq!((read.total, read.count), (3, 3));
    assert_eq!(lines(read).await, pushed);
}

pub async fn windows_are_taken_from_both_ends(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;
    for start in (0..1000).step_by(10) {
        store.datasets.append(&id, numbered(start..start + 10)).await.unwrap();
    }

    for (offset, limit, desc) in [
        (0, None, false),
        (0, None, true),
        (0, Some(1), true),
        (5, Some(10), false),
        (995, Some(10), false),
        (7, Some(106), true),
        (995, Some(10), true),
        (1000, None, false),
        (u64::MAX, Some(u64::MAX), true),
        (3, Some(0), false),
    ] {
        let read = store.datasets.read(&id, Window { offset, limit, desc }).await.unwrap();
        assert_eq!(read.total, 1000);
        let mut numbers: Vec<u64> = (0..1000).collect();
        if desc {
            numbers.reverse();
        }
        let skip = usize::try_from(offset).unwrap();
        let take = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        let expected: Vec<String> = numbers.into_iter().skip(skip).take(take).map(numbered_item).collect();
        assert_eq!(lines(read).await, expected, "{offset} {limit:?} {desc}");
    }
}

pub async fn a_window_is_fixed_when_it_is_asked_for(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;
    store.datasets.append(&id, numbered(0..5)).await.unwrap();

    let up = store.datasets.read(&id, Window::default()).await.unwrap();
    let down = store.datasets.read(&id, Window { desc: true, ..Window::default() }).await.unwrap();
    store.datasets.append(&id, numbered(5..10)).await.unwrap();

    assert_eq!(lines(up).await, (0..5).map(numbered_item).collect::<Vec<_>>());
    assert_eq!(lines(down).await, (0..5).rev().map(numbered_item).collect::<Vec<_>>());
}

pub async fn concurrent_pushes_do_not_mix(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;
    let pushes = (0..20_u64).map(|push| {
        let store = shared(store);
        tokio::spawn(async move { store.datasets.append(&id, numbered(push * 50..push * 50 + 50)).await.unwrap() })
    });

    let mut counts = Vec::new();
    for push in pushes.collect::<Vec<_>>() {
        counts.push(push.await.unwrap());
    }

    counts.sort_unstable();
    assert_eq!(counts, (1..=20).map(|pushes| pushes * 50).collect::<Vec<_>>());
    let read = lines(store.datasets.read(&id, Window::default()).await.unwrap()).await;
    let mut starts = Vec::new();
    for push in read.chunks(50) {
        let start: u64 = push[0][5..push[0].len() - 1].parse().unwrap();
        assert_eq!(push, (start..start + 50).map(numbered_item).collect::<Vec<_>>());
        starts.push(start);
    }
    starts.sort_unstable();
    assert_eq!(starts, (0..20).map(|push| push * 50).collect::<Vec<_>>());
}

pub async fn joined_items_have_commas_for_line_feeds(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;
    let text = "x".repeat(1000);
    let large: Vec<String> = (0..5000).map(|number| format!("{{\"i\":{number},\"text\":\"{text}\"}}")).collect();
    store.datasets.append(&id, items(&format!("[{}]", large.join(",")))).await.unwrap();
    store.datasets.append(&id, numbered(5000..5010)).await.unwrap();
    let bytes = async |read: ItemChunks| read.chunks.map_ok(|chunk| chunk.lines.to_vec()).try_concat().await.unwrap();

    for (offset, limit) in [(0, None), (4990, None), (100, Some(50)), (0, Some(0))] {
        for desc in [false, true] {
            let window = Window { offset, limit, desc };
            // Lines before and after: those that are kept in memory must not change.
            let lines = bytes(store.datasets.read(&id, window).await.unwrap()).await;
            let joined = bytes(store.datasets.read_joined(&id, window).await.unwrap()).await;
            assert!(joined == String::from_utf8(lines.clone()).unwrap().replace('\n', ",").as_bytes(), "{window:?}");
            assert!(bytes(store.datasets.read(&id, window).await.unwrap()).await == lines, "{window:?}");
        }
    }
}

pub async fn a_large_push_is_read_in_bounded_chunks(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;
    let text = "x".repeat(1000);
    let list: Vec<String> = (0..9000).map(|number| format!("{{\"i\":{number},\"text\":\"{text}\"}}")).collect();
    store.datasets.append(&id, items(&format!("[{}]", list.join(",")))).await.unwrap();

    for desc in [false, true] {
        let read = store.datasets.read(&id, Window { desc, ..Window::default() }).await.unwrap();
        let mut chunks = read.chunks;
        let mut next = 0;
        while let Some(chunk) = chunks.try_next().await.unwrap() {
            assert!(chunk.lines.len() <= 1024 * 1024, "{}", chunk.lines.len());
            for line in std::str::from_utf8(&chunk.lines).unwrap().lines() {
                let expected = if desc { &list[list.len() - 1 - next] } else { &list[next] };
                assert_eq!(line, expected);
                next += 1;
            }
        }
        assert_eq!(next, list.len());
    }
}

pub async fn items_stay_where_they_are_when_they_are_sealed(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;
    let text = "x".repeat(5000);
    let mut expected = Vec::new();
    for number in 0..1000 {
        let item = format!("{{\"i\":{number},\"text\":\"{text}\"}}");
        store.datasets.append(&id, items(&item)).await.unwrap();
        expected.push(item);
    }
    let before = store.datasets.read(&id, Window::default()).await.unwrap();

    store.upkeep.run().await.unwrap();

    assert_eq!(lines(before).await, expected);
    for (offset, limit) in [(0, 1000), (0, 3), (830, 30), (500, 1), (995, 100)] {
        for desc in [false, true] {
            let window = Window { offset, limit: Some(limit), desc };
            let mut items = expected.clone();
            if desc {
                items.reverse();
            }
            let skip = usize::try_from(offset).unwrap();
            let items: Vec<_> = items.into_iter().skip(skip).take(usize::try_from(limit).unwrap()).collect();
            assert_eq!(lines(store.datasets.read(&id, window).await.unwrap()).await, items, "{offset} {limit} {desc}");
        }
    }
    assert_eq!(store.storages.counters(&id).await.unwrap().items, 1000);
    assert_eq!(store.datasets.fields(&id).await.unwrap(), ["i", "text"]);
}

pub async fn items_come_packed_from_wherever_they_are(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;
    let item = |number: usize| format!("{{\"i\":{number},\"text\":\"{}\"}}", "word ".repeat(number % 200));
    let expected: Vec<_> = (0..6000).map(item).collect();
    for (place, list) in expected.chunks(1500).enumerate() {
        store.datasets.append(&id, items(&format!("[{}]", list.join(",")))).await.unwrap();
        if place == 2 {
            store.upkeep.run().await.unwrap();
        }
    }

    for range in [0..6000, 0..1, 7..5999, 0..4500, 4499..4501, 5000..u64::MAX, 2000..2001, 300..4000] {
        let frames = store.datasets.read_packed(&id, range.clone()).await.unwrap();
        let packed = frames.try_collect::<Vec<_>>().await.unwrap().concat();
        let lines = String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap();
        let index = |at: u64| usize::try_from(at).unwrap().min(expected.len());
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected[index(range.start)..index(range.end)], "{range:?}");
    }
    for nothing in [10..10, 6000..7000] {
        assert_eq!(store.datasets.read_packed(&id, nothing).await.unwrap().count().await, 0);
    }
}

pub async fn counters_follow_pushes(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;

    store.datasets.append(&id, items(r##"[{"a":1},{"#hidden":1},{}]"##)).await.unwrap();
    store.datasets.append(&id, items(r#"{"a":1}"#)).await.unwrap();

    let counters = store.storages.counters(&id).await.unwrap();
    assert_eq!((counters.items, counters.clean_items), (4, 2));
    assert_eq!(counters.stats.write_count, 4);
    assert!(counters.stats.storage_bytes > 20);
}

pub async fn fields_are_those_of_all_items_sorted(store: &Store) {
    let id = given(store, StorageKind::Dataset).await;
    assert!(store.datasets.fields(&id).await.unwrap().is_empty());

    store.datasets.append(&id, items(r#"[{"b":{"y":1,"x":[1,{"z":null}]}},{"a":1}]"#)).await.unwrap();
    assert_eq!(store.datasets.fields(&id).await.unwrap(), ["a", "b/x/0", "b/x/1/z", "b/y"]);
    store.datasets.append(&id, items(r#"{"B":1}"#)).await.unwrap();
    assert_eq!(store.datasets.fields(&id).await.unwrap(), ["B", "a", "b/x/0", "b/x/1/z", "b/y"]);
}

pub async fn an_unknown_or_deleted_dataset_is_not_found(store: &Store) {
    let deleted = given(store, StorageKind::Dataset).await;
    store.datasets.append(&deleted, numbered(0..3)).await.unwrap();
    store.storages.delete(&deleted).await.unwrap();
    let other_kind = given(store, StorageKind::KeyValueStore).await;

    for id in [fresh(), deleted, other_kind] {
        let appended = store.datasets.append(&id, numbered(0..1)).await;
        assert!(matches!(appended, Err(StoreError::NotFound(Noun::Storage))), "{appended:?}");
        let read = store.datasets.read(&id, Window::default()).await;
        assert!(matches!(read.map(|read| read.count), Err(StoreError::NotFound(Noun::Storage))));
        let packed = store.datasets.read_packed(&id, 0..1).await;
        assert!(matches!(packed.map(|_| ()), Err(StoreError::NotFound(Noun::Storage))));
        assert!(matches!(store.datasets.fields(&id).await, Err(StoreError::NotFound(Noun::Storage))));
    }
}
