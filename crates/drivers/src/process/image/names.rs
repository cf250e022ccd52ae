//! Which images a Dockerfile may start from here, and what they stand for.

/// A base image that this machine can stand in for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BaseName {
    pub(super) family: Family,
    /// Whether it is one of the platform's own, with its SDK in `/usr/src/app`.
    pub(super) with_sdk: bool,
    /// The version that the tag asks for, like `22` or `3.13.1`; empty if it asks for none.
    pub(super) version: String,
}

/// What a base image is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Node,
    Python,
    /// The sample crawler that is part of our own program, for machines that have neither language.
    Sample,
}

impl Family {
    /// Its name as people write it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Node => "Node.js",
            Self::Python => "Python",
            Self::Sample => "the sample crawler",
        }
    }
}

/// Finds out what an image is; `Err` is a sentence that says why it cannot be used here.
pub(super) fn base(image: &str) -> Result<BaseName, String> {
    let (without_digest, _) = image.split_once('@').unwrap_or((image, ""));
    let name = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"]
        .iter()
        .find_map(|registry| without_digest.strip_prefix(registry))
        .unwrap_or(without_digest);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let (name, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let known = |family, with_sdk| Ok(BaseName { family, with_sdk, version: version_in(tag).to_owned() });
    match name {
        "apify/actor-node" | "apify/actor-node-basic" => known(Family::Node, true),
        "apify/actor-python" => known(Family::Python, true),
        "node" => known(Family::Node, false),
        "python" => known(Family::Python, false),
        "playhouse/sample-crawler" => known(Family::Sample, false),
        "scratch" => Err("FROM scratch starts without any system and needs a container engine".into()),
        _ if has_browser(name) => Err(format!(
            "the base image {image} comes with a browser and needs a container engine; \
             without one, use apify/actor-node or apify/actor-python with an HTTP crawler"
        )),
        _ => Err(format!(
            "the base image {image} needs a container engine; without one, there are apify/actor-node, \
             apify/actor-python, node and python"
        )),
    }
}

fn has_browser(name: &str) -> bool {
    ["playwright", "puppeteer", "chrome", "firefox", "webkit", "selenium", "camoufox"]
        .iter()
        .any(|word| name.contains(word))
}

/// The number that a tag begins with: `22` of `22-alpine`, nothing of `latest`.
fn version_in(tag: &str) -> &str {
    let end = tag.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tag.len());
    tag[..end].trim_end_matches('.')
}

/// Whether `has` is as new as `wants`, as far as `wants` says: `20.11.1` is for `20` and `20.11`, not for `22`.
pub(super) fn satisfies(has: &str, wants: &str) -> bool {
    let number = |part: &str| part.parse::<u64>().unwrap_or(0);
    let has: Vec<u64> = has.split('.').map(number).collect();
    let wants: Vec<u64> = wants.split('.').filter(|part| !part.is_empty()).map(number).collect();
    has.iter().take(wants.len()).copied().collect::<Vec<_>>() >= wants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_the_platform_and_of_the_two_languages_are_known() {
        for (image, family, with_sdk, version) in [
            ("apify/actor-node:22", Family::Node, true, "22"),
            ("docker.io/apify/actor-node", Family::Node, true, ""),
            ("apify/actor-python:3.14", Family::Python, true, "3.14"),
            ("node:22.1.0-alpine3.19", Family::Node, false, "22.1.0"),
            ("library/node:lts-slim", Family::Node, false, ""),
            ("docker.io/library/python:3.12-slim@sha256:00", Family::Python, false, "3.12"),
        ] {
            assert_eq!(base(image), Ok(BaseName { family, with_sdk, version: version.into() }), "{image}");
        }
    }

    #[test]
    fn other_images_are_refused_with_a_reason() {
        for (image, part) in [
            ("scratch", "FROM scratch"),
            ("apify/actor-node-playwright-chrome:22", "comes with a browser"),
            ("apify/actor-node-puppeteer-chrome", "comes with a browser"),
            ("apify/actor-python-playwright:3.13", "comes with a browser"),
            ("ubuntu:24.04", "needs a container engine"),
            ("ghcr.io/apify/actor-node:22", "needs a container engine"),
            ("", "needs a container engine"),
        ] {
            assert!(base(image).unwrap_err().contains(part), "{image}");
        }
    }

    #[test]
    fn versions_are_compared_as_far_as_they_are_given() {
        for (has, wants, expected) in [
            ("20.11.1", "20", true),
            ("20.11.1", "", true),
            ("20.11.1", "20.12", false),
            ("20.11.1", "22", false),
            ("24.0.0", "22.5", true),
            ("3.11.7", "3.9", true),
            ("3.11.7", "3.14", false),
        ] {
            assert_eq!(satisfies(has, wants), expected, "{has} {wants}");
        }
    }
}
