//! Up to 25 requests at once (`Q19` to `Q23`, `Q33`, `Q34`).

use std::borrow::Cow;

use axum::extract::State;
use http::StatusCode;
use model::{MAX_BATCH, RequestId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{DeleteOutcome, NewRequest};

use super::client::{Client, Placing, Processed};
use super::request::{self, Elements};
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Opened, Query, RequestQueue, WholeBody, Writable};
use crate::wire;

/// Both arrays are always there (`Q20`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<P, U> {
    processed_requests: Vec<P>,
    unprocessed_requests: Vec<U>,
}

pub(super) async fn add(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    Query(placing): Query<Placing>,
    WholeBody(body): WholeBody,
) -> Answer {
    let requests: Vec<NewRequest> = elements(&body)?
        .iter()
        .enumerate()
        .map(|(at, raw)| request::read(raw, &format_args!("The request at position {at}")))
        .collect::<Result<_, _>>()?;
    let keys: Vec<String> = requests.iter().map(|request| request.unique_key.clone()).collect();
    let locker = queue.locker(placing.client.key);
    let added = app.store().queues.add(&queue.storage.id, requests, placing.forefront, &locker).await?;
    queue.meter(&app, |usage| usage.request_queue_writes += added.len() as u64);
    queue.meter_transfer(&app, body.len() as u64);

    let processed = added.iter().zip(&keys).map(|(added, key)| Processed::new(added, key)).collect();
    let outcome = Outcome { processed_requests: processed, unprocessed_requests: Vec::<()>::new() };
    Ok(wire::data(StatusCode::CREATED, &outcome))
}

/// A request as a batch deletion names it; the answer names it so, too.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    unique_key: Option<Cow<'a, str>>,
}

pub(super) async fn delete(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    Query(client): Query<Client>,
    WholeBody(body): WholeBody,
) -> Answer {
    let mut named: Vec<Named<'_>> = elements(&body)?
        .iter()
        .enumerate()
        .map(|(at, raw)| {
            let invalid = |why: &str| {
                ApiError::new(Problem::InvalidInput, format!("The request at position {at} is invalid: {why}"))
            };
            let named: Named<'_> = match raw.get().starts_with('{') {
                true => serde_json::from_str(raw.get()).map_err(|error| invalid(&error.to_string()))?,
                false => return Err(invalid("it must be an object")),
            };
            match (&named.id, &named.unique_key) {
                (None, None) => Err(invalid("\"id\" or \"uniqueKey\" is required")),
                (Some(id), Some(key)) if RequestId::of(key).as_str() != id => Err(request::id_mismatch()),
                _ => Ok(named),
            }
        })
        .collect::<Result<_, _>>()?;
    for one in &mut named {
        complete(&app, &queue, one).await?;
    }

    // An id that no request can have is not there, and what is not there counts as deleted (`Q33`).
    let ids: Vec<Option<RequestId>> = named.iter().map(|one| RequestId::parse(one.id.as_deref()?)).collect();
    let known: Vec<RequestId> = ids.iter().flatten().copied().collect();
    let outcomes = app.store().queues.delete(&queue.storage.id, &known, &queue.locker(client.key)).await?;
    let deleted = outcomes.iter().filter(|outcome| **outcome == DeleteOutcome::Deleted).count() as u64;
    queue.meter(&app, |usage| usage.request_queue_writes += deleted);

    let mut outcomes = outcomes.into_iter();
    let mut outcome = Outcome { processed_requests: Vec::new(), unprocessed_requests: Vec::new() };
    for (one, id) in named.into_iter().zip(ids) {
        match id.and_then(|_| outcomes.next()) {
            Some(DeleteOutcome::Locked) => outcome.unprocessed_requests.push(one),
            _ => outcome.processed_requests.push(one),
        }
    }
    Ok(wire::ok(&outcome))
}

/// Adds the id or the unique key, whichever was not given; the answer has both (`Q33`).
async fn complete(app: &App, queue: &Opened, named: &mut Named<'_>) -> Result<(), ApiError> {
    if let Some(key) = &named.unique_key {
        named.id = Some(Cow::Owned(RequestId::of(key).to_string()));
    } else if let Some(id) = named.id.as_deref().and_then(RequestId::parse) {
        let found = app.store().queues.get(&queue.storage.id, &id).await?;
        named.unique_key = found.as_ref().and_then(request::unique_key).map(Cow::Owned);
    }
    Ok(())
}

/// The elements of a batch, 1 to 25.
fn elements(body: &[u8]) -> Result<Vec<&RawValue>, ApiError> {
    let malformed = |error| ApiError::invalid_request(format!("POST data must be a JSON array of requests: {error}"));
    let Elements::<'_, MAX_BATCH>(elements) = serde_json::from_slice(body).map_err(malformed)?;
    if (1..=MAX_BATCH).contains(&elements.len()) {
        return Ok(elements);
    }
    let given = if elements.is_empty() { "none" } else { "more" };
    let message = format!("A batch has 1 to {MAX_BATCH} requests, but this one has {given}");
    Err(ApiError::new(Problem::InvalidInput, message))
}
