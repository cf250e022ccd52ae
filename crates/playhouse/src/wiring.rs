//! Puts the parts together: data directory, store, driver, engine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use api::ApiConfig;
use engine::{Engine, EngineConfig, HttpCourier, Parts};
use model::{SharedClock, SystemClock, User};
use store::embedded::{EmbeddedOptions, EmbeddedStore};

use crate::accounts::{FIRST_USER, OPERATOR_TOKEN};
use crate::data_dir::DataDir;
use crate::driver;
use crate::random::SystemRandom;
use crate::settings::{DEFAULT_PORT, DriverChoice, PrivateTargets, Settings};

/// The addresses of a server.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// As runs on this machine reach it.
    pub local: String,
    /// As everybody else reaches it.
    pub public: String,
    /// Where it listens.
    pub bound: SocketAddr,
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
        Self { local: loopback, public, bound }
    }
}

/// What the settings say of the HTTP face.
pub fn api_config(settings: &Settings) -> ApiConfig {
    ApiConfig { max_record: settings.max_record_mbytes.map(|mbytes| u64::from(mbytes) << 20), ..ApiConfig::default() }
}

/// A server's engine, and what its driver asks of the server.
pub struct Opened {
    /// The engine.
    pub engine: Engine,
    /// Why this driver is in use, as the end of a sentence.
    pub why: String,
    /// Where the server has to listen, too, to be reached by runs.
    pub listen: Option<SocketAddr>,
}

/// Opens the store and the engine of a data directory.
pub async fn open(
    data_dir: &DataDir,
    settings: &Settings,
    addresses: &Addresses,
    ephemeral: bool,
) -> anyhow::Result<Opened> {
    let clock: SharedClock = Arc::new(SystemClock);
    let random = Arc::new(SystemRandom);
    // The driver tries out what the machine allows, which takes as long as opening the store: both at once.
    let driver = driver::open(data_dir, settings, addresses, ephemeral);
    let options = EmbeddedOptions { clock: clock.clone(), random: random.clone(), inline: false };
    let store = async { EmbeddedStore::open(data_dir.path(), options).await.context("cannot open the store") };
    let (driver, store) = tokio::try_join!(driver, store)?;
    let defaults = EngineConfig::default();
    let config = EngineConfig {
        build_timeout_secs: settings.build_timeout_secs.unwrap_or(defaults.build_timeout_secs),
        git_protocols: settings.git_protocols.clone().unwrap_or(defaults.git_protocols.clone()),
        proxy: Some(proxy_at(&driver.api_url)),
        api_url: driver.api_url,
        public_url: addresses.public.clone(),
        actor_hosts: settings.actor_hosts.unwrap_or_default(),
        console_url: addresses.public.clone(),
        memory_mbytes: settings.memory_mbytes.unwrap_or_else(three_quarters_of_memory),
        user_memory_mbytes: settings.user_memory_mbytes,
        user_concurrent_runs: settings.user_concurrent_runs,
        retention_days: settings.retention_days,
        work_dir: data_dir.path().join("work"),
        missed_schedules: settings.missed_schedules(),
        dispatch_days: settings.webhook_dispatch_days.unwrap_or(defaults.dispatch_days),
        development: settings.development.unwrap_or(addresses.bound.ip().is_loopback()),
        ..defaults
    };
    let secret = data_dir.secret(&SystemRandom)?;
    let allow_private = settings.webhook_private_targets.unwrap_or_default() == PrivateTargets::Allow;
    let own = [&config.api_url, &addresses.local, &config.public_url];
    let courier = Arc::new(HttpCourier::new(&own.map(String::as_str), allow_private));
    let parts = Parts { store, driver: driver.driver, courier, clock, random, secret, config };
    let engine = Engine::open(parts).await.context("cannot start the engine")?;
    Ok(Opened { engine, why: driver.why, listen: driver.listen })
}

/// The forward proxy, which is where the API is.
fn proxy_at(api_url: &str) -> engine::ProxyEnv {
    let address = api_url.rsplit("://").next().unwrap_or_default().split('/').next().unwrap_or_default();
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().unwrap_or(DEFAULT_PORT)),
        None => (address, if api_url.starts_with("https") { 443 } else { 80 }),
    };
    engine::ProxyEnv { host: host.to_owned(), port }
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
        // No job is started, so no engine need be asked for.
        let settings = Settings { driver: Some(DriverChoice::Process), ..Settings::default() };
        let addresses = Addresses::of(&settings, settings.listen());
        let driver = data_dir.driver()?;
        let engine = open(&data_dir, &settings, &addresses, false).await?.engine;
        if let Some(driver) = driver {
            data_dir.set_driver(&driver)?;
        }
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
    fn the_proxy_is_where_the_api_is() {
        for (url, host, port) in [
            ("http://127.0.0.1:3333", "127.0.0.1", 3333),
            ("http://[fd00::1]:4000", "[fd00::1]", 4000),
            ("http://playhouse", "playhouse", 80),
            ("https://playhouse/", "playhouse", 443),
        ] {
            assert_eq!(proxy_at(url), engine::ProxyEnv { host: host.to_owned(), port }, "{url}");
        }
    }

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
