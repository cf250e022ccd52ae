//! The HTTP face: the Apify API v2.
//!
//! A request goes through one [`Service`] (names, method override, CORS, panics, compression), the `router`, and one
//! handler: extract, one call, answer. Extractors settle what the request means and who may do it; `error` turns every
//! failure into the contract's words; `wire` spells the answers.

mod access;
mod app;
mod error;
mod extract;
mod layers;
mod rights;
mod router;
mod wire;

// One module per noun
mod actor_runtime;
mod actors;
mod builds;
mod events;
mod forward;
mod logs;
mod openapi;
mod runs;
mod schedules;
mod storages;
mod store_front;
mod tasks;
mod tools;
mod users;
mod webhooks;

pub use app::{ApiConfig, App};
pub use error::{ApiError, Problem};
pub use layers::{Peer, RequestId, Service};
pub(crate) use router::router;
pub use storages::storage_endpoints;
