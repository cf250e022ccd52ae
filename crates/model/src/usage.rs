//! What a run used, counted in the platform's units.

use serde::{Deserialize, Serialize};

/// Amounts by service (`RUN-10`, `U1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
pub struct RunUsage {
    /// Gigabyte-hours of memory held (`RUN-9`).
    pub actor_compute_units: f64,
    /// Items read.
    pub dataset_reads: u64,
    /// Items written.
    pub dataset_writes: u64,
    /// Records read.
    pub key_value_store_reads: u64,
    /// Records written or deleted.
    pub key_value_store_writes: u64,
    /// Pages of keys listed.
    pub key_value_store_lists: u64,
    /// Requests read by id or by listing.
    pub request_queue_reads: u64,
    /// Requests added, updated, deleted or locked.
    pub request_queue_writes: u64,
    /// Gigabytes between the run and this server.
    pub data_transfer_internal_gbytes: f64,
    /// Gigabytes between the run and anything else.
    pub data_transfer_external_gbytes: f64,
    /// Gigabytes through residential proxies; always 0 here.
    pub proxy_residential_transfer_gbytes: f64,
    /// Search result pages through the vendor's proxy; always 0 here.
    pub proxy_serps: u64,
}

/// What a user used on a day, or over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Used {
    /// Amounts by service.
    pub usage: RunUsage,
    /// Charges for events, in US dollars.
    pub events_usd: f64,
}

impl Used {
    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        self.usage.add(&other.usage);
        self.events_usd += other.events_usd;
    }

    /// What it costs at `prices`.
    pub fn in_usd(&self, prices: &Prices) -> f64 {
        self.usage.in_usd(prices).total() + self.events_usd
    }
}

/// Prices of one unit each, in US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// One compute unit.
    pub compute_unit: f64,
    /// One item read.
    pub dataset_read: f64,
    /// One item written.
    pub dataset_write: f64,
    /// One record read.
    pub key_value_store_read: f64,
    /// One record written.
    pub key_value_store_write: f64,
    /// One page of keys.
    pub key_value_store_list: f64,
    /// One request read.
    pub request_queue_read: f64,
    /// One request written.
    pub request_queue_write: f64,
    /// One gigabyte within.
    pub transfer_internal_gbyte: f64,
    /// One gigabyte to the outside.
    pub transfer_external_gbyte: f64,
}

impl Default for Prices {
    /// The platform's list prices (`U6`).
    fn default() -> Self {
        Self {
            compute_unit: 0.4,
            dataset_read: 0.0004 / 1000.0,
            dataset_write: 0.005 / 1000.0,
            key_value_store_read: 0.005 / 1000.0,
            key_value_store_write: 0.05 / 1000.0,
            key_value_store_list: 0.05 / 1000.0,
            request_queue_read: 0.004 / 1000.0,
            request_queue_write: 0.02 / 1000.0,
            transfer_internal_gbyte: 0.05,
            transfer_external_gbyte: 0.2,
        }
    }
}

/// The same services in US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the fields are those of RunUsage, in dollars")]
pub struct RunUsageUsd {
    pub actor_compute_units: f64,
    pub dataset_reads: f64,
    pub dataset_writes: f64,
    pub key_value_store_reads: f64,
    pub key_value_store_writes: f64,
    pub key_value_store_lists: f64,
    pub request_queue_reads: f64,
    pub request_queue_writes: f64,
    pub data_transfer_internal_gbytes: f64,
    pub data_transfer_external_gbytes: f64,
    pub proxy_residential_transfer_gbytes: f64,
    pub proxy_serps: f64,
}

impl RunUsage {
    /// What it costs at `prices`.
    #[expect(clippy::cast_precision_loss, reason = "money is shown, not settled; counts stay far below 2^53")]
    pub fn in_usd(&self, prices: &Prices) -> RunUsageUsd {
        RunUsageUsd {
            actor_compute_units: self.actor_compute_units * prices.compute_unit,
            dataset_reads: self.dataset_reads as f64 * prices.dataset_read,
            dataset_writes: self.dataset_writes as f64 * prices.dataset_write,
            key_value_store_reads: self.key_value_store_reads as f64 * prices.key_value_store_read,
            key_value_store_writes: self.key_value_store_writes as f64 * prices.key_value_store_write,
            key_value_store_lists: self.key_value_store_lists as f64 * prices.key_value_store_list,
            request_queue_reads: self.request_queue_reads as f64 * prices.request_queue_read,
            request_queue_writes: self.request_queue_writes as f64 * prices.request_queue_write,
            data_transfer_internal_gbytes: self.data_transfer_internal_gbytes * prices.transfer_internal_gbyte,
            data_transfer_external_gbytes: self.data_transfer_external_gbytes * prices.transfer_external_gbyte,
            proxy_residential_transfer_gbytes: 0.0,
            proxy_serps: 0.0,
        }
    }

    /// What is here beyond `former`, an earlier state of the same. Nothing is ever used less.
    #[must_use]
    pub fn since(&self, former: &Self) -> Self {
        Self {
            actor_compute_units: (self.actor_compute_units - former.actor_compute_units).max(0.0),
            dataset_reads: self.dataset_reads.saturating_sub(former.dataset_reads),
            dataset_writes: self.dataset_writes.saturating_sub(former.dataset_writes),
            key_value_store_reads: self.key_value_store_reads.saturating_sub(former.key_value_store_reads),
            key_value_store_writes: self.key_value_store_writes.saturating_sub(former.key_value_store_writes),
            key_value_store_lists: self.key_value_store_lists.saturating_sub(former.key_value_store_lists),
            request_queue_reads: self.request_queue_reads.saturating_sub(former.request_queue_reads),
            request_queue_writes: self.request_queue_writes.saturating_sub(former.request_queue_writes),
            data_transfer_internal_gbytes: (self.data_transfer_internal_gbytes - former.data_transfer_internal_gbytes)
                .max(0.0),
            data_transfer_external_gbytes: (self.data_transfer_external_gbytes - former.data_transfer_external_gbytes)
                .max(0.0),
            ..Self::default()
        }
    }

    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        self.actor_compute_units += other.actor_compute_units;
        self.dataset_reads += other.dataset_reads;
        self.dataset_writes += other.dataset_writes;
        self.key_value_store_reads += other.key_value_store_reads;
        self.key_value_store_writes += other.key_value_store_writes;
        self.key_value_store_lists += other.key_value_store_lists;
        self.request_queue_reads += other.request_queue_reads;
        self.request_queue_writes += other.request_queue_writes;
        self.data_transfer_internal_gbytes += other.data_transfer_internal_gbytes;
        self.data_transfer_external_gbytes += other.data_transfer_external_gbytes;
    }
}

impl RunUsageUsd {
    /// The sum.
    pub fn total(&self) -> f64 {
        self.actor_compute_units
            + self.dataset_reads
            + self.dataset_writes
            + self.key_value_store_reads
            + self.key_value_store_writes
            + self.key_value_store_lists
            + self.request_queue_reads
            + self.request_queue_writes
            + self.data_transfer_internal_gbytes
            + self.data_transfer_external_gbytes
    }
}
