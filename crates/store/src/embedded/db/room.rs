//! Room on the disk: what grows is refused before the disk is full, so that deleting, and what runs need to end, goes on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tracing::{info, warn};

use super::checkpoint::log_of;
use crate::StoreError;

/// Most bytes that are set aside.
const MAX_RESERVE: u64 = 8 * 1024 * 1024;
/// Free bytes from which on nothing can get tight in a moment.
const PLENTY: u64 = 1024 * 1024 * 1024;
/// The part of a small file system that is set aside.
const RESERVED_PART: u64 = 8;

/// Watches the file system of a data directory.
///
/// Two things are kept back, each of the size of the *reserve*. The first is only counted: when less is left, what grows is
/// refused. The second is a file, since a count does not bind the others who write to the disk: it is given up when they
/// leave nothing.
#[derive(Debug)]
pub(super) struct Room {
    dir: PathBuf,
    log: PathBuf,
    file: PathBuf,
    /// Bytes of the reserve.
    reserve: u64,
    /// Whether the file is there.
    held: Mutex<bool>,
    tight: AtomicBool,
    plenty: AtomicBool,
}

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Space {
    /// Bytes that are free, without those of the reserve's file.
    free: u64,
    /// Bytes of the reserve's file.
    held: u64,
    /// Bytes of the write-ahead log, by which the database may yet grow.
    log: u64,
    /// Bytes of the reserve.
    reserve: u64,
}

impl Space {
    /// Whether `bytes` more can be taken in. Pages that the database has to spare need no room, but the log on their way does.
    fn admits(self, bytes: u64, spare: u64) -> bool {
        let beside_the_file = self.free.saturating_add(self.held).saturating_sub(self.reserve);
        let left = beside_the_file.saturating_sub(bytes);
        left >= self.reserve / 2 && left.saturating_add(spare) >= self.reserve + self.log
    }

    /// Whether others have left so little that the file must go.
    fn needs_the_file(self) -> bool {
        self.free < self.reserve / 4
    }

    /// Whether there is room for the file, and nothing is tight with it.
    fn can_make_the_file(self) -> bool {
        self.free >= 4 * self.reserve + self.log
    }
}

impl Room {
    /// Watches the file system with the database in `file`. Gives the reserve up if the disk is full, makes it if there is
    /// room.
    pub(super) fn open(file: &Path) -> Self {
        let dir = file.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
        let log = log_of(file);
        let reserve = dir.join("reserve");
        let held = reserve.metadata().is_ok_and(|file| file.len() > 0);
        let size = statvfs(&dir).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
        let room = Self {
            dir,
            log,
            file: reserve,
            reserve: MAX_RESERVE.min(size / RESERVED_PART),
            held: Mutex::new(held),
            tight: AtomicBool::new(false),
            plenty: AtomicBool::new(false),
        };
        room.balance();
        room
    }

    /// Looks at the disk again and tells whether there is room for what grows; `spare` tells how many bytes of the database
    /// hold nothing.
    pub(super) fn look(&self, spare: impl FnOnce() -> u64) -> bool {
        let Some(space) = self.space() else { return true };
        self.plenty.store(space.free > PLENTY, Ordering::Relaxed);
        // Once refused, growth starts again only when it can go on for a while.
        let margin = if self.is_tight() { self.reserve / 2 } else { 0 };
        space.admits(margin, 0) || space.admits(margin, spare())
    }

    /// Gives the reserve up if there is nothing else left, and makes it if there is room.
    pub(super) fn balance(&self) {
        let Some(space) = self.space() else { return };
        let mut held = self.held.lock();
        if *held && space.needs_the_file() {
            self.give_up(&mut held);
        } else if !*held && space.can_make_the_file() {
            self.make(&mut held);
        }
    }

    /// Keeps what came of looking, and tells the operator and the caller of a change.
    pub(super) fn note(&self, tight: bool) -> bool {
        let changed = self.tight.swap(tight, Ordering::Relaxed) != tight;
        if changed && tight {
            warn!("The disk is full: what grows is refused until there is room again");
        } else if changed {
            info!("There is room on the disk again");
        }
        changed
    }

    /// Whether what grows is refused.
    pub(super) fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }

    /// Whether there was so much room at the last look that it need not be watched closely.
    pub(super) fn has_plenty(&self) -> bool {
        self.plenty.load(Ordering::Relaxed)
    }

    /// Whether `bytes` may be written beside the database.
    ///
    /// # Errors
    /// `Full`.
    pub(super) fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        if self.space().is_none_or(|space| space.admits(bytes, 0)) { Ok(()) } else { Err(StoreError::Full) }
    }

    /// What there is; nothing if the file system does not say.
    fn space(&self) -> Option<Space> {
        let stat = statvfs(&self.dir).ok().filter(|stat| stat.f_blocks > 0)?;
        Some(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            held: self.file.metadata().map_or(0, |file| file.len()),
            log: self.log.metadata().map_or(0, |log| log.len()),
            reserve: self.reserve,
        })
    }

    fn give_up(&self, held: &mut bool) {
        match std::fs::remove_file(&self.file) {
            Ok(()) => {
                warn!("The disk is full; giving up the reserve so that deleting goes on");
                *held = false;
            }
            Err(error) => warn!(%error, "Cannot give up the reserve"),
        }
    }

    fn make(&self, held: &mut bool) {
        let made =
            File::create(&self.file).and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, self.reserve)?));
        // A file system without such calls has no file, and the count alone must do.
        if made.is_err() {
            let _ = std::fs::remove_file(&self.file);
        }
        // Not tried again and again either.
        *held = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn growing_stops_before_the_reserve_is_touched() {
        let space = Space { free: 24 * MIB, held: 8 * MIB, log: 0, reserve: 8 * MIB };

        assert!(space.admits(16 * MIB, 0));
        assert!(!space.admits(17 * MIB, 0));
        // What is in the log will be in the database too.
        assert!(!Space { log: 17 * MIB, ..space }.admits(0, 0));
        // Pages to spare make up for what is not free, but for what the log needs.
        assert!(Space { free: 4 * MIB, ..space }.admits(0, 4 * MIB));
        assert!(!Space { free: 3 * MIB, ..space }.admits(0, 100 * MIB));
        // The reserve is nobody's, also when its file is gone.
        assert!(!Space { free: 10 * MIB, held: 0, ..space }.admits(0, 100 * MIB));
    }

    #[test]
    fn the_file_goes_when_others_leave_nothing_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::open(&dir.path().join("db.sqlite"));

        assert!(room.look(|| 0));
        assert_eq!(dir.path().join("reserve").metadata().unwrap().len(), room.reserve);
        let space = room.space().unwrap();
        assert!(!space.needs_the_file());
        assert!(Space { free: MIB, ..space }.needs_the_file());
        room.give_up(&mut room.held.lock());
        assert!(!dir.path().join("reserve").exists());
        room.balance();
        assert!(dir.path().join("reserve").exists());
    }
}
