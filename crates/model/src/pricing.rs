//! What an Actor's use costs, and the platform's list prices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// One entry of an Actor's price history (`CHG-12`); a run carries the one in force at its start (`CHG-1`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PricingInfo {
    /// `PAY_PER_EVENT`, `PRICE_PER_DATASET_ITEM`, `FLAT_PRICE_PER_MONTH` or `FREE`.
    pub pricing_model: String,
    /// Share of the platform; nothing is taken here.
    #[serde(default)]
    pub apify_margin_percentage: f64,
    /// When the entry was made.
    pub created_at: Timestamp,
    /// From when it is in force.
    pub started_at: Timestamp,
    /// Prices of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing_per_event: Option<PricingPerEvent>,
    /// Least budget of a run in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimal_max_total_charge_usd: Option<f64>,
    /// What else an entry may carry, kept as it came.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// The chargeable events of an Actor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PricingPerEvent {
    /// By event name.
    #[serde(default)]
    pub actor_charge_events: BTreeMap<String, ChargeEvent>,
}

/// One chargeable event (`CHG-9`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChargeEvent {
    /// Its title.
    pub event_title: String,
    /// What it stands for.
    #[serde(default)]
    pub event_description: String,
    /// Its price in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_price_usd: Option<f64>,
    /// What else an event may carry, kept as it came.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

impl PricingInfo {
    /// The priced events of a pay-per-event entry; `None` for every other model.
    pub fn events(&self) -> Option<&BTreeMap<String, ChargeEvent>> {
        let per_event = self.pricing_per_event.as_ref()?;
        (self.pricing_model == "PAY_PER_EVENT").then_some(&per_event.actor_charge_events)
    }

    /// The pricing model in force at `now`; Actors without prices are `FREE` (`STO-1`).
    pub fn model_in_force(entries: &[Self], now: Timestamp) -> &str {
        Self::in_force(entries, now).map_or("FREE", |entry| &entry.pricing_model)
    }

    /// The entry in force at `now`: the newest that has started (`CHG-12`).
    pub fn in_force(entries: &[Self], now: Timestamp) -> Option<&Self> {
        entries.iter().filter(|entry| entry.started_at <= now).max_by_key(|entry| entry.started_at)
    }
}

/// What so many events cost, in US dollars.
#[expect(clippy::cast_precision_loss, reason = "money is shown, not settled; counts stay far below 2^53")]
pub(crate) fn charged_usd(pricing: Option<&PricingInfo>, counts: &BTreeMap<String, u64>) -> f64 {
    let Some(events) = pricing.and_then(PricingInfo::events) else { return 0.0 };
    let price = |name| events.get(name).and_then(|event| event.event_price_usd).unwrap_or(0.0);
    counts.iter().map(|(name, count)| price(name) * *count as f64).sum()
}
