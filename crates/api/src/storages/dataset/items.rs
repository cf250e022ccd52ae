//! Reading items (storages, section 5).

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use model::storage_schema::DatasetView;
use store::{Reads, StoreError, Window};

use super::accept;
use super::export::{Export, Pieces};
use super::format::{Feed, Format};
use super::part::{Fingerprint, cut};
use super::view::ItemsParams;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{ContentSignature, Dataset, Opened, Query, Readable};
use crate::layers::{Compressible, accepts, has_no_parts};
use crate::storages::conditions::{Conditions, Part, tell_part, unsatisfiable};

/// `X-Apify-Pagination-Limit` when none was given, since clients read a number (`D22`).
const NO_LIMIT: u64 = 999_999_999_999;

/// The encoding in which items are kept.
const ZSTD: &str = "zstd";

pub(super) async fn list(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    Readable(dataset, ..): Readable<Dataset, ContentSignature>,
    Query(params): Query<ItemsParams>,
) -> Answer {
    answer_with_items(&app, &method, &headers, &dataset, params, StatusCode::OK).await
}

/// The items of a dataset as the client asked for them, also as the answer of a synchronous run (`SYNC-5`).
pub(crate) async fn answer_with_items(
    app: &App,
    method: &Method,
    asked: &HeaderMap,
    dataset: &Opened,
    params: ItemsParams,
    status: StatusCode,
) -> Answer {
    let format = params.format.unwrap_or_else(|| accept::preferred(asked));
    let mut options = params.options;
    options.check(format)?;
    let mut view = params.view;
    if let Some(name) = &params.named_view {
        let named = named_view(app, dataset, name)?;
        view = view.or(&named.transformation);
        options.titles = named.labels.into_iter().collect();
    }
    if format.is_typed()
        && let Some(schema) = app.schemas().of_dataset(&dataset.storage)?
    {
        options.properties = schema.source()["fields"]["properties"].as_object().cloned().unwrap_or_default();
    }
    if format == Format::Rss {
        describe(app, dataset, &mut options.feed);
    }
    let transform = view.transform().map_err(|error| ApiError::new(Problem::InvalidInput, error.to_string()))?;
    let limit = view.limit.filter(|limit| *limit > 0);
    let window = Window { offset: view.offset.unwrap_or(0), limit, desc: view.desc.unwrap_or(false) };

    let id = dataset.storage.id;
    let store = app.store().datasets.clone();
    let fingerprint = Fingerprint::of(&id, &view, format, &options);
    let mut export = Export::new(store, id, window, view, transform, format, options).await?;
    // The answer of a run is of that run, and has no other parts.
    let conditions = if status == StatusCode::OK { Conditions::of(asked) } else { Conditions::default() };
    // Who resumes gets what was begun, whatever came to it since.
    let resumed = conditions.resumed().and_then(|tag| fingerprint.end_of(tag));
    if let Some(end) = resumed.filter(|end| *end < export.end()) {
        export = export.resumed_at(end);
    }
    let (total, count) = (export.total, export.count);
    let etag = fingerprint.tag(export.end());

    // The other formats are compressed in themselves.
    let is_compressible = format.is_text() || format == Format::Arrow;
    let mut response = Response::default();
    *response.status_mut() = status;
    if conditions.has_tag(&etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if *method == Method::HEAD {
        // Of unknown length, as the body that is left out would be.
        *response.body_mut() = Body::from_stream(futures::stream::empty::<io::Result<Bytes>>());
    } else {
        let part = if conditions.wants_part(&etag) {
            let length = app.export_lengths().of(&etag, &export).await.map_err(refused)?;
            match conditions.part(length, &etag) {
                Part::All => None,
                Part::Unsatisfiable => return Ok(unsatisfiable("The answer", length)),
                Part::Range(part) => Some((part, length)),
            }
        } else {
            None
        };
        app.store().storages.note_reads(&id, Reads { reads: count, ..Reads::default() });
        dataset.meter(app, |usage| usage.dataset_reads += count);
        if let Some((part, length)) = part {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            tell_part(response.headers_mut(), part, length);
            response.headers_mut().insert(CONTENT_LENGTH, (part.end - part.start).into());
            *response.body_mut() = body_of(cut(export.pieces(), part)).await?;
        } else if accepts(asked, ZSTD)
            && let Some(frames) = export.packed().await?
        {
            *response.body_mut() = body_of(frames).await?;
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(ZSTD));
        } else {
            *response.body_mut() = body_of(export.pieces()).await?;
            if is_compressible {
                response.extensions_mut().insert(Compressible);
            }
        }
    }
    let has_its_encoding = response.extensions().get::<Compressible>().is_none();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, format.content_type());
    if status == StatusCode::OK {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(ETAG, HeaderValue::try_from(etag).map_err(ApiError::internal)?);
    }
    // What is sent whole tells it when its encoding has been chosen.
    if is_compressible && has_its_encoding {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        has_no_parts(headers);
    }
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
    if params.format.is_none() {
        headers.append(VARY, HeaderValue::from_static("Accept"));
    }
    if params.attachment {
        headers.insert(CONTENT_DISPOSITION, attachment(app, dataset, format.extension()));
    }
    Ok(response)
}

/// What a feed says of itself if the client does not say it (`X27`).
fn describe(app: &App, dataset: &Opened, feed: &mut Feed) {
    let storage = &dataset.storage;
    let label = storage.title.as_deref().or(storage.name.as_deref()).unwrap_or(storage.id.as_str());
    if feed.title.is_empty() {
        feed.title = format!("Dataset {label}");
    }
    if feed.description.is_empty() {
        feed.description = format!("Items in dataset with id \"{}\".", storage.id);
    }
    feed.link = app.public_url(&format!("datasets/{}/items", storage.id));
}

/// A view of the dataset's schema: defaults of what a reader asks for, and the titles of columns (`D39`).
fn named_view(app: &App, dataset: &Opened, name: &str) -> Result<DatasetView, ApiError> {
    let Some(schema) = app.schemas().of_dataset(&dataset.storage)? else {
        return Err(ApiError::new(Problem::DatasetDoesNotHaveSchema, "The dataset does not have a schema"));
    };
    schema.view(name).cloned().ok_or_else(|| {
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

/// A body that has a length if it is short. Failures that show before the answer begins have a status of their own.
async fn body_of(mut pieces: Pieces) -> Result<Body, ApiError> {
    let Some(first) = pieces.next().await.transpose().map_err(refused)? else { return Ok(Body::empty()) };
    let Some(second) = pieces.next().await.transpose().map_err(refused)? else { return Ok(Body::from(first)) };
    Ok(Body::from_stream(futures::stream::iter([Ok(first), Ok(second)]).chain(pieces)))
}

fn refused(error: io::Error) -> ApiError {
    error.downcast::<StoreError>().map_or_else(ApiError::internal, ApiError::from)
}
