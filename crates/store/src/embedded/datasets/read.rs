//! Reading a window of items: piece by piece, each in a short read of its own.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{self, Either};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};

use super::super::core::Core;
use super::super::db::Counter;
use super::chunk::{decompress, pick};
use super::locate::{Form, Rest, STEP, Span, damaged, gone};
use super::pages::Pages;
use super::segment::{self, Frames};
use crate::{ItemChunk, ItemChunks, StoreError, Window};

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
    let size = count.saturating_mul(mean_size);
    let chunks = if size <= LONG {
        // Others read the same pages as lines.
        let rest = Rest::new(core, k, span, Form::Lines);
        let lines = rest.pages(pages, size <= SHORT);
        lines.map(move |chunk| form.of(chunk?).map_err(|error| damaged(&error))).boxed()
    } else {
        let is_inline = core.db.is_inline();
        let rest = Rest::new(core, k, span, form);
        if is_inline { rest.steps_in_turn().boxed() } else { rest.steps_ahead().boxed() }
    };
    ItemChunks { total, count, size, chunks }
}

impl Rest {
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
    fn pages(self, pages: Pages, is_short: bool) -> impl Stream<Item = Result<ItemChunk, StoreError>> {
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

    /// Where in the segment at hand the next items are; they count as read then.
    fn next_step(&mut self) -> Result<Step, StoreError> {
        let (segment, span) = (self.segment()?, self.span);
        let frames = segment.find(span, STEP)?;
        let step = Step {
            object: segment.object.clone(),
            wanted: segment.wanted(span, &frames),
            desc: span.desc,
            form: self.form,
            frames,
        };
        self.pass(&step.frames);
        Ok(step)
    }

    /// The next items, if the frame that they are in is unpacked already.
    fn known(&mut self, pages: &Pages) -> Result<Option<ItemChunk>, StoreError> {
        let (segment, span) = (self.segment()?, self.span);
        let frame = segment.find(span, 0)?;
        let Some(lines) = pages.get(&segment.object, frame.bytes.start) else { return Ok(None) };
        let chunk = pick(lines, frame.n, segment.wanted(span, &frame), span.desc).map_err(|error| damaged(&error))?;
        self.pass(&frame);
        Ok(Some(chunk))
    }

    /// The next items, and in `ready` those that were unpacked with them.
    fn unpack_for(&mut self, pages: &Pages, ready: &mut VecDeque<ItemChunk>) -> Result<ItemChunk, StoreError> {
        let (segment, span) = (self.segment()?, self.span);
        let run = segment.find(span, STEP)?;
        let mut frames: Vec<Frames> = segment::each(&segment.frames)
            .skip_while(|frame| frame.first < run.first)
            .take_while(|frame| frame.first < run.first + run.n)
            .collect();
        if span.desc {
            frames.reverse();
        }
        let start = run.bytes.start;
        let chunks: Vec<ItemChunk> = self.core.objects.read_here(&segment.object, run.bytes.clone(), |packed| {
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
        self.pass(&run);
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
            form.of(pick(decompress(&packed, frames.size)?.into(), frames.n, wanted, desc)?)
        })
    }
}

async fn on_other_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?
}
