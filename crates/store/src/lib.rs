//! How the platform's data is kept.
//!
//! One small trait per noun; a method is a whole transaction. It takes effect whole or not at all, and **what it returned
//! survives a crash and the loss of power**: it returns only after the commit that covers it. Two backends are meant to
//! stand behind the traits: [`embedded`] (one directory, nothing else to run) and PostgreSQL with S3; what each must do is
//! written down as cases in [`conformance`].

mod actors;
mod builds;
pub mod conformance;
mod datasets;
pub mod embedded;
mod error;
mod logs;
mod queues;
mod records;
mod runs;
mod schedules;
mod storages;
mod tasks;
mod upkeep;
mod users;
mod webhooks;

use std::sync::Arc;

pub use actors::{ActorChange, ActorStore, FrontFilter, FrontOrder, VersionChange};
pub use builds::{BuildChange, BuildFilter, BuildStore};
pub use datasets::{DatasetStore, ItemChunk, ItemChunks, PackedItems, Window};
pub use error::{Noun, StoreError};
pub use logs::{JobLog, LogStore};
pub use queues::{
    Added, DeleteOutcome, Filter as RequestFilter, Head, HeadItem, LockedHead, Locker, NewRequest, QueueStore,
    RequestPage, StoredRequest, Updated,
};
pub use records::{
    ByteRange, ByteStream, Content, KeyPage, KeyQuery, NewRecord, Record, RecordBody, RecordMeta, RecordStore,
};
pub use runs::{RunChange, RunFilter, RunStore};
pub use schedules::{KeptSchedule, ScheduleChange, ScheduleNote, ScheduleStore};
pub use storages::{NewStorage, Reads, StorageChange, StorageFilter, StorageStore, Touched};
pub use tasks::{ListedTask, TaskChange, TaskStore};
pub use upkeep::Upkeep;
pub use users::{UserChange, UserStore};
pub use webhooks::{
    Attempted, DispatchFilter, Due, Load, Next, Subject, Taken, TargetNumber, WebhookChange, WebhookFilter,
    WebhookStore,
};

/// Everything that is kept, one part per noun. Cheap to clone.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the store of what it is named after")]
pub struct Store {
    pub storages: Arc<dyn StorageStore>,
    pub datasets: Arc<dyn DatasetStore>,
    pub records: Arc<dyn RecordStore>,
    pub queues: Arc<dyn QueueStore>,
    pub actors: Arc<dyn ActorStore>,
    pub builds: Arc<dyn BuildStore>,
    pub runs: Arc<dyn RunStore>,
    pub tasks: Arc<dyn TaskStore>,
    pub schedules: Arc<dyn ScheduleStore>,
    pub users: Arc<dyn UserStore>,
    pub logs: Arc<dyn LogStore>,
    pub webhooks: Arc<dyn WebhookStore>,
    pub upkeep: Arc<dyn Upkeep>,
}
