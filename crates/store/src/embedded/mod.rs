//! The default backend: one directory with SQLite for rows and files for bulk bytes.

mod core;
mod datasets;
mod db;
mod migrations;
mod objects;
mod queues;
mod reaper;
mod records;
mod storages;
mod upkeep;

use std::sync::Arc;

use model::{Random, SharedClock};

/// What an embedded store is opened with.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Tells the time.
    pub clock: SharedClock,
    /// Names objects.
    pub random: Arc<dyn Random>,
    /// Does everything on the caller's thread and nothing in the background, as a test with a paused clock needs it.
    pub inline: bool,
}
