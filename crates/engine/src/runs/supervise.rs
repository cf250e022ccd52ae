//! The supervisor of a run: one task that looks at what is stored and at what is really there until both have ended.
//!
//! Callers never touch the driver. They change what is stored, which wakes the supervisor, and it does what is missing: so
//! a server that dies in between only has to look again.

use std::sync::Arc;
use std::time::Duration;

use drivers::{Exit, ExitCause, Job, Observed, Stop, Usage};
use model::{ABORT_GRACE_SECS, EndCause, JobEvent, JobStatus, Run, Timestamp, step};
use store::JobLog;
use tokio::time::{MissedTickBehavior, interval_at};
use tracing::{info, warn};

use crate::admission::Admitted;
use crate::runs::LiveRun;
use crate::runs::end::{Ending, end, ending_of};
use crate::runs::launch::{Launched, deadline_from};
use crate::runs::live::{job, job_of};
use crate::supervision::{Backoff, is_passing};
use crate::{Engine, EngineError};

/// How often a run is measured (`EVT-6`).
const MEASURED_EVERY: Duration = Duration::from_secs(1);
/// How long a Standby run that nobody uses any more has to end by itself before it gets the stop signal (`STB-6`).
const SIGNALLED_AFTER_SECS: i64 = 5;
/// How long a run is remembered after its end, for late metering and calls with its token.
const REMEMBERED: Duration = Duration::from_secs(model::TOKEN_GRACE_SECS.unsigned_abs());

/// What the server that supervised a run before leaves to the next.
pub(crate) struct TakenUp {
    /// Its share of the memory, if it is running.
    pub(crate) admitted: Admitted,
}

struct Supervisor {
    engine: Engine,
    live: Arc<LiveRun>,
    admitted: Admitted,
}

impl Engine {
    /// Starts the supervisor of a live run.
    pub(crate) fn supervise_run(&self, live: Arc<LiveRun>, taken_up: Option<TakenUp>) {
        let engine = self.clone();
        self.spawn(async move {
            let supervisor = |taken_up| {
                let supervisor = Supervisor { engine: engine.clone(), live: live.clone(), admitted: None };
                supervisor.run(taken_up)
            };
            let again = || {
                let run = live.state();
                let is_running = run.status != JobStatus::Ready;
                let admitted = is_running.then(|| engine.inner.admission.running(run.options.memory_mbytes)).flatten();
                (!run.status.is_terminal()).then(|| supervisor(Some(TakenUp { admitted })))
            };
            engine.keep_supervised(supervisor(taken_up), again).await;
        });
    }
}

impl Supervisor {
    async fn run(mut self, taken_up: Option<TakenUp>) {
        if let Some(taken_up) = taken_up {
            self.admitted = taken_up.admitted;
            self.look_around().await;
        }
        loop {
            let run = self.live.state();
            match run.status {
                status if status.is_terminal() => break,
                JobStatus::Ready => self.admit_and_launch().await,
                JobStatus::Running if run.started_life < run.life => self.launch(&run).await,
                _ if run.started_life < run.life => self.stop_between_lives(&run).await,
                _ => self.watch(&run).await,
            }
        }
        self.clean_up().await;
    }

    /// Notices a life that the former server launched without living to write it down.
    async fn look_around(&self) {
        let run = self.live.state();
        self.engine.hand_over_secrets(&run).await;
        if run.started_life < run.life && self.engine.observe(&job_of(&run)).await != Observed::Unknown {
            let timeout_at = deadline_from(&run, self.engine.now());
            self.engine.note_started(&run, None, timeout_at).await;
        }
    }

    /// Waits for memory, then launches; an abort ends the wait.
    async fn admit_and_launch(&mut self) {
        if self.admitted.is_none() {
            let memory = self.live.state().options.memory_mbytes;
            let admission = self.engine.inner.admission.run(memory);
            tokio::pin!(admission);
            self.admitted = loop {
                tokio::select! {
                    admitted = &mut admission => break admitted,
                    () = self.live.changed() => {
                        if self.live.state().status != JobStatus::Ready {
                            return;
                        }
                    }
                }
            };
        }
        let run = self.live.state();
        if run.status == JobStatus::Ready {
            self.launch(&run).await;
        }
    }

    async fn launch(&self, run: &Run) {
        match self.engine.launch(run).await {
            Launched::Running => info!(run.id = %run.id, run.life, "Started run {}", run.id),
            Launched::Overtaken => {}
            Launched::Impossible(reason) => {
                self.note_end_without_exit(run, ExitCause::Failed { reason }).await;
            }
        }
    }

    /// Watches one life until it has ended, another is wanted, or the run is over.
    async fn watch(&self, watched: &Run) {
        let job = job_of(watched);
        let exit = self.engine.exit_of(&job);
        tokio::pin!(exit);
        let mut measuring = interval_at(tokio::time::Instant::now(), MEASURED_EVERY);
        measuring.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_warned, mut is_signalled, mut is_killed, mut is_migrating) = (false, false, false, false);
        loop {
            let run = self.live.state();
            if run.status.is_terminal() || run.life != watched.life {
                return;
            }
            let now = self.engine.now();
            let is_overdue = run.deadline.is_some_and(|deadline| deadline <= now);
            if is_overdue && run.status == JobStatus::Running {
                self.time_out().await;
                continue;
            }
            if is_overdue && !is_killed {
                self.engine.kill(&job).await;
                is_killed = true;
            }
            let migrate_at = run.migrate_at.filter(|_| run.status == JobStatus::Running && !is_overdue);
            match migrate_at {
                Some(at) if at <= now => {
                    self.migrate().await;
                    continue;
                }
                Some(at) if !is_migrating => {
                    let secs = u64::try_from(at.millis_since(now)).unwrap_or_default().div_ceil(1000);
                    self.live.audience.tell_migrating(now, secs);
                    is_migrating = true;
                }
                _ => {}
            }
            if run.status == JobStatus::Aborting && !is_overdue && !is_warned {
                self.live.audience.tell_aborting(now);
                is_warned = true;
            }
            let signal_at = run.deadline.filter(|_| is_wound_down(&run) && !is_signalled).map(signal_before);
            if signal_at.is_some_and(|at| at <= now) {
                self.signal(&job).await;
                is_signalled = true;
                continue;
            }
            let deadline = signal_at.or(run.deadline).filter(|_| !is_overdue);
            tokio::select! {
                exit = &mut exit => return self.note_exit(&run, &exit).await,
                () = self.live.changed() => {}
                () = self.engine.sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => {}
                () = self.engine.sleep_until(migrate_at.unwrap_or(now)), if migrate_at.is_some() => {}
                _ = measuring.tick() => self.measure(&job, &run).await,
            }
        }
    }

    /// Asks the run's processes to end; those that do not are killed soon.
    async fn signal(&self, job: &Job) {
        if let Err(failure) = self.engine.inner.driver.stop(job, Stop::Signal).await {
            warn!(job.id = %job.id, %failure, "Cannot signal {}", job.id);
        }
    }

    /// The run is to end while one life is dead or dying and the next has not begun.
    async fn stop_between_lives(&self, run: &Run) {
        self.engine.kill(&job(&run.id, run.started_life)).await;
        self.engine.forget(&job(&run.id, run.started_life)).await;
        self.note_end_without_exit(run, ExitCause::Stopped).await;
    }

    async fn note_end_without_exit(&self, run: &Run, cause: ExitCause) {
        let exit = Exit { code: None, cause, at: self.engine.now(), usage: Usage::default() };
        self.note_exit(run, &exit).await;
    }

    async fn time_out(&self) {
        let now = self.engine.now();
        self.insist(move |run| {
            if run.deadline.is_some_and(|deadline| deadline <= now) {
                let (status, _) = step(run.status, JobEvent::DeadlinePassed).map_err(|_| EngineError::JobFinished)?;
                run.status = status;
                run.end_cause = run.end_cause.or((status == JobStatus::TimingOut).then_some(EndCause::Timeout));
            }
            Ok(())
        })
        .await;
    }

    /// The time to save its state is over: the run gets another life.
    async fn migrate(&self) {
        self.insist(|run| {
            if run.migrate_at.take().is_some() && run.status == JobStatus::Running {
                run.life += 1;
            }
            Ok(())
        })
        .await;
    }

    async fn measure(&self, job: &Job, run: &Run) {
        let Ok(Some(usage)) = self.engine.inner.driver.measure(job).await else { return };
        let now = self.engine.now();
        let sample = self.live.samples.lock().take(now, &usage);
        if let Some(sample) = sample {
            self.live.audience.tell_system_info(now, &sample, run.options.memory_mbytes);
        }
    }

    /// Writes down how the life that `seen` shows has ended: the run is over, or starts again.
    async fn note_exit(&self, seen: &Run, exit: &Exit) {
        self.engine.crash_point("before end of run").await;
        let Ok(ending) = ending_of(seen, exit) else { return };
        // The last line stands in the log before anybody can see that the run is over.
        self.engine.say(&JobLog::Run(seen.id), &ending.line()).await;
        if let Ending::Final { status, message, .. } = &ending {
            info!(run.id = %seen.id, run.status = %status, "Run {} ended: {message}", seen.id);
        }
        self.live.samples.lock().take_exit(&exit.usage);
        let figures = self.live.take_figures();
        let (exit, life, now) = (exit.clone(), seen.life, self.engine.now());
        let is_done = self
            .insist(move |run| {
                if run.life != life {
                    return Err(EngineError::JobFinished);
                }
                let ending = ending_of(run, &exit).map_err(|_| EngineError::JobFinished)?;
                run.started_life = life;
                figures.write(run);
                end(run, ending, Some(&exit), now);
                Ok(())
            })
            .await;
        if !is_done {
            self.live.put_back(figures);
        }
    }

    /// Changes the run, however often the store stumbles. Tells whether it did: what is refused was overtaken by another change.
    async fn insist(&self, decide: impl Fn(&mut Run) -> Result<(), EngineError> + Clone + Send + 'static) -> bool {
        let mut backoff = Backoff::default();
        loop {
            match self.engine.change_run(&self.live.id, decide.clone()).await {
                Err(error) if is_passing(&error) => {
                    warn!(run.id = %self.live.id, %error, "Cannot change run {}; trying again", self.live.id);
                    backoff.wait().await;
                }
                Err(EngineError::NotFound(_)) => {
                    // Deleted under our hands: whatever still runs must not.
                    self.engine.kill(&job_of(&self.live.state())).await;
                    self.live.ended.cancel();
                    self.engine.bury(&self.live);
                    return std::future::pending().await;
                }
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Frees what the run held. Repeating it is harmless.
    async fn clean_up(&mut self) {
        let run = self.live.state();
        let log = JobLog::Run(run.id);
        // Whatever happens here, nobody who waits for the end may wait for ever.
        let gone = self.live.gone.clone().drop_guard();
        let ended = self.live.ended.clone().drop_guard();
        self.admitted = None;
        if run.started_life < run.life {
            let message = run.status_message.clone().unwrap_or_default();
            self.engine.say(&log, &message).await;
        }
        self.engine.release_locks(&run).await;
        self.live.audience.dismiss();
        drop(ended);
        self.engine.crash_point("after end of run").await;
        self.engine.seal_log(&log).await;
        self.engine.forget(&job_of(&run)).await;
        drop(gone);

        tokio::time::sleep(REMEMBERED).await;
        self.engine.flush_run(&self.live).await;
        self.engine.bury(&self.live);
    }
}

/// Whether Standby lets the run end. Its last requests are answered, so nothing is lost by telling it in every way.
fn is_wound_down(run: &Run) -> bool {
    run.status == JobStatus::Aborting && run.end_cause == Some(EndCause::Idle)
}

/// When a run that is to be killed at `deadline` gets the stop signal.
fn signal_before(deadline: Timestamp) -> Timestamp {
    let grace = i64::try_from(ABORT_GRACE_SECS).unwrap_or_default();
    deadline.plus_secs(SIGNALLED_AFTER_SECS - grace)
}
