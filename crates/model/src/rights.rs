//! What a token may do of what its user may.

use serde::{Deserialize, Serialize};

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Look at it and at what is in it.
    Read,
    /// Change what is in it. Of a run: say how it goes, abort it, and the like.
    Write,
    /// Rename it, open it to others, delete it.
    Manage,
    /// Make a new one.
    Create,
    /// Start runs of it.
    Run,
}
