//! The engine as an object.

use std::sync::Arc;

use drivers::Driver;
use model::{BuildId, Random, RunId, SharedClock, Timestamp};
use store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::admission::Admission;
use crate::builds::{LiveBuild, Views};
use crate::input_secrets::InputKeys;
use crate::live::Registry;
use crate::logs::Tails;
use crate::runs::LiveRun;
use crate::sealing::Keys;
use crate::standby::Pools;
use crate::webhooks::Courier;
use crate::{EngineConfig, EngineError, Parts};

/// Everything that decides. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) courier: Arc<dyn Courier>,
    pub(crate) clock: SharedClock,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) config: EngineConfig,
    pub(crate) keys: Keys,
    pub(crate) accounts: Accounts,
    pub(crate) input_keys: InputKeys,
    pub(crate) admission: Admission,
    pub(crate) runs: Registry<RunId, LiveRun>,
    pub(crate) builds: Registry<BuildId, LiveBuild>,
    /// Live runs by the secret in the address of their web server.
    pub(crate) web_servers: Registry<String, LiveRun>,
    pub(crate) standby: Pools,
    pub(crate) views: Views,
    pub(crate) tails: Tails,
    /// Wakes the clockwork of schedules when one was made or changed.
    pub(crate) scheduler: Notify,
    /// Ends every task of the engine; what they left half done is taken up again by the next engine.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    #[cfg(any(test, feature = "testing"))]
    pub(crate) crash_points: crate::testing::CrashPoints,
}

impl Engine {
    /// Makes an engine of its parts. Nothing happens in the background until [`recover`](Self::recover).
    ///
    /// # Errors
    /// If the directory for work cannot be made.
    pub async fn open(parts: Parts) -> Result<Self, EngineError> {
        tokio::fs::create_dir_all(&parts.config.work_dir)
            .await
            .map_err(|error| anyhow::Error::new(error).context("cannot make the directory for builds"))?;
        let inner = Inner {
            keys: Keys::of(&parts.secret),
            accounts: Accounts::default(),
            input_keys: InputKeys::default(),
            admission: Admission::new(parts.config.memory_mbytes, parts.config.concurrent_builds),
            runs: Registry::default(),
            builds: Registry::default(),
            web_servers: Registry::default(),
            standby: Pools::default(),
            views: Views::default(),
            tails: Tails::default(),
            scheduler: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            #[cfg(any(test, feature = "testing"))]
            crash_points: crate::testing::CrashPoints::default(),
            store: parts.store,
            driver: parts.driver,
            courier: parts.courier,
            clock: parts.clock,
            random: parts.random,
            config: parts.config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Lets go of all runs and builds, which go on without the server, and writes down what was metered.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.flush_figures().await;
    }

    /// Where everything is kept.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Where runs and builds happen.
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.inner.driver
    }

    /// Tells the time.
    pub fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    /// Makes ids and secrets.
    pub fn random(&self) -> &dyn Random {
        &*self.inner.random
    }

    /// The settings.
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Starts a task that ends with the engine, wherever it stands.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.inner.stop.clone();
        self.inner.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Carries `work` through even if the caller goes away meanwhile: a client that hangs up must not leave a change
    /// stored that no supervisor has heard of.
    pub(crate) async fn carry_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        match self.inner.tasks.spawn(work).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::Internal(anyhow::Error::new(error).context("the work was broken off"))),
        }
    }

    /// Where a test may let the server die.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) async fn crash_point(&self, name: &'static str) {
        self.inner.crash_points.reached(name).await;
    }

    #[cfg(not(any(test, feature = "testing")))]
    #[expect(clippy::unused_async, reason = "waits in tests only")]
    pub(crate) async fn crash_point(&self, _name: &'static str) {}
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("driver", &self.inner.driver.name()).finish_non_exhaustive()
    }
}
