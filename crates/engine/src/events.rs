//! What runs are told while they live: the events of their websocket (section 25 of the contract).

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use model::signature::same;
use model::{RunId, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::Engine;
use crate::runs::Sample;

/// The events of one run as text frames (`EVT-2`). It ends when the run does; close with 1000 then (`EVT-5`).
pub type EventStream = BoxStream<'static, Arc<str>>;

/// Frames that one listener may lag behind. The upper half is kept for what must not be missed.
const BACKLOG: usize = 64;

/// The listeners of a run (`EVT-16`).
pub(crate) struct Audience(Mutex<Option<Vec<mpsc::Sender<Arc<str>>>>>);

impl Default for Audience {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Audience {
    /// Nobody can join a run that has ended.
    fn join(&self) -> Option<mpsc::Receiver<Arc<str>>> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.0.lock().as_mut()?.push(sender);
        Some(receiver)
    }

    /// Ends the streams of all listeners, when they have read what they were told.
    pub(crate) fn dismiss(&self) {
        *self.0.lock() = None;
    }

    /// Tells everybody; who lags half of the backlog behind misses only what comes again in a second.
    fn tell(&self, now: Timestamp, name: &str, data: Option<Value>, is_repeated: bool) {
        let mut listeners = self.0.lock();
        let Some(listeners) = listeners.as_mut().filter(|listeners| !listeners.is_empty()) else { return };
        let mut event = json!({ "name": name, "createdAt": now });
        if let Some(data) = data {
            event["data"] = data;
        }
        let frame: Arc<str> = event.to_string().into();
        listeners.retain(|listener| {
            if is_repeated && listener.capacity() < BACKLOG / 2 {
                return true;
            }
            !matches!(listener.try_send(frame.clone()), Err(mpsc::error::TrySendError::Closed(_)))
        });
    }

    /// The run is being aborted with time to clean up (`EVT-13`).
    pub(crate) fn tell_aborting(&self, now: Timestamp) {
        self.tell(now, "aborting", None, false);
        self.tell(now, "persistState", Some(json!({ "isMigrating": false })), false);
    }

    /// The run is about to be migrated (`EVT-10`).
    pub(crate) fn tell_migrating(&self, now: Timestamp, secs: u64) {
        self.tell(now, "migrating", Some(json!({ "timeRemainingSecs": secs })), false);
        self.tell(now, "persistState", Some(json!({ "isMigrating": true })), false);
    }

    /// A measurement (`EVT-6` to `EVT-8`).
    pub(crate) fn tell_system_info(&self, now: Timestamp, sample: &Sample, memory_mbytes: u32) {
        // In percent of one core, as are the measurements (RES-1).
        let granted = f64::from(memory_mbytes) / 4096.0 * 100.0;
        let data = json!({
            "memAvgBytes": sample.memory_avg,
            "memCurrentBytes": sample.memory,
            "memMaxBytes": u64::from(memory_mbytes) << 20,
            "cpuAvgUsage": sample.cpu_avg,
            "cpuMaxUsage": sample.cpu_max,
            "cpuCurrentUsage": sample.cpu,
            "isCpuOverloaded": sample.cpu > granted * 0.95,
            "createdAt": now,
        });
        self.tell(now, "systemInfo", Some(data), true);
    }
}

impl Engine {
    /// The events of a live run; `None` if there is none of that id and secret, or it has ended (`EVT-4`).
    pub fn events(&self, run: &RunId, secret: &str) -> Option<EventStream> {
        let live = self.inner.runs.get(run)?;
        if !same(&self.inner.keys.events_secret(run), secret) {
            return None;
        }
        Some(ReceiverStream::new(live.audience.join()?).boxed())
    }
}
