//! The pages that links printed by the `apify` CLI open.
//!
//! Server-rendered HTML over the same engine and store as the API, with no rules of its own. Today these are plain pages for
//! an Actor, a run, a build and the storages, and the one that `apify login` opens; the full console grows in these rooms.

mod actors;
mod guard;
mod login;
mod page;
mod runs;
mod storages;

use std::net::SocketAddr;

use axum::Router;
use axum::routing::{get, post};
use engine::Engine;

/// The pages, to be served beside the API.
///
/// With a `password` every page asks for it. Without one they are open to whoever reaches `bound`, which must be loopback
/// then, and refuse requests that a foreign web page could cause.
pub fn router(engine: Engine, password: Option<String>, bound: SocketAddr) -> Router {
    let guard = guard::Guard::new(password, bound);
    Router::new()
        .route("/", get(actors::home))
        .route("/actors", get(actors::home))
        .route("/actors/{actor}", get(actors::show))
        .route("/actors/{actor}/runs/{run}", get(runs::show))
        .route("/actors/{actor}/builds/{build}", get(runs::show_build))
        .route("/runs/{run}", get(runs::show_by_id))
        .route("/runs/{run}/log", get(runs::log))
        .route("/builds/{build}/log", get(runs::build_log))
        .route("/storage/datasets/{id}", get(storages::dataset))
        .route("/storage/key-value-stores/{id}", get(storages::key_value_store))
        .route("/storage/request-queues/{id}", get(storages::request_queue))
        .route("/settings/integrations", get(login::show))
        .route("/settings/integrations/token", post(login::create_token))
        .layer(axum::middleware::from_fn_with_state(guard, guard::check))
        .with_state(engine)
}
