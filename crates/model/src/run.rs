//! Runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::actor::PermissionLevel;
use crate::build::JobMeta;
use crate::pricing::{PricingInfo, charged_usd};
use crate::usage::{RunUsage, Used};
use crate::{ActorId, BuildId, GeneralAccess, JobStatus, RunId, StorageId, TaskId, Timestamp, TokenScope, UserId};

/// Key of the input record (`K33`).
pub const INPUT_KEY: &str = "INPUT";
/// Metamorphs that one run may do (`META-5`).
pub const MAX_METAMORPHS: usize = 10;
/// Seconds between a graceful abort and the kill (`ABORT-3`).
pub const ABORT_GRACE_SECS: u64 = 30;
/// Storages named in its input that a run with limited permissions may use; further ones are not opened to it.
pub const MAX_GRANTED_STORAGES: usize = 1000;
/// Seconds that a run's token stays valid after its end, for late charges and status messages.
pub const TOKEN_GRACE_SECS: i64 = 60;

/// One run of an Actor.
///
/// Lists read a thousand of them at once, so what a run does not have is not written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The Actor; after a metamorph the one that it became (`RUN-16`).
    pub actor_id: ActorId,
    /// Who started it (`RUN-12`).
    pub user_id: UserId,
    /// The task it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The build that is run.
    pub build_id: BuildId,
    /// Its number.
    pub build_number: String,
    /// Tags of the build when the run started (`START-10`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_tags: Vec<String>,
    /// Status.
    pub status: JobStatus,
    /// Message of the Actor, or of the server at the end (`RUN-6`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// Whether the Actor marked its message as the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_status_message_terminal: Option<bool>,
    /// When it was asked for (`RUN-3`).
    pub started_at: Timestamp,
    /// When it ended (`RUN-4`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Exit code of its last life (`RUN-5`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended, named; ours, beside the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_cause: Option<EndCause>,
    /// Who asked, and from where.
    pub meta: JobMeta,
    /// Its options.
    pub options: RunOptions,
    /// How it goes.
    #[serde(default, serialize_with = "crate::sparse::without_zeros")]
    pub stats: RunStats,
    /// What it used so far.
    #[serde(default, serialize_with = "crate::sparse::without_zeros")]
    pub usage: RunUsage,
    /// Access level (`RUN-15`).
    #[serde(default)]
    pub general_access: GeneralAccess,
    /// Its default storages and their aliases (`RUN-14`).
    pub storages: RunStorages,
    /// Record that holds its input (`META-2`).
    pub input_key: String,
    /// What its token may do.
    pub permission_level: PermissionLevel,
    /// Storages that its input opens to it, if its permissions are limited (`AUTH-15`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub granted_storages: Vec<GrantedStorage>,
    /// What its token may do at most, if it was started with a token whose runs may do no more than itself (`AUTH-19`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_scope: Option<Arc<TokenScope>>,
    /// The run that started it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<StartedBy>,
    /// Who aborted it, in words for the status message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted_by: Option<String>,
    /// Groups calls that belong together (`HTTP-25`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_key: Option<String>,
    /// Secret part of the address of its web server (`RUN-13`).
    pub container_secret: String,
    /// Port of its web server, chosen when a life is launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_port: Option<u16>,
    /// The Actors it was before (`RUN-16`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metamorphs: Vec<Metamorph>,
    /// Prices when it started (`CHG-1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing_info: Option<PricingInfo>,
    /// Events charged so far (`CHG-8`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub charged_event_counts: BTreeMap<String, u64>,
    /// Whether it runs its build alone, whatever folder its Actor is developed in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_dev_folder: bool,
    /// When a migration that was asked for stops the life that runs (`MIG-1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate_at: Option<Timestamp>,
    /// Life that is wanted, from 1; each reboot, restart, metamorph, migration and resurrection asks for a new one.
    #[serde(default)]
    pub life: u32,
    /// Life that was last known to be started; behind `life` while that is being launched.
    #[serde(default)]
    pub started_life: u32,
    /// When it was restarted after failures, as far as that still counts (`START-24`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_restarts: Vec<Timestamp>,
    /// When it is to be stopped: when its time is up, or while it is aborted, when its grace is over; none without a timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When the current stretch of running began: at the start or the last resurrection (`RUN-9`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Timestamp>,
}

impl Run {
    /// What the events charged to it cost, in US dollars.
    pub fn charged_usd(&self) -> f64 {
        charged_usd(self.pricing_info.as_ref(), &self.charged_event_counts)
    }

    /// What it has used so far, as it is written down.
    pub fn used(&self) -> Used {
        Used { usage: self.usage, events_usd: self.charged_usd() }
    }
}

/// Options of a run (`RUN-7`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOptions {
    /// Tag or number as asked for.
    pub build: String,
    /// Seconds; 0 for no end (`START-4`).
    pub timeout_secs: u64,
    /// Memory in megabytes.
    pub memory_mbytes: u32,
    /// Disk in megabytes, twice the memory.
    pub disk_mbytes: u32,
    /// Most items to be paid for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u64>,
    /// Budget in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total_charge_usd: Option<f64>,
    /// Whether it starts again after a failure (`START-24`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_on_error: Option<bool>,
}

/// How a run goes (`RUN-8`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunStats {
    /// Bytes of the stored input.
    pub input_body_len: u64,
    /// Moves by the server.
    pub migration_count: u32,
    /// Reboots.
    pub reboot_count: u32,
    /// Restarts after failures.
    pub restart_count: u32,
    /// Resurrections.
    pub resurrect_count: u32,
    /// Metamorphs.
    pub metamorph: u32,
    /// Time that it ran, without the time between an end and a resurrection (`RUN-9`).
    pub duration_millis: u64,
    /// The same in seconds.
    pub run_time_secs: f64,
    /// Gigabyte-hours of memory held.
    pub compute_units: f64,
    /// Mean of the memory samples.
    pub mem_avg_bytes: f64,
    /// Highest memory.
    pub mem_max_bytes: u64,
    /// Memory at the last sample.
    pub mem_current_bytes: u64,
    /// Mean CPU in percent of one core.
    pub cpu_avg_usage: f64,
    /// Highest CPU in percent of one core.
    pub cpu_max_usage: f64,
    /// CPU at the last sample, in percent of one core.
    pub cpu_current_usage: f64,
    /// Bytes received.
    pub net_rx_bytes: u64,
    /// Bytes sent.
    pub net_tx_bytes: u64,
}

/// The storages of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStorages {
    /// Default key-value store.
    pub key_value_store: StorageId,
    /// Default dataset.
    pub dataset: StorageId,
    /// Default request queue.
    pub request_queue: StorageId,
    /// Further datasets by alias, as actor.json declares them (`RUN-14`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliased_datasets: BTreeMap<String, StorageId>,
}

/// A storage that the input of a run names in a field of its kind (`AUTH-15`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantedStorage {
    /// The storage.
    pub id: StorageId,
    /// Whether it may be written, too.
    #[serde(default)]
    pub write: bool,
}

/// The run that started another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartedBy {
    /// The run.
    pub run_id: RunId,
    /// The Actor that it was a run of at that moment.
    pub actor_id: ActorId,
}

/// One metamorph of a run (`RUN-16`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metamorph {
    /// When.
    pub created_at: Timestamp,
    /// The Actor it became.
    pub actor_id: ActorId,
    /// The build it became.
    pub build_id: BuildId,
    /// Record with the new input.
    pub input_key: Option<String>,
}

/// Why a run or build ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndCause {
    /// The command ended by itself.
    Exited,
    /// A signal from outside killed it.
    Signal,
    /// Over its memory.
    OutOfMemory,
    /// Over its time.
    Timeout,
    /// Somebody aborted it.
    Aborted,
    /// Its budget was used up.
    ChargeLimit,
    /// Standby had no more use for it (`STB-6`).
    Idle,
    /// It could not be started.
    CannotStart,
    /// Its supervisor was killed or the machine went down.
    Lost,
}
