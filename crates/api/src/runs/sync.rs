//! Runs whose result is the answer (`SYNC-1` to `SYNC-7`).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use engine::Caller;
use http::{HeaderMap, Method, StatusCode};
use model::{JobStatus, Run, StorageKind};
use store::Noun;

use super::start::Asking;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Opened, Params, Query, WholeBody, default_storage};
use crate::storages::dataset::{ItemsParams, answer_with_items};
use crate::storages::key_value_store::{Wanted, answer_with_record};

/// Longest wait for the result (`SYNC-1`).
const MAX_WAIT: Duration = Duration::from_secs(300);
/// Record that is the result unless another is asked for.
const OUTPUT: &str = "OUTPUT";

/// `POST …/run-sync`: the answer is a record of the run.
pub(super) async fn record(
    State(app): State<App>,
    asking: Asking,
    params: Params,
    wanted: Wanted,
    WholeBody(input): WholeBody,
) -> Answer {
    let (run, caller) = finished(&app, asking, input).await?;
    let store = opened(&app, &run, caller, StorageKind::KeyValueStore).await?;
    let key = params.non_empty("outputRecordKey").unwrap_or(OUTPUT.into());
    let Some(mut response) = answer_with_record(&app, &store, &key, &wanted, false).await? else {
        // The run did what was asked for; that it left no such record is no failure (SYNC-2).
        return Ok(StatusCode::CREATED.into_response());
    };
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// `GET …/run-sync`: as above, without input (`SYNC-6`).
pub(super) async fn record_without_input(app: State<App>, asking: Asking, params: Params, wanted: Wanted) -> Answer {
    record(app, asking, params, wanted, WholeBody(Bytes::new())).await
}

/// `POST …/run-sync-get-dataset-items`: the answer is the items of the run (`SYNC-5`).
pub(super) async fn items(
    State(app): State<App>,
    asking: Asking,
    method: Method,
    headers: HeaderMap,
    Query(view): Query<ItemsParams>,
    WholeBody(input): WholeBody,
) -> Answer {
    let (run, caller) = finished(&app, asking, input).await?;
    let dataset = opened(&app, &run, caller, StorageKind::Dataset).await?;
    answer_with_items(&app, &method, &headers, &dataset, view, StatusCode::CREATED).await
}

/// `GET …/run-sync-get-dataset-items`: as above, without input (`SYNC-6`).
pub(super) async fn items_without_input(
    app: State<App>,
    asking: Asking,
    method: Method,
    headers: HeaderMap,
    view: Query<ItemsParams>,
) -> Answer {
    items(app, asking, method, headers, view, WholeBody(Bytes::new())).await
}

/// Starts a run and waits for its success. If the caller goes away meanwhile, or the wait is over, the run goes on.
async fn finished(app: &App, asking: Asking, input: Bytes) -> Result<(Arc<Run>, Caller), ApiError> {
    let caller = asking.caller.clone();
    let run = asking.launch(app, input).await?;
    let run = app.engine().wait_for_run(&run.id, MAX_WAIT).await?;
    if run.status == JobStatus::Succeeded {
        return Ok((run, caller));
    }
    if run.status.is_terminal() {
        let message = format!("Actor run did not succeed (run ID: {}, status: {})", run.id, run.status);
        return Err(ApiError::new(Problem::RunFailed, message));
    }
    let message = format!("Actor run exceeded the timeout of {} seconds for this API endpoint", MAX_WAIT.as_secs());
    Err(ApiError::new(Problem::RunTimeoutExceeded, message))
}

async fn opened(app: &App, run: &Run, caller: Caller, kind: StorageKind) -> Result<Opened, ApiError> {
    let id = default_storage(run, kind);
    let storage = app.store().storages.get(&id).await?.ok_or_else(|| ApiError::not_found(Noun::Storage))?;
    Ok(Opened { storage, caller: Some(caller), may_write: false })
}
