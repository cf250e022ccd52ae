//! Runs as clients see them.

use std::collections::BTreeMap;

use engine::{EngineConfig, figures_at, usage_at};
use model::pricing::PricingInfo;
use model::{
    ActorId, BuildId, GeneralAccess, JobStatus, Metamorph, Run, RunId, RunOptions, RunStats, RunSummary, RunUsage,
    RunUsageUsd, StorageId, TaskId, Timestamp, UserId,
};
use serde::Serialize;

use super::job::{MetaBody, Viewer};

/// A run (`RUN-1` to `RUN-19`, `VAL-4`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunBody<'a> {
    id: RunId,
    act_id: ActorId,
    user_id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_task_id: Option<TaskId>,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    status: JobStatus,
    status_message: Option<&'a str>,
    is_status_message_terminal: Option<bool>,
    meta: MetaBody<'a>,
    // Presence alone tells the SDKs that a run has prices, so none is never `null` (CHG-1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing_info: Option<&'a PricingInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charged_event_counts: Option<&'a BTreeMap<String, u64>>,
    stats: RunStats,
    options: &'a RunOptions,
    build_id: BuildId,
    build_number: &'a str,
    exit_code: Option<i32>,
    /// Why it ended, in one word; ours, beside the contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_cause: Option<model::EndCause>,
    general_access: GeneralAccess,
    default_key_value_store_id: StorageId,
    default_dataset_id: StorageId,
    default_request_queue_id: StorageId,
    storage_ids: StorageIds<'a>,
    container_url: String,
    /// Whether the web server of a Standby run answers (`RUN-13`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) is_container_server_ready: Option<bool>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    metamorphs: &'a [Metamorph],
    platform_usage_billing_model: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<RunUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_usd: Option<RunUsageUsd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_total_usd: Option<f64>,
    /// Addresses to look at (`RUN-17`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<serde_json::Value>,
}

/// The storages of a run by alias (`RUN-14`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StorageIds<'a> {
    datasets: BTreeMap<&'a str, StorageId>,
    key_value_stores: DefaultOnly,
    request_queues: DefaultOnly,
}

#[derive(Debug, Serialize)]
struct DefaultOnly {
    default: StorageId,
}

impl<'a> RunBody<'a> {
    /// The run as `viewer` may see it; costs are the owner's business (`AUTH-11`).
    pub(crate) fn new(run: &'a Run, viewer: Viewer, config: &EngineConfig, now: Timestamp) -> Self {
        let (stats, usage) = figures_at(run, now);
        let priced = run.pricing_info.as_ref();
        let storages = &run.storages;
        let aliases = storages.aliased_datasets.iter().map(|(alias, id)| (alias.as_str(), *id));
        let usage_usd = usage.in_usd(&config.prices);
        let usage_total_usd = match viewer {
            Viewer::Owner => Some(usage_usd.total() + run.charged_usd()),
            Viewer::Other => run.pricing_info.as_ref().and_then(PricingInfo::events).map(|_| run.charged_usd()),
            Viewer::Anonymous => None,
        };
        Self {
            id: run.id,
            act_id: run.actor_id,
            user_id: run.user_id,
            actor_task_id: run.task_id,
            started_at: run.started_at,
            finished_at: run.finished_at,
            status: run.status,
            status_message: run.status_message.as_deref(),
            is_status_message_terminal: run.is_status_message_terminal,
            meta: MetaBody::new(&run.meta, viewer),
            pricing_info: priced,
            charged_event_counts: priced.and(Some(&run.charged_event_counts)),
            stats,
            options: &run.options,
            build_id: run.build_id,
            build_number: &run.build_number,
            exit_code: run.exit_code,
            end_cause: run.end_cause,
            general_access: run.general_access,
            default_key_value_store_id: storages.key_value_store,
            default_dataset_id: storages.dataset,
            default_request_queue_id: storages.request_queue,
            storage_ids: StorageIds {
                datasets: std::iter::once(("default", storages.dataset)).chain(aliases).collect(),
                key_value_stores: DefaultOnly { default: storages.key_value_store },
                request_queues: DefaultOnly { default: storages.request_queue },
            },
            container_url: config.container_url(&run.container_secret),
            is_container_server_ready: None,
            metamorphs: &run.metamorphs,
            platform_usage_billing_model: "USER",
            usage: (viewer == Viewer::Owner).then_some(usage),
            usage_usd: (viewer == Viewer::Owner).then_some(usage_usd),
            usage_total_usd,
            output: None,
        }
    }
}

/// A run as its owner's lists show it (`LIST-9`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunItem {
    id: RunId,
    act_id: ActorId,
    user_id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_task_id: Option<TaskId>,
    status: JobStatus,
    status_message: Option<String>,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    build_id: BuildId,
    build_number: String,
    build_number_int: u64,
    meta: model::JobMeta,
    usage_total_usd: f64,
    default_key_value_store_id: StorageId,
    default_dataset_id: StorageId,
    default_request_queue_id: StorageId,
}

impl RunItem {
    /// The short form of a run of the caller's own.
    pub(crate) fn new(run: RunSummary, config: &EngineConfig, now: Timestamp) -> Self {
        let usage_total_usd = usage_at(&run, now).in_usd(&config.prices).total() + run.charged_usd();
        Self {
            id: run.id,
            act_id: run.actor_id,
            user_id: run.user_id,
            actor_task_id: run.task_id,
            status: run.status,
            status_message: run.status_message,
            started_at: run.started_at,
            finished_at: run.finished_at,
            build_id: run.build_id,
            build_number_int: model::parse_build_number(&run.build_number).unwrap_or_default(),
            build_number: run.build_number,
            meta: run.meta,
            usage_total_usd,
            default_key_value_store_id: run.storages.key_value_store,
            default_dataset_id: run.storages.dataset,
            default_request_queue_id: run.storages.request_queue,
        }
    }
}
