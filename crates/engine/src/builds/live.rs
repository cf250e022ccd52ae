//! A build while it lives.

use std::sync::Arc;
use std::time::Duration;

use drivers::{Job, JobKind};
use model::{Actor, Build, BuildId};
use parking_lot::Mutex;
use store::Noun;

use crate::live::Live;
use crate::{Engine, EngineError};

/// A build from its start to its end.
pub(crate) type LiveBuild = Live<Build>;

/// Builds have one life.
pub(crate) fn job_of(id: &BuildId) -> Job {
    Job { kind: JobKind::Build, id: id.to_string(), life: 1 }
}

impl Engine {
    /// Takes a build among the living.
    pub(crate) fn enliven_build(&self, build: Arc<Build>) -> Arc<LiveBuild> {
        let id = build.id;
        let live = Arc::new(Live::new(build));
        self.inner.builds.insert(id, live.clone());
        live
    }

    /// Changes a build, and its Actor with it, in one transaction and tells its supervisor. `decide` says whether there is
    /// something to keep. Goes on if the caller goes away.
    pub(crate) async fn change_build(
        &self,
        id: &BuildId,
        mut decide: impl FnMut(&mut Build, Option<&mut Actor>) -> Result<bool, EngineError> + Send + 'static,
    ) -> Result<Arc<Build>, EngineError> {
        let (engine, id) = (self.clone(), *id);
        self.carry_through(async move {
            let refusal = Arc::new(Mutex::new(None));
            let live = engine.inner.builds.get(&id);
            let _turn = match &live {
                Some(live) => Some(live.turn.lock().await),
                None => None,
            };
            let change = {
                let refusal = refusal.clone();
                Box::new(move |build: &mut Build, actor: Option<&mut Actor>| match decide(build, actor) {
                    Ok(keep) => keep,
                    Err(error) => {
                        *refusal.lock() = Some(error);
                        false
                    }
                })
            };
            let build = engine.inner.store.builds.modify(&id, change).await?;
            if let Some(refusal) = refusal.lock().take() {
                return Err(refusal);
            }
            if let Some(live) = &live {
                live.publish(build.clone());
            }
            Ok(build)
        })
        .await
    }

    /// Waits until the build has ended, but not longer than `at_most`, and returns it as it is then (`WAIT-1`).
    ///
    /// # Errors
    /// `NotFound(Build)`.
    pub async fn wait_for_build(&self, id: &BuildId, at_most: Duration) -> Result<Arc<Build>, EngineError> {
        if let Some(live) = self.inner.builds.get(id) {
            tokio::select! {
                () = live.ended.cancelled() => {}
                () = tokio::time::sleep(at_most) => {}
                () = self.inner.stop.cancelled() => {}
            }
        }
        self.inner.store.builds.get(id).await?.ok_or(EngineError::NotFound(Noun::Build))
    }
}
