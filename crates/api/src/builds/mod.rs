//! Builds (section 16 of the contract).

mod located;
mod openapi;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use engine::StartBuild;
use http::StatusCode;
use http::request::Parts;
use model::{Build, Page};
use store::BuildFilter;

use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, Params, PathParams, Query};
use crate::logs;
use crate::runs::{asked, wait_for_finish};
use crate::wire::{self, BuildBody, BuildItem, ListPage, Viewer};

use located::OwnBuild;

pub(crate) use located::{SeenBuild, readable_build};

/// The addresses of builds. Those below an Actor are the same builds under other names (`BLD-11`).
pub(crate) fn router() -> Router<App> {
    let (single, below_actor, default) =
        ("/v2/actor-builds/{buildId}", "/v2/actors/{actorId}/builds/{buildId}", "/v2/actors/{actorId}/builds/default");
    let mut router = Router::new()
        .route("/v2/actor-builds", get(list_all))
        .route("/v2/actors/{actorId}/builds", get(list_of_actor).post(start))
        .route(single, get(show).delete(delete))
        .route(below_actor, get(show).delete(delete))
        .route(default, get(show));
    for prefix in [single, below_actor] {
        router = router
            .route(&format!("{prefix}/abort"), post(abort))
            .route(&format!("{prefix}/log"), get(logs::of_build))
            .route(&format!("{prefix}/openapi.json"), get(openapi::show));
    }
    router
        .route(&format!("{default}/openapi.json"), get(openapi::show))
        .route(&format!("{default}/log"), get(logs::of_build))
}

/// `GET …/builds/{buildId}` and its like, which may wait for the end (`WAIT-1`).
async fn show(State(app): State<App>, SeenBuild { build, viewer, .. }: SeenBuild, params: Params) -> Answer {
    let wait = wait_for_finish(&params);
    let build = match wait.is_zero() || build.status.is_terminal() {
        true => build,
        false => app.engine().wait_for_build(&build.id, wait).await?,
    };
    Ok(wire::ok(&BuildBody::new(&build, viewer, app.engine_config())))
}

/// `POST …/builds` (`BLD-1`, `BLD-2`).
async fn start(State(app): State<App>, Auth(caller): Auth, path: PathParams, params: Params, parts: Parts) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    let Some(version) = params.non_empty("version") else {
        return Err(ApiError::new(Problem::ParameterRequired, "Parameter \"version\" is required"));
    };
    let tag = params.non_empty("tag").map(String::from);
    if let Some(tag) = &tag {
        wire::check_tag(tag)?;
    }
    let start = StartBuild {
        version: version.into(),
        tag,
        use_cache: params.flag("useCache")?,
        beta_packages: params.flag("betaPackages")?,
        asked: asked(&caller, &parts),
    };
    let build = app.engine().start_build(&caller, &actor, start).await?;
    let wait = wait_for_finish(&params);
    let build = if wait.is_zero() { build } else { app.engine().wait_for_build(&build.id, wait).await? };
    let location = app.public_url(&format!("actor-builds/{}", build.id));
    Ok(wire::created(&location, &BuildBody::new(&build, Viewer::Owner, app.engine_config())))
}

/// The builds of all Actors of the caller.
async fn list_all(State(app): State<App>, Auth(caller): Auth, Query(page): Query<Page>) -> Answer {
    let found = app.store().builds.list(BuildFilter::OfUser(caller.user.id), page).await?;
    let item = |build: std::sync::Arc<Build>| BuildItem::new(&build, Viewer::Owner, app.engine_config());
    Ok(wire::ok(&ListPage::new(page, found.map(item))))
}

/// The builds of one Actor; those of a public one are for everybody to see (`LIST-7`).
async fn list_of_actor(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Query(page): Query<Page>,
) -> Answer {
    let actor = access::readable_actor(&app, &caller, path.get("actorId")).await?;
    let viewer = Viewer::of(Some(&caller.user.id), &actor.user_id);
    let found = app.store().builds.list(BuildFilter::OfActor(actor.id), page).await?;
    let item = |build: std::sync::Arc<Build>| BuildItem::new(&build, viewer, app.engine_config());
    Ok(wire::ok(&ListPage::new(page, found.map(item))))
}

/// `POST …/abort`; a finished build is left alone (`BLD-4`).
async fn abort(State(app): State<App>, OwnBuild(build): OwnBuild) -> Answer {
    let build = app.engine().abort_build(&build.id).await?;
    Ok(wire::data(StatusCode::OK, &BuildBody::new(&build, Viewer::Owner, app.engine_config())))
}

/// `DELETE …/builds/{buildId}` (`BLD-10`).
async fn delete(State(app): State<App>, OwnBuild(build): OwnBuild) -> Answer {
    app.engine().delete_build(&build.id).await?;
    Ok(wire::no_content())
}
