//! A driver to be tested, with an image in which scripts can be run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[cfg(feature = "docker")]
use playhouse_drivers::docker::{DockerConfig, DockerDriver, Endpoint, NetworkChoice};
use playhouse_drivers::process::{ProcessConfig, ProcessDriver};
use playhouse_drivers::{BuildSpec, Driver, Exit, RunSpec};
use tempfile::TempDir;

use crate::contexts::{build_spec, context};
use crate::scripts::{lay_out, script};
use crate::waiting::{log, soon};

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

/// The same and an engine without root, for what that may change.
pub async fn all_benches() -> Vec<Bench> {
    let mut benches = benches().await;
    for host in rootless() {
        benches.push(Bench::on(host).await);
    }
    benches
}

/// The engines that are there and run as root.
pub fn engines() -> Vec<Host> {
    named().into_iter().filter(|host| !host.is_rootless()).collect()
}

/// The engines that are there and run as an ordinary user.
pub fn rootless() -> Vec<Host> {
    named().into_iter().filter(Host::is_rootless).collect()
}

fn named() -> Vec<Host> {
    let named = std::env::var("PLAYHOUSE_TEST_ENGINES").unwrap_or_default();
    if named.trim().is_empty() {
        eprintln!("SKIPPED: no container engine is named in PLAYHOUSE_TEST_ENGINES");
    }
    let engines = named.split_whitespace().filter_map(|engine| engine.split_once('='));
    engines.map(|(name, address)| Host::Engine { name: name.into(), address: address.into() }).collect()
}

impl Host {
    pub fn is_rootless(&self) -> bool {
        matches!(self, Self::Engine { name, .. } if name.ends_with("-rootless"))
    }
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

    /// Which kind of engine it is, if any.
    pub fn engine(&self) -> &str {
        match &self.host {
            Host::Processes => "",
            Host::Engine { name, .. } => name.trim_end_matches("-rootless"),
        }
    }

    /// Something that only this bench has.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    async fn make_image(&self) {
        if !self.is_containers() {
            return lay_out(&self.data_dir(), "build1", "/usr/src/app", &[("hello.txt", "from the image\n")]);
        }
        // Built once on each engine; every bench gives it a name of its own.
        static BUILT: tokio::sync::Mutex<BTreeSet<String>> = tokio::sync::Mutex::const_new(BTreeSet::new());
        const SHARED: &str = "localhost/playhouse-conformance:1";
        let name = format!("localhost/playhouse-{}:build1", self.instance);
        let Host::Engine { address, .. } = &self.host else { panic!("no engine") };
        let mut built = BUILT.lock().await;
        if built.contains(address) {
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
        built.insert(address.clone());
    }

    /// A run of a shell script in the image.
    pub fn script(&self, id: &str, text: &str) -> RunSpec {
        script(&self.data_dir(), id, text)
    }

    /// Runs a script to its end; its exit and its log without stamps.
    pub async fn run(&self, spec: &RunSpec) -> (Exit, String) {
        self.driver.start_run(spec).await.unwrap();
        let exit = soon(self.driver.wait(&spec.job)).await.unwrap();
        (exit, log(&spec.log))
    }

    /// Writes files of a build context, replacing the one before.
    pub fn context(&self, files: &[(&str, &str)]) -> PathBuf {
        context(self.dir.path(), files)
    }

    pub fn build_spec(&self, id: &str, context: &Path, dockerfile: &str) -> BuildSpec {
        build_spec(&self.data_dir(), id, context, dockerfile)
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

    /// A driver on the same data directory and another socket of the engine.
    #[cfg(feature = "docker")]
    pub fn through(&self, socket: &Path) -> Arc<dyn Driver> {
        self.at(&format!("unix://{}", socket.display()))
    }

    /// A driver on the same data directory and another address of the engine.
    #[cfg(feature = "docker")]
    pub fn at(&self, address: &str) -> Arc<dyn Driver> {
        open(&Host::Engine { name: String::new(), address: address.to_owned() }, self.dir.path(), &self.instance)
    }

    /// A driver that puts runs into the engine's bridge, for a server at `server`.
    #[cfg(feature = "docker")]
    pub fn on_bridge(&self, server: &str) -> DockerDriver {
        let (network, server) = (NetworkChoice::Bridge("bridge".into()), server.parse().unwrap());
        self.opened(|config| DockerConfig { network, server, tries_network: true, ..config })
    }

    /// A driver that is set up in another way.
    #[cfg(feature = "docker")]
    pub fn opened(&self, change: impl FnOnce(DockerConfig) -> DockerConfig) -> DockerDriver {
        let Host::Engine { address, .. } = &self.host else { panic!("no engine") };
        DockerDriver::open(change(config(address, &self.data_dir(), &self.instance)))
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

/// Whether runs are held to their limits here.
pub fn is_limited(bench: &Bench) -> bool {
    let details = bench.driver.isolation().details;
    bench.is_containers() || details.iter().any(|detail| detail.starts_with("memory, CPU and processes limited"))
}
