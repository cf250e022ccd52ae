//! What can be done to a run (section 11 of the contract), and charging it (section 12).

use axum::extract::State;
use engine::{RunInput, RunUpdate};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use model::{GeneralAccess, Run};
use serde::Deserialize;
use serde_json::Value;

use super::located::ManagedRun;
use super::{OwnRun, show, start};
use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{JsonOrDefault, Params, WholeBody};
use crate::wire::{self, Viewer};

/// `POST …/abort` (`ABORT-1`).
pub(super) async fn abort(State(app): State<App>, OwnRun { run, caller }: OwnRun, params: Params) -> Answer {
    let run = app.engine().abort_run(&caller, &run.id, params.flag("gracefully")?).await?;
    answer(&app, &run).await
}

/// `POST …/metamorph`; the body is the new input (`META-1`, `META-2`).
pub(super) async fn metamorph(
    State(app): State<App>,
    OwnRun { run, caller }: OwnRun,
    params: Params,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Answer {
    let Some(target) = params.non_empty("targetActorId") else {
        return Err(ApiError::new(Problem::ParameterRequired, "Parameter \"targetActorId\" is required"));
    };
    let target = access::visible_actor(&app, &caller, &target).await?;
    let build = params.non_empty("build").map(Into::into);
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let input = (!body.is_empty()).then_some(RunInput { body, content_type });
    let run = app.engine().metamorph_run(&caller, &run.id, &target, build, input).await?;
    answer(&app, &run).await
}

/// `POST …/reboot` (`REBOOT-1`).
pub(super) async fn reboot(State(app): State<App>, OwnRun { run, .. }: OwnRun) -> Answer {
    let run = app.engine().reboot_run(&run.id).await?;
    answer(&app, &run).await
}

/// `POST …/x-migrate`; ours.
pub(super) async fn migrate(State(app): State<App>, OwnRun { run, .. }: OwnRun) -> Answer {
    let run = app.engine().migrate_run(&run.id).await?;
    answer(&app, &run).await
}

/// `POST …/resurrect` (`RESUR-1`).
pub(super) async fn resurrect(State(app): State<App>, ManagedRun(run): ManagedRun, params: Params) -> Answer {
    let run = app.engine().resurrect_run(&run.id, start::options(&params)?).await?;
    answer(&app, &run).await
}

/// What of a run can be set (`UPD-1`).
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Update {
    /// No client sends it; one that does means the run of the address.
    run_id: Option<String>,
    status_message: Option<String>,
    is_status_message_terminal: Option<bool>,
    general_access: Option<GeneralAccess>,
}

/// `PUT /v2/actor-runs/{runId}`. Asked for often, and also when the run has ended (`UPD-2`, `UPD-4`).
pub(super) async fn update(
    State(app): State<App>,
    OwnRun { run, .. }: OwnRun,
    JsonOrDefault(update): JsonOrDefault<Update>,
) -> Answer {
    if update.run_id.is_some_and(|id| id != run.id.as_str()) {
        return Err(ApiError::new(Problem::IdDoesNotMatch, "\"runId\" is not the id of the run in the URL"));
    }
    if update.general_access == Some(GeneralAccess::AnyoneWithNameCanRead) {
        let message =
            "\"generalAccess\" of a run must be one of FOLLOW_USER_SETTING, RESTRICTED, ANYONE_WITH_ID_CAN_READ";
        return Err(ApiError::new(Problem::InvalidValue, message));
    }
    let update = RunUpdate {
        status_message: update.status_message,
        is_status_message_terminal: update.is_status_message_terminal,
        general_access: update.general_access,
    };
    let run = app.engine().update_run(&run.id, update).await?;
    answer(&app, &run).await
}

/// `DELETE /v2/actor-runs/{runId}` (`DEL-1`).
pub(super) async fn delete(State(app): State<App>, ManagedRun(run): ManagedRun) -> Answer {
    app.engine().delete_run(&run.id).await?;
    Ok(wire::no_content())
}

/// A charge as it is sent. Values are looked at one by one, since the contract says how each is refused (`CHG-4`).
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Charge {
    event_name: Value,
    count: Value,
}

/// `POST /v2/actor-runs/{runId}/charge`: with the run's own token only (`CHG-2`).
pub(super) async fn charge(
    State(app): State<App>,
    OwnRun { run, caller }: OwnRun,
    headers: HeaderMap,
    JsonOrDefault(charge): JsonOrDefault<Charge>,
) -> Answer {
    if caller.run.is_none_or(|calling| calling.id != run.id) {
        let message = "Insufficient permissions to charge the run: only the run itself may do this, with its own token";
        return Err(ApiError::new(Problem::InsufficientPermissions, message));
    }
    // What is missing or of the wrong type is as wrong as what is empty; the engine says so, in the order of the contract.
    let event = charge.event_name.as_str().map(str::trim).unwrap_or_default();
    let count = match &charge.count {
        Value::Null => 1,
        count => count.as_u64().or_else(|| whole(count.as_f64()?)).unwrap_or(0),
    };
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).map(str::trim).unwrap_or_default();
    app.engine().charge_run(&run.id, event, count, key).await?;
    Ok(wire::bare_json(StatusCode::CREATED, &serde_json::Map::new()))
}

/// `5.0` is whole, too.
fn whole(number: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be small, whole and positive"
    )]
    (number.fract() == 0.0 && (0.0..1e9).contains(&number)).then_some(number as u64)
}

async fn answer(app: &App, run: &Run) -> Answer {
    show::answer(app, run, Viewer::Owner, StatusCode::OK).await
}
