//! What a driver is told about a job, and what it tells back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::{PullPolicy, REGISTRY_PASSWORD, REGISTRY_USERNAME, Timestamp};
use serde::{Deserialize, Serialize};

/// Whether a job is a run or a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// An Actor run.
    Run,
    /// The build of an Actor version.
    Build,
}

/// One life of a run or build.
///
/// Reboot, restart on error, metamorph, migration and resurrection each begin a new life of the same run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Job {
    /// Run or build.
    pub kind: JobKind,
    /// Public id of the run or build.
    pub id: String,
    /// Counts from 1.
    pub life: u32,
}

/// What a job may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of the whole process tree in bytes; over it the job is killed as out of memory.
    pub memory_bytes: u64,
    /// CPU in thousandths of a core (`RES-1`: memory / 4096 cores).
    pub cpu_millis: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes it may write to its own disk, where the driver can hold it to that.
    pub disk_bytes: u64,
}

/// All that a driver needs to start one life of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Which life of which run.
    pub job: Job,
    /// The build whose image is run.
    pub build_id: String,
    /// The whole environment of the platform and the version; the image's own `ENV` stands below it.
    pub env: BTreeMap<String, String>,
    /// Values that must never be seen in the log. Not written to disk.
    #[serde(skip)]
    pub secrets: Vec<String>,
    /// Limits of this life.
    pub limits: Limits,
    /// Folders of this machine that the run sees in place of what its image has there.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Ports of the run that are reached at this machine's loopback under the same numbers, besides that of its web server.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Log file to which stamped lines are appended.
    pub log: PathBuf,
}

/// A folder of this machine that a run sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The folder.
    pub source: PathBuf,
    /// Where it is seen; `None` for the image's working directory.
    pub target: Option<String>,
    /// Whether the run may change it.
    pub writable: bool,
    /// Directories in it of which the run sees its image's own all the same: installed packages.
    pub keeps: Vec<String>,
}

/// All that a driver needs to build an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSpec {
    /// Which build; builds have one life.
    pub job: Job,
    /// Directory with the build context; the driver may keep reading it until the build ends.
    pub context: PathBuf,
    /// Text of the Dockerfile.
    pub dockerfile: String,
    /// Name of the Dockerfile as messages show it, for example `.actor/Dockerfile`.
    pub dockerfile_name: String,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Values that must never be seen in the log. Not written to disk.
    #[serde(skip)]
    pub secrets: Vec<String>,
    /// The image to take as it is, instead of building one. Not written to disk.
    #[serde(skip)]
    pub prebuilt: Option<Prebuilt>,
    /// Whether steps done before may be taken from a cache.
    pub use_cache: bool,
    /// Limits of the build.
    pub limits: Limits,
    /// Log file to which stamped lines are appended.
    pub log: PathBuf,
}

/// An image that was built elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prebuilt {
    /// Its name.
    pub image: String,
    /// When it is fetched from its registry.
    pub pull: PullPolicy,
    /// Who asks the registry, if that matters.
    pub login: Option<Login>,
}

/// Credentials of a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Who asks.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl Login {
    /// Takes the credentials out of the variables of a version.
    pub fn taken_from(variables: &mut Vec<(String, String)>) -> Option<Self> {
        let mut take = |name: &str| {
            let at = variables.iter().position(|(there, _)| there == name)?;
            Some(variables.remove(at).1)
        };
        let (username, password) = (take(REGISTRY_USERNAME), take(REGISTRY_PASSWORD));
        Some(Self { username: username?, password: password? })
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How to stop a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Sends the image's stop signal (SIGTERM) to its first process, and returns.
    Signal,
    /// Kills every process of the job.
    Kill,
}

/// What is really there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Never started here, or forgotten.
    Unknown,
    /// Started and not ended.
    Running,
    /// Ended.
    Exited(Exit),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code as a shell would show it (128 + signal); `None` if the command never started.
    pub code: Option<i32>,
    /// Why.
    pub cause: ExitCause,
    /// When the last process of the job was gone.
    pub at: Timestamp,
    /// What the whole life used.
    pub usage: Usage,
}

/// Why a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ExitCause {
    /// The command ended by itself.
    Exited,
    /// Killed by a signal that nobody here sent.
    Signal {
        /// Signal number.
        signal: i32,
    },
    /// Over its memory limit.
    OutOfMemory,
    /// Ended because [`Driver::stop`](crate::Driver::stop) was called.
    Stopped,
    /// The command could not be started, or a build step failed.
    Failed {
        /// What went wrong, for the log and the status message.
        reason: String,
    },
    /// The supervisor of the job died without a report (killed from outside, or the machine went down); its processes are gone.
    Lost,
}

/// What a job uses, measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of all processes so far, in microseconds.
    pub cpu_micros: u64,
    /// Resident memory now, without page cache that can be dropped.
    pub memory_bytes: u64,
    /// Highest memory seen.
    pub memory_peak_bytes: u64,
    /// Bytes received, where the run has a network of its own.
    pub net_rx_bytes: u64,
    /// Bytes sent, where the run has a network of its own.
    pub net_tx_bytes: u64,
}

/// What is known of a built image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// `sha256:` and 64 hex digits over the image's content.
    pub digest: String,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// `ENV` of the image.
    pub env: BTreeMap<String, String>,
    /// `WORKDIR`.
    pub workdir: String,
    /// `USER`, empty for the default.
    pub user: String,
    /// `ENTRYPOINT` in exec form.
    pub entrypoint: Vec<String>,
    /// `CMD` in exec form.
    pub cmd: Vec<String>,
}

/// What keeps Actors apart on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// One word for the start line and the console: `full`, `partial`, `none`.
    pub level: String,
    /// Each means in effect or missing, as short sentences for the log and `doctor`.
    pub details: Vec<String>,
}

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// No image of that build is here.
    #[error("build {0} has no image on this machine")]
    NoSuchImage(String),
    /// The job was never started here, or is forgotten.
    #[error("{0} is not known on this machine")]
    NoSuchJob(String),
    /// The job could not be started.
    #[error("cannot start: {0}")]
    CannotStart(String),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}
