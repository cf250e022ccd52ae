//! Versions of an Actor (`VER-1` to `VER-17`).

use std::sync::Arc;

use axum::extract::State;
use model::{Actor, Version};
use parking_lot::Mutex;
use serde::Serialize;
use store::{Noun, StoreError};

use super::change::version_exists;
use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, Json, JsonOrDefault, PathParams};
use crate::wire::{self, VersionBody, VersionGiven};

/// A list that is always answered whole (`LIST-5`).
#[derive(Serialize)]
pub(super) struct WholeList<T> {
    total: usize,
    items: Vec<T>,
}

impl<T> FromIterator<T> for WholeList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items: Vec<T> = items.into_iter().collect();
        Self { total: items.len(), items }
    }
}

pub(super) async fn list(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    let versions = app.store().actors.versions(&actor.id).await?;
    Ok(wire::ok(&versions.iter().map(VersionBody::new).collect::<WholeList<_>>()))
}

pub(super) async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Json(given): Json<VersionGiven>,
) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    let version = given.create(app.engine())?;
    match app.store().actors.create_version(&actor.id, version.clone(), app.now()).await {
        Err(StoreError::NameTaken) => return Err(version_exists(&version.version_number)),
        created => created?,
    }
    let location = app.public_url(&format!("actors/{}/versions/{}", actor.id, version.version_number));
    Ok(wire::created(&location, &VersionBody::new(&version)))
}

pub(super) async fn show(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let (_, version) = located(&app, &caller, &path).await?;
    Ok(wire::ok(&VersionBody::new(&version)))
}

/// Changes what is given and leaves the rest (`VER-8`).
pub(super) async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    JsonOrDefault(given): JsonOrDefault<VersionGiven>,
) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    let (given, engine) = (given.check()?, app.engine().clone());
    let version = change(&app, &actor, path.get("versionNumber"), move |version| given.apply(version, &engine)).await?;
    Ok(wire::ok(&VersionBody::new(&version)))
}

pub(super) async fn delete(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let (actor, version) = located(&app, &caller, &path).await?;
    if app.store().actors.versions(&actor.id).await?.len() <= 1 {
        return Err(ApiError::new(Problem::TooFewVersions, "Actor must have at least one version"));
    }
    app.store().actors.delete_version(&actor.id, &version.version_number, app.now()).await?;
    Ok(wire::no_content())
}

/// The version that a path means, and its Actor. Sources and variables are for the owner.
pub(super) async fn located(
    app: &App,
    caller: &engine::Caller,
    path: &PathParams,
) -> Result<(Arc<Actor>, Version), ApiError> {
    let actor = access::own_actor(app, caller, path.get("actorId")).await?;
    let version = app.store().actors.version(&actor.id, path.get("versionNumber")).await?;
    Ok((actor, version.ok_or_else(|| ApiError::not_found(Noun::Version))?))
}

/// Changes a version to what `change` makes of its newest state.
pub(super) async fn change(
    app: &App,
    actor: &Actor,
    number: &str,
    change: impl Fn(&Version) -> Result<Version, ApiError> + Send + 'static,
) -> Result<Version, ApiError> {
    let refusal = Arc::new(Mutex::new(None));
    let refused = refusal.clone();
    let keep = move |version: &mut Version| match change(version) {
        Ok(new) => {
            let is_other = new != *version;
            *version = new;
            is_other
        }
        Err(error) => {
            *refused.lock() = Some(error);
            false
        }
    };
    let version = app.store().actors.modify_version(&actor.id, number, Box::new(keep), app.now()).await?;
    match refusal.lock().take() {
        Some(refusal) => Err(refusal),
        None => Ok(version),
    }
}
