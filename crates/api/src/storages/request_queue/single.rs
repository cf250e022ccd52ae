//! One request: added, read, replaced, deleted (`Q7`, `Q15` to `Q17`, `Q25` to `Q32`).

use axum::extract::State;
use http::StatusCode;
use model::StorageId;
use serde_json::value::RawValue;
use store::{DeleteOutcome, Noun, Reads, StoreError};

use super::client::{Client, Placing, Processed, request_id};
use super::request;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{PathParams, Query, Readable, RequestQueue, WholeBody, Writable, from_json};
use crate::wire;

pub(super) async fn add(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    Query(placing): Query<Placing>,
    WholeBody(body): WholeBody,
) -> Answer {
    let request = request::read(from_json::<&RawValue>(&body)?, &"The request")?;
    let unique_key = request.unique_key.clone();
    let locker = queue.locker(placing.client.key);
    let added = app.store().queues.add(&queue.storage.id, vec![request], placing.forefront, &locker).await?;
    queue.meter(&app, |usage| usage.request_queue_writes += 1);
    let added = only(added)?;
    Ok(wire::data(StatusCode::CREATED, &Processed::new(&added, &unique_key)))
}

pub(super) async fn get(
    State(app): State<App>,
    Readable(queue, ..): Readable<RequestQueue>,
    path: PathParams,
) -> Answer {
    let id = request_id(path.get("requestId"))?;
    let found = app.store().queues.get(&queue.storage.id, &id).await?;
    let found = found.ok_or_else(|| ApiError::not_found(Noun::Request))?;
    note_reads(&app, &queue.storage.id, 1);
    queue.meter(&app, |usage| usage.request_queue_reads += 1);

    let mut body = Vec::with_capacity(found.body.len() + 128);
    body.extend_from_slice(b"{\"data\":");
    request::write(&found, &mut body);
    body.push(b'}');
    Ok(wire::raw_json(StatusCode::OK, body.into()))
}

pub(super) async fn update(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    path: PathParams,
    Query(placing): Query<Placing>,
    WholeBody(body): WholeBody,
) -> Answer {
    let request = request::read(from_json::<&RawValue>(&body)?, &"The request")?;
    if path.get("requestId") != request.id.as_str() {
        return Err(request::id_mismatch());
    }
    let (unique_key, is_given_back) = (request.unique_key.clone(), request.handled_at.is_none());
    let locker = queue.locker(placing.client.key);
    let updated = app.store().queues.update(&queue.storage.id, request, placing.forefront, &locker).await?;
    if updated.released_lock && is_given_back {
        app.reclaims().note(queue.storage.id, updated.request.id, &locker, app.now());
    }
    queue.meter(&app, |usage| usage.request_queue_writes += 1);
    Ok(wire::ok(&Processed::new(&updated.request, &unique_key)))
}

pub(super) async fn delete(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    path: PathParams,
    Query(client): Query<Client>,
) -> Answer {
    let id = request_id(path.get("requestId"))?;
    let outcome = app.store().queues.delete(&queue.storage.id, &[id], &queue.locker(client.key)).await?;
    match only(outcome)? {
        DeleteOutcome::Deleted => {}
        DeleteOutcome::Absent => return Err(ApiError::not_found(Noun::Request)),
        DeleteOutcome::Locked => return Err(StoreError::HandledOrLocked.into()),
    }
    queue.meter(&app, |usage| usage.request_queue_writes += 1);
    Ok(wire::no_content())
}

/// Counts requests that were read (`U2`).
pub(super) fn note_reads(app: &App, queue: &StorageId, reads: u64) {
    app.store().storages.note_reads(queue, Reads { reads, ..Reads::default() });
}

/// What became of the one request that was sent.
fn only<T>(outcomes: Vec<T>) -> Result<T, ApiError> {
    let outcome = outcomes.into_iter().next();
    outcome.ok_or_else(|| ApiError::internal(anyhow::anyhow!("the store said nothing of a request")))
}
