//! The docker driver: runs are containers and builds are images of a container engine, Docker or Podman.
//!
//! The engine is asked over its socket, each call within a time limit of its own. A container has the name and the labels
//! of its life and of this server's instance, so a later server finds it again, and no other server's is ever touched.
//! What a life needs beyond that lies in its directory, as with the process driver.

mod build;
mod client;
mod config;
mod context;
mod driver;
mod endpoint;
mod facts;
mod foreign;
mod frames;
mod image;
mod kept;
mod last_words;
mod life;
mod network;
mod output;
mod prebuilt;
mod raw;
mod start;
mod stats;
mod steps;
mod taking;
mod trace;
mod trial;
mod watch;

pub use client::probe;
pub use config::{DockerConfig, NetworkChoice};
pub use driver::DockerDriver;
pub use endpoint::Endpoint;
pub use facts::{EngineKind, Facts};
pub use network::Reach;
