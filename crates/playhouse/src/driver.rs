//! Chooses the driver: where runs and builds happen.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use drivers::Driver;
use drivers::process::{ProcessConfig, ProcessDriver};

use crate::data_dir::DataDir;
use crate::settings::{DriverChoice, Settings};
use crate::wiring::Addresses;

/// A driver, why it was chosen, and how it and the server reach each other.
pub struct Chosen {
    /// The driver.
    pub driver: Arc<dyn Driver>,
    /// The end of a sentence.
    pub why: String,
    /// The server as runs reach it.
    pub api_url: String,
    /// Where the server has to listen, too, for that.
    pub listen: Option<SocketAddr>,
}

/// Opens the driver that the settings ask for, or the best one.
pub async fn open(
    data_dir: &DataDir,
    settings: &Settings,
    addresses: &Addresses,
    ephemeral: bool,
) -> anyhow::Result<Chosen> {
    let chosen = match settings.driver.unwrap_or_default() {
        DriverChoice::Process => process(data_dir, addresses, ephemeral, "as the settings say".to_owned()).await?,
        DriverChoice::Docker => containers::open(data_dir, settings, addresses, ephemeral).await?,
        DriverChoice::Auto => match data_dir.driver()?.as_deref() {
            // What was built with one driver cannot be run with another.
            Some("process") => {
                process(data_dir, addresses, ephemeral, "as before with this data directory".to_owned()).await?
            }
            Some("docker") => containers::open(data_dir, settings, addresses, ephemeral).await?,
            _ => match containers::find(settings).await {
                Ok(()) => containers::open(data_dir, settings, addresses, ephemeral).await?,
                Err(why) => process(data_dir, addresses, ephemeral, format!("since {why}")).await?,
            },
        },
    };
    data_dir.set_driver(chosen.driver.name())?;
    Ok(chosen)
}

async fn process(data_dir: &DataDir, addresses: &Addresses, ephemeral: bool, why: String) -> anyhow::Result<Chosen> {
    let exe = std::env::current_exe().context("cannot find the program's own file")?;
    let config = ProcessConfig { ephemeral, ..ProcessConfig::new(data_dir.path(), exe) };
    let driver = tokio::task::spawn_blocking(move || ProcessDriver::open(config)).await?;
    let driver = Arc::new(driver.context("cannot start the process driver")?);
    Ok(Chosen { driver, why, api_url: addresses.local.clone(), listen: None })
}

#[cfg(feature = "docker")]
pub mod containers {
    //! The driver for container engines.

    use drivers::docker::{DockerConfig, DockerDriver, Endpoint, Facts, probe};
    use serde_json::{Value, json};

    use anyhow::Context as _;

    use super::{Addresses, Arc, Chosen, DataDir, Settings};
    use crate::exit::{Failure, USAGE};
    use crate::random::SystemRandom;

    /// Free space below which logs are cut, as with the process driver.
    const MIN_FREE_BYTES: u64 = 256 << 20;

    /// Where engines may be.
    pub fn endpoints(settings: &Settings) -> Result<Vec<Endpoint>, String> {
        match &settings.docker_host {
            Some(address) => Ok(vec![Endpoint::parse(address)?]),
            None => Endpoint::usual(|name| std::env::var(name).ok()),
        }
    }

    /// The first engine that can be used.
    async fn engine(settings: &Settings) -> Result<(Endpoint, Facts), String> {
        let mut reasons = Vec::new();
        for endpoint in endpoints(settings)? {
            let is_there = !matches!(&endpoint, Endpoint::Unix(path) if !path.exists());
            match probe(&endpoint).await {
                Ok(facts) => return Ok((endpoint, facts)),
                Err(reason) if is_there => reasons.push(reason),
                Err(_) => {}
            }
        }
        Err(if reasons.is_empty() { "no container engine is there".to_owned() } else { reasons.join("; ") })
    }

    /// Whether there is an engine that can be used; else why not.
    pub async fn find(settings: &Settings) -> Result<(), String> {
        engine(settings).await.map(drop)
    }

    /// What is at each place where an engine may be.
    pub async fn examine(settings: &Settings) -> Vec<Value> {
        let endpoints = match endpoints(settings) {
            Ok(endpoints) => endpoints,
            Err(problem) => return vec![json!({ "address": "", "problem": problem })],
        };
        let mut found = Vec::new();
        for endpoint in endpoints {
            let address = endpoint.to_string();
            found.push(match probe(&endpoint).await {
                Ok(facts) => json!({
                    "address": address,
                    "engine": facts.name(),
                    "apiVersion": facts.api_version,
                    "shortcomings": facts.shortcomings(),
                    "warnings": facts.warnings,
                }),
                Err(problem) => json!({ "address": address, "problem": problem }),
            });
        }
        found
    }

    /// Opens the driver on the first engine that can be used.
    pub async fn open(
        data_dir: &DataDir,
        settings: &Settings,
        addresses: &Addresses,
        ephemeral: bool,
    ) -> anyhow::Result<Chosen> {
        if settings.docker_host.is_some() {
            endpoints(settings).map_err(|error| Failure::new(USAGE, format!("--docker-host: {error}")))?;
        }
        let (endpoint, facts) = engine(settings).await.map_err(|reason| {
            anyhow::anyhow!(
                "cannot use the docker driver: {reason}.\nStart Docker or Podman's service (podman system service), name its \
                 socket with --docker-host, or run without containers: --driver process"
            )
        })?;
        let network = settings.docker_network.as_deref().unwrap_or("auto").parse();
        let network = network.map_err(|error| Failure::new(USAGE, format!("--docker-network: {error}")))?;
        let why = format!("with {} at {endpoint}", facts.name());
        let driver = DockerDriver::open(DockerConfig {
            data_dir: data_dir.path().to_owned(),
            instance: data_dir.instance(&SystemRandom)?,
            endpoint,
            network,
            server: addresses.bound,
            api_url: settings.docker_api_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
            tries_network: true,
            ephemeral,
            read_only: settings.docker_read_only.unwrap_or_default(),
            min_free_bytes: MIN_FREE_BYTES,
        });
        let reach = driver.reach().await.context("cannot use the docker driver")?;
        Ok(Chosen { driver: Arc::new(driver), why, api_url: reach.api_url, listen: reach.listen })
    }
}

#[cfg(not(feature = "docker"))]
pub mod containers {
    //! This program was built without the driver for container engines.

    use super::{Addresses, Chosen, DataDir, Settings};

    const ABSENT: &str = "this program was built without the docker driver";

    pub async fn examine(_: &Settings) -> Vec<serde_json::Value> {
        Vec::new()
    }

    pub async fn find(_: &Settings) -> Result<(), String> {
        Err(ABSENT.to_owned())
    }

    pub async fn open(_: &DataDir, _: &Settings, _: &Addresses, _: bool) -> anyhow::Result<Chosen> {
        anyhow::bail!(ABSENT)
    }
}
