//! Key-value records.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use model::{StorageId, StorageKind};

use super::fixtures::{fresh, given};
use crate::{ByteRange, Content, KeyQuery, NewRecord, Noun, Record, RecordBody, RecordMeta, Store, StoreError};

/// Sizes around those at which a backend may change its ways.
const SIZES: [usize; 7] = [0, 1, 1000, 32 * 1024 - 1, 32 * 1024, 100_000, 3_000_000];

fn new(key: &str) -> NewRecord {
    NewRecord { key: key.to_owned(), content_type: "text/plain; charset=utf-8".to_owned(), content_encoding: None }
}

fn content(size: usize, seed: usize) -> Bytes {
    (0..size).map(|at| u8::try_from((at / 7 + at % 13 + seed) % 251).unwrap()).collect::<Vec<_>>().into()
}

async fn put(store: &Store, id: &StorageId, key: &str, body: &[u8]) -> RecordMeta {
    store.records.put(id, new(key), RecordBody::Whole(Bytes::copy_from_slice(body))).await.unwrap()
}

async fn read(store: &Store, content: &Content, range: Option<ByteRange>) -> Vec<u8> {
    let parts: Vec<Bytes> = store.records.open(content, range).await.unwrap().try_collect().await.unwrap();
    parts.concat()
}

async fn get(store: &Store, id: &StorageId, key: &str) -> (Record, Vec<u8>) {
    let record = store.records.get(id, key).await.unwrap().unwrap();
    let bytes = read(store, &record.content, None).await;
    (record, bytes)
}

pub async fn a_record_comes_back_with_all_that_is_known_of_it(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;

    for size in SIZES {
        let body = content(size, 0);
        let record = NewRecord {
            key: format!("a!b'({size}).json"),
            content_type: "Application/JSON ; x=Y".to_owned(),
            content_encoding: Some("br".to_owned()),
        };
        let put = store.records.put(&id, record.clone(), RecordBody::Whole(body.clone())).await.unwrap();

        let (found, bytes) = get(store, &id, &record.key).await;
        assert_eq!(bytes, body);
        assert_eq!(found.meta, put);
        assert_eq!(store.records.head(&id, &record.key).await.unwrap(), Some(put.clone()));
        assert_eq!((put.key, put.size), (record.key, size as u64));
        assert_eq!((put.content_type, put.content_encoding), (record.content_type, record.content_encoding));
        assert!(put.etag.len() >= 16 && put.etag.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    let other = given(store, StorageKind::KeyValueStore).await;
    assert_eq!(store.records.get(&other, "a!b'(1).json").await.unwrap(), None);
    assert_eq!(store.records.head(&id, "A!b'(1).json").await.unwrap(), None);
    let unknown = store.records.put(&fresh(), new("a"), RecordBody::Whole(Bytes::new())).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Storage))));
}

pub async fn a_record_of_any_size_is_replaced_whole(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;

    for (turn, before) in SIZES.into_iter().enumerate() {
        for after in SIZES {
            put(store, &id, "key", &content(before, turn)).await;
            put(store, &id, "key", &content(after, turn + 1)).await;

            let (_, bytes) = get(store, &id, "key").await;
            assert!(bytes == content(after, turn + 1), "{before} {after}");
        }
    }
    assert_eq!(store.storages.counters(&id).await.unwrap().items, 1);
}

pub async fn a_stream_that_breaks_off_stores_nothing(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;
    put(store, &id, "key", b"old").await;

    for size in SIZES {
        let parts = [Ok(content(size, 0)), Err(io::Error::other("gone")), Ok(content(1, 0))];
        let outcome = store.records.put(&id, new("key"), RecordBody::Stream(stream::iter(parts).boxed())).await;

        assert!(matches!(outcome, Err(StoreError::Body(error)) if error.to_string() == "gone"));
        assert_eq!(get(store, &id, "key").await.1, b"old");
    }
    store.upkeep.run().await.unwrap();
    assert_eq!(get(store, &id, "key").await.1, b"old");
}

pub async fn a_streamed_record_equals_a_whole_one(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;

    for size in SIZES {
        let body = content(size, 3);
        let parts: Vec<_> = body.chunks(10_007).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        let streamed =
            store.records.put(&id, new("key"), RecordBody::Stream(stream::iter(parts).boxed())).await.unwrap();
        assert!(get(store, &id, "key").await.1 == body);

        let whole = put(store, &id, "key", &body).await;
        assert_eq!((streamed.size, streamed.etag), (whole.size, whole.etag));
    }
}

pub async fn an_open_record_is_read_to_its_end_whatever_becomes_of_it(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;
    let (old, other) = (content(3_000_000, 1), content(2_000_000, 2));
    put(store, &id, "key", &old).await;
    let record = store.records.get(&id, "key").await.unwrap().unwrap();

    let first = store.records.open(&record.content, None).await.unwrap();
    put(store, &id, "key", &other).await;
    store.upkeep.run().await.unwrap();
    let second = store.records.open(&record.content, None).await.unwrap();
    store.records.delete(&id, "key").await.unwrap();
    store.upkeep.run().await.unwrap();

    for stream in [first, second] {
        let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert!(parts.concat() == old);
    }
}

pub async fn parts_of_records_are_read(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;

    for size in [10, 1_000_000_usize] {
        let body = content(size, 0);
        put(store, &id, "key", &body).await;
        let record = store.records.get(&id, "key").await.unwrap().unwrap();
        for (start, end) in [(0, size), (0, 1), (3, 9), (size - 1, size), (5, 5)] {
            let range = ByteRange { start: start as u64, end: end as u64 };
            assert!(read(store, &record.content, Some(range)).await == body[start..end], "{size} {start} {end}");
        }
    }
}

pub async fn deleting_tells_whether_there_was_a_record(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;
    for size in SIZES {
        put(store, &id, "key", &content(size, 0)).await;

        assert!(store.records.delete(&id, "key").await.unwrap());
        assert!(!store.records.delete(&id, "key").await.unwrap());
        assert_eq!(store.records.get(&id, "key").await.unwrap(), None);
    }
    assert!(matches!(store.records.delete(&fresh(), "key").await, Err(StoreError::NotFound(Noun::Storage))));
}

pub async fn the_etag_changes_with_the_representation(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;
    let put = |content_type: &'static str, encoding: Option<&'static str>, body: &'static str| async move {
        let record = NewRecord {
            key: "key".to_owned(),
            content_type: content_type.to_owned(),
            content_encoding: encoding.map(str::to_owned),
        };
        store.records.put(&id, record, RecordBody::Whole(body.into())).await.unwrap().etag
    };

    let etags = [
        put("text/plain", None, "a").await,
        put("text/plain", None, "b").await,
        put("text/html", None, "b").await,
        put("text/html", Some("gzip"), "b").await,
    ];

    assert_eq!(etags.iter().collect::<std::collections::HashSet<_>>().len(), 4);
}

pub async fn keys_are_listed_in_byte_order_behind_a_key_and_below_prefixes(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;
    let keys = ["a", "B", "ab", "a-c", "b", "abc", "a.b", "_", "A", "abd", "c"];
    for key in keys {
        put(store, &id, key, b"x").await;
    }
    let mut sorted = keys;
    sorted.sort_unstable();

    let list = |limit, after: Option<&'static str>, prefixes: &'static [&'static str]| async move {
        let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        let query = KeyQuery { limit, after: after.map(str::to_owned), prefixes };
        let page = store.records.keys(&id, query).await.unwrap();
        (page.items.into_iter().map(|meta| meta.key).collect::<Vec<_>>(), page.more)
    };
    let page = |keys: &[&str], more| (keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>(), more);

    assert_eq!(list(1000, None, &[]).await, page(&sorted, false));
    assert_eq!(list(11, None, &[]).await, page(&sorted, false));
    assert_eq!(list(10, None, &[]).await, page(&sorted[..10], true));
    assert_eq!(list(2, Some("aa"), &[]).await, page(&["ab", "abc"], true));
    assert_eq!(list(9, None, &["ab"]).await, page(&["ab", "abc", "abd"], false));
    assert_eq!(list(2, None, &["ab"]).await, page(&["ab", "abc"], true));
    assert_eq!(list(3, None, &["ab"]).await, page(&["ab", "abc", "abd"], false));
    assert_eq!(list(9, Some("ab"), &["a", "ab", ""]).await, page(&["abc", "abd"], false));
    assert_eq!(list(9, Some("A"), &["ab"]).await, page(&["ab", "abc", "abd"], false));
    assert_eq!(list(9, Some("b"), &["ab"]).await, page(&[], false));
    assert_eq!(list(9, None, &["ab", "b"]).await, page(&[], false));
    assert_eq!(list(9, None, &["é"]).await, page(&[], false));
    let unknown = store.records.keys(&fresh(), KeyQuery { limit: 1, ..KeyQuery::default() }).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Storage))));
}

pub async fn every_page_of_keys_is_that_of_a_sorted_list(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;
    // All words of up to two letters, of which some lie before and some behind the others' continuations.
    let letters = ["!", "-", "A", "z"];
    let two = letters.iter().flat_map(|first| letters.iter().map(move |second| format!("{first}{second}")));
    let mut words: Vec<String> = letters.iter().map(|&letter| letter.to_owned()).chain(two).collect();
    words.sort_unstable();
    // Every third is not there.
    let keys: Vec<&String> = words.iter().enumerate().filter(|(at, _)| at % 3 != 0).map(|(_, word)| word).collect();
    for key in &keys {
        put(store, &id, key, b"x").await;
    }

    let others = ["", "\0", "B", "zz!", "é", "\u{10ffff}"].map(str::to_owned);
    for after in words.iter().chain(&others) {
        for prefix in words.iter().chain(&others) {
            for limit in [1, 3, 1000] {
                let query = KeyQuery { limit, after: Some(after.clone()), prefixes: vec![prefix.clone()] };
                let page = store.records.keys(&id, query).await.unwrap();

                let mut expected = keys.iter().filter(|key| **key > after && key.starts_with(prefix.as_str()));
                let listed: Vec<&String> = page.items.iter().map(|meta| &meta.key).collect();
                let first: Vec<&String> = expected.by_ref().take(limit).copied().collect();
                assert_eq!(listed, first, "after {after:?}, prefix {prefix:?}, limit {limit}");
                assert_eq!(page.more, expected.next().is_some(), "after {after:?}, prefix {prefix:?}, limit {limit}");
            }
        }
    }
}

pub async fn records_are_those_of_a_map_whatever_happens_to_them(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;
    let mut map = BTreeMap::new();
    let mut state = 0x9e37_79b9_usize;
    let mut dice = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };

    for step in 0..600 {
        // Whatever was read before, the last change is what is found.
        let key = format!("key-{}", dice(6));
        let found = store.records.get(&id, &key).await.unwrap();
        assert_eq!(found.is_some(), map.contains_key(&key), "step {step}");
        if let Some(found) = found {
            assert!(read(store, &found.content, None).await == map[&key], "step {step}");
        }
        let key = format!("key-{}", dice(6));
        if dice(4) == 0 {
            let was_there = store.records.delete(&id, &key).await.unwrap();
            assert_eq!(was_there, map.remove(&key).is_some(), "step {step}");
            continue;
        }
        // From rows to objects and back.
        let body = content(SIZES[dice(SIZES.len() - 1)], step);
        if dice(2) == 0 {
            put(store, &id, &key, &body).await;
        } else {
            let pieces: Vec<_> = body.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let body = RecordBody::Stream(stream::iter(pieces).boxed());
            store.records.put(&id, new(&key), body).await.unwrap();
        }
        map.insert(key, body);
    }

    let page = store.records.keys(&id, KeyQuery { limit: 100, ..KeyQuery::default() }).await.unwrap();
    let sizes: Vec<(String, u64)> = page.items.into_iter().map(|meta| (meta.key, meta.size)).collect();
    let expected: Vec<(String, u64)> = map.iter().map(|(key, body)| (key.clone(), body.len() as u64)).collect();
    assert_eq!(sizes, expected);
    for (key, body) in &map {
        assert!(get(store, &id, key).await.1 == *body, "{key}");
    }
    let counters = store.storages.counters(&id).await.unwrap();
    assert_eq!(counters.items, map.len() as u64);
    assert_eq!(counters.stats.storage_bytes, expected.iter().map(|(_, size)| size).sum::<u64>());
}

pub async fn record_counters_follow_changes(store: &Store) {
    let id = given(store, StorageKind::KeyValueStore).await;
    put(store, &id, "a", &content(10, 0)).await;
    put(store, &id, "a", &content(100_000, 0)).await;
    put(store, &id, "b", &content(7, 0)).await;
    store.records.delete(&id, "b").await.unwrap();
    store.records.delete(&id, "b").await.unwrap();

    let counters = store.storages.counters(&id).await.unwrap();

    assert_eq!((counters.items, counters.stats.storage_bytes), (1, 100_000));
    assert_eq!((counters.stats.write_count, counters.stats.delete_count), (4, 1));
}
