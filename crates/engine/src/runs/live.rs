//! A run while it lives.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use drivers::{Job, JobKind};
use model::{Run, RunId, RunUsage, Timestamp};
use parking_lot::Mutex;

use crate::events::Audience;
use crate::live::Live;
use crate::runs::figures::Samples;
use crate::{Engine, EngineError};

/// One stretch of a run, from its start or resurrection to its end and a minute beyond, for late calls with its token.
pub(crate) struct LiveRun {
    live: Live<Run>,
    pub(crate) id: RunId,
    pub(crate) token: String,
    pub(crate) audience: Audience,
    /// Metered and not written down yet.
    pub(crate) usage: Mutex<RunUsage>,
    /// Measured and not written down yet.
    pub(crate) samples: Mutex<Samples>,
    /// Whether the web server of a Standby run has answered (`STB-4`).
    pub(crate) is_web_server_ready: AtomicBool,
}

impl Deref for LiveRun {
    type Target = Live<Run>;

    fn deref(&self) -> &Live<Run> {
        &self.live
    }
}

/// The life of the run that is wanted.
pub(crate) fn job_of(run: &Run) -> Job {
    job(&run.id, run.life)
}

/// The secret of a run's web server as it is looked up: host names come in small letters.
pub(crate) fn container_key(secret: &str) -> String {
    secret.to_ascii_lowercase()
}

pub(crate) fn job(id: &RunId, life: u32) -> Job {
    Job { kind: JobKind::Run, id: id.to_string(), life }
}

impl Engine {
    /// Takes a run among the living.
    pub(crate) fn enliven(&self, run: Arc<Run>) -> Arc<LiveRun> {
        let live = Arc::new(LiveRun {
            id: run.id,
            token: self.inner.keys.run_token(&run.id),
            audience: Audience::default(),
            usage: Mutex::default(),
            samples: Mutex::default(),
            is_web_server_ready: AtomicBool::new(false),
            live: Live::new(run),
        });
        self.inner.runs.insert(live.id, live.clone());
        self.inner.web_servers.insert(container_key(&live.state().container_secret), live.clone());
        self.join_standby(&live);
        live
    }

    /// Takes exactly this one from among the living.
    pub(crate) fn bury(&self, live: &Arc<LiveRun>) {
        self.inner.runs.remove(&live.id, live);
        self.inner.web_servers.remove(&container_key(&live.state().container_secret), live);
    }

    /// Changes a run in one transaction and tells its supervisor. Whatever `decide` refuses stays as it is.
    ///
    /// Goes on if the caller goes away.
    pub(crate) async fn change_run<T: Send + 'static>(
        &self,
        id: &RunId,
        decide: impl FnMut(&mut Run) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<(Arc<Run>, T), EngineError> {
        let (run, decided) = self.change_run_once(id, None, decide).await?;
        let decided = decided.ok_or_else(|| anyhow::anyhow!("the store did not apply a change to run {id}"))?;
        Ok((run, decided))
    }

    /// As [`change_run`](Self::change_run), but only once for each key used since that time; `None` if it was used.
    pub(crate) async fn change_run_once<T: Send + 'static>(
        &self,
        id: &RunId,
        once: Option<(String, Timestamp)>,
        mut decide: impl FnMut(&mut Run) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<(Arc<Run>, Option<T>), EngineError> {
        let (engine, id) = (self.clone(), *id);
        self.carry_through(async move {
            let decision = Arc::new(Mutex::new(None));
            let live = engine.inner.runs.get(&id);
            let _turn = match &live {
                Some(live) => Some(live.turn.lock().await),
                None => None,
            };
            let change = {
                let decision = decision.clone();
                Box::new(move |run: &mut Run| {
                    let before = run.clone();
                    let decided = decide(run);
                    let keep = decided.is_ok() && *run != before;
                    *decision.lock() = Some(decided);
                    keep
                })
            };
            let runs = &engine.inner.store.runs;
            let run = match once {
                Some((key, remember_from)) => runs.modify_once(&id, &key, remember_from, change).await?,
                None => runs.modify(&id, change).await?,
            };
            let decided = decision.lock().take().transpose()?;
            if let Some(live) = &live {
                live.publish(run.clone());
            }
            Ok((run, decided))
        })
        .await
    }

    /// A port of this machine that nobody listens on and no other live run was given.
    pub(crate) fn free_port(&self) -> std::io::Result<u16> {
        let given: HashSet<u16> = self.inner.runs.all().iter().filter_map(|live| live.state().web_port).collect();
        loop {
            let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            if !given.contains(&port) {
                return Ok(port);
            }
        }
    }
}
