//! The steps of builds that nobody waits for any more. Podman begins no step when its caller is gone, but the one that it is
//! at comes to an end by itself, which may be never. What it runs can be found if the engine is on this machine.

use std::fs::File;
use std::io::{self, Read as _};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::pids::pids;

/// So much of a list of hosts is read.
const MAX_HOSTS: u64 = 64 * 1024;
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// A step may be about to begin, so this many looks in a row have to find nothing. That takes a second.
const QUIET_LOOKS: u32 = 20;
/// No more looks than this are taken. That takes at least ten seconds.
const MAX_LOOKS: u32 = 200;

/// The name of a host that the steps of a build know, and no other process. In the network of the host Podman does not tell
/// them of it, so they are not found.
pub(super) fn host(build: &str) -> String {
    format!("build-{build}.playhouse.invalid")
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
    let host = host(build);
    let mut quiet = 0;
    for _ in 0..MAX_LOOKS {
        quiet = if kill_all(&host) { 0 } else { quiet + 1 };
        if quiet == looks {
            return;
        }
        sleep(PAUSE);
    }
}

/// Kills the processes that know this host, and tells whether there was one.
fn kill_all(host: &str) -> bool {
    pids().filter_map(Pid::from_raw).fold(false, |found, pid| kill(pid, host).unwrap_or(false) | found)
}

fn kill(pid: Pid, host: &str) -> io::Result<bool> {
    // Opened before the look, so that it cannot come to mean another process.
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let knows_it = hosts_of(pid)?.split(u8::is_ascii_whitespace).any(|word| word == host.as_bytes());
    if knows_it {
        pidfd_send_signal(&process, Signal::KILL)?;
    }
    Ok(knows_it)
}

/// The beginning of the list of hosts that a process sees, which may be anything.
fn hosts_of(pid: Pid) -> io::Result<Vec<u8>> {
    let path = format!("/proc/{}/root/etc/hosts", pid.as_raw_pid());
    let file =
        File::from(rustix::fs::open(path, OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    let mut hosts = Vec::new();
    if file.metadata()?.is_file() {
        file.take(MAX_HOSTS).read_to_end(&mut hosts)?;
    }
    Ok(hosts)
}
