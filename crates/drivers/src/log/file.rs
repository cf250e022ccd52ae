//! The log file of a job, as whoever reads the job's output writes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use model::{Clock, SystemClock, Timestamp};

use super::{LineStamper, server_line};

/// Output between two looks at the free space of the disk.
const BYTES_BETWEEN_LOOKS: usize = 16 << 20;

/// A log file to which stamped lines are appended.
///
/// Only whole lines are written, except for very long ones, since the server appends lines of its own. Memory stays flat
/// whatever is written. When the disk is nearly full the log is cut, with a line that says so, and output goes nowhere.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    stamper: LineStamper,
    lines: Vec<u8>,
    /// Whether something is not synced, or about to be.
    dirty: bool,
    syncer: Option<(SyncSender<()>, JoinHandle<()>)>,
    min_free_bytes: u64,
    unwatched: usize,
    cut: bool,
}

impl LogFile {
    /// Opens the log, and makes it if it is not there.
    pub(crate) fn open(path: &Path, secrets: &[String], min_free_bytes: u64) -> io::Result<Self> {
        let open = || OpenOptions::new().append(true).create(true).open(path);
        let file = match (open(), path.parent()) {
            (Err(err), Some(dir)) if err.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(dir)?;
                open()
            }
            (result, _) => result,
        }?;
        Ok(Self {
            file,
            stamper: LineStamper::new(secrets),
            lines: Vec::new(),
            dirty: false,
            syncer: None,
            min_free_bytes,
            unwatched: BYTES_BETWEEN_LOOKS,
            cut: false,
        })
    }

    /// Appends output of a command.
    pub(crate) fn output(&mut self, bytes: &[u8]) {
        self.hold(SystemClock.now(), bytes);
        self.append_lines();
    }

    /// Takes output of a command that came at `now`; [`append_lines`](Self::append_lines) writes it.
    pub(crate) fn hold(&mut self, now: Timestamp, bytes: &[u8]) {
        if self.cut {
            return;
        }
        self.unwatched += bytes.len();
        if self.unwatched > BYTES_BETWEEN_LOOKS {
            self.watch_disk();
        }
        self.stamper.push(now, bytes, &mut self.lines);
    }

    /// Ends the last line of a command's output.
    pub(crate) fn end_output(&mut self) {
        self.stamper.finish(SystemClock.now(), &mut self.lines);
        self.append_lines();
    }

    /// Appends a line of the server's own.
    pub(crate) fn say(&mut self, text: &str) {
        self.end_output();
        self.lines.extend_from_slice(server_line(SystemClock.now(), text).as_bytes());
        self.append_lines();
    }

    /// Its length, if all output so far stands in it as whole lines.
    #[cfg(feature = "docker")]
    pub(crate) fn settled_len(&self) -> Option<u64> {
        let is_settled = self.stamper.is_settled() || self.cut;
        is_settled.then(|| self.file.metadata().ok().map(|metadata| metadata.len())).flatten()
    }

    /// To be called each second: sees to it that what was written by then reaches the disk.
    pub(crate) fn tick(&mut self) {
        if !self.dirty {
            return;
        }
        self.watch_disk();
        if self.syncer.is_none() {
            self.syncer = self.start_syncer().ok();
        }
        let asked = match &self.syncer {
            // Still busy with the last time, which may not cover all: ask again.
            Some((syncer, _)) => syncer.try_send(()).is_ok(),
            None => self.file.sync_data().is_ok(),
        };
        self.dirty = !asked;
    }

    /// Ends the log; all of it is on disk then.
    ///
    /// # Errors
    /// If it could not be synced.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.end_output();
        if let Some((asks, syncer)) = self.syncer.take() {
            drop(asks);
            // A panic there leaves nothing undone that the next line does not do.
            syncer.join().ok();
        }
        self.file.sync_data()
    }

    /// A thread, so that output flows on while the disk is busy.
    fn start_syncer(&self) -> io::Result<(SyncSender<()>, JoinHandle<()>)> {
        let file = self.file.try_clone()?;
        let (asks, asked) = sync_channel(1);
        let syncer = std::thread::Builder::new().name("log-sync".into()).spawn(move || {
            for () in asked {
                // Once more at the end, where an error counts.
                file.sync_data().ok();
            }
        })?;
        Ok((asks, syncer))
    }

    fn watch_disk(&mut self) {
        self.unwatched = 0;
        let free = rustix::fs::fstatvfs(&self.file).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if !self.cut && free.is_ok_and(|free| free < self.min_free_bytes) {
            self.say(&format!(
                "The log is cut here: the server's disk has less than {} MB left.",
                self.min_free_bytes >> 20
            ));
            self.cut = true;
        }
    }

    /// Writes what is held and ready.
    pub(crate) fn append_lines(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        if !self.cut {
            self.dirty = true;
            // A disk that is full all the same: what is missing cannot be written anywhere, and the command goes on.
            self.cut = self.file.write_all(&self.lines).is_err();
        }
        self.lines.clear();
        self.lines.shrink_to(1 << 20);
    }
}
