//! Key-value stores (storages, section 8).

use crate::storages::Endpoint;

/// What follows the address of a key-value store.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![]
}
