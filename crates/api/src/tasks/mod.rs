//! Tasks and their inputs (section 19 of the contract). Their runs are with the other runs.

mod change;
mod publishing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use engine::{Caller, EngineError};
use http::StatusCode;
use model::{JsonObject, Listed, Page, Right, Task, TaskId, UserId};
use store::{ListedTask, Noun, StoreError};

use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, Json, JsonOrDefault, PathParams, Query, WholeBody};
use crate::wire::{self, ListPage, TaskBody, TaskItem, TaskNames};

use change::TaskGiven;

/// The addresses of tasks, without those of their runs.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v2/actor-tasks", get(list).post(create))
        .route("/v2/actor-tasks/{actorTaskId}", get(show).put(update).delete(delete))
        .route("/v2/actor-tasks/{actorTaskId}/input", get(show_input).put(update_input))
}

async fn list(State(app): State<App>, Auth(caller): Auth, Query(page): Query<Page>) -> Answer {
    let found = app.store().tasks.list(&caller.user.id, page).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for ListedTask { task, total_runs, actor } in found.items {
        let actor = match actor {
            Some((owner, name)) => actor_names(&app, &owner, name).await?,
            None => None,
        };
        items.push(TaskItem::new(&task, total_runs, TaskNames { username: caller.user.username.clone(), actor }));
    }
    Ok(wire::ok(&ListPage::new(page, Listed { total: found.total, items })))
}

/// `POST /v2/actor-tasks` (`TASK-1`, `TASK-8`).
async fn create(State(app): State<App>, Auth(caller): Auth, Json(given): Json<TaskGiven>) -> Answer {
    let Some(actor) = given.actor().map(str::to_owned) else {
        return Err(ApiError::invalid_request("\"actId\" is required"));
    };
    let actor = access::visible_actor(&app, &caller, &actor).await?;
    let (id, now) = (TaskId::random(app.engine().random()), app.now());
    let name = given.name().map_or_else(|| format!("task-{id}"), str::to_owned);
    // What a token makes it may run.
    if !caller.may_start(&actor) {
        return Err(ApiError::token_is_limited());
    }
    let token_id = caller.scope.as_ref().map(|own| own.token);
    let bare = Task { token_id, ..Task::new(id, caller.user.id, actor.id, &name, now) };
    let task = given.apply(&bare, now)?;
    publishing::check(&app, &caller, &bare, &task).await?;
    let task = match app.store().tasks.create(app.engine().seal_task(task).await?).await {
        Err(StoreError::NameTaken) => return Err(name_taken(&name)),
        created => created?,
    };
    let mut response = answer(&app, &caller, &task, StatusCode::CREATED).await?;
    wire::locate(&mut response, &app.public_url(&format!("actor-tasks/{}", task.id)));
    Ok(response)
}

async fn show(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let task = access::own_task(&app, &caller, Right::Read, path.get("actorTaskId")).await?;
    answer(&app, &caller, &task, StatusCode::OK).await
}

/// `PUT /v2/actor-tasks/{actorTaskId}`: changes what is given and leaves the rest; an input is replaced whole (`TASK-3`).
async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    JsonOrDefault(given): JsonOrDefault<TaskGiven>,
) -> Answer {
    let task = access::own_task(&app, &caller, Right::Write, path.get("actorTaskId")).await?;
    let now = app.now();
    publishing::check(&app, &caller, &task, &given.apply(&task, now)?).await?;
    let task = change(&app, &task.id, move |task| given.apply(task, now)).await?;
    answer(&app, &caller, &task, StatusCode::OK).await
}

/// `DELETE /v2/actor-tasks/{actorTaskId}`; its runs stay.
async fn delete(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let task = access::own_task(&app, &caller, Right::Manage, path.get("actorTaskId")).await?;
    app.store().tasks.delete(&task.id).await?;
    Ok(wire::no_content())
}

/// `GET …/input`, answered without an envelope (`TASK-3`).
async fn show_input(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let task = access::own_task(&app, &caller, Right::Read, path.get("actorTaskId")).await?;
    Ok(answer_input(&task))
}

/// `PUT …/input`: puts members over those that are there, and answers the whole (`TASK-3`).
async fn update_input(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    WholeBody(body): WholeBody,
) -> Answer {
    let task = access::own_task(&app, &caller, Right::Write, path.get("actorTaskId")).await?;
    let given = match body.trim_ascii() {
        b"" => None,
        text => JsonObject::parse(text)?,
    };
    let Some(given) = given else { return Ok(answer_input(&task)) };
    let now = app.now();
    let merge = move |task: &Task| {
        let input = Some(task.input.as_ref().map_or_else(|| given.clone(), |input| input.merged(&given)));
        Ok(Task { input, modified_at: now, ..task.clone() })
    };
    Ok(answer_input(&*change(&app, &task.id, merge).await?))
}

/// Changes a task to what `change` makes of its newest state, and encrypts the secrets of its input (`INP-24`). `modifiedAt`
/// moves only if anything else did.
async fn change(
    app: &App,
    id: &TaskId,
    change: impl Fn(&Task) -> Result<Task, ApiError>,
) -> Result<Arc<Task>, ApiError> {
    loop {
        let old = app.store().tasks.get(id).await?.ok_or_else(|| ApiError::not_found(Noun::Task))?;
        let new = change(&old)?;
        if (Task { modified_at: old.modified_at, ..new.clone() }) == *old {
            return Ok(old);
        }
        let new = Arc::new(app.engine().seal_task(new).await?);
        let (wanted, has_changed) = (new.clone(), Arc::new(AtomicBool::new(false)));
        let is_done = has_changed.clone();
        let put = move |task: &mut Task| {
            // Somebody else may have changed it since it was read; then all begins anew.
            let is_newest = *task == *old;
            if is_newest {
                *task = (*new).clone();
            }
            is_done.store(is_newest, Ordering::Relaxed);
            is_newest
        };
        match app.store().tasks.modify(id, Box::new(put)).await {
            Err(StoreError::NameTaken) => return Err(name_taken(&wanted.name)),
            changed if has_changed.load(Ordering::Relaxed) => return Ok(changed?),
            changed => drop(changed?),
        }
    }
}

/// The answer that shows a whole task to its owner.
async fn answer(app: &App, caller: &Caller, task: &Arc<Task>, status: StatusCode) -> Result<Response, ApiError> {
    let runs = app.store().tasks.total_runs(&task.id).await?;
    let actor = match app.store().actors.get(&task.actor_id).await? {
        Some(actor) => actor_names(app, &actor.user_id, actor.name.clone()).await?,
        None => None,
    };
    let names = TaskNames { username: caller.user.username.clone(), actor };
    let actor = match app.engine().actor_of(task).await {
        Err(EngineError::NotFound(_)) => None,
        found => Some(found?),
    };
    Ok(wire::data(status, &TaskBody::new(task, actor, runs, names, app.engine_config())))
}

fn answer_input(task: &Task) -> Response {
    match &task.input {
        Some(input) => wire::bare_json(StatusCode::OK, input),
        None => wire::bare_json(StatusCode::OK, &JsonObject::default()),
    }
}

/// The name of an Actor's owner, as long as they are there, and its own.
async fn actor_names(app: &App, owner: &UserId, name: String) -> Result<Option<(String, String)>, ApiError> {
    let owner = app.store().users.get(owner).await?;
    Ok(owner.map(|owner| (owner.username.clone(), name)))
}

fn name_taken(name: &str) -> ApiError {
    ApiError::new(
        Problem::ActorTaskNameNotUnique,
        format!("Actor task name is not unique: you already have a task with the name {name}"),
    )
}
