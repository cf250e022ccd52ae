//! Every address of the API.

use axum::Router;
use http::Uri;

use crate::app::App;
use crate::error::ApiError;
use crate::storages;

/// All routes. What happens around them is in [`crate::Service`].
pub(crate) fn router(app: App) -> Router {
    Router::new().merge(storages::router()).fallback(no_such_page).with_state(app)
}

async fn no_such_page(uri: Uri) -> ApiError {
    ApiError::page_not_found(uri.path())
}
