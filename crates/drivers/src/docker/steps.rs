//! The steps of builds that nobody waits for any more. Podman begins no step when its caller is gone, but the one that it is
//! at comes to an end by itself, which may be never. What it runs can be found if the engine is on this machine.

use std::fs::File;
use std::io::{self, Read as _};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sha2::{Digest as _, Sha256};

use crate::pids::pids;

/// What containers have if nobody says otherwise.
const LEAST_SHARED_MEMORY: u64 = 64 << 20;
const PAGE: u64 = 4096;
/// So much of a table of mounts is read.
const MAX_MOUNTS: u64 = 256 * 1024;
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// A step may be about to begin, so this many looks in a row have to find nothing. That takes a second.
const QUIET_LOOKS: u32 = 20;
/// No more looks than this are taken. That takes at least ten seconds.
const MAX_LOOKS: u32 = 200;

/// How large the shared memory of the steps of a build may be, by which they are known: each build has a size of its own (but
/// for one pair in 16 million), which is never a whole number of megabytes, as those are that people choose.
///
/// Of what Podman is told of a build, nothing else can be seen from outside in each kind of network.
pub(super) fn shared_memory_bytes(build: &str) -> u64 {
    let hash = Sha256::digest(build);
    let number = hash[..3].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    LEAST_SHARED_MEMORY + (number + number / 255 + 1) * PAGE
}

/// Kills the steps of a build that is to end, also one that is just about to begin.
pub(super) fn end(build: &str) {
    look_until_quiet(build, QUIET_LOOKS);
}

/// Kills what a server or an engine that is gone has left of a build.
pub(super) fn end_left_over(build: &str) {
    look_until_quiet(build, 1);
}

fn look_until_quiet(build: &str, looks: u32) {
    let bytes = shared_memory_bytes(build);
    let mut quiet = 0;
    for _ in 0..MAX_LOOKS {
        quiet = if kill_all(bytes) { 0 } else { quiet + 1 };
        if quiet == looks {
            return;
        }
        sleep(PAUSE);
    }
}

/// Kills the processes with so much shared memory, and tells whether there was one.
fn kill_all(bytes: u64) -> bool {
    pids().filter_map(Pid::from_raw).fold(false, |found, pid| kill(pid, bytes).unwrap_or(false) | found)
}

fn kill(pid: Pid, bytes: u64) -> io::Result<bool> {
    // Opened before the look, so that it cannot come to mean another process.
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut mounts = Vec::new();
    File::open(format!("/proc/{}/mountinfo", pid.as_raw_pid()))?.take(MAX_MOUNTS).read_to_end(&mut mounts)?;
    let is_it = size_of_shared_memory(&String::from_utf8_lossy(&mounts)) == Some(bytes);
    if is_it {
        pidfd_send_signal(&process, Signal::KILL)?;
    }
    Ok(is_it)
}

/// The size in a table of mounts, as in proc_pid_mountinfo(5).
fn size_of_shared_memory(mounts: &str) -> Option<u64> {
    let is_it = |mount: &&str| mount.split(' ').nth(4) == Some("/dev/shm");
    let options = mounts.lines().rfind(is_it)?.rsplit(' ').next()?;
    let kilobytes = options.split(',').find_map(|option| option.strip_prefix("size=")?.strip_suffix('k'))?;
    Some(kilobytes.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_build_has_a_size_that_nobody_else_chooses() {
        let sizes: HashSet<u64> = (0..1000).map(|build| shared_memory_bytes(&build.to_string())).collect();

        assert_eq!(sizes.len(), 1000);
        assert!(sizes.iter().all(|size| size % PAGE == 0 && size % (1 << 20) != 0 && *size > 64 << 20));
    }

    #[test]
    fn the_size_is_read_from_the_table_of_mounts() {
        let mounts = "\
613 612 0:51 / /proc rw,nosuid - proc proc rw
620 615 0:49 / /dev/shm rw,nosuid,nodev - tmpfs shm rw,size=64000k
621 615 0:50 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65564k,uid=1000
622 615 0:52 / /dev/mqueue rw - tmpfs x rw,size=1k
";
        assert_eq!(size_of_shared_memory(mounts), Some(65564 * 1024));
        assert_eq!(size_of_shared_memory(&mounts.replace("size=65564k", "mode=777")), None);
        assert_eq!(size_of_shared_memory("613 612 0:51 / /proc rw - proc proc rw\n"), None);
    }
}
