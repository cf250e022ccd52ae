//! The process driver: runs are processes of this machine, kept apart by what its kernel offers.

pub mod build;
pub mod image;
pub mod sandbox;
