//! Builds.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{ActorId, BuildId, EnvVar, GeneralAccess, JobStatus, Origin, Timestamp, UserId};

/// One build of an Actor version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// The Actor.
    pub actor_id: ActorId,
    /// Who asked for it.
    pub user_id: UserId,
    /// `MAJOR.MINOR.BUILD` (`ID-12`).
    pub build_number: String,
    /// Status.
    pub status: JobStatus,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Who asked, and from where.
    pub meta: JobMeta,
    /// What was asked for.
    pub options: BuildOptions,
    /// Tag that it gets on success (`BLD-2`).
    pub tag: Option<String>,
    /// Kind of its source (`VER-1`); the source itself is kept apart, since it can be large.
    pub source_kind: String,
    /// The version's variables as they were when the build was asked for (`BLD-5`).
    #[serde(default)]
    pub env_vars: Vec<EnvVar>,
    /// Whether the variables are given to the build, too (`VER-13`).
    #[serde(default)]
    pub apply_env_vars_to_build: bool,
    /// How it went.
    #[serde(default)]
    pub stats: BuildStats,
    /// Why it ended as it did.
    #[serde(default)]
    pub status_message: Option<String>,
    /// The parsed actor.json with its files inlined (`BLD-7`).
    #[serde(default)]
    pub actor_definition: Option<Box<RawValue>>,
    /// The input schema as text (`BLD-7`).
    #[serde(default)]
    pub input_schema: Option<String>,
    /// The README (`BLD-7`).
    #[serde(default)]
    pub readme: Option<String>,
    /// Access level (`AUTH-9`).
    #[serde(default)]
    pub general_access: GeneralAccess,
}

/// What a build was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildOptions {
    /// Whether steps done before may be reused.
    pub use_cache: bool,
    /// Whether newer base packages were asked for; has no effect.
    pub beta_packages: bool,
    /// Memory in megabytes (`BLD-4`).
    pub memory_mbytes: u32,
    /// Disk in megabytes.
    pub disk_mbytes: u32,
    /// Seconds after which it is stopped (`BLD-4`).
    pub timeout_secs: u64,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { use_cache: false, beta_packages: false, memory_mbytes: 4096, disk_mbytes: 8192, timeout_secs: 1800 }
    }
}

/// How a build went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildStats {
    /// Time from start to end.
    pub duration_millis: u64,
    /// The same in seconds.
    pub run_time_secs: f64,
    /// Gigabyte-hours of memory held.
    pub compute_units: f64,
    /// Size of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size_bytes: Option<u64>,
}

/// Who asked for a run or build, and from where (`RUN-11`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobMeta {
    /// By which way.
    pub origin: Origin,
    /// Address of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// Its `User-Agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Schedule that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<String>,
    /// When the schedule was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
}
