//! What a user used in a month, and what is allowed (`USR-7`, `USR-8`).

use std::collections::BTreeMap;

use axum::extract::State;
use engine::{charged_usd, figures_at};
use model::{Page, RunUsage, Timestamp, UserId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::RunFilter;

use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{Auth, Params};
use crate::wire::{self, UNLIMITED};

const DAY_MILLIS: i64 = 86_400_000;

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
        let text = moment.to_string();
        let start_at = Timestamp::parse(&format!("{}-01", text.get(..7)?))?;
        // No month has more than 31 days, and the 32nd day lies in the next.
        let in_next = start_at.plus_millis(31 * DAY_MILLIS).to_string();
        let next = Timestamp::parse(&format!("{}-01", in_next.get(..7)?))?;
        Some(Self { start_at, end_at: next.plus_millis(-1) })
    }
}

/// What was used on one day.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    usage: RunUsage,
    events_usd: f64,
}

/// What the user's runs of a month used, by the day on which each was started.
async fn used_in(app: &App, user: &UserId, cycle: Cycle) -> Result<BTreeMap<Timestamp, Used>, ApiError> {
    let filter = RunFilter {
        user: Some(*user),
        started_after: Some(cycle.start_at),
        started_before: Some(cycle.end_at),
        ..RunFilter::default()
    };
    let mut days = BTreeMap::<Timestamp, Used>::new();
    let mut page = Page::default();
    loop {
        let found = app.store().runs.list(filter.clone(), page).await?.items;
        for run in &found {
            let started = run.started_at.as_millis();
            let used = days.entry(Timestamp::from_millis(started - started.rem_euclid(DAY_MILLIS))).or_default();
            used.usage.add(&figures_at(run, app.now()).1);
            used.events_usd += charged_usd(run);
        }
        page.offset += found.len() as u64;
        if found.is_empty() || (found.len() as u64) < page.limit {
            return Ok(days);
        }
    }
}

/// `GET /v2/users/me/usage/monthly`, for any date (`USR-8`).
pub(super) async fn monthly(State(app): State<App>, Auth(caller): Auth, params: Params) -> Answer {
    let date = params.date("date")?.unwrap_or(app.now());
    let cycle = Cycle::around(date).ok_or_else(|| ApiError::invalid_request("Parameter \"date\" is out of range"))?;
    let days = used_in(&app, &caller.user.id, cycle).await?;

    let mut month = Used::default();
    let mut daily = Vec::with_capacity(days.len());
    for (date, used) in &days {
        month.usage.add(&used.usage);
        month.events_usd += used.events_usd;
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
    let total = usd.total() + used.events_usd;
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
    for used in used_in(&app, &user, cycle).await?.values() {
        month.usage.add(&used.usage);
        month.events_usd += used.events_usd;
    }
    let one = Page { limit: 1, ..Page::default() };
    let actors = store.actors.list(&user, true, false, one).await?.total;
    let runs = store.runs.live().await?;
    let builds = store.builds.live().await?;
    let memory_of_jobs = runs
        .iter()
        .filter(|run| run.user_id == user)
        .map(|run| run.options.memory_mbytes)
        .chain(builds.iter().filter(|build| build.user_id == user).map(|build| build.options.memory_mbytes));
    let memory_of_jobs: Vec<u32> = memory_of_jobs.collect();

    let memory_mbytes = app.engine_config().memory_mbytes;
    let mut limits = wire::limits(memory_mbytes);
    limits.insert("maxConcurrentActorJobs".to_owned(), UNLIMITED.into());
    limits.insert("maxTeamAccountSeatCount".to_owned(), UNLIMITED.into());
    Ok(wire::ok(&json!({
        "monthlyUsageCycle": cycle,
        "limits": limits,
        "current": {
            "monthlyUsageUsd": month.usage.in_usd(&app.engine_config().prices).total() + month.events_usd,
            "monthlyActorComputeUnits": month.usage.actor_compute_units,
            "monthlyExternalDataTransferGbytes": month.usage.data_transfer_external_gbytes,
            "monthlyProxySerps": 0,
            "monthlyResidentialProxyGbytes": 0,
            "actorMemoryGbytes": f64::from(memory_of_jobs.iter().sum::<u32>()) / 1024.0,
            "actorCount": actors,
            "actorTaskCount": 0,
            "activeActorJobCount": memory_of_jobs.len(),
            "teamAccountSeatCount": 1,
            "scheduleCount": 0,
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
