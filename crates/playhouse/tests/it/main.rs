//! The real binary from outside: what survives when it is killed, and in which order it syncs and answers.
//!
//! Each test starts `playhouse serve` on a directory of its own and talks HTTP to it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod actors;
mod command_line;
mod containers;
mod durability;
mod faults;
mod full_disk;
mod kill;
mod schedules;
mod server;
mod upgrade;
mod webhooks;
