//! What happens around every request, in one hand-written service: names, method override, CORS, panics, compression.

mod compression;
mod cors;
mod leftover;
mod paths;
mod rate;
mod request_id;
mod service;

pub(crate) use compression::{Compressible, accepts, has_no_parts};
pub use request_id::RequestId;
pub use service::{Peer, Service};
