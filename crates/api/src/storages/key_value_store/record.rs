//! Reading and deleting records (storages, section 8.3).

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use model::Timestamp;
use store::{ByteRange, ByteStream, Content, Reads, RecordMeta};
use tokio::io::BufReader;
use tokio_util::io::{ReaderStream, StreamReader};

use super::key::RecordKey;
use super::negotiation::Wanted;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{Encoding, FromParams, KeyValueStore, Opened, Params, Query, Readable, RecordSignature, Writable};
use crate::storages::conditions::{Part, tell_part, unsatisfiable};
use crate::wire;

/// Pieces in which decoded content is sent.
const PIECE: usize = 64 << 10;

pub(super) struct ReadParams {
    attachment: bool,
}

impl FromParams for ReadParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        Ok(Self { attachment: params.flag("attachment")? })
    }
}

pub(super) async fn get(
    State(app): State<App>,
    Readable(store, ..): Readable<KeyValueStore, RecordSignature>,
    RecordKey(key): RecordKey,
    Query(params): Query<ReadParams>,
    wanted: Wanted,
) -> Answer {
    answer_with_record(&app, &store, &key, &wanted, params.attachment).await?.ok_or_else(ApiError::record_not_found)
}

pub(super) async fn delete(
    State(app): State<App>,
    Writable(store, ..): Writable<KeyValueStore>,
    RecordKey(key): RecordKey,
) -> Answer {
    app.store().records.delete(&store.storage.id, &key).await?;
    store.meter(&app, |usage| usage.key_value_store_writes += 1);
    Ok(wire::no_content())
}

/// The record as the reader wants it, if there is one; also the answer of a synchronous run (`SYNC-1`).
pub(crate) async fn answer_with_record(
    app: &App,
    store: &Opened,
    key: &str,
    wanted: &Wanted,
    attachment: bool,
) -> Result<Option<Response>, ApiError> {
    let id = &store.storage.id;
    let (meta, content) = if wanted.head_only {
        let Some(meta) = app.store().records.head(id, key).await? else { return Ok(None) };
        (meta, None)
    } else {
        let Some(record) = app.store().records.get(id, key).await? else { return Ok(None) };
        app.store().storages.note_reads(id, Reads { reads: 1, ..Reads::default() });
        store.meter(app, |usage| usage.key_value_store_reads += 1);
        store.meter_transfer(app, record.meta.size);
        (record.meta, Some(record.content))
    };

    let stored_as = meta.content_encoding.as_deref().and_then(Encoding::named);
    let decoding = stored_as.filter(|encoding| !wanted.takes(*encoding));
    // Each representation has a tag of its own.
    let etag = if decoding.is_some() { format!("\"{}-d\"", meta.etag) } else { format!("\"{}\"", meta.etag) };
    let mut headers = HeaderMap::with_capacity(12);
    describe(&mut headers, &meta, &etag, attachment);
    if wanted.conditions.has(&etag, meta.modified_at) {
        return Ok(Some(answer(StatusCode::NOT_MODIFIED, headers, Body::empty())));
    }

    if let Some(encoding) = decoding {
        let body = match content {
            Some(content) => decoded(app, &content, encoding).await?,
            // Its length is not known without decoding it.
            None => Body::from_stream(futures::stream::empty::<io::Result<Bytes>>()),
        };
        return Ok(Some(answer(StatusCode::OK, headers, body)));
    }

    let mut status = StatusCode::OK;
    let mut range = None;
    match stored_as {
        Some(encoding) => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        None => {
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            match wanted.conditions.part(meta.size, &etag) {
                Part::All => {}
                Part::Unsatisfiable => return Ok(Some(unsatisfiable("The record", meta.size))),
                Part::Range(part) => {
                    status = StatusCode::PARTIAL_CONTENT;
                    tell_part(&mut headers, part, meta.size);
                    range = Some(part);
                }
            }
        }
    }
    let length = range.map_or(meta.size, |range| range.end - range.start);
    headers.insert(CONTENT_LENGTH, length.into());
    let body = match content {
        None => Body::empty(),
        Some(Content::Inline(bytes)) => Body::from(slice(&bytes, range)),
        Some(content) => Body::from_stream(app.store().records.open(&content, range).await?),
    };
    Ok(Some(answer(status, headers, body)))
}

fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The headers that every answer about a record has.
fn describe(headers: &mut HeaderMap, meta: &RecordMeta, etag: &str, attachment: bool) {
    // Python's client fails without a content type (`K14`); what is stored was checked when it came.
    let content_type = HeaderValue::from_str(&meta.content_type);
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(ETAG, etag);
    }
    if let Ok(date) = HeaderValue::try_from(http_date(meta.modified_at)) {
        headers.insert(LAST_MODIFIED, date);
    }
    // A browser is not to take for a page what says that it is none.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if attachment {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    } else if is_active(&meta.content_type) {
        // A record comes from anywhere, but in a browser it would act in the name of this server's pages (`K18`).
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
}

/// Whether a browser would run what it finds in content of that type.
fn is_active(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // Any XML may hold elements of XHTML, and parts of a body may be of any type.
    ["text/html", "text/xml", "application/xml", "text/xsl"].contains(&media.as_str())
        || media.ends_with("+xml")
        || media.starts_with("multipart/")
}

fn http_date(time: Timestamp) -> String {
    let since_epoch = Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0));
    httpdate::fmt_http_date(UNIX_EPOCH + since_epoch)
}

fn slice(bytes: &Bytes, range: Option<ByteRange>) -> Bytes {
    let Some(range) = range else { return bytes.clone() };
    let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(within(range.start)..within(range.end))
}

/// Content without its encoding.
async fn decoded(app: &App, content: &Content, encoding: Encoding) -> Result<Body, ApiError> {
    let mut pieces = decode(app, content, encoding).await?;
    // The first piece is waited for, so that content that is not in its encoding at all can be answered for.
    let first = match pieces.next().await {
        Some(Err(error)) => {
            let message =
                format!("The record is not valid {}: {error}; ask for it with Accept-Encoding: {0}", encoding.name());
            return Err(ApiError::invalid_request(message));
        }
        first => first,
    };
    Ok(Body::from_stream(futures::stream::iter(first).chain(pieces)))
}

/// Opens content and decodes it on the way.
pub(super) async fn decode(app: &App, content: &Content, encoding: Encoding) -> Result<ByteStream, ApiError> {
    let stored = match content {
        Content::Inline(bytes) => futures::stream::iter([Ok(bytes.clone())]).boxed(),
        Content::Object { .. } => app.store().records.open(content, None).await?,
    };
    let decoder = encoding.decode(BufReader::new(StreamReader::new(stored))).await;
    let decoder = decoder.map_err(|error| ApiError::internal(anyhow::Error::new(error)))?;
    Ok(ReaderStream::with_capacity(decoder, PIECE).boxed())
}
