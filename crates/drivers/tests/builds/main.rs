//! Builds of images by the process driver, in real sandboxes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
#[path = "../common/contexts.rs"]
mod contexts;
mod steps;
mod templates;
#[path = "../common/waiting.rs"]
mod waiting;
