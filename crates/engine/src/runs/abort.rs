//! Aborting a run.

use std::sync::Arc;
use std::time::Duration;

use model::{ABORT_GRACE_SECS, EndCause, JobEvent, JobStatus, Run, RunId, Timestamp, step};

use crate::runs::end::abort_now;
use crate::{Caller, Engine, EngineError};

/// How long an immediate abort waits for the processes to be gone, so that it can answer with the last status (`ABORT-8`).
const PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Aborts a run: at once, or after it had half a minute to clean up. A finished run is left alone (`ABORT-1`).
    ///
    /// # Errors
    /// `NotFound(Run)`.
    pub async fn abort_run(&self, by: &Caller, id: &RunId, gracefully: bool) -> Result<Arc<Run>, EngineError> {
        let who = match &by.run {
            Some(run) if run.id == *id => "itself".to_owned(),
            Some(run) => format!("run {}", run.id),
            None => format!("user {}", by.user.username),
        };
        let run = self.ask_abort(id, gracefully, EndCause::Aborted, Some(who)).await?;
        if gracefully || run.status.is_terminal() {
            return Ok(run);
        }
        self.wait_for_run(id, PATIENCE).await
    }

    /// Asks for the end of a run without waiting for it.
    pub(crate) async fn ask_abort(
        &self,
        id: &RunId,
        gracefully: bool,
        cause: EndCause,
        who: Option<String>,
    ) -> Result<Arc<Run>, EngineError> {
        let now = self.now();
        let (run, ()) = self
            .change_run(id, move |run| {
                decide(run, gracefully, cause, who.as_deref(), now);
                Ok(())
            })
            .await?;
        Ok(run)
    }
}

fn decide(run: &mut Run, gracefully: bool, cause: EndCause, who: Option<&str>, now: Timestamp) {
    let Ok((status, _)) = step(run.status, JobEvent::AbortAsked { gracefully }) else { return };
    if run.status.is_terminal() {
        return;
    }
    // Whoever aborts a run that Standby lets go is the one who ended it.
    if run.status != JobStatus::TimingOut && matches!(run.end_cause, None | Some(EndCause::Idle)) {
        run.end_cause = Some(cause);
        run.aborted_by = who.map(str::to_owned);
    }
    if status == JobStatus::Aborted {
        return abort_now(run, now);
    }
    run.status = status;
    // A second graceful abort joins the window of the first; any other abort ends it (ABORT-5).
    let grace = if gracefully { i64::try_from(ABORT_GRACE_SECS).unwrap_or_default() } else { 0 };
    let kill_at = now.plus_secs(grace);
    run.deadline = Some(run.deadline.map_or(kill_at, |deadline| deadline.min(kill_at)));
}
