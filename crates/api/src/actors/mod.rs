//! Actors, their versions and the variables of a version (sections 14 and 15 of the contract).

mod change;
mod env_vars;
mod versions;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use engine::Subject;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use model::{Actor, ActorId, Page, Right};
use parking_lot::Mutex;
use store::{Noun, StoreError};

use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, FromParams, Json, JsonOrDefault, Params, PathParams, Query, WholeBody};
use crate::wire::{self, ActorBody, ActorItem, ListPage};

use change::ActorGiven;

pub(crate) use change::PRICING_MODELS;

/// The addresses of Actors, without those of their builds and runs.
pub(crate) fn router() -> Router<App> {
    let version = "/v2/actors/{actorId}/versions/{versionNumber}";
    Router::new()
        .route("/v2/actors", get(list).post(create))
        .route("/v2/actors/{actorId}", get(show).put(update).delete(delete))
        .route("/v2/actors/{actorId}/validate-input", post(validate_input))
        .route("/v2/actors/{actorId}/versions", get(versions::list).post(versions::create))
        // Clients without PUT send POST (VER-7).
        .route(version, get(versions::show).put(versions::update).post(versions::update).delete(versions::delete))
        .route(&format!("{version}/env-vars"), get(env_vars::list).post(env_vars::create))
        .route(
            &format!("{version}/env-vars/{{envVarName}}"),
            get(env_vars::show).put(env_vars::update).post(env_vars::update).delete(env_vars::delete),
        )
}

/// Which Actors to list, and how (`LIST-6`).
struct ListParams {
    only_own: bool,
    by_last_run: bool,
    page: Page,
}

impl FromParams for ListParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let by_last_run = match params.non_empty("sortBy").as_deref() {
            None | Some("createdAt") => false,
            Some("stats.lastRunStartedAt") => true,
            Some(_) => {
                let message = "Parameter \"sortBy\" must be one of createdAt, stats.lastRunStartedAt";
                return Err(ApiError::invalid_request(message));
            }
        };
        Ok(Self { only_own: params.flag("my")?, by_last_run, page: params.page()? })
    }
}

async fn list(State(app): State<App>, Auth(caller): Auth, Query(list): Query<ListParams>) -> Answer {
    let found = app.store().actors.list(&caller.user.id, list.only_own, list.by_last_run, list.page).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for (actor, stats) in found.items {
        items.push(ActorItem::new(&actor, username(&app, &actor).await?, stats, app.now()));
    }
    Ok(wire::ok(&ListPage::new(list.page, model::Listed { total: found.total, items })))
}

/// `POST /v2/actors` (`ACT-1`).
async fn create(State(app): State<App>, Auth(caller): Auth, Json(given): Json<ActorGiven>) -> Answer {
    let Some(name) = given.name().map(str::to_owned) else {
        return Err(ApiError::invalid_request("\"name\" is required"));
    };
    let (random, now) = (app.engine().random(), app.now());
    let bare = Actor::new(ActorId::random(random), caller.user.id, &name, now);
    let actor = given.apply(&bare, now)?;
    let versions = given.new_versions(app.engine())?;
    let actor = match app.store().actors.create(actor, versions).await {
        Err(StoreError::NameTaken) => return Err(name_taken(&name)),
        created => created?,
    };
    let mut response = answer(&app, &actor, true, StatusCode::CREATED).await?;
    wire::locate(&mut response, &app.public_url(&format!("actors/{}", actor.id)));
    Ok(response)
}

async fn show(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let actor = access::readable_actor(&app, &caller, path.get("actorId")).await?;
    let is_owner = access::allows(&app, Some(&caller), Right::Read, Subject::Actor(&actor.user_id, &actor.id)).await?;
    answer(&app, &actor, is_owner, StatusCode::OK).await
}

/// `PUT /v2/actors/{actorId}`: changes what is given and leaves the rest (`ACT-2`).
async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    JsonOrDefault(mut given): JsonOrDefault<ActorGiven>,
) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    let (store, now) = (app.store(), app.now());
    given.find_tagged_builds(&app, &actor).await?;
    let versions = match given.has_versions() {
        true => {
            let old = store.actors.versions(&actor.id).await?;
            given.replaced_versions(&old, app.engine())?.filter(|new| *new != old)
        }
        false => None,
    };

    let actor = change_actor(&app, &actor.id, move |actor| given.apply(actor, now)).await?;
    let actor = match versions {
        Some(versions) => {
            store.actors.replace_versions(&actor.id, versions, now).await?;
            store.actors.get(&actor.id).await?.ok_or_else(|| ApiError::not_found(Noun::Actor))?
        }
        None => actor,
    };
    answer(&app, &actor, true, StatusCode::OK).await
}

/// Changes an Actor to what `change` makes of its newest state. `modifiedAt` moves only if anything else than tags did
/// (`ACT-4`).
async fn change_actor(
    app: &App,
    id: &ActorId,
    change: impl Fn(&Actor) -> Result<Actor, ApiError> + Send + 'static,
) -> Result<Arc<Actor>, ApiError> {
    let refusal = Arc::new(Mutex::new(None));
    let (refused, now) = (refusal.clone(), app.now());
    let changed = app.store().actors.modify(
        id,
        Box::new(move |actor| match change(actor) {
            Ok(mut new) => {
                let tags = std::mem::replace(&mut new.tagged_builds, actor.tagged_builds.clone());
                let is_other = new != *actor;
                let is_tagged_otherwise = tags != actor.tagged_builds;
                new.tagged_builds = tags;
                if is_other {
                    new.modified_at = now;
                }
                *actor = new;
                is_other || is_tagged_otherwise
            }
            Err(error) => {
                *refused.lock() = Some(error);
                false
            }
        }),
    );
    let changed = match changed.await {
        Err(StoreError::NameTaken) => Err(name_taken("that you gave")),
        changed => Ok(changed?),
    };
    match refusal.lock().take() {
        Some(refusal) => Err(refusal),
        None => changed,
    }
}

/// `DELETE /v2/actors/{actorId}` (`ACT-8`).
async fn delete(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    app.engine().delete_actor(&actor.id).await?;
    Ok(wire::no_content())
}

/// `POST …/validate-input`, answered without an envelope (`INP-21`).
async fn validate_input(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    params: Params,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Answer {
    let actor = access::visible_actor(&app, &caller, path.get("actorId")).await?;
    let build = app.engine().resolve_build(&actor, params.non_empty("build").as_deref()).await?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    app.engine().validate_input(&build, (!body.is_empty()).then_some(&body), content_type).await?;
    Ok(wire::bare_json(StatusCode::OK, &serde_json::json!({ "valid": true })))
}

/// The answer that shows a whole Actor.
async fn answer(app: &App, actor: &Actor, own: bool, status: StatusCode) -> Result<Response, ApiError> {
    let username = username(app, actor).await?;
    let stats = app.store().actors.stats(&actor.id).await?;
    let versions = app.store().actors.versions(&actor.id).await?;
    let body = ActorBody::new(actor, &username, stats, &versions, own, app.now(), app.engine_config());
    Ok(wire::data(status, &body))
}

/// The name of an Actor's owner.
pub(crate) async fn username(app: &App, actor: &Actor) -> Result<String, ApiError> {
    let owner = app.store().users.get(&actor.user_id).await?;
    owner.map(|owner| owner.username.clone()).ok_or_else(|| ApiError::not_found(Noun::User))
}

fn name_taken(name: &str) -> ApiError {
    ApiError::new(
        Problem::ActorNameNotUnique,
        format!("Actor name is not unique: you already have an Actor with the name {name}"),
    )
}
