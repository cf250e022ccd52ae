//! The process driver on the machine as it is: real processes, real namespaces, real control groups.
//!
//! What the kernel or the user's rights do not allow is skipped aloud.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod apart;
mod bench;
mod ends;
mod logs;
mod restarts;
#[path = "../common/scripts.rs"]
mod scripts;
#[path = "../common/waiting.rs"]
mod waiting;
