//! What the platform is: types, rules and state machines.
//!
//! Nothing here does I/O, waits, or asks what time it is: time and randomness come in as arguments.

// Words and forms
mod access;
pub mod address;
pub mod hex;
mod ids;
mod json_object;
mod names;
mod origin;
mod page;
pub mod signature;
mod sparse;
mod text;
mod time;

// Who
mod rights;
mod scope;
mod user;

// What runs
mod actor;
pub mod actor_json;
mod build;
mod development;
pub mod input_schema;
mod job_status;
pub mod members;
pub mod memory_expression;
pub mod pricing;
mod run;
mod run_summary;
pub mod schedule;
mod source_address;
mod standby;
mod task;
mod usage;
mod webhook;
pub mod webhook_signature;
pub mod webhook_template;

// What is kept
pub mod item_view;
pub mod push;
mod queue_stats;
pub mod raw_json;
pub mod record;
mod request;
mod requeue;
mod storage;
pub mod storage_schema;

pub use access::GeneralAccess;
pub use actor::{
    Actor, ActorStats, DefaultRunOptions, EnvVar, ExampleRunInput, FileFormat, MAX_SOURCE_FILES, PermissionLevel,
    PullPolicy, REGISTRY_PASSWORD, REGISTRY_USERNAME, Source, SourceFile, TaggedBuild, Version, parse_build_number,
    parse_version_number,
};
pub use build::{Build, BuildOptions, BuildStats, JobMeta};
pub use development::{DebugLanguage, DebugMode, Development};
pub use ids::{
    ActorId, BuildId, DispatchId, Id, Random, RunId, ScheduleActionId, ScheduleId, StorageId, TaskId, TokenId, UserId,
    WebhookId, kind,
};
pub use job_status::{JobEffect, JobEvent, JobStatus, Refused, step};
pub use json_object::{JsonObject, NoObject};
pub use names::{EmptyName, MAX_NAME, Owner, Reference, fold, is_dns_safe, is_resource_name, is_username};
pub use origin::Origin;
pub use page::{Listed, MAX_LIMIT, Page};
pub use queue_stats::{QueueStats, RequestState, StateCounts};
pub use request::{MAX_BATCH, RequestId};
pub use requeue::{Requeue, Revived, has_failed};
pub use rights::Right;
pub use run::{
    ABORT_GRACE_SECS, EndCause, GrantedStorage, INPUT_KEY, MAX_GRANTED_STORAGES, MAX_METAMORPHS, Metamorph, Run,
    RunOptions, RunStats, RunStorages, StartedBy, TOKEN_GRACE_SECS,
};
pub use run_summary::{RunSummary, SummaryOptions, SummaryStorages};
pub use scope::{Grant, InvalidGrant, RunsMay, Scope, ScopeKind, TokenScope};
pub use source_address::{AddressError, GitAddress, masked_url, without_credentials};
pub use standby::{Standby, StandbyLabel, StandbyPhase, StandbyPlan, StandbyRefused, StandbyRun, TaskStandby};
pub use storage::{MAX_JSON_BODY, Storage, StorageCounters, StorageKind, StorageStats};
pub use task::{GivenOptions, MAX_SEO_DESCRIPTION, MAX_SEO_TITLE, PublicConfig, Task};
pub use time::{Clock, SharedClock, SystemClock, Timestamp};
pub use usage::{Prices, RunUsage, RunUsageUsd, Used};
pub use user::{Profile, Token, User};
pub use webhook::{
    Call, Dispatch, DispatchStatus, EventData, LastDispatch, MAX_WEBHOOK_TEMPLATE, Webhook, WebhookCondition,
    WebhookEvent, WebhookRefused, WebhookSettings, WebhookStats, WebhookSummary, retry_at, target_of,
};
