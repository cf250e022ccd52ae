//! The bytes of one answer: the items of a window as a view shows them, written in a format.
//!
//! An [`Export`] is a value, and writing it twice gives the same bytes: its window was fixed when it was made. Three stages
//! work side by side, each one step ahead of the next, so memory stays flat and a slow client slows everything:
//!
//! 1. the view makes entries of the stored items and gathers them in batches;
//! 2. if the format must know all entries before it can write the first, a survey looks at them in a pass of its own;
//! 3. the writer turns batch after batch into pieces of the answer.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use model::StorageId;
use model::item_view::{ItemView, Next, Transform};
use parking_lot::Mutex;
use store::{DatasetStore, ItemChunk, ItemChunks, StoreError, Window};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::format::{Format, Layout, Options, Writer, columns_from_stored};

/// Bytes of entries that make a batch.
const BATCH: usize = 256 << 10;
/// Entries that make a batch, however small: a table may write thousands of cells for each of them.
const BATCH_ENTRIES: usize = 512;
/// Bytes that are read from a file at a time.
const PIECE: usize = 64 << 10;
/// Fewer bytes of items are not worth a packed answer.
const WORTH_PACKING: u64 = 4096;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What is to be written, and how.
#[derive(Clone)]
pub(super) struct Export {
    datasets: Arc<dyn DatasetStore>,
    id: StorageId,
    window: Window,
    /// What was opened to fix the window, for the first who reads.
    opened: Arc<Mutex<Option<ItemChunks>>>,
    /// Items in the dataset when the window was fixed.
    pub(super) total: u64,
    /// Items in the window.
    pub(super) count: u64,
    /// About how many bytes the items of the window have.
    size: u64,
    view: ItemView,
    transform: Arc<Transform>,
    format: Format,
    options: Arc<Options>,
}

/// Pieces of an answer, in order.
pub(super) type Pieces = BoxStream<'static, io::Result<Bytes>>;
/// Some entries, a line each.
type Batch = Bytes;

impl Export {
    /// Fixes the window to the items that there are now.
    pub(super) async fn new(
        datasets: Arc<dyn DatasetStore>,
        id: StorageId,
        window: Window,
        view: ItemView,
        transform: Transform,
        format: Format,
        options: Options,
    ) -> Result<Self, StoreError> {
        let items = open(&*datasets, &id, window, &view, format).await?;
        let (total, count, size) = (items.total, items.count, items.size);
        let opened = Arc::new(Mutex::new(Some(items)));
        let (transform, options) = (Arc::new(transform), Arc::new(options));
        Ok(Self { datasets, id, window, opened, total, count, size, view, transform, format, options })
    }

    /// The same answer as it was when the dataset had less: `end` is what [`end`](Self::end) was then.
    pub(super) fn resumed_at(mut self, end: u64) -> Self {
        let left = end - self.window.offset.min(end);
        self.count = self.window.limit.unwrap_or(u64::MAX).min(left);
        if self.window.desc || end < self.window.offset {
            self.total = end;
        }
        self.opened = Arc::default();
        self
    }

    /// The index behind the newest item that matters: as long as it is the same, so are the bytes of the answer.
    pub(super) fn end(&self) -> u64 {
        if self.window.desc { self.total } else { self.window.offset.min(self.total) + self.count }
    }

    /// The whole answer, byte for byte the same each time. Nothing is read before the first piece is asked for.
    pub(super) fn pieces(&self) -> Pieces {
        let export = self.clone();
        if self.view.is_identity() && self.format.is_verbatim() {
            return stream::once(async move { export.verbatim().await }).flatten().boxed();
        }
        let (pieces, received) = mpsc::channel(1);
        let start = stream::once(async move {
            tokio::spawn(async move {
                let outcome = tokio::select! {
                    outcome = export.write(&pieces) => outcome,
                    // Nobody reads any more. A survey, or a view that drops everything, would not notice for long.
                    () = pieces.closed() => return,
                };
                if let Err(error) = outcome {
                    let _ = pieces.send(Err(error)).await;
                }
            });
            ReceiverStream::new(received)
        });
        start.flatten().boxed()
    }

    /// The whole answer in frames of zstd, if that takes less than writing it, which it does where items are kept packed.
    pub(super) async fn packed(&self) -> Result<Option<Pieces>, StoreError> {
        let is_as_stored = self.view.is_identity() && self.format == Format::JsonLines && self.start().is_empty();
        if !is_as_stored || self.window.desc || self.size < WORTH_PACKING {
            return Ok(None);
        }
        let low = self.window.offset.min(self.total);
        let frames = self.datasets.read_packed(&self.id, low..low + self.count).await?;
        Ok(Some(frames.map_err(broken).boxed()))
    }

    /// Items as they are stored: whole chunks go through without a look at each of them.
    async fn verbatim(self) -> Pieces {
        let items = match self.read().await {
            Ok(items) => items,
            Err(error) => return stream::iter([Err(broken(error))]).boxed(),
        };
        let start = self.start();
        let mut writer = match self.format.writer(Layout::Plain, &self.options) {
            Ok(writer) => writer,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let mut out = start;
        let count = self.count;
        let chunks = items.chunks.map(Some).chain(stream::iter([None]));
        let mut first = true;
        let pieces = chunks.map(move |chunk| {
            let outcome = match chunk {
                Some(Ok(chunk)) => {
                    let is_all = chunk.count >= count;
                    write_chunk(&mut *writer, chunk, std::mem::take(&mut first), is_all, &mut out)
                }
                Some(Err(error)) => Err(broken(error)),
                None => finish(&mut *writer, std::mem::take(&mut first), &mut out),
            };
            stream::iter(outcome.map_or_else(|error| vec![Err(error)], |pieces| pieces.into_iter().map(Ok).collect()))
        });
        pieces.flatten().boxed()
    }

    async fn write(&self, pieces: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
        let layout = self.layout().await?;
        let out = self.start();
        let (format, options) = (self.format, self.options.clone());
        let mut pen = on_a_thread_if(format.is_heavy(), move || {
            let mut pen = Pen { writer: format.writer(layout, &options)?, out };
            pen.writer.begin(&mut pen.out)?;
            Ok(pen)
        })
        .await?;
        let mut batches = self.batches().await?;
        while let Some(batch) = batches.recv().await {
            let batch = batch?;
            pen = on_a_thread_if(format.is_heavy(), move || {
                for entry in lines_of(&batch) {
                    if pen.writer.is_full() {
                        break;
                    }
                    pen.writer.entry(entry, &mut pen.out)?;
                }
                Ok(pen)
            })
            .await?;
            if pen.writer.is_full() {
                break;
            }
            if pen.out.len() >= PIECE {
                send(pieces, std::mem::take(&mut pen.out)).await?;
            }
        }
        // Who makes entries ends with this, if the format holds no more of them.
        drop(batches);
        let (out, file) = on_a_thread_if(format.is_heavy(), move || {
            let file = pen.writer.end(&mut pen.out)?;
            Ok((pen.out, file))
        })
        .await?;
        if !out.is_empty() {
            send(pieces, out).await?;
        }
        let mut rest = file;
        while let Some(file) = rest {
            let (piece, file) = on_a_thread_if(true, move || read_piece(file)).await?;
            rest = (!piece.is_empty()).then_some(file);
            if !piece.is_empty() {
                send(pieces, piece).await?;
            }
        }
        Ok(())
    }

    /// Learns what the format must know before the first entry.
    async fn layout(&self) -> io::Result<Layout> {
        let Some(mut survey) = self.format.survey(&self.view, &self.options) else { return Ok(Layout::Plain) };
        if self.format.is_table()
            && let Some(columns) = columns_from_stored(&self.view, &self.stored_columns().await?)
        {
            return Ok(Layout::Columns(columns));
        }
        let mut batches = self.batches().await?;
        while let Some(batch) = batches.recv().await {
            let batch = batch?;
            let (back, flow) = on_a_thread_if(true, move || {
                let flow = lines_of(&batch).try_for_each(|entry| match survey.entry(entry) {
                    Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
                    Ok(ControlFlow::Break(())) => ControlFlow::Break(Ok(())),
                    Err(error) => ControlFlow::Break(Err(error)),
                });
                Ok((survey, flow))
            })
            .await?;
            survey = back;
            if let ControlFlow::Break(outcome) = flow {
                outcome?;
                break;
            }
        }
        on_a_thread_if(true, move || survey.finish()).await
    }

    /// The field paths that the stored items of the window have.
    async fn stored_columns(&self) -> io::Result<Vec<String>> {
        let offset = self.window.offset.min(self.total);
        let low = if self.window.desc { self.total - offset - self.count } else { offset };
        self.datasets.columns(&self.id, low..low + self.count).await.map_err(broken)
    }

    /// What stands before everything that the writer writes.
    fn start(&self) -> Vec<u8> {
        let bom = self.format.is_text() && self.options.bom.unwrap_or(self.format.has_bom());
        if bom { BOM.to_vec() } else { Vec::new() }
    }

    /// The entries of the window. A task of its own makes them; it ends when nobody takes them any more.
    async fn batches(&self) -> io::Result<mpsc::Receiver<io::Result<Batch>>> {
        let items = self.read().await.map_err(broken)?;
        let transform = (!self.view.is_identity()).then(|| self.transform.clone());
        let (batches, received) = mpsc::channel(1);
        tokio::spawn(async move {
            let outcome = match transform {
                Some(transform) => transformed(items, &transform, &batches).await,
                None => untouched(items, &batches).await,
            };
            if let Err(error) = outcome {
                let _ = batches.send(Err(error)).await;
            }
        });
        Ok(received)
    }

    /// The items of the window, also when more have come since it was fixed.
    async fn read(&self) -> Result<ItemChunks, StoreError> {
        if let Some(items) = self.opened.lock().take() {
            return Ok(items);
        }
        let mut seen = self.total;
        loop {
            let newer = if self.window.desc { seen.saturating_sub(self.total) } else { 0 };
            let window = Window {
                offset: self.window.offset.saturating_add(newer),
                limit: Some(self.count),
                desc: self.window.desc,
            };
            let items = open(&*self.datasets, &self.id, window, &self.view, self.format).await?;
            if !self.window.desc || items.total == seen {
                return Ok(items);
            }
            // From the end the place of the window moves with each push; look again with what is there now.
            seen = items.total;
        }
    }
}

/// Reads stored items in the form in which the writer will want them.
async fn open(
    datasets: &dyn DatasetStore,
    id: &StorageId,
    window: Window,
    view: &ItemView,
    format: Format,
) -> Result<ItemChunks, StoreError> {
    let is_joined = view.is_identity() && format.is_joined();
    if is_joined { datasets.read_joined(id, window).await } else { datasets.read(id, window).await }
}

/// A writer and what it has written.
struct Pen {
    writer: Box<dyn Writer>,
    out: Vec<u8>,
}

fn write_chunk(
    writer: &mut dyn Writer,
    chunk: ItemChunk,
    first: bool,
    is_all: bool,
    out: &mut Vec<u8>,
) -> io::Result<Vec<Bytes>> {
    if first {
        writer.begin(out)?;
    }
    let verbatim = writer.lines(chunk.lines);
    if is_all {
        // Small answers go out in one piece.
        out.reserve_exact(verbatim.before.len() + verbatim.lines.len() + 1);
        out.extend_from_slice(verbatim.before);
        out.extend_from_slice(&verbatim.lines);
        return Ok(Vec::new());
    }
    let mut pieces = Vec::with_capacity(3);
    if !out.is_empty() {
        pieces.push(std::mem::take(out).into());
    }
    if !verbatim.before.is_empty() {
        pieces.push(Bytes::from_static(verbatim.before));
    }
    pieces.push(verbatim.lines);
    Ok(pieces)
}

fn finish(writer: &mut dyn Writer, first: bool, out: &mut Vec<u8>) -> io::Result<Vec<Bytes>> {
    if first {
        writer.begin(out)?;
    }
    writer.end(out)?;
    Ok(if out.is_empty() { Vec::new() } else { vec![std::mem::take(out).into()] })
}

fn lines_of(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// Stored items are their own entries: chunks are cut into batches without a copy.
async fn untouched(mut items: ItemChunks, batches: &mpsc::Sender<io::Result<Batch>>) -> io::Result<()> {
    while let Some(chunk) = items.chunks.next().await {
        let mut rest = chunk.map_err(broken)?.lines;
        while !rest.is_empty() {
            let mut ends = memchr::memchr_iter(b'\n', &rest).map(|at| at + 1).take(BATCH_ENTRIES);
            let mut end = ends.next().unwrap_or(rest.len());
            while end < BATCH
                && let Some(next) = ends.next()
            {
                end = next;
            }
            drop(ends);
            batches.send(Ok(rest.split_to(end))).await.map_err(gone)?;
        }
    }
    Ok(())
}

/// Entries as the view wants them, one batch ahead of what is taken: unwinding can turn an item into far more than should
/// lie in memory.
async fn transformed(
    mut items: ItemChunks,
    transform: &Transform,
    batches: &mpsc::Sender<io::Result<Batch>>,
) -> io::Result<()> {
    let (mut batch, mut n) = (Vec::new(), 0);
    while let Some(chunk) = items.chunks.next().await {
        let chunk = chunk.map_err(broken)?;
        for item in lines_of(&chunk.lines) {
            let mut entries = transform.entries(item).map_err(io::Error::other)?;
            loop {
                match entries.next_into(&mut batch) {
                    Next::Written => {
                        batch.push(b'\n');
                        n += 1;
                    }
                    Next::LeftOut => {}
                    Next::Done => break,
                }
                if batch.len() >= BATCH || n >= BATCH_ENTRIES {
                    batches.send(Ok(std::mem::take(&mut batch).into())).await.map_err(gone)?;
                    n = 0;
                }
            }
        }
        // A view that drops everything never sends, and reading from memory never waits.
        if batches.is_closed() {
            return Ok(());
        }
        tokio::task::consume_budget().await;
    }
    if n > 0 {
        batches.send(Ok(batch.into())).await.map_err(gone)?;
    }
    Ok(())
}

/// Does heavy work where it holds nobody up, light work here.
async fn on_a_thread_if<T: Send + 'static>(
    heavy: bool,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if heavy { tokio::task::spawn_blocking(work).await.map_err(io::Error::other)? } else { work() }
}

fn read_piece(mut file: File) -> io::Result<(Vec<u8>, File)> {
    let mut piece = Vec::with_capacity(PIECE);
    Read::by_ref(&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
    Ok((piece, file))
}

async fn send(pieces: &mpsc::Sender<io::Result<Bytes>>, piece: Vec<u8>) -> io::Result<()> {
    pieces.send(Ok(piece.into())).await.map_err(gone)
}

fn gone<T>(_: mpsc::error::SendError<T>) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

/// A failure of the store, wrapped so that it can be told apart as long as the answer has not begun.
fn broken(error: StoreError) -> io::Error {
    tracing::error!(%error, "Failed to read items to the end");
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use engine::testing::TestEngine;
    use futures::TryStreamExt as _;
    use model::push::split_items;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_the_same_each_time_though_items_come_in_between() {
        let engine = TestEngine::start().await;
        let store = engine.engine.store();
        let dataset = engine.run().await.storages.dataset;
        let push =
            async |text: &str| store.datasets.append(&dataset, split_items(text.as_bytes()).unwrap()).await.unwrap();
        push(r#"[{"a":1},{"a":2,"b":"x"},{"c":[3]},{"a":4}]"#).await;
        let window = Window { offset: 1, limit: Some(2), desc: true };
        let plain = ItemView::default();
        let picked = ItemView { fields: vec!["c".to_owned(), "a".to_owned()], ..ItemView::default() };

        let mut exports = Vec::new();
        for (format, view, expected) in [
            (Format::Json, &plain, r#"[{"c":[3]},{"a":2,"b":"x"}]"#),
            (Format::JsonLines, &picked, "{\"c\":[3]}\n{\"a\":2}\n"),
            (Format::Csv, &plain, "\u{feff}\"a\",\"b\",\"c/0\"\n,,3\n2,\"x\",\n"),
            (Format::Csv, &picked, "\u{feff}\"c/0\",\"a\"\n3,\n,2\n"),
        ] {
            let (transform, options) = (view.transform().unwrap(), Options::default());
            let datasets = store.datasets.clone();
            let export = Export::new(datasets, dataset, window, view.clone(), transform, format, options).await;
            exports.push((export.unwrap(), expected));
        }

        for _ in 0..3 {
            push(r#"{"z":0}"#).await;
            for (export, expected) in &exports {
                let pieces: Vec<Bytes> = export.pieces().try_collect().await.unwrap();
                assert_eq!(String::from_utf8(pieces.concat()).unwrap(), *expected);
            }
        }
    }
}
