//! Locks of single requests (`Q47` to `Q52`).

use axum::extract::State;
use model::Timestamp;
use serde::Serialize;

use super::client::{Client, Placing, request_id};
use super::head::LockFor;
use crate::app::App;
use crate::error::Answer;
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
    app.reclaims().forget(queue.storage.id, id, &locker);
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
        let holder = queues.get(&queue.storage.id, &id).await?.and_then(|request| request.lock_by);
        if holder.is_some() && holder == locker.client_key {
            return Ok(wire::no_content());
        }
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
