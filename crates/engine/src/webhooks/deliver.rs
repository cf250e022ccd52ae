//! Takes what is due, has it carried, and writes down what came of it.

use std::sync::Arc;
use std::time::Duration;

use model::{Call, DispatchId, Timestamp, WebhookEvent, retry_at};
use parking_lot::Mutex;
use store::{Attempted, Due, Next, StoreError, TargetNumber};
use tokio::sync::{Notify, mpsc};
use tracing::{debug, warn};

use super::lanes::Lanes;
use super::parcel::{Unsendable, parcel};
use super::{Receipt, Resources};
use crate::Engine;
use crate::supervision::Backoff;

/// How long a target may take for its answer (`WH-13`).
const PATIENCE: Duration = Duration::from_secs(120);
/// Dispatches taken at a time, and attempts written down at a time.
const BATCH: usize = 256;
/// How long a retry may have to wait for a look at the store while something else of its target is under way.
const LOOK_AGAIN_MILLIS: i64 = 5_000;
/// Time between two looks for dispatches that have expired, and how many go at a time.
const EXPIRED_EVERY: Duration = Duration::from_secs(3600);
const EXPIRED_AT_ONCE: usize = 500;
const SECS_PER_DAY: i64 = 86_400;

impl Engine {
    /// Sends what is due for webhooks, from now on until the engine stops.
    pub fn deliver_webhooks(&self, resources: Arc<dyn Resources>) {
        let (done, finished) = mpsc::channel(BATCH);
        let office = Arc::new(PostOffice {
            engine: self.clone(),
            resources,
            lanes: Mutex::default(),
            freed: Notify::new(),
            done,
        });
        let (handing_out, books) = (office.clone(), office);
        self.spawn(async move { handing_out.hand_out().await });
        self.spawn(async move { books.keep_books(finished).await });
        let engine = self.clone();
        self.spawn(async move { engine.expire_dispatches().await });
    }

    async fn expire_dispatches(&self) {
        let days = i64::from(self.inner.config.dispatch_days);
        if days == 0 {
            return;
        }
        loop {
            tokio::time::sleep(EXPIRED_EVERY).await;
            let before = self.now().plus_secs(-days * SECS_PER_DAY);
            loop {
                match self.inner.store.webhooks.expire(before, EXPIRED_AT_ONCE).await {
                    Ok(true) => tokio::time::sleep(Duration::from_millis(50)).await,
                    Ok(false) => break,
                    Err(error) => {
                        warn!(%error, "Cannot forget old dispatches; trying again later");
                        break;
                    }
                }
            }
        }
    }
}

/// What the tasks of the delivery share.
struct PostOffice {
    engine: Engine,
    resources: Arc<dyn Resources>,
    lanes: Mutex<Lanes>,
    /// Something may be handed out that could not be before.
    freed: Notify,
    done: mpsc::Sender<Attempted>,
}

impl PostOffice {
    /// Hands out what is due, for ever.
    async fn hand_out(self: Arc<Self>) {
        let store = &self.engine.inner.store.webhooks;
        let mut backoff = Backoff::default();
        loop {
            let now = self.engine.now();
            let (free, taken) = {
                let lanes = self.lanes.lock();
                (lanes.free().min(BATCH), lanes.taken())
            };
            let found = match free {
                0 => Ok((Vec::new(), None)),
                _ => self.look(now, taken, free).await,
            };
            let (due, next) = match found {
                Ok(found) => found,
                Err(error) => {
                    warn!(%error, "Cannot look for dispatches; trying again");
                    backoff.wait().await;
                    continue;
                }
            };
            backoff = Backoff::default();
            if !due.is_empty() {
                due.into_iter().for_each(|due| self.clone().start(due));
                continue;
            }
            let look_again = if self.lanes.lock().is_idle() { i64::MAX } else { LOOK_AGAIN_MILLIS };
            let wake_up = next.map_or(i64::MAX, |next| next.millis_since(now)).min(look_again).min(3_600_000);
            tokio::select! {
                () = store.made() => {}
                () = self.freed.notified() => {}
                () = self.engine.sleep_until(now.plus_millis(wake_up.max(1))) => {}
            }
        }
    }

    async fn look(
        &self,
        now: Timestamp,
        taken: store::Taken,
        limit: usize,
    ) -> Result<(Vec<Due>, Option<Timestamp>), StoreError> {
        let store = &self.engine.inner.store.webhooks;
        let due = store.due(now, taken, limit).await?;
        let next = if due.is_empty() { store.next_due(now).await? } else { None };
        Ok((due, next))
    }

    fn start(self: Arc<Self>, due: Due) {
        self.lanes.lock().take(due.id, due.target);
        let turn = Turn { office: self.clone(), id: due.id, target: due.target, stage: Stage::UnderWay };
        let engine = self.engine.clone();
        engine.spawn(async move { self.deliver(due, turn).await });
    }

    async fn deliver(&self, due: Due, mut turn: Turn) {
        let started_at = self.engine.now();
        let (receipt, is_hopeless) = match parcel(&self.engine, &*self.resources, &due).await {
            Ok(parcel) => {
                self.engine.crash_point("before delivery").await;
                let carried = tokio::time::timeout(PATIENCE, self.engine.inner.courier.carry(parcel)).await;
                let late = || Receipt::failed(format!("The target did not answer within {} s.", PATIENCE.as_secs()));
                (carried.unwrap_or_else(|_| late()), false)
            }
            Err(Unsendable::ForEver(why)) => (Receipt::failed(why), true),
            Err(Unsendable::ForNow(error)) => {
                warn!(dispatch.id = %due.id, %error, "Cannot make the payload of dispatch {}", due.id);
                (Receipt::failed("The payload could not be made."), false)
            }
        };
        turn.landed(receipt.status.is_some() || is_hopeless);
        self.engine.crash_point("after delivery").await;
        let finished_at = self.engine.now();
        let next = next(&due, &receipt, is_hopeless, finished_at);
        debug!(dispatch.id = %due.id, status = receipt.status, ?next, "Delivery of dispatch {} has ended", due.id);
        let call = Call {
            started_at,
            finished_at,
            error_message: receipt.complaint(),
            response_status: receipt.status,
            response_body: receipt.body,
        };
        if self.done.send(Attempted { id: due.id, call, next }).await.is_ok() {
            turn.stage = Stage::InTheBooks;
        }
    }

    /// Writes down what came of deliveries, as many at a time as there are.
    async fn keep_books(&self, mut finished: mpsc::Receiver<Attempted>) {
        let mut batch = Vec::with_capacity(BATCH);
        while finished.recv_many(&mut batch, BATCH).await > 0 {
            let mut backoff = Backoff::default();
            while let Err(error) = self.engine.inner.store.webhooks.note_attempts(batch.clone()).await {
                warn!(%error, "Cannot write down {} deliveries; trying again", batch.len());
                backoff.wait().await;
            }
            {
                let mut lanes = self.lanes.lock();
                batch.drain(..).for_each(|attempted| lanes.settle(&attempted.id));
            }
            self.freed.notify_one();
        }
    }
}

/// What comes after an attempt (`WH-13`).
fn next(due: &Due, receipt: &Receipt, is_hopeless: bool, ended: Timestamp) -> Next {
    let is_once = due.event_type == WebhookEvent::Test
        || due.webhook.as_ref().is_none_or(|webhook| webhook.settings.do_not_retry);
    if receipt.is_success() {
        Next::Succeeded
    } else if is_hopeless || is_once {
        Next::Failed
    } else {
        retry_at(due.attempts + 1, ended).map_or(Next::Failed, Next::Retry)
    }
}

/// A delivery's place among those under way. It is given back whatever becomes of the delivery.
struct Turn {
    office: Arc<PostOffice>,
    id: DispatchId,
    target: TargetNumber,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    UnderWay,
    Landed,
    InTheBooks,
}

impl Turn {
    fn landed(&mut self, has_answered: bool) {
        self.stage = Stage::Landed;
        if self.office.lanes.lock().landed(self.target, has_answered) {
            self.office.freed.notify_one();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.stage == Stage::UnderWay {
            self.landed(false);
        }
        if self.stage != Stage::InTheBooks {
            self.office.lanes.lock().settle(&self.id);
            self.office.freed.notify_one();
        }
    }
}
