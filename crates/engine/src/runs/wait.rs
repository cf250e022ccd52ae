//! Reaching a live run: waiting for its end, and finding its web server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Run, RunId};
use store::Noun;

use crate::runs::live::{container_key, job_of};
use crate::{Engine, EngineError};

impl Engine {
    /// Waits until the run has ended, but not longer than `at_most`, and returns it as it is then (`WAIT-1`, `WAIT-5`).
    ///
    /// Waiting costs nothing until the run ends, however many wait.
    ///
    /// # Errors
    /// `NotFound(Run)`.
    pub async fn wait_for_run(&self, id: &RunId, at_most: Duration) -> Result<Arc<Run>, EngineError> {
        if let Some(live) = self.inner.runs.get(id) {
            tokio::select! {
                () = live.ended.cancelled() => {}
                () = tokio::time::sleep(at_most) => {}
                () = self.inner.stop.cancelled() => {}
            }
        }
        self.inner.store.runs.get(id).await?.ok_or(EngineError::NotFound(Noun::Run))
    }

    /// Where the web server of a live run can be reached, whether or not it listens yet (`WEB-1`); `None` if no live run
    /// has that secret in its address (`WEB-3`).
    pub async fn web_server_of(&self, container_secret: &str) -> Option<SocketAddr> {
        let run = self.inner.web_servers.get(&container_key(container_secret))?.state();
        if run.status.is_terminal() {
            return None;
        }
        self.inner.driver.address_of(&job_of(&run), run.web_port?).await.ok()
    }

    /// Whether the web server of a Standby run is known to answer (`RUN-13`).
    pub fn is_web_server_ready(&self, id: &RunId) -> bool {
        self.inner.runs.get(id).is_some_and(|live| live.is_web_server_ready.load(Ordering::Relaxed))
    }
}
