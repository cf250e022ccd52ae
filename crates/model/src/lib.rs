//! What the platform is: types, rules and state machines.
//!
//! Nothing here does I/O, waits, or asks what time it is: time and randomness come in as arguments.

mod time;

pub use time::{Clock, SharedClock, SystemClock, Timestamp};
