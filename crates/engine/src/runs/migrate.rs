//! Migrating a run: with time to save its state, onto what may be another machine.

use std::sync::Arc;
use std::time::Duration;

use model::{Run, RunId};

use crate::runs::reboot::must_run;
use crate::{Engine, EngineError};

/// How long a run that is told of its migration may take to save its state.
pub(crate) const MIGRATES_WITHIN: Duration = Duration::from_secs(10);

impl Engine {
    /// Tells what the run executes that it migrates, gives it some time to save its state, then stops it and starts the same
    /// again (`MIG-1`). Answers before that is done. A run that is about to migrate already does so once.
    ///
    /// # Errors
    /// `NotFound(Run)`; `JobFinished`; `NotRunning`.
    pub async fn migrate_run(&self, id: &RunId) -> Result<Arc<Run>, EngineError> {
        let secs = i64::try_from(MIGRATES_WITHIN.as_secs()).unwrap_or_default();
        let at = self.now().plus_secs(secs);
        let (run, ()) = self
            .change_run(id, move |run| {
                must_run(run)?;
                if run.migrate_at.is_none() {
                    run.migrate_at = Some(at);
                    run.stats.migration_count += 1;
                }
                Ok(())
            })
            .await?;
        Ok(run)
    }
}
