//! Runs (sections 8 to 12 of the contract).

mod change;
mod list;
mod located;
mod output;
mod show;
mod start;
mod sync;
mod webhooks;

use axum::Router;
use axum::routing::{MethodRouter, get, post};

use crate::app::App;
use crate::logs;

pub(crate) use located::{OwnRun, SeenRun};
pub(crate) use output::Outputs;
pub(crate) use show::{body, wait_for_finish};
pub(crate) use start::asked;

/// The addresses of runs. `/v2/actors/{actorId}/runs/{runId}` and the last runs are the same runs under other names.
pub(crate) fn router() -> Router<App> {
    let (single, below_actor) = ("/v2/actor-runs/{runId}", "/v2/actors/{actorId}/runs/{runId}");
    let last = ["/v2/actors/{actorId}/runs/last", "/v2/actor-tasks/{actorTaskId}/runs/last"];
    let mut router = Router::new()
        .route("/v2/actor-runs", get(list::all))
        .route("/v2/actors/{actorId}/runs", get(list::of_actor).post(start::start))
        .route("/v2/actor-tasks/{actorTaskId}/runs", get(list::of_task).post(start::start))
        .route(single, get(show::show).put(change::update).delete(change::delete))
        .route(&format!("{single}/charge"), post(change::charge));
    for started in ["/v2/actors/{actorId}", "/v2/actor-tasks/{actorTaskId}"] {
        router = router
            .route(&format!("{started}/run-sync"), get(sync::record_without_input).post(sync::record))
            .route(&format!("{started}/run-sync-get-dataset-items"), get(sync::items_without_input).post(sync::items));
    }
    for prefix in [below_actor].into_iter().chain(last) {
        router = router.route(prefix, get(show::show));
    }
    for (path, methods) in operations() {
        for prefix in [single, below_actor].into_iter().chain(last) {
            // What has ended is resurrected by its id, not by its place in a list (LAST-3).
            if !(last.contains(&prefix) && path == "/resurrect") {
                router = router.route(&format!("{prefix}{path}"), methods.clone());
            }
        }
    }
    router
}

/// What follows the address of a run and means the same under each of them.
fn operations() -> [(&'static str, MethodRouter<App>); 6] {
    [
        ("/abort", post(change::abort)),
        ("/metamorph", post(change::metamorph)),
        ("/reboot", post(change::reboot)),
        ("/x-migrate", post(change::migrate)),
        ("/resurrect", post(change::resurrect)),
        ("/log", get(logs::of_run)),
    ]
}
