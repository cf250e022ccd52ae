//! The work that a store does beside its calls.

use async_trait::async_trait;

use crate::StoreError;

/// What a store does in the background: compress what has gone quiet, take away what was deleted, write statistics.
#[async_trait]
pub trait Upkeep: Send + Sync + std::fmt::Debug {
    /// Does everything that is due. The store calls for it by itself; a test that has no threads does it by hand.
    async fn run(&self) -> Result<(), StoreError>;

    /// Writes what is buffered and lets go of everything; later calls fail. Returns when that is done, which may take some
    /// hundred milliseconds. The last clone of the store does this when it is dropped; closing again does nothing.
    fn close(&self);
}
