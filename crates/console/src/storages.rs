//! The pages of the three kinds of storage.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use engine::Engine;
use futures::TryStreamExt as _;
use model::{Storage, StorageCounters, StorageId, StorageKind, signature};
use store::{KeyQuery, RequestFilter, Window};

use crate::page::{Page, PageError, page};

/// How much of a storage a page shows.
const SHOWN: u64 = 100;
/// How long links on a page stay valid.
const LINK_SECS: i64 = 24 * 60 * 60;

async fn open(
    engine: &Engine,
    id: &str,
    kind: StorageKind,
    what: &'static str,
) -> Result<(Arc<Storage>, StorageCounters), PageError> {
    let id = StorageId::parse(id).ok_or(PageError::NotFound(what))?;
    let storage = engine.store().storages.get(&id).await?.filter(|storage| storage.kind == kind);
    let storage = storage.ok_or(PageError::NotFound(what))?;
    let counters = engine.store().storages.counters(&id).await?;
    Ok((storage, counters))
}

/// A signature that opens the storage's content for as long as a page is likely to be looked at.
fn signed(engine: &Engine, storage: &Storage) -> String {
    let end = engine.clock().now().plus_secs(LINK_SECS);
    signature::sign_content(&storage.url_signing_secret, &storage.id, Some(end))
}

#[derive(Template)]
#[template(path = "dataset.html")]
struct DatasetPage {
    storage: Arc<Storage>,
    counters: StorageCounters,
    items: Vec<String>,
    signature: String,
}

/// A dataset with its first items and links to all of them.
pub async fn dataset(State(engine): State<Engine>, Path(id): Path<String>) -> Page {
    let (storage, counters) = open(&engine, &id, StorageKind::Dataset, "Dataset").await?;
    let window = Window { offset: 0, limit: Some(SHOWN), desc: false };
    let chunks: Vec<_> = engine.store().datasets.read(&storage.id, window).await?.chunks.try_collect().await?;
    let items = chunks
        .iter()
        .flat_map(|chunk| chunk.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()))
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let signature = signed(&engine, &storage);
    page(&DatasetPage { storage, counters, items, signature })
}

#[derive(Template)]
#[template(path = "key-value-store.html")]
struct KeyValueStorePage {
    storage: Arc<Storage>,
    counters: StorageCounters,
    /// Key, size, content type and signature of each record.
    records: Vec<(String, u64, String, String)>,
    signature: String,
}

/// A key-value store with its first keys.
pub async fn key_value_store(State(engine): State<Engine>, Path(id): Path<String>) -> Page {
    let (storage, counters) = open(&engine, &id, StorageKind::KeyValueStore, "Key-value store").await?;
    let query = KeyQuery { limit: usize::try_from(SHOWN).unwrap_or(usize::MAX), ..KeyQuery::default() };
    let keys = engine.store().records.keys(&storage.id, query).await?.items;
    let records = keys
        .into_iter()
        .map(|record| {
            let signature = signature::sign(&storage.url_signing_secret, &record.key);
            (record.key, record.size, record.content_type, signature)
        })
        .collect();
    let signature = signed(&engine, &storage);
    page(&KeyValueStorePage { storage, counters, records, signature })
}

#[derive(Template)]
#[template(path = "request-queue.html")]
struct RequestQueuePage {
    storage: Arc<Storage>,
    counters: StorageCounters,
    requests: Vec<String>,
}

/// A request queue with its counts and some of its requests.
pub async fn request_queue(State(engine): State<Engine>, Path(id): Path<String>) -> Page {
    let (storage, counters) = open(&engine, &id, StorageKind::RequestQueue, "Request queue").await?;
    let limit = usize::try_from(SHOWN).unwrap_or(usize::MAX);
    let listed = engine.store().queues.list(&storage.id, limit, None, RequestFilter::default(), None).await?;
    let requests = listed.items.iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    page(&RequestQueuePage { storage, counters, requests })
}
