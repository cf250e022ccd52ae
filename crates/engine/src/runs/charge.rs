//! Charging runs for events (section 12 of the contract).

use std::collections::BTreeMap;

use model::pricing::PricingInfo;
use model::{EndCause, JobStatus, Run, RunId, Storage, StorageKind, Timestamp};
use serde_json::Value;
use store::Noun;

use crate::{Engine, EngineError};

/// How long an idempotency key is remembered (`CHG-3`).
const REMEMBERED_SECS: i64 = 180;
/// Most that one call may charge (`CHG-4`).
const MAX_COUNT: u64 = 10_000_000;
/// Events of this prefix are charged by the server alone (`CHG-6`, `CHG-8`).
const SYSTEM_EVENT: &str = "apify-";
const START_EVENT: &str = "apify-actor-start";
const ITEM_EVENT: &str = "apify-default-dataset-item";

impl Engine {
    /// Charges a run for `count` events. A key that was used on the run in the last three minutes charges nothing and
    /// succeeds (`CHG-3`). Reaching the run's budget aborts it gracefully (`CHG-10`).
    ///
    /// # Errors
    /// `SystemEvent`; `InvalidCharge`; `NotFound(Run)`; `NotPayPerEvent`; `NoSuchEvent`.
    pub async fn charge_run(
        &self,
        id: &RunId,
        event: &str,
        count: u64,
        idempotency_key: &str,
    ) -> Result<(), EngineError> {
        if event.starts_with(SYSTEM_EVENT) {
            return Err(EngineError::SystemEvent(event.to_owned()));
        }
        if idempotency_key.trim().is_empty() {
            return Err(EngineError::InvalidCharge("Header \"idempotency-key\" is required"));
        }
        if event.trim().is_empty() {
            return Err(EngineError::InvalidCharge("\"eventName\" must be a non-empty string"));
        }
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(EngineError::InvalidCharge("\"count\" must be a whole number from 1 to 10000000"));
        }
        let run = self.inner.store.runs.get(id).await?.ok_or(EngineError::NotFound(Noun::Run))?;
        let events = run.pricing_info.as_ref().and_then(PricingInfo::events).ok_or(EngineError::NotPayPerEvent)?;
        if !events.contains_key(event) {
            return Err(EngineError::NoSuchEvent(event.to_owned()));
        }
        let once = (idempotency_key.to_owned(), self.now().plus_secs(-REMEMBERED_SECS));
        self.charge(id, event.to_owned(), count, Some(once)).await
    }

    /// Charges for items that were pushed, if they went to the default dataset of a live run whose pricing asks for that
    /// (`CHG-8`). Costs nothing otherwise.
    ///
    /// # Errors
    /// Of the store.
    pub async fn charge_items(&self, dataset: &Storage, count: u64) -> Result<(), EngineError> {
        let (Some(id), StorageKind::Dataset) = (dataset.lives_with, dataset.kind) else { return Ok(()) };
        let Some(live) = self.inner.runs.get(&id) else { return Ok(()) };
        let run = live.state();
        let events = run.pricing_info.as_ref().and_then(PricingInfo::events);
        if count == 0
            || run.storages.dataset != dataset.id
            || !events.is_some_and(|events| events.contains_key(ITEM_EVENT))
        {
            return Ok(());
        }
        self.charge(&id, ITEM_EVENT.to_owned(), count, None).await
    }

    async fn charge(
        &self,
        id: &RunId,
        event: String,
        count: u64,
        once: Option<(String, Timestamp)>,
    ) -> Result<(), EngineError> {
        let run = self
            .change_run_once(id, once, move |run| {
                let is_one_time = is_one_time(run, &event);
                let charged = run.charged_event_counts.entry(event.clone()).or_default();
                *charged = if is_one_time { 1 } else { charged.saturating_add(count) };
                Ok(())
            })
            .await?
            .0;
        self.stop_if_spent(&run).await
    }

    /// Aborts a running run gracefully if its events have used up its budget (`CHG-10`).
    pub(crate) async fn stop_if_spent(&self, run: &Run) -> Result<(), EngineError> {
        // Three times 0.1 is less than 0.3 for a computer, and more than it in another order.
        let is_spent = run.options.max_total_charge_usd.is_some_and(|budget| run.charged_usd() + 1e-9 >= budget);
        if is_spent && run.status == JobStatus::Running {
            self.ask_abort(&run.id, true, EndCause::ChargeLimit, None).await?;
        }
        Ok(())
    }
}

/// Whether an event is charged once in a run, however often it happens (`CHG-9`).
fn is_one_time(run: &Run, event: &str) -> bool {
    let events = run.pricing_info.as_ref().and_then(PricingInfo::events);
    events
        .and_then(|events| events.get(event))
        .is_some_and(|event| event.rest.get("isOneTimeEvent") == Some(&true.into()))
}

/// The pricing as a run carries it, with tiers resolved (`CHG-9`): everybody here is in the first.
pub(crate) fn snapshot(pricing: &PricingInfo) -> PricingInfo {
    let mut pricing = pricing.clone();
    for event in pricing.pricing_per_event.iter_mut().flat_map(|events| events.actor_charge_events.values_mut()) {
        let price = first_tier(&mut event.rest, "eventTieredPricingUsd", "tieredEventPriceUsd");
        event.event_price_usd = event.event_price_usd.or(price);
    }
    if let Some(price) = first_tier(&mut pricing.rest, "tieredPricing", "tieredPricePerUnitUsd") {
        pricing.rest.entry("pricePerUnitUsd".to_owned()).or_insert_with(|| price.into());
    }
    pricing
}

/// Takes away the tiers in `member` and tells the price of the first.
fn first_tier(members: &mut BTreeMap<String, Value>, member: &str, price: &str) -> Option<f64> {
    let tiers = members.remove(member)?;
    let first = tiers.as_object().and_then(|tiers| tiers.get("FREE").or_else(|| tiers.values().next()))?;
    first[price].as_f64().or_else(|| first.as_f64())
}

/// What a run is charged when it is made: nothing of every event, but for its start (`CHG-8`).
pub(crate) fn first_counts(pricing: Option<&PricingInfo>, memory_mbytes: u32) -> BTreeMap<String, u64> {
    let events = pricing.and_then(PricingInfo::events);
    let count = |name: &str| if name == START_EVENT { u64::from(memory_mbytes / 1024).max(1) } else { 0 };
    events.into_iter().flatten().map(|(name, _)| (name.clone(), count(name))).collect()
}
