//! The docker driver as the engine sees it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bollard::query_parameters::{KillContainerOptions, StatsOptions};
use futures::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use super::build::{Building, build};
use super::client::{Client, QUICK, SLOW, Trouble};
use super::image::{INSTANCE, info_of, name_of};
use super::life::Life;
use super::network::{self, Reach};
use super::start::{LIFE, RUN, Without, container_name, create_and_start, remove};
use super::stats::usage_of;
use super::watch::{Seen, Watched, blocking, watch};
use super::{DockerConfig, Facts, NetworkChoice, trial};
use crate::{BuildSpec, Driver, DriverError, Exit, ImageInfo, Isolation, Job, JobKind, Observed, RunSpec, Stop, Usage};

/// How long a killed job may take to be gone.
const DYING: Duration = Duration::from_secs(30);

/// Runs and builds in a container engine.
///
/// What this type knows of a life beyond its files and its container is only a cache.
#[derive(Clone, Debug)]
pub struct DockerDriver {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: DockerConfig,
    client: Client,
    reach: OnceCell<Reach>,
    /// Set once a container has reached the server.
    tried: OnceCell<()>,
    without: Mutex<Without>,
    slots: Mutex<HashMap<Job, Arc<Slot>>>,
}

/// What is kept in memory of a life.
#[derive(Debug, Default)]
struct Slot {
    /// One start at a time.
    starting: tokio::sync::Mutex<()>,
    secrets: Mutex<Vec<String>>,
    usage: Mutex<Usage>,
    /// How the task that watches the life, or builds, will end.
    outcome: Mutex<Option<watch::Receiver<Option<Outcome>>>>,
    /// Ends a build.
    stop_build: CancellationToken,
}

/// What the task of a life has to tell.
#[derive(Clone, Debug)]
enum Outcome {
    Exit(Exit),
    /// There is no such container any more.
    Gone,
    Failed(String),
}

impl DockerDriver {
    /// A driver for an engine, which is contacted when it is needed.
    pub fn open(config: DockerConfig) -> Self {
        let client = Client::new(config.endpoint.clone());
        let (reach, tried, without, slots) = Default::default();
        Self { inner: Arc::new(Inner { config, client, reach, tried, without, slots }) }
    }

    /// What the engine says of itself.
    ///
    /// # Errors
    /// If it does not answer, or is too old.
    pub async fn facts(&self) -> Result<Facts, DriverError> {
        Ok(self.inner.client.facts().await?.clone())
    }

    /// How runs reach the server, and where it has to listen for that.
    ///
    /// # Errors
    /// If the engine does not answer, or has no such network.
    pub async fn reach(&self) -> Result<Reach, DriverError> {
        Ok(self.inner.reach().await?.clone())
    }
}

impl Inner {
    fn slot(&self, job: &Job) -> Arc<Slot> {
        self.slots.lock().entry(job.clone()).or_default().clone()
    }

    fn life(&self, job: &Job) -> Result<Life, DriverError> {
        Ok(Life::of(&self.config.data_dir, job).context("cannot find a job")?)
    }

    fn name(&self, job: &Job) -> String {
        container_name(&self.config.instance, job)
    }

    async fn reach(&self) -> Result<&Reach, Trouble> {
        self.reach.get_or_try_init(|| Reach::find(&self.client, &self.config)).await
    }

    async fn start_run(self: &Arc<Self>, spec: &RunSpec) -> Result<(), DriverError> {
        let slot = self.slot(&spec.job);
        let _one_at_a_time = slot.starting.lock().await;
        let life = self.life(&spec.job)?;
        slot.secrets.lock().clone_from(&spec.secrets);
        if life.read_exit().context("cannot read a life")?.is_some() {
            return Ok(());
        }
        if life.begun().context("cannot read a life")?.is_some() {
            // A server that died may have left anything from a name to a container that has ended.
            match self.client.look(&self.name(&spec.job)).await? {
                Seen::Running | Seen::Ended(_) => {
                    self.watch(&spec.job, &slot)?;
                    return Ok(());
                }
                Seen::Created => remove(&self.client, &self.name(&spec.job)).await?,
                Seen::Gone => {}
            }
        }
        let reach = self.reach().await?;
        let image = name_of(&self.config.instance, &spec.build_id);
        if self.config.tries_network {
            self.tried.get_or_try_init(|| trial::try_out(&self.client, &self.config, reach, &image)).await?;
        }
        {
            let (life, log, memory) = (life.clone(), spec.log.clone(), spec.limits.memory_bytes);
            blocking(move || life.note_begun(&log, memory)).await?.context("cannot make the directory of a run")?;
        }
        let started = create_and_start(&self.client, &self.config, reach, spec, &self.without).await;
        match &started {
            Ok(()) => drop(self.watch(&spec.job, &slot)?),
            // It may have been started; the next try, or the next server, looks.
            Err(DriverError::Other(_)) => {}
            Err(_) => life.remove().context("cannot remove what a run left")?,
        }
        started
    }

    /// Sees to it that a task watches the life, and tells where its outcome will be.
    fn watch(self: &Arc<Self>, job: &Job, slot: &Arc<Slot>) -> Result<watch::Receiver<Option<Outcome>>, DriverError> {
        let mut outcome = slot.outcome.lock();
        if let Some(outcome) = outcome.as_ref() {
            return Ok(outcome.clone());
        }
        let life = self.life(job)?;
        let begun = life.begun().context("cannot read a life")?;
        let begun = begun.filter(|_| job.kind == JobKind::Run);
        let begun = begun.ok_or_else(|| DriverError::NoSuchJob(job.id.clone()))?;
        let (sender, receiver) = watch::channel(None);
        *outcome = Some(receiver.clone());
        let watched = Watched {
            name: self.name(job),
            life,
            log: begun.log,
            secrets: slot.secrets.lock().clone(),
            min_free_bytes: self.config.min_free_bytes,
        };
        let (inner, slot) = (self.clone(), slot.clone());
        tokio::spawn(async move {
            let outcome = match watch(&inner.client, watched, || *slot.usage.lock()).await {
                Ok(Some(exit)) => Outcome::Exit(exit),
                Ok(None) => Outcome::Gone,
                Err(error) => Outcome::Failed(format!("{error:#}")),
            };
            // Another task may be wanted, unless the end is known for good.
            *slot.outcome.lock() = None;
            sender.send_replace(Some(outcome));
        });
        Ok(receiver)
    }

    fn start_build(self: &Arc<Self>, spec: &BuildSpec) -> Result<(), DriverError> {
        let slot = self.slot(&spec.job);
        let life = self.life(&spec.job)?;
        let mut outcome = slot.outcome.lock();
        if outcome.is_some() || life.read_exit().context("cannot read a build")?.is_some() {
            return Ok(());
        }
        life.note_begun(&spec.log, spec.limits.memory_bytes).context("cannot make the directory of a build")?;
        let (sender, receiver) = watch::channel(None);
        *outcome = Some(receiver);
        let building = Building {
            instance: self.config.instance.clone(),
            spec: spec.clone(),
            life,
            min_free_bytes: self.config.min_free_bytes,
            in_host_network: self.config.network == NetworkChoice::Host,
            stop: slot.stop_build.clone(),
        };
        let (inner, slot) = (self.clone(), slot.clone());
        tokio::spawn(async move {
            let built = build(&inner.client, building).await;
            *slot.outcome.lock() = None;
            sender.send_replace(Some(match built {
                Ok(exit) => Outcome::Exit(exit),
                Err(error) => Outcome::Failed(format!("{error:#}")),
            }));
        });
        Ok(())
    }

    async fn stop(&self, job: &Job, how: Stop) -> Result<(), DriverError> {
        let life = self.life(job)?;
        if life.begun().context("cannot read a life")?.is_none()
            || life.read_exit().context("cannot read a life")?.is_some()
        {
            return Ok(());
        }
        if job.kind == JobKind::Build {
            return self.stop_build(job, how).await;
        }
        let name = self.name(job);
        life.note_stop().context("cannot write down a stop")?;
        if how == Stop::Signal {
            let signal = self.stop_signal(&name).await?;
            return Ok(self.signal(&name, &signal).await?);
        }
        tokio::time::timeout(DYING, self.kill(&name)).await.context("the engine does not end a container")??;
        Ok(())
    }

    /// The signal that the image asks for.
    async fn stop_signal(&self, name: &str) -> Result<String, Trouble> {
        let config = self.client.inspect(name).await?.and_then(|container| container.config);
        let signal = config.and_then(|config| config.stop_signal).filter(|signal| !signal.is_empty());
        Ok(signal.unwrap_or_else(|| "SIGTERM".to_owned()))
    }

    /// Signals the first process of a container. One that does not run is no error.
    async fn signal(&self, name: &str, signal: &str) -> Result<(), Trouble> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        let sent = self.client.within(QUICK, self.client.docker().await?.kill_container(name, Some(options))).await;
        match sent {
            Ok(()) | Err(Trouble::NotThere(_)) => Ok(()),
            Err(trouble) => match self.client.look(name).await? {
                Seen::Running => Err(trouble),
                _ => Ok(()),
            },
        }
    }

    async fn kill(&self, name: &str) -> Result<(), Trouble> {
        let mut pause = Duration::from_millis(5);
        let mut is_sent = false;
        loop {
            match self.client.look(name).await? {
                Seen::Gone | Seen::Ended(_) => return Ok(()),
                Seen::Created => return remove(&self.client, name).await,
                Seen::Running if !is_sent => {
                    // Frozen processes do not die.
                    let docker = self.client.docker().await?;
                    self.signal(name, "SIGKILL").await?;
                    if self.client.inspect(name).await?.and_then(|found| found.state?.paused) == Some(true) {
                        self.client.within(QUICK, docker.unpause_container(name)).await.ok();
                    }
                    is_sent = true;
                }
                Seen::Running => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    async fn stop_build(&self, job: &Job, how: Stop) -> Result<(), DriverError> {
        let slot = self.slot(job);
        slot.stop_build.cancel();
        let outcome = slot.outcome.lock().clone();
        if let Some(mut outcome) = outcome.filter(|_| how == Stop::Kill) {
            let ended = tokio::time::timeout(SLOW, outcome.wait_for(Option::is_some)).await;
            ended.context("a build does not end")?.ok();
        }
        Ok(())
    }

    async fn measure(&self, job: &Job) -> Result<Option<Usage>, DriverError> {
        let life = self.life(job)?;
        if job.kind == JobKind::Build || life.read_exit().context("cannot read a life")?.is_some() {
            return Ok(None);
        }
        let docker = self.client.docker().await?;
        let name = self.name(job);
        let options = StatsOptions { stream: false, one_shot: true };
        let mut stats = std::pin::pin!(docker.stats(&name, Some(options)));
        let next = async { stats.next().await.transpose() };
        let stats = match self.client.within(QUICK, next).await {
            Ok(Some(stats)) => stats,
            Ok(None) | Err(Trouble::NotThere(_)) => return Ok(None),
            // Engines fail at this in various ways while a container ends.
            Err(trouble) => match self.client.look(&name).await? {
                Seen::Running => return Err(trouble.into()),
                _ => return Ok(None),
            },
        };
        let now = usage_of(&stats);
        if now.memory_bytes == 0 && now.cpu_micros == 0 && !matches!(self.client.look(&name).await?, Seen::Running) {
            return Ok(None);
        }
        let slot = self.slot(job);
        let mut known = slot.usage.lock();
        *known = Usage { memory_peak_bytes: known.memory_peak_bytes.max(now.memory_peak_bytes), ..now };
        Ok(Some(*known))
    }

    async fn list(&self) -> Result<Vec<Job>, DriverError> {
        let data_dir = self.config.data_dir.clone();
        let mut jobs = blocking(move || Life::all(&data_dir)).await?;
        let filters = serde_json::json!({ "label": [format!("{INSTANCE}={}", self.config.instance)] }).to_string();
        let filters: String = form_urlencoded::byte_serialize(filters.as_bytes()).collect();
        let containers = self.client.json(&format!("/containers/json?all=true&filters={filters}")).await?;
        let of_containers = containers.as_array().into_iter().flatten().filter_map(|container| {
            let label = |name: &str| container["Labels"][name].as_str();
            Some(Job { kind: JobKind::Run, id: label(RUN)?.to_owned(), life: label(LIFE)?.parse().ok()? })
        });
        for job in of_containers {
            if !jobs.contains(&job) {
                jobs.push(job);
            }
        }
        Ok(jobs)
    }
}

#[async_trait]
impl Driver for DockerDriver {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn isolation(&self) -> Isolation {
        match (self.inner.client.known_facts(), self.inner.reach.get()) {
            (Some(facts), Some(reach)) => facts.isolation(&reach.network),
            _ => Isolation { level: "unknown".to_owned(), details: vec!["the engine has not answered yet".to_owned()] },
        }
    }

    async fn start_run(&self, spec: &RunSpec) -> Result<(), DriverError> {
        self.inner.start_run(spec).await
    }

    async fn start_build(&self, spec: &BuildSpec) -> Result<(), DriverError> {
        self.inner.start_build(spec)
    }

    async fn take_up(&self, job: &Job, secrets: &[String]) -> Result<(), DriverError> {
        *self.inner.slot(job).secrets.lock() = secrets.to_vec();
        Ok(())
    }

    async fn observe(&self, job: &Job) -> Result<Observed, DriverError> {
        let life = self.inner.life(job)?;
        if let Some(exit) = life.read_exit().context("cannot read a life")? {
            return Ok(Observed::Exited(exit));
        }
        if life.begun().context("cannot read a life")?.is_none() {
            return Ok(Observed::Unknown);
        }
        let is_running = match job.kind {
            JobKind::Build => self.inner.slot(job).outcome.lock().is_some(),
            // One that has ended still has its output to be read: `wait` tells when that is done.
            JobKind::Run => {
                matches!(self.inner.client.look(&self.inner.name(job)).await?, Seen::Running | Seen::Ended(_))
            }
        };
        Ok(if is_running { Observed::Running } else { Observed::Unknown })
    }

    async fn wait(&self, job: &Job) -> Result<Exit, DriverError> {
        let life = self.inner.life(job)?;
        let slot = self.inner.slot(job);
        if let Some(exit) = life.read_exit().context("cannot read a life")? {
            return Ok(exit);
        }
        let mut outcome = self.inner.watch(job, &slot)?;
        let outcome = outcome.wait_for(Option::is_some).await.context("a task of the docker driver died")?.clone();
        match outcome {
            Some(Outcome::Exit(exit)) => Ok(exit),
            Some(Outcome::Failed(error)) => Err(anyhow::anyhow!(error).into()),
            Some(Outcome::Gone) | None => Err(DriverError::NoSuchJob(job.id.clone())),
        }
    }

    async fn stop(&self, job: &Job, how: Stop) -> Result<(), DriverError> {
        self.inner.stop(job, how).await
    }

    async fn measure(&self, job: &Job) -> Result<Option<Usage>, DriverError> {
        self.inner.measure(job).await
    }

    async fn address_of(&self, job: &Job, port: u16) -> Result<SocketAddr, DriverError> {
        let no_such_job = || DriverError::NoSuchJob(job.id.clone());
        let container = self.inner.client.inspect(&self.inner.name(job)).await?.ok_or_else(no_such_job)?;
        network::address_of(self.inner.reach().await?, &container, port).ok_or_else(no_such_job)
    }

    fn has_own_network(&self) -> bool {
        self.inner.reach.get().is_some_and(|reach| reach.has_own_network)
    }

    async fn forget(&self, job: &Job) -> Result<(), DriverError> {
        let life = self.inner.life(job)?;
        if job.kind == JobKind::Run {
            let name = self.inner.name(job);
            if let Seen::Running = self.inner.client.look(&name).await? {
                return Err(anyhow::anyhow!("{} is still running", job.id).into());
            }
            remove(&self.inner.client, &name).await?;
        }
        blocking(move || life.remove()).await?.context("cannot remove what a job left")?;
        self.inner.slots.lock().remove(job);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Job>, DriverError> {
        self.inner.list().await
    }

    async fn close(&self) -> Result<(), DriverError> {
        if !self.inner.config.ephemeral {
            return Ok(());
        }
        for job in self.inner.list().await? {
            remove(&self.inner.client, &self.inner.name(&job)).await?;
        }
        for build in self.images().await? {
            self.remove_image(&build).await?;
        }
        Ok(())
    }

    async fn image(&self, build_id: &str) -> Result<Option<ImageInfo>, DriverError> {
        let name = name_of(&self.inner.config.instance, build_id);
        Ok(self.inner.client.image(&name).await?.map(|image| info_of(&image)))
    }

    async fn images(&self) -> Result<Vec<String>, DriverError> {
        Ok(self.inner.client.built(&self.inner.config.instance).await?)
    }

    async fn remove_image(&self, build_id: &str) -> Result<(), DriverError> {
        // Checks the id, too.
        self.inner.life(&Job { kind: JobKind::Build, id: build_id.to_owned(), life: 1 })?;
        Ok(self.inner.client.remove_image(&name_of(&self.inner.config.instance, build_id)).await?)
    }
}
