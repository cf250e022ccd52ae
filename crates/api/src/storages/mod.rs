//! Datasets, key-value stores and request queues.
//!
//! Each endpoint is written once and answers under every address that a storage has: its own, that of its run, and those of
//! the last run of an Actor or a task (`A1`, `A2`).

mod conditions;
pub(crate) mod dataset;
pub(crate) mod key_value_store;
mod object;
mod request_queue;
mod schema;

use axum::Router;
use axum::routing::MethodRouter;
use model::StorageKind;

pub(crate) use self::request_queue::Reclaims;
pub(crate) use self::schema::Schemas;
use crate::app::App;
use crate::extract::{Dataset, KeyValueStore, Kind, RequestQueue};

/// An endpoint of a storage: what follows its address, and what answers there.
type Endpoint = (&'static str, MethodRouter<App>);

pub(crate) fn router() -> Router<App> {
    Router::new()
        .merge(of_kind::<Dataset>(dataset::endpoints()))
        .merge(of_kind::<KeyValueStore>(key_value_store::endpoints()))
        .merge(of_kind::<RequestQueue>(request_queue::endpoints()))
}

/// What follows the address of a storage of each kind, beginning with nothing: for whoever must know them all, as a test of
/// who may call them.
pub fn storage_endpoints() -> Vec<(StorageKind, &'static str)> {
    [
        (StorageKind::Dataset, dataset::endpoints()),
        (StorageKind::KeyValueStore, key_value_store::endpoints()),
        (StorageKind::RequestQueue, request_queue::endpoints()),
    ]
    .into_iter()
    .flat_map(|(kind, endpoints)| {
        let paths = endpoints.into_iter().map(|(path, _)| path);
        std::iter::once("").chain(paths).map(move |path| (kind, path))
    })
    .collect()
}

fn of_kind<K: Kind>(endpoints: Vec<Endpoint>) -> Router<App> {
    let plural = K::KIND.plural();
    let mut router = Router::new().route(&format!("/v2/{plural}"), object::collection::<K>());
    // Not `nest`: it would spell the path anew for every request, only to hide the prefix from handlers that do not look.
    for prefix in prefixes(K::KIND) {
        router = router.route(&prefix, object::object::<K>());
        for (path, methods) in &endpoints {
            router = router.route(&format!("{prefix}{path}"), methods.clone());
        }
    }
    router
}

/// Every address of a storage. The name of the parameter tells extractors how to follow it.
fn prefixes(kind: StorageKind) -> [String; 4] {
    let singular = kind.singular();
    [
        format!("/v2/{}/{{storageId}}", kind.plural()),
        format!("/v2/actor-runs/{{runId}}/{singular}"),
        format!("/v2/actors/{{actorId}}/runs/last/{singular}"),
        format!("/v2/actor-tasks/{{actorTaskId}}/runs/last/{singular}"),
    ]
}
