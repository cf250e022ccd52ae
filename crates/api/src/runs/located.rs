//! The run that an address means.
//!
//! A run has four addresses: its own, one below its Actor, and those of the last run of its Actor or task. Handlers do not know which it
//! was; the names of the path's parameters tell.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use engine::Caller;
use http::request::Parts;
use model::{Right, Run};
use store::Noun;

use crate::access;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Auth, MaybeAuth, Params, PathParams};
use crate::wire::Viewer;

/// A run that the caller may read, without a token as well if it is open (`AUTH-8`, `AUTH-9`).
///
/// # Errors
/// `404`, of a type that tells a missing token from a missing run as far as it may be told (`AUTH-10`).
#[derive(Clone, Debug)]
pub(crate) struct SeenRun {
    pub(crate) run: Arc<Run>,
    pub(crate) viewer: Viewer,
}

/// A run of the caller's own, to be changed by what can be asked of it while it lives.
///
/// # Errors
/// `401` without a token, `404` if it is not the caller's.
#[derive(Clone, Debug)]
pub(crate) struct OwnRun {
    pub(crate) run: Arc<Run>,
    pub(crate) caller: Caller,
}

/// A run of the caller's own, to be resurrected or deleted.
///
/// # Errors
/// As [`OwnRun`].
pub(super) struct ManagedRun(pub(super) Arc<Run>);

impl FromRequestParts<App> for SeenRun {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let MaybeAuth(caller) = MaybeAuth::from_request_parts(parts, app).await?;
        let path = PathParams::from_request_parts(parts, app).await?;
        let run = match path.find("runId") {
            Some(id) => access::readable_run(app, caller.as_ref(), id).await?,
            None => {
                let run = last_run(parts, app, &path, caller.as_ref()).await?;
                access::check_readable(app, caller.as_ref(), run).await?
            }
        };
        check_actor(app, &path, &run, caller.as_ref()).await?;
        let viewer = Viewer::of(caller.as_ref().map(|caller| &caller.user.id), &run.user_id);
        Ok(Self { run, viewer })
    }
}

impl FromRequestParts<App> for OwnRun {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let (run, caller) = own_run(parts, app, Right::Write).await?;
        Ok(Self { run, caller })
    }
}

impl FromRequestParts<App> for ManagedRun {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        own_run(parts, app, Right::Manage).await.map(|(run, _)| Self(run))
    }
}

async fn own_run(parts: &mut Parts, app: &App, right: Right) -> Result<(Arc<Run>, Caller), ApiError> {
    let Auth(caller) = Auth::from_request_parts(parts, app).await?;
    let path = PathParams::from_request_parts(parts, app).await?;
    let run = match path.find("runId") {
        Some(id) => access::own_run(app, &caller, right, id).await?,
        None => {
            let run = last_run(parts, app, &path, Some(&caller)).await?;
            access::check_own(app, &caller, right, run).await?
        }
    };
    check_actor(app, &path, &run, Some(&caller)).await?;
    Ok((run, caller))
}

/// "Last" needs a token always (`LAST-6`).
async fn last_run(parts: &Parts, app: &App, path: &PathParams, caller: Option<&Caller>) -> Result<Arc<Run>, ApiError> {
    let caller = caller.ok_or_else(ApiError::token_not_provided)?;
    access::last_run(app, caller, path, &Params::of(&parts.uri)).await
}

/// A run is found below its own Actor only (`RUNS-1`).
async fn check_actor(app: &App, path: &PathParams, run: &Run, caller: Option<&Caller>) -> Result<(), ApiError> {
    let (Some(actor), Some(_)) = (path.find("actorId"), path.find("runId")) else { return Ok(()) };
    match access::find_actor(app, caller, actor).await? {
        Some(actor) if actor.id == run.actor_id => Ok(()),
        // The Actor may have been deleted; its runs stay (ACT-8).
        None if actor == run.actor_id.as_str() => Ok(()),
        _ => Err(ApiError::not_found(Noun::Run)),
    }
}
