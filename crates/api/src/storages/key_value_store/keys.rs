//! Listing keys (storages, section 8.4).

use axum::extract::State;
use model::{MAX_LIMIT, Storage, signature};
use serde::Serialize;
use store::{KeyPage, KeyQuery, Reads, RecordMeta};

use super::key::{KeyFilter, Matching};
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{ContentSignature, FromParams, KeyValueStore, Params, Query, Readable};
use crate::wire;

pub(super) struct ListParams {
    limit: u64,
    after: Option<String>,
    filter: KeyFilter,
}

impl FromParams for ListParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let limit = params.number("limit")?.filter(|limit| *limit > 0);
        Ok(Self {
            limit: limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT),
            after: params.non_empty("exclusiveStartKey").map(Into::into),
            filter: KeyFilter::from_params(params)?,
        })
    }
}

pub(super) async fn list(
    State(app): State<App>,
    Readable(store, ..): Readable<KeyValueStore, ContentSignature>,
    Query(list): Query<ListParams>,
) -> Answer {
    /// All members are always there; an absent `nextExclusiveStartKey` would make a client list for ever (`K27`).
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Listing<'a> {
        items: Vec<Item<'a>>,
        count: usize,
        limit: u64,
        exclusive_start_key: Option<&'a str>,
        is_truncated: bool,
        next_exclusive_start_key: Option<&'a str>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        key: &'a str,
        size: u64,
        record_public_url: String,
    }

    let storage = &*store.storage;
    let page = match list.filter.resolve(&app, &store)? {
        Matching::Prefixes(prefixes) => {
            let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
            let query = KeyQuery { limit, after: list.after.clone(), prefixes };
            app.store().records.keys(&storage.id, query).await?
        }
        Matching::Only(key) => {
            let key = key.filter(|key| list.after.as_ref().is_none_or(|after| key > after));
            KeyPage { items: only(&app, storage, key).await?.into_iter().collect(), more: false }
        }
    };
    app.store().storages.note_reads(&storage.id, Reads { lists: 1, ..Reads::default() });
    store.meter(&app, |usage| usage.key_value_store_lists += 1);

    let base = app.public_url(&format!("key-value-stores/{}/records/", storage.id));
    let items: Vec<Item<'_>> = page
        .items
        .iter()
        .map(|record| {
            let signature = signature::sign(&storage.url_signing_secret, &record.key);
            Item {
                key: &record.key,
                size: record.size,
                // Every character of a key may stand in a path as it is.
                record_public_url: format!("{base}{}?signature={signature}", record.key),
            }
        })
        .collect();
    Ok(wire::ok(&Listing {
        count: items.len(),
        limit: list.limit,
        exclusive_start_key: list.after.as_deref(),
        is_truncated: page.more,
        next_exclusive_start_key: page.items.last().filter(|_| page.more).map(|record| record.key.as_str()),
        items,
    }))
}

/// The one record that a collection of a single key has, if it is there.
pub(super) async fn only(app: &App, store: &Storage, key: Option<String>) -> Result<Option<RecordMeta>, ApiError> {
    match key {
        Some(key) => Ok(app.store().records.head(&store.id, &key).await?),
        None => Ok(None),
    }
}
