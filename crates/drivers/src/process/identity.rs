//! Which process is meant, beyond doubt: process ids come again, process id and start time do not.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

/// A process as it is written down, to be found again by a later server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessIdentity {
    pub(super) pid: i32,
    /// Clock ticks from the machine's start to the process's.
    start_ticks: u64,
    /// Changes with each start of the machine.
    boot_id: String,
}

impl ProcessIdentity {
    /// Of a process that is there now.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        Ok(Self { pid, start_ticks: start_ticks(pid)?, boot_id: boot_id().to_owned() })
    }

    /// A handle on the process, if it has not been reaped.
    pub(super) fn open(&self) -> Option<ProcessHandle> {
        if self.boot_id != boot_id() {
            return None;
        }
        let handle = ProcessHandle(pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::NONBLOCK).ok()?);
        // Compared after opening: from here on the handle cannot come to mean another process.
        (start_ticks(self.pid).ok()? == self.start_ticks).then_some(handle)
    }
}

/// A pidfd: means one process for as long as it is open.
#[derive(Debug)]
pub(super) struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// On a child that has not been reaped.
    pub(super) fn of_child(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::NONBLOCK)?))
    }

    /// Sends a signal; a process that is gone is no error.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.0, signal) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// Whether the process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    /// Waits for the end of the process, at most so long; tells whether it has ended.
    pub(super) fn ends_within(&self, time: Duration) -> bool {
        let timeout = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: i64::from(time.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&timeout)), Ok(1..))
    }

    /// Waits for the end of the process.
    pub(super) async fn ended(self) -> io::Result<Self> {
        #[expect(deprecated, reason = "its successor is unsafe; our descriptor stays open and the same")]
        let process = AsyncFd::new(self)?;
        process.readable().await?.retain_ready();
        Ok(process.into_inner())
    }

    /// Frees the process table's entry of an ended child; does nothing for a process that is no child of ours.
    pub(super) fn reap(&self) {
        // Fails for what is not our child, and then somebody else reaps it.
        waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).ok();
    }
}

impl AsRawFd for ProcessHandle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn start_ticks(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses and may hold anything; the start time is field 22.
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest);
    let ticks = after_name.and_then(|rest| rest.split_ascii_whitespace().nth(19)?.parse().ok());
    ticks.ok_or_else(|| io::Error::other("unreadable process status"))
}

fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time_and_gone_when_it_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();

        let handle = identity.open().unwrap();
        assert!(!handle.has_ended());
        assert!(ProcessIdentity { start_ticks: identity.start_ticks - 1, ..identity.clone() }.open().is_none());
        assert!(ProcessIdentity { boot_id: "other".into(), ..identity.clone() }.open().is_none());

        handle.signal(Signal::KILL).unwrap();
        assert!(handle.ends_within(Duration::from_secs(10)));
        child.wait().unwrap();
        assert!(identity.open().is_none());
        handle.signal(Signal::KILL).unwrap();
    }
}
