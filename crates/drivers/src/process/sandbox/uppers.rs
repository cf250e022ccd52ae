//! Where a sandbox under overlayfs keeps what is written to the system's directories.
//!
//! Each of them is an overlay of its own, and the upper directory of one overlay may not lie within that of another. So
//! while a command runs, theirs are parked in the scratch directory.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::base::SYSTEM_DIRS;
use super::mounts::is_real_dir;
use super::{Sandbox, remove_tree};

/// Where writes to the system directory `name` go while a command runs.
pub(super) fn parked(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.scratch.join(format!("upper-{name}"))
}

/// The work directory that overlayfs wants beside that of writes.
pub(super) fn work(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.scratch.join(format!("work-{name}"))
}

/// Before a command.
pub(super) fn park(sandbox: &Sandbox) -> io::Result<()> {
    // Of the command before; overlayfs refuses one that was used without syncing.
    for entry in fs::read_dir(&sandbox.scratch)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b"work-") {
            remove_tree(&entry.path())?;
        }
    }
    for name in SYSTEM_DIRS {
        let upper = sandbox.upper.join(name);
        if is_real_dir(&upper) {
            fs::rename(upper, parked(sandbox, name))?;
        }
    }
    Ok(())
}

/// After a command: puts all that was written together.
pub(super) fn put_back(sandbox: &Sandbox) -> io::Result<()> {
    for name in SYSTEM_DIRS {
        let parked = parked(sandbox, name);
        // One in which nothing was written goes.
        if is_real_dir(&parked) && fs::remove_dir(&parked).is_err() {
            fs::rename(parked, sandbox.upper.join(name))?;
        }
    }
    Ok(())
}
