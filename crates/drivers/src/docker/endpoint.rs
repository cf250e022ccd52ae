//! Where a container engine may answer.

use std::fmt;
use std::path::PathBuf;

/// The address of a container engine's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket of this machine.
    Unix(PathBuf),
    /// Host and port, without encryption.
    Tcp(String),
}

impl Endpoint {
    /// Reads an address as `DOCKER_HOST` has it.
    ///
    /// # Errors
    /// A sentence that says what is not supported.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.starts_with('/').then_some(text)) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let host = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://"));
        match host.map(|host| host.trim_end_matches('/')) {
            Some(host) if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                Ok(Self::Tcp(host.to_owned()))
            }
            Some(_) => Err(format!("{text} has no port")),
            None => Err(format!("{text} is no address of a container engine that is supported: use unix:// or tcp://")),
        }
    }

    /// The addresses to try, the most explicit first: what `DOCKER_HOST` or `CONTAINER_HOST` names and nothing else, or the
    /// sockets where engines usually listen. `variable` reads the environment.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), of a variable.
    pub fn usual(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<Self>, String> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        for name in ["DOCKER_HOST", "CONTAINER_HOST"] {
            if let Some(value) = set(name) {
                return Ok(vec![Self::parse(&value).map_err(|error| format!("{name}: {error}"))?]);
            }
        }
        let mut sockets = vec!["/var/run/docker.sock".to_owned(), "/run/podman/podman.sock".to_owned()];
        if let Some(dir) = set("XDG_RUNTIME_DIR") {
            sockets.push(format!("{dir}/docker.sock"));
            sockets.push(format!("{dir}/podman/podman.sock"));
        }
        if let Some(home) = set("HOME") {
            sockets.push(format!("{home}/.docker/run/docker.sock"));
        }
        Ok(sockets.into_iter().map(|socket| Self::Unix(socket.into())).collect())
    }

    /// Whether the engine is on this machine, as far as one can tell.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_docker_cli_reads_them() {
        for (text, expected) in [
            ("unix:///var/run/docker.sock", Some("unix:///var/run/docker.sock")),
            ("/run/podman.sock", Some("unix:///run/podman.sock")),
            ("tcp://10.0.0.1:2375", Some("tcp://10.0.0.1:2375")),
            ("http://engine:2375/", Some("tcp://engine:2375")),
            ("tcp://engine", None),
            ("ssh://user@host", None),
            ("npipe:////./pipe/docker_engine", None),
            ("", None),
        ] {
            let read = Endpoint::parse(text).ok().map(|endpoint| endpoint.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_variable_excludes_every_other_place() {
        let usual = |variables: &[(&str, &str)]| {
            let find =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Endpoint::usual(find).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
        };

        assert_eq!(usual(&[("DOCKER_HOST", "unix:///a"), ("CONTAINER_HOST", "unix:///b")]).unwrap(), ["unix:///a"]);
        assert_eq!(usual(&[("DOCKER_HOST", ""), ("CONTAINER_HOST", "unix:///b")]).unwrap(), ["unix:///b"]);
        assert!(usual(&[("DOCKER_HOST", "ssh://x")]).unwrap_err().starts_with("DOCKER_HOST: "));
        let found = usual(&[("XDG_RUNTIME_DIR", "/run/user/1000")]).unwrap();
        assert_eq!(found[0], "unix:///var/run/docker.sock");
        assert!(found.contains(&"unix:///run/user/1000/podman/podman.sock".to_owned()), "{found:?}");
    }
}
