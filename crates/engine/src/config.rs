//! What an engine is made of and how it is set.

use std::path::PathBuf;
use std::sync::Arc;

use drivers::Driver;
use model::schedule::MissedTicks;
use model::{GeneralAccess, Prices, Random, SharedClock};
use store::Store;

use crate::webhooks::Courier;

/// The parts of an engine.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where everything is kept.
    pub store: Store,
    /// Where runs and builds happen.
    pub driver: Arc<dyn Driver>,
    /// Carries what webhooks send.
    pub courier: Arc<dyn Courier>,
    /// Tells the time.
    pub clock: SharedClock,
    /// Makes ids and secrets.
    pub random: Arc<dyn Random>,
    /// Signs run tokens and seals secret values. Lost, both are void.
    pub secret: [u8; 32],
    /// Settings.
    pub config: EngineConfig,
}

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The server as runs reach it, without trailing slash and without `/v2`.
    pub api_url: String,
    /// The server as everybody else reaches it, in the same form.
    pub public_url: String,
    /// The console, in the same form.
    pub console_url: String,
    /// Memory that runs share, in megabytes; a run waits until its own fits.
    pub memory_mbytes: u32,
    /// Builds that happen at once; further ones wait.
    pub concurrent_builds: u32,
    /// Memory that the jobs of one account may hold at once, in megabytes, where the account says nothing; no limit if `None`.
    pub user_memory_mbytes: Option<u32>,
    /// Runs that one account may have at once, where the account says nothing; no limit if `None`.
    pub user_concurrent_runs: Option<u32>,
    /// Days that runs and unnamed storages are kept, where the account says nothing; for ever if `None` (`RET-1`).
    pub retention_days: Option<u32>,
    /// Seconds after which a build is stopped (`BLD-4`).
    pub build_timeout_secs: u64,
    /// The ways on which sources are fetched from Git repositories, by the words that Git has for them.
    pub git_protocols: Vec<String>,
    /// Where sources are unpacked for builds. Must stay the same over restarts, since builds go on meanwhile.
    pub work_dir: PathBuf,
    /// The forward proxy that runs are told of.
    pub proxy: Option<ProxyEnv>,
    /// Prices of usage.
    pub prices: Prices,
    /// Access to runs, builds and logs that new users start with (`AUTH-9`).
    pub run_access: GeneralAccess,
    /// Access to storages that new users start with (`AUTH-9`).
    pub storage_access: GeneralAccess,
    /// What schedules do about times that passed while the server was down (`SCH-12`).
    pub missed_schedules: MissedTicks,
    /// Days after which a dispatch of a webhook is forgotten; 0 keeps them.
    pub dispatch_days: u32,
}

/// The forward proxy as runs reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyEnv {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            api_url: "http://127.0.0.1:3333".to_owned(),
            public_url: "http://localhost:3333".to_owned(),
            console_url: "http://localhost:3333".to_owned(),
            memory_mbytes: 4096,
            concurrent_builds: 2,
            user_memory_mbytes: None,
            user_concurrent_runs: None,
            retention_days: None,
            build_timeout_secs: 1800,
            git_protocols: ["https", "http", "ssh", "git", "file"].map(str::to_owned).to_vec(),
            work_dir: std::env::temp_dir().join("playhouse-work"),
            proxy: None,
            prices: Prices::default(),
            run_access: GeneralAccess::AnyoneWithIdCanRead,
            storage_access: GeneralAccess::Restricted,
            missed_schedules: MissedTicks::Skip,
            dispatch_days: 30,
        }
    }
}

impl EngineConfig {
    /// The address of a run's web server (`RUN-13`).
    pub fn container_url(&self, container_secret: &str) -> String {
        format!("{}/x-run/{container_secret}", self.public_url)
    }
}
