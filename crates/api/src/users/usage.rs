//! What a user used in a month, and what is allowed (`USR-7`, `USR-8`).

use axum::extract::State;
use model::{Page, Timestamp, Used};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{Auth, Params};
use crate::wire::{self, UNLIMITED};

/// A calendar month; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cycle {
    start_at: Timestamp,
    end_at: Timestamp,
}

impl Cycle {
    /// The month (UTC) with that moment in it.
    fn around(moment: Timestamp) -> Option<Self> {
        moment.month().map(|(start_at, end_at)| Self { start_at, end_at })
    }
}

/// `GET /v2/users/me/usage/monthly`, for any date (`USR-8`).
pub(super) async fn monthly(State(app): State<App>, Auth(caller): Auth, params: Params) -> Answer {
    let date = params.date("date")?.unwrap_or(app.now());
    let cycle = Cycle::around(date).ok_or_else(|| ApiError::invalid_request("Parameter \"date\" is out of range"))?;
    let days = app.engine().used(&caller.user.id, cycle.start_at, cycle.end_at).await?;

    let mut month = Used::default();
    let mut daily = Vec::with_capacity(days.len());
    for (date, used) in &days {
        month.add(used);
        let (services, total) = services(&app, used);
        daily.push(json!({ "date": date, "serviceUsage": services, "totalUsageCreditsUsd": total }));
    }
    let (services, total) = services(&app, &month);
    Ok(wire::ok(&json!({
        "usageCycle": cycle,
        "monthlyServiceUsage": services,
        "dailyServiceUsages": daily,
        "totalUsageCreditsUsdBeforeVolumeDiscount": total,
        "totalUsageCreditsUsdAfterVolumeDiscount": total,
    })))
}

/// Quantity and price of each service that was used, and the sum.
fn services(app: &App, used: &Used) -> (Map<String, Value>, f64) {
    let usd = used.usage.in_usd(&app.engine_config().prices);
    let total = used.in_usd(&app.engine_config().prices);
    let (quantities, prices) = (json!(used.usage), json!(usd));
    let mut services = Map::new();
    for (name, quantity) in quantities.as_object().into_iter().flatten() {
        let (quantity, price) = (quantity.as_f64().unwrap_or_default(), prices[name].as_f64().unwrap_or_default());
        if quantity > 0.0 {
            let usage = json!({
                "quantity": quantity,
                "baseAmountUsd": price,
                "baseUnitPriceUsd": price / quantity,
                "amountAfterVolumeDiscountUsd": price,
                "priceTiers": [],
            });
            services.insert(name.clone(), usage);
        }
    }
    (services, total)
}

/// `GET /v2/users/me/limits` (`USR-7`).
pub(super) async fn limits(State(app): State<App>, Auth(caller): Auth) -> Answer {
    let (store, user) = (app.store(), caller.user.id);
    let cycle =
        Cycle::around(app.now()).ok_or_else(|| ApiError::internal(anyhow::anyhow!("the clock is out of range")))?;
    let mut month = Used::default();
    for (_, used) in app.engine().used(&user, cycle.start_at, cycle.end_at).await? {
        month.add(&used);
    }
    let one = Page { limit: 1, ..Page::default() };
    let actors = store.actors.list(&user, true, false, one).await?.total;
    let (tasks, schedules) = (store.tasks.count(&user).await?, store.schedules.count(&user).await?);
    let held = app.engine().held(&user);

    let engine = app.engine();
    let memory_mbytes = engine.memory_limit(&caller.user).unwrap_or(app.engine_config().memory_mbytes);
    let mut limits = wire::limits(memory_mbytes);
    if let Some(usd) = caller.user.max_monthly_usage_usd {
        limits.insert("maxMonthlyUsageUsd".to_owned(), usd.into());
    }
    if let Some(days) = engine.retention_days(&caller.user) {
        limits.insert("dataRetentionDays".to_owned(), days.into());
    }
    let runs = engine.runs_limit(&caller.user).map_or(UNLIMITED, u64::from);
    limits.insert("maxConcurrentActorJobs".to_owned(), runs.into());
    limits.insert("maxTeamAccountSeatCount".to_owned(), UNLIMITED.into());
    Ok(wire::ok(&json!({
        "monthlyUsageCycle": cycle,
        "limits": limits,
        "current": {
            "monthlyUsageUsd": month.in_usd(&app.engine_config().prices),
            "monthlyActorComputeUnits": month.usage.actor_compute_units,
            "monthlyExternalDataTransferGbytes": month.usage.data_transfer_external_gbytes,
            "monthlyProxySerps": 0,
            "monthlyResidentialProxyGbytes": 0,
            "actorMemoryGbytes": f64::from(held.memory_mbytes) / 1024.0,
            "actorCount": actors,
            "actorTaskCount": tasks,
            "activeActorJobCount": held.runs + held.builds,
            "teamAccountSeatCount": 1,
            "scheduleCount": schedules,
        },
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_the_month_of_its_date() {
        for (date, start, end) in [
            ("2026-08-31", "2026-08-01T00:00:00.000Z", "2026-08-31T23:59:59.999Z"),
            ("2024-02-29T23:59:59.999Z", "2024-02-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z"),
            ("2025-12-01", "2025-12-01T00:00:00.000Z", "2025-12-31T23:59:59.999Z"),
            ("1970-01-01", "1970-01-01T00:00:00.000Z", "1970-01-31T23:59:59.999Z"),
        ] {
            let cycle = Cycle::around(Timestamp::parse(date).unwrap()).unwrap();

            assert_eq!(
                (cycle.start_at.to_string().as_str(), cycle.end_at.to_string().as_str()),
                (start, end),
                "{date}"
            );
        }
        for millis in [i64::MIN, i64::MAX] {
            let _ = Cycle::around(Timestamp::from_millis(millis));
        }
    }
}
