//! Schedules (section 20 of the contract).

mod change;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use engine::{Caller, EngineError, Subject};
use model::schedule::Schedule;
use model::{Listed, Page, Reference, Right, ScheduleId};
use parking_lot::Mutex;
use store::{KeptSchedule, Noun, StoreError};

use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, Json, JsonOrDefault, PathParams, Query};
use crate::wire::{self, ListPage, ScheduleBody, ScheduleItem};

use change::ScheduleGiven;

/// The addresses of schedules.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v2/schedules", get(list).post(create))
        .route("/v2/schedules/{scheduleId}", get(show).put(update).delete(delete))
        .route("/v2/schedules/{scheduleId}/log", get(log))
}

async fn list(State(app): State<App>, Auth(caller): Auth, Query(page): Query<Page>) -> Answer {
    let found = app.store().schedules.list(&caller.user.id, page).await?;
    let items = found.items.iter().map(ScheduleItem::new).collect();
    Ok(wire::ok(&ListPage::new(page, Listed { total: found.total, items })))
}

/// `POST /v2/schedules`.
async fn create(State(app): State<App>, Auth(caller): Auth, Json(mut given): Json<ScheduleGiven>) -> Answer {
    given.check_actions(&app, &caller).await?;
    let schedule = given.create(ScheduleId::random(app.engine().random()), &caller, &app)?;
    let name = schedule.name.clone();
    let kept = app.engine().create_schedule(schedule).await.map_err(|error| name_taken(error, &name))?;
    let location = app.public_url(&format!("schedules/{}", kept.schedule.id));
    Ok(wire::created(&location, &ScheduleBody::new(&kept)))
}

async fn show(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    Ok(wire::ok(&ScheduleBody::new(&own(&app, &caller, Right::Read, &path).await?)))
}

/// `PUT /v2/schedules/{scheduleId}`: actions are replaced together, the rest field by field (`SCH-6`).
async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    JsonOrDefault(mut given): JsonOrDefault<ScheduleGiven>,
) -> Answer {
    let id = own(&app, &caller, Right::Write, &path).await?.schedule.id;
    given.check_actions(&app, &caller).await?;
    let refusal = Arc::new(Mutex::new(None));
    let (refused, engine_app) = (refusal.clone(), app.clone());
    let change = move |schedule: &Schedule| match given.apply(schedule, &engine_app) {
        Ok(new) => {
            let is_other = Schedule { modified_at: schedule.modified_at, ..new.clone() } != *schedule;
            is_other.then_some(new)
        }
        Err(error) => {
            *refused.lock() = Some(error);
            None
        }
    };
    let changed = app.engine().change_schedule(&id, change).await;
    if let Some(refusal) = refusal.lock().take() {
        return Err(refusal);
    }
    let kept = changed.map_err(|error| name_taken(error, "that you gave"))?;
    Ok(wire::ok(&ScheduleBody::new(&kept)))
}

/// `DELETE /v2/schedules/{scheduleId}`; what it has started goes on.
async fn delete(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let kept = own(&app, &caller, Right::Manage, &path).await?;
    app.store().schedules.delete(&kept.schedule.id).await?;
    Ok(wire::no_content())
}

/// `GET …/log`: a bare array in the envelope (`SCH-11`, `LIST-5`).
async fn log(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let kept = own(&app, &caller, Right::Read, &path).await?;
    Ok(wire::ok(&app.store().schedules.log(&kept.schedule.id).await?))
}

/// The caller's schedule that the path means: by id, or by name as tasks are (`ID-7`); if the caller's token has that right to it.
///
/// # Errors
/// `404` for those of others (`AUTH-5`); `403` if it is the token that is to blame.
async fn own(app: &App, caller: &Caller, right: Right, path: &PathParams) -> Result<KeptSchedule, ApiError> {
    let (schedules, segment) = (&app.store().schedules, path.get("scheduleId"));
    let found = match Reference::parse(segment)? {
        Reference::Id(id) => schedules.get(&id).await?,
        Reference::Word(name) => schedules.find(&caller.user.id, &name).await?,
        Reference::Name { owner, name } => match access::owner_id(app, Some(caller), owner).await? {
            Some(owner) => schedules.find(&owner, &name).await?,
            None => None,
        },
    };
    let found = found.filter(|kept| kept.schedule.user_id == caller.user.id);
    let kept = found.ok_or_else(|| ApiError::not_found(Noun::Schedule))?;
    access::check_kept(app, caller, right, Subject::from(&*kept.schedule)).await?;
    Ok(kept)
}

fn name_taken(error: EngineError, name: &str) -> ApiError {
    match error {
        EngineError::Store(StoreError::NameTaken) => ApiError::new(
            Problem::ScheduleNameNotUnique,
            format!("Schedule name is not unique: you already have a schedule with the name {name}"),
        ),
        other => other.into(),
    }
}
