//! Builds of images by the process driver, in real sandboxes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod steps;
mod templates;
