//! Builds of images by the process driver, in real sandboxes.

mod bench;
mod steps;
mod templates;
