//! The process driver as the engine sees it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use model::{Clock, SystemClock};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::cgroup::Group;
use super::identity::{ProcessHandle, ProcessIdentity};
use super::image::{self, StoredImage};
use super::life::Life;
use super::means::{Apart, Means};
use super::sandbox::{Bind, MARKER, remove_tree};
use super::supervisor::{ASK_KILL, ASK_SIGNAL, SUPERVISE};
use super::wire::{self, Handover, Reply, Task};
use super::{probe, tree};
use crate::files::names;
use crate::{
    BuildSpec, Driver, DriverError, Exit, ExitCause, ImageInfo, Isolation, Job, JobKind, Observed, RunSpec, Stop, Usage,
};

/// How to open a [`ProcessDriver`].
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The server's data directory; holds `runs/<id>/`, `builds/<id>/` and `sandbox/`.
    pub data_dir: PathBuf,
    /// Our own binary, whose `main` begins with [`run_hidden_command`](super::run_hidden_command).
    pub exe: PathBuf,
    /// Whether jobs end when the server does, however it does.
    pub ephemeral: bool,
    /// Free bytes on the disk of the logs below which they are cut, with a line that says so.
    pub min_free_bytes: u64,
    /// The best means that may be used to keep Actors apart.
    pub separation: Separation,
}

impl ProcessConfig {
    /// With jobs that outlive the server, the best separation, and logs that leave 256 MB free.
    pub fn new(data_dir: impl Into<PathBuf>, exe: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            exe: exe.into(),
            ephemeral: false,
            min_free_bytes: 256 << 20,
            separation: Separation::Best,
        }
    }
}

/// How far to go in keeping Actors apart; less than the best is for machines on which the best misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Separation {
    /// All that works here.
    #[default]
    Best,
    /// Not overlayfs: images are copied for every run.
    WithoutOverlay,
    /// Not namespaces either.
    WithoutNamespaces,
}

/// Runs and builds as processes of this machine.
///
/// Each life has a supervisor, a process of its own session that outlives the server; what this type knows of a life
/// beyond its files is only a cache.
#[derive(Clone, Debug)]
pub struct ProcessDriver {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ProcessConfig,
    means: Means,
    slots: Mutex<HashMap<Job, Arc<Slot>>>,
}

/// What is kept in memory of a life.
#[derive(Debug, Default)]
struct Slot {
    /// One start at a time.
    starting: Mutex<()>,
    /// One burial at a time.
    burying: Mutex<()>,
    /// Whether we ourselves killed the supervisor.
    killed: AtomicBool,
    group: Mutex<Option<Group>>,
    memory_peak_bytes: AtomicU64,
    /// Kept open for jobs that are to end with this process.
    lifeline: Mutex<Option<UnixStream>>,
}

/// How long a supervisor may stand at the gate of a server that is gone.
const AT_GATE: Duration = Duration::from_secs(5);

/// How long a command may take to be executed; a copied image can be large, but nothing waits forever.
const START: Duration = Duration::from_secs(300);

/// What there is of a life.
enum Seen {
    Unknown,
    Running(ProcessHandle),
    Exited(Exit),
}

impl ProcessDriver {
    /// Finds out what this machine offers and makes what all runs have in common; takes some ten milliseconds.
    ///
    /// # Errors
    /// Of the file system.
    pub fn open(config: ProcessConfig) -> Result<Self, DriverError> {
        let open = || {
            fs::create_dir_all(&config.data_dir)?;
            let data_dir = fs::canonicalize(&config.data_dir)?;
            // Several servers on one machine keep out of each other's groups.
            let hash = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
            let name: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            let means = probe::probe(&config.exe, &data_dir, &format!("playhouse-{name}"), config.separation)?;
            Ok::<_, io::Error>(Inner { config: ProcessConfig { data_dir, ..config }, means, slots: Mutex::default() })
        };
        Ok(Self { inner: Arc::new(open().context("cannot open the process driver")?) })
    }

    /// Calls `work`, which may block, where it holds up nobody; it is carried out even if the caller goes away.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, DriverError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.context("a task of the process driver died")?
    }

    async fn start(
        &self,
        job: &Job,
        task: impl FnOnce(&Inner) -> Result<Handover, DriverError> + Send + 'static,
    ) -> Result<(), DriverError> {
        let job = job.clone();
        self.blocking(move |inner| inner.start(&job, || task(inner))).await
    }
}

#[async_trait]
impl Driver for ProcessDriver {
    fn name(&self) -> &'static str {
        "process"
    }

    fn isolation(&self) -> Isolation {
        self.inner.means.describe()
    }

    async fn start_run(&self, spec: &RunSpec) -> Result<(), DriverError> {
        let (spec, job) = (spec.clone(), &spec.job);
        self.start(job, move |inner| {
            let image = StoredImage::load(&inner.config.data_dir, &spec.build_id).context("cannot read the image")?;
            let image = image.ok_or_else(|| DriverError::NoSuchImage(spec.build_id.clone()))?;
            let image = inner.with_mounts(image, &spec)?;
            let secrets = spec.secrets.clone();
            Ok(inner.handover(Task::Run(Box::new(spec), image), secrets))
        })
        .await
    }

    async fn start_build(&self, spec: &BuildSpec) -> Result<(), DriverError> {
        if let Some(prebuilt) = &spec.prebuilt {
            let reason = format!("the image {} needs a container engine: use the docker driver", prebuilt.image);
            return Err(DriverError::CannotStart(reason));
        }
        let (spec, job) = (spec.clone(), &spec.job);
        self.start(job, move |inner| {
            let secrets = spec.secrets.clone();
            Ok(inner.handover(Task::Build(Box::new(spec)), secrets))
        })
        .await
    }

    async fn observe(&self, job: &Job) -> Result<Observed, DriverError> {
        let job = job.clone();
        self.blocking(move |inner| {
            Ok(match inner.look(&job)? {
                Seen::Unknown => Observed::Unknown,
                Seen::Running(_) => Observed::Running,
                Seen::Exited(exit) => Observed::Exited(exit),
            })
        })
        .await
    }

    async fn wait(&self, job: &Job) -> Result<Exit, DriverError> {
        loop {
            let looked_for = job.clone();
            match self.blocking(move |inner| inner.look(&looked_for)).await? {
                Seen::Unknown => return Err(DriverError::NoSuchJob(job.id.clone())),
                Seen::Exited(exit) => return Ok(exit),
                Seen::Running(handle) => {
                    handle.ended().await.context("cannot wait for a process")?;
                }
            }
        }
    }

    async fn stop(&self, job: &Job, how: Stop) -> Result<(), DriverError> {
        let job = job.clone();
        self.blocking(move |inner| inner.stop(&job, how)).await
    }

    async fn measure(&self, job: &Job) -> Result<Option<Usage>, DriverError> {
        let slot = self.inner.slot(job);
        let group = slot.group.lock().clone();
        if let Some(group) = group.filter(Group::limits_memory) {
            // A few small files that are made on reading; not worth a thread.
            return Ok(slot.with_peak(group.usage()));
        }
        let job = job.clone();
        self.blocking(move |inner| {
            let Seen::Running(_) = inner.look(&job)? else { return Ok(None) };
            let life = inner.life(&job)?;
            let group = life.read().context("cannot read a life")?.map(|found| found.group).unwrap_or_default();
            let usage = match group.limits_memory() {
                true => group.usage(),
                false => life.first_process().and_then(|first| tree::usage(first.pid)).or(Some(Usage::default())),
            };
            let slot = inner.slot(&job);
            *slot.group.lock() = Some(group);
            Ok(slot.with_peak(usage))
        })
        .await
    }

    async fn address_of(&self, _job: &Job, port: u16) -> Result<SocketAddr, DriverError> {
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn has_own_network(&self) -> bool {
        false
    }

    async fn forget(&self, job: &Job) -> Result<(), DriverError> {
        let job = job.clone();
        self.blocking(move |inner| inner.forget(&job)).await
    }

    async fn list(&self) -> Result<Vec<Job>, DriverError> {
        self.blocking(|inner| Ok(inner.list())).await
    }

    async fn image(&self, build_id: &str) -> Result<Option<ImageInfo>, DriverError> {
        let build_id = build_id.to_owned();
        self.blocking(move |inner| {
            let image = StoredImage::load(&inner.config.data_dir, &build_id).context("cannot read the image")?;
            Ok(image.map(|image| image.info))
        })
        .await
    }

    async fn remove_image(&self, build_id: &str) -> Result<(), DriverError> {
        let build_id = build_id.to_owned();
        self.blocking(move |inner| inner.remove_image(&build_id)).await
    }
}

impl Slot {
    /// `usage` with the highest memory that was ever seen.
    fn with_peak(&self, usage: Option<Usage>) -> Option<Usage> {
        let usage = usage?;
        let before = self.memory_peak_bytes.fetch_max(usage.memory_bytes, Ordering::Relaxed);
        Some(Usage { memory_peak_bytes: before.max(usage.memory_bytes), ..usage })
    }
}

impl Inner {
    fn slot(&self, job: &Job) -> Arc<Slot> {
        self.slots.lock().entry(job.clone()).or_default().clone()
    }

    fn life(&self, job: &Job) -> Result<Life, DriverError> {
        Ok(Life::of(&self.config.data_dir, job).context("cannot find a job")?)
    }

    fn handover(&self, task: Task, secrets: Vec<String>) -> Handover {
        Handover {
            version: wire::VERSION,
            task,
            secrets,
            means: self.means.clone(),
            ephemeral: self.config.ephemeral,
            min_free_bytes: self.config.min_free_bytes,
        }
    }

    /// The image as the run sees it, with the folders of this machine that it asks for.
    fn with_mounts(&self, mut image: StoredImage, spec: &RunSpec) -> Result<StoredImage, DriverError> {
        if !spec.mounts.is_empty() && self.means.apart == Apart::Nothing {
            let reason = "a folder of this machine can be mounted only where the kernel allows namespaces";
            return Err(DriverError::CannotStart(reason.to_owned()));
        }
        for mount in &spec.mounts {
            if !mount.source.is_dir() {
                return Err(DriverError::CannotStart(format!("the folder {} is not there", mount.source.display())));
            }
            let target = PathBuf::from(mount.target.as_ref().unwrap_or(&image.info.workdir));
            image.binds.push(Bind { source: mount.source.clone(), target: target.clone(), writable: mount.writable });
            let in_layers = target.strip_prefix("/").unwrap_or(&target);
            for name in &mount.keeps {
                let own = |layer: &PathBuf| self.config.data_dir.join(layer).join(in_layers).join(name);
                if let Some(source) = image.layers.iter().rev().map(own).find(|own| own.is_dir()) {
                    image.binds.push(Bind { source, target: target.join(name), writable: false });
                }
            }
        }
        Ok(image)
    }

    fn start(&self, job: &Job, handover: impl FnOnce() -> Result<Handover, DriverError>) -> Result<(), DriverError> {
        let slot = self.slot(job);
        let _one_at_a_time = slot.starting.lock();
        let life = self.life(job)?;
        let begin = Instant::now();
        loop {
            match self.look(job)? {
                Seen::Exited(_) => return Ok(()),
                Seen::Running(_) if life.has_begun() => return Ok(()),
                // Left at its gate by a server that died: it begins in a moment, or ends with nothing done.
                Seen::Running(supervisor) => {
                    if begin.elapsed() > AT_GATE {
                        supervisor.signal(rustix::process::Signal::KILL).context("cannot kill a supervisor")?;
                    }
                    supervisor.ends_within(Duration::from_millis(2));
                }
                Seen::Unknown => break,
            }
        }
        let handover = handover()?;
        let started = self.start_anew(job, &life, &handover, &slot);
        if started.is_err() {
            // Nothing is left behind.
            self.bury(&life, &slot).ok();
            remove_tree(life.dir()).ok();
        }
        started
    }

    fn start_anew(&self, job: &Job, life: &Life, handover: &Handover, slot: &Slot) -> Result<(), DriverError> {
        let cannot = |what: &str, err: io::Error| DriverError::CannotStart(format!("{what}: {err}"));
        let prepare = || -> io::Result<_> {
            remove_tree(life.dir())?;
            fs::create_dir_all(life.dir())
        };
        prepare().map_err(|err| cannot("cannot make its directory", err))?;
        let spawn = || -> io::Result<_> {
            let (socket, theirs) = UnixStream::pair()?;
            let mut process = std::process::Command::new(&self.config.exe);
            process.arg0("playhouse").arg(SUPERVISE).arg(life.dir()).env_clear();
            if job.kind == JobKind::Build {
                process.envs(image::host_environment());
            }
            process.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
            Ok((socket, process.spawn()?))
        };
        let (socket, child) = spawn().map_err(|err| cannot("cannot start its supervisor", err))?;
        let supervisor =
            ProcessHandle::of_child(child.id()).map_err(|err| cannot("cannot watch its supervisor", err))?;

        let group = self.means.cgroups.group(&group_name(job));
        let hand_over = || -> io::Result<_> {
            socket.set_read_timeout(Some(START))?;
            life.write(ProcessIdentity::of(child.id())?, group.clone())?;
            wire::send(&socket, handover)?;
            wire::receive::<Reply>(&socket)
        };
        let reply = hand_over();
        match reply {
            // A supervisor that was killed before its answer was read has begun nevertheless: the job is lost, not refused.
            Ok(answer @ (Some(Reply::Started) | None)) if answer.is_some() || life.has_begun() => {
                *slot.group.lock() = Some(group);
                *slot.lifeline.lock() = self.config.ephemeral.then_some(socket);
                reap_in_time(supervisor);
                Ok(())
            }
            other => {
                drop(socket);
                if !supervisor.ends_within(Duration::from_secs(5)) {
                    supervisor.signal(rustix::process::Signal::KILL).ok();
                    supervisor.ends_within(Duration::from_secs(5));
                }
                supervisor.reap();
                Err(match other {
                    Ok(Some(Reply::CannotStart(reason))) => DriverError::CannotStart(reason),
                    Ok(_) => DriverError::CannotStart("its supervisor died".into()),
                    Err(err) => cannot("cannot talk to its supervisor", err),
                })
            }
        }
    }

    /// What there is of a life. One whose supervisor died without a word is buried here.
    fn look(&self, job: &Job) -> Result<Seen, DriverError> {
        let life = self.life(job)?;
        let read = || -> io::Result<Option<Seen>> {
            if let Some(exit) = life.read_exit()? {
                return Ok(Some(Seen::Exited(exit)));
            }
            let Some(found) = life.read()? else { return Ok(Some(Seen::Unknown)) };
            match found.supervisor.open() {
                Some(supervisor) if !supervisor.has_ended() => return Ok(Some(Seen::Running(supervisor))),
                Some(ended) => ended.reap(),
                None => {}
            }
            // The last thing a supervisor does may have happened in between.
            if let Some(exit) = life.read_exit()? {
                return Ok(Some(Seen::Exited(exit)));
            }
            Ok((!life.has_begun()).then_some(Seen::Unknown))
        };
        match read().context("cannot read a life")? {
            Some(seen) => Ok(seen),
            None => Ok(Seen::Exited(self.bury(&life, &self.slot(job)).context("cannot end a lost job")?)),
        }
    }

    /// Ends what a dead supervisor may have left, and writes the end that it could not.
    fn bury(&self, life: &Life, slot: &Slot) -> io::Result<Exit> {
        let _one_at_a_time = slot.burying.lock();
        if let Some(exit) = life.read_exit()? {
            return Ok(exit);
        }
        if let Some(first_process) = life.first_process().and_then(|first| first.open()) {
            // The kernel is at it already where there are process namespaces, and takes all others with this one.
            first_process.signal(rustix::process::Signal::KILL)?;
            first_process.ends_within(Duration::from_secs(5));
        }
        let group = life.read()?.map(|found| found.group).unwrap_or_default();
        group.kill_all()?;
        if self.means.apart == Apart::Nothing {
            tree::kill_marked(&format!("{MARKER}={}", life.name()));
        }
        let usage = group.usage().unwrap_or_default();
        group.remove()?;
        let cause = if slot.killed.load(Ordering::Relaxed) { ExitCause::Stopped } else { ExitCause::Lost };
        let usage = Usage { memory_bytes: 0, ..usage };
        let exit = Exit { code: None, cause, at: SystemClock.now(), usage };
        life.write_exit(&exit)?;
        Ok(exit)
    }

    fn stop(&self, job: &Job, how: Stop) -> Result<(), DriverError> {
        // A supervisor that is being started may not be able to take signals yet.
        drop(self.slot(job).starting.lock());
        let Seen::Running(supervisor) = self.look(job)? else { return Ok(()) };
        let signal = |signal| supervisor.signal(signal).context("cannot signal a supervisor");
        if how == Stop::Signal {
            return Ok(signal(ASK_SIGNAL)?);
        }
        signal(ASK_KILL)?;
        if !supervisor.ends_within(Duration::from_secs(5)) {
            // The disk may be slow, or the supervisor stopped by somebody. The processes end in any case; it may go on
            // for a while to bring the last output to disk.
            let life = self.life(job)?;
            if let Some(first_process) = life.first_process().and_then(|first| first.open()) {
                first_process.signal(rustix::process::Signal::KILL).context("cannot kill a job")?;
            }
            if !supervisor.ends_within(Duration::from_secs(25)) {
                self.slot(job).killed.store(true, Ordering::Relaxed);
                signal(rustix::process::Signal::KILL)?;
                supervisor.ends_within(Duration::from_secs(5));
            }
        }
        supervisor.reap();
        self.look(job).map(drop)
    }

    fn forget(&self, job: &Job) -> Result<(), DriverError> {
        if let Seen::Running(_) = self.look(job)? {
            return Err(anyhow::anyhow!("{} is still running", job.id).into());
        }
        let life = self.life(job)?;
        let forget = || {
            if let Some(found) = life.read()? {
                found.group.remove()?;
            }
            remove_tree(life.dir())?;
            if job.kind == JobKind::Build {
                image::tidy(&self.config.data_dir, &job.id)?;
            }
            // Of a run without a log, or a build without an image, nothing is left now.
            if let Some(dir) = life.dir().parent() {
                fs::remove_dir(dir).ok();
            }
            Ok::<_, io::Error>(())
        };
        forget().context("cannot remove what a job left")?;
        self.slots.lock().remove(job);
        Ok(())
    }

    fn list(&self) -> Vec<Job> {
        let mut jobs = crate::files::jobs(&self.config.data_dir, JobKind::Run);
        jobs.extend(crate::files::jobs(&self.config.data_dir, JobKind::Build));
        jobs
    }

    fn remove_image(&self, build_id: &str) -> Result<(), DriverError> {
        // Checks the id, too.
        let life = self.life(&Job { kind: JobKind::Build, id: build_id.to_owned(), life: 1 })?;
        let Some(dir) = life.dir().parent() else { return Ok(()) };
        let remove = || {
            match fs::remove_file(dir.join("image.json")) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
            // What starts with a digit belongs to the build as a job.
            for name in names(dir).into_iter().filter(|name| !name.starts_with(|first: char| first.is_ascii_digit())) {
                let path = dir.join(name);
                if path.is_dir() { remove_tree(&path)? } else { fs::remove_file(&path)? }
            }
            fs::remove_dir(dir).ok();
            image::sweep(&self.config.data_dir)
        };
        Ok(remove().context("cannot remove an image")?)
    }
}

/// Name of a job's control group.
fn group_name(job: &Job) -> String {
    let kind = match job.kind {
        JobKind::Run => "run",
        JobKind::Build => "build",
    };
    format!("{kind}-{}-{}", job.id, job.life)
}

/// Frees the supervisor's entry in the process table when it ends, whether anybody waits for the job or not.
fn reap_in_time(supervisor: ProcessHandle) {
    tokio::runtime::Handle::current().spawn(async move {
        if let Ok(supervisor) = supervisor.ended().await {
            supervisor.reap();
        }
    });
}
