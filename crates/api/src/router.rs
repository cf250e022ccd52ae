//! Every address of the API.

use axum::Router;
use http::Uri;

use crate::app::App;
use crate::error::ApiError;
use crate::{
    actor_runtime, actors, builds, events, logs, openapi, runs, schedules, storages, store_front, tasks, tools, users,
    webhooks,
};

/// All routes. What happens around them is in [`crate::Service`].
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .merge(storages::router())
        .merge(actors::router())
        .merge(tasks::router())
        .merge(schedules::router())
        .merge(actor_runtime::router())
        .merge(builds::router())
        .merge(runs::router())
        .merge(logs::router())
        .merge(users::router())
        .merge(store_front::router())
        .merge(webhooks::router())
        .merge(tools::router())
        .merge(events::router())
        .merge(openapi::router())
        .fallback(no_such_page)
        .with_state(app)
}

async fn no_such_page(uri: Uri) -> ApiError {
    ApiError::page_not_found(uri.path())
}
