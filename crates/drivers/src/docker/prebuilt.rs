//! Images that were built elsewhere: fetched from their registry, and given the name of a build.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hyper::Method;
use model::PullPolicy;
use serde_json::json;

use super::build::{explain, tell};
use super::client::Client;
use super::image::{OURS, repository};
use super::raw::nothing;
use crate::log::LogFile;
use crate::{Login, Prebuilt};

/// Takes an image for that of a build; the error is a sentence.
pub(super) async fn take(
    client: &Client,
    instance: &str,
    build_id: &str,
    prebuilt: &Prebuilt,
    log: &mut LogFile,
) -> Result<(), String> {
    let image = full_name(&prebuilt.image);
    if image.starts_with(OURS) {
        return Err(format!("{image} is the image of a build, which only its own Actor runs"));
    }
    let is_here = client.image(&image).await.map_err(|trouble| explain(&trouble))?.is_some();
    match (prebuilt.pull, is_here) {
        (PullPolicy::Never, false) => return Err(format!("the container engine does not have the image {image}")),
        (PullPolicy::Always, _) | (PullPolicy::Missing, false) => pull(client, &image, prebuilt, log).await?,
        (PullPolicy::Missing | PullPolicy::Never, true) => {}
    }
    let name = form_urlencoded::byte_serialize(repository(instance).as_bytes()).collect::<String>();
    let path = format!("/images/{image}/tag?repo={name}&tag={build_id}");
    client.stream(Method::POST, &path, nothing()).await.map_err(|trouble| explain(&trouble))?;
    Ok(())
}

async fn pull(client: &Client, image: &str, prebuilt: &Prebuilt, log: &mut LogFile) -> Result<(), String> {
    let failed = |reason: String| format!("cannot fetch {image}: {reason}");
    let named = form_urlencoded::byte_serialize(image.as_bytes()).collect::<String>();
    let login = prebuilt.login.as_ref().map(|login| header(login, image)).unwrap_or_default();
    let path = format!("/images/create?fromImage={named}");
    let answer = client.stream_as(Method::POST, &path, &login, nothing()).await;
    let mut body = answer.map_err(|trouble| failed(explain(&trouble)))?.into_body();
    tell(&mut body, log).await.map_err(|(_, reason)| failed(reason))
}

/// The name of an image with registry and tag, since engines differ in what they make of a name without.
fn full_name(image: &str) -> String {
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let is_registry = first == "localhost" || first.contains(['.', ':']);
    let named = match (is_registry, first) {
        (true, _) => image.to_owned(),
        (false, "") => format!("docker.io/library/{rest}"),
        (false, _) => format!("docker.io/{image}"),
    };
    let last = named.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { named } else { format!("{named}:latest") }
}

/// What engines want to see of credentials.
fn header(login: &Login, image: &str) -> String {
    let registry = image.split('/').next().unwrap_or_default();
    let address = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    let fields = json!({ "username": login.username, "password": login.password, "serveraddress": address });
    URL_SAFE.encode(fields.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_full() {
        for (given, full) in [
            ("node", "docker.io/library/node:latest"),
            ("node:20", "docker.io/library/node:20"),
            ("apify/actor-node", "docker.io/apify/actor-node:latest"),
            ("ghcr.io/ada/crawler:1.2", "ghcr.io/ada/crawler:1.2"),
            ("localhost/crawler", "localhost/crawler:latest"),
            ("127.0.0.1:5000/crawler", "127.0.0.1:5000/crawler:latest"),
            ("ghcr.io/ada/crawler@sha256:abc", "ghcr.io/ada/crawler@sha256:abc"),
        ] {
            assert_eq!(full_name(given), full);
        }
    }
}
