//! Failed requests put back into the queue: beyond the platform.

use axum::extract::State;
use model::{RequestId, Requeue};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::Answer;
use crate::extract::{JsonOrDefault, RequestQueue, Writable};
use crate::wire;

/// Which failed requests are meant, and how they go back; without a body all of them, to the end, with their retries.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Asked {
    hosts: Option<Vec<String>>,
    methods: Option<Vec<String>>,
    error_contains: Option<String>,
    ids: Option<Vec<String>>,
    unique_keys: Option<Vec<String>>,
    min_retry_count: Option<u32>,
    limit: Option<u64>,
    forefront: Option<bool>,
    reset_retry_count: Option<bool>,
}

impl From<Asked> for Requeue {
    fn from(asked: Asked) -> Self {
        // Ids and unique keys are two ways to name the same thing. An id that no request can have is not there.
        let is_named = asked.ids.is_some() || asked.unique_keys.is_some();
        let by_id = asked.ids.unwrap_or_default();
        let by_key = asked.unique_keys.unwrap_or_default();
        let ids = by_id.iter().filter_map(|id| RequestId::parse(id)).chain(by_key.iter().map(|key| RequestId::of(key)));
        Self {
            ids: is_named.then(|| ids.collect()),
            hosts: asked.hosts.map(|hosts| hosts.iter().map(|host| host.to_lowercase()).collect()),
            methods: asked.methods,
            error_contains: asked.error_contains,
            min_retry_count: asked.min_retry_count.unwrap_or_default(),
            limit: asked.limit,
            forefront: asked.forefront.unwrap_or_default(),
            reset_retry_count: asked.reset_retry_count.unwrap_or_default(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Requeued {
    requeued_count: u64,
    handled_request_count: u64,
    pending_request_count: u64,
}

pub(super) async fn requeue(
    State(app): State<App>,
    Writable(queue, ..): Writable<RequestQueue>,
    JsonOrDefault(asked): JsonOrDefault<Asked>,
) -> Answer {
    let id = &queue.storage.id;
    let requeued_count = app.store().queues.requeue(id, &asked.into()).await?;
    queue.meter(&app, |usage| usage.request_queue_writes += requeued_count);
    let counters = app.store().storages.counters(id).await?;
    Ok(wire::ok(&Requeued {
        requeued_count,
        handled_request_count: counters.handled,
        pending_request_count: counters.items.saturating_sub(counters.handled),
    }))
}
