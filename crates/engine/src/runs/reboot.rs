//! Rebooting a run.

use std::sync::Arc;

use model::{JobStatus, Run, RunId};

use crate::{Engine, EngineError};

impl Engine {
    /// Kills what the run executes and starts the same again (`REBOOT-1`). Answers before that is done.
    ///
    /// # Errors
    /// `NotFound(Run)`; `JobFinished`; `NotRunning`.
    pub async fn reboot_run(&self, id: &RunId) -> Result<Arc<Run>, EngineError> {
        let (run, ()) = self
            .change_run(id, |run| {
                must_run(run)?;
                run.life += 1;
                // A run that is told of its migration reboots itself when it is ready.
                run.migrate_at = None;
                run.stats.reboot_count += 1;
                Ok(())
            })
            .await?;
        Ok(run)
    }
}

/// Only a running run can get another life from outside.
pub(crate) fn must_run(run: &Run) -> Result<(), EngineError> {
    match run.status {
        JobStatus::Running => Ok(()),
        status if status.is_terminal() => Err(EngineError::JobFinished),
        status => Err(EngineError::NotRunning(status)),
    }
}
