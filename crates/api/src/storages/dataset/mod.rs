//! Datasets (storages, sections 4 to 7).

mod accept;
mod export;
mod format;
mod items;
mod part;
mod push;
mod statistics;
mod view;

use axum::routing::{get, post};

use crate::storages::Endpoint;

pub(crate) use items::answer_with_items;
pub(crate) use part::Lengths;
pub(crate) use statistics::Counted;
pub(crate) use view::ItemsParams;

/// What follows the address of a dataset.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![("/items", get(items::list).merge(post(push::push))), ("/statistics", get(statistics::show))]
}
