//! Measurements of a release build, printed as they are made. `docs/measurements.md` has the last ones.
//!
//! `PLAYHOUSE_BENCH_BINARY` names another build to measure, `PLAYHOUSE_BENCH_ITEMS` how many items a large dataset has,
//! `PLAYHOUSE_BENCH_RUNS` how many runs are stored.

mod bulk;
mod containers;
mod datasets;
mod export;
mod load;
mod null;
mod queue;
mod run_start;
mod schedules;
mod sealed;
mod server;
mod small;
mod standby;
mod start;
mod stored;
mod webhooks;

use clap::ValueEnum;

pub use null::serve as serve_null;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// `serve` on an empty directory to its first answer, and memory when idle.
    Start,
    /// Our own time between a start request and the Actor's first instruction.
    RunStart,
    /// Requests to an Actor on Standby, against asking its web server directly.
    Standby,
    /// A million items of 1 KB in and out, and what memory they take.
    Items,
    /// A record of 2 GB in and out, and what memory it takes.
    Record,
    /// A whole dataset in every format.
    Export,
    /// Pages at any offset of a large dataset.
    Pages,
    /// Ten thousand datasets that receive items at once, against a hundred.
    Datasets,
    /// Bytes on the disk for each sealed item, and how long sealing takes.
    Disk,
    /// The deletion of a large dataset.
    Delete,
    /// CPU for each small operation, as a multiple of what HTTP alone takes.
    Small,
    /// Heads, locks and additions on a long queue, and its deletion beside other work.
    Queue,
    /// Pages of a hundred thousand schedules, and a thousand that are due at once.
    Schedules,
    /// Deliveries of webhooks to a target on this machine.
    Webhooks,
    /// Lists and starts beside a million runs and ten thousand Actors.
    Stored,
    /// The docker driver on each engine: our own time, fifty runs at once, a flood of output.
    Containers,
}

/// Measures `only` these, or everything.
pub fn run(only: &[Subject]) -> anyhow::Result<()> {
    if std::env::var_os(server::BINARY).is_none() {
        crate::run(crate::cargo(["build", "--release", "--package", "playhouse"]))?;
    }
    for subject in Subject::value_variants() {
        if !only.is_empty() && !only.contains(subject) {
            continue;
        }
        match subject {
            Subject::Start => start::measure()?,
            Subject::RunStart => run_start::measure()?,
            Subject::Standby => standby::measure()?,
            Subject::Items => bulk::measure_items()?,
            Subject::Record => bulk::measure_record()?,
            Subject::Export => export::measure()?,
            Subject::Pages => sealed::measure_pages()?,
            Subject::Datasets => datasets::measure()?,
            Subject::Disk => sealed::measure_disk()?,
            Subject::Delete => sealed::measure_delete()?,
            Subject::Small => small::measure()?,
            Subject::Queue => queue::measure()?,
            Subject::Schedules => schedules::measure()?,
            Subject::Webhooks => webhooks::measure()?,
            Subject::Stored => stored::measure()?,
            Subject::Containers => containers::measure()?,
        }
    }
    Ok(())
}

/// The value below which half of the samples lie, and that below which nine in ten lie.
fn p50_p90(samples: &mut [f64]) -> (f64, f64) {
    samples.sort_by(f64::total_cmp);
    let at = |share: usize| samples.get((samples.len() * share / 100).min(samples.len().saturating_sub(1)));
    (at(50).copied().unwrap_or_default(), at(90).copied().unwrap_or_default())
}
