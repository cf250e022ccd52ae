//! What an engine is made of and how it is set.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use drivers::Driver;
use model::schedule::MissedTicks;
use model::{GeneralAccess, Prices, Random, SharedClock, StandbyLabel};
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
    /// Whether folders of this machine may be mounted into runs, and runs may wait for debuggers.
    pub development: bool,
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
    /// Whether web servers of Actors are shown under host names of their own below that of `public_url`, instead of paths.
    pub actor_hosts: bool,
}

/// The forward proxy as runs reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyEnv {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Ways in which sources can be fetched from Git repositories.
pub const GIT_PROTOCOLS: [&str; 5] = ["https", "http", "ssh", "git", "file"];

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
            git_protocols: GIT_PROTOCOLS.map(str::to_owned).to_vec(),
            work_dir: std::env::temp_dir().join("playhouse-work"),
            proxy: None,
            development: true,
            prices: Prices::default(),
            run_access: GeneralAccess::AnyoneWithIdCanRead,
            storage_access: GeneralAccess::Restricted,
            missed_schedules: MissedTicks::Skip,
            dispatch_days: 30,
            actor_hosts: false,
        }
    }
}

impl EngineConfig {
    /// The address of a run's web server (`RUN-13`).
    pub fn container_url(&self, container_secret: &str) -> String {
        let host = self.shown_host(Some(container_secret.to_lowercase()));
        host.unwrap_or_else(|| format!("{}/x-run/{container_secret}", self.public_url))
    }

    /// The address of an Actor's Standby (`STB-1`).
    pub fn standby_url(&self, owner: &str, name: &str) -> String {
        self.standby_url_of("x-standby", StandbyLabel { owner: owner.into(), name: name.into(), is_task: false })
    }

    /// The address of a task's Standby (`STB-1`).
    pub fn task_standby_url(&self, owner: &str, name: &str) -> String {
        self.standby_url_of("x-standby-task", StandbyLabel { owner: owner.into(), name: name.into(), is_task: true })
    }

    fn standby_url_of(&self, path: &str, label: StandbyLabel) -> String {
        let host = self.shown_host(label.write());
        host.unwrap_or_else(|| format!("{}/{path}/{}~{}", self.public_url, label.owner, label.name))
    }

    fn shown_host(&self, label: Option<String>) -> Option<String> {
        let (scheme, authority) = self.public_url.split_once("://")?;
        let (label, parent) = (label?, host_parent(authority)?);
        self.actor_hosts.then(|| format!("{scheme}://{label}.{parent}"))
    }
}

/// What stands behind the label in a host name below `authority`: an address of this machine has names below `localhost`,
/// other addresses have none.
pub fn host_parent(authority: &str) -> Option<String> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => "localhost",
        Ok(_) => return None,
        Err(_) => host,
    };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    (!host.is_empty()).then(|| format!("{}{port}", host.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_servers_are_shown_as_paths_or_as_hosts() {
        let config = |public_url: &str, actor_hosts| EngineConfig {
            public_url: public_url.to_owned(),
            actor_hosts,
            ..EngineConfig::default()
        };
        let paths = config("https://actors.example", false);
        assert_eq!(paths.container_url("aBc"), "https://actors.example/x-run/aBc");
        assert_eq!(paths.standby_url("jane", "my-actor"), "https://actors.example/x-standby/jane~my-actor");
        assert_eq!(paths.task_standby_url("jane", "it"), "https://actors.example/x-standby-task/jane~it");

        let hosts = config("https://actors.example", true);
        assert_eq!(hosts.container_url("aBc"), "https://abc.actors.example");
        assert_eq!(hosts.standby_url("Jane", "my-actor"), "https://jane--my-actor.actors.example");
        assert_eq!(hosts.task_standby_url("jane", "it"), "https://jane---it.actors.example");
        assert_eq!(hosts.standby_url("jane_doe", "it"), "https://actors.example/x-standby/jane_doe~it");

        assert_eq!(config("http://127.0.0.1:4000", true).container_url("aBc"), "http://abc.localhost:4000");
        assert_eq!(config("http://[::1]:4000", true).container_url("aBc"), "http://abc.localhost:4000");
        assert_eq!(config("http://10.0.0.1:4000", true).container_url("aBc"), "http://10.0.0.1:4000/x-run/aBc");
    }
}
