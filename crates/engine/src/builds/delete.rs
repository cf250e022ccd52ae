//! Deleting builds, one or all of an Actor.

use model::{Actor, ActorId, Build, BuildId, Page, parse_build_number};
use store::{BuildFilter, Noun};
use tracing::warn;

use crate::{Engine, EngineError};

impl Engine {
    /// Deletes a finished build with its image, its log and the tags that point to it.
    ///
    /// # Errors
    /// `NotFound(Build)`; `DeletingUnfinishedBuild`; `DeletingDefaultBuild` (`BLD-10`).
    pub async fn delete_build(&self, id: &BuildId) -> Result<(), EngineError> {
        let store = &self.inner.store;
        let build = store.builds.get(id).await?.ok_or(EngineError::NotFound(Noun::Build))?;
        if !build.status.is_terminal() {
            return Err(EngineError::DeletingUnfinishedBuild);
        }
        let actor = store.actors.get(&build.actor_id).await?;
        if actor.is_some_and(|actor| is_default(&actor, &build)) {
            return Err(EngineError::DeletingDefaultBuild);
        }
        store.builds.delete(id).await?;
        self.remove_image(id).await;
        Ok(())
    }

    /// Deletes an Actor with its versions and builds, images included; builds under way are aborted, while runs and their
    /// storages stay (`ACT-8`).
    ///
    /// # Errors
    /// `NotFound(Actor)`.
    pub async fn delete_actor(&self, id: &ActorId) -> Result<(), EngineError> {
        let mut builds = Vec::new();
        loop {
            let offset = u64::try_from(builds.len()).unwrap_or(u64::MAX);
            let page = Page { offset, ..Page::default() };
            let found = self.inner.store.builds.list(BuildFilter::OfActor(*id), page).await?.items;
            if found.is_empty() {
                break;
            }
            builds.extend(found);
        }
        for build in builds.iter().filter(|build| !build.status.is_terminal()) {
            self.abort_build(&build.id).await?;
        }
        self.inner.store.actors.delete(id).await?;
        for build in builds {
            self.remove_image(&build.id).await;
        }
        Ok(())
    }

    pub(crate) async fn remove_image(&self, id: &BuildId) {
        if let Err(failure) = self.inner.driver.remove_image(id.as_str()).await {
            warn!(build.id = %id, %failure, "Cannot remove the image of build {id}");
        }
    }
}

/// Whether runs of the Actor that name no build use this one (`BLD-8`).
fn is_default(actor: &Actor, build: &Build) -> bool {
    let default = &actor.default_run_options.build;
    match parse_build_number(default) {
        Some(_) => *default == build.build_number,
        None => actor.tagged_builds.get(default).is_some_and(|tagged| tagged.build_id == build.id),
    }
}
