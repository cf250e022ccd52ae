//! What an account may use (`START-7`, `USR-7`), and how long it keeps what it has made (`RET-1`, `U8`).

use std::time::Duration;

use model::{Timestamp, Used, User, UserId};
use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use crate::runs::figures_at;
use crate::{Engine, EngineError};

/// How often is looked for what has expired.
const LOOKED_EVERY: Duration = Duration::from_secs(3600);
/// Runs of an account that never expire, the newest.
const RUNS_KEPT: u64 = 10;
/// Runs or storages that one step deletes, and the pause after it.
const STEP: u64 = 100;
const PAUSE: Duration = Duration::from_millis(100);
const DAY_MILLIS: i64 = 86_400_000;

/// Limits that a user sets for itself, as they are to be changed. `None` leaves a limit as it is, `Some(None)` takes it away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsChange {
    /// Usage of a month in US dollars.
    pub max_monthly_usage_usd: Option<Option<f64>>,
    /// Days that runs and unnamed storages are kept.
    pub data_retention_days: Option<Option<u32>>,
}

/// What the live jobs of a user hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Memory of runs and builds, in megabytes.
    pub memory_mbytes: u32,
    /// Runs.
    pub runs: u32,
    /// Builds.
    pub builds: u32,
}

/// Nothing else of the account starts while this is held, so that two who look at once do not both find room.
pub(crate) type StartingTurn = Option<OwnedMutexGuard<()>>;

impl Engine {
    /// What of that account's jobs is alive.
    pub fn held(&self, user: &UserId) -> Held {
        let mut held = Held::default();
        for run in self.inner.runs.all().iter().map(|live| live.state()) {
            if run.user_id == *user && !run.status.is_terminal() {
                held.memory_mbytes = held.memory_mbytes.saturating_add(run.options.memory_mbytes);
                held.runs += 1;
            }
        }
        for build in self.inner.builds.all().iter().map(|live| live.state()) {
            if build.user_id == *user && !build.status.is_terminal() {
                held.memory_mbytes = held.memory_mbytes.saturating_add(build.options.memory_mbytes);
                held.builds += 1;
            }
        }
        held
    }

    /// The memory that the jobs of an account may hold at once, in megabytes, if that is limited.
    pub fn memory_limit(&self, user: &User) -> Option<u32> {
        user.max_memory_mbytes.or(self.inner.config.user_memory_mbytes)
    }

    /// The runs that an account may have at once, if that is limited.
    pub fn runs_limit(&self, user: &User) -> Option<u32> {
        user.max_concurrent_runs.or(self.inner.config.user_concurrent_runs)
    }

    /// The days that an account keeps runs and unnamed storages, if they end.
    pub fn retention_days(&self, user: &User) -> Option<u32> {
        user.data_retention_days.or(self.inner.config.retention_days)
    }

    /// Lets a job of that memory start if the account has room for it.
    ///
    /// # Errors
    /// `MemoryLimitExceeded`; `ConcurrentRunsLimitExceeded`; `MonthlyUsageExceeded`.
    pub(crate) async fn admit_to_account(
        &self,
        user: &UserId,
        memory_mbytes: u32,
        is_run: bool,
    ) -> Result<StartingTurn, EngineError> {
        let Some(user) = self.user(user).await? else { return Ok(None) };
        if is_run && let Some(limit) = user.max_monthly_usage_usd {
            let used = self.used_this_month(&user.id).await?.in_usd(&self.inner.config.prices);
            if used >= limit {
                return Err(EngineError::MonthlyUsageExceeded { limit });
            }
        }
        let (memory, runs) = (self.memory_limit(&user), self.runs_limit(&user));
        if memory.is_none() && runs.is_none() {
            return Ok(None);
        }
        let turn = self.inner.accounts.starting.clone().lock_owned().await;
        let held = self.held(&user.id);
        if let Some(limit) = memory.filter(|limit| held.memory_mbytes.saturating_add(memory_mbytes) > *limit) {
            let used = held.memory_mbytes;
            return Err(EngineError::MemoryLimitExceeded { limit, used, requested: memory_mbytes });
        }
        if let Some(limit) = runs.filter(|limit| is_run && held.runs >= *limit) {
            return Err(EngineError::ConcurrentRunsLimitExceeded { limit });
        }
        Ok(Some(turn))
    }

    /// What an account used on each day between two moments, with what its live runs have used beyond what is written down,
    /// which counts today.
    ///
    /// # Errors
    /// Of the store.
    pub async fn used(
        &self,
        user: &UserId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Used)>, EngineError> {
        let mut days = self.inner.store.runs.used(user, from, to).await?;
        let now = self.now();
        if now < from || now > to {
            return Ok(days);
        }
        let mut fresh = Used::default();
        for run in self.inner.runs.all().iter().map(|live| live.state()) {
            if run.user_id == *user && run.running_since.is_some() && !run.status.is_terminal() {
                fresh.usage.add(&figures_at(&run, now).1.since(&run.usage));
            }
        }
        if fresh != Used::default() {
            let today = Timestamp::from_millis(now.as_millis().div_euclid(DAY_MILLIS) * DAY_MILLIS);
            match days.last_mut().filter(|(day, _)| *day == today) {
                Some((_, used)) => used.add(&fresh),
                None => days.push((today, fresh)),
            }
        }
        Ok(days)
    }

    async fn used_this_month(&self, user: &UserId) -> Result<Used, EngineError> {
        let now = self.now();
        let Some((start, end)) = now.month() else { return Ok(Used::default()) };
        let mut sum = Used::default();
        for (_, used) in self.used(user, start, end).await? {
            sum.add(&used);
        }
        Ok(sum)
    }

    /// Changes the limits that users set for themselves.
    ///
    /// # Errors
    /// `NotFound(User)`.
    pub async fn set_limits(&self, user: &UserId, change: LimitsChange) -> Result<(), EngineError> {
        let LimitsChange { max_monthly_usage_usd, data_retention_days } = change;
        self.modify_user(user, move |user| {
            user.max_monthly_usage_usd = max_monthly_usage_usd.unwrap_or(user.max_monthly_usage_usd);
            user.data_retention_days = data_retention_days.unwrap_or(user.data_retention_days);
        })
        .await
        .map(drop)
    }

    pub(crate) fn expire_now_and_then(&self) {
        let engine = self.clone();
        self.spawn(async move {
            loop {
                tokio::time::sleep(LOOKED_EVERY).await;
                if let Err(error) = engine.expire().await {
                    warn!(%error, "Cannot delete what has expired; trying again later");
                }
            }
        });
    }

    /// Deletes what has been kept long enough: finished runs that are not among the newest of their account, with what lives
    /// with them, and unnamed storages that nobody has used since. Goes on in small steps.
    ///
    /// # Errors
    /// Of the store.
    pub async fn expire(&self) -> Result<(), EngineError> {
        let store = &self.inner.store;
        for user in store.users.list().await? {
            let Some(days) = self.retention_days(&user) else { continue };
            let before = self.now().plus_millis(-i64::from(days) * DAY_MILLIS);
            loop {
                let old = store.runs.old(&user.id, before, RUNS_KEPT, STEP).await?;
                for id in &old {
                    match self.delete_run(id).await {
                        // Somebody else was faster, or the run has just been resurrected.
                        Ok(()) | Err(EngineError::NotFound(_) | EngineError::CannotRemoveRunningRun) => {}
                        Err(error) => return Err(error),
                    }
                }
                if (old.len() as u64) < STEP {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            while store.storages.expire(&user.id, before, STEP).await? {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::JobStatus;

    use super::*;
    use crate::EngineConfig;
    use crate::RunOptionsGiven;
    use crate::testing::{TestEngine, start};

    fn of(mbytes: u32) -> RunOptionsGiven {
        RunOptionsGiven { memory_mbytes: Some(i64::from(mbytes)), ..RunOptionsGiven::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_starts_no_more_than_its_memory_holds() {
        let config = EngineConfig { user_memory_mbytes: Some(1024), memory_mbytes: 4096, ..EngineConfig::default() };
        let test = TestEngine::start_with(config).await;
        let first = test.running(of(512)).await;
        test.run_with(of(256)).await;

        let refused = test.engine.start_run(&test.ada, &test.actor, start(of(512))).await.unwrap_err();

        let words = "By launching this job you will exceed the memory limit of 1024MB for all your Actor runs and builds \
                     (currently used: 768MB, requested: 512MB).";
        assert_eq!(refused.to_string(), words);
        let bob = crate::Caller::of(test.engine.create_user("bob").await.unwrap());
        test.engine.start_run(&bob, &test.actor, start(of(512))).await.unwrap();
        test.exit(&first.id, 0);
        test.ended(&first.id).await;
        test.engine.start_run(&test.ada, &test.actor, start(of(512))).await.unwrap();
        let again = test.engine.resurrect_run(&first.id, RunOptionsGiven::default()).await.unwrap_err();
        assert!(matches!(again, EngineError::MemoryLimitExceeded { used: 768, requested: 512, .. }), "{again}");
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_start_at_once_only_those_within_the_limit_do() {
        let test = TestEngine::start().await;
        let limit = |user: &mut User| user.max_concurrent_runs = Some(3);
        test.engine.modify_user(&test.ada.user.id, limit).await.unwrap();

        let starts = (0..8).map(|_| test.engine.start_run(&test.ada, &test.actor, start(of(128))));
        let outcomes = futures::future::join_all(starts).await;

        let (started, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((started.len(), refused.len()), (3, 5));
        for refusal in refused {
            assert!(matches!(refusal, Err(EngineError::ConcurrentRunsLimitExceeded { limit: 3 })));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_starts_when_the_month_is_used_up_until_the_next() {
        let test = TestEngine::start().await;
        let run = test.running(RunOptionsGiven { timeout_secs: Some(0), ..of(1024) }).await;
        let change = LimitsChange { max_monthly_usage_usd: Some(Some(0.5)), ..LimitsChange::default() };
        test.engine.set_limits(&test.ada.user.id, change).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        test.run_with(of(128)).await;

        // A gigabyte for two hours costs 0.80 dollars, whether that is written down or not.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let alive = test.engine.start_run(&test.ada, &test.actor, start(of(128))).await;
        test.exit(&run.id, 0);
        test.ended(&run.id).await;
        let ended = test.engine.start_run(&test.ada, &test.actor, start(of(128))).await;

        for refused in [alive, ended] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.to_string(), "Monthly usage hard limit exceeded");
        }
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        test.run_with(of(128)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_goes_but_for_the_newest_runs_and_what_has_a_name() {
        let test = TestEngine::start().await;
        let store = test.engine.store().clone();
        let mut runs = Vec::new();
        for _ in 0..12 {
            let run = test.running(of(128)).await;
            test.exit(&run.id, 0);
            test.ended(&run.id).await;
            runs.push(run);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let named = store::StorageChange { name: Some(Some("kept".to_owned())), ..Default::default() };
        store.storages.update(&runs[0].storages.dataset, named).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2 * 86_400)).await;
        test.engine.expire().await.unwrap();
        assert!(store.runs.get(&runs[0].id).await.unwrap().is_some(), "by default everything is kept");

        let change = LimitsChange { data_retention_days: Some(Some(1)), ..LimitsChange::default() };
        test.engine.set_limits(&test.ada.user.id, change).await.unwrap();
        test.engine.expire().await.unwrap();

        for (at, run) in runs.iter().enumerate() {
            let run = store.runs.get(&run.id).await.unwrap();
            assert_eq!(run.is_some(), at >= 2, "{at}");
        }
        assert!(store.storages.get(&runs[0].storages.dataset).await.unwrap().is_some(), "U9");
        assert!(store.storages.get(&runs[0].storages.key_value_store).await.unwrap().is_none());
        assert!(store.storages.get(&runs[5].storages.dataset).await.unwrap().is_some());
        assert_eq!(store.runs.get(&runs[5].id).await.unwrap().unwrap().status, JobStatus::Succeeded);
    }
}
