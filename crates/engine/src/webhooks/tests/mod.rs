//! Deliveries, with a courier that answers as it is told, and with a real one.

mod delivery;
mod http;
