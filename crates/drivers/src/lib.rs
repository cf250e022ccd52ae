//! Where builds and runs happen.
//!
//! A [`Driver`] starts *jobs* (runs and builds), says what is really there, stops and measures them. It decides nothing:
//! the engine tells it what to do and asks again after a restart. Everything needed to find a job again is on disk before
//! the job starts, so a job outlives the server that started it.

mod files;
mod job;
mod life;
mod pids;

#[cfg(feature = "docker")]
pub mod docker;
pub mod dockerfile;
pub mod fake;
pub mod log;
pub mod process;

pub use job::{
    BuildSpec, DriverError, Exit, ExitCause, ImageInfo, Isolation, Job, JobKind, Limits, Login, Mount, Observed,
    Prebuilt, RunSpec, Stop, Usage,
};

use std::net::SocketAddr;

use async_trait::async_trait;

/// A place where runs and builds are executed.
///
/// Every method may be repeated: the engine calls again when it cannot know whether an earlier call took effect.
#[async_trait]
pub trait Driver: Send + Sync + std::fmt::Debug {
    /// The word users type for this driver: `process`, `docker`, `kubernetes`.
    fn name(&self) -> &'static str;

    /// What keeps Actors apart from the host and from each other on this machine, as probed at start.
    fn isolation(&self) -> Isolation;

    /// Starts one life of a run and returns once its command is about to be executed.
    ///
    /// Idempotent: starting a life that exists already changes nothing and succeeds.
    ///
    /// # Errors
    /// `NoSuchImage` if the build has no image here; `CannotStart` with the reason otherwise. Nothing is left behind then.
    async fn start_run(&self, spec: &RunSpec) -> Result<(), DriverError>;

    /// Starts a build; its outcome is read with [`wait`](Self::wait), its image with [`image`](Self::image). Idempotent.
    async fn start_build(&self, spec: &BuildSpec) -> Result<(), DriverError>;

    /// Hands over what is not kept on disk of a run that an earlier server started: values that must not be seen in its log.
    /// Called before anything else is asked of the job; one that is not there is no error.
    async fn take_up(&self, _job: &Job, _secrets: &[String]) -> Result<(), DriverError> {
        Ok(())
    }

    /// Tells what is really there, without waiting.
    async fn observe(&self, job: &Job) -> Result<Observed, DriverError>;

    /// Waits until the job has ended and all of its output is in its log file. May be dropped and called again.
    ///
    /// # Errors
    /// `NoSuchJob` if it was never started here or is forgotten.
    async fn wait(&self, job: &Job) -> Result<Exit, DriverError>;

    /// Asks a job to end, or ends it. After [`Stop::Kill`] returns, no process of the job is left. A job that is gone is no error.
    async fn stop(&self, job: &Job, how: Stop) -> Result<(), DriverError>;

    /// Measures a running job; `None` once it is gone.
    async fn measure(&self, job: &Job) -> Result<Option<Usage>, DriverError>;

    /// Where a server that the job runs on `port` can be reached from this process.
    async fn address_of(&self, job: &Job, port: u16) -> Result<SocketAddr, DriverError>;

    /// Whether each run has a network of its own, so that all may listen on the same port.
    fn has_own_network(&self) -> bool;

    /// Frees what an ended life still holds on this machine (never its log). A job that is not there is no error.
    async fn forget(&self, job: &Job) -> Result<(), DriverError>;

    /// Every job that this driver still holds something of, so that the engine can find orphans.
    async fn list(&self) -> Result<Vec<Job>, DriverError>;

    /// Ends what must not outlive the server. Called last, and only if the server ends in order.
    async fn close(&self) -> Result<(), DriverError> {
        Ok(())
    }

    /// The image that a build left, or `None` if it failed, was removed or never ran here.
    async fn image(&self, build_id: &str) -> Result<Option<ImageInfo>, DriverError>;

    /// The builds whose images this driver still holds beyond what [`list`](Self::list) tells, so that the engine can find
    /// those that nothing refers to.
    async fn images(&self) -> Result<Vec<String>, DriverError> {
        Ok(Vec::new())
    }

    /// Removes a build's image. One that is not there is no error.
    async fn remove_image(&self, build_id: &str) -> Result<(), DriverError>;
}
