//! Aborting a build.

use std::sync::Arc;
use std::time::Duration;

use model::{Build, BuildId, JobEvent, JobStatus, step};

use crate::builds::supervise::{BuildEnd, end};
use crate::{Engine, EngineError};

/// How long an abort waits for the processes to be gone, so that it can answer with the last status.
const PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Aborts a build at once; a finished one is left alone (`BLD-4`).
    ///
    /// # Errors
    /// `NotFound(Build)`.
    pub async fn abort_build(&self, id: &BuildId) -> Result<Arc<Build>, EngineError> {
        let now = self.now();
        let build = self
            .change_build(id, move |build, _| {
                let Ok((status, _)) = step(build.status, JobEvent::AbortAsked { gracefully: false }) else {
                    return Ok(false);
                };
                if status == build.status {
                    return Ok(false);
                }
                if status == JobStatus::Aborted {
                    end(build, &BuildEnd::aborted(), now);
                }
                build.status = status;
                Ok(true)
            })
            .await?;
        if build.status.is_terminal() { Ok(build) } else { self.wait_for_build(id, PATIENCE).await }
    }
}
