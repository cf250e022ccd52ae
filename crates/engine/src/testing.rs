//! A whole engine for tests: a fake driver, an embedded store in a directory of its own, a clock that follows tokio's, and
//! somebody with an Actor that can be run.
//!
//! Under a paused runtime (`#[tokio::test(start_paused = true)]`) both the timers and the timestamps stand still until the
//! test sleeps, so an hour's timeout takes no time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use drivers::fake::FakeDriver;
use model::{
    Actor, ActorId, Build, BuildId, BuildOptions, BuildStats, Clock, DefaultRunOptions, Development, GeneralAccess,
    JobMeta, JobStatus, Origin, PermissionLevel, Random, Run, RunId, RunOptions, RunStats, RunStorages, RunUsage,
    SharedClock, Source, SourceFile, StorageId, TaggedBuild, Timestamp, User, UserId, Version,
};
use parking_lot::Mutex;
use store::Store;
use store::embedded::{EmbeddedOptions, EmbeddedStore};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    Asked, Caller, Courier, Engine, EngineConfig, Parcel, Parts, Receipt, RunOptionsGiven, StartBuild, StartRun,
};

/// 31 August 2026, 09:13:25.
pub const START: Timestamp = Timestamp::from_millis(1_788_167_605_000);

/// An engine with everything that a test asks for first.
#[derive(Debug)]
pub struct TestEngine {
    /// The engine, which has recovered.
    pub engine: Engine,
    /// Its driver.
    pub driver: Arc<FakeDriver>,
    /// What carries its webhooks.
    pub courier: Arc<FakeCourier>,
    /// User `ada`, as she calls with a token of hers.
    pub ada: Caller,
    /// A token of hers.
    pub token: String,
    /// Her Actor `my-actor`, whose build `0.0.1` is tagged `latest`.
    pub actor: Arc<Actor>,
    parts: Parts,
    // Last, so that the directory goes when everything else is gone.
    directory: Arc<TempDir>,
}

impl TestEngine {
    /// Starts an engine on an empty store.
    pub async fn start() -> Self {
        Self::start_with(EngineConfig::default()).await
    }

    /// Starts an engine with settings; its directory for work is replaced.
    pub async fn start_with(config: EngineConfig) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let clock: SharedClock = Arc::new(TestClock::default());
        let random: Arc<dyn Random> = Arc::new(TestRandom::default());
        let store = open_store(directory.path(), &clock, &random).await;
        let driver = Arc::new(FakeDriver::new(clock.clone()));
        let config = EngineConfig { work_dir: directory.path().join("work"), ..config };
        let courier = Arc::new(FakeCourier::default());
        let parts =
            Parts { store, driver: driver.clone(), courier: courier.clone(), clock, random, secret: [7; 32], config };
        let engine = Engine::open(parts.clone()).await.expect("an engine");
        engine.recover().await.expect("nothing to recover");
        let user = engine.create_user("ada").await.expect("a user");
        let (_, token) = engine.create_token(&user.id, "test", None).await.expect("a token");
        let ada = Caller::of(user);
        let actor = engine.give_actor(&ada.user, "my-actor").await;
        driver.put_image(actor.tagged_builds["latest"].build_id.as_str(), FakeDriver::default_image());
        Self { engine, driver, courier, ada, token, actor, parts, directory }
    }

    /// Lets the server die where it stands, and starts another on the same store and driver.
    pub async fn crash(&mut self) {
        self.engine.inner.stop.cancel();
        self.engine = Engine::open(self.parts.clone()).await.expect("an engine");
        self.engine.recover().await.expect("a recovery");
    }

    /// Waits until the engine has come to a named point, where it stays; [`crash`](Self::crash) is next.
    pub async fn advance_to(&self, point: &'static str, work: impl Future + Send) {
        self.engine.inner.crash_points.halt_at(point);
        tokio::select! {
            () = self.engine.inner.crash_points.halted() => {}
            () = async { work.await; std::future::pending().await } => {}
        }
    }

    /// Starts a run of the Actor with nothing given.
    pub async fn run(&self) -> Arc<Run> {
        self.run_with(RunOptionsGiven::default()).await
    }

    /// Starts a run of the Actor with options.
    pub async fn run_with(&self, given: RunOptionsGiven) -> Arc<Run> {
        self.engine.start_run(&self.ada, &self.actor, start(given)).await.expect("a run")
    }

    /// Starts a run and waits until the driver executes it.
    pub async fn running(&self, given: RunOptionsGiven) -> Arc<Run> {
        let run = self.run_with(given).await;
        self.started(&run.id, 1).await
    }

    /// Starts a run whose token has that level of permissions, and waits until the driver executes it.
    pub async fn running_with(&self, level: PermissionLevel) -> Arc<Run> {
        let start = StartRun { force_permission_level: Some(level), ..start(RunOptionsGiven::default()) };
        let run = self.engine.start_run(&self.ada, &self.actor, start).await.expect("a run");
        self.started(&run.id, 1).await
    }

    /// Waits until that life of the run is known to run.
    pub async fn started(&self, id: &RunId, life: u32) -> Arc<Run> {
        self.until(id, |run| run.started_life >= life).await
    }

    /// Waits until the stored run is as the test wants it.
    pub async fn until(&self, id: &RunId, is_so: impl Fn(&Run) -> bool) -> Arc<Run> {
        loop {
            let run = self.stored(id).await;
            if is_so(&run) {
                return run;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// The run as it is stored.
    pub async fn stored(&self, id: &RunId) -> Arc<Run> {
        self.engine.store().runs.get(id).await.expect("a store").expect("a run")
    }

    /// Waits up to an hour for the end of a run.
    pub async fn ended(&self, id: &RunId) -> Arc<Run> {
        self.engine.wait_for_run(id, std::time::Duration::from_secs(3600)).await.expect("a run")
    }

    /// The secret in the address of a run's events.
    pub fn events_secret(&self, id: &RunId) -> String {
        self.engine.inner.keys.events_secret(id)
    }

    /// Ends the newest life of a run with an exit code.
    pub fn exit(&self, id: &RunId, code: i32) {
        self.driver.finish(id.as_str(), self.driver.exited(code));
    }

    /// The whole log of a run or build.
    pub async fn log(&self, job: store::JobLog) -> String {
        use futures::TryStreamExt as _;
        let chunks = self.engine.log(job, false).await.expect("a log");
        let chunks: Vec<_> = chunks.try_collect().await.expect("a readable log");
        String::from_utf8(chunks.concat()).expect("UTF-8")
    }

    /// Adds a version of these files and builds it.
    pub async fn build(&self, version: &str, files: &[(&str, &str)]) -> Arc<Build> {
        self.add_version(version, files).await;
        self.start_build(version).await
    }

    /// Adds a version of these files, tagged `latest`.
    pub async fn add_version(&self, number: &str, files: &[(&str, &str)]) {
        let version = a_version(number, files);
        let now = self.engine.clock().now();
        self.engine.store().actors.create_version(&self.actor.id, version, now).await.expect("a version");
    }

    /// Starts a build of a version.
    pub async fn start_build(&self, version: &str) -> Arc<Build> {
        let start = StartBuild {
            version: version.to_owned(),
            tag: None,
            use_cache: false,
            beta_packages: false,
            asked: asked(),
        };
        self.engine.start_build(&self.ada, &self.actor, start).await.expect("a build")
    }

    /// Looks at the Actor again, for example after a build.
    pub async fn reload_actor(&mut self) {
        self.actor = self.engine.store().actors.get(&self.actor.id).await.expect("a store").expect("an Actor");
    }

    /// Waits up to an hour for the end of a build.
    pub async fn built(&self, id: &BuildId) -> Arc<Build> {
        self.engine.wait_for_build(id, std::time::Duration::from_secs(3600)).await.expect("a build")
    }

    /// Where the store keeps its data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Engine {
    /// Gives a user an Actor that can be run: build `0.0.1` of version `0.0`, tagged `latest`.
    pub async fn give_actor(&self, owner: &User, name: &str) -> Arc<Actor> {
        let random = self.random();
        let mut actor = an_actor();
        actor.id = ActorId::random(random);
        actor.user_id = owner.id;
        name.clone_into(&mut actor.name);
        let actor = self.store().actors.create(actor, vec![a_version("0.0", &[])]).await.expect("an Actor");
        let (id, actor_id, user_id, now) = (BuildId::random(random), actor.id, owner.id, self.clock().now());
        let make = Box::new(move |number| Build {
            build_number: format!("0.0.{number}"),
            ..a_build(id, actor_id, user_id, now)
        });
        let source = Source::SourceFiles { source_files: vec![] };
        self.store().builds.create(&actor.id, "0.0", source, make).await.expect("a build");
        let change = Box::new(move |build: &mut Build, actor: Option<&mut Actor>| {
            build.status = JobStatus::Succeeded;
            build.finished_at = Some(now);
            if let Some(actor) = actor {
                let tagged = TaggedBuild {
                    build_id: id,
                    build_number: build.build_number.clone(),
                    build_number_int: 1,
                    finished_at: Some(now),
                };
                actor.tagged_builds.insert("latest".to_owned(), tagged);
            }
            true
        });
        self.store().builds.modify(&id, change).await.expect("a build");
        self.store().actors.get(&actor.id).await.expect("a store").expect("an Actor")
    }
}

async fn open_store(directory: &Path, clock: &SharedClock, random: &Arc<dyn Random>) -> Store {
    let options = EmbeddedOptions { clock: clock.clone(), random: random.clone(), inline: true };
    EmbeddedStore::open(directory, options).await.expect("a store")
}

/// A start that says nothing but `given`.
pub fn start(given: RunOptionsGiven) -> StartRun {
    StartRun {
        given,
        force_permission_level: None,
        input: None,
        without_dev_folder: false,
        asked: asked(),
        task: None,
        scheduled: None,
        webhooks: vec![],
        without_input: false,
    }
}

/// A call through the API.
pub fn asked() -> Asked {
    Asked { origin: Origin::Api, client_ip: None, user_agent: None, workflow_key: None }
}

/// A version of text files, tagged `latest`.
pub fn a_version(number: &str, files: &[(&str, &str)]) -> Version {
    let file = |(name, content): &(&str, &str)| SourceFile {
        name: (*name).to_owned(),
        format: None,
        content: Some((*content).to_owned()),
        folder: None,
    };
    Version {
        version_number: number.to_owned(),
        source: Source::SourceFiles { source_files: files.iter().map(file).collect() },
        build_tag: Some("latest".to_owned()),
        env_vars: vec![],
        apply_env_vars_to_build: false,
    }
}

/// An Actor of nobody.
pub fn an_actor() -> Actor {
    Actor {
        id: id("actor"),
        user_id: id("user"),
        name: "my-actor".to_owned(),
        title: None,
        description: None,
        seo_title: None,
        seo_description: None,
        is_public: false,
        is_deprecated: false,
        is_source_code_hidden: false,
        created_at: START,
        modified_at: START,
        default_run_options: DefaultRunOptions::default(),
        example_run_input: None,
        tagged_builds: BTreeMap::new(),
        last_build_of_version: BTreeMap::new(),
        pricing_infos: vec![],
        categories: vec![],
        actor_permission_level: PermissionLevel::LimitedPermissions,
        actor_standby: None,
        development: Development::default(),
    }
}

fn a_build(id: BuildId, actor_id: ActorId, user_id: UserId, started_at: Timestamp) -> Build {
    Build {
        id,
        actor_id,
        user_id,
        build_number: "0.0.1".to_owned(),
        status: JobStatus::Ready,
        started_at,
        finished_at: None,
        meta: asked().meta(),
        options: BuildOptions::default(),
        tag: None,
        source_kind: "SOURCE_FILES".to_owned(),
        env_vars: vec![],
        apply_env_vars_to_build: false,
        stats: BuildStats::default(),
        status_message: None,
        actor_definition: None,
        input_schema: None,
        readme: None,
        general_access: GeneralAccess::default(),
    }
}

/// A running run that is stored nowhere.
pub fn a_run() -> Run {
    Run {
        id: id("run"),
        actor_id: id("actor"),
        user_id: id("user"),
        task_id: None,
        build_id: id("build"),
        build_number: "0.0.1".to_owned(),
        build_tags: vec![],
        status: JobStatus::Running,
        status_message: None,
        is_status_message_terminal: None,
        started_at: START,
        finished_at: None,
        exit_code: None,
        end_cause: None,
        meta: JobMeta { ..asked().meta() },
        options: RunOptions {
            build: "latest".to_owned(),
            timeout_secs: 3600,
            memory_mbytes: 1024,
            disk_mbytes: 2048,
            max_items: None,
            max_total_charge_usd: None,
            restart_on_error: None,
        },
        stats: RunStats::default(),
        usage: RunUsage::default(),
        general_access: GeneralAccess::default(),
        storages: RunStorages {
            key_value_store: id::<StorageId>("store"),
            dataset: id::<StorageId>("dataset"),
            request_queue: id::<StorageId>("queue"),
            aliased_datasets: BTreeMap::new(),
        },
        input_key: "INPUT".to_owned(),
        permission_level: PermissionLevel::LimitedPermissions,
        granted_storages: vec![],
        token_scope: None,
        started_by: None,
        aborted_by: None,
        workflow_key: None,
        container_secret: "container".to_owned(),
        web_port: None,
        metamorphs: vec![],
        pricing_info: None,
        charged_event_counts: BTreeMap::new(),
        life: 1,
        started_life: 1,
        migrate_at: None,
        without_dev_folder: false,
        recent_restarts: vec![],
        deadline: None,
        running_since: Some(START),
    }
}

/// An id that begins with a word.
fn id<I: serde::de::DeserializeOwned>(word: &str) -> I {
    serde_json::from_value(serde_json::Value::String(format!("{word:0<17}"))).expect("an id")
}

/// A clock that starts at [`START`] and goes as tokio's does: not at all while the runtime is paused and busy.
#[derive(Debug)]
pub struct TestClock(Instant);

impl Default for TestClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        START.plus_millis(i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// Bytes that never repeat, the same in every test.
#[derive(Debug, Default)]
pub struct TestRandom(AtomicU64);

impl Random for TestRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            // A full-period generator over 64 bits; its top byte looks random enough for ids.
            let step = |state: u64| {
                Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
            };
            let state = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or_default();
            *byte = (state >> 56) as u8;
        }
    }
}

/// A courier that remembers what it was given, and answers as it was told to: with 200 where it was told nothing.
#[derive(Debug, Default)]
pub struct FakeCourier {
    sent: Mutex<Vec<Parcel>>,
    answers: Mutex<HashMap<String, VecDeque<Option<Receipt>>>>,
    came: tokio::sync::Notify,
}

impl FakeCourier {
    /// Has requests to `url` answered with these, one after the other and the last for ever; `None` never answers.
    pub fn answer(&self, url: &str, answers: impl IntoIterator<Item = Option<Receipt>>) {
        self.answers.lock().insert(url.to_owned(), answers.into_iter().collect());
    }

    /// Everything that was sent.
    pub fn sent(&self) -> Vec<Parcel> {
        self.sent.lock().clone()
    }

    /// Waits until so much was sent, and returns it.
    pub async fn until_sent(&self, count: usize) -> Vec<Parcel> {
        loop {
            let came = self.came.notified();
            let sent = self.sent();
            if sent.len() >= count {
                return sent;
            }
            came.await;
        }
    }
}

#[async_trait]
impl Courier for FakeCourier {
    async fn carry(&self, parcel: Parcel) -> Receipt {
        let url = parcel.url.clone();
        self.sent.lock().push(parcel);
        self.came.notify_waiters();
        let answer = match self.answers.lock().get_mut(&url) {
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().cloned(),
            None => None,
        };
        match answer {
            Some(Some(receipt)) => receipt,
            Some(None) => std::future::pending().await,
            None => Receipt { status: Some(200), body: Some("ok".to_owned()), error: None },
        }
    }
}

/// Places where the engine may be stopped, as a crash would.
#[derive(Debug, Default)]
pub(crate) struct CrashPoints {
    wanted: Mutex<Option<&'static str>>,
    halted: tokio::sync::Notify,
}

impl CrashPoints {
    fn halt_at(&self, point: &'static str) {
        *self.wanted.lock() = Some(point);
    }

    async fn halted(&self) {
        self.halted.notified().await;
    }

    pub(crate) async fn reached(&self, point: &'static str) {
        if *self.wanted.lock() == Some(point) {
            self.halted.notify_one();
            std::future::pending::<()>().await;
        }
    }
}
