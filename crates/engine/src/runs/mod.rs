//! Runs: what can be asked of them and how they live.

mod abort;
mod charge;
mod delete;
mod development;
mod end;
mod environment;
mod figures;
mod input;
mod launch;
mod live;
mod metamorph;
mod migrate;
mod options;
mod reboot;
mod resurrect;
mod start;
mod supervise;
mod update;
mod wait;

#[cfg(test)]
mod tests;

pub(crate) use self::figures::{Sample, Samples, compute_units};
pub use self::figures::{figures_at, usage_at};
pub(crate) use self::launch::limits;
pub(crate) use self::live::{LiveRun, job_of};
pub use self::options::RunOptionsGiven;
pub use self::start::{AdHocWebhook, Asked, RunInput, StartRun};
pub(crate) use self::start::{may_start, permission_level};
pub(crate) use self::supervise::TakenUp;
pub use self::update::RunUpdate;
