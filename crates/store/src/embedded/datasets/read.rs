//! Reading a window of items: piece by piece, each in a short read of its own.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::{self, Either};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use rusqlite::{Connection, Row, params};

use super::super::core::Core;
use super::super::db::{Counter, Sql as _};
use super::chunk::{Chunk, compress, decompress, pick};
use super::pages::Pages;
use super::segment::Frames;
use super::{PLACE_BITS, row_of, segment};
use crate::{ItemChunk, ItemChunks, Noun, PackedItems, StoreError, Window};

/// About how many bytes of lines one step reads.
const STEP: usize = 512 * 1024;
/// The same for a step that leaves them packed, so that there is little to do. What is read fits into the cache of a core until it
/// is sent.
const PACKED_STEP: usize = 1024 * 1024;
/// A window that holds no more bytes than this, as far as one can tell, is looked up on the calling thread.
const SHORT: u64 = 64 * 1024;

/// A window that holds more bytes than this is read ahead.
const LONG: u64 = 4 * STEP as u64;
/// So many steps ahead of what is taken, at the same time.
const AHEAD: usize = 3;

/// Reads a window of a dataset as it is now.
pub(super) fn read(core: Arc<Core>, pages: Pages, k: i64, counter: &Counter, window: Window, form: Form) -> ItemChunks {
    let total = counter.items;
    let offset = window.offset.min(total);
    let count = window.limit.unwrap_or(u64::MAX).min(total - offset);
    let low = if window.desc { total - offset - count } else { offset };
    let mean_size = counter.bytes / total.max(1);
    let span = Span { low, high: low + count, desc: window.desc };
    let chunks = Rest::new(core, k, mean_size, span, form).steps(pages);
    ItemChunks { total, count, size: count.saturating_mul(mean_size), chunks }
}

/// Reads some items of a dataset, of those that there are now, as frames.
pub(super) fn read_packed(core: Arc<Core>, k: i64, counter: &Counter, items: Range<u64>) -> PackedItems {
    let high = items.end.min(counter.items);
    let mean_size = counter.bytes / counter.items.max(1);
    let span = Span { low: items.start.min(high), high, desc: false };
    let frames = Rest::new(core, k, mean_size, span, Form::Packed);
    frames.steps_in_turn().map_ok(|frames| frames.lines).boxed()
}

/// How items are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    /// With a comma for each line feed.
    Joined,
    /// In frames, which stand for the lines wherever a chunk is spoken of.
    Packed,
}

impl Form {
    /// Items, which are lines, in this form.
    fn of(self, items: ItemChunk) -> io::Result<ItemChunk> {
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
struct Span {
    low: u64,
    high: u64,
    desc: bool,
}

impl Span {
    fn is_empty(self) -> bool {
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
struct Rest {
    core: Arc<Core>,
    k: i64,
    mean_size: u64,
    span: Span,
    form: Form,
    /// The segment in which the last step was.
    segment: Option<Segment>,
}

/// A row of `ds_segment`.
struct Segment {
    first: u64,
    n: u64,
    object: Arc<str>,
    frames: Vec<u8>,
}

/// Where the next items are.
enum Piece {
    Segment(Segment),
    /// In chunks, which are read and unpacked already, and what remains behind them.
    Chunks(ItemChunk, Span),
}

impl Rest {
    fn new(core: Arc<Core>, k: i64, mean_size: u64, span: Span, form: Form) -> Self {
        Self { core, k, mean_size, span, form, segment: None }
    }

    fn steps(mut self, pages: Pages) -> BoxStream<'static, Result<ItemChunk, StoreError>> {
        match self.size() {
            size if size <= LONG => {
                // Others read the same pages as lines.
                let form = std::mem::replace(&mut self.form, Form::Lines);
                self.pages(pages).map(move |chunk| form.of(chunk?).map_err(|error| damaged(&error))).boxed()
            }
            _ if self.core.db.is_inline() => self.steps_in_turn().boxed(),
            _ => self.steps_ahead().boxed(),
        }
    }

    /// About how many bytes are to be read.
    fn size(&self) -> u64 {
        (self.span.high - self.span.low).saturating_mul(self.mean_size)
    }

    /// Each step is made when it is asked for.
    fn steps_in_turn(self) -> impl Stream<Item = Result<ItemChunk, StoreError>> {
        stream::try_unfold(self, move |mut rest| async move {
            if rest.span.is_empty() {
                return Ok(None);
            }
            if let Some(chunk) = rest.locate(false).await? {
                return Ok(Some((chunk, rest)));
            }
            let (step, core) = (rest.next_step()?, rest.core.clone());
            Ok(Some((on_other_thread(move || step.unpack(&core)).await?, rest)))
        })
    }

    /// The same with frames that were unpacked for a page before, as far as they are still there.
    fn pages(self, pages: Pages) -> impl Stream<Item = Result<ItemChunk, StoreError>> {
        let is_short = self.size() <= SHORT;
        stream::try_unfold((self, VecDeque::new()), move |(mut rest, mut ready)| {
            let pages = pages.clone();
            async move {
                if let Some(chunk) = ready.pop_front() {
                    return Ok(Some((chunk, (rest, ready))));
                }
                if rest.span.is_empty() {
                    return Ok(None);
                }
                if let Some(chunk) = rest.locate(is_short).await? {
                    return Ok(Some((chunk, (rest, ready))));
                }
                if let Some(chunk) = rest.known(&pages)? {
                    return Ok(Some((chunk, (rest, ready))));
                }
                on_other_thread(move || rest.unpack_for(&pages, &mut ready).map(|chunk| Some((chunk, (rest, ready)))))
                    .await
            }
        })
    }

    /// Steps a little ahead of whoever takes the items: the next ones are unpacked, several at a time, while the last ones are
    /// sent. A slow reader holds no thread: once those are unpacked, they wait.
    fn steps_ahead(self) -> impl Stream<Item = Result<ItemChunk, StoreError>> {
        stream::try_unfold(self, move |mut rest| async move {
            if rest.span.is_empty() {
                return Ok(None);
            }
            let mut found = None;
            if !rest.is_located() {
                // In a task of its own, since this is left alone while a slow reader takes what comes before, and a search in its
                // middle would hold up others.
                let search = async move {
                    let found = rest.locate(false).await?;
                    Ok::<_, StoreError>((rest, found))
                };
                (rest, found) = tokio::spawn(search).await.map_err(anyhow::Error::from)??;
            }
            let step = match found {
                Some(chunk) => Either::Left(future::ok(chunk)),
                None => {
                    let (step, core) = (rest.next_step()?, rest.core.clone());
                    Either::Right(on_other_thread(move || step.unpack(&core)))
                }
            };
            Ok(Some((step, rest)))
        })
        .try_buffered(AHEAD)
    }

    /// Whether the next item is in the segment at hand.
    fn is_located(&self) -> bool {
        let here = |segment: &Segment| (segment.first..segment.first + segment.n).contains(&self.span.next());
        !self.span.is_empty() && self.segment.as_ref().is_some_and(here)
    }

    /// Finds the next item: its segment is at hand then, unless it is in a tail; what was read of that is returned.
    async fn locate(&mut self, is_short: bool) -> Result<Option<ItemChunk>, StoreError> {
        if self.is_located() {
            return Ok(None);
        }
        let (k, span, form) = (self.k, self.span, self.form);
        let find = move |connection: &Connection| find(connection, k, span, form);
        let piece = if is_short { self.core.db.snapshot(find)? } else { self.core.db.snapshot_blocking(find).await? };
        match piece {
            Piece::Segment(segment) => {
                self.segment = Some(segment);
                Ok(None)
            }
            Piece::Chunks(chunk, rest) => {
                self.span = rest;
                Ok(Some(chunk))
            }
        }
    }

    /// Where in the segment at hand the next items are; they count as read then.
    fn next_step(&mut self) -> Result<Step, StoreError> {
        let (segment, span, form) = (self.segment.as_ref().ok_or_else(gone)?, self.span, self.form);
        let is_whole = |frames: &Frames| segment.wanted(span, frames) == (0..frames.n);
        let frames = match form {
            Form::Lines | Form::Joined => segment.find(span, STEP)?,
            // A frame of which not all is wanted stands alone.
            Form::Packed => match segment.find(span, PACKED_STEP)? {
                frames if is_whole(&frames) => frames,
                _ => segment.find(span, 0)?,
            },
        };
        self.span = span.behind(segment.first + frames.first, frames.n);
        Ok(Step {
            object: segment.object.clone(),
            wanted: segment.wanted(span, &frames),
            desc: span.desc,
            form,
            frames,
        })
    }

    /// The next items, if the frame that they are in is unpacked already.
    fn known(&mut self, pages: &Pages) -> Result<Option<ItemChunk>, StoreError> {
        let (segment, span) = (self.segment.as_ref().ok_or_else(gone)?, self.span);
        let frame = segment.find(span, 0)?;
        let Some(lines) = pages.get(&segment.object, frame.bytes.start) else { return Ok(None) };
        let chunk = pick(lines, frame.n, segment.wanted(span, &frame), span.desc).map_err(|error| damaged(&error))?;
        self.span = span.behind(segment.first + frame.first, frame.n);
        Ok(Some(chunk))
    }

    /// The next items, and in `ready` those that were unpacked with them.
    fn unpack_for(&mut self, pages: &Pages, ready: &mut VecDeque<ItemChunk>) -> Result<ItemChunk, StoreError> {
        let (segment, span) = (self.segment.as_ref().ok_or_else(gone)?, self.span);
        let run = segment.find(span, STEP)?;
        let mut frames: Vec<Frames> = segment::each(&segment.frames)
            .skip_while(|frame| frame.first < run.first)
            .take_while(|frame| frame.first < run.first + run.n)
            .collect();
        if span.desc {
            frames.reverse();
        }
        let start = run.bytes.start;
        let chunks: Vec<ItemChunk> = self.core.objects.read_here(&segment.object, run.bytes, |packed| {
            let mut chunks = Vec::with_capacity(frames.len());
            for frame in &frames {
                let torn = || io::Error::new(io::ErrorKind::InvalidData, "a frame lies beyond its object");
                let index = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
                let bytes = packed.get(index(frame.bytes.start)..index(frame.bytes.end)).ok_or_else(torn)?;
                let lines = Bytes::from(decompress(bytes, frame.size)?);
                pages.keep(&segment.object, frame.bytes.start, lines.clone());
                chunks.push(pick(lines, frame.n, segment.wanted(span, frame), span.desc)?);
            }
            Ok(chunks)
        })?;
        self.span = span.behind(segment.first + run.first, run.n);
        ready.extend(chunks);
        ready.pop_front().ok_or_else(gone)
    }
}

/// Some frames to be read, and which of their items are wanted.
struct Step {
    object: Arc<str>,
    frames: Frames,
    wanted: Range<u64>,
    desc: bool,
    form: Form,
}

impl Step {
    /// Blocks.
    fn unpack(self, core: &Core) -> Result<ItemChunk, StoreError> {
        let Self { object, frames, wanted, desc, form } = self;
        core.objects.read_here(&object, frames.bytes, |packed| {
            if form == Form::Packed && wanted == (0..frames.n) {
                return Ok(ItemChunk { lines: packed.into(), count: frames.n });
            }
            form.of(pick(decompress(&packed, frames.size)?.into(), frames.n, wanted, desc)?)
        })
    }
}

async fn on_other_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?
}

impl Segment {
    /// Frames that hold the next items of a span, but no more than hold about `most` bytes of lines.
    fn find(&self, span: Span, most: usize) -> Result<Frames, StoreError> {
        let (at, here) = (span.next() - self.first, span.within(self.first, self.n));
        let until = if span.desc { here.start } else { here.end - 1 };
        segment::find(&self.frames, at, until, most).map_err(|error| damaged(&error))
    }

    /// Which items of these frames are in a span.
    fn wanted(&self, span: Span, frames: &Frames) -> Range<u64> {
        span.within(self.first + frames.first, frames.n)
    }
}

/// Pieces go only when the dataset does.
fn gone() -> StoreError {
    StoreError::NotFound(Noun::Storage)
}

/// Finds the piece that holds the next item of a span, by index; a tail's chunks are read at once.
fn find(connection: &Connection, k: i64, span: Span, form: Form) -> Result<Piece, StoreError> {
    let Span { low, high, desc } = span;
    let next = span.next();
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
    let (tail, first, object) = connection
        .one(
            "SELECT tail, first, object FROM ds_tail WHERE k = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
            params![k, next],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?, row.get::<_, Option<Arc<str>>>(2)?)),
        )?
        .ok_or_else(gone)?;
    if let Some(object) = object {
        let segment = begun_segment(connection, tail, first, object)?;
        if next < segment.first + segment.n {
            return Ok(Piece::Segment(segment));
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

fn damaged(error: &io::Error) -> StoreError {
    StoreError::Backend(anyhow::anyhow!("items of a dataset are damaged: {error}"))
}
