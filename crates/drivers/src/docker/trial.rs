//! Whether runs reach the server, tried with a container before the first of them is started.

use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptions, LogsOptions};
use futures::StreamExt as _;
use tracing::warn;

use super::client::{Client, QUICK, SLOW, Trouble};
use super::image::INSTANCE;
use super::start::remove;
use super::watch::Seen;
use super::{DockerConfig, Reach};
use crate::DriverError;

/// How long a container may take to reach the server.
const REACHED_WITHIN: Duration = Duration::from_secs(20);

/// Asks the server with whatever the image has for that, and ends with [`NO_MEANS`] if it has nothing.
const ASK: &str = r#"
if command -v node >/dev/null; then exec node -e '
    require("http").get(process.env.API, { timeout: 10000 }, (answer) => process.exit(0))
        .on("timeout", () => { console.log("no answer"); process.exit(1); })
        .on("error", (error) => { console.log(error.message); process.exit(1); })'
elif command -v python3 >/dev/null; then exec python3 -c '
import os, sys, urllib.error, urllib.request
try: urllib.request.urlopen(os.environ["API"], timeout=10)
except urllib.error.HTTPError: pass
except Exception as error: sys.exit(print(error) or 1)'
elif command -v curl >/dev/null; then exec curl --silent --show-error --max-time 10 --output /dev/null "$API" 2>&1
else exit 42; fi
"#;
const NO_MEANS: i64 = 42;

/// Tries whether a container of `image` in the network of runs reaches the server.
pub(super) async fn try_out(
    client: &Client,
    config: &DockerConfig,
    reach: &Reach,
    image: &str,
) -> Result<(), DriverError> {
    let name = format!("playhouse-{}-trial", config.instance);
    remove(client, &name).await?;
    let tried = run(client, config, reach, image, &name).await;
    remove(client, &name).await?;
    match tried {
        Ok(Tried::Reached) => Ok(()),
        Ok(Tried::Not(answer)) => Err(DriverError::CannotStart(format!(
            "the server cannot be reached at {} from the network {:?}: {answer}. A firewall may keep containers from this \
             machine; open the port for them, or set docker-network to host, or docker-api-url to an address that they reach",
            reach.api_url, reach.network
        ))),
        Ok(Tried::Unknown) => {
            warn!("The image {image} has nothing to try out with whether runs reach the server at {}", reach.api_url);
            Ok(())
        }
        Err(Trouble::NotThere(message)) if message.to_lowercase().contains("image") => {
            Err(DriverError::NoSuchImage(image.rsplit(':').next().unwrap_or(image).to_owned()))
        }
        // An image without a shell, for example. Whatever else is wrong shows when the run is started.
        Err(Trouble::Refused { message, .. } | Trouble::NotThere(message)) => {
            warn!(message, "Cannot try out whether runs reach the server at {}", reach.api_url);
            Ok(())
        }
        Err(silent) => Err(silent.into()),
    }
}

enum Tried {
    Reached,
    Not(String),
    Unknown,
}

async fn run(client: &Client, config: &DockerConfig, reach: &Reach, image: &str, name: &str) -> Result<Tried, Trouble> {
    let docker = client.docker().await?;
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: words(&["/bin/sh", "-c", ASK]),
        cmd: words(&[]),
        env: Some(vec![format!("API={}/health", reach.api_url)]),
        labels: Some([(INSTANCE.to_owned(), config.instance.clone())].into()),
        host_config: Some(HostConfig { network_mode: Some(reach.network.clone()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptions { name: Some(name.to_owned()), ..CreateContainerOptions::default() };
    client.within(SLOW, docker.create_container(Some(options), body)).await?;
    client.within(SLOW, docker.start_container(name, None)).await?;
    let ended = tokio::time::timeout(REACHED_WITHIN, async {
        loop {
            match client.look(name).await? {
                Seen::Ended(container) => return Ok(container),
                Seen::Gone => return Err(Trouble::Refused { status: 0, message: "it was removed".to_owned() }),
                Seen::Created | Seen::Running => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let Ok(ended) = ended.await else { return Ok(Tried::Not("no answer".to_owned())) };
    match ended?.state.and_then(|state| state.exit_code) {
        Some(0) => Ok(Tried::Reached),
        Some(NO_MEANS) => Ok(Tried::Unknown),
        _ => {
            let options = LogsOptions { stdout: true, stderr: true, ..LogsOptions::default() };
            let lines = docker.logs(name, Some(options)).filter_map(|line| async { Some(line.ok()?.to_string()) });
            let lines = tokio::time::timeout(QUICK, lines.collect::<String>()).await.unwrap_or_default();
            Ok(Tried::Not(lines.trim().to_owned()))
        }
    }
}
