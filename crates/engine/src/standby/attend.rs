//! The attendant of a Standby run: one task that tells the pool how far the run is, until it has ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{EndCause, JobStatus, Run};
use store::JobLog;

use super::StandbyError;
use super::pool::Pool;
use crate::Engine;
use crate::runs::LiveRun;

/// A web server that has not answered by then never will: the requests that it was started for are given up long since.
const MUST_ANSWER_WITHIN: Duration = Duration::from_secs(300);

impl Engine {
    pub(super) fn attend(&self, pool: Arc<Pool>, live: Arc<LiveRun>) {
        let engine = self.clone();
        self.spawn(async move {
            let mut was_ready = false;
            tokio::select! {
                () = engine.attend_lives(&pool, &live, &mut was_ready) => {}
                // A run that was deleted ends without another word.
                () = live.ended.cancelled() => {}
            }
            let is_failure = !was_ready && live.state().end_cause != Some(EndCause::Idle);
            pool.retire(&live.id, is_failure.then_some(StandbyError::RunFinished(live.id)));
            live.ended.cancelled().await;
            pool.leave(&live.id);
        });
    }

    /// Each life of the run has to answer before it gets requests (`STB-4`). Returns when the run is about to end.
    async fn attend_lives(&self, pool: &Arc<Pool>, live: &LiveRun, was_ready: &mut bool) {
        loop {
            let run = live.until(|run| is_over(run) || is_executed(run)).await;
            if is_over(&run) {
                return;
            }
            let life = run.life;
            let has_moved_on = |run: &Run| run.life != life || is_over(run);
            let address = tokio::select! {
                biased;
                _ = live.until(has_moved_on) => continue,
                address = self.when_web_server_answers(&run) => address,
                () = tokio::time::sleep(MUST_ANSWER_WITHIN) => {
                    self.give_up(&run).await;
                    live.until(has_moved_on).await;
                    continue;
                }
            };
            live.is_web_server_ready.store(true, Ordering::Relaxed);
            *was_ready = true;
            pool.ready(&run, address);
            tokio::select! {
                _ = live.until(has_moved_on) => {}
                () = pool.until_doubted(&live.id) => {}
            }
            live.is_web_server_ready.store(false, Ordering::Relaxed);
            pool.not_ready(&live.id);
        }
    }

    async fn give_up(&self, run: &Run) {
        let text = format!(
            "The web server of the Actor did not answer within {} seconds: it must listen on the port in \
             ACTOR_WEB_SERVER_PORT.",
            MUST_ANSWER_WITHIN.as_secs()
        );
        self.say(&JobLog::Run(run.id), &text).await;
        let who = "Standby, since its web server did not answer".to_owned();
        if let Err(error) = self.ask_abort(&run.id, false, EndCause::Aborted, Some(who)).await {
            tracing::warn!(run.id = %run.id, %error, "Cannot abort Standby run {}", run.id);
        }
    }
}

fn is_over(run: &Run) -> bool {
    !matches!(run.status, JobStatus::Ready | JobStatus::Running)
}

/// Whether the life that is wanted is executed.
fn is_executed(run: &Run) -> bool {
    run.status == JobStatus::Running && run.started_life == run.life
}
