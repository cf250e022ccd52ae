//! A command in its sandbox, as its supervisor holds it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Child;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::init::{InitSpec, Order, Report};
use super::{Command, Sandbox, SandboxError, copies, owner, uppers};
use crate::Limits;
use crate::process::cgroup::Group;
use crate::process::identity::ProcessHandle;
use crate::process::means::{Apart, Files, Means};
use crate::process::wire;

/// The least shared memory that a sandbox gets; browsers need plenty (`EXIT-8`).
const MIN_SHM_BYTES: u64 = 64 << 20;

/// A command in its sandbox.
#[derive(Debug)]
pub(in crate::process) struct Contained {
    /// Our child: the first process of the sandbox, or the one above it.
    child: Child,
    handle: ProcessHandle,
    /// `None` once the sandbox was told to end.
    socket: Option<UnixStream>,
    /// Read end of the pipe that is standard output and error of everything inside.
    output: OwnedFd,
    apart: Apart,
}

/// What happened in a sandbox.
#[derive(Debug)]
pub(in crate::process) enum Event {
    /// The command is executed; the process id, as seen from here, of the first process of the sandbox.
    Executed(i32),
    /// The command did not come to run.
    Failed(SandboxError),
    /// The command ended, and the sandbox is about to.
    Ended { code: i32, signal: Option<i32>, cpu_micros: u64, memory_peak_bytes: u64 },
}

impl Contained {
    /// Starts to set up the sandbox; what comes of it is told by [`next_event`](Self::next_event).
    pub(in crate::process) fn start(
        means: &Means,
        sandbox: &Sandbox,
        command: &Command,
        hostname: &str,
        limits: &Limits,
        group: &Group,
    ) -> Result<Self, SandboxError> {
        let spec = InitSpec {
            apart: means.apart,
            files: means.files,
            landlock: means.landlock,
            data_dir: means.data_dir.clone(),
            base: means.base.clone(),
            sandbox: sandbox.clone(),
            command: command.clone(),
            owner: owner(),
            hostname: hostname.to_owned(),
            shm_bytes: (limits.memory_bytes / 2).max(MIN_SHM_BYTES),
            join: group.join_files(),
        };
        if means.apart == Apart::Nothing || means.files == Files::Copy {
            copies::fill(sandbox, &means.base).map_err(|err| setup("cannot copy the image", &err))?;
        }
        if means.apart != Apart::Nothing && means.files == Files::Overlay {
            uppers::park(sandbox).map_err(|err| setup("cannot prepare its directories", &err))?;
        }
        Self::spawn(spec, group).map_err(|err| setup("cannot start its first process", &err))
    }

    fn spawn(spec: InitSpec, group: &Group) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        // A larger pipe means fewer switches under heavy output; an ordinary user may have used up what is allowed.
        fcntl_setpipe_size(&write, 1 << 20).ok();
        let (socket, theirs) = UnixStream::pair()?;
        let apart = spec.apart;
        let entry = if apart == Apart::User { super::ENTER } else { super::INIT };
        let mut process = std::process::Command::new("/proc/self/exe");
        process
            .arg0("playhouse")
            .arg(entry)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(write.try_clone()?)
            .stderr(write);
        let child = match apart {
            Apart::Root => in_new_process_namespace(|| process.spawn())?,
            Apart::User | Apart::Nothing => process.spawn()?,
        };
        // Our copies of the child's ends, without which the pipe would never close.
        drop(process);
        let handle = ProcessHandle::of_child(child.id())?;
        let contained = Self { handle, child, socket: Some(socket), output: read, apart };
        contained.order(&Order::SetUp(Box::new(spec)));
        // While the sandbox is being set up: joining from outside takes a while.
        group.add(contained.child.id())?;
        contained.order(&Order::Execute);
        Ok(contained)
    }

    fn order(&self, order: &Order) {
        if let Some(socket) = &self.socket {
            // If nobody is there to read it, the next event tells.
            wire::send(socket, order).ok();
        }
    }

    /// Waits for what happens next; `None` if nothing will.
    pub(in crate::process) fn next_event(&mut self) -> Option<Event> {
        let report = self.socket.as_ref().and_then(|socket| wire::receive(socket).ok().flatten());
        let Some(report) = report else {
            self.socket = None;
            return None;
        };
        Some(match report {
            Report::Executed { pid } => Event::Executed(pid),
            Report::SetupFailed(reason) => Event::Failed(SandboxError::Setup(reason)),
            Report::NotExecuted(reason) => Event::Failed(SandboxError::NotExecuted(reason)),
            Report::Ended { code, signal, cpu_micros, memory_peak_bytes } => {
                Event::Ended { code, signal, cpu_micros, memory_peak_bytes }
            }
        })
    }

    /// Sends a signal to the command.
    pub(in crate::process) fn signal(&self, signal: i32) {
        self.order(&Order::Signal(signal));
    }

    /// Ends everything in the sandbox.
    pub(in crate::process) fn kill(&mut self) {
        // The first process ends when its socket does. Where it is our child, this is only the polite half.
        if let Some(socket) = &self.socket {
            socket.shutdown(std::net::Shutdown::Write).ok();
        }
        if self.apart == Apart::Root {
            self.handle.signal(rustix::process::Signal::KILL).ok();
        }
    }

    /// To be waited on for [`next_event`](Self::next_event); `None` if there will be none.
    pub(in crate::process) fn socket(&self) -> Option<&UnixStream> {
        self.socket.as_ref()
    }

    /// To be waited on for the end of the sandbox.
    pub(in crate::process) fn handle(&self) -> &ProcessHandle {
        &self.handle
    }

    /// To be read from for what everything inside writes.
    pub(in crate::process) fn output(&self) -> &OwnedFd {
        &self.output
    }

    /// Frees what is left of an ended sandbox in the process table.
    pub(in crate::process) fn reap(&mut self) {
        self.child.wait().ok();
    }

    /// After the end: puts all that was written into the upper directory of `sandbox`.
    pub(in crate::process) fn collect(sandbox: &Sandbox) -> Result<(), SandboxError> {
        uppers::put_back(sandbox).map_err(|err| setup("cannot collect what was written", &err))
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        // Nothing survives an early return.
        self.kill();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs `spawn`, whose child becomes the first process of a new process namespace.
fn in_new_process_namespace<T>(spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let own = File::open("/proc/thread-self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let result = spawn();
    // Later children, and threads, belong where we are.
    setns(&own, CloneFlags::CLONE_NEWPID)?;
    result
}

fn setup(what: &str, err: &io::Error) -> SandboxError {
    SandboxError::Setup(format!("{what}: {err}"))
}
