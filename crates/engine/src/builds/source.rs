//! Laying out a version's source in a directory.

use std::fs;
use std::path::{Path, PathBuf};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::signature::opens_record;
use model::{Build, FileFormat, Source, SourceFile, StorageId, StorageKind};
use percent_encoding::percent_decode_str;
use store::{ByteStream, Content};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::io::StreamReader;

use crate::Engine;
use crate::builds::archive::{self, Bounds};
use crate::builds::paths::inside;

/// Largest archive that is unpacked, in bytes.
const MAX_ARCHIVE: u64 = 1 << 30;

impl Engine {
    /// Lays out the source of `build` in the empty directory `root`, and says what it did. The error is a sentence for the
    /// build's log.
    pub(crate) async fn lay_out(&self, build: &Build, source: Source, root: &Path) -> Result<String, String> {
        match source {
            Source::SourceFiles { source_files } => {
                let root = root.to_owned();
                blocking(move || write_files(&source_files, &root)).await
            }
            Source::Tarball { tarball_url } => {
                let archive = self.fetch(build, &tarball_url, root).await?;
                let root = root.to_owned();
                blocking(move || {
                    let mut file = fs::File::open(&archive).map_err(|error| error.to_string())?;
                    let _ = fs::remove_file(&archive);
                    let files =
                        archive::unpack(&mut file, &root, Bounds::default()).map_err(|error| error.to_string())?;
                    Ok(format!("Unpacked {files} files."))
                })
                .await
            }
            source @ (Source::GitRepo { .. } | Source::GithubGist { .. }) => Err(format!(
                "the source type {} is not supported by this version of the server; push the Actor with the CLI instead",
                source.kind()
            )),
        }
    }

    /// Fetches an archive into a file beside `root`.
    async fn fetch(&self, build: &Build, url: &str, root: &Path) -> Result<PathBuf, String> {
        let elsewhere = || {
            format!("cannot fetch {url}: only archives in key-value stores of this server are unpacked by this version")
        };
        let record = record_at(url).ok_or_else(elsewhere)?;
        let failed = |error: store::StoreError| format!("cannot read the archive: {error}");
        let missing = || format!("there is no archive at {url}");
        let store = &self.inner.store;
        let storage = store.storages.get(&record.store).await.map_err(failed)?.ok_or_else(elsewhere)?;
        let may_read = storage.user_id == build.user_id
            || record.signature.is_some_and(|given| opens_record(&storage.url_signing_secret, &record.key, &given));
        if !may_read || storage.kind != StorageKind::KeyValueStore {
            return Err(missing());
        }
        let found = store.records.get(&record.store, &record.key).await.map_err(failed)?.ok_or_else(missing)?;
        let stream: ByteStream = match found.content {
            Content::Inline(bytes) => Box::pin(futures::stream::once(async { Ok(bytes) })),
            content @ Content::Object { .. } => store.records.open(&content, None).await.map_err(failed)?,
        };
        let reader = decoded(StreamReader::new(stream), found.meta.content_encoding.as_deref());
        let path = root.with_extension("archive");
        write_bounded(reader, &path).await.map_err(|error| format!("cannot read the archive: {error}"))?;
        Ok(path)
    }
}

/// A record that an address names.
struct RecordAddress {
    store: StorageId,
    key: String,
    signature: Option<String>,
}

/// The record that `url` names, if it has the form of one. Clients reach this server under many names, so its host is not
/// asked for: a store of that id is here or it is not.
fn record_at(url: &str) -> Option<RecordAddress> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (store, key) = path.strip_prefix("v2/key-value-stores/")?.split_once("/records/")?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let signature = query.split('&').find_map(|pair| decoded(pair.strip_prefix("signature=")?));
    Some(RecordAddress { store: StorageId::parse(store)?, key: decoded(key)?, signature })
}

fn decoded<'a>(
    reader: impl AsyncBufRead + Send + Unpin + 'a,
    encoding: Option<&str>,
) -> Box<dyn AsyncRead + Send + Unpin + 'a> {
    match encoding {
        Some("br") => Box::new(BrotliDecoder::new(reader)),
        Some("gzip") => Box::new(GzipDecoder::new(reader)),
        Some("deflate") => Box::new(ZlibDecoder::new(reader)),
        _ => Box::new(reader),
    }
}

async fn write_bounded(reader: impl AsyncRead + Unpin, path: &Path) -> std::io::Result<()> {
    let mut file = tokio::fs::File::create(path).await?;
    let size = tokio::io::copy(&mut reader.take(MAX_ARCHIVE + 1), &mut file).await?;
    if size > MAX_ARCHIVE {
        return Err(std::io::Error::other(format!("it has more than {MAX_ARCHIVE} bytes")));
    }
    file.flush().await
}

fn write_files(files: &[SourceFile], root: &Path) -> Result<String, String> {
    for file in files {
        let name = &file.name;
        // The root itself comes as a folder from some clients.
        if file.folder == Some(true) && matches!(name.as_str(), "" | "." | "./") {
            continue;
        }
        let path = inside(name).ok_or_else(|| format!("{name:?} points outside the Actor root directory"))?;
        let path = root.join(path);
        let failed = |error: std::io::Error| format!("cannot write {name:?}: {error}");
        if file.folder == Some(true) {
            fs::create_dir_all(&path).map_err(failed)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let content = file.content.as_deref().unwrap_or_default();
        match file.format {
            Some(FileFormat::Base64) => {
                let bytes = STANDARD.decode(content.trim()).map_err(|_| format!("{name:?} is not valid base64"))?;
                fs::write(&path, bytes).map_err(failed)?;
            }
            Some(FileFormat::Text) | None => fs::write(&path, content).map_err(failed)?,
        }
    }
    let count = files.iter().filter(|file| file.folder != Some(true)).count();
    Ok(format!("Wrote {count} source files."))
}

/// Does `work` on a thread where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(format!("the work was broken off: {error}")))
}
