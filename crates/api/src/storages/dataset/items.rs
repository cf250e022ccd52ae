//! Reading items (storages, section 5).

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use model::item_view::{ItemView, Next, Transform};
use store::{ItemChunks, Reads, StoreError, Window};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::format::Writer;
use super::view::ItemsParams;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{ContentSignature, Dataset, Opened, Query, Readable};
use crate::layers::Compressible;

/// `X-Apify-Pagination-Limit` when none was given, since clients read a number (`D22`).
const NO_LIMIT: u64 = 999_999_999_999;
/// Bytes that are written before they are handed on.
const PIECE: usize = 64 << 10;
const BOM: &[u8] = b"\xEF\xBB\xBF";

pub(super) async fn list(
    State(app): State<App>,
    method: Method,
    Readable(dataset, ..): Readable<Dataset, ContentSignature>,
    Query(params): Query<ItemsParams>,
) -> Answer {
    answer_with_items(&app, &method, &dataset, params, StatusCode::OK).await
}

/// The items of a dataset as the client asked for them, also as the answer of a synchronous run (`SYNC-5`).
pub(crate) async fn answer_with_items(
    app: &App,
    method: &Method,
    dataset: &Opened,
    params: ItemsParams,
    status: StatusCode,
) -> Answer {
    let view = match &params.named_view {
        Some(name) => params.view.clone().or(&named_view(app, dataset, name)?),
        None => params.view.clone(),
    };
    let transform = view.transform().map_err(|error| ApiError::new(Problem::InvalidInput, error.to_string()))?;
    let limit = view.limit.filter(|limit| *limit > 0);
    let window = Window { offset: view.offset.unwrap_or(0), limit, desc: view.desc.unwrap_or(false) };

    let id = dataset.storage.id;
    let items = app.store().datasets.read(&id, window).await?;
    let (total, count) = (items.total, items.count);
    let body = if *method == Method::HEAD {
        // Of unknown length, as the body that is left out would be.
        Body::from_stream(futures::stream::empty::<io::Result<Bytes>>())
    } else {
        app.store().storages.note_reads(&id, Reads { reads: count, ..Reads::default() });
        dataset.meter(app, |usage| usage.dataset_reads += count);
        let mut writer = params.format.writer();
        let mut start = Vec::new();
        if params.bom.unwrap_or(params.format.has_bom()) {
            start.extend_from_slice(BOM);
        }
        writer.begin(&mut start);
        if view.is_identity() {
            verbatim(items, writer, start).await?
        } else {
            transformed(items, writer, start, transform)
        }
    };

    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.extensions_mut().insert(Compressible);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, params.format.content_type());
    let desc = HeaderValue::from_static(if window.desc { "true" } else { "false" });
    for (name, value) in [
        ("x-apify-pagination-total", total.into()),
        ("x-apify-pagination-offset", window.offset.into()),
        ("x-apify-pagination-limit", limit.unwrap_or(NO_LIMIT).into()),
        ("x-apify-pagination-count", count.into()),
        ("x-apify-pagination-desc", desc),
    ] {
        headers.insert(HeaderName::from_static(name), value);
    }
    if params.attachment {
        headers.insert(CONTENT_DISPOSITION, attachment(app, dataset, params.format.extension()));
    }
    Ok(response)
}

/// The transformation of a view of the dataset's schema, as defaults of what a reader asks for (`D39`).
fn named_view(app: &App, dataset: &Opened, name: &str) -> Result<ItemView, ApiError> {
    let Some(schema) = app.schemas().of_dataset(&dataset.storage)? else {
        return Err(ApiError::new(Problem::DatasetDoesNotHaveSchema, "The dataset does not have a schema"));
    };
    schema.view(name).map(|view| view.transformation.clone()).ok_or_else(|| {
        let message = format!("The dataset has no view called \"{name}\"");
        ApiError::new(Problem::RequestedDatasetViewDoesNotExist, message)
    })
}

/// The file name under which a browser saves the items (`D43`). Names and ids are plain ASCII.
fn attachment(app: &App, dataset: &Opened, extension: &str) -> HeaderValue {
    let name = dataset.storage.name.as_deref().unwrap_or(dataset.storage.id.as_str());
    let now = app.now().to_string().replace([':', '.'], "-");
    HeaderValue::try_from(format!("attachment; filename=\"dataset_{name}_{now}.{extension}\""))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

/// Items as they are stored: whole chunks go through without a look at each item, if the format allows it.
async fn verbatim(mut items: ItemChunks, mut writer: Box<dyn Writer>, start: Vec<u8>) -> Result<Body, ApiError> {
    let first = items.chunks.next().await.transpose()?;
    let is_all = first.as_ref().is_none_or(|chunk| chunk.count >= items.count);
    let mut out = start;
    if is_all {
        // Small answers get a length and need no chunked encoding.
        if let Some(chunk) = first {
            write_chunk(&mut *writer, chunk.lines, |piece| out.extend_from_slice(&piece));
        }
        writer.end(&mut out);
        return Ok(Body::from(out));
    }

    let chunks =
        futures::stream::iter(first.map(Ok)).chain(items.chunks).map(Some).chain(futures::stream::iter([None]));
    let pieces = chunks.map(move |chunk| {
        let mut pieces: Vec<io::Result<Bytes>> = Vec::with_capacity(3);
        if !out.is_empty() {
            pieces.push(Ok(std::mem::take(&mut out).into()));
        }
        match chunk {
            Some(Ok(chunk)) => write_chunk(&mut *writer, chunk.lines, |piece| pieces.push(Ok(piece))),
            Some(Err(error)) => pieces.push(Err(broken(&error))),
            None => {
                writer.end(&mut out);
                pieces.push(Ok(std::mem::take(&mut out).into()));
            }
        }
        futures::stream::iter(pieces)
    });
    Ok(Body::from_stream(pieces.flatten()))
}

fn write_chunk(writer: &mut dyn Writer, lines: Bytes, mut put: impl FnMut(Bytes)) {
    match writer.lines(lines) {
        Ok(verbatim) => {
            if !verbatim.before.is_empty() {
                put(Bytes::from_static(verbatim.before));
            }
            put(verbatim.lines);
        }
        Err(lines) => {
            let mut out = Vec::with_capacity(lines.len() + lines.len() / 4);
            lines_of(&lines).for_each(|item| writer.entry(item, &mut out));
            put(out.into());
        }
    }
}

fn lines_of(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// Items as the view wants them. A task of its own makes them, one piece ahead of what the client has taken: unwinding can
/// turn an item into far more than should lie in memory.
fn transformed(items: ItemChunks, writer: Box<dyn Writer>, start: Vec<u8>, transform: Transform) -> Body {
    let (pieces, received) = mpsc::channel::<io::Result<Bytes>>(1);
    tokio::spawn(async move {
        if let Err(error) = transform_all(items, writer, start, &transform, &pieces).await {
            // If nobody reads any more, nobody needs to know.
            let _ = pieces.send(Err(error)).await;
        }
    });
    Body::from_stream(ReceiverStream::new(received))
}

async fn transform_all(
    mut items: ItemChunks,
    mut writer: Box<dyn Writer>,
    start: Vec<u8>,
    transform: &Transform,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let mut out = start;
    let mut entry = Vec::new();
    while let Some(chunk) = items.chunks.next().await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        for item in lines_of(&chunk.lines) {
            let mut entries = transform.entries(item).map_err(io::Error::other)?;
            loop {
                entry.clear();
                match entries.next_into(&mut entry) {
                    Next::Written => writer.entry(&entry, &mut out),
                    Next::LeftOut => {}
                    Next::Done => break,
                }
                if out.len() >= PIECE {
                    pieces.send(Ok(std::mem::take(&mut out).into())).await.map_err(gone)?;
                }
            }
        }
        // Reading from memory never waits, and a view that drops everything never sends.
        tokio::task::consume_budget().await;
    }
    writer.end(&mut out);
    pieces.send(Ok(out.into())).await.map_err(gone)
}

/// The answer has begun, so all that can be done is to break it off where everybody sees it.
fn broken(error: &StoreError) -> io::Error {
    tracing::error!(%error, "Failed to read items to the end");
    io::Error::other(error.to_string())
}
