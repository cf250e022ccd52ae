//! Locks of single requests (`Q47` to `Q52`).

use axum::extract::State;
use model::Timestamp;
use serde::Serialize;
use store::{Noun, StoreError};

use super::client::{Client, Placing, request_id};
use super::head::LockFor;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{PathParams, Query, RequestQueue, Writable};
use crate::wire;

pub(super) async fn prolong(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    path: PathParams,
    Query(placing): Query<Placing>,
    Query(lock): Query<LockFor>,
) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Locked {
        lock_expires_at: Timestamp,
    }

    let id = request_id(path.get("requestId"))?;
    let locker = queue.locker(placing.client.key);
    let queues = &app.store().queues;
    let lock_expires_at = queues.prolong(&queue.storage.id, &id, lock.millis, placing.forefront, &locker).await?;
    queue.meter(&app, |usage| usage.request_queue_writes += 1);
    Ok(wire::ok(&Locked { lock_expires_at }))
}

pub(super) async fn release(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    path: PathParams,
    Query(placing): Query<Placing>,
) -> Answer {
    let id = request_id(path.get("requestId"))?;
    let locker = queue.locker(placing.client.key);
    let queues = &app.store().queues;
    if app.reclaims().take(queue.storage.id, id, &locker, app.now()) {
        // The update has released what this deletion means. Nothing is written, lest a lock taken at this moment be lost.
        let found = queues.get(&queue.storage.id, &id).await?.ok_or_else(|| ApiError::not_found(Noun::Request))?;
        if found.lock_by.is_some() && found.lock_by != locker.client_key {
            return Err(StoreError::HandledOrLocked.into());
        }
        return Ok(wire::no_content());
    }
    queues.release(&queue.storage.id, &id, placing.forefront, &locker).await?;
    Ok(wire::no_content())
}

pub(super) async fn unlock_all(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    Query(client): Query<Client>,
) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Unlocked {
        unlocked_count: u64,
    }

    let unlocked_count = app.store().queues.unlock_all(&queue.storage.id, &queue.locker(client.key)).await?;
    Ok(wire::ok(&Unlocked { unlocked_count }))
}
