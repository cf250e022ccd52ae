//! Images: one for each build, under a full name of its own.

use std::collections::HashMap;

use bollard::models::ImageInspect;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};

use super::client::{Client, QUICK, SLOW, Trouble};
use crate::ImageInfo;

/// Label with the instance whose thing it is.
pub(super) const INSTANCE: &str = "org.playhouse.instance";

/// How the names of images of builds begin, whichever server's they are.
pub(super) const OURS: &str = "localhost/playhouse-";

/// The image of a build. With the registry's name, since engines differ in what they make of a name without.
pub(super) fn name_of(instance: &str, build_id: &str) -> String {
    format!("{}:{build_id}", repository(instance))
}

pub(super) fn repository(instance: &str) -> String {
    format!("{OURS}{instance}")
}

impl Client {
    /// The image of that name, if it is here.
    pub(super) async fn image(&self, name: &str) -> Result<Option<ImageInspect>, Trouble> {
        let docker = self.docker().await?;
        match self.within(QUICK, docker.inspect_image(name)).await {
            Ok(image) => Ok(Some(image)),
            Err(Trouble::NotThere(_)) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Removes an image; containers that still use it keep what they need.
    pub(super) async fn remove_image(&self, name: &str) -> Result<(), Trouble> {
        let docker = self.docker().await?;
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        match self.within(SLOW, docker.remove_image(name, Some(options), None)).await {
            Ok(_) | Err(Trouble::NotThere(_)) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// The builds of an instance that have images.
    pub(super) async fn built(&self, instance: &str) -> Result<Vec<String>, Trouble> {
        let repository = repository(instance);
        let filters = HashMap::from([("reference".to_owned(), vec![format!("{repository}:*")])]);
        let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
        let images = self.within(QUICK, self.docker().await?.list_images(Some(options))).await?;
        let tags = images.into_iter().flat_map(|image| image.repo_tags);
        let builds = tags.filter_map(|tag| Some(tag.strip_prefix(&repository)?.strip_prefix(':')?.to_owned()));
        Ok(builds.collect())
    }
}

/// What is told of an image.
pub(super) fn info_of(image: &ImageInspect) -> ImageInfo {
    let config = image.config.clone().unwrap_or_default();
    let env = config.env.unwrap_or_default();
    let id = image.id.clone().unwrap_or_default();
    ImageInfo {
        digest: if id.starts_with("sha256:") { id } else { format!("sha256:{id}") },
        size_bytes: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        env: env
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        workdir: config.working_dir.filter(|workdir| !workdir.is_empty()).unwrap_or_else(|| "/".to_owned()),
        user: config.user.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
    }
}
