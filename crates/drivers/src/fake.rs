//! A driver for tests: scripted, without processes, at home under a paused clock.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use async_trait::async_trait;
use model::SharedClock;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    BuildSpec, Driver, DriverError, Exit, ExitCause, ImageInfo, Isolation, Job, JobKind, Observed, RunSpec, Stop, Usage,
};

/// A driver whose jobs do nothing until the test says so.
///
/// A run starts at once and goes on until [`finish`](Self::finish) or [`Stop::Kill`]. A build ends at once with
/// [`default_image`](Self::default_image), unless the test holds or fails builds.
#[derive(Debug)]
pub struct FakeDriver {
    clock: SharedClock,
    state: Mutex<State>,
    changed: Notify,
}

/// One call of a [`Driver`] method, as the engine made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `start_run`.
    StartRun(Box<RunSpec>),
    /// `start_build`.
    StartBuild(Box<BuildSpec>),
    /// `take_up`.
    TakeUp(Job, Vec<String>),
    /// `stop`.
    Stop(Job, Stop),
    /// `forget`.
    Forget(Job),
    /// `remove_image`.
    RemoveImage(String),
}

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<Job, FakeJob>,
    images: BTreeMap<String, ImageInfo>,
    calls: Vec<Call>,
    addresses: HashMap<(Job, u16), SocketAddr>,
    refuse_start: Option<String>,
    hold_builds: bool,
    fail_builds: Option<String>,
    ends_on_signal: bool,
}

#[derive(Debug, Default)]
struct FakeJob {
    run: Option<RunSpec>,
    exit: Option<Exit>,
    usage: Usage,
}

impl FakeDriver {
    /// A driver without jobs that takes the time of ends from `clock`.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, state: Mutex::default(), changed: Notify::new() }
    }

    /// Waits until a life of the run has been started, and returns the newest one.
    pub async fn started(&self, run_id: &str) -> RunSpec {
        self.started_life(run_id, 1).await
    }

    /// Waits until that life of the run, or a later one, has been started, and returns the newest one.
    ///
    /// # Panics
    /// If that life has come and been forgotten: waiting for it would never end.
    pub async fn started_life(&self, run_id: &str, life: u32) -> RunSpec {
        self.until(|state| {
            let is_forgotten = |call: &Call| matches!(call, Call::Forget(job) if job.id == run_id && job.life >= life);
            let newest = state.newest(run_id).filter(|(job, _)| job.life >= life).and_then(|(_, job)| job.run.clone());
            assert!(newest.is_some() || !state.calls.iter().any(is_forgotten), "life {life} of {run_id} is over");
            newest
        })
        .await
    }

    /// Waits until `stop` has been called for any life of the run or build, and tells how.
    pub async fn stopped(&self, id: &str) -> Stop {
        self.until(|state| {
            state.calls.iter().rev().find_map(|call| match call {
                Call::Stop(job, how) if job.id == id => Some(*how),
                _ => None,
            })
        })
        .await
    }

    /// Ends the newest life of a run or build.
    ///
    /// # Panics
    /// If it was never started.
    pub fn finish(&self, id: &str, exit: Exit) {
        self.change(|state| {
            let (_, newest) = state.newest(id).unwrap_or_else(|| panic!("{id} was never started"));
            newest.exit.get_or_insert(exit);
        });
    }

    /// How a command ends that returned `code`, now.
    pub fn exited(&self, code: i32) -> Exit {
        Exit { code: Some(code), cause: ExitCause::Exited, at: self.clock.now(), usage: Usage::default() }
    }

    /// Sets what [`Driver::measure`] tells of the newest life of a run or build.
    ///
    /// # Panics
    /// If it was never started.
    pub fn set_usage(&self, id: &str, usage: Usage) {
        self.change(|state| {
            let (_, newest) = state.newest(id).unwrap_or_else(|| panic!("{id} was never started"));
            newest.usage = usage;
        });
    }

    /// Lets every later start of a run fail with `CannotStart`; `None` lets them succeed again.
    pub fn refuse_start(&self, reason: Option<&str>) {
        self.change(|state| state.refuse_start = reason.map(str::to_owned));
    }

    /// Lets runs end as stopped on [`Stop::Signal`]; without this they ignore it.
    pub fn end_on_signal(&self) {
        self.change(|state| state.ends_on_signal = true);
    }

    /// Keeps builds running until [`finish`](Self::finish); one that ends with code 0 leaves the default image.
    pub fn hold_builds(&self) {
        self.change(|state| state.hold_builds = true);
    }

    /// Lets every later build fail with `reason`; `None` lets them succeed again.
    pub fn fail_builds(&self, reason: Option<&str>) {
        self.change(|state| state.fail_builds = reason.map(str::to_owned));
    }

    /// Puts an image there, as if its build had ended.
    pub fn put_image(&self, build_id: &str, image: ImageInfo) {
        self.change(|state| state.images.insert(build_id.to_owned(), image));
    }

    /// Makes a server that a run would have on `port` reachable at `address`.
    pub fn put_address(&self, job: &Job, port: u16, address: SocketAddr) {
        self.change(|state| state.addresses.insert((job.clone(), port), address));
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.clone()
    }

    /// The image that builds leave.
    pub fn default_image() -> ImageInfo {
        ImageInfo {
            digest: format!("sha256:{}", "0".repeat(64)),
            size_bytes: 1024,
            workdir: "/usr/src/app".into(),
            cmd: vec!["npm".into(), "start".into()],
            ..ImageInfo::default()
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock());
        self.changed.notify_waiters();
        result
    }

    async fn until<T>(&self, look: impl Fn(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = look(&mut self.state.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn stopped_exit(&self, code: i32, usage: Usage) -> Exit {
        Exit { code: Some(code), cause: ExitCause::Stopped, at: self.clock.now(), usage }
    }
}

impl State {
    fn newest(&mut self, id: &str) -> Option<(&Job, &mut FakeJob)> {
        self.jobs.iter_mut().filter(|(job, _)| job.id == id).max_by_key(|(job, _)| job.life)
    }
}

#[async_trait]
impl Driver for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn isolation(&self) -> Isolation {
        Isolation { level: "none".into(), details: vec!["nothing is executed".into()] }
    }

    async fn start_run(&self, spec: &RunSpec) -> Result<(), DriverError> {
        self.change(|state| {
            state.calls.push(Call::StartRun(Box::new(spec.clone())));
            if let Some(reason) = &state.refuse_start {
                return Err(DriverError::CannotStart(reason.clone()));
            }
            let job = state.jobs.entry(spec.job.clone()).or_default();
            job.run.get_or_insert_with(|| spec.clone());
            Ok(())
        })
    }

    async fn start_build(&self, spec: &BuildSpec) -> Result<(), DriverError> {
        let succeeded = self.exited(0);
        self.change(|state| {
            state.calls.push(Call::StartBuild(Box::new(spec.clone())));
            let exit = match &state.fail_builds {
                Some(reason) => {
                    Some(Exit { code: Some(1), cause: ExitCause::Failed { reason: reason.clone() }, ..succeeded })
                }
                None => (!state.hold_builds).then_some(succeeded),
            };
            let job = state.jobs.entry(spec.job.clone()).or_default();
            job.exit = job.exit.take().or(exit);
        });
        Ok(())
    }

    async fn take_up(&self, job: &Job, secrets: &[String]) -> Result<(), DriverError> {
        self.change(|state| state.calls.push(Call::TakeUp(job.clone(), secrets.to_vec())));
        Ok(())
    }

    async fn observe(&self, job: &Job) -> Result<Observed, DriverError> {
        Ok(match self.state.lock().jobs.get(job) {
            None => Observed::Unknown,
            Some(FakeJob { exit: None, .. }) => Observed::Running,
            Some(FakeJob { exit: Some(exit), .. }) => Observed::Exited(exit.clone()),
        })
    }

    async fn wait(&self, job: &Job) -> Result<Exit, DriverError> {
        self.until(|state| match state.jobs.get(job) {
            None => Some(Err(DriverError::NoSuchJob(job.id.clone()))),
            Some(known) => known.exit.clone().map(Ok),
        })
        .await
    }

    async fn stop(&self, job: &Job, how: Stop) -> Result<(), DriverError> {
        self.change(|state| {
            state.calls.push(Call::Stop(job.clone(), how));
            let ends_on_signal = state.ends_on_signal;
            let Some(known) = state.jobs.get_mut(job) else { return };
            match how {
                Stop::Kill => known.exit.get_or_insert(self.stopped_exit(137, known.usage)),
                Stop::Signal if ends_on_signal => known.exit.get_or_insert(self.stopped_exit(143, known.usage)),
                Stop::Signal => return,
            };
        });
        Ok(())
    }

    async fn measure(&self, job: &Job) -> Result<Option<Usage>, DriverError> {
        Ok(self.state.lock().jobs.get(job).filter(|known| known.exit.is_none()).map(|known| known.usage))
    }

    async fn address_of(&self, job: &Job, port: u16) -> Result<SocketAddr, DriverError> {
        let known = self.state.lock().addresses.get(&(job.clone(), port)).copied();
        Ok(known.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port))))
    }

    fn has_own_network(&self) -> bool {
        false
    }

    async fn forget(&self, job: &Job) -> Result<(), DriverError> {
        self.change(|state| {
            state.calls.push(Call::Forget(job.clone()));
            state.jobs.remove(job);
        });
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Job>, DriverError> {
        Ok(self.state.lock().jobs.keys().cloned().collect())
    }

    async fn image(&self, build_id: &str) -> Result<Option<ImageInfo>, DriverError> {
        let state = self.state.lock();
        if let Some(image) = state.images.get(build_id) {
            return Ok(Some(image.clone()));
        }
        let built = state.jobs.iter().any(|(job, known)| {
            job.kind == JobKind::Build
                && job.id == build_id
                && known.exit.as_ref().is_some_and(|exit| exit.code == Some(0) && exit.cause == ExitCause::Exited)
        });
        Ok(built.then(Self::default_image))
    }

    async fn remove_image(&self, build_id: &str) -> Result<(), DriverError> {
        self.change(|state| {
            state.calls.push(Call::RemoveImage(build_id.to_owned()));
            state.images.remove(build_id);
            state.jobs.retain(|job, _| job.kind != JobKind::Build || job.id != build_id);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use model::SystemClock;

    use super::*;
    use crate::Limits;

    fn spec() -> RunSpec {
        RunSpec {
            job: Job { kind: JobKind::Run, id: "run1".into(), life: 1 },
            build_id: "build1".into(),
            env: BTreeMap::new(),
            secrets: Vec::new(),
            mounts: Vec::new(),
            ports: Vec::new(),
            limits: Limits { memory_bytes: 1 << 28, cpu_millis: 250, pids: 100, disk_bytes: 1 << 30 },
            log: PathBuf::from("log"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_goes_on_until_the_test_ends_it() {
        let fake = Arc::new(FakeDriver::new(Arc::new(SystemClock)));
        let spec = spec();
        let waiting = tokio::spawn({
            let (fake, job) = (fake.clone(), spec.job.clone());
            async move {
                fake.started(&job.id).await;
                fake.wait(&job).await
            }
        });

        fake.start_run(&spec).await.unwrap();
        fake.start_run(&spec).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(fake.observe(&spec.job).await.unwrap(), Observed::Running);
        let exit = fake.exited(91);
        fake.finish("run1", exit.clone());

        assert_eq!(waiting.await.unwrap().unwrap(), exit);
        assert_eq!(fake.observe(&spec.job).await.unwrap(), Observed::Exited(exit));
    }

    #[tokio::test(start_paused = true)]
    async fn a_kill_ends_a_run_and_a_signal_only_if_the_test_says_so() {
        let fake = FakeDriver::new(Arc::new(SystemClock));
        let spec = spec();
        fake.start_run(&spec).await.unwrap();

        fake.stop(&spec.job, Stop::Signal).await.unwrap();
        assert_eq!(fake.observe(&spec.job).await.unwrap(), Observed::Running);
        assert_eq!(fake.stopped("run1").await, Stop::Signal);
        fake.stop(&spec.job, Stop::Kill).await.unwrap();

        let exit = fake.wait(&spec.job).await.unwrap();
        assert_eq!((exit.code, exit.cause), (Some(137), ExitCause::Stopped));
        assert_eq!(fake.measure(&spec.job).await.unwrap(), None);
    }
}
