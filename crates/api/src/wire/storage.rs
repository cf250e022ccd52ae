//! Storages as objects (`S29` to `S32`).

use model::{GeneralAccess, Storage, StorageCounters, StorageId, StorageKind, Timestamp, UserId, signature};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::app::App;

/// How long the signed addresses in a storage object hold (`P12`).
const SIGNED_FOR_SECS: i64 = 14 * 24 * 3600;

/// A storage as `GET`, `PUT` and `POST` show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StorageObject<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    stats: Stats,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_signing_secret_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items_public_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys_public_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_public_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Option<&'a RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<String>>,
}

/// A storage as lists show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StorageInList<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    stats: StatsInList,
}

/// What is asked of a storage object beside the storage itself.
pub(crate) struct Show<'a> {
    /// Its counters.
    pub(crate) counters: StorageCounters,
    /// Its owner's name.
    pub(crate) username: &'a str,
    /// Whether the caller may see the key of its signatures.
    pub(crate) may_write: bool,
    /// The level in force, which decides whether addresses are signed.
    pub(crate) level: GeneralAccess,
    /// Paths of the fields of a dataset's items.
    pub(crate) fields: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Common<'a> {
    id: StorageId,
    name: Option<&'a str>,
    user_id: UserId,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    created_at: Timestamp,
    modified_at: Timestamp,
    accessed_at: Timestamp,
    act_id: Option<model::ActorId>,
    act_run_id: Option<model::RunId>,
    console_url: String,
    general_access: GeneralAccess,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Counts {
    #[serde(rename_all = "camelCase")]
    Dataset {
        item_count: u64,
        clean_item_count: u64,
    },
    KeyValueStore {},
    #[serde(rename_all = "camelCase")]
    RequestQueue {
        total_request_count: u64,
        handled_request_count: u64,
        pending_request_count: u64,
        had_multiple_clients: bool,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    read_count: u64,
    write_count: u64,
    delete_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_item_read_count: Option<u64>,
    storage_bytes: u64,
}

/// Lists tell the size under more names; the CLI reads the last of them (`S18`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsInList {
    #[serde(flatten)]
    stats: Stats,
    inflated_bytes: u64,
    /// Left out of an empty storage: the CLI cannot print a size of 0, and takes an absent one for unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    s3_storage_bytes: Option<u64>,
}

impl<'a> StorageObject<'a> {
    pub(crate) fn new(app: &App, storage: &'a Storage, show: Show<'a>) -> Self {
        let signed = |path: &str| {
            let url = app.public_url(&format!("{}/{}/{path}", storage.kind.plural(), storage.id));
            if show.level != GeneralAccess::Restricted {
                return url;
            }
            let until = app.now().plus_secs(SIGNED_FOR_SECS);
            let signature = signature::sign_content(&storage.url_signing_secret, &storage.id, Some(until));
            format!("{url}?signature={signature}")
        };
        let is = |kind| storage.kind == kind;
        let has_content_urls = !is(StorageKind::RequestQueue);
        Self {
            stats: Stats::new(storage.kind, &show.counters),
            url_signing_secret_key: (has_content_urls && show.may_write).then_some(&storage.url_signing_secret),
            items_public_url: is(StorageKind::Dataset).then(|| signed("items")),
            keys_public_url: is(StorageKind::KeyValueStore).then(|| signed("keys")),
            records_public_url: is(StorageKind::KeyValueStore).then(|| signed("records")),
            schema: has_content_urls.then_some(storage.schema.as_deref()),
            fields: is(StorageKind::Dataset).then_some(show.fields),
            common: Common::new(app, storage, &show.counters, show.username, storage.name.as_deref()),
        }
    }
}

impl<'a> StorageInList<'a> {
    pub(crate) fn new(app: &App, storage: &'a Storage, counters: &StorageCounters, username: &'a str) -> Self {
        // Python wants a string here even of a storage that has no name (`S7`).
        let name = storage.name.as_deref().or(Some(storage.id.as_str()));
        Self {
            common: Common::new(app, storage, counters, username, name),
            stats: StatsInList {
                stats: Stats::new(storage.kind, counters),
                inflated_bytes: counters.stats.storage_bytes,
                s3_storage_bytes: Some(counters.stats.storage_bytes).filter(|bytes| *bytes > 0),
            },
        }
    }
}

impl<'a> Common<'a> {
    fn new(
        app: &App,
        storage: &'a Storage,
        counters: &StorageCounters,
        username: &'a str,
        name: Option<&'a str>,
    ) -> Self {
        Self {
            id: storage.id,
            name,
            user_id: storage.user_id,
            username,
            title: storage.title.as_deref(),
            created_at: storage.created_at,
            modified_at: counters.modified_at,
            accessed_at: counters.accessed_at,
            act_id: storage.actor_id,
            act_run_id: storage.run_id,
            console_url: app.console_url(&format!("storage/{}/{}", storage.kind.plural(), storage.id)),
            general_access: storage.general_access,
            counts: Counts::new(storage.kind, counters),
        }
    }
}

impl Counts {
    fn new(kind: StorageKind, counters: &StorageCounters) -> Self {
        match kind {
            StorageKind::Dataset => {
                Self::Dataset { item_count: counters.items, clean_item_count: counters.clean_items }
            }
            StorageKind::KeyValueStore => Self::KeyValueStore {},
            StorageKind::RequestQueue => Self::RequestQueue {
                total_request_count: counters.items,
                handled_request_count: counters.handled,
                pending_request_count: counters.items.saturating_sub(counters.handled),
                had_multiple_clients: counters.had_multiple_clients,
            },
        }
    }
}

impl Stats {
    fn new(kind: StorageKind, counters: &StorageCounters) -> Self {
        let stats = &counters.stats;
        let is_queue = kind == StorageKind::RequestQueue;
        Self {
            read_count: stats.read_count,
            write_count: stats.write_count,
            delete_count: stats.delete_count,
            list_count: (!is_queue).then_some(stats.list_count),
            head_item_read_count: is_queue.then_some(stats.head_item_read_count),
            storage_bytes: stats.storage_bytes,
        }
    }
}
