//! The supervisor of a build: lays out its source, hands it to the driver, and writes down what became of it.

use std::path::PathBuf;
use std::sync::Arc;

use drivers::{BuildSpec, DriverError, Exit, ExitCause, ImageInfo, Login, Observed, Prebuilt};
use model::{Actor, Build, BuildStats, JobEvent, JobStatus, Source, TaggedBuild, Timestamp, parse_build_number, step};
use serde_json::Value;
use store::JobLog;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admission::Admitted;
use crate::builds::definition::Definition;
use crate::builds::live::{LiveBuild, job_of};
use crate::builds::source::{STOPPED, blocking, git_address};
use crate::runs::{compute_units, limits};
use crate::supervision::{Backoff, is_passing};
use crate::{Engine, EngineError};

/// Attempts to start a build when the driver fails for reasons of its own.
const ATTEMPTS: u32 = 5;

/// How a build ended.
#[derive(Clone, Debug)]
pub(crate) struct BuildEnd {
    event: JobEvent,
    message: String,
    at: Option<Timestamp>,
    image: Option<ImageInfo>,
}

impl BuildEnd {
    pub(crate) fn aborted() -> Self {
        let event = JobEvent::AbortAsked { gracefully: false };
        Self { event, message: "Build was aborted.".to_owned(), at: None, image: None }
    }

    fn cannot_start(reason: &str) -> Self {
        Self { event: JobEvent::CannotStart, message: format!("Build failed: {reason}"), at: None, image: None }
    }
}

struct Supervisor {
    engine: Engine,
    live: Arc<LiveBuild>,
    log: JobLog,
    admitted: Admitted,
    is_taken_up: bool,
    /// When it has to be stopped (`BLD-4`).
    deadline: Option<Timestamp>,
    /// Whether its last line stands in the log.
    has_said_end: bool,
}

impl Engine {
    /// Starts the supervisor of a live build.
    pub(crate) fn supervise_build(&self, live: Arc<LiveBuild>, is_taken_up: bool) {
        let engine = self.clone();
        self.spawn(async move {
            let supervisor = |is_taken_up| {
                let supervisor = Supervisor {
                    engine: engine.clone(),
                    live: live.clone(),
                    log: JobLog::Build(live.state().id),
                    admitted: None,
                    is_taken_up,
                    deadline: None,
                    has_said_end: false,
                };
                supervisor.run()
            };
            let again = || (!live.state().status.is_terminal()).then(|| supervisor(true));
            engine.keep_supervised(supervisor(is_taken_up), again).await;
        });
    }

    /// Takes up a build that a former server left.
    pub(crate) fn take_up_build(&self, build: Arc<Build>) {
        self.supervise_build(self.enliven_build(build), true);
    }
}

impl Supervisor {
    async fn run(mut self) {
        loop {
            let build = self.live.state();
            match build.status {
                status if status.is_terminal() => break,
                JobStatus::Ready => self.begin().await,
                // What the source says of the Actor is written down once the driver has the build.
                _ if build.actor_definition.is_none() => self.prepare(&build).await,
                _ if self.is_forgotten(&build).await => {
                    self.engine.say(&self.log, "The server was restarted, so the image is built again.").await;
                    self.prepare(&build).await;
                }
                _ => self.watch(&build).await,
            }
        }
        self.clean_up().await;
    }

    /// Lets the build begin when its turn has come.
    async fn begin(&mut self) {
        if !self.wait_for_turn().await {
            return;
        }
        self.insist(|build, _| {
            let (status, _) = step(build.status, JobEvent::Started).map_err(|_| EngineError::JobFinished)?;
            build.status = status;
            Ok(true)
        })
        .await;
        self.engine.crash_point("build begun").await;
    }

    /// Lays out the source and hands the build to the driver. Both end at once when the build is to end.
    async fn prepare(&mut self, build: &Build) {
        if self.is_taken_up && self.admitted.is_none() {
            self.admitted = self.engine.inner.admission.building();
        }
        let deadline = self.deadline(build);
        let stop = CancellationToken::new();
        // So that nothing goes on if the engine ends meanwhile.
        let _guard = stop.clone().drop_guard();
        let result = {
            let work = self.prepare_and_start(build, &stop);
            tokio::pin!(work);
            loop {
                let status = self.live.state().status;
                if status == JobStatus::Running && deadline <= self.engine.now() {
                    self.insist(pass_deadline).await;
                    continue;
                }
                if status != JobStatus::Running {
                    stop.cancel();
                }
                tokio::select! {
                    result = &mut work => break result,
                    () = self.live.changed() => {}
                    () = self.engine.sleep_until(deadline), if status == JobStatus::Running => {}
                }
            }
        };
        self.is_taken_up = false;
        match result {
            Ok(definition) => self.note_started(definition).await,
            Err(reason) => {
                let ending = match self.live.state().status {
                    JobStatus::Running => BuildEnd::cannot_start(&reason),
                    JobStatus::TimingOut => BuildEnd { message: timed_out(build), ..BuildEnd::cannot_start(&reason) },
                    _ => BuildEnd { event: JobEvent::CannotStart, ..BuildEnd::aborted() },
                };
                self.note_end(ending).await;
            }
        }
    }

    /// When the build has to be stopped (`BLD-4`). One that was waiting or taken up counts from here, so that none is
    /// stopped for what it did not use.
    fn deadline(&mut self, build: &Build) -> Timestamp {
        let secs = i64::try_from(build.options.timeout_secs).unwrap_or(i64::MAX);
        *self.deadline.get_or_insert(self.engine.now().plus_secs(secs))
    }

    /// Waits until another build may start; an abort ends the wait.
    async fn wait_for_turn(&mut self) -> bool {
        if self.admitted.is_none() {
            let admission = self.engine.inner.admission.build();
            tokio::pin!(admission);
            self.admitted = loop {
                tokio::select! {
                    admitted = &mut admission => break admitted,
                    () = self.live.changed() => {
                        if self.live.state().status != JobStatus::Ready {
                            return false;
                        }
                    }
                }
            };
        }
        self.live.state().status == JobStatus::Ready
    }

    async fn prepare_and_start(&self, build: &Build, stop: &CancellationToken) -> Result<Definition, String> {
        let root = self.directory();
        let source = self.engine.inner.store.builds.source(&build.id).await;
        let source = source.map_err(|error| format!("the store failed: {error}"))?;
        let source = source.ok_or("its source is gone")?;
        let is_started = self.is_taken_up && self.engine.observe(&job_of(&build.id)).await != Observed::Unknown;
        if !is_started {
            self.lay_out(build, &source, &root, stop).await?;
        }
        let actor = git_address(&source)?.map(|address| address.directory).unwrap_or_default();
        let is_fetched = !matches!(source, Source::SourceFiles { .. } | Source::XImage { .. });
        let definition = blocking(move || {
            let definition = Definition::read(&root, &actor)?;
            if is_fetched && definition.is_empty(&root, &actor) {
                return Err(
                    "the source has no Dockerfile, neither .actor/Dockerfile nor Dockerfile, and no package.json \
                            for the built-in one to start"
                        .to_owned(),
                );
            }
            Ok(definition)
        })
        .await?;
        if stop.is_cancelled() {
            return Err(STOPPED.to_owned());
        }
        if !is_started {
            self.hand_to_driver(build, &source, &definition).await?;
        }
        Ok(definition)
    }

    async fn lay_out(
        &self,
        build: &Build,
        source: &Source,
        root: &PathBuf,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let cannot = |error: std::io::Error| format!("cannot make the directory of the build: {error}");
        if let Err(error) = tokio::fs::remove_dir_all(root).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(cannot(error));
        }
        tokio::fs::create_dir_all(root).await.map_err(cannot)?;
        let done = self.engine.lay_out(build, source, root, stop).await?;
        self.engine.say(&self.log, &done).await;
        Ok(())
    }

    async fn hand_to_driver(&self, build: &Build, source: &Source, definition: &Definition) -> Result<(), String> {
        let spec = self.spec(build, source, definition).await?;
        if spec.prebuilt.is_none() {
            self.engine.say(&self.log, &format!("Building the image from {}.", definition.dockerfile_name)).await;
        }
        self.engine.crash_point("before start of build").await;
        let mut backoff = Backoff::default();
        for attempt in 1.. {
            match self.engine.inner.driver.start_build(&spec).await {
                Ok(()) => break,
                Err(DriverError::Other(failure)) if attempt < ATTEMPTS => {
                    warn!(build.id = %build.id, %failure, "Cannot start build {}; trying again", build.id);
                    backoff.wait().await;
                }
                Err(DriverError::CannotStart(reason)) => return Err(reason),
                Err(failure) => return Err(failure.to_string()),
            }
        }
        self.engine.crash_point("after start of build").await;
        Ok(())
    }

    async fn spec(&self, build: &Build, source: &Source, definition: &Definition) -> Result<BuildSpec, String> {
        let (mut variables, secrets) = self.engine.open_variables(&build.env_vars)?;
        let login = Login::taken_from(&mut variables);
        let prebuilt = match source {
            Source::XImage { x_image, x_image_pull } => {
                Some(Prebuilt { image: x_image.clone(), pull: *x_image_pull, login })
            }
            _ => None,
        };
        let mut args: std::collections::BTreeMap<String, String> =
            if build.apply_env_vars_to_build { variables.into_iter().collect() } else { Default::default() };
        args.insert("ACTOR_PATH_IN_DOCKER_CONTEXT".to_owned(), definition.actor_path.clone());
        let log = self.engine.inner.store.logs.file(&self.log).await;
        Ok(BuildSpec {
            job: job_of(&build.id),
            context: definition.context.clone(),
            dockerfile: definition.dockerfile.clone(),
            dockerfile_name: definition.dockerfile_name.clone(),
            args,
            secrets,
            prebuilt,
            use_cache: build.options.use_cache,
            limits: limits(build.options.memory_mbytes, build.options.disk_mbytes),
            log: log.map_err(|error| format!("the store failed: {error}"))?,
        })
    }

    /// Writes down that the driver has the build, with what its source says of the Actor (`BLD-7`).
    async fn note_started(&self, definition: Definition) {
        let definition = Arc::new(definition);
        let id = self.live.state().id;
        self.insist(move |build, _| {
            build.actor_definition = Some(definition.json.clone());
            build.input_schema.clone_from(&definition.input_schema);
            build.readme.clone_from(&definition.readme);
            Ok(true)
        })
        .await;
        info!(build.id = %id, "Started build {id}");
    }

    async fn watch(&mut self, build: &Build) {
        if self.is_taken_up && self.admitted.is_none() {
            self.admitted = self.engine.inner.admission.building();
        }
        let job = job_of(&build.id);
        let deadline = self.deadline(build);
        let engine = self.engine.clone();
        let exit = engine.exit_of(&job);
        tokio::pin!(exit);
        let mut is_killed = false;
        loop {
            let status = self.live.state().status;
            if status.is_terminal() {
                return;
            }
            if status == JobStatus::Running && deadline <= self.engine.now() {
                self.insist(pass_deadline).await;
                continue;
            }
            if status != JobStatus::Running && !is_killed {
                self.engine.kill(&job).await;
                is_killed = true;
            }
            tokio::select! {
                exit = &mut exit => return self.note_exit(&exit).await,
                () = self.live.changed() => {}
                () = self.engine.sleep_until(deadline), if status == JobStatus::Running => {}
            }
        }
    }

    /// Whether a build that had begun ended with the former server, as builds of some drivers do. It is done again; steps that
    /// were done are found in the cache.
    async fn is_forgotten(&self, build: &Build) -> bool {
        self.is_taken_up
            && build.status == JobStatus::Running
            && self.engine.observe(&job_of(&build.id)).await == Observed::Unknown
    }

    async fn note_exit(&mut self, exit: &Exit) {
        let build = self.live.state();
        let failed = |message: String| (JobEvent::Exited { success: false }, message, None);
        let (event, message, image) = match (&exit.cause, build.status) {
            (_, JobStatus::Aborting) => failed(BuildEnd::aborted().message),
            (_, JobStatus::TimingOut) => failed(timed_out(&build)),
            (ExitCause::Exited, _) if exit.code == Some(0) => match self.image().await {
                Some(image) => (JobEvent::Exited { success: true }, "Build finished.".to_owned(), Some(image)),
                None => failed("Build failed: it left no image.".to_owned()),
            },
            (ExitCause::Exited, _) => failed(format!("Build failed with exit code {}.", exit.code.unwrap_or(-1))),
            (ExitCause::Failed { reason }, _) => failed(format!("Build failed: {reason}")),
            (ExitCause::OutOfMemory, _) => {
                failed(format!("Build failed: it needed more than its {} MB of memory.", build.options.memory_mbytes))
            }
            (ExitCause::Signal { signal }, _) => failed(format!("Build failed: it was killed by signal {signal}.")),
            (ExitCause::Stopped, _) => failed("Build failed: it was stopped from outside.".to_owned()),
            (ExitCause::Lost, _) => failed(
                "Build failed: its supervising process was killed from outside, or the machine went down.".to_owned(),
            ),
        };
        self.note_end(BuildEnd { event, message, at: Some(exit.at), image }).await;
    }

    async fn image(&self) -> Option<ImageInfo> {
        let id = self.live.state().id;
        let mut backoff = Backoff::default();
        loop {
            match self.engine.inner.driver.image(id.as_str()).await {
                Ok(image) => return image,
                Err(failure) => warn!(build.id = %id, %failure, "Cannot look at the image of build {id}; trying again"),
            }
            backoff.wait().await;
        }
    }

    async fn note_end(&mut self, ending: BuildEnd) {
        self.engine.crash_point("before end of build").await;
        // The last line stands in the log before anybody can see that the build is over.
        self.engine.say(&self.log, &ending.message).await;
        self.has_said_end = true;
        let uses_standby_mode = self.live.state().actor_definition.as_ref().is_some_and(|definition| {
            serde_json::from_str::<Value>(definition.get())
                .is_ok_and(|definition| definition["usesStandbyMode"] == true)
        });
        let now = self.engine.now();
        self.insist(move |build, actor| {
            let (status, _) = step(build.status, ending.event).map_err(|_| EngineError::JobFinished)?;
            build.status = status;
            end(build, &ending, now);
            if let Some(actor) = actor.filter(|_| status == JobStatus::Succeeded) {
                hand_to_actor(build, actor, uses_standby_mode);
            }
            Ok(true)
        })
        .await;
        let build = self.live.state();
        info!(build.id = %build.id, build.status = %build.status, "Build {} ended", build.id);
    }

    /// Changes the build, however often the store stumbles. Tells whether it did: what is refused was overtaken.
    async fn insist(
        &self,
        decide: impl Fn(&mut Build, Option<&mut Actor>) -> Result<bool, EngineError> + Clone + Send + 'static,
    ) -> bool {
        let id = self.live.state().id;
        let mut backoff = Backoff::default();
        loop {
            match self.engine.change_build(&id, decide.clone()).await {
                Err(error) if is_passing(&error) => {
                    warn!(build.id = %id, %error, "Cannot change build {id}; trying again");
                    backoff.wait().await;
                }
                Err(EngineError::NotFound(_)) => {
                    // Deleted under our hands: whatever still runs must not.
                    self.engine.kill(&job_of(&id)).await;
                    self.live.ended.cancel();
                    self.engine.inner.builds.remove(&id, &self.live);
                    return std::future::pending().await;
                }
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Frees what the build held. Repeating it is harmless.
    async fn clean_up(&mut self) {
        let id = self.live.state().id;
        // Whatever happens here, nobody who waits for the end may wait for ever.
        let gone = self.live.gone.clone().drop_guard();
        let ended = self.live.ended.clone().drop_guard();
        self.admitted = None;
        if !self.has_said_end {
            let message = self.live.state().status_message.clone().unwrap_or_default();
            self.engine.say(&self.log, &message).await;
        }
        drop(ended);
        self.engine.crash_point("after end of build").await;
        self.engine.kill(&job_of(&id)).await;
        self.engine.seal_log(&self.log).await;
        self.engine.forget(&job_of(&id)).await;
        if let Err(error) = tokio::fs::remove_dir_all(self.directory()).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            warn!(build.id = %id, %error, "Cannot remove the directory of build {id}");
        }
        drop(gone);
        self.engine.inner.builds.remove(&id, &self.live);
    }

    fn directory(&self) -> PathBuf {
        self.engine.inner.config.work_dir.join(format!("build-{}", self.live.state().id))
    }
}

/// Takes a build whose time is up to `TIMING-OUT`.
fn pass_deadline(build: &mut Build, _: Option<&mut Actor>) -> Result<bool, EngineError> {
    let (status, _) = step(build.status, JobEvent::DeadlinePassed).map_err(|_| EngineError::JobFinished)?;
    build.status = status;
    Ok(true)
}

fn timed_out(build: &Build) -> String {
    format!("Build exceeded its timeout of {} seconds.", build.options.timeout_secs)
}

/// Writes the ending into the build, but for its status.
pub(crate) fn end(build: &mut Build, ending: &BuildEnd, now: Timestamp) {
    let at = ending.at.unwrap_or(now).max(build.started_at);
    let millis = u64::try_from(at.millis_since(build.started_at)).unwrap_or_default();
    build.finished_at = Some(at);
    build.status_message = Some(ending.message.clone());
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a build stay far below 2^53")]
    let run_time_secs = millis as f64 / 1000.0;
    build.stats = BuildStats {
        duration_millis: millis,
        run_time_secs,
        compute_units: compute_units(build.options.memory_mbytes, millis),
        image_size_bytes: ending.image.as_ref().map(|image| image.size_bytes),
    };
}

/// What a successful build changes of its Actor: its tag points to the build (`ACT-6`), and Standby may be switched on,
/// never off (`ACT-12`). `modifiedAt` stays (`ACT-4`).
fn hand_to_actor(build: &Build, actor: &mut Actor, uses_standby_mode: bool) {
    if let Some(tag) = &build.tag {
        let tagged = TaggedBuild {
            build_id: build.id,
            build_number: build.build_number.clone(),
            build_number_int: parse_build_number(&build.build_number).unwrap_or_default(),
            finished_at: build.finished_at,
        };
        actor.tagged_builds.insert(tag.clone(), tagged);
    }
    if uses_standby_mode {
        actor.actor_standby.get_or_insert_default().is_enabled = true;
    }
}
