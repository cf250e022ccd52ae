//! Launching a life of a run: everything between its turn and the execution of its command.

use drivers::{DriverError, Limits, Login, RunSpec};
use futures::TryStreamExt as _;
use model::{Actor, Build, EnvVar, JobEvent, JobStatus, Run, Timestamp, step};
use store::{Content, JobLog};
use tracing::warn;

use crate::builds::blocking;
use crate::runs::development;
use crate::runs::environment::{DEFAULT_WEB_PORT, Surroundings, custom_port, environment};
use crate::runs::live::{job, job_of};
use crate::supervision::Backoff;
use crate::{Engine, EngineError};

/// Attempts to launch a life when the driver fails for reasons of its own.
const ATTEMPTS: u32 = 5;

/// What became of a launch.
pub(crate) enum Launched {
    /// Its command runs, or ran.
    Running,
    /// Somebody changed the run meanwhile; look again.
    Overtaken,
    /// It cannot be started, for this reason.
    Impossible(String),
}

/// Names with values, and those of the values that are secret.
type OpenVariables = (Vec<(String, String)>, Vec<String>);

impl Engine {
    /// Launches the wanted life of `run`. May be repeated after a crash at any point.
    pub(crate) async fn launch(&self, run: &Run) -> Launched {
        if run.started_life > 0 && run.started_life < run.life {
            let former = job(&run.id, run.started_life);
            self.kill(&former).await;
            self.forget(&former).await;
            self.release_locks(run).await;
        }
        let port = match self.port_for(run) {
            Ok(port) => port,
            Err(error) => return Launched::Impossible(format!("there is no free port: {error}")),
        };
        let timeout_at = run.deadline.or_else(|| deadline_from(run, self.now()));
        let (spec, port) = match self.spec(run, port, timeout_at).await {
            Ok(spec) => spec,
            Err(reason) => return Launched::Impossible(reason),
        };
        self.say(&JobLog::Run(run.id), &self.first_line(run)).await;
        self.crash_point("before start of run").await;

        let mut backoff = Backoff::default();
        for attempt in 1.. {
            match self.inner.driver.start_run(&spec).await {
                Ok(()) => break,
                Err(DriverError::Other(failure)) if attempt < ATTEMPTS => {
                    warn!(run.id = %run.id, %failure, "The driver could not start run {}; trying again", run.id);
                    backoff.wait().await;
                }
                Err(DriverError::CannotStart(reason)) => return Launched::Impossible(reason),
                Err(failure) => return Launched::Impossible(failure.to_string()),
            }
        }
        self.crash_point("after start of run").await;
        self.note_started(run, Some(port), timeout_at).await
    }

    /// Writes down that the wanted life of `run` has been started.
    pub(crate) async fn note_started(&self, run: &Run, port: Option<u16>, timeout_at: Option<Timestamp>) -> Launched {
        let (life, now) = (run.life, self.now());
        let mut backoff = Backoff::default();
        loop {
            let change = self.change_run(&run.id, move |run| {
                if run.life != life || run.status.is_terminal() {
                    return Err(EngineError::JobFinished);
                }
                if run.status == JobStatus::Ready {
                    let (status, _) =
                        step(run.status, JobEvent::Started).map_err(|error| EngineError::Internal(error.into()))?;
                    run.status = status;
                }
                run.started_life = life;
                run.running_since = run.running_since.or(Some(now));
                run.deadline = run.deadline.or(timeout_at);
                run.web_port = port.or(run.web_port);
                Ok(())
            });
            match change.await {
                Ok((run, ())) => {
                    // Its start may have cost all that it may cost.
                    if let Err(error) = self.stop_if_spent(&run).await {
                        warn!(run.id = %run.id, %error, "Cannot abort run {}, which has used up its budget", run.id);
                    }
                    return Launched::Running;
                }
                Err(error) if crate::supervision::is_passing(&error) => {
                    warn!(run.id = %run.id, %error, "Cannot write down that run {} started; trying again", run.id);
                    backoff.wait().await;
                }
                Err(_) => {
                    self.kill(&job(&run.id, life)).await;
                    self.forget(&job(&run.id, life)).await;
                    return Launched::Overtaken;
                }
            }
        }
    }

    pub(crate) async fn release_locks(&self, run: &Run) {
        if let Err(error) = self.inner.store.queues.release_run(&run.id).await {
            warn!(run.id = %run.id, %error, "Cannot release the requests that run {} has locked", run.id);
        }
    }

    fn port_for(&self, run: &Run) -> std::io::Result<u16> {
        if self.inner.driver.has_own_network() {
            return Ok(DEFAULT_WEB_PORT);
        }
        match run.web_port {
            Some(port) if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() => Ok(port),
            _ => self.free_port(),
        }
    }

    fn first_line(&self, run: &Run) -> String {
        let driver = self.inner.driver.name();
        let (build, memory) = (&run.build_number, run.options.memory_mbytes);
        match run.life {
            1 => format!("Starting build {build} with {memory} MB of memory ({driver} driver)."),
            _ => format!("Starting again: build {build} with {memory} MB of memory ({driver} driver)."),
        }
    }

    /// What the driver is told, and the port of the run's web server: `port`, unless the version asks for another.
    async fn spec(&self, run: &Run, port: u16, timeout_at: Option<Timestamp>) -> Result<(RunSpec, u16), String> {
        let failed = |error: &dyn std::fmt::Display| format!("the store failed: {error}");
        let store = &self.inner.store;
        let build = store.builds.get(&run.build_id).await.map_err(|error| failed(&error))?;
        let build = build.ok_or_else(|| format!("its build {} was deleted", run.build_number))?;
        let actor = store.actors.get(&run.actor_id).await.map_err(|error| failed(&error))?;
        let owner = match &actor {
            Some(actor) => self.user(&actor.user_id).await.map_err(|error| failed(&error))?,
            None => None,
        };
        let starter = self.user(&run.user_id).await.map_err(|error| failed(&error))?;

        let (mut custom, _) = self.open_variables(&build.env_vars)?;
        // For builds alone.
        Login::taken_from(&mut custom);
        let port = custom_port(&custom).unwrap_or(port);
        let has_secrets = self.view(&build).map_err(|error| failed(&error))?.has_secrets();
        let input_key = match has_secrets {
            true => Some(self.key_for_run(run).await.map_err(|error| failed(&error))?),
            false => None,
        };
        let token = self.inner.keys.run_token(&run.id);
        let events_secret = self.inner.keys.events_secret(&run.id);
        let mut env = environment(
            run,
            &Surroundings {
                config: &self.inner.config,
                actor: actor.as_ref().zip(owner.as_ref()).map(|(actor, owner)| (&*owner.username, &*actor.name)),
                token: &token,
                events_secret: &events_secret,
                proxy_password: starter.as_ref().map(|user| &*user.proxy_password),
                input_key: input_key.as_ref(),
                port,
                timeout_at,
                custom: &custom,
            },
        );
        let secrets = self.secrets_of(run, &build).await?;
        let development = self.development(run, actor.as_deref()).await?;
        // What the version itself sets wins: it may be another debugger.
        for (name, value) in development.env {
            env.entry(name).or_insert(value);
        }
        let log = store.logs.file(&JobLog::Run(run.id)).await.map_err(|error| failed(&error))?;
        let spec = RunSpec {
            job: job_of(run),
            build_id: run.build_id.to_string(),
            env,
            secrets,
            limits: limits(run.options.memory_mbytes, run.options.disk_mbytes),
            mounts: development.mounts,
            ports: development.ports,
            log,
        };
        Ok((spec, port))
    }

    /// What the development of the run's Actor asks of it, said in its log. Only its owner's runs are asked.
    async fn development(&self, run: &Run, actor: Option<&Actor>) -> Result<development::Asked, String> {
        let actor = actor.filter(|actor| actor.user_id == run.user_id && !actor.development.is_default());
        let Some(actor) = actor.filter(|_| self.inner.config.development) else {
            return Ok(development::Asked::default());
        };
        let (asked, without_folder) = (actor.development.clone(), run.without_dev_folder);
        let (has_own_network, work_dir) = (self.inner.driver.has_own_network(), self.inner.config.work_dir.clone());
        let read = move || {
            development::asked(&asked, without_folder, has_own_network, &work_dir).map_err(|error| error.to_string())
        };
        let asked = blocking(read).await?;
        for line in &asked.said {
            self.say(&JobLog::Run(run.id), line).await;
        }
        Ok(asked)
    }

    /// What every run has to hide, whatever its build and input are.
    fn own_secrets(&self, run: &Run) -> [String; 2] {
        [self.inner.keys.run_token(&run.id), self.inner.keys.input_passphrase(&run.id)]
    }

    /// What must not be seen in the run's log, which is readable by whoever has the run's id.
    async fn secrets_of(&self, run: &Run, build: &Build) -> Result<Vec<String>, String> {
        let (_, mut secrets) = self.open_variables(&build.env_vars)?;
        secrets.extend(self.own_secrets(run));
        let input = self.secret_input(run, build).await;
        secrets.extend(input.map_err(|error| format!("the store failed: {error}"))?);
        Ok(secrets)
    }

    /// Hands the driver what it cannot keep on disk of a run that a former server started.
    pub(crate) async fn hand_over_secrets(&self, run: &Run) {
        let mut backoff = Backoff::default();
        let secrets = loop {
            let build = match self.inner.store.builds.get(&run.build_id).await {
                // With the build its variables are gone; these are what is left to hide.
                Ok(None) => break self.own_secrets(run).to_vec(),
                Ok(Some(build)) => self.secrets_of(run, &build).await,
                Err(error) => Err(error.to_string()),
            };
            match build {
                Ok(secrets) => break secrets,
                Err(reason) => {
                    warn!(run.id = %run.id, reason, "Cannot read the secrets of run {}; trying again", run.id)
                }
            }
            backoff.wait().await;
        };
        for life in [run.started_life, run.life] {
            if let Err(failure) = self.inner.driver.take_up(&job(&run.id, life), &secrets).await {
                warn!(run.id = %run.id, %failure, "The driver could not take up run {}", run.id);
            }
        }
    }

    /// The values of the run's input that its build's schema calls secret.
    async fn secret_input(&self, run: &Run, build: &Build) -> Result<Vec<String>, EngineError> {
        let view = self.view(build)?;
        let Some(schema) = view.input_schema.as_ref().filter(|_| view.has_secrets()) else { return Ok(Vec::new()) };
        let records = &self.inner.store.records;
        let record = records.get(&run.storages.key_value_store, &run.input_key).await?;
        let Some(record) = record else { return Ok(Vec::new()) };
        let body = match record.content {
            Content::Inline(body) => body,
            content @ Content::Object { .. } => {
                let chunks = records.open(&content, None).await?.try_collect::<Vec<_>>().await;
                chunks.map_err(anyhow::Error::new)?.concat().into()
            }
        };
        let Ok(mut input) = serde_json::from_slice(&body) else { return Ok(Vec::new()) };
        self.decrypt_fields(&run.user_id, &run.actor_id, schema, &mut input).await?;
        Ok(view.secrets_in(&input))
    }

    /// The variables of a version with secret ones opened, and the secret values.
    pub(crate) fn open_variables(&self, variables: &[EnvVar]) -> Result<OpenVariables, String> {
        let (mut opened, mut secrets) = (Vec::new(), Vec::new());
        for variable in variables {
            let Some(value) = &variable.value else { continue };
            let value = if variable.is_secret {
                let value = self
                    .unseal(value)
                    .ok_or_else(|| format!("the secret variable {} cannot be read; set it again", variable.name))?;
                secrets.push(value.clone());
                value
            } else {
                value.clone()
            };
            opened.push((variable.name.clone(), value));
        }
        Ok((opened, secrets))
    }
}

/// When a run that starts running at `now` has to be stopped (`START-4`).
pub(crate) fn deadline_from(run: &Run, now: Timestamp) -> Option<Timestamp> {
    let secs = i64::try_from(run.options.timeout_secs).unwrap_or(i64::MAX);
    (secs > 0).then(|| now.plus_secs(secs))
}

/// What a job of that size may use (`RES-1`, `RES-2`).
pub(crate) fn limits(memory_mbytes: u32, disk_mbytes: u32) -> Limits {
    Limits {
        memory_bytes: u64::from(memory_mbytes) << 20,
        cpu_millis: (u64::from(memory_mbytes) * 1000).div_ceil(4096),
        // Browsers want hundreds of threads even in small runs; a fork bomb wants all there are.
        pids: u64::from(memory_mbytes).max(512),
        disk_bytes: u64::from(disk_mbytes) << 20,
    }
}
