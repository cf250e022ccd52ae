//! What a run has used: time, memory, CPU, compute units.

use drivers::Usage;
use model::{Run, RunStats, RunSummary, RunUsage, Timestamp};

/// The figures of a run as they stand at `now`: those written down, and what has come since in the current stretch (`RUN-9`).
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a run stay far below 2^53")]
pub fn figures_at(run: &Run, now: Timestamp) -> (RunStats, RunUsage) {
    let (mut stats, mut usage) = (run.stats.clone(), run.usage);
    if let Some(millis) = millis_of_stretch(run.running_since, now) {
        stats.duration_millis += millis;
        stats.run_time_secs = stats.duration_millis as f64 / 1000.0;
        stats.compute_units += compute_units(run.options.memory_mbytes, millis);
        usage.actor_compute_units = stats.compute_units;
    }
    (stats, usage)
}

/// What a run has used as it stands at `now`, as [`figures_at`] says it.
pub fn usage_at(run: &RunSummary, now: Timestamp) -> RunUsage {
    let mut usage = run.usage;
    if let Some(millis) = millis_of_stretch(run.running_since, now) {
        usage.actor_compute_units += compute_units(run.options.memory_mbytes, millis);
    }
    usage
}

fn millis_of_stretch(running_since: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    running_since.map(|since| u64::try_from(now.millis_since(since)).unwrap_or_default())
}

/// Gigabyte-hours, by the second begun (`RUN-9`).
#[expect(clippy::cast_precision_loss, reason = "seconds of a run stay far below 2^53")]
pub(crate) fn compute_units(memory_mbytes: u32, millis: u64) -> f64 {
    f64::from(memory_mbytes) / 1024.0 * millis.div_ceil(1000) as f64 / 3600.0
}

/// Measurements of a run, about one a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Samples {
    count: u64,
    memory_sum: u64,
    memory_max: u64,
    memory: u64,
    cpu_sum: f64,
    cpu_max: f64,
    cpu: f64,
    net_rx: u64,
    net_tx: u64,
    last: Option<(Timestamp, u64)>,
    /// Whether something was measured since [`write`](Self::write).
    pub(crate) is_fresh: bool,
}

/// One measurement with what came before (`EVT-6`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) memory_avg: f64,
    pub(crate) memory: u64,
    /// In percent of one core, as are the others.
    pub(crate) cpu_avg: f64,
    pub(crate) cpu_max: f64,
    pub(crate) cpu: f64,
}

impl Samples {
    /// Takes a measurement; nothing is told of the first, for CPU needs two.
    #[expect(clippy::cast_precision_loss, reason = "bytes and microseconds stay far below 2^53")]
    pub(crate) fn take(&mut self, now: Timestamp, usage: &Usage) -> Option<Sample> {
        let before = self.last.replace((now, usage.cpu_micros));
        (self.net_rx, self.net_tx) = (usage.net_rx_bytes, usage.net_tx_bytes);
        let (then, cpu_then) = before?;
        let micros = now.millis_since(then).max(1) as f64 * 1000.0;
        // A new life counts from zero.
        self.cpu = usage.cpu_micros.saturating_sub(cpu_then) as f64 / micros * 100.0;
        self.cpu_max = self.cpu_max.max(self.cpu);
        self.cpu_sum += self.cpu;
        self.memory = usage.memory_bytes;
        self.memory_sum += usage.memory_bytes;
        self.memory_max = self.memory_max.max(usage.memory_bytes).max(usage.memory_peak_bytes);
        self.count += 1;
        self.is_fresh = true;
        let count = self.count as f64;
        Some(Sample {
            memory_avg: self.memory_sum as f64 / count,
            memory: self.memory,
            cpu_avg: self.cpu_sum / count,
            cpu_max: self.cpu_max,
            cpu: self.cpu,
        })
    }

    /// Writes them into the run's statistics.
    #[expect(clippy::cast_precision_loss, reason = "bytes stay far below 2^53")]
    pub(crate) fn write(&self, stats: &mut RunStats) {
        if self.count > 0 {
            let count = self.count as f64;
            stats.mem_avg_bytes = self.memory_sum as f64 / count;
            stats.mem_current_bytes = self.memory;
            stats.cpu_avg_usage = self.cpu_sum / count;
            stats.cpu_current_usage = self.cpu;
        }
        stats.mem_max_bytes = stats.mem_max_bytes.max(self.memory_max);
        stats.cpu_max_usage = stats.cpu_max_usage.max(self.cpu_max);
        stats.net_rx_bytes = stats.net_rx_bytes.max(self.net_rx);
        stats.net_tx_bytes = stats.net_tx_bytes.max(self.net_tx);
    }

    /// Takes over what a whole life used, which no sample may have seen.
    pub(crate) fn take_exit(&mut self, usage: &Usage) {
        self.memory_max = self.memory_max.max(usage.memory_peak_bytes);
        self.net_rx = self.net_rx.max(usage.net_rx_bytes);
        self.net_tx = self.net_tx.max(usage.net_tx_bytes);
    }
}

#[cfg(test)]
mod tests {
    use model::{ActorId, UserId};

    use super::*;

    #[test]
    fn compute_units_are_gigabyte_hours_by_the_second() {
        for (memory, millis, expected) in [
            (1024, 3_600_000, 1.0),
            (4096, 1_800_000, 2.0),
            (128, 3_600_000, 0.125),
            (1024, 1, 1.0 / 3600.0),
            (1024, 0, 0.0),
        ] {
            assert!((compute_units(memory, millis) - expected).abs() < 1e-12, "{memory} MB for {millis} ms");
        }
    }

    #[test]
    fn what_lists_say_of_a_run_is_what_the_run_says() {
        let (user, actor) = (UserId::parse("UUUUUUUUUUUUUUUUU").unwrap(), ActorId::parse("AAAAAAAAAAAAAAAAA").unwrap());
        let (run, _) = store::conformance::jobs::run_of(user, actor, 0);
        let usage = RunUsage { actor_compute_units: 0.5, dataset_writes: 7, ..RunUsage::default() };
        let stats = RunStats { compute_units: 0.5, ..run.stats.clone() };
        let since = Timestamp::from_millis(5_000);
        for running_since in [None, Some(since)] {
            let run = Run { usage, stats: stats.clone(), running_since, ..run.clone() };
            let now = since.plus_secs(1800);

            assert_eq!(usage_at(&RunSummary::from(&run), now), figures_at(&run, now).1);
            let units = usage_at(&RunSummary::from(&run), now).actor_compute_units;
            assert!((units - if running_since.is_some() { 1.0 } else { 0.5 }).abs() < 1e-12);
        }
    }

    #[test]
    fn cpu_is_told_in_percent_of_one_core() {
        let mut samples = Samples::default();
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        let usage = |cpu_micros, memory_bytes| Usage { cpu_micros, memory_bytes, ..Usage::default() };

        assert_eq!(samples.take(at(1), &usage(500_000, 100)), None);
        let first = samples.take(at(2), &usage(750_000, 200)).unwrap();
        let second = samples.take(at(4), &usage(3_750_000, 400)).unwrap();

        assert_eq!((first.cpu, first.memory, first.memory_avg), (25.0, 200, 200.0));
        assert_eq!((second.cpu, second.cpu_avg, second.cpu_max), (150.0, 87.5, 150.0));
        assert_eq!((second.memory, second.memory_avg), (400, 300.0));
    }
}
