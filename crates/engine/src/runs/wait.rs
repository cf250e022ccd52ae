//! Reaching a live run: waiting for its end, and finding its web server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Run, RunId};
use store::Noun;

use crate::runs::live::job_of;
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
        let live = self.inner.runs.find(|live| live.state().container_secret == container_secret)?;
        let run = live.state();
        if run.status.is_terminal() {
            return None;
        }
        self.inner.driver.address_of(&job_of(&run), run.web_port?).await.ok()
    }
}
