//! Where the items of a window are: in which segments, or in the chunks of a tail.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, Row, params};

use super::super::core::Core;
use super::super::db::Sql as _;
use super::chunk::{Chunk, compress, pick};
use super::segment::Frames;
use super::{PLACE_BITS, row_of, segment};
use crate::{ItemChunk, Noun, StoreError};

/// About how many bytes of lines one step reads.
pub(super) const STEP: usize = 512 * 1024;
/// Segments that are found at a time.
const SEGMENTS: usize = 16;

/// How items are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    /// With a comma for each line feed.
    Joined,
    /// In a frame, which stands for the lines wherever a chunk is spoken of.
    Packed,
}

impl Form {
    /// Items, which are lines, in this form.
    pub(super) fn of(self, items: ItemChunk) -> io::Result<ItemChunk> {
        match self {
            Self::Lines => Ok(items),
            Self::Joined => Ok(ItemChunk { lines: joined(items.lines), ..items }),
            Self::Packed => Ok(ItemChunk { lines: compress(&items.lines)?.into(), ..items }),
        }
    }
}

/// Copies nothing if nobody else holds on to the lines.
fn joined(lines: Bytes) -> Bytes {
    let mut lines = BytesMut::from(lines);
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\n', &lines[from..]) {
        lines[from + at] = b',';
        from += at + 1;
    }
    lines.freeze()
}

/// The items `low..high`, and from which end they are read.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub low: u64,
    pub high: u64,
    pub desc: bool,
}

impl Span {
    pub(super) fn is_empty(self) -> bool {
        self.low == self.high
    }

    /// The item that is read next.
    fn next(self) -> u64 {
        if self.desc { self.high - 1 } else { self.low }
    }

    /// Which of `n` items that begin at index `first` are in it.
    fn within(self, first: u64, n: u64) -> Range<u64> {
        self.low.max(first) - first..self.high.min(first + n) - first
    }

    /// What remains behind them.
    fn behind(self, first: u64, n: u64) -> Self {
        let done = self.within(first, n);
        if self.desc { Self { high: first + done.start, ..self } } else { Self { low: first + done.end, ..self } }
    }
}

/// What is still to be read of a window.
pub(super) struct Rest {
    pub core: Arc<Core>,
    k: i64,
    pub span: Span,
    pub form: Form,
    /// The next segments, as far as they were found. If the next item is in one, it is in the first of them.
    segments: VecDeque<Segment>,
}

/// A row of `ds_segment`.
pub(super) struct Segment {
    pub first: u64,
    pub n: u64,
    pub object: Arc<str>,
    pub frames: Vec<u8>,
}

/// Where the next items are.
enum Piece {
    Segments(VecDeque<Segment>),
    /// In chunks, which are read and unpacked already, and what remains behind them.
    Chunks(ItemChunk, Span),
}

impl Rest {
    pub(super) fn new(core: Arc<Core>, k: i64, span: Span, form: Form) -> Self {
        Self { core, k, span, form, segments: VecDeque::new() }
    }

    /// Whether the next item is in the segment at hand.
    pub(super) fn is_located(&self) -> bool {
        !self.span.is_empty() && self.segments.front().is_some_and(|segment| segment.holds(self.span.next()))
    }

    /// Finds the next item: its segment is at hand then, unless it is in a tail; what was read of that is returned.
    pub(super) async fn locate(&mut self, is_short: bool) -> Result<Option<ItemChunk>, StoreError> {
        if self.is_located() {
            return Ok(None);
        }
        let (k, span, form) = (self.k, self.span, self.form);
        let find = move |connection: &Connection| find(connection, k, span, form);
        let piece = if is_short { self.core.db.snapshot(find)? } else { self.core.db.snapshot_blocking(find).await? };
        match piece {
            Piece::Segments(segments) => {
                self.segments = segments;
                Ok(None)
            }
            Piece::Chunks(chunk, rest) => {
                self.span = rest;
                Ok(Some(chunk))
            }
        }
    }

    /// Counts some frames of the segment at hand as read.
    pub(super) fn pass(&mut self, frames: &Frames) {
        if let Some(segment) = self.segments.front() {
            self.span = self.span.behind(segment.first + frames.first, frames.n);
        }
        if !self.is_located() {
            self.segments.pop_front();
        }
    }

    /// The segment at hand.
    pub(super) fn segment(&self) -> Result<&Segment, StoreError> {
        self.segments.front().ok_or_else(gone)
    }
}

impl Segment {
    fn holds(&self, item: u64) -> bool {
        (self.first..self.first + self.n).contains(&item)
    }

    /// Frames that hold the next items of a span, but no more than hold about `most` bytes of lines.
    pub(super) fn find(&self, span: Span, most: usize) -> Result<Frames, StoreError> {
        let (at, here) = (span.next() - self.first, span.within(self.first, self.n));
        let until = if span.desc { here.start } else { here.end - 1 };
        segment::find(&self.frames, at, until, most).map_err(|error| damaged(&error))
    }

    /// The frames that lie wholly in a span and hold the next items of it upwards, if there are any.
    pub(super) fn whole(&self, span: Span) -> Option<Frames> {
        segment::whole(&self.frames, span.within(self.first, self.n))
    }

    /// Which items of these frames are in a span.
    pub(super) fn wanted(&self, span: Span, frames: &Frames) -> Range<u64> {
        span.within(self.first + frames.first, frames.n)
    }
}

/// Pieces go only when the dataset does.
pub(super) fn gone() -> StoreError {
    StoreError::NotFound(Noun::Storage)
}

/// Finds the piece that holds the next item of a span, by index; a tail's chunks are read at once.
fn find(connection: &Connection, k: i64, span: Span, form: Form) -> Result<Piece, StoreError> {
    let Span { low, high, desc } = span;
    let next = span.next();
    let segments = segments(connection, k, span)?;
    if !segments.is_empty() {
        return Ok(Piece::Segments(segments));
    }
    let (tail, first, object) = connection
        .one(
            "SELECT tail, first, object FROM ds_tail WHERE k = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
            params![k, next],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?, row.get::<_, Option<Arc<str>>>(2)?)),
        )?
        .ok_or_else(gone)?;
    if let Some(object) = object {
        let segment = begun_segment(connection, tail, first, object)?;
        if segment.holds(next) {
            return Ok(Piece::Segments([segment].into()));
        }
    }
    let row = connection
        .one(
            "SELECT r FROM ds_chunk WHERE r <= ?1 AND r >= ?2 AND r < ?3 ORDER BY r DESC LIMIT 1",
            [row_of(tail, next - first), row_of(tail, 0), row_of(tail + 1, 0)],
            |row| row.get::<_, i64>(0),
        )?
        .ok_or_else(gone)?;

    let mut statement = connection.prepare_cached(if desc {
        "SELECT r, n, size, codec, body FROM ds_chunk WHERE r <= ?1 AND r >= ?2 AND at IS NULL ORDER BY r DESC"
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
    let n = chunks.iter().map(|chunk| chunk.n).sum();
    let wanted = join(&chunks).and_then(|lines| form.of(pick(lines, n, span.within(begin, n), desc)?));
    Ok(Piece::Chunks(wanted.map_err(|error| damaged(&error))?, span.behind(begin, n)))
}

/// The segment that holds the next item of a span, if there is one, and upwards some that follow, so that a long export need not
/// look for each of them.
fn segments(connection: &Connection, k: i64, span: Span) -> Result<VecDeque<Segment>, StoreError> {
    let next = span.next();
    let row =
        |row: &Row<'_>| Ok(Segment { first: row.get(0)?, n: row.get(1)?, object: row.get(2)?, frames: row.get(3)? });
    let here = connection.one(
        "SELECT first, n, object, frames FROM ds_segment WHERE k = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
        params![k, next],
        row,
    )?;
    let Some(here) = here.filter(|segment| segment.holds(next)) else { return Ok(VecDeque::new()) };
    let mut segments = VecDeque::from([here]);
    if !span.desc && !span.behind(segments[0].first, segments[0].n).is_empty() {
        segments.extend(connection.all(
            "SELECT first, n, object, frames FROM ds_segment WHERE k = ?1 AND first > ?2 AND first < ?3
             ORDER BY first LIMIT ?4",
            params![k, next, span.high, SEGMENTS - 1],
            row,
        )?);
    }
    Ok(segments)
}

/// What of a tail lies in its object already.
fn begun_segment(connection: &Connection, tail: i64, first: u64, object: Arc<str>) -> Result<Segment, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT n, bytes, size, at FROM ds_chunk WHERE r >= ?1 AND r < ?2 ORDER BY r")?;
    let mut rows = statement.query([row_of(tail, 0), row_of(tail + 1, 0)])?;
    let mut segment = Segment { first, n: 0, object, frames: Vec::new() };
    while let Some(row) = rows.next()?
        && row.get::<_, Option<u64>>(3)?.is_some()
    {
        let n = row.get(0)?;
        segment.n += n;
        segment::add_entry(&mut segment.frames, n, row.get(1)?, row.get(2)?).map_err(|error| damaged(&error))?;
    }
    Ok(segment)
}

/// Reads the columns `r, n, size, codec, body`; the place is that in the tail.
pub(super) fn chunk(row: &Row<'_>) -> rusqlite::Result<(u64, Chunk)> {
    let place = row.get::<_, i64>(0)? & ((1 << PLACE_BITS) - 1);
    let body = row.get::<_, Vec<u8>>(4)?.into();
    Ok((place.cast_unsigned(), Chunk { n: row.get(1)?, size: row.get(2)?, codec: row.get(3)?, body, paths: None }))
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

pub(super) fn damaged(error: &io::Error) -> StoreError {
    StoreError::Backend(anyhow::anyhow!("items of a dataset are damaged: {error}"))
}
