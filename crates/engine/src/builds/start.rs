//! Starting a build.

use std::sync::Arc;

use model::{Actor, Build, BuildId, BuildOptions, BuildStats, GeneralAccess, JobStatus};
use store::{JobLog, Noun};

use crate::runs::Asked;
use crate::{Caller, Engine, EngineError};

/// What a caller says when starting a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartBuild {
    /// Number of the version, `MAJOR.MINOR`.
    pub version: String,
    /// Tag for the build in place of the version's own (`BLD-2`).
    pub tag: Option<String>,
    /// Whether steps done before may be reused.
    pub use_cache: bool,
    /// Has no effect.
    pub beta_packages: bool,
    /// Who asked, and from where.
    pub asked: Asked,
}

impl Engine {
    /// Starts a build of the version as it is now (`BLD-5`) and returns it at once.
    ///
    /// # Errors
    /// `NotFound(Version)`; `NotFound(Actor)`.
    pub async fn start_build(
        &self,
        caller: &Caller,
        actor: &Actor,
        start: StartBuild,
    ) -> Result<Arc<Build>, EngineError> {
        let version = self.inner.store.actors.version(&actor.id, &start.version).await?;
        let version = version.ok_or(EngineError::NotFound(Noun::Version))?;
        if self.inner.stop.is_cancelled() {
            return Err(EngineError::ShuttingDown);
        }
        let (id, now) = (BuildId::random(self.random()), self.now());
        let (actor_id, user_id, source_kind) = (actor.id, caller.user.id, version.source.kind().to_owned());
        let version_number = version.version_number.clone();
        let timeout_secs = self.inner.config.build_timeout_secs;
        let tag = start.tag.or(version.build_tag).filter(|tag| !tag.is_empty());
        let make = Box::new(move |number: u32| Build {
            id,
            actor_id,
            user_id,
            build_number: format!("{version_number}.{number}"),
            status: JobStatus::Ready,
            started_at: now,
            finished_at: None,
            meta: start.asked.meta(),
            options: BuildOptions {
                use_cache: start.use_cache,
                beta_packages: start.beta_packages,
                timeout_secs,
                ..BuildOptions::default()
            },
            tag,
            source_kind,
            env_vars: version.env_vars,
            apply_env_vars_to_build: version.apply_env_vars_to_build,
            stats: BuildStats::default(),
            status_message: None,
            actor_definition: None,
            input_schema: None,
            readme: None,
            general_access: GeneralAccess::default(),
        });
        let turn = self.admit_to_account(&user_id, BuildOptions::default().memory_mbytes, false).await?;
        let engine = self.clone();
        let (version_number, source) = (version.version_number, version.source);
        self.carry_through(async move {
            let build = engine.inner.store.builds.create(&actor_id, &version_number, source, make).await?;
            engine.crash_point("build created").await;
            let live = engine.enliven_build(build.clone());
            drop(turn);
            let line = format!("Build {} was accepted.", build.build_number);
            engine.say(&JobLog::Build(build.id), &line).await;
            engine.supervise_build(live, false);
            Ok(build)
        })
        .await
    }
}
