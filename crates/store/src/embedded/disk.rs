//! What the disk answers.

use std::io;

use crate::StoreError;

/// The failure of a store that a failure of the disk is.
pub(super) fn io_error(error: io::Error) -> StoreError {
    if is_full(&error) { StoreError::Full } else { StoreError::Backend(error.into()) }
}

/// Whether it fails for want of room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
