//! Request queues (storages, section 9).

mod batch;
mod client;
mod head;
mod list;
mod lock;
mod reclaims;
mod request;
mod requeue;
mod single;
mod stats;

use axum::routing::{get, post, put};

pub(crate) use self::reclaims::Reclaims;
use crate::storages::Endpoint;

/// What follows the address of a request queue.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        ("/requests", get(list::list).post(single::add)),
        ("/requests/batch", post(batch::add).delete(batch::delete)),
        ("/requests/unlock", post(lock::unlock_all)),
        ("/requests/{requestId}", get(single::get).put(single::update).delete(single::delete)),
        ("/requests/{requestId}/lock", put(lock::prolong).delete(lock::release)),
        ("/head", get(head::show)),
        ("/head/lock", post(head::lock)),
        ("/x-requeue", post(requeue::requeue)),
        ("/x-stats", get(stats::show)),
    ]
}
