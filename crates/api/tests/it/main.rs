//! The whole HTTP face in process, over a real engine with an embedded store and a fake driver.
//!
//! Requests go straight to the service, without a socket, so tests may hold the clock still. See [`harness`].

mod harness;

// The surface
mod http;

// Storages
mod access;
mod datasets;
mod key_value_stores;
mod request_queues;
mod storages;
