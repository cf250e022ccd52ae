//! What is in a queue, counted: beyond the platform.

use axum::extract::State;
use model::StateCounts;
use serde::Serialize;

use crate::app::App;
use crate::error::Answer;
use crate::extract::{Readable, RequestQueue};
use crate::wire;

/// Hosts that are told of one by one.
const MAX_HOSTS: usize = 1000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    requests: Counts,
    hosts: Vec<Host<'a>>,
    other_hosts: Counts,
    /// How many requests have had no, one, two … retries; the 101st number stands for all that had more, too.
    retry_histogram: &'a [u64],
}

#[derive(Serialize)]
struct Host<'a> {
    host: &'a str,
    #[serde(flatten)]
    counts: Counts,
}

/// Those that failed are also handled.
#[derive(Serialize)]
struct Counts {
    total: u64,
    pending: u64,
    locked: u64,
    handled: u64,
    failed: u64,
}

impl From<StateCounts> for Counts {
    fn from(counts: StateCounts) -> Self {
        let StateCounts { pending, locked, handled, failed } = counts;
        Self { total: counts.total(), pending, locked, handled, failed }
    }
}

pub(super) async fn show(State(app): State<App>, Readable(queue, ..): Readable<RequestQueue>) -> Answer {
    let stats = app.store().queues.stats(&queue.storage.id).await?;
    let (hosts, other) = stats.hosts(MAX_HOSTS);
    Ok(wire::ok(&Stats {
        requests: stats.all().into(),
        hosts: hosts.into_iter().map(|(host, counts)| Host { host, counts: counts.into() }).collect(),
        other_hosts: other.into(),
        retry_histogram: stats.retries(),
    }))
}
