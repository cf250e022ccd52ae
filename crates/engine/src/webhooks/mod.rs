//! Delivering what webhooks are told of (section 21 of the contract).
//!
//! The store makes the dispatches, in the transaction in which something happens. Here they are sent until they arrive: a
//! task takes what is due, one task for each delivery carries it, and another writes down what came of them, many at a
//! time. A server that dies in between sends again what was not written down: each dispatch arrives at least once.

mod courier;
mod deliver;
mod http;
mod lanes;
mod parcel;
#[cfg(test)]
mod tests;

pub use courier::{Courier, Parcel, Receipt};
pub use http::HttpCourier;
pub use parcel::Resources;
