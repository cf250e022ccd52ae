//! Reading a window of items: piece by piece, each in a short read of its own.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use rusqlite::{Connection, Row, params};

use super::super::core::Core;
use super::super::db::Sql as _;
use super::chunk::{Chunk, decompress, pick};
use super::{PLACE_BITS, row_of, segment};
use crate::{ItemChunk, ItemChunks, Noun, StoreError, Window};

/// About how many bytes of lines one step reads.
const STEP: usize = 512 * 1024;
/// A window of so few items is read on the calling thread, while they are small.
const FEW_ITEMS: u64 = 100;
/// More bytes than this are unpacked on another thread.
const MIN_HOP: usize = 64 * 1024;

/// Reads a window of a dataset that has `total` items now.
pub(super) fn read(core: Arc<Core>, k: i64, total: u64, window: Window) -> ItemChunks {
    let offset = window.offset.min(total);
    let count = window.limit.unwrap_or(u64::MAX).min(total - offset);
    let low = if window.desc { total - offset - count } else { offset };
    let rest = Rest { core, k, low, high: low + count, desc: window.desc, segment: None };
    let chunks = stream::try_unfold(rest, |mut rest| async move {
        if rest.low == rest.high {
            return Ok(None);
        }
        let chunk = rest.step().await?;
        Ok(Some((chunk, rest)))
    });
    ItemChunks { total, count, chunks: chunks.boxed() }
}

/// What is still to be read: the items `low..high`.
struct Rest {
    core: Arc<Core>,
    k: i64,
    low: u64,
    high: u64,
    desc: bool,
    /// The segment in which the last step was.
    segment: Option<Segment>,
}

/// A row of `ds_segment`.
struct Segment {
    first: u64,
    n: u64,
    object: String,
    frames: Vec<u8>,
}

/// Where the next items are.
enum Piece {
    Segment(Segment),
    /// Chunks that stand side by side, in order, and the index of their first item.
    Chunks(u64, Vec<Chunk>),
}

impl Rest {
    async fn step(&mut self) -> Result<ItemChunk, StoreError> {
        let next = if self.desc { self.high - 1 } else { self.low };
        let segment = match self.segment.take() {
            Some(segment) if (segment.first..segment.first + segment.n).contains(&next) => segment,
            _ => match self.find().await? {
                Piece::Segment(segment) => segment,
                Piece::Chunks(first, chunks) => {
                    let size: u64 = chunks.iter().map(|chunk| chunk.size).sum();
                    let n = chunks.iter().map(|chunk| chunk.n).sum();
                    return self.take(first, n, size, move || join(&chunks)).await;
                }
            },
        };
        let last = if self.desc { self.low.max(segment.first) } else { self.high.min(segment.first + segment.n) - 1 };
        let frames = segment::find(&segment.frames, next - segment.first, last - segment.first, STEP)
            .map_err(|error| damaged(&error))?;
        let packed = self.core.objects.read(&segment.object, frames.bytes.clone()).await?;
        let (first, n, size) = (segment.first + frames.first, frames.n, frames.size);
        self.segment = Some(segment);
        self.take(first, n, size as u64, move || Ok(decompress(&packed, size)?.into())).await
    }

    /// Takes what is wanted of `n` items that begin at index `first`, and moves on behind it.
    async fn take(
        &mut self,
        first: u64,
        n: u64,
        size: u64,
        lines: impl FnOnce() -> io::Result<Bytes> + Send + 'static,
    ) -> Result<ItemChunk, StoreError> {
        let (from, to) = (self.low.max(first) - first, self.high.min(first + n) - first);
        if self.desc {
            self.high = first + from;
        } else {
            self.low = first + to;
        }
        let desc = self.desc;
        let unpack = move || pick(lines()?, n, from, to, desc);
        let chunk = if size > MIN_HOP as u64 {
            tokio::task::spawn_blocking(unpack).await.map_err(anyhow::Error::from)?
        } else {
            unpack()
        };
        chunk.map_err(|error| damaged(&error))
    }

    async fn find(&self) -> Result<Piece, StoreError> {
        let (k, low, high, desc) = (self.k, self.low, self.high, self.desc);
        let find = move |connection: &Connection| find(connection, k, low, high, desc);
        if high - low <= FEW_ITEMS { self.core.db.snapshot(find) } else { self.core.db.snapshot_blocking(find).await }
    }
}

/// Finds the piece that holds the next item of `low..high`, by index; a tail's chunks are read at once.
fn find(connection: &Connection, k: i64, low: u64, high: u64, desc: bool) -> Result<Piece, StoreError> {
    // Pieces go only when the dataset does.
    let gone = || StoreError::NotFound(Noun::Storage);
    let next = if desc { high - 1 } else { low };
    let segment = connection.one(
        "SELECT first, n, object, frames FROM ds_segment WHERE k = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
        params![k, next],
        |row| Ok(Segment { first: row.get(0)?, n: row.get(1)?, object: row.get(2)?, frames: row.get(3)? }),
    )?;
    if let Some(segment) = segment
        && next < segment.first + segment.n
    {
        return Ok(Piece::Segment(segment));
    }
    let (tail, first) = connection
        .one(
            "SELECT tail, first FROM ds_tail WHERE k = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
            params![k, next],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)),
        )?
        .ok_or_else(gone)?;
    let row = connection
        .one(
            "SELECT r FROM ds_chunk WHERE r <= ?1 AND r >= ?2 AND r < ?3 ORDER BY r DESC LIMIT 1",
            [row_of(tail, next - first), row_of(tail, 0), row_of(tail + 1, 0)],
            |row| row.get::<_, i64>(0),
        )?
        .ok_or_else(gone)?;

    let mut statement = connection.prepare_cached(if desc {
        "SELECT r, n, size, codec, body FROM ds_chunk WHERE r <= ?1 AND r >= ?2 ORDER BY r DESC"
    } else {
        "SELECT r, n, size, codec, body FROM ds_chunk WHERE r >= ?1 AND r < ?2 ORDER BY r"
    })?;
    let end = if desc { row_of(tail, 0) } else { row_of(tail + 1, 0) };
    let mut rows = statement.query([row, end])?;
    let (mut chunks, mut begin, mut size) = (Vec::new(), u64::MAX, 0);
    while let Some(row) = rows.next()? {
        let (place, chunk) = chunk(row)?;
        let begins = first + place;
        let ends = begins + chunk.n;
        if chunks.is_empty() && !(begins..ends).contains(&next) {
            return Err(gone());
        }
        begin = begin.min(begins);
        size += chunk.size;
        chunks.push(chunk);
        if size >= STEP as u64 || (desc && begins <= low) || (!desc && ends >= high) {
            break;
        }
    }
    if desc {
        chunks.reverse();
    }
    Ok(Piece::Chunks(begin, chunks))
}

/// Reads the columns `r, n, size, codec, body`; the place is that in the tail.
pub(super) fn chunk(row: &Row<'_>) -> rusqlite::Result<(u64, Chunk)> {
    let place = row.get::<_, i64>(0)? & ((1 << PLACE_BITS) - 1);
    let body = row.get::<_, Vec<u8>>(4)?.into();
    Ok((place.cast_unsigned(), Chunk { n: row.get(1)?, size: row.get(2)?, codec: row.get(3)?, body }))
}

fn join(chunks: &[Chunk]) -> io::Result<Bytes> {
    if let [chunk] = chunks {
        return chunk.lines();
    }
    let size: u64 = chunks.iter().map(|chunk| chunk.size).sum();
    let mut lines = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    for chunk in chunks {
        lines.extend_from_slice(&chunk.lines()?);
    }
    Ok(lines.freeze())
}

fn damaged(error: &io::Error) -> StoreError {
    StoreError::Backend(anyhow::anyhow!("items of a dataset are damaged: {error}"))
}
