//! Settings of the server: each is a flag, an environment variable and a key of the TOML file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use engine::GIT_PROTOCOLS;
use model::schedule::MissedTicks;
use serde::Deserialize;

use crate::exit::{Failure, USAGE};

/// Port that the official CLI takes for a local server (`CLI-1`).
pub const DEFAULT_PORT: u16 = 3333;

/// What can be set, each `None` where it was not. Flags win over variables, those over the file, and that over the defaults.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Directory that holds everything: data, builds, logs, secrets [default: ./playhouse-data]
    #[arg(long, env = "PLAYHOUSE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address to listen on [default: 127.0.0.1:3333]
    #[arg(long, env = "PLAYHOUSE_LISTEN", value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// Address under which clients reach the server, if not the one it listens on (behind a proxy, in a container)
    #[arg(long, env = "PLAYHOUSE_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Show web servers of Actors under host names below that of the public URL, instead of paths (needs a wildcard in the DNS) [default: false]
    #[arg(long, env = "PLAYHOUSE_ACTOR_HOSTS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub actor_hosts: Option<bool>,

    /// Where builds and runs are executed [default: auto]
    #[arg(long, env = "PLAYHOUSE_DRIVER", value_enum)]
    pub driver: Option<DriverChoice>,

    /// Address of the container engine, as unix:///path or tcp://host:port [default: DOCKER_HOST, CONTAINER_HOST, or the usual sockets]
    #[arg(long, env = "PLAYHOUSE_DOCKER_HOST", value_name = "ADDR")]
    pub docker_host: Option<String>,

    /// Network of containers: auto, host, bridge, or the name of one of the engine's networks [default: auto]
    #[arg(long, env = "PLAYHOUSE_DOCKER_NETWORK", value_name = "NETWORK")]
    pub docker_network: Option<String>,

    /// Address under which containers reach the server, where that cannot be found out
    #[arg(long, env = "PLAYHOUSE_DOCKER_API_URL", value_name = "URL")]
    pub docker_api_url: Option<String>,

    /// Whether runs in containers may write to /tmp and /dev/shm only [default: false]
    #[arg(long, env = "PLAYHOUSE_DOCKER_READ_ONLY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub docker_read_only: Option<bool>,

    /// Whether folders of this machine may be mounted into runs, and runs may wait for debuggers [default: only if the server listens on loopback]
    #[arg(long, env = "PLAYHOUSE_DEVELOPMENT", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub development: Option<bool>,

    /// Megabytes of memory that runs and builds may hold together [default: three quarters of the machine's]
    #[arg(long, env = "PLAYHOUSE_MEMORY_MBYTES", value_name = "MB")]
    pub memory_mbytes: Option<u32>,

    /// Megabytes of memory that the runs and builds of one user may hold at once; more is refused [default: no limit]
    #[arg(long, env = "PLAYHOUSE_USER_MEMORY_MBYTES", value_name = "MB")]
    pub user_memory_mbytes: Option<u32>,

    /// Runs that one user may have at once; more are refused [default: no limit]
    #[arg(long, env = "PLAYHOUSE_USER_CONCURRENT_RUNS", value_name = "RUNS")]
    pub user_concurrent_runs: Option<u32>,

    /// Days after which finished runs (but for each user's ten newest) and unused unnamed storages are deleted [default: never]
    #[arg(long, env = "PLAYHOUSE_RETENTION_DAYS", value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub retention_days: Option<u32>,

    /// Largest record of a key-value store, in megabytes [default: any size]
    #[arg(long, env = "PLAYHOUSE_MAX_RECORD_MBYTES", value_name = "MB")]
    pub max_record_mbytes: Option<u32>,

    /// Seconds after which a build is stopped [default: 1800]
    #[arg(long, env = "PLAYHOUSE_BUILD_TIMEOUT_SECS", value_name = "SECS")]
    pub build_timeout_secs: Option<u64>,

    /// Ways in which sources are fetched from Git repositories [default: https,http,ssh,git,file]
    #[arg(long, env = "PLAYHOUSE_GIT_PROTOCOLS", value_name = "NAMES", value_delimiter = ',')]
    pub git_protocols: Option<Vec<String>>,

    /// Password of the web pages; needed to listen on anything but loopback
    #[arg(long, env = "PLAYHOUSE_CONSOLE_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub console_password: Option<String>,

    /// What schedules do about the times that passed while the server was down [default: skip]
    #[arg(long, env = "PLAYHOUSE_MISSED_SCHEDULES", value_enum)]
    pub missed_schedules: Option<MissedSchedules>,

    /// Whether webhooks may have targets on this machine and in private networks; the API itself they always may, and
    /// link-local and metadata addresses never [default: allow]
    #[arg(long, env = "PLAYHOUSE_WEBHOOK_PRIVATE_TARGETS", value_enum)]
    pub webhook_private_targets: Option<PrivateTargets>,

    /// Days after which what was sent for webhooks is forgotten; 0 keeps it [default: 30]
    #[arg(long, env = "PLAYHOUSE_WEBHOOK_DISPATCH_DAYS", value_name = "DAYS")]
    pub webhook_dispatch_days: Option<u32>,

    /// How to write the server's own log [default: text on a terminal, json otherwise]
    #[arg(long, env = "PLAYHOUSE_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// What the server's own log tells: error, warn, info, debug, or a filter such as info,playhouse_engine=debug [default: info]
    #[arg(long, env = "PLAYHOUSE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// Which driver to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverChoice {
    /// The one that the data directory was used with, else docker where an engine answers, else process.
    #[default]
    Auto,
    /// Containers of Docker or Podman.
    Docker,
    /// Plain processes of this machine, isolated as far as its kernel allows.
    Process,
}

/// What schedules do about the times that passed while the server was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissedSchedules {
    /// Nothing: they go on with the next.
    Skip,
    /// Each makes up for the first of them.
    One,
    /// Each makes up for every one of them.
    All,
}

/// Whether webhooks may have private targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrivateTargets {
    /// They may.
    #[default]
    Allow,
    /// They may not: such a dispatch fails.
    Refuse,
}

/// How to write the server's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// These settings, and those of `file` where these are silent.
    pub fn or(self, file: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(file.data_dir),
            listen: self.listen.or(file.listen),
            public_url: self.public_url.or(file.public_url),
            actor_hosts: self.actor_hosts.or(file.actor_hosts),
            driver: self.driver.or(file.driver),
            docker_host: self.docker_host.or(file.docker_host),
            docker_network: self.docker_network.or(file.docker_network),
            docker_api_url: self.docker_api_url.or(file.docker_api_url),
            docker_read_only: self.docker_read_only.or(file.docker_read_only),
            development: self.development.or(file.development),
            memory_mbytes: self.memory_mbytes.or(file.memory_mbytes),
            user_memory_mbytes: self.user_memory_mbytes.or(file.user_memory_mbytes),
            user_concurrent_runs: self.user_concurrent_runs.or(file.user_concurrent_runs),
            retention_days: self.retention_days.or(file.retention_days),
            max_record_mbytes: self.max_record_mbytes.or(file.max_record_mbytes),
            build_timeout_secs: self.build_timeout_secs.or(file.build_timeout_secs),
            git_protocols: self.git_protocols.or(file.git_protocols),
            console_password: self.console_password.or(file.console_password),
            missed_schedules: self.missed_schedules.or(file.missed_schedules),
            webhook_private_targets: self.webhook_private_targets.or(file.webhook_private_targets),
            webhook_dispatch_days: self.webhook_dispatch_days.or(file.webhook_dispatch_days),
            log_format: self.log_format.or(file.log_format),
            log: self.log.or(file.log),
        }
    }

    /// Reads a TOML file. Relative paths in it are relative to the working directory, as on the command line.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(USAGE, format!("cannot read {}: {error}", path.display())))?;
        toml::from_str(&text)
            .map_err(|error| Failure::new(USAGE, format!("{} is not valid: {error}", path.display())).into())
    }

    /// What schedules do about missed times.
    pub fn missed_schedules(&self) -> MissedTicks {
        match self.missed_schedules {
            None | Some(MissedSchedules::Skip) => MissedTicks::Skip,
            Some(MissedSchedules::One) => MissedTicks::One,
            Some(MissedSchedules::All) => MissedTicks::All,
        }
    }

    /// The data directory in force.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| PathBuf::from("playhouse-data"))
    }

    /// The address in force.
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)))
    }

    /// Refuses what would be unsafe or cannot work.
    pub fn check(&self) -> Result<(), Failure> {
        let listen = self.listen();
        if !listen.ip().is_loopback() && self.console_password.as_deref().unwrap_or_default().is_empty() {
            return Err(Failure::new(
                USAGE,
                format!(
                    "{listen} can be reached from other machines, and the web pages have no password.\n\
                     Set one with PLAYHOUSE_CONSOLE_PASSWORD (or console-password in the configuration file),\n\
                     or listen on loopback only: --listen 127.0.0.1:{DEFAULT_PORT}"
                ),
            ));
        }
        for protocol in self.git_protocols.iter().flatten() {
            if !GIT_PROTOCOLS.contains(&protocol.as_str()) {
                let known = GIT_PROTOCOLS.join(", ");
                return Err(Failure::new(USAGE, format!("--git-protocols {protocol} is none of {known}")));
            }
        }
        for (flag, url) in [("public-url", &self.public_url), ("docker-api-url", &self.docker_api_url)] {
            if let Some(url) = url
                && !(url.starts_with("http://") || url.starts_with("https://"))
            {
                return Err(Failure::new(USAGE, format!("--{flag} {url} must begin with http:// or https://")));
            }
        }
        Ok(())
    }
}

/// The commented reference file: every key with its help and its variable. A test keeps the one in the documentation true.
#[cfg(test)]
fn reference() -> String {
    let command = Settings::augment_args(clap::Command::new("playhouse"));
    let mut text = String::from(
        "# Every setting of `playhouse serve`. Pass the file with --config, or put it at\n\
         # $XDG_CONFIG_HOME/playhouse/config.toml (~/.config/playhouse/config.toml) or /etc/playhouse/config.toml;\n\
         # the first that is there is read. A flag wins over its environment variable, and that over this file.\n",
    );
    for argument in command.get_arguments() {
        let Some(key) = argument.get_long() else { continue };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let values: Vec<String> =
            argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        text.push_str(&format!("\n# {help}\n# Flag --{key}, variable {variable}"));
        if !values.is_empty() {
            text.push_str(&format!(", one of: {}", values.join(", ")));
        }
        let sample = match argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str()) {
            "MB" | "RUNS" | "DAYS" | "SECS" | "BOOL" => "…",
            "NAMES" => r#"["…", "…"]"#,
            _ => r#""…""#,
        };
        text.push_str(&format!("\n# {key} = {sample}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_port_needs_a_password() {
        let open = Settings { listen: Some(SocketAddr::from(([0, 0, 0, 0], 3333))), ..Settings::default() };

        assert_eq!(open.check().unwrap_err().code, USAGE);
        assert!(Settings { console_password: Some("secret".to_owned()), ..open }.check().is_ok());
        assert!(Settings::default().check().is_ok());
    }

    #[test]
    fn a_setting_that_cannot_be_meant_is_refused() {
        let protocols = |name: &str| Settings { git_protocols: Some(vec![name.to_owned()]), ..Settings::default() };
        assert!(protocols("ssh").check().is_ok());
        assert_eq!(protocols("foo").check().unwrap_err().code, USAGE);
        let missing = Settings::from_file(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(missing.downcast_ref::<Failure>().unwrap().code, USAGE);
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = Settings { memory_mbytes: Some(1), ..Settings::default() };
        let file: Settings = toml::from_str("memory-mbytes = 2\nlog = 'debug'").unwrap();

        let settings = flags.or(file);

        assert_eq!(settings.memory_mbytes, Some(1));
        assert_eq!(settings.log.as_deref(), Some("debug"));
        assert!(toml::from_str::<Settings>("no-such-key = 1").is_err());
    }

    #[test]
    fn the_reference_in_the_docs_is_the_one_that_the_code_makes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/playhouse.toml");
        let made = reference();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &made).unwrap();
        }

        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), made, "run with UPDATE_DOCS=1 to renew it");
    }
}
