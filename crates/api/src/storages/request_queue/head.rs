//! The start of a queue, shown or locked (`Q35` to `Q45`).

use axum::extract::State;
use http::StatusCode;
use model::{MAX_BATCH, Timestamp};
use serde::Serialize;
use store::{HeadItem, Reads, Touched};

use super::client::Client;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{FromParams, Params, Query, Readable, RequestQueue, Writable};
use crate::wire;

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;
/// No lock lasts longer than a year.
const MAX_LOCK_SECS: f64 = 365.0 * 24.0 * 3600.0;

pub(super) struct HeadParams {
    limit: u64,
    client: Client,
}

impl FromParams for HeadParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let limit = params.number("limit")?.filter(|limit| *limit > 0).unwrap_or(DEFAULT_LIMIT);
        Ok(Self { limit: limit.min(MAX_LIMIT), client: Client::from_params(params)? })
    }
}

/// `lockSecs` of a call (`Q40`).
pub(super) struct LockFor {
    /// As asked for, as a whole number.
    secs: u64,
    /// The same in milliseconds.
    pub(super) millis: i64,
}

impl FromParams for LockFor {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let secs = params.positive("lockSecs")?.ok_or_else(|| {
            ApiError::new(Problem::ParameterRequired, "Parameter \"lockSecs\" is required, a number of seconds")
        })?;
        let secs = secs.min(MAX_LOCK_SECS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and at most a year")]
        Ok(Self { secs: secs.ceil() as u64, millis: (secs * 1000.0).ceil() as i64 })
    }
}

pub(super) struct LockParams {
    limit: u64,
    lock: LockFor,
    client: Client,
}

impl FromParams for LockParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let limit = params.number("limit")?.filter(|limit| *limit > 0).unwrap_or(MAX_BATCH as u64);
        Ok(Self {
            limit: limit.min(MAX_BATCH as u64),
            lock: LockFor::from_params(params)?,
            client: Client::from_params(params)?,
        })
    }
}

/// A request as a head shows it (`Q37`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    id: &'a str,
    unique_key: &'a str,
    url: &'a str,
    method: &'a str,
    retry_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_expires_at: Option<Timestamp>,
}

impl<'a> Item<'a> {
    fn new(item: &'a HeadItem, lock_expires_at: Option<Timestamp>) -> Self {
        Self {
            id: item.id.as_str(),
            unique_key: &item.unique_key,
            url: &item.url,
            method: &item.method,
            retry_count: item.retry_count,
            lock_expires_at,
        }
    }
}

/// What both kinds of head tell (`Q38`, `Q42`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    limit: u64,
    queue_modified_at: Timestamp,
    had_multiple_clients: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_has_locked_requests: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_secs: Option<u64>,
    items: Vec<Item<'a>>,
}

impl<'a> Shown<'a> {
    fn new(limit: u64, queue: Touched, items: Vec<Item<'a>>) -> Self {
        Self {
            limit,
            queue_modified_at: queue.modified_at,
            had_multiple_clients: queue.had_multiple_clients,
            queue_has_locked_requests: None,
            client_key: None,
            lock_secs: None,
            items,
        }
    }
}

pub(super) async fn show(
    State(app): State<App>,
    Readable(queue, ..): Readable<RequestQueue>,
    Query(params): Query<HeadParams>,
) -> Answer {
    let limit = usize::try_from(params.limit).unwrap_or(usize::MAX);
    let head = app.store().queues.head(&queue.storage.id, limit, &queue.locker(params.client.key)).await?;
    let read = Reads { head_items: head.items.len() as u64, ..Reads::default() };
    app.store().storages.note_reads(&queue.storage.id, read);
    let items = head.items.iter().map(|item| Item::new(item, None)).collect();
    Ok(wire::ok(&Shown::new(params.limit, head.queue, items)))
}

pub(super) async fn lock(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    Query(params): Query<LockParams>,
) -> Answer {
    let limit = usize::try_from(params.limit).unwrap_or(usize::MAX);
    // Whoever has no key gets one, so that the lock can be changed by it.
    let key = params.client.key.unwrap_or_else(|| app.engine().random().secret::<17>());
    let locker = queue.locker(Some(key));
    let head = app.store().queues.lock_head(&queue.storage.id, limit, params.lock.millis, &locker).await?;
    let locked = head.items.len() as u64;
    app.store().storages.note_reads(&queue.storage.id, Reads { head_items: locked, ..Reads::default() });
    queue.meter(&app, |usage| usage.request_queue_writes += locked);

    let items = head.items.iter().map(|item| Item::new(item, Some(head.lock_expires_at))).collect();
    let shown = Shown {
        queue_has_locked_requests: Some(head.queue_has_locked_requests),
        client_key: locker.client_key.as_deref(),
        lock_secs: Some(params.lock.secs),
        ..Shown::new(params.limit, head.queue, items)
    };
    Ok(wire::data(StatusCode::CREATED, &shown))
}
