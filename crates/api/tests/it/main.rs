//! The whole HTTP face in process, over a real engine with an embedded store and a fake driver.
//!
//! Requests go straight to the service, without a socket, so tests may hold the clock still. See [`harness`].

mod harness;
mod platform;
mod sockets;

// The surface
mod http;
mod robustness;

// Storages
mod access;
mod access_matrix;
mod datasets;
mod exports;
mod extensions;
mod kept_secrets;
mod key_value_stores;
mod limited_permissions;
mod request_queues;
mod scoped_tokens;
mod storages;

// Actors, builds and runs
mod actors;
mod builds;
mod containers;
mod development;
mod events;
mod isolation;
mod logs;
mod proxy;
mod push;
mod run_operations;
mod runs;
mod schedules;
mod standby;
mod tasks;
mod users;
mod versions;
mod webhooks;

// All of it
mod contract;
