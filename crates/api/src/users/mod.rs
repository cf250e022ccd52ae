//! Users, their limits and what they used (section 22 of the contract).

mod usage;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use engine::LimitsChange;
use http::StatusCode;
use model::{ScopeKind, UserId};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use store::Noun;

use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{Auth, JsonOrDefault, MaybeAuth, PathParams};
use crate::wire::{self, OwnUser, PublicUser};

/// Longest time that data can be told to be kept.
const MAX_DAYS: f64 = 1_000_000.0;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v2/users/me", get(show_own))
        .route("/v2/users/me/limits", get(usage::limits).put(set_limits))
        .route("/v2/users/me/usage/monthly", get(usage::monthly))
        .route("/v2/users/{userId}", get(show))
}

/// `GET /v2/users/me` (`USR-1` to `USR-5`).
async fn show_own(State(app): State<App>, Auth(caller): Auth) -> Answer {
    let memory_mbytes = app.engine().memory_limit(&caller.user).unwrap_or(app.engine_config().memory_mbytes);
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

/// Limits as they are sent. Those that are left out stay as they are, `null` takes one away (`USR-7`).
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LimitsGiven {
    #[serde(deserialize_with = "present")]
    max_monthly_usage_usd: Option<Value>,
    #[serde(deserialize_with = "present")]
    data_retention_days: Option<Value>,
}

/// Tells `null` from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// `PUT /v2/users/me/limits`.
async fn set_limits(
    State(app): State<App>,
    Auth(caller): Auth,
    JsonOrDefault(given): JsonOrDefault<LimitsGiven>,
) -> Answer {
    let max_monthly_usage_usd = match given.max_monthly_usage_usd {
        None => None,
        Some(Value::Null) => Some(None),
        Some(value) => {
            let usd = value.as_f64().filter(|usd| *usd >= 0.0);
            let message = "\"maxMonthlyUsageUsd\" must be a number of at least 0";
            Some(Some(usd.ok_or_else(|| ApiError::invalid_request(message))?))
        }
    };
    let data_retention_days = match given.data_retention_days {
        None => None,
        Some(Value::Null) => Some(None),
        Some(value) => {
            let days = value.as_f64().filter(|days| days.fract() == 0.0 && (1.0..=MAX_DAYS).contains(days));
            let message = "\"dataRetentionDays\" must be a whole number from 1 to 1000000";
            let days = days.ok_or_else(|| ApiError::invalid_request(message))?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be whole and small"
            )]
            Some(Some(days as u32))
        }
    };
    let change = LimitsChange { max_monthly_usage_usd, data_retention_days };
    app.engine().set_limits(&caller.user.id, change).await?;
    Ok(wire::bare_json(StatusCode::CREATED, &serde_json::Map::new()))
}
