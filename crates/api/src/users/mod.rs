//! Users, their limits and what they used (section 22 of the contract).

mod usage;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use model::{ScopeKind, UserId};
use serde::Deserialize;
use serde_json::Value;
use store::Noun;

use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, Json, MaybeAuth, PathParams};
use crate::wire::{self, OwnUser, PublicUser};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v2/users/me", get(show_own))
        .route("/v2/users/me/limits", get(usage::limits).put(set_limits))
        .route("/v2/users/me/usage/monthly", get(usage::monthly))
        .route("/v2/users/{userId}", get(show))
}

/// `GET /v2/users/me` (`USR-1` to `USR-5`).
async fn show_own(State(app): State<App>, Auth(caller): Auth) -> Answer {
    let memory_mbytes = app.engine_config().memory_mbytes;
    let tells_all = caller.run.is_none() && caller.may_list(ScopeKind::Account);
    Ok(wire::ok(&OwnUser::new(&caller.user, tells_all, memory_mbytes)))
}

/// `GET /v2/users/{userId}`: by id or name, without a token (`USR-6`, `ID-8`).
async fn show(State(app): State<App>, MaybeAuth(_): MaybeAuth, path: PathParams) -> Answer {
    let (users, wanted) = (&app.store().users, path.get("userId"));
    let found = match UserId::parse(wanted) {
        Some(id) => users.get(&id).await?,
        None => users.find(wanted).await?,
    };
    let user = found.ok_or_else(|| ApiError::not_found(Noun::User))?;
    Ok(wire::ok(&PublicUser::new(&user)))
}

/// Limits as they are sent (`USR-7`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LimitsGiven {
    max_monthly_usage_usd: Option<Value>,
    data_retention_days: Option<Value>,
}

/// `PUT /v2/users/me/limits`. Nothing here bills or forgets by the user, so there is nothing to be set; pretending to would
/// be worse than the refusal.
async fn set_limits(Auth(_): Auth, Json(given): Json<LimitsGiven>) -> Answer {
    for (name, value) in
        [("maxMonthlyUsageUsd", given.max_monthly_usage_usd), ("dataRetentionDays", given.data_retention_days)]
    {
        if value.is_some_and(|value| !value.is_null() && !value.as_f64().is_some_and(|number| number >= 0.0)) {
            return Err(ApiError::invalid_request(format!("\"{name}\" must be a number of at least 0")));
        }
    }
    let message = "The limits of this server are set by its operator, not by its users";
    Err(ApiError::new(Problem::InsufficientPermissions, message))
}
