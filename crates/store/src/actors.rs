//! Actors and their versions.

use std::sync::Arc;

use async_trait::async_trait;
use model::{Actor, ActorId, ActorStats, Listed, Page, Timestamp, UserId, Version};

use crate::StoreError;

/// Keeps Actors. Their versions carry their source and are kept apart, so that reading an Actor stays cheap.
#[async_trait]
pub trait ActorStore: Send + Sync + std::fmt::Debug {
    /// Makes an Actor with its first versions.
    ///
    /// # Errors
    /// `NameTaken`.
    async fn create(&self, actor: Actor, versions: Vec<Version>) -> Result<Arc<Actor>, StoreError>;

    /// The Actor with that id.
    async fn get(&self, id: &ActorId) -> Result<Option<Arc<Actor>>, StoreError>;

    /// The user's Actor of that name; case does not count.
    async fn find(&self, user: &UserId, name: &str) -> Result<Option<Arc<Actor>>, StoreError>;

    /// What has been done with it.
    async fn stats(&self, id: &ActorId) -> Result<ActorStats, StoreError>;

    /// The user's Actors and, unless `only_own`, those that the user has run (`LIST-6`), by creation or by last run.
    async fn list(
        &self,
        user: &UserId,
        only_own: bool,
        by_last_run: bool,
        page: Page,
    ) -> Result<Listed<(Arc<Actor>, ActorStats)>, StoreError>;

    /// A page of the public Actors that are wanted, in an order in which none is twice and none is missed (`STO-1`). Prices
    /// are those in force at `now`.
    async fn front(
        &self,
        wanted: FrontFilter,
        page: Page,
        now: Timestamp,
    ) -> Result<Listed<(Arc<Actor>, ActorStats)>, StoreError>;

    /// Changes an Actor in one transaction: `change` sees the newest state and says whether to keep what it made of it.
    /// It may be called again if the backend has to repeat the transaction.
    ///
    /// # Errors
    /// `NotFound`; `NameTaken` if the change gives it a name that another has.
    async fn modify(&self, id: &ActorId, change: ActorChange) -> Result<Arc<Actor>, StoreError>;

    /// Deletes the Actor with its versions, builds and tasks; runs and their storages stay (`ACT-8`).
    async fn delete(&self, id: &ActorId) -> Result<(), StoreError>;

    /// All versions in the order of their making.
    async fn versions(&self, id: &ActorId) -> Result<Vec<Version>, StoreError>;

    /// One version.
    async fn version(&self, id: &ActorId, number: &str) -> Result<Option<Version>, StoreError>;

    /// Adds a version; `NameTaken` if there is one of that number. Sets the Actor's `modifiedAt` (`ACT-4`).
    async fn create_version(&self, id: &ActorId, version: Version, now: Timestamp) -> Result<(), StoreError>;

    /// Changes a version as [`modify`](Self::modify) does. Sets the Actor's `modifiedAt` if the change is kept.
    async fn modify_version(
        &self,
        id: &ActorId,
        number: &str,
        change: VersionChange,
        now: Timestamp,
    ) -> Result<Version, StoreError>;

    /// Deletes a version.
    async fn delete_version(&self, id: &ActorId, number: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Replaces all versions at once (`ACT-2`).
    async fn replace_versions(&self, id: &ActorId, versions: Vec<Version>, now: Timestamp) -> Result<(), StoreError>;
}

/// Which public Actors to show, and how (`STO-1`). Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontFilter {
    /// Words that name, title, description, user name or README must hold, each at least as the beginning of one.
    pub search: Option<String>,
    /// A category.
    pub category: Option<String>,
    /// The owner.
    pub user: Option<UserId>,
    /// The pricing model in force, `FREE` if there is none.
    pub pricing_model: Option<String>,
    /// The order.
    pub order: FrontOrder,
}

/// The order of the store front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrontOrder {
    /// What was searched for in name or title first, then in other short texts, then in the README; the popular ones first.
    #[default]
    Relevance,
    /// Those with the most users first, then those with the most runs.
    Popularity,
    /// The youngest first.
    Newest,
    /// Those changed last first.
    LastUpdate,
}

/// Changes an Actor; returns whether the change is to be kept.
pub type ActorChange = Box<dyn FnMut(&mut Actor) -> bool + Send>;
/// Changes a version; returns whether the change is to be kept.
pub type VersionChange = Box<dyn FnMut(&mut Version) -> bool + Send>;
