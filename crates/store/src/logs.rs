//! Logs of runs and builds.

use std::path::PathBuf;

use async_trait::async_trait;
use model::{BuildId, RunId};

use crate::{ByteStream, StoreError};

/// Keeps logs: append-only text that grows while a job lives, and is sealed and compressed when it ends.
#[async_trait]
pub trait LogStore: Send + Sync + std::fmt::Debug {
    /// The file to which whoever owns the job's output appends whole stamped lines; its directory exists when this returns.
    async fn file(&self, job: &JobLog) -> Result<PathBuf, StoreError>;

    /// Appends whole stamped lines of the server's own. They survive a crash of the server; those of the last moment may not survive
    /// the loss of power, as with the job's own output, since only sealing waits for the disk.
    async fn append(&self, job: &JobLog, lines: &str) -> Result<(), StoreError>;

    /// Bytes so far, over everything sealed and open.
    async fn len(&self, job: &JobLog) -> Result<u64, StoreError>;

    /// Streams bytes `from` (an offset over everything sealed and open) to `to`, or to the end as it is now.
    async fn read(&self, job: &JobLog, from: u64, to: Option<u64>) -> Result<ByteStream, StoreError>;

    /// Compresses what is open, once its writer is gone. The log can grow again afterwards (`LOG-14`). Repeating it is harmless.
    async fn seal(&self, job: &JobLog) -> Result<(), StoreError>;
}

/// Whose log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobLog {
    /// A run's.
    Run(RunId),
    /// A build's.
    Build(BuildId),
}
