//! What lists show of runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pricing::{PricingInfo, charged_usd};
use crate::{ActorId, BuildId, JobMeta, JobStatus, Run, RunId, RunUsage, StorageId, TaskId, Timestamp, UserId};

/// What lists show of a run (`LIST-9`). A list reads a thousand runs at once, so this has no more than that; its form is part of
/// that of [`Run`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// The Actor.
    pub actor_id: ActorId,
    /// Who started it.
    pub user_id: UserId,
    /// The task it was started from.
    pub task_id: Option<TaskId>,
    /// The build that is run.
    pub build_id: BuildId,
    /// Its number.
    pub build_number: String,
    /// Status.
    pub status: JobStatus,
    /// Message of the Actor, or of the server at the end.
    #[serde(default)]
    pub status_message: Option<String>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// Who asked, and from where.
    pub meta: JobMeta,
    /// Its default storages.
    pub storages: SummaryStorages,
    /// What it used so far.
    #[serde(default)]
    pub usage: RunUsage,
    /// Prices when it started.
    #[serde(default)]
    pub pricing_info: Option<PricingInfo>,
    /// Events charged so far.
    #[serde(default)]
    pub charged_event_counts: BTreeMap<String, u64>,
    /// When the current stretch of running began.
    #[serde(default)]
    pub running_since: Option<Timestamp>,
    /// Of its options, what its cost depends on.
    pub options: SummaryOptions,
}

/// Default storages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SummaryStorages {
    /// Its key-value store.
    pub key_value_store: StorageId,
    /// Its dataset.
    pub dataset: StorageId,
    /// Its request queue.
    pub request_queue: StorageId,
}

/// Options that the cost of a run depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SummaryOptions {
    /// Memory in megabytes.
    pub memory_mbytes: u32,
}

impl RunSummary {
    /// What the events charged to it cost, in US dollars.
    pub fn charged_usd(&self) -> f64 {
        charged_usd(self.pricing_info.as_ref(), &self.charged_event_counts)
    }
}

impl From<&Run> for RunSummary {
    fn from(run: &Run) -> Self {
        let storages = &run.storages;
        Self {
            id: run.id,
            actor_id: run.actor_id,
            user_id: run.user_id,
            task_id: run.task_id,
            build_id: run.build_id,
            build_number: run.build_number.clone(),
            status: run.status,
            status_message: run.status_message.clone(),
            started_at: run.started_at,
            finished_at: run.finished_at,
            meta: run.meta.clone(),
            storages: SummaryStorages {
                key_value_store: storages.key_value_store,
                dataset: storages.dataset,
                request_queue: storages.request_queue,
            },
            usage: run.usage,
            pricing_info: run.pricing_info.clone(),
            charged_event_counts: run.charged_event_counts.clone(),
            running_since: run.running_since,
            options: SummaryOptions { memory_mbytes: run.options.memory_mbytes },
        }
    }
}
