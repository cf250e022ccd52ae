//! The context of a build as the archive that engines take.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::raw::Body;
use crate::BuildSpec;
use crate::dockerfile::ignore::Ignore;

/// Name of the Dockerfile in the archive where the context does not have it.
const ELSEWHERE: &str = ".dockerfile.playhouse";
/// Bytes that wait for the engine, in pieces.
const PIECE: usize = 64 * 1024;
const WAITING: usize = 4;

/// What is sent to the engine.
#[derive(Debug)]
pub(super) struct Context {
    ignore: Ignore,
    /// Name of the Dockerfile in the archive.
    pub(super) dockerfile: String,
    is_elsewhere: bool,
}

impl Context {
    /// Looks at the context of a build. Blocks.
    ///
    /// # Errors
    /// A sentence for the log.
    pub(super) fn of(spec: &BuildSpec) -> Result<Self, String> {
        let in_context = place_in_context(spec);
        let own = in_context.as_ref().map(|name| format!("{name}.dockerignore"));
        let files = own.iter().map(String::as_str).chain([".dockerignore"]);
        let mut ignore = Ignore::default();
        for file in files {
            match fs::read_to_string(spec.context.join(file)) {
                Ok(text) => {
                    ignore =
                        Ignore::parse(&text).map_err(|(line, message)| format!("{file}, line {line}: {message}"))?;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("cannot read {file}: {error}")),
            }
        }
        let is_elsewhere = in_context.is_none();
        Ok(Self { ignore, dockerfile: in_context.unwrap_or_else(|| ELSEWHERE.to_owned()), is_elsewhere })
    }

    /// The archive, made while it is read; whatever is ignored is not in it.
    pub(super) fn archive(self, spec: &BuildSpec) -> Body {
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(WAITING);
        let (root, dockerfile) = (spec.context.clone(), spec.dockerfile.clone());
        tokio::task::spawn_blocking(move || {
            let mut writer = Writer { sender: sender.clone(), buffer: BytesMut::new() };
            let written = self.write(&root, &dockerfile, &mut writer).and_then(|()| writer.flush());
            if let Err(error) = written {
                // Nobody listens any more, or learns of it by this.
                sender.blocking_send(Err(error)).ok();
            }
        });
        let pieces = tokio_stream::wrappers::ReceiverStream::new(receiver).map(|piece| piece.map(Frame::data));
        BodyExt::boxed(StreamBody::new(pieces))
    }

    fn write(&self, root: &Path, dockerfile: &str, to: &mut Writer) -> io::Result<()> {
        let mut archive = tar::Builder::new(to);
        archive.follow_symlinks(false);
        self.add_directory(&mut archive, root, "")?;
        if self.is_elsewhere {
            let mut header = tar::Header::new_gnu();
            header.set_size(dockerfile.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, &self.dockerfile, dockerfile.as_bytes())?;
        }
        archive.finish()
    }

    fn add_directory(&self, archive: &mut tar::Builder<&mut Writer>, root: &Path, dir: &str) -> io::Result<()> {
        let mut entries: Vec<_> = fs::read_dir(root.join(dir))?.collect::<io::Result<_>>()?;
        // In the same order each time, so that engines find what they have in their cache.
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let metadata = entry.metadata()?;
            // Engines read these two themselves, whatever is ignored.
            let is_needed = path == self.dockerfile || path == ".dockerignore";
            let is_ignored = self.ignore.excludes(&path) && !is_needed;
            if metadata.is_dir() {
                if !is_ignored {
                    self.add(archive, root, &path, &metadata)?;
                }
                let may_hold_needed = self.dockerfile.strip_prefix(&path).is_some_and(|rest| rest.starts_with('/'));
                if !is_ignored || self.ignore.may_keep_below_excluded() || may_hold_needed {
                    self.add_directory(archive, root, &path)?;
                }
            } else if !is_ignored && (metadata.is_file() || metadata.is_symlink()) {
                self.add(archive, root, &path, &metadata)?;
            }
        }
        Ok(())
    }

    fn add(
        &self,
        archive: &mut tar::Builder<&mut Writer>,
        root: &Path,
        path: &str,
        metadata: &fs::Metadata,
    ) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_metadata(metadata);
        // As everybody's, whoever runs the server; and without times, which differ with every upload of the same file.
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let full = root.join(path);
        if metadata.is_symlink() {
            header.set_size(0);
            return archive.append_link(&mut header, path, fs::read_link(full)?);
        }
        if metadata.is_dir() {
            header.set_size(0);
            return archive.append_data(&mut header, format!("{path}/"), io::empty());
        }
        archive.append_data(&mut header, path, fs::File::open(full)?)
    }
}

/// The name under which the context itself has the Dockerfile, if it does.
fn place_in_context(spec: &BuildSpec) -> Option<String> {
    // The name is seen from the Actor's root, which may lie below the context or beside it.
    let actor = spec.args.get("ACTOR_PATH_IN_DOCKER_CONTEXT").map(|path| path.trim_matches('/')).unwrap_or_default();
    let name = if matches!(actor, "" | ".") {
        spec.dockerfile_name.clone()
    } else {
        format!("{actor}/{}", spec.dockerfile_name)
    };
    let text = fs::read_to_string(spec.context.join(&name)).ok()?;
    (text == spec.dockerfile && !name.split('/').any(|part| part == "..")).then_some(name)
}

/// Hands on what is written, in pieces.
struct Writer {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Job, JobKind, Limits};

    fn spec(context: &Path, name: &str, dockerfile: &str, actor: &str) -> BuildSpec {
        BuildSpec {
            job: Job { kind: JobKind::Build, id: "b".into(), life: 1 },
            context: context.to_owned(),
            dockerfile: dockerfile.into(),
            dockerfile_name: name.into(),
            args: BTreeMap::from([("ACTOR_PATH_IN_DOCKER_CONTEXT".into(), actor.into())]),
            secrets: Vec::new(),
            prebuilt: None,
            use_cache: true,
            limits: Limits { memory_bytes: 0, cpu_millis: 0, pids: 0, disk_bytes: 0 },
            log: "log".into(),
        }
    }

    async fn names(spec: &BuildSpec) -> Vec<String> {
        let body = Context::of(spec).unwrap().archive(spec).collect().await.unwrap().to_bytes();
        let mut archive = tar::Archive::new(&body[..]);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    fn given(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), text).unwrap();
        }
        dir
    }

    #[tokio::test]
    async fn what_is_ignored_is_not_sent_but_the_dockerfile_is() {
        let files = [
            ("Dockerfile", "FROM x"),
            ("main.js", ""),
            ("node_modules/a/b.js", ""),
            ("storage/keep/me", ""),
            ("storage/not", ""),
            (".dockerignore", "node_modules\nstorage\n!storage/keep\nDockerfile"),
        ];
        let dir = given(&files);

        let sent = names(&spec(dir.path(), "Dockerfile", "FROM x", ".")).await;

        assert_eq!(sent, [".dockerignore", "Dockerfile", "main.js", "storage/keep/", "storage/keep/me"]);
    }

    #[tokio::test]
    async fn a_dockerfile_from_elsewhere_is_added() {
        let dir = given(&[("actor/.actor/Dockerfile", "FROM x"), ("lib.js", "")]);

        let inside = Context::of(&spec(dir.path(), ".actor/Dockerfile", "FROM x", "actor")).unwrap();
        let built_in = spec(dir.path(), "built-in Dockerfile", "FROM y", "actor");

        assert_eq!(inside.dockerfile, "actor/.actor/Dockerfile");
        assert_eq!(Context::of(&built_in).unwrap().dockerfile, ELSEWHERE);
        assert!(names(&built_in).await.contains(&ELSEWHERE.to_owned()));
    }

    #[test]
    fn a_broken_ignore_file_is_named_with_its_line() {
        let dir = given(&[(".dockerignore", "ok\n[a-\n")]);

        let refused = Context::of(&spec(dir.path(), "Dockerfile", "FROM x", "")).unwrap_err();

        assert!(refused.starts_with(".dockerignore, line 2: "), "{refused}");
    }
}
