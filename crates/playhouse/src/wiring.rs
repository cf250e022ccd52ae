//! Puts the parts together: data directory, store, driver, engine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use api::ApiConfig;
use drivers::process::{ProcessConfig, ProcessDriver};
use engine::{Engine, EngineConfig, HttpCourier, Parts};
use model::{SharedClock, SystemClock, User};
use store::embedded::{EmbeddedOptions, EmbeddedStore};

use crate::accounts::{FIRST_USER, OPERATOR_TOKEN};
use crate::data_dir::DataDir;
use crate::random::SystemRandom;
use crate::settings::{DEFAULT_PORT, PrivateTargets, Settings};

/// The addresses of a server.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// As runs on this machine reach it.
    pub local: String,
    /// As everybody else reaches it.
    pub public: String,
}

impl Addresses {
    /// The addresses of a server that listens on `bound`.
    pub fn of(settings: &Settings, bound: SocketAddr) -> Self {
        let loopback = if bound.ip().is_unspecified() || bound.ip().is_loopback() {
            format!("http://127.0.0.1:{}", bound.port())
        } else {
            format!("http://{bound}")
        };
        // The official CLI takes `localhost` for port 3333, whatever port follows it (CLI-1).
        let shown = if bound.port() == DEFAULT_PORT && bound.ip().is_loopback() {
            format!("http://localhost:{DEFAULT_PORT}")
        } else {
            loopback.clone()
        };
        let public = settings.public_url.as_ref().map_or(shown, |url| url.trim_end_matches('/').to_owned());
        Self { local: loopback, public }
    }
}

/// What the settings say of the HTTP face.
pub fn api_config(settings: &Settings) -> ApiConfig {
    ApiConfig { max_record: settings.max_record_mbytes.map(|mbytes| u64::from(mbytes) << 20), ..ApiConfig::default() }
}

/// Opens the store and the engine of a data directory.
pub async fn open(
    data_dir: &DataDir,
    settings: &Settings,
    addresses: &Addresses,
    ephemeral: bool,
) -> anyhow::Result<Engine> {
    let clock: SharedClock = Arc::new(SystemClock);
    let random = Arc::new(SystemRandom);
    // The driver tries out what the kernel allows, which takes as long as opening the store: both at once.
    let exe = std::env::current_exe().context("cannot find the program's own file")?;
    let process = ProcessConfig { ephemeral, ..ProcessConfig::new(data_dir.path(), exe) };
    let driver = tokio::task::spawn_blocking(move || ProcessDriver::open(process));
    let options = EmbeddedOptions { clock: clock.clone(), random: random.clone(), inline: false };
    let store = EmbeddedStore::open(data_dir.path(), options).await.context("cannot open the store")?;
    let driver = driver.await?.context("cannot start the process driver")?;
    let port = addresses.local.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_PORT);
    let defaults = EngineConfig::default();
    let config = EngineConfig {
        build_timeout_secs: settings.build_timeout_secs.unwrap_or(defaults.build_timeout_secs),
        git_protocols: settings.git_protocols.clone().unwrap_or(defaults.git_protocols.clone()),
        api_url: addresses.local.clone(),
        public_url: addresses.public.clone(),
        actor_hosts: settings.actor_hosts.unwrap_or_default(),
        console_url: addresses.public.clone(),
        memory_mbytes: settings.memory_mbytes.unwrap_or_else(three_quarters_of_memory),
        user_memory_mbytes: settings.user_memory_mbytes,
        user_concurrent_runs: settings.user_concurrent_runs,
        retention_days: settings.retention_days,
        proxy: Some(engine::ProxyEnv { host: "127.0.0.1".to_owned(), port }),
        work_dir: data_dir.path().join("work"),
        missed_schedules: settings.missed_schedules(),
        dispatch_days: settings.webhook_dispatch_days.unwrap_or(defaults.dispatch_days),
        ..defaults
    };
    let secret = data_dir.secret(&SystemRandom)?;
    let allow_private = settings.webhook_private_targets.unwrap_or_default() == PrivateTargets::Allow;
    let courier = Arc::new(HttpCourier::new(&[&config.api_url, &config.public_url], allow_private));
    let parts = Parts { store, driver: Arc::new(driver), courier, clock, random, secret, config };
    Engine::open(parts).await.context("cannot start the engine")
}

/// A data directory whose server does not run, opened to carry out an order.
pub struct Stopped {
    /// Its engine, which starts nothing.
    pub engine: Engine,
    _data_dir: DataDir,
}

impl Stopped {
    /// Opens it.
    pub async fn open(path: &Path) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(path)?;
        let settings = Settings::default();
        let addresses = Addresses::of(&settings, settings.listen());
        let engine = open(&data_dir, &settings, &addresses, false).await?;
        Ok(Self { engine, _data_dir: data_dir })
    }
}

/// The local operator and a token of theirs; both are made at the first start.
pub async fn operator(engine: &Engine, data_dir: &DataDir) -> anyhow::Result<(Arc<User>, String)> {
    if let Some(token) = DataDir::operator_token(data_dir.path())?
        && let Some(caller) = engine.authenticate(&token).await?
    {
        return Ok((caller.user, token));
    }
    let user = match engine.store().users.find(FIRST_USER).await? {
        Some(user) => user,
        None => engine.create_user(FIRST_USER).await?,
    };
    let (_, token) = engine.create_token(&user.id, OPERATOR_TOKEN, None).await?;
    data_dir.set_operator_token(&token)?;
    Ok((user, token))
}

/// Three quarters of the machine's memory in megabytes.
fn three_quarters_of_memory() -> u32 {
    let total_kib = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .unwrap_or(4 * 1024 * 1024);
    u32::try_from(total_kib / 1024 * 3 / 4).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_that_the_cli_expects_is_called_localhost() {
        let shown = |listen: &str, url: Option<&str>| {
            let settings = Settings { public_url: url.map(ToOwned::to_owned), ..Settings::default() };
            Addresses::of(&settings, listen.parse().unwrap()).public
        };

        assert_eq!(shown("127.0.0.1:3333", None), "http://localhost:3333");
        assert_eq!(shown("127.0.0.1:4000", None), "http://127.0.0.1:4000");
        assert_eq!(shown("0.0.0.0:4000", Some("https://actors.example/")), "https://actors.example");
    }
}
