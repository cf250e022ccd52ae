//! How the docker driver is set up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::Endpoint;

/// How to open a [`DockerDriver`](super::DockerDriver).
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The server's data directory; holds `runs/<id>/` and `builds/<id>/`.
    pub data_dir: PathBuf,
    /// Names this server among those that share the engine; lower-case letters and digits.
    pub instance: String,
    /// The engine.
    pub endpoint: Endpoint,
    /// The network that runs get.
    pub network: NetworkChoice,
    /// Where the server listens.
    pub server: SocketAddr,
    /// The server as containers reach it, where that cannot be found out: `http://host:port`.
    pub api_url: Option<String>,
    /// Whether to try, before the first run, that a container reaches the server.
    pub tries_network: bool,
    /// Whether jobs end when the server does.
    pub ephemeral: bool,
    /// Whether runs may write to nothing but `/tmp` and `/dev/shm`.
    pub read_only: bool,
    /// Free bytes on the disk of the logs below which they are cut, with a line that says so.
    pub min_free_bytes: u64,
}

/// The network that runs get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkChoice {
    /// The engine's bridge where the server can be reached from it, else the host's.
    #[default]
    Auto,
    /// The network of the host: runs share it with each other and with everything else on the machine.
    Host,
    /// A bridge of the engine by its name, `bridge` for the default one: each run has a network of its own.
    Bridge(String),
}

impl FromStr for NetworkChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        match text {
            "auto" => Ok(Self::Auto),
            "host" => Ok(Self::Host),
            "none" => Err("runs need a network to reach the server".to_owned()),
            name if is_name(name) => Ok(Self::Bridge(name.to_owned())),
            _ => Err(format!("{text:?} is no name of a network")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_by_name() {
        assert_eq!("auto".parse(), Ok(NetworkChoice::Auto));
        assert_eq!("host".parse(), Ok(NetworkChoice::Host));
        assert_eq!("my_net-1".parse(), Ok(NetworkChoice::Bridge("my_net-1".into())));
        for bad in ["none", "", "container:abc", "-x", "a b"] {
            assert!(bad.parse::<NetworkChoice>().is_err(), "{bad}");
        }
    }
}
