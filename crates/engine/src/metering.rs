//! What runs use, counted in memory and written down now and then.

use std::sync::Arc;
use std::time::Duration;

use model::{Run, RunId, RunUsage};
use tracing::warn;

use crate::Engine;
use crate::runs::{LiveRun, Samples};

/// How often figures are written down; a crash loses at most so much of them.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

/// Figures on their way into the store.
#[derive(Clone, Copy)]
pub(crate) struct Figures {
    usage: RunUsage,
    samples: Samples,
}

impl Figures {
    pub(crate) fn write(&self, run: &mut Run) {
        run.usage.add(&self.usage);
        self.samples.write(&mut run.stats);
    }
}

impl LiveRun {
    /// What was not written down yet; it counts as written from now on.
    pub(crate) fn take_figures(&self) -> Figures {
        let usage = std::mem::take(&mut *self.usage.lock());
        let mut samples = self.samples.lock();
        samples.is_fresh = false;
        Figures { usage, samples: *samples }
    }

    /// Figures that could not be written down.
    pub(crate) fn put_back(&self, figures: Figures) {
        self.usage.lock().add(&figures.usage);
        self.samples.lock().is_fresh = true;
    }

    fn has_figures(&self) -> bool {
        *self.usage.lock() != RunUsage::default() || self.samples.lock().is_fresh
    }
}

impl Engine {
    /// Counts something that a run used. Cheap; written down every few seconds and at the end of the run. What a run uses
    /// later than a minute after its end is not counted.
    pub fn meter(&self, run: &RunId, add: impl FnOnce(&mut RunUsage)) {
        if let Some(live) = self.inner.runs.get(run) {
            add(&mut live.usage.lock());
        }
    }

    pub(crate) fn write_figures_now_and_then(&self) {
        let engine = self.clone();
        self.spawn(async move {
            loop {
                tokio::time::sleep(WRITTEN_EVERY).await;
                engine.flush_figures().await;
            }
        });
    }

    pub(crate) async fn flush_figures(&self) {
        // All at once, so that they share a commit.
        let runs = self.inner.runs.all();
        futures::future::join_all(runs.iter().map(|live| self.flush_run(live))).await;
    }

    pub(crate) async fn flush_run(&self, live: &Arc<LiveRun>) {
        if !live.has_figures() {
            return;
        }
        let figures = live.take_figures();
        let written = self
            .change_run(&live.id, move |run| {
                figures.write(run);
                Ok(())
            })
            .await;
        if let Err(error) = written {
            warn!(run.id = %live.id, %error, "Cannot write down what run {} used", live.id);
            live.put_back(figures);
        }
    }
}
