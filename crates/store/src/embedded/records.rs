//! Key-value records: small ones in their rows, large ones as objects.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use model::{StorageId, StorageKind, Timestamp, hex};
use rusqlite::{Connection, Row, params};
use sha2::{Digest as _, Sha256};

use super::core::{Core, RecordName};
use super::db::{Db, Sql as _, WriteTx};
use super::objects::{self, Reserved};
use crate::{
    ByteRange, ByteStream, Content, KeyPage, KeyQuery, NewRecord, Record, RecordBody, RecordMeta, RecordStore,
    StoreError,
};

/// Content of this size and more becomes an object.
const MIN_OBJECT: usize = 32 * 1024;
/// A record with no more content than this in its row is kept in memory once it was read.
const MAX_CACHED: usize = 2 * 1024;
/// Pages of keys up to this size are read on the calling thread.
const SHORT_PAGE: usize = 100;
/// Bytes of a large record that are taken in before the room on the disk is looked at again.
const LOOK_AFTER: u64 = 1024 * 1024;

/// The embedded store of records.
#[derive(Debug)]
pub(super) struct Records {
    core: Arc<Core>,
}

impl Records {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    fn key(&self, store: &StorageId) -> Result<i64, StoreError> {
        self.core.key(store, StorageKind::KeyValueStore)
    }
}

#[async_trait]
impl RecordStore for Records {
    async fn put(&self, store: &StorageId, record: NewRecord, body: RecordBody) -> Result<RecordMeta, StoreError> {
        let k = self.key(store)?;
        let prepared = match body {
            RecordBody::Whole(body) => Prepared::whole(&self.core, record, body).await?,
            RecordBody::Stream(body) => Prepared::stream(&self.core, record, body).await?,
        };
        let core = self.core.clone();
        self.core.db.grow_checked(prepared.weight(), move |tx| prepared.put(&core, tx, k)).await
    }

    async fn get(&self, store: &StorageId, key: &str) -> Result<Option<Record>, StoreError> {
        let name = (self.key(store)?, key.into());
        let epoch = match self.core.records.get(&name) {
            Ok(record) => return Ok(Some(record)),
            Err(epoch) => epoch,
        };
        let found = self.core.db.read(|connection| find(connection, &name))?;
        if let Some(record) = &found
            && !matches!(&record.content, Content::Inline(bytes) if bytes.len() > MAX_CACHED)
        {
            self.core.records.fill(epoch, name, record.clone());
        }
        Ok(found)
    }

    async fn head(&self, store: &StorageId, key: &str) -> Result<Option<RecordMeta>, StoreError> {
        let k = self.key(store)?;
        self.core.db.read(|connection| {
            connection.one(
                "SELECT key, size, content_type, encoding, etag, modified_at FROM record WHERE k = ?1 AND key = ?2",
                params![k, key],
                meta,
            )
        })
    }

    async fn open(&self, content: &Content, range: Option<ByteRange>) -> Result<ByteStream, StoreError> {
        match content {
            Content::Inline(bytes) => {
                let range = range.map_or(0..bytes.len(), |range| {
                    let at = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
                    at(range.start).min(at(range.end))..at(range.end)
                });
                let part = bytes.slice(range);
                Ok(futures::stream::iter((!part.is_empty()).then_some(Ok(part))).boxed())
            }
            Content::Object { object, size } => {
                let range = range.map_or(0..*size, |range| range.start.min(*size)..range.end.min(*size));
                self.core.objects.stream(object, range).await
            }
        }
    }

    async fn delete(&self, store: &StorageId, key: &str) -> Result<bool, StoreError> {
        let (k, key, core) = (self.key(store)?, key.to_owned(), self.core.clone());
        self.core
            .db
            .write_checked(key.len(), move |tx| {
                tx.counter(k)?;
                let Some(old) = Old::find(tx, k, &key)? else { return Ok(false) };
                tx.run("DELETE FROM record WHERE k = ?1 AND key = ?2", params![k, key])?;
                old.drop_content(tx)?;
                let now = tx.now();
                let counter = tx.counter_mut(k)?;
                counter.items -= 1;
                counter.bytes -= old.size;
                counter.writes += 1;
                counter.deletes += 1;
                counter.touch(now);
                forget(&core, tx, k, &key);
                Ok(true)
            })
            .await
    }

    async fn keys(&self, store: &StorageId, query: KeyQuery) -> Result<KeyPage, StoreError> {
        let k = self.key(store)?;
        if query.limit <= SHORT_PAGE {
            self.core.db.read(|connection| keys(connection, k, &query))
        } else {
            self.core.db.snapshot_blocking(move |connection| keys(connection, k, &query)).await
        }
    }
}

/// A record whose content is safe and that waits for its row.
#[derive(Debug)]
pub(super) struct Prepared {
    record: NewRecord,
    size: u64,
    etag: [u8; 16],
    content: PreparedContent,
}

#[derive(Debug)]
enum PreparedContent {
    Inline(Bytes),
    Object(Reserved),
}

impl Prepared {
    /// Prepares a record with all of its content; what is large is written to an object here.
    pub(super) async fn whole(core: &Core, record: NewRecord, body: Bytes) -> Result<Self, StoreError> {
        let mut etag = Etag::new(&record);
        etag.update(&body);
        let size = body.len() as u64;
        let content = if body.len() < MIN_OBJECT {
            PreparedContent::Inline(body)
        } else {
            core.db.admit(size)?;
            PreparedContent::Object(core.objects.put(body).await?)
        };
        Ok(Self { record, size, etag: etag.finish(), content })
    }

    async fn stream(core: &Core, record: NewRecord, mut body: ByteStream) -> Result<Self, StoreError> {
        let mut start = BytesMut::new();
        while start.len() < MIN_OBJECT {
            match body.next().await {
                Some(Ok(bytes)) => start.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(StoreError::Body(error)),
                None => return Self::whole(core, record, start.freeze()).await,
            }
        }
        let mut etag = Etag::new(&record);
        let mut body = while_there_is_room(core.db.clone(), body);
        let (object, size) = core.objects.put_stream(start, &mut body, |bytes| etag.update(bytes)).await?;
        Ok(Self { record, size, etag: etag.finish(), content: PreparedContent::Object(object) })
    }

    /// About how many bytes it holds on to.
    pub(super) fn weight(&self) -> usize {
        match &self.content {
            PreparedContent::Inline(body) => body.len(),
            PreparedContent::Object(_) => 0,
        }
    }

    /// Puts the record into the store with key `k`.
    ///
    /// # Errors
    /// `NotFound(Storage)`, before anything is changed.
    pub(super) fn put(self, core: &Arc<Core>, tx: &mut WriteTx<'_>, k: i64) -> Result<RecordMeta, StoreError> {
        let now = tx.now();
        let Self { record: NewRecord { key, content_type, content_encoding }, size, etag, content } = self;
        tx.counter(k)?;
        let old = Old::find(tx, k, &key)?;

        let (mut body, mut object) = (None, None);
        match content {
            PreparedContent::Inline(bytes) => {
                let row = old.as_ref().and_then(|old| old.body);
                match row {
                    Some(row) => {
                        tx.run("UPDATE record_body SET body = ?2 WHERE r = ?1", params![row, &*bytes])?;
                        body = Some(row);
                    }
                    None => {
                        tx.run("INSERT INTO record_body (body) VALUES (?1)", [&*bytes])?;
                        body = Some(tx.last_insert_rowid());
                    }
                }
            }
            PreparedContent::Object(reserved) => {
                object = Some(reserved.key().to_owned());
                reserved.claim(tx)?;
            }
        }
        if let Some(old) = &old {
            old.drop_content_but(tx, body)?;
        }
        let sql = if old.is_some() {
            "UPDATE record SET size = ?3, content_type = ?4, encoding = ?5, etag = ?6, modified_at = ?7, body = ?8, object = ?9
             WHERE k = ?1 AND key = ?2"
        } else {
            "INSERT INTO record (k, key, size, content_type, encoding, etag, modified_at, body, object)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        };
        tx.run(sql, params![k, key, size, content_type, content_encoding, etag, now.as_millis(), body, object])?;

        let counter = tx.counter_mut(k)?;
        counter.items += u64::from(old.is_none());
        counter.bytes = counter.bytes + size - old.map_or(0, |old| old.size);
        counter.writes += 1;
        counter.touch(now);
        forget(core, tx, k, &key);
        Ok(RecordMeta { key, size, content_type, content_encoding, etag: hex::encode(&etag), modified_at: now })
    }
}

/// Has what is kept in memory of a record forgotten once this is committed.
fn forget(core: &Arc<Core>, tx: &mut WriteTx<'_>, k: i64, key: &str) {
    let (core, name) = (core.clone(), (k, key.into()));
    tx.after_commit(move || core.records.remove(&name));
}

/// Ends a stream with an error when the disk is full. It looks again after every [`LOOK_AFTER`] bytes.
fn while_there_is_room(db: Db, body: ByteStream) -> ByteStream {
    let mut since = LOOK_AFTER;
    body.map(move |piece| {
        let piece = piece?;
        since += piece.len() as u64;
        if since >= LOOK_AFTER {
            since = 0;
            db.admit(LOOK_AFTER).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        }
        Ok(piece)
    })
    .boxed()
}

/// A record as it stands before a change.
struct Old {
    size: u64,
    body: Option<i64>,
    object: Option<String>,
}

impl Old {
    fn find(tx: &WriteTx<'_>, k: i64, key: &str) -> Result<Option<Self>, StoreError> {
        tx.one("SELECT size, body, object FROM record WHERE k = ?1 AND key = ?2", params![k, key], |row| {
            Ok(Self { size: row.get(0)?, body: row.get(1)?, object: row.get(2)? })
        })
    }

    fn drop_content(&self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        self.drop_content_but(tx, None)
    }

    /// Drops its content, unless its row was given to new content.
    fn drop_content_but(&self, tx: &WriteTx<'_>, reused: Option<i64>) -> Result<(), StoreError> {
        if let Some(body) = self.body.filter(|body| Some(*body) != reused) {
            tx.run("DELETE FROM record_body WHERE r = ?1", [body])?;
        }
        if let Some(object) = &self.object {
            objects::discard(tx, object)?;
        }
        Ok(())
    }
}

/// Hashes a representation: the same bytes under another type are another representation (`K22`).
struct Etag(Sha256);

impl Etag {
    fn new(record: &NewRecord) -> Self {
        let mut hash = Sha256::new();
        for part in [record.content_type.as_str(), record.content_encoding.as_deref().unwrap_or_default()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash)
    }

    fn update(&mut self, content: &[u8]) {
        self.0.update(content);
    }

    fn finish(self) -> [u8; 16] {
        let hash = self.0.finalize();
        std::array::from_fn(|at| hash[at])
    }
}

fn find(connection: &Connection, (k, key): &RecordName) -> Result<Option<Record>, StoreError> {
    connection.one(
        "SELECT key, size, content_type, encoding, etag, modified_at, object, b.body
         FROM record LEFT JOIN record_body b ON b.r = record.body WHERE k = ?1 AND key = ?2",
        params![k, key],
        |row| {
            let meta = meta(row)?;
            let content = match row.get(6)? {
                Some(object) => Content::Object { object, size: meta.size },
                None => Content::Inline(row.get::<_, Vec<u8>>(7)?.into()),
            };
            Ok(Record { meta, content })
        },
    )
}

fn keys(connection: &Connection, k: i64, query: &KeyQuery) -> Result<KeyPage, StoreError> {
    // All prefixes hold together only if the longest begins with each of the others.
    let prefix = query.prefixes.iter().max_by_key(|prefix| prefix.len()).map_or("", String::as_str);
    if !query.prefixes.iter().all(|other| prefix.starts_with(other.as_str())) {
        return Ok(KeyPage::default());
    }
    let (sql, from) = match query.after.as_deref() {
        Some(after) if after >= prefix => (
            "SELECT key, size, content_type, encoding, etag, modified_at FROM record WHERE k = ?1 AND key > ?2 ORDER BY key",
            after,
        ),
        _ => (
            "SELECT key, size, content_type, encoding, etag, modified_at FROM record WHERE k = ?1 AND key >= ?2 ORDER BY key",
            prefix,
        ),
    };
    let mut page = KeyPage::default();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![k, from])?;
    while let Some(row) = rows.next()? {
        if !row.get_ref(0)?.as_str().is_ok_and(|key| key.starts_with(prefix)) {
            break;
        }
        if page.items.len() == query.limit {
            page.more = true;
            break;
        }
        page.items.push(meta(row)?);
    }
    Ok(page)
}

fn meta(row: &Row<'_>) -> rusqlite::Result<RecordMeta> {
    Ok(RecordMeta {
        key: row.get(0)?,
        size: row.get(1)?,
        content_type: row.get(2)?,
        content_encoding: row.get(3)?,
        etag: hex::encode(&row.get::<_, [u8; 16]>(4)?),
        modified_at: Timestamp::from_millis(row.get(5)?),
    })
}

/// Takes up to `limit` records of a deleted store away and tells how many.
pub(super) fn purge(tx: &WriteTx<'_>, k: i64, limit: usize) -> Result<usize, StoreError> {
    let records =
        tx.all("SELECT key, size, body, object FROM record WHERE k = ?1 LIMIT ?2", params![k, limit], |row| {
            Ok((row.get::<_, String>(0)?, Old { size: row.get(1)?, body: row.get(2)?, object: row.get(3)? }))
        })?;
    for (key, old) in &records {
        tx.run("DELETE FROM record WHERE k = ?1 AND key = ?2", params![k, key])?;
        old.drop_content(tx)?;
    }
    Ok(records.len())
}
