//! Laying out a version's source in a directory.

use std::fs;
use std::path::Path;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt as _;
use model::signature::opens_record;
use model::{Build, FileFormat, GitAddress, Source, SourceFile, StorageId, StorageKind, masked_url};
use percent_encoding::percent_decode_str;
use store::{ByteStream, Content, JobLog};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use crate::builds::archive::{self, Bounds};
use crate::builds::git::Git;
use crate::builds::paths::inside;
use crate::{Engine, outbound};

/// Largest archive that is unpacked, in bytes.
const MAX_ARCHIVE: u64 = 1 << 30;

/// Said by work that was stopped; whoever stopped it knows better why.
pub(crate) const STOPPED: &str = "the work was stopped";

impl Engine {
    /// Lays out the source of `build` in the empty directory `root`, and says what it did. The error is a sentence for the
    /// build's log. Once `stop` is cancelled it ends soon, and nothing of it goes on.
    pub(crate) async fn lay_out(
        &self,
        build: &Build,
        source: &Source,
        root: &Path,
        stop: &CancellationToken,
    ) -> Result<String, String> {
        let log = JobLog::Build(build.id);
        match source {
            Source::SourceFiles { source_files } => {
                let (root, files) = (root.to_owned(), source_files.clone());
                blocking(move || write_files(&files, &root)).await
            }
            Source::Tarball { tarball_url } => {
                let archive = root.with_extension("archive");
                let fetched = match self.archive_here(build, tarball_url).await? {
                    Some(here) => write_bounded(here, &archive, stop).await,
                    None => {
                        self.say(&log, &format!("Fetching {}.", masked_url(tarball_url))).await;
                        download(tarball_url, &archive, stop).await
                    }
                };
                let (root, stop) = (root.to_owned(), stop.clone());
                blocking(move || {
                    let unpacked = fetched.and_then(|()| unpack(&archive, &root, &stop));
                    let _ = fs::remove_file(&archive);
                    unpacked
                })
                .await
            }
            Source::XImage { x_image, .. } => Ok(format!("Taking the image {x_image}.")),
            Source::GitRepo { .. } | Source::GithubGist { .. } => {
                let address = git_address(source)?.ok_or("it has no address")?;
                self.say(&log, &format!("Fetching {}.", address.url)).await;
                Git { engine: self, log, address: &address, root, stop }.fetch().await
            }
        }
    }

    /// The archive that an address names, if it is a record of this server.
    async fn archive_here(&self, build: &Build, url: &str) -> Result<Option<Reading>, String> {
        let Some(record) = record_at(url) else { return Ok(None) };
        let failed = |error: store::StoreError| format!("cannot read the archive: {error}");
        let missing = || format!("there is no archive at {}", masked_url(url));
        let store = &self.inner.store;
        let Some(storage) = store.storages.get(&record.store).await.map_err(failed)? else { return Ok(None) };
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
        Ok(Some(decoded(StreamReader::new(stream), found.meta.content_encoding.as_deref())))
    }
}

/// The repository that a source is in, if it is in one.
pub(crate) fn git_address(source: &Source) -> Result<Option<GitAddress>, String> {
    let address = match source {
        Source::GitRepo { git_repo_url } => GitAddress::parse(git_repo_url),
        Source::GithubGist { git_hub_gist_url } => GitAddress::parse_gist(git_hub_gist_url),
        Source::SourceFiles { .. } | Source::Tarball { .. } | Source::XImage { .. } => return Ok(None),
    };
    address.map(Some).map_err(|error| error.to_string())
}

/// An archive on its way.
type Reading = Box<dyn AsyncRead + Send + Unpin>;

/// Fetches an archive from anywhere into a file.
async fn download(url: &str, path: &Path, stop: &CancellationToken) -> Result<(), String> {
    let shown = masked_url(url);
    let failed = |error: &dyn std::error::Error| format!("cannot fetch {shown}: {}", innermost(error));
    let parsed = reqwest::Url::parse(url.trim()).map_err(|error| failed(&error))?;
    outbound::check(&parsed).map_err(|why| format!("cannot fetch {shown}: {why}"))?;
    let client = outbound::client().map_err(|error| failed(&error))?;
    let answer = tokio::select! {
        answer = client.get(parsed).header("accept-encoding", "identity").send() => answer,
        () = stop.cancelled() => return Err(STOPPED.to_owned()),
    };
    let answer = answer.map_err(|error| failed(&error))?;
    if !answer.status().is_success() {
        return Err(format!("cannot fetch {shown}: the server answered {}", answer.status()));
    }
    let length = answer.content_length();
    if length.is_some_and(|length| length > MAX_ARCHIVE) {
        return Err(format!("the archive at {shown} has more than {MAX_ARCHIVE} bytes"));
    }
    let body = Box::pin(answer.bytes_stream().map_err(|error| std::io::Error::other(innermost(&error))));
    write_bounded(Box::new(StreamReader::new(body)), path, stop).await
}

/// What really went wrong: the outer errors only say that something did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Unpacks an archive. One that holds nothing but a directory, as those of code hosts do, is that directory.
fn unpack(archive: &Path, root: &Path, stop: &CancellationToken) -> Result<String, String> {
    let mut file = fs::File::open(archive).map_err(|error| error.to_string())?;
    let files = archive::unpack(&mut file, root, Bounds::default(), stop).map_err(|error| error.to_string())?;
    strip_directory(root).map_err(|error| format!("cannot tidy up what was unpacked: {error}"))?;
    Ok(format!("Unpacked {files} files."))
}

fn strip_directory(root: &Path) -> std::io::Result<()> {
    let mut entries = fs::read_dir(root)?;
    let (Some(only), None) = (entries.next().transpose()?, entries.next()) else { return Ok(()) };
    if !only.file_type()?.is_dir() || only.file_name() == ".actor" {
        return Ok(());
    }
    let aside = root.with_extension("unpacked");
    fs::rename(only.path(), &aside)?;
    fs::remove_dir(root)?;
    fs::rename(&aside, root)
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

fn decoded(reader: impl AsyncBufRead + Send + Unpin + 'static, encoding: Option<&str>) -> Reading {
    match encoding {
        Some("br") => Box::new(BrotliDecoder::new(reader)),
        Some("gzip") => Box::new(GzipDecoder::new(reader)),
        Some("deflate") => Box::new(ZlibDecoder::new(reader)),
        _ => Box::new(reader),
    }
}

async fn write_bounded(reader: Reading, path: &Path, stop: &CancellationToken) -> Result<(), String> {
    let copied = async {
        let mut file = tokio::fs::File::create(path).await?;
        let size = tokio::io::copy(&mut reader.take(MAX_ARCHIVE + 1), &mut file).await?;
        file.flush().await?;
        Ok::<_, std::io::Error>(size)
    };
    let size = tokio::select! {
        size = copied => size.map_err(|error| format!("cannot read the archive: {error}"))?,
        () = stop.cancelled() => return Err(STOPPED.to_owned()),
    };
    if size > MAX_ARCHIVE { Err(format!("the archive has more than {MAX_ARCHIVE} bytes")) } else { Ok(()) }
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
