//! Standby: requests find a run that is ready for them; runs are started when requests need them and stopped when none do.
//!
//! Which run gets a request, and whether one is started or stopped, [`model::Standby`] decides. A [`Pool`] holds the runs
//! of one Standby and the requests that wait; each run has an attendant that tells the pool how far it is; and a keeper
//! carries out what is decided. Nothing of it is stored: every live run of origin `STANDBY` joins its pool, so a server
//! that starts again finds its pools as they were.

mod attend;
mod error;
mod keep;
mod pool;
mod probe;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Actor, ActorId, Origin, Standby, Task, TaskId, UserId};
use parking_lot::Mutex;

pub use self::error::StandbyError;
pub use self::pool::StandbyPlace;
use self::pool::{Asked, Pool, Recipe};
use crate::runs::{LiveRun, may_start, permission_level};
use crate::{Caller, Engine, EngineError};

/// How long a request waits for a run at most (`STB-3`).
const PATIENCE: Duration = Duration::from_secs(120);

/// The pools that have runs or waiting requests.
#[derive(Default)]
pub(crate) struct Pools(Mutex<HashMap<PoolKey, Arc<Pool>>>);

/// What a pool is for. Runs are never shared between users (`STB-8`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    user: UserId,
    actor: ActorId,
    task: Option<TaskId>,
}

/// What is on Standby: an Actor, or a task with its Actor.
#[derive(Clone, Debug)]
pub struct StandbyOf {
    /// The Actor.
    pub actor: Arc<Actor>,
    /// The task; `None` for the Actor's own Standby.
    pub task: Option<Arc<Task>>,
}

impl StandbyOf {
    /// The settings in force.
    pub fn settings(&self) -> Standby {
        let actors = self.actor.actor_standby.clone().unwrap_or_default();
        match &self.task {
            Some(task) => actors.of_task(task.actor_standby.as_ref()),
            None => actors,
        }
    }
}

impl Engine {
    /// A place for one request with a Standby run of the Actor or task, which is held until the place is dropped. Without a run that
    /// can take the request it waits, two minutes at most, while one is started (`STB-3`).
    ///
    /// # Errors
    /// `NotEnabled`; `Crowded`, `NotReady`, `RunFinished` if no run could take it; whatever keeps a run from being started.
    pub async fn standby_place(&self, caller: &Caller, of: &StandbyOf) -> Result<StandbyPlace, StandbyError> {
        let key = PoolKey { user: caller.user.id, actor: of.actor.id, task: of.task.as_ref().map(|task| task.id) };
        let standby = of.settings();
        if !standby.is_enabled {
            if let Some(pool) = self.known_pool(&key) {
                pool.update(&standby, None);
            }
            return Err(StandbyError::NotEnabled);
        }
        // Whoever may not start a run may not use one that others of the same user have started.
        match &of.task {
            Some(task) => {
                permission_level(caller, &of.actor, None)?;
                self.check_may_run(caller, task).await?;
            }
            None => drop(may_start(caller, &of.actor, None)?),
        }
        let recipe = self.recipe(&of.actor, &standby).await?;
        let answer = loop {
            match self.pool(key).ask(&standby, recipe) {
                Asked::Place(place) => return Ok(place),
                Asked::Wait(answer) => break answer,
                Asked::Crowded => return Err(StandbyError::Crowded),
                Asked::Closed => {}
            }
        };
        tokio::select! {
            answer = answer => answer.unwrap_or(Err(StandbyError::NotReady)),
            () = tokio::time::sleep(PATIENCE) => Err(StandbyError::NotReady),
            () = self.inner.stop.cancelled() => Err(EngineError::ShuttingDown.into()),
        }
    }

    /// Takes a live run into its pool, if it is one of Standby's.
    pub(crate) fn join_standby(&self, live: &Arc<LiveRun>) {
        let run = live.state();
        if run.meta.origin != Origin::Standby || run.status.is_terminal() {
            return;
        }
        let key = PoolKey { user: run.user_id, actor: run.actor_id, task: run.task_id };
        let pool = loop {
            let pool = self.pool(key);
            if pool.join(&run) {
                break pool;
            }
        };
        self.attend(pool, live.clone());
    }

    /// What new runs of a Standby are made of now.
    async fn recipe(&self, actor: &Actor, standby: &Standby) -> Result<Recipe, EngineError> {
        let build = self.resolve_build(actor, Some(&standby.build)).await?;
        Ok(Recipe { build: build.id, memory_mbytes: standby.memory_mbytes })
    }

    /// The pool of that key, with a keeper.
    fn pool(&self, key: PoolKey) -> Arc<Pool> {
        let mut pools = self.inner.standby.0.lock();
        if let Some(pool) = pools.get(&key) {
            return pool.clone();
        }
        let pool = Arc::new(Pool::new(key, self.inner.clock.clone()));
        pools.insert(key, pool.clone());
        self.keep(pool.clone());
        pool
    }

    fn known_pool(&self, key: &PoolKey) -> Option<Arc<Pool>> {
        self.inner.standby.0.lock().get(key).cloned()
    }

    /// Forgets a pool that has neither runs nor requests. Tells whether it did.
    fn close_if_empty(&self, pool: &Pool) -> bool {
        let mut pools = self.inner.standby.0.lock();
        let closed = pool.close_if_empty();
        if closed {
            pools.remove(&pool.key);
        }
        closed
    }

    /// The runs of a user's Standby and how many requests each is answering, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn standby_runs(&self, user: &UserId, of: &StandbyOf) -> Vec<(model::RunId, u64)> {
        let key = PoolKey { user: *user, actor: of.actor.id, task: of.task.as_ref().map(|task| task.id) };
        self.known_pool(&key).map(|pool| pool.runs()).unwrap_or_default()
    }
}
