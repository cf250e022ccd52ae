//! The process driver: runs and builds are processes of this machine, kept apart by what its kernel offers.
//!
//! The server ([`ProcessDriver`]) starts a *supervisor* for each life of a job: our own binary, executed anew, which
//! outlives the server. The supervisor sets up a *sandbox*, whose first process, our binary again, executes the command.
//! What a later server needs to find the life again is in its directory before the supervisor does anything.

mod driver;
mod hidden;
mod probe;

// In the process that supervises a job
pub mod build;
pub mod image;
pub mod sandbox;
mod supervisor;

// What both sides speak of
mod cgroup;
mod identity;
mod life;
mod means;
mod tree;
mod wire;

pub use driver::{ProcessConfig, ProcessDriver, Separation};
pub use hidden::run_hidden_command;
