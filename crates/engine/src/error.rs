//! What the engine refuses to do, and why.

use drivers::DriverError;
use model::input_schema::InputError;
use model::schedule::TicksError;
use model::{JobStatus, NoObject};
use store::{Noun, StoreError};

/// Why the engine did not do what it was asked. Nothing has changed then.
///
/// The text is the message that clients see; the API gives each its status and `type`.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Something that was named does not exist.
    #[error("{0} was not found")]
    NotFound(Noun),
    /// The Actor has no build of that tag (`START-12`).
    #[error("Actor has no build tagged \"{0}\"")]
    NoBuildTagged(String),
    /// The Actor has no build of that number (`START-12`).
    #[error("Actor has no build number {0}")]
    NoBuildNumbered(String),
    /// The build has not succeeded (`START-11`).
    #[error("Actor build {number} cannot be run, since its status is {status}")]
    BuildNotRunnable {
        /// Its number.
        number: String,
        /// Its status.
        status: JobStatus,
    },
    /// Neither a power of two nor within 128 to 32768 (`START-6`).
    #[error("Memory must be a power of two between 128 and 32768 MB, but it is {0}")]
    InvalidMemory(i64),
    /// Negative or out of range.
    #[error("Timeout must be a whole number of seconds, 0 or more, but it is {0}")]
    InvalidTimeout(i64),
    /// Zero or negative (`START-13`).
    #[error("Maximum number of items must be greater than zero")]
    MaxItemsNotPositive,
    /// Zero, negative or not a number (`START-13`).
    #[error("Maximum total charge must be greater than zero")]
    MaxTotalChargeNotPositive,
    /// Below what the Actor's pricing asks for (`START-13`).
    #[error("Maximum total charge must be at least ${0}")]
    MaxTotalChargeBelowMinimum(f64),
    /// The input was refused (`INP-20`).
    #[error(transparent)]
    Input(#[from] InputError),
    /// What is put over the input of a task is no object (`TASK-4`).
    #[error(transparent)]
    TaskInput(#[from] NoObject),
    /// A schedule would never be due (`SCH-2`).
    #[error(transparent)]
    Schedule(#[from] TicksError),
    /// Reboot or metamorph of a finished run (`REBOOT-1`, `META-5`).
    #[error("Actor job is already finished.")]
    JobFinished,
    /// Reboot or metamorph of a run that is not running, though not finished either.
    #[error("Actor run must be running for this, but its status is {0}")]
    NotRunning(JobStatus),
    /// Resurrection of a run that has not finished (`RESUR-3`).
    #[error("Only finished runs can be resurrected, but the status of this one is {0}")]
    NotFinished(JobStatus),
    /// Deletion of a run that has not finished (`DEL-1`).
    #[error("It is not possible to delete a run that has not finished yet.")]
    CannotRemoveRunningRun,
    /// One metamorph too many (`META-5`).
    #[error("A run can do at most {max} metamorphs", max = model::MAX_METAMORPHS)]
    MaxMetamorphsExceeded,
    /// A run with limited permissions asks for one without (`META-5`).
    #[error("Actor with limited permissions cannot metamorph to an Actor with full permissions")]
    MetamorphNeedsPermissions,
    /// A run with limited permissions wants to start one without (`AUTH-15`).
    #[error("Actor with limited permissions cannot start an Actor with full permissions")]
    StartNeedsPermissions,
    /// The token has no right to start that Actor (`AUTH-19`).
    #[error("Insufficient permissions: the permissions of this API token do not include running the Actor")]
    TokenMayNotStart,
    /// A charge that is not well-formed (`CHG-4`).
    #[error("{0}")]
    InvalidCharge(&'static str),
    /// The event is one of the system's own (`CHG-6`).
    #[error("Event \"{0}\" is system event and cannot be charged.")]
    SystemEvent(String),
    /// The run's Actor is not paid per event (`CHG-6`).
    #[error("You cannot charge events for an Actor that is not paid per event.")]
    NotPayPerEvent,
    /// The pricing does not know the event (`CHG-5`).
    #[error("Pricing for the event {0} was not found")]
    NoSuchEvent(String),
    /// Deletion of a build that has not finished (`BLD-10`).
    #[error("Deleting unfinished build while running is not allowed")]
    DeletingUnfinishedBuild,
    /// Deletion of the build that runs use by default (`BLD-10`).
    #[error("Deleting default build is not allowed")]
    DeletingDefaultBuild,
    /// Not a name for a user (`ID-9`).
    #[error("\"{0}\" is not a user name: use 3 to 30 letters, digits, underscores, dots or hyphens")]
    InvalidUsername(String),
    /// The account's jobs would hold more memory than they may (`START-7`).
    #[error(
        "By launching this job you will exceed the memory limit of {limit}MB for all your Actor runs and builds \
         (currently used: {used}MB, requested: {requested}MB)."
    )]
    MemoryLimitExceeded {
        /// What they may hold.
        limit: u32,
        /// What they hold.
        used: u32,
        /// What the new one wants.
        requested: u32,
    },
    /// The account has as many runs as it may have (`START-7`).
    #[error("By launching this job you will exceed the limit of {limit} Actor runs at once")]
    ConcurrentRunsLimitExceeded {
        /// How many.
        limit: u32,
    },
    /// The account has used what it may use in a month (`USR-7`).
    #[error("Monthly usage hard limit exceeded")]
    MonthlyUsageExceeded {
        /// In US dollars.
        limit: f64,
    },
    /// The server is about to stop and takes nothing on any more.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The store refused or failed.
    #[error(transparent)]
    Store(StoreError),
    /// The driver failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// Something went wrong that nobody can act upon.
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(noun) => Self::NotFound(noun),
            other => Self::Store(other),
        }
    }
}
