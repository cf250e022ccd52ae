//! A driver to be tested, with an image in which scripts can be run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[cfg(feature = "docker")]
use playhouse_drivers::docker::{DockerConfig, DockerDriver, Endpoint, NetworkChoice};
use playhouse_drivers::process::image::StoredImage;
use playhouse_drivers::process::{ProcessConfig, ProcessDriver};
use playhouse_drivers::{BuildSpec, Driver, Exit, ImageInfo, Job, JobKind, Limits, RunSpec};
use tempfile::TempDir;

/// The base of images for tests, which the engines have and the process driver knows.
pub const BASE: &str = "node:20";

pub struct Bench {
    pub driver: Arc<dyn Driver>,
    pub host: Host,
    pub dir: TempDir,
    instance: String,
}

/// What is below a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Processes,
    Engine { name: String, address: String },
}

/// A bench for every driver that can be tested here.
pub async fn benches() -> Vec<Bench> {
    let mut benches = vec![Bench::on(Host::Processes).await];
    for host in engines() {
        benches.push(Bench::on(host).await);
    }
    benches
}

/// The engines that are there.
pub fn engines() -> Vec<Host> {
    let named = std::env::var("PLAYHOUSE_TEST_ENGINES").unwrap_or_default();
    if named.trim().is_empty() {
        eprintln!("SKIPPED: no container engine is named in PLAYHOUSE_TEST_ENGINES");
    }
    let engines = named.split_whitespace().filter_map(|engine| engine.split_once('='));
    engines.map(|(name, address)| Host::Engine { name: name.into(), address: address.into() }).collect()
}

impl Bench {
    pub async fn on(host: Host) -> Self {
        static BENCHES: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let number = BENCHES.fetch_add(1, Ordering::Relaxed);
        let instance = format!("test{}x{number}", std::process::id());
        let driver = open(&host, dir.path(), &instance);
        let bench = Self { driver, host, dir, instance };
        bench.make_image().await;
        bench
    }

    /// A driver as a restarted server would open it.
    pub fn reopened(&self) -> Arc<dyn Driver> {
        open(&self.host, self.dir.path(), &self.instance)
    }

    pub fn is_containers(&self) -> bool {
        self.host != Host::Processes
    }

    pub fn engine(&self) -> &str {
        match &self.host {
            Host::Processes => "",
            Host::Engine { name, .. } => name,
        }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    async fn make_image(&self) {
        if !self.is_containers() {
            return self.lay_out("build1", "/usr/src/app", &[("hello.txt", "from the image\n")]);
        }
        // Built once on each engine; every bench gives it a name of its own.
        static BUILT: tokio::sync::Mutex<BTreeSet<String>> = tokio::sync::Mutex::const_new(BTreeSet::new());
        const SHARED: &str = "localhost/playhouse-conformance:1";
        let name = format!("localhost/playhouse-{}:build1", self.instance);
        let mut built = BUILT.lock().await;
        if built.contains(self.engine()) {
            self.docker(&["tag", SHARED, &name]);
            return;
        }
        let dockerfile = format!(
            "FROM {BASE}\nENV FROM_IMAGE=yes OVERRIDDEN=image\nRUN echo from the image > hello.txt\nCMD [\"/bin/sh\", \"-c\", \"eval \\\"$SCRIPT\\\"\"]\n"
        );
        let spec = self.build_spec("build1", &self.context(&[]), &dockerfile);
        let (exit, log) = self.build(&spec).await;
        assert_eq!(exit.code, Some(0), "{exit:?} {log}");
        self.driver.forget(&spec.job).await.unwrap();
        self.docker(&["tag", &name, SHARED]);
        built.insert(self.engine().to_owned());
    }

    /// An image of the process driver that has a package.
    pub fn put_packages(&self, id: &str) {
        self.lay_out(id, "/app", &[("main", "old\n"), ("node_modules/package", "of the image\n")]);
    }

    /// The process driver's own tests build; here its image is laid out as a build would leave it.
    fn lay_out(&self, id: &str, workdir: &str, files: &[(&str, &str)]) {
        let build = self.data_dir().join("builds").join(id);
        for (name, text) in files {
            let file = build.join("layers/1").join(workdir.trim_start_matches('/')).join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        if let Some((uid, gid)) = playhouse_drivers::process::sandbox::owner() {
            let owner = format!("{uid}:{gid}");
            std::process::Command::new("chown").args(["-R", &owner]).arg(build.join("layers/1")).status().unwrap();
        }
        let info = ImageInfo {
            env: BTreeMap::from([("FROM_IMAGE".into(), "yes".into()), ("OVERRIDDEN".into(), "image".into())]),
            workdir: workdir.into(),
            cmd: ["/bin/sh", "-c", "eval \"$SCRIPT\""].map(str::to_owned).to_vec(),
            ..ImageInfo::default()
        };
        let layers = vec![PathBuf::from("builds").join(id).join("layers/1")];
        let stored = StoredImage { info, layers, binds: Vec::new() };
        fs::write(build.join("image.json"), serde_json::to_vec(&stored).unwrap()).unwrap();
    }

    /// A run of a shell script in the image.
    pub fn script(&self, id: &str, script: &str) -> RunSpec {
        RunSpec {
            job: Job { kind: JobKind::Run, id: id.into(), life: 1 },
            build_id: "build1".into(),
            env: BTreeMap::from([("SCRIPT".into(), script.into()), ("OVERRIDDEN".into(), "run".into())]),
            secrets: Vec::new(),
            mounts: Vec::new(),
            ports: Vec::new(),
            limits: Limits { memory_bytes: 256 << 20, cpu_millis: 2000, pids: 64, disk_bytes: 1 << 30 },
            log: self.log_of("runs", id),
        }
    }

    fn log_of(&self, kind: &str, id: &str) -> PathBuf {
        let dir = self.data_dir().join("logs").join(kind);
        fs::create_dir_all(&dir).unwrap();
        dir.join(id)
    }

    /// Runs a script to its end; its exit and its log without stamps.
    pub async fn run(&self, spec: &RunSpec) -> (Exit, String) {
        self.driver.start_run(spec).await.unwrap();
        let exit = soon(self.driver.wait(&spec.job)).await.unwrap();
        (exit, log(&spec.log))
    }

    /// Writes files of a build context, replacing the one before.
    pub fn context(&self, files: &[(&str, &str)]) -> PathBuf {
        let context = self.dir.path().join("context");
        fs::remove_dir_all(&context).ok();
        fs::create_dir_all(&context).unwrap();
        for (path, text) in files {
            let path = context.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        context
    }

    pub fn build_spec(&self, id: &str, context: &Path, dockerfile: &str) -> BuildSpec {
        BuildSpec {
            job: Job { kind: JobKind::Build, id: id.into(), life: 1 },
            context: context.to_owned(),
            dockerfile: dockerfile.into(),
            dockerfile_name: "Dockerfile".into(),
            args: BTreeMap::new(),
            secrets: Vec::new(),
            prebuilt: None,
            use_cache: true,
            limits: Limits { memory_bytes: 2 << 30, cpu_millis: 4000, pids: 512, disk_bytes: 8 << 30 },
            log: self.log_of("builds", id),
        }
    }

    pub async fn build(&self, spec: &BuildSpec) -> (Exit, String) {
        self.driver.start_build(spec).await.unwrap();
        let exit = tokio::time::timeout(Duration::from_secs(600), self.driver.wait(&spec.job)).await.expect("no end");
        (exit.unwrap(), log(&spec.log))
    }

    /// The `docker` program on this engine.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let Host::Engine { address, .. } = &self.host else { panic!("no engine") };
        let output = std::process::Command::new("docker").args(["-H", address]).args(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The name of a life's container.
    pub fn container(&self, spec: &RunSpec) -> String {
        format!("playhouse-{}-{}-{}", self.instance, spec.job.id, spec.job.life)
    }

    /// A driver on the same data directory and another address of the engine.
    #[cfg(feature = "docker")]
    pub fn through(&self, socket: &Path) -> Arc<dyn Driver> {
        let address = format!("unix://{}", socket.display());
        open(&Host::Engine { name: String::new(), address }, self.dir.path(), &self.instance)
    }

    /// A driver that puts runs into the engine's bridge, for a server at `server`.
    #[cfg(feature = "docker")]
    pub fn on_bridge(&self, server: &str) -> DockerDriver {
        let Host::Engine { address, .. } = &self.host else { panic!("no engine") };
        DockerDriver::open(DockerConfig {
            network: NetworkChoice::Bridge("bridge".into()),
            server: server.parse().unwrap(),
            tries_network: true,
            ..config(address, &self.data_dir(), &self.instance)
        })
    }

    /// Another server on the same engine.
    pub async fn neighbour(&self) -> Self {
        Self::on(self.host.clone()).await
    }
}

impl Drop for Bench {
    /// Leaves nothing behind, also after a failed test.
    fn drop(&mut self) {
        let label = format!("label=org.playhouse.instance={}", self.instance);
        let Host::Engine { address, .. } = &self.host else { return };
        let docker = |arguments: &[&str]| {
            let output = std::process::Command::new("docker").args(["-H", address]).args(arguments).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        for container in docker(&["ps", "--all", "--quiet", "--filter", &label]).split_whitespace() {
            docker(&["rm", "--force", container]);
        }
        let images = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        for image in images.split_whitespace().filter(|image| image.contains(&format!("playhouse-{}:", self.instance)))
        {
            docker(&["rmi", "--force", image]);
        }
    }
}

fn open(host: &Host, dir: &Path, instance: &str) -> Arc<dyn Driver> {
    let data_dir = dir.join("data");
    match host {
        Host::Processes => {
            let mut config = ProcessConfig::new(data_dir, env!("CARGO_BIN_EXE_drivers-shim"));
            config.min_free_bytes = 0;
            Arc::new(ProcessDriver::open(config).unwrap())
        }
        #[cfg(feature = "docker")]
        Host::Engine { address, .. } => Arc::new(DockerDriver::open(config(address, &data_dir, instance))),
        #[cfg(not(feature = "docker"))]
        Host::Engine { .. } => panic!("built without the docker driver ({instance})"),
    }
}

/// A driver in the host's network, which needs the least.
#[cfg(feature = "docker")]
pub fn config(address: &str, data_dir: &Path, instance: &str) -> DockerConfig {
    DockerConfig {
        data_dir: data_dir.to_owned(),
        instance: instance.to_owned(),
        endpoint: Endpoint::parse(address).unwrap(),
        network: NetworkChoice::Host,
        server: "127.0.0.1:1".parse().unwrap(),
        api_url: None,
        tries_network: false,
        ephemeral: false,
        read_only: false,
        min_free_bytes: 0,
    }
}

/// A log without stamps; each line must have exactly one.
pub fn log(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = String::new();
    for line in text.lines() {
        let (stamp, rest) = line.split_at(25);
        assert!(model::Timestamp::parse(stamp.trim()).is_some() && stamp.ends_with("Z "), "no stamp: {line}");
        lines.push_str(rest);
        lines.push('\n');
    }
    lines
}

/// Whatever takes two minutes will take forever.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("still not there after two minutes")
}

/// Waits for a fact.
pub async fn until(what: &str, fact: impl Fn() -> bool) {
    let begin = Instant::now();
    while !fact() {
        assert!(begin.elapsed() < Duration::from_secs(120), "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Process ids, as seen here, of all processes whose command line holds `text`.
pub fn processes(text: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id().cast_signed();
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        *pid != own && line.trim_end().ends_with(text)
    })
    .collect()
}

pub fn kill(pid: i32, signal: &str) {
    let status = std::process::Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Whether runs are held to their limits here.
pub fn is_limited(bench: &Bench) -> bool {
    let details = bench.driver.isolation().details;
    bench.is_containers() || details.iter().any(|detail| detail.starts_with("memory, CPU and processes limited"))
}
