//! Key-value stores (storages, section 8).

mod key;
mod keys;
mod negotiation;
mod put;
mod record;
mod zip;

use axum::routing::get;

use crate::storages::Endpoint;

pub(crate) use negotiation::Wanted;
pub(crate) use record::answer_with_record;

/// What follows the address of a key-value store.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        ("/keys", get(keys::list)),
        ("/records", get(zip::download)),
        ("/records/{key}", get(record::get).put(put::put).post(put::put).delete(record::delete)),
    ]
}
