//! What datasets, key-value stores and request queues have in common.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{ActorId, GeneralAccess, RunId, StorageId, Timestamp, TokenId, UserId};

/// Longest body of a JSON request after decompression (`G8`).
pub const MAX_JSON_BODY: usize = 9_437_184;

/// The three kinds of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// An append-only list of JSON items.
    Dataset,
    /// Records by key.
    KeyValueStore,
    /// URLs to visit, each once.
    RequestQueue,
}

impl StorageKind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Dataset, Self::KeyValueStore, Self::RequestQueue];

    /// The word in paths of its own: `datasets`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Dataset => "datasets",
            Self::KeyValueStore => "key-value-stores",
            Self::RequestQueue => "request-queues",
        }
    }

    /// The word in paths below a run: `dataset`.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::KeyValueStore => "key-value-store",
            Self::RequestQueue => "request-queue",
        }
    }
}

impl fmt::Display for StorageKind {
    /// The words in messages: `key-value store`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dataset => "dataset",
            Self::KeyValueStore => "key-value store",
            Self::RequestQueue => "request queue",
        })
    }
}

/// A storage without its contents and counters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Its id, never changed (`S1`).
    pub id: StorageId,
    /// Which of the three it is.
    pub kind: StorageKind,
    /// Its owner.
    pub user_id: UserId,
    /// Its name; unnamed storages have none and may expire.
    pub name: Option<String>,
    /// A title in its owner's words (`S21`).
    pub title: Option<String>,
    /// When it was made (`S25`).
    pub created_at: Timestamp,
    /// Actor whose run made it (`S29`).
    pub actor_id: Option<ActorId>,
    /// Run that made it (`S29`).
    pub run_id: Option<RunId>,
    /// Token of limited scope with which it was made, to which it stays open (`AUTH-19`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// Access level (`P1`).
    pub general_access: GeneralAccess,
    /// Key of the signatures that open it to others (`P14`); made with it and stable.
    pub url_signing_secret: String,
    /// Dataset schema or key-value store schema, as given (`D50`, `K40`).
    pub schema: Option<Box<RawValue>>,
    /// The run that it lives as long as, for a run's default and aliased storages (`U8`).
    pub lives_with: Option<RunId>,
}

/// What has been done with a storage over its life (`U4`, `S29`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageStats {
    /// Items, records or requests read.
    pub read_count: u64,
    /// Items, records or requests written.
    pub write_count: u64,
    /// Records or requests deleted.
    pub delete_count: u64,
    /// Pages of keys listed.
    pub list_count: u64,
    /// Requests read from the head.
    pub head_item_read_count: u64,
    /// Bytes of content.
    pub storage_bytes: u64,
}

/// What is counted of a storage, exact at every moment but for the reads in `stats`, which may lag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageCounters {
    /// Last change of data or settings (`S26`).
    pub modified_at: Timestamp,
    /// Last use (`S27`); never before `modified_at`.
    pub accessed_at: Timestamp,
    /// Items of a dataset, records of a store, or requests of a queue.
    pub items: u64,
    /// Clean items of a dataset.
    pub clean_items: u64,
    /// Handled requests of a queue.
    pub handled: u64,
    /// Whether a second client has ever used the queue (`Q45`).
    pub had_multiple_clients: bool,
    /// Use over its life.
    pub stats: StorageStats,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_spelled_as_the_contract_has_them() {
        let spelled = StorageKind::ALL.map(|kind| (kind.plural(), kind.singular(), kind.to_string()));

        assert_eq!(
            spelled,
            [
                ("datasets", "dataset", "dataset".to_owned()),
                ("key-value-stores", "key-value-store", "key-value store".to_owned()),
                ("request-queues", "request-queue", "request queue".to_owned()),
            ]
        );
    }
}
