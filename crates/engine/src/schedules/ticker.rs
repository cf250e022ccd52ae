//! The clockwork of all schedules.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use model::Timestamp;
use model::schedule::Watch;
use tracing::warn;

use crate::supervision::Backoff;
use crate::{Engine, EngineError};

/// Schedules that are looked up at once.
const BATCH: u64 = 1024;
/// Schedules that are invoked at the same time: what waits together is written down together.
const AT_ONCE: usize = 256;
/// The clock is looked at again after so many milliseconds at most, since it may jump.
const LONGEST_PAUSE: i64 = 10_000;

impl Engine {
    /// Invokes schedules when they are due, as long as the engine lives.
    pub(crate) fn keep_schedules(&self) {
        let engine = self.clone();
        self.spawn(async move {
            engine.keep_supervised(engine.clone().tick(), || Some(engine.clone().tick())).await;
        });
    }

    async fn tick(self) {
        let mut watch = Watch::begin(self.now());
        let mut backoff = Backoff::default();
        loop {
            match self.look_at_schedules(&mut watch).await {
                Ok(next) => {
                    backoff = Backoff::default();
                    self.pause_until(next).await;
                }
                Err(error) => {
                    warn!(%error, "Cannot see to the schedules that are due; trying again");
                    backoff.wait().await;
                }
            }
        }
    }

    /// Invokes whatever is due, and tells when the next is.
    async fn look_at_schedules(&self, watch: &mut Watch) -> Result<Option<Timestamp>, EngineError> {
        loop {
            let now = self.now();
            watch.look(now);
            let due = self.inner.store.schedules.due(now, BATCH).await?;
            if due.is_empty() {
                return Ok(self.inner.store.schedules.next_due().await?);
            }
            let (missed_before, failed) = (watch.missed_before(), &AtomicBool::new(false));
            futures::stream::iter(due)
                .for_each_concurrent(AT_ONCE, |id| async move {
                    if let Err(error) = self.see_to_schedule(&id, missed_before).await {
                        failed.store(true, Ordering::Relaxed);
                        warn!(schedule.id = %id, %error, "Cannot see to schedule {id}; trying again");
                    }
                })
                .await;
            if failed.load(Ordering::Relaxed) {
                return Err(EngineError::Internal(anyhow::anyhow!("some schedules could not be seen to")));
            }
        }
    }

    async fn pause_until(&self, next: Option<Timestamp>) {
        let changed = self.inner.scheduler.notified();
        let Some(next) = next else { return changed.await };
        let millis = next.millis_since(self.now()).clamp(0, LONGEST_PAUSE);
        let pause = tokio::time::sleep(Duration::from_millis(u64::try_from(millis).unwrap_or_default()));
        tokio::select! {
            () = changed => {}
            () = pause => {}
        }
    }
}
