//! Datasets: append-only lists of JSON items.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use model::StorageId;
use model::push::Items;

use crate::StoreError;

/// Keeps datasets.
#[async_trait]
pub trait DatasetStore: Send + Sync + std::fmt::Debug {
    /// Appends `items` in order, contiguous and all or none (`D1`), and returns the new item count.
    ///
    /// # Errors
    /// `NotFound` if the dataset does not exist or was deleted.
    async fn append(&self, id: &StorageId, items: Items) -> Result<u64, StoreError>;

    /// Streams the items of `window` in chunks of bounded size; memory does not grow with the window.
    ///
    /// The window is fixed when this returns: items pushed later are not in it.
    async fn read(&self, id: &StorageId, window: Window) -> Result<ItemChunks, StoreError>;

    /// The same with a comma in the place of each line feed, as they stand in a JSON array, but for the last one.
    async fn read_joined(&self, id: &StorageId, window: Window) -> Result<ItemChunks, StoreError>;

    /// Streams the stored items `items`, counted from the oldest, as zstd frames that hold their lines one after the other.
    ///
    /// Frames that lie in the store are sent as they lie; no more is packed anew than at the ends, and what is newest.
    async fn read_packed(&self, id: &StorageId, items: Range<u64>) -> Result<PackedItems, StoreError>;

    /// Paths of all fields seen in the items, sorted (`S29`), at most 2000.
    async fn fields(&self, id: &StorageId) -> Result<Vec<String>, StoreError>;

    /// What [`keep_note`](Self::keep_note) kept last.
    async fn note(&self, id: &StorageId) -> Result<Option<String>, StoreError>;

    /// Keeps what somebody found out about the items, as long as there is the dataset.
    async fn keep_note(&self, id: &StorageId, note: String) -> Result<(), StoreError>;

    /// Paths of all fields in the stored items `items`, counted from the oldest; sorted, the first 2000 of them (`X6`, `X8`).
    ///
    /// Reads little more than the newest items and the two ends, however many there are in between.
    async fn columns(&self, id: &StorageId, items: Range<u64>) -> Result<Vec<String>, StoreError>;
}

/// Which items to read (`D20`, `D21`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Stored items to leave out.
    pub offset: u64,
    /// Most items to read; all if `None`.
    pub limit: Option<u64>,
    /// Newest first: items are reversed before the window is taken.
    pub desc: bool,
}

/// The items of a window.
pub struct ItemChunks {
    /// Items in the dataset.
    pub total: u64,
    /// Items in the window.
    pub count: u64,
    /// About how many bytes they have.
    pub size: u64,
    /// The items, in the order of the window.
    pub chunks: BoxStream<'static, Result<ItemChunk, StoreError>>,
}

/// Items as JSON lines in zstd frames, in pieces that end anywhere.
pub type PackedItems = BoxStream<'static, Result<Bytes, StoreError>>;

/// Some items, one JSON line each, or [joined](DatasetStore::read_joined).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemChunk {
    /// The raw JSON of each item followed by one line feed, or one comma; there are no other line feeds.
    pub lines: Bytes,
    /// How many items these are; at least one.
    pub count: u64,
}
