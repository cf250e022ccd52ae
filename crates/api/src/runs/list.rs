//! Lists of runs (`LIST-7` to `LIST-9`).

use axum::extract::State;
use model::{JobStatus, Page, Right};
use store::RunFilter;

use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{Auth, FromParams, Params, PathParams, Query};
use crate::wire::{self, ListPage, RunItem};

/// Which runs to list, and which part of them.
pub(super) struct ListParams {
    filter: RunFilter,
    page: Page,
}

impl FromParams for ListParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let statuses = params.list("status").iter().map(|word| JobStatus::parse(word)).collect::<Option<_>>();
        Ok(Self {
            filter: RunFilter {
                statuses: statuses.ok_or_else(|| ApiError::invalid_request("Status parameter has an invalid value"))?,
                started_after: params.date("startedAfter")?,
                started_before: params.date("startedBefore")?,
                ..RunFilter::default()
            },
            page: params.page()?,
        })
    }
}

/// The caller's runs of all Actors.
pub(super) async fn all(State(app): State<App>, Auth(caller): Auth, Query(list): Query<ListParams>) -> Answer {
    let filter = RunFilter { user: Some(caller.user.id), ..list.filter };
    answer(&app, filter, list.page).await
}

/// The caller's runs of one Actor.
pub(super) async fn of_actor(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Query(list): Query<ListParams>,
) -> Answer {
    let actor = access::readable_actor(&app, &caller, path.get("actorId")).await?;
    let filter = RunFilter { user: Some(caller.user.id), actor: Some(actor.id), ..list.filter };
    answer(&app, filter, list.page).await
}

/// The caller's runs of one task.
pub(super) async fn of_task(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Query(list): Query<ListParams>,
) -> Answer {
    let task = access::own_task(&app, &caller, Right::Read, path.get("actorTaskId")).await?;
    let filter = RunFilter { user: Some(caller.user.id), task: Some(task.id), ..list.filter };
    answer(&app, filter, list.page).await
}

async fn answer(app: &App, filter: RunFilter, page: Page) -> Answer {
    let (config, now) = (app.engine_config(), app.now());
    let found = app.store().runs.list(filter, page).await?;
    Ok(wire::ok(&ListPage::new(page, found.map(|run| RunItem::new(run, config, now)))))
}
