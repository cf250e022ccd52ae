//! What Actors, tasks, builds and runs share in memory.

use std::sync::Arc;

use model::{Actor, ActorId, Build, BuildId, JobStatus, Run, RunId, Task, TaskId};

use super::core::Core;
use super::db::Cache;

/// Actors that are kept in memory.
const CACHED_ACTORS: usize = 1024;
/// Tasks that are kept in memory.
const CACHED_TASKS: usize = 1024;
/// Builds that are kept in memory; some carry a long README.
const CACHED_BUILDS: usize = 256;
/// Runs that are kept in memory: more than run at a time.
const CACHED_RUNS: usize = 4096;

/// The newest committed state of Actors, tasks, builds and runs that are in use.
#[derive(Debug)]
pub(super) struct Jobs {
    pub core: Arc<Core>,
    pub actors: Cache<ActorId, Arc<Actor>>,
    pub tasks: Cache<TaskId, Arc<Task>>,
    pub builds: Cache<BuildId, Arc<Build>>,
    pub runs: Cache<RunId, Arc<Run>>,
}

impl Jobs {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            actors: Cache::new(CACHED_ACTORS),
            tasks: Cache::new(CACHED_TASKS),
            builds: Cache::new(CACHED_BUILDS),
            runs: Cache::new(CACHED_RUNS),
        }
    }
}

/// The number of a status in rows; those of jobs that have not ended are below 4.
pub(super) fn status_code(status: JobStatus) -> i64 {
    JobStatus::ALL.iter().position(|other| *other == status).map_or(i64::MAX, |place| place as i64)
}
