//! Builds.

use std::sync::Arc;

use async_trait::async_trait;
use model::{Actor, ActorId, Build, BuildId, Listed, Page, Source, UserId};

use crate::StoreError;

/// Keeps builds.
#[async_trait]
pub trait BuildStore: Send + Sync + std::fmt::Debug {
    /// Makes a build: takes the next number of the version from the Actor, never used before (`BLD-3`), and lets `make` fill it in.
    ///
    /// # Errors
    /// `NotFound(Actor)`.
    async fn create(
        &self,
        actor: &ActorId,
        version_number: &str,
        source: Source,
        make: Box<dyn FnOnce(u32) -> Build + Send>,
    ) -> Result<Arc<Build>, StoreError>;

    /// The build with that id.
    async fn get(&self, id: &BuildId) -> Result<Option<Arc<Build>>, StoreError>;

    /// The Actor's build of that number.
    async fn find(&self, actor: &ActorId, number: &str) -> Result<Option<Arc<Build>>, StoreError>;

    /// The source as it was when the build was asked for (`BLD-5`).
    async fn source(&self, id: &BuildId) -> Result<Option<Source>, StoreError>;

    /// A page of builds by start, without what lists do not show: `actor_definition`, `input_schema` and `readme` are `None`.
    async fn list(&self, filter: BuildFilter, page: Page) -> Result<Listed<Arc<Build>>, StoreError>;

    /// Changes a build and its Actor in one transaction, so that a tag moves with the status (`ACT-6`); `None` for the Actor if it
    /// was deleted meanwhile. A build that becomes `SUCCEEDED` is counted in the Actor's statistics (`BLD-6`).
    ///
    /// # Errors
    /// `NotFound`.
    async fn modify(&self, id: &BuildId, change: BuildChange) -> Result<Arc<Build>, StoreError>;

    /// Deletes a build and the tags that point to it (`BLD-10`). Its log goes too.
    async fn delete(&self, id: &BuildId) -> Result<(), StoreError>;

    /// Every build that has not ended.
    async fn live(&self) -> Result<Vec<Arc<Build>>, StoreError>;
}

/// Changes a build and, if it is still there, its Actor; returns whether the change is to be kept.
pub type BuildChange = Box<dyn FnMut(&mut Build, Option<&mut Actor>) -> bool + Send>;

/// Which builds to list.
#[derive(Clone, Copy, Debug)]
pub enum BuildFilter {
    /// Those of one Actor.
    OfActor(ActorId),
    /// Those of all Actors of a user.
    OfUser(UserId),
}
