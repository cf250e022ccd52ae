//! Calls to the engine, each within a time limit.

use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::ContainerInspectResponse;
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::OnceCell;

use super::{Endpoint, Facts};
use crate::DriverError;

/// For questions: an engine that has not answered by then is busy or stuck, and is asked again later.
pub(super) const QUICK: Duration = Duration::from_secs(10);
/// For work: unpacking a large image on a slow disk takes its time, but nothing waits forever.
pub(super) const SLOW: Duration = Duration::from_secs(120);
/// For the first word of an engine that may not be there.
const GREETING: Duration = Duration::from_secs(10);

/// A container engine, contacted when it is needed.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    connected: OnceCell<Connected>,
}

#[derive(Debug)]
pub(super) struct Connected {
    pub(super) docker: Docker,
    pub(super) facts: Facts,
}

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It knows no such thing.
    #[error("{0}")]
    NotThere(String),
    /// It refused, or failed at it.
    #[error("{message}")]
    Refused { status: u16, message: String },
    /// It is not there, or does not answer in time.
    #[error("the container engine at {endpoint} does not answer: {cause}")]
    Silent { endpoint: String, cause: String },
}

impl From<Trouble> for DriverError {
    fn from(trouble: Trouble) -> Self {
        Self::Other(anyhow::Error::new(trouble))
    }
}

/// Asks the engine at `endpoint` who it is.
///
/// # Errors
/// A sentence that says why it cannot be used.
pub async fn probe(endpoint: &Endpoint) -> Result<Facts, String> {
    let client = Client::new(endpoint.clone());
    client.facts().await.cloned().map_err(|trouble| trouble.to_string())
}

impl Client {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, connected: OnceCell::new() }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) async fn docker(&self) -> Result<&Docker, Trouble> {
        Ok(&self.connected().await?.docker)
    }

    pub(super) async fn facts(&self) -> Result<&Facts, Trouble> {
        Ok(&self.connected().await?.facts)
    }

    /// What is known of the engine without asking it.
    pub(super) fn known_facts(&self) -> Option<&Facts> {
        self.connected.get().map(|connected| &connected.facts)
    }

    async fn connected(&self) -> Result<&Connected, Trouble> {
        self.connected.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Connected, Trouble> {
        let secs = SLOW.as_secs();
        let docker = match &self.endpoint {
            Endpoint::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), secs, API_DEFAULT_VERSION),
            Endpoint::Tcp(host) => Docker::connect_with_http(host, secs, API_DEFAULT_VERSION),
        };
        let docker = docker.map_err(|error| self.trouble(error))?;
        let docker = self.within(GREETING, docker.negotiate_version()).await?;
        let version = self.within(GREETING, docker.version()).await?;
        let info = self.within(QUICK, docker.info()).await?;
        let mut facts = Facts::of(&version, &info);
        // Podman has a member of its own for this.
        if self.json_as(docker.client_version(), "/info").await?["Rootless"] == true {
            facts = facts.without_root();
        }
        facts.check().map_err(|message| Trouble::Refused { status: 0, message })?;
        Ok(Connected { docker, facts })
    }

    /// Waits for an answer of the engine, but not longer than `limit`.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|error| self.trouble(error)),
            Err(_) => Err(self.silent(format!("no answer within {} s", limit.as_secs()))),
        }
    }

    pub(super) fn silent(&self, cause: String) -> Trouble {
        Trouble::Silent { endpoint: self.endpoint.to_string(), cause }
    }

    pub(super) fn trouble(&self, error: EngineError) -> Trouble {
        match error {
            EngineError::DockerResponseServerError { status_code: 404, message } => Trouble::NotThere(message),
            EngineError::DockerResponseServerError { status_code, message } => {
                Trouble::Refused { status: status_code, message }
            }
            EngineError::DockerStreamError { error } => Trouble::Refused { status: 500, message: error },
            error => self.silent(chain(&error)),
        }
    }

    /// The container of that name, if there is one.
    pub(super) async fn inspect(&self, name: &str) -> Result<Option<ContainerInspectResponse>, Trouble> {
        let mut found = match self.json(&format!("/containers/{name}/json")).await {
            Ok(found) => found,
            Err(Trouble::NotThere(_)) => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        // Podman has words of its own.
        let status = match found["State"]["Status"].as_str() {
            Some("configured" | "initialized") => Some("created"),
            Some("stopped") => Some("exited"),
            Some("stopping") => Some("running"),
            _ => None,
        };
        if let Some(status) = status {
            found["State"]["Status"] = status.into();
        }
        serde_json::from_value(found).map(Some).map_err(|error| self.silent(error.to_string()))
    }
}

/// An error and what caused it, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
