//! The keeper of a pool: one task that starts and stops its runs until nothing is left in it.

use std::sync::Arc;
use std::time::Duration;

use model::{EndCause, Origin, RunId, Standby};
use store::Noun;
use tracing::{info, warn};

use super::pool::{Orders, Pool, Recipe};
use super::{StandbyError, StandbyOf};
use crate::runs::{Asked, RunOptionsGiven, StartRun};
use crate::supervision::{Backoff, is_passing};
use crate::{Caller, Engine, EngineError};

/// How often the settings are read again while no request does it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    pub(super) fn keep(&self, pool: Arc<Pool>) {
        let engine = self.clone();
        self.spawn(async move {
            loop {
                if !pool.is_set() {
                    engine.look_at_settings(&pool).await;
                }
                // Without settings nothing can be said of the runs that are there.
                let orders = if pool.is_set() { pool.orders() } else { Orders::default() };
                for run in orders.stop {
                    engine.let_go(run);
                }
                for _ in 0..orders.start {
                    engine.start_for(pool.clone());
                }
                if engine.close_if_empty(&pool) {
                    return;
                }
                let until_idle = orders.look_again.map_or(LOOK_EVERY, |time| {
                    let millis = time.millis_since(engine.now()).max(1);
                    LOOK_EVERY.min(Duration::from_millis(millis.unsigned_abs()))
                });
                tokio::select! {
                    () = pool.wake.notified() => {}
                    () = tokio::time::sleep(until_idle) => engine.look_at_settings(&pool).await,
                }
            }
        });
    }

    /// Stops a run that takes no more requests, however often the store stumbles.
    fn let_go(&self, run: RunId) {
        let engine = self.clone();
        self.spawn(async move {
            info!(run.id = %run, "Stopping Standby run {run}, which is not needed any more");
            let mut backoff = Backoff::default();
            while let Err(error) = engine.ask_abort(&run, true, EndCause::Idle, None).await
                && is_passing(&error)
            {
                warn!(run.id = %run, %error, "Cannot stop Standby run {run}; trying again");
                backoff.wait().await;
            }
        });
    }

    /// Notices that Standby was switched off, or that its build or settings are others now.
    async fn look_at_settings(&self, pool: &Arc<Pool>) {
        match self.settings_of(pool).await {
            Ok((standby, recipe)) => pool.update(&standby, recipe),
            Err(error) => warn!(?pool.key, %error, "Cannot look at the settings of a Standby"),
        }
    }

    /// The settings of a pool; without a recipe if there is no build to be run, which is no reason to stop those that run.
    async fn settings_of(&self, pool: &Pool) -> Result<(Standby, Option<Recipe>), EngineError> {
        let Some(of) = self.standby_of(pool).await? else { return Ok((Standby::default(), None)) };
        let standby = of.settings();
        let recipe = self.recipe(&of.actor, &standby).await.ok();
        Ok((standby, recipe))
    }

    /// What a pool is of, if its user may still run it.
    async fn standby_of(&self, pool: &Pool) -> Result<Option<StandbyOf>, EngineError> {
        let store = &self.inner.store;
        let task = match &pool.key.task {
            Some(id) => {
                let task = store.tasks.get(id).await?.filter(|task| task.user_id == pool.key.user);
                let Some(task) = task else { return Ok(None) };
                Some(task)
            }
            None => None,
        };
        let actor = store.actors.get(&pool.key.actor).await?;
        let visible = actor.filter(|actor| actor.is_public || actor.user_id == pool.key.user);
        Ok(visible.map(|actor| StandbyOf { actor, task }))
    }

    /// Starts a run, which joins the pool by itself.
    fn start_for(&self, pool: Arc<Pool>) {
        let engine = self.clone();
        self.spawn(async move {
            let failure = match engine.start_standby_run(&pool).await {
                Ok(()) => None,
                Err(error) => {
                    warn!(?pool.key, %error, "Cannot start a Standby run");
                    Some(StandbyError::from(error))
                }
            };
            pool.born(failure);
        });
    }

    async fn start_standby_run(&self, pool: &Pool) -> Result<(), EngineError> {
        let of = self.standby_of(pool).await?.ok_or(EngineError::NotFound(Noun::Actor))?;
        let user = self.user(&pool.key.user).await?.ok_or(EngineError::NotFound(Noun::User))?;
        let standby = of.settings();
        let start = StartRun {
            given: RunOptionsGiven {
                build: Some(standby.build.clone()),
                memory_mbytes: Some(i64::try_from(standby.memory_mbytes).unwrap_or(i64::MAX)),
                timeout_secs: Some(0),
                ..RunOptionsGiven::default()
            },
            force_permission_level: None,
            input: None,
            without_dev_folder: false,
            asked: Asked { origin: Origin::Standby, client_ip: None, user_agent: None, workflow_key: None },
            task: None,
            scheduled: None,
            webhooks: Vec::new(),
            without_input: !standby.should_pass_actor_input,
        };
        let caller = Caller::of(user);
        let run = match &of.task {
            Some(task) => self.start_task(&caller, task, start).await?,
            None => self.start_run(&caller, &of.actor, start).await?,
        };
        info!(run.id = %run.id, "Starting Standby run {}", run.id);
        Ok(())
    }
}
