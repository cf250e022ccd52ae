//! The build that an address means.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use engine::{Caller, EngineError, Subject};
use http::request::Parts;
use model::{Actor, Build, BuildId, GeneralAccess, Right};
use store::Noun;

use crate::access;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Auth, MaybeAuth, PathParams};
use crate::wire::Viewer;

/// A build that the caller may read, without a token as well if it is open (`AUTH-7`, `AUTH-9`, `AUTH-14`).
///
/// # Errors
/// `404`, of a type that tells a missing token from a missing build as far as it may be told (`AUTH-10`).
#[derive(Clone, Debug)]
pub(crate) struct SeenBuild {
    pub(crate) build: Arc<Build>,
    pub(crate) viewer: Viewer,
}

/// A build of the caller's own, to be changed.
///
/// # Errors
/// `401` without a token, `404` if it is not the caller's.
#[derive(Clone, Debug)]
pub(super) struct OwnBuild(pub(super) Arc<Build>);

impl FromRequestParts<App> for SeenBuild {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let MaybeAuth(caller) = MaybeAuth::from_request_parts(parts, app).await?;
        let path = PathParams::from_request_parts(parts, app).await?;
        let build = located(app, caller.as_ref(), &path).await?;
        let viewer = Viewer::of(caller.as_ref().map(|caller| &caller.user.id), &build.user_id);
        Ok(Self { build, viewer })
    }
}

impl FromRequestParts<App> for OwnBuild {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Auth(caller) = Auth::from_request_parts(parts, app).await?;
        let path = PathParams::from_request_parts(parts, app).await?;
        let build = located(app, Some(&caller), &path).await?;
        if !access::allows(app, Some(&caller), Right::Write, Subject::Actor(&build.user_id, &build.actor_id)).await? {
            return Err(access::refusal(Some(&caller), &build.user_id, || ApiError::not_found(Noun::Build)));
        }
        Ok(Self(build))
    }
}

/// The build with that id, if the caller may read it.
pub(crate) async fn readable_build(app: &App, caller: Option<&Caller>, id: &str) -> Result<Arc<Build>, ApiError> {
    let build = match BuildId::parse(id) {
        Some(id) => app.store().builds.get(&id).await?,
        None => None,
    };
    let build = build.ok_or_else(|| refusal(caller))?;
    check(app, caller, build, None).await
}

async fn located(app: &App, caller: Option<&Caller>, path: &PathParams) -> Result<Arc<Build>, ApiError> {
    let Some(segment) = path.find("actorId") else { return readable_build(app, caller, path.get("buildId")).await };
    let actor = access::find_actor(app, caller, segment).await?;
    let actor = actor.ok_or_else(|| match caller {
        Some(_) => ApiError::not_found(Noun::Actor),
        None => refusal(None),
    })?;
    let build = match path.find("buildId") {
        // Only for the generated documents does the contract speak of `default` in the place of an id, but it means the same
        // everywhere.
        None | Some("default") => match app.engine().resolve_build(&actor, None).await {
            Ok(build) => Some(build),
            Err(
                EngineError::NoBuildTagged(_) | EngineError::NoBuildNumbered(_) | EngineError::BuildNotRunnable { .. },
            ) => None,
            Err(error) => return Err(error.into()),
        },
        Some(id) => match BuildId::parse(id) {
            Some(id) => app.store().builds.get(&id).await?.filter(|build| build.actor_id == actor.id),
            None => None,
        },
    };
    check(app, caller, build.ok_or_else(|| refusal(caller))?, Some(&actor)).await
}

/// Lets a build through if the caller may read it: its owner, everybody if the Actor is public (`AUTH-14`), else as its
/// access level says.
async fn check(
    app: &App,
    caller: Option<&Caller>,
    build: Arc<Build>,
    actor: Option<&Actor>,
) -> Result<Arc<Build>, ApiError> {
    if access::allows(app, caller, Right::Read, Subject::Actor(&build.user_id, &build.actor_id)).await? {
        return Ok(build);
    }
    let is_public = match actor {
        Some(actor) => actor.is_public,
        None => app.store().actors.get(&build.actor_id).await?.is_some_and(|actor| actor.is_public),
    };
    if is_public || level(app, &build).await?.is_open(false) {
        return Ok(build);
    }
    Err(access::refusal(caller, &build.user_id, || refusal(caller)))
}

/// The level in force of a build (`AUTH-9`).
async fn level(app: &App, build: &Build) -> Result<GeneralAccess, ApiError> {
    if build.general_access != GeneralAccess::FollowUserSetting {
        return Ok(build.general_access);
    }
    let owner = app.store().users.get(&build.user_id).await?;
    Ok(owner.map_or(GeneralAccess::Restricted, |owner| owner.run_access))
}

fn refusal(caller: Option<&Caller>) -> ApiError {
    match caller {
        Some(_) => ApiError::not_found(Noun::Build),
        None => ApiError::not_found_without_token(Noun::Build),
    }
}
