//! What the supervisors of runs and builds have in common: they do not give up on one missed sign.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use drivers::{Exit, ExitCause, Job, Observed, Stop, Usage};
use futures::FutureExt as _;
use model::Timestamp;
use store::{JobLog, StoreError};
use tracing::{error, warn};

use crate::{Engine, EngineError};

/// A job is given up as lost when this many looks in a row have found nothing of it, over half a minute.
const MISSED_SIGNS: u32 = 6;
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(15);
/// Timers never sleep longer than this before they look at the clock again.
const LONGEST_SLEEP: i64 = 3_600_000;

/// Waits between attempts, each time longer.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_DELAY)
    }
}

impl Backoff {
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_DELAY);
    }
}

impl Engine {
    /// Waits until the job has ended, however often the driver stumbles meanwhile.
    pub(crate) async fn exit_of(&self, job: &Job) -> Exit {
        let (mut missed, mut backoff) = (0, Backoff::default());
        loop {
            let failure = match self.inner.driver.wait(job).await {
                Ok(exit) => return exit,
                Err(failure) => failure,
            };
            match self.inner.driver.observe(job).await {
                Ok(Observed::Exited(exit)) => return exit,
                Ok(Observed::Running) => missed = 0,
                Ok(Observed::Unknown) => missed += 1,
                Err(_) => {}
            }
            if missed == MISSED_SIGNS {
                let at = self.now();
                return Exit { code: None, cause: ExitCause::Lost, at, usage: Usage::default() };
            }
            warn!(job.id = %job.id, job.life, %failure, "The driver could not wait for {}; trying again", job.id);
            backoff.wait().await;
        }
    }

    /// Tells what is really there of the job.
    pub(crate) async fn observe(&self, job: &Job) -> Observed {
        let mut backoff = Backoff::default();
        loop {
            match self.inner.driver.observe(job).await {
                Ok(observed) => return observed,
                Err(failure) => warn!(job.id = %job.id, %failure, "Cannot observe {}; trying again", job.id),
            }
            backoff.wait().await;
        }
    }

    /// Ends every process of the job.
    pub(crate) async fn kill(&self, job: &Job) {
        let mut backoff = Backoff::default();
        while let Err(failure) = self.inner.driver.stop(job, Stop::Kill).await {
            warn!(job.id = %job.id, %failure, "Cannot kill {}; trying again", job.id);
            backoff.wait().await;
        }
    }

    /// Frees what the driver holds of an ended job. What cannot be freed now is found again at the next start.
    pub(crate) async fn forget(&self, job: &Job) {
        if let Err(failure) = self.inner.driver.forget(job).await {
            warn!(job.id = %job.id, %failure, "Cannot free what {} left", job.id);
        }
    }

    /// Runs a supervisor; one that panics is replaced, for without any its job would never end. `again` makes the next.
    pub(crate) async fn keep_supervised<S: Future<Output = ()> + Send>(
        &self,
        first: S,
        again: impl Fn() -> Option<S> + Send,
    ) {
        let (mut next, mut backoff) = (Some(first), Backoff::default());
        while let Some(supervisor) = next.take() {
            if AssertUnwindSafe(supervisor).catch_unwind().await.is_err() {
                error!("A supervisor has panicked; putting another in its place");
                backoff.wait().await;
                next = again();
            }
        }
    }

    /// Adds a line of the server's own to a log. A log that cannot be written must not hold up a run.
    pub(crate) async fn say(&self, log: &JobLog, text: &str) {
        let line = drivers::log::server_line(self.now(), text);
        if let Err(error) = self.inner.store.logs.append(log, &line).await {
            warn!(?log, %error, "Cannot write to a log");
        }
    }

    pub(crate) async fn seal_log(&self, log: &JobLog) {
        match self.inner.store.logs.seal(log).await {
            Ok(()) | Err(StoreError::NotFound(_)) => {}
            Err(error) => warn!(?log, %error, "Cannot seal a log"),
        }
    }

    /// Sleeps until `time`, or at least for a long while; the caller looks at the clock again.
    pub(crate) async fn sleep_until(&self, time: Timestamp) {
        let millis = time.millis_since(self.now()).clamp(0, LONGEST_SLEEP);
        tokio::time::sleep(Duration::from_millis(u64::try_from(millis).unwrap_or_default())).await;
    }
}

/// Whether trying the same again later can help: the store may recover, a missing row does not come back.
pub(crate) fn is_passing(error: &EngineError) -> bool {
    matches!(error, EngineError::Store(StoreError::Full | StoreError::Backend(_)) | EngineError::Internal(_))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use crate::testing::TestEngine;

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_panics_is_replaced() {
        let test = TestEngine::start().await;
        let supervisors = AtomicU32::new(0);
        let supervise = || async {
            let number = supervisors.fetch_add(1, Ordering::Relaxed);
            assert!(number >= 2, "the first two fail");
        };

        test.engine.keep_supervised(supervise(), || Some(supervise())).await;

        assert_eq!(supervisors.into_inner(), 3);
    }
}
