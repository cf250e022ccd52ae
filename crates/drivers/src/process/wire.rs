//! Messages between the server, a supervisor and the first process of a sandbox: JSON behind its length, on a socket.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::image::StoredImage;
use super::means::Means;
use crate::{BuildSpec, RunSpec};

/// Of all that is said between processes and of the files of a life. A server reads its own version's files and those
/// of the version before.
pub(super) const VERSION: u32 = 1;

/// A message may hold a whole environment, but no more.
const MAX_MESSAGE: u32 = 64 << 20;

/// What a supervisor gets through its gate. Until it has come, a supervisor does nothing; if it never comes, it ends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handover {
    pub(super) version: u32,
    pub(super) task: Task,
    /// Kept out of [`Task`], which may be logged.
    pub(super) secrets: Vec<String>,
    pub(super) means: Means,
    /// Whether the job ends when the server does.
    pub(super) ephemeral: bool,
    /// Free bytes on the disk below which the log is cut.
    pub(super) min_free_bytes: u64,
}

/// What a supervisor is there for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Task {
    Run(Box<RunSpec>, StoredImage),
    Build(Box<BuildSpec>),
}

/// What a supervisor answers, once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The command is executed, or the build goes on.
    Started,
    /// Nothing was started and nothing is left but files.
    CannotStart(String),
}

/// Sends one message.
pub(super) fn send(mut socket: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let len = u32::try_from(frame.len() - 4).ok().filter(|len| *len <= MAX_MESSAGE);
    let len = len.ok_or_else(|| io::Error::other("message too long"))?;
    frame[..4].copy_from_slice(&len.to_le_bytes());
    socket.write_all(&frame)
}

/// Waits for one message; `None` if the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<Option<T>> {
    let mut len = [0; 4];
    match socket.read_exact(&mut len) {
        Err(err) if matches!(err.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            return Ok(None);
        }
        result => result?,
    }
    let len = u32::from_le_bytes(len);
    if len > MAX_MESSAGE {
        return Err(io::Error::other("message too long"));
    }
    let mut message = Vec::new();
    socket.take(u64::from(len)).read_to_end(&mut message)?;
    if message.len() < len as usize {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&message)?))
}

/// The socket that a process of ours was given as its standard input.
pub(super) fn gate() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}
