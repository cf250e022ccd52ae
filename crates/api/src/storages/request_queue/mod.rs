//! Request queues (storages, section 9).

use crate::storages::Endpoint;

/// What follows the address of a request queue.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![]
}
