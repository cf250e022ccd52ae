//! What every driver must do, asked of the process driver and of the docker driver on each engine that is there.
//!
//! `PLAYHOUSE_TEST_ENGINES` names the engines, as `docker=unix:///path podman=unix:///path`; `tests/engines/engines up` starts
//! some and prints it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod builds;
#[cfg(feature = "docker")]
mod containers;
#[path = "../common/contexts.rs"]
mod contexts;
mod ends;
mod folders;
mod limits;
mod lives;
mod logs;
#[cfg(feature = "docker")]
mod registry;
#[cfg(feature = "docker")]
mod remote;
#[path = "../common/scripts.rs"]
mod scripts;
#[path = "../common/waiting.rs"]
mod waiting;
