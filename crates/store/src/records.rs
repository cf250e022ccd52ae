//! Key-value records.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use model::{StorageId, Timestamp};

use crate::StoreError;

/// Bytes that arrive in pieces.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// Keeps the records of key-value stores.
#[async_trait]
pub trait RecordStore: Send + Sync + std::fmt::Debug {
    /// Puts a record, replacing an older one of the same key. A reader sees the old or the new, never a mix (`K5`).
    ///
    /// A streamed body of any size is written as it comes; memory does not grow with it.
    ///
    /// # Errors
    /// `NotFound` for the store; `Body` if the stream fails, and nothing is stored then.
    async fn put(&self, store: &StorageId, record: NewRecord, body: RecordBody) -> Result<RecordMeta, StoreError>;

    /// The record with its content, ready to be read; `None` if there is none.
    async fn get(&self, store: &StorageId, key: &str) -> Result<Option<Record>, StoreError>;

    /// What is known of the record without its content.
    async fn head(&self, store: &StorageId, key: &str) -> Result<Option<RecordMeta>, StoreError>;

    /// Streams content that is not inline, or a part of it. Keeps working while the record is replaced or deleted.
    async fn open(&self, content: &Content, range: Option<ByteRange>) -> Result<ByteStream, StoreError>;

    /// Deletes a record and tells whether there was one (`K23`).
    ///
    /// # Errors
    /// `NotFound` for the store.
    async fn delete(&self, store: &StorageId, key: &str) -> Result<bool, StoreError>;

    /// A page of keys in byte order (`K25`).
    ///
    /// # Errors
    /// `NotFound` for the store.
    async fn keys(&self, store: &StorageId, query: KeyQuery) -> Result<KeyPage, StoreError>;
}

/// A record to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// Its key, checked (`K1`).
    pub key: String,
    /// `Content-Type` as it came (`K4`).
    pub content_type: String,
    /// `br`, `gzip` or `deflate` if the body is encoded; it is kept so (`K3`).
    pub content_encoding: Option<String>,
}

/// Content on its way in.
pub enum RecordBody {
    /// All of it.
    Whole(Bytes),
    /// As it comes; an error in the stream means that it broke off.
    Stream(ByteStream),
}

/// What is known of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    /// Its key.
    pub key: String,
    /// Bytes as stored (`K29`).
    pub size: u64,
    /// `Content-Type` as it came.
    pub content_type: String,
    /// Encoding of the stored bytes.
    pub content_encoding: Option<String>,
    /// Changes whenever the content does (`K22`); 16 hex digits or more.
    pub etag: String,
    /// When it was put.
    pub modified_at: Timestamp,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What is known of it.
    pub meta: RecordMeta,
    /// What is in it.
    pub content: Content,
}

/// Where content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Here.
    Inline(Bytes),
    /// In the object store; read it with [`RecordStore::open`].
    Object {
        /// Key of the object.
        object: String,
        /// Its size in bytes.
        size: u64,
    },
}

/// Part of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// Byte behind the last.
    pub end: u64,
}

/// Which keys to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyQuery {
    /// Most keys to give; at least 1.
    pub limit: usize,
    /// Only keys behind this one, which need not exist.
    pub after: Option<String>,
    /// Only keys that begin with all of these (several when a collection and a prefix are asked for together, `K30`).
    pub prefixes: Vec<String>,
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The records of the page.
    pub items: Vec<RecordMeta>,
    /// Whether more match behind it (`K28`).
    pub more: bool,
}
