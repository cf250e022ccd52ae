//! Deleting a run.

use std::time::Duration;

use model::{JobStatus, RunId};
use store::Noun;

use crate::{Engine, EngineError};

/// How long a deletion waits for a run that is being killed (`ABORT-8`).
const PATIENCE: Duration = Duration::from_secs(15);

impl Engine {
    /// Deletes a finished run with its log and the storages that live with it.
    ///
    /// # Errors
    /// `NotFound(Run)`; `CannotRemoveRunningRun` (`DEL-1`).
    pub async fn delete_run(&self, id: &RunId) -> Result<(), EngineError> {
        let run = self.inner.store.runs.get(id).await?.ok_or(EngineError::NotFound(Noun::Run))?;
        let is_being_killed =
            run.status == JobStatus::Aborting && run.deadline.is_some_and(|deadline| deadline <= self.now());
        if !run.status.is_terminal() && !is_being_killed {
            return Err(EngineError::CannotRemoveRunningRun);
        }
        if let Some(live) = self.inner.runs.get(id) {
            // Nothing of the run may write to its log or storages any more.
            let _ = tokio::time::timeout(PATIENCE, live.gone.cancelled()).await;
            if !live.state().status.is_terminal() {
                return Err(EngineError::CannotRemoveRunningRun);
            }
            self.inner.runs.remove(id, &live);
        }
        Ok(self.inner.store.runs.delete(id).await?)
    }
}
