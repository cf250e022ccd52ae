//! Images: what a build leaves and a run starts from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::build::BuildJob;
use super::sandbox::Bind;
use crate::ImageInfo;

/// `builds/<build id>/image.json`: an image and where its layers are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// What is known of it.
    pub info: ImageInfo,
    /// Layer directories, oldest first, relative to the data directory.
    pub layers: Vec<PathBuf>,
    /// Parts of the host that the image needs besides the system directories, for example a toolchain.
    #[serde(default)]
    pub binds: Vec<Bind>,
}

impl StoredImage {
    /// Reads the image that a build left; `None` if there is none.
    ///
    /// # Errors
    /// Of the file system, or if the file is not what this version writes.
    pub fn load(data_dir: &Path, build_id: &str) -> std::io::Result<Option<Self>> {
        match std::fs::read(data_dir.join("builds").join(build_id).join("image.json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// The layers as absolute paths, oldest first.
    pub fn layer_dirs(&self, data_dir: &Path) -> Vec<PathBuf> {
        self.layers.iter().map(|layer| data_dir.join(layer)).collect()
    }
}

/// Builds the image of `job` and puts its `image.json` in place.
///
/// # Errors
/// What went wrong in one sentence, for the build's status message; it is also in the log.
pub fn build(job: &mut BuildJob) -> Result<StoredImage, String> {
    Err(format!("no builder for {} yet", job.spec().dockerfile_name))
}
