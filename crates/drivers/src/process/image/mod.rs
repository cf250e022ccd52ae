//! Images: what a build leaves and a run starts from.

mod bases;
mod builder;
mod config;
mod copy;
mod environment;
mod layers;
mod names;
mod plan;
mod refusals;
mod run;
mod toolchain;
mod traces;
mod tree;
mod workshop;

pub use environment::host_environment;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::builder::{Builder, Failure, Stage};
use self::layers::Layers;
use self::workshop::Workshop;
use super::build::BuildJob;
use super::sandbox::Bind;
use crate::{ImageInfo, dockerfile};

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
    build_in(job)
}

/// Removes the layers that no image and no build in progress needs; to be called when images were removed.
///
/// # Errors
/// Of the file system; calling again goes on from there.
pub fn sweep(data_dir: &Path) -> io::Result<()> {
    layers::sweep(data_dir)
}

/// Removes what a build that was killed left unfinished; its image, if it has one, stays.
///
/// # Errors
/// Of the file system; calling again goes on from there.
pub fn tidy(data_dir: &Path, build_id: &str) -> io::Result<()> {
    layers::abandon(&data_dir.join("builds").join(build_id))
}

fn build_in(shop: &mut dyn Workshop) -> Result<StoredImage, String> {
    let (data_dir, dir) = (shop.data_dir().to_owned(), shop.dir());
    let outcome = Layers::open(&data_dir, &dir).map_err(Failure::from).and_then(|mut layers| {
        let outcome = build_with(shop, &mut layers);
        // Steps that went well need not be repeated by the next build, whatever became of this one.
        let kept = layers.keep().map_err(Failure::from);
        let outcome = outcome.and_then(|stage| {
            kept?;
            Ok(store(&stage, &dir)?)
        });
        layers.release()?;
        outcome
    });
    let message = match outcome {
        Ok(image) => {
            let megabytes = image.info.size_bytes as f64 / 1e6;
            shop.say(&format!("Built image {} ({megabytes:.1} MB)", image.info.digest));
            return Ok(image);
        }
        Err(Failure::At(fault)) => format!("{}:{}: {}", shop.spec().dockerfile_name, fault.line, fault.message),
        Err(Failure::Other(message)) => message,
        Err(Failure::Stopped) => "the build was stopped".to_owned(),
    };
    shop.say(&message);
    Err(message)
}

fn build_with(shop: &mut dyn Workshop, layers: &mut Layers) -> Result<Stage, Failure> {
    let file = dockerfile::parse(&shop.spec().dockerfile)
        .map_err(|err| Failure::At(plan::Fault::new(err.line, err.message)))?;
    Builder::new(shop, &file, layers)?.build()
}

/// Writes the image of a finished stage, whose layers are on disk.
fn store(stage: &Stage, dir: &Path) -> io::Result<StoredImage> {
    let mut hash = Sha256::new();
    layers::field(&mut hash, &serde_json::to_vec(&stage.config)?);
    for layer in &stage.layers {
        layers::field(&mut hash, layer.content.digest.as_bytes());
    }
    let config = stage.config.clone();
    let info = ImageInfo {
        digest: format!("sha256:{}", layers::hex(&hash.finalize())),
        size_bytes: stage.layers.iter().map(|layer| layer.content.size_bytes).sum(),
        env: config.env,
        workdir: config.workdir,
        user: config.user,
        entrypoint: config.entrypoint,
        cmd: config.cmd,
    };
    let layers = stage.layers.iter().map(|layer| layer.home.clone()).collect();
    let image = StoredImage { info, layers, binds: stage.binds.clone() };
    let temporary = dir.join("image.json.tmp");
    fs::write(&temporary, serde_json::to_vec_pretty(&image)?)?;
    File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, dir.join("image.json"))?;
    File::open(dir)?.sync_all()?;
    Ok(image)
}
