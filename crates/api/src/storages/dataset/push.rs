//! Pushing items (storages, section 4).

use axum::extract::State;
use model::push::{PushError, split_items};

use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Dataset, WholeBody, Writable};
use crate::storages::schema;
use crate::wire;

pub(super) async fn push(
    State(app): State<App>,
    Writable(dataset, ..): Writable<Dataset>,
    WholeBody(body): WholeBody,
) -> Answer {
    let mut items = split_items(&body).map_err(refusal)?;
    if let Some(schema) = app.schemas().of_dataset(&dataset.storage)? {
        items = schema::check_items(schema, items).await?;
    }
    let count = items.len() as u64;
    if count > 0 {
        app.store().datasets.append(&dataset.storage.id, items).await?;
        dataset.meter(&app, |usage| usage.dataset_writes += count);
        dataset.meter_transfer(&app, body.len() as u64);
        // The items are there: an error now would have the client push them again.
        if let Err(error) = app.engine().charge_items(&dataset.storage, count).await {
            tracing::error!(storage.id = %dataset.storage.id, %error, "Failed to charge a run for {count} items");
        }
    }
    Ok(wire::created_empty(&app.public_url(&format!("datasets/{}/items", dataset.storage.id))))
}

/// A body that is no JSON is a malformed request; JSON that is no items is refused input (`G9`, `D4`).
fn refusal(error: PushError) -> ApiError {
    let problem = match error {
        PushError::Empty | PushError::NotUtf8 { .. } | PushError::Syntax { .. } | PushError::TooLarge => {
            Problem::InvalidRequest
        }
        PushError::NotItems { .. } | PushError::NotAnObject { .. } => Problem::InvalidInput,
    };
    ApiError::new(problem, format!("Items were not stored: {error}"))
}
