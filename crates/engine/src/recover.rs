//! Taking up what a former server left.

use std::sync::Arc;

use drivers::{Job, JobKind};
use model::{BuildId, JobStatus, Run, RunId};
use store::JobLog;
use tracing::{info, warn};

use crate::runs::TakenUp;
use crate::supervision::Backoff;
use crate::{Engine, EngineError};

impl Engine {
    /// Takes up every run and build that has not ended, and frees what ended ones still hold. What is running goes on
    /// undisturbed; what has ended meanwhile gets its true end.
    ///
    /// # Errors
    /// Of the store.
    pub async fn recover(&self) -> Result<(), EngineError> {
        let mut runs = self.inner.store.runs.live().await?;
        runs.retain(|run| self.inner.runs.get(&run.id).is_none());
        // Those that run have their memory already; the others queue up behind, in the order in which they came.
        runs.sort_by_key(|run| (run.status == JobStatus::Ready, run.started_at));
        let mut builds = self.inner.store.builds.live().await?;
        builds.retain(|build| self.inner.builds.get(&build.id).is_none());
        builds.sort_by_key(|build| (build.status == JobStatus::Ready, build.started_at));
        if !runs.is_empty() || !builds.is_empty() {
            info!("Taking up {} runs and {} builds", runs.len(), builds.len());
        }
        for run in runs {
            let is_running = run.status != JobStatus::Ready;
            let memory = run.options.memory_mbytes;
            let admitted = is_running.then(|| self.inner.admission.running(memory)).flatten();
            self.supervise_run(self.enliven(run), Some(TakenUp { admitted }));
        }
        for build in builds {
            self.take_up_build(build);
        }
        let engine = self.clone();
        self.spawn(async move { engine.find_orphans().await });
        self.write_figures_now_and_then();
        self.expire_now_and_then();
        self.keep_schedules();
        Ok(())
    }

    /// Ends jobs that nobody supervises, and frees what ended ones hold.
    async fn find_orphans(&self) {
        let mut backoff = Backoff::default();
        let jobs = loop {
            match self.inner.driver.list().await {
                Ok(jobs) => break jobs,
                Err(failure) => warn!(%failure, "The driver cannot list its jobs; trying again"),
            }
            backoff.wait().await;
        };
        for job in jobs {
            let seen_to = match job.kind {
                JobKind::Run => self.see_to_run(&job).await,
                JobKind::Build => self.see_to_build(&job).await,
            };
            if let Err(error) = seen_to {
                warn!(job.id = %job.id, %error, "Cannot tell whose {} is; leaving it alone", job.id);
            }
        }
        self.remove_orphaned_images().await;
    }

    /// Removes images whose builds were deleted while the driver could not be reached, or the server died.
    async fn remove_orphaned_images(&self) {
        let images = match self.inner.driver.images().await {
            Ok(images) => images,
            Err(failure) => return warn!(%failure, "The driver cannot list its images"),
        };
        for image in images {
            let Some(id) = BuildId::parse(&image) else { continue };
            if matches!(self.inner.store.builds.get(&id).await, Ok(None)) {
                self.remove_image(&id).await;
            }
        }
    }

    async fn see_to_run(&self, job: &Job) -> Result<(), EngineError> {
        let Some(id) = RunId::parse(&job.id) else { return Ok(()) };
        if let Some(live) = self.inner.runs.get(&id) {
            if job.life < live.state().started_life {
                self.end_orphan(job).await;
            }
            return Ok(());
        }
        let run: Option<Arc<Run>> = self.inner.store.runs.get(&id).await?;
        if let Some(run) = &run {
            // Made since this server started, and by it: its supervisor is about to appear.
            if !run.status.is_terminal() {
                return Ok(());
            }
            self.release_locks(run).await;
        }
        self.end_orphan(job).await;
        if run.is_some() {
            self.seal_log(&JobLog::Run(id)).await;
        }
        Ok(())
    }

    async fn see_to_build(&self, job: &Job) -> Result<(), EngineError> {
        let Some(id) = BuildId::parse(&job.id) else { return Ok(()) };
        if self.inner.builds.get(&id).is_some() {
            return Ok(());
        }
        match self.inner.store.builds.get(&id).await? {
            Some(build) if !build.status.is_terminal() => return Ok(()),
            Some(_) => {
                self.end_orphan(job).await;
                self.seal_log(&JobLog::Build(id)).await;
            }
            None => self.end_orphan(job).await,
        }
        Ok(())
    }

    async fn end_orphan(&self, job: &Job) {
        info!(job.id = %job.id, job.life, "Freeing what is left of {}", job.id);
        self.kill(job).await;
        self.forget(job).await;
    }
}
