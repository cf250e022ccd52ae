//! Which build a tag or number means.

use std::sync::Arc;

use model::{Actor, Build, JobStatus, parse_build_number};

use crate::{Engine, EngineError};

impl Engine {
    /// The build that `tag_or_number` means now, by default the one that runs of the Actor use (`START-9`, `BLD-8`). It
    /// has succeeded.
    ///
    /// # Errors
    /// `NoBuildTagged`, `NoBuildNumbered` (`START-12`); `BuildNotRunnable` (`START-11`).
    pub async fn resolve_build(&self, actor: &Actor, tag_or_number: Option<&str>) -> Result<Arc<Build>, EngineError> {
        let wanted = tag_or_number.unwrap_or(&actor.default_run_options.build);
        let builds = &self.inner.store.builds;
        let build = if parse_build_number(wanted).is_some() {
            let found = builds.find(&actor.id, wanted).await?;
            found.ok_or_else(|| EngineError::NoBuildNumbered(wanted.to_owned()))?
        } else {
            let missing = || EngineError::NoBuildTagged(wanted.to_owned());
            let tagged = actor.tagged_builds.get(wanted).ok_or_else(missing)?;
            builds.get(&tagged.build_id).await?.ok_or_else(missing)?
        };
        match build.status {
            JobStatus::Succeeded => Ok(build),
            status => Err(EngineError::BuildNotRunnable { number: build.build_number.clone(), status }),
        }
    }
}
