//! Measurements of a release build, printed as they are made. `docs/measurements.md` has the last ones.

mod bulk;
mod run_start;
mod server;
mod start;

use clap::ValueEnum;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// `serve` on an empty directory to its first answer, and memory when idle.
    Start,
    /// Our own time between a start request and the Actor's first instruction.
    RunStart,
    /// A million items of 1 KB in and out, and what memory they take.
    Items,
    /// A record of 2 GB in and out, and what memory it takes.
    Record,
}

/// Measures `only` these, or everything.
pub fn run(only: &[Subject]) -> anyhow::Result<()> {
    crate::run(crate::cargo(["build", "--release", "--package", "playhouse"]))?;
    for subject in Subject::value_variants() {
        if !only.is_empty() && !only.contains(subject) {
            continue;
        }
        match subject {
            Subject::Start => start::measure()?,
            Subject::RunStart => run_start::measure()?,
            Subject::Items => bulk::measure_items()?,
            Subject::Record => bulk::measure_record()?,
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
