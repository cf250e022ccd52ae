//! Watches over one command after another until the job ends.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::log::LogFile;
use crate::process::cgroup::Group;
use crate::process::life::Life;
use crate::process::means::Means;
use crate::process::sandbox::{Command, CommandEnd, Contained, Event, Sandbox, SandboxError};
use crate::process::tree;
use crate::{Limits, Usage};

/// How often the log is synced and memory is measured.
const TICK: Duration = Duration::from_secs(1);

/// The same where nothing but measuring limits memory.
const SAMPLING_TICK: Duration = Duration::from_millis(500);

/// How long output may still come after the last process is gone. It cannot, where there are process namespaces.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// What a supervisor has in hand.
#[derive(Debug)]
pub(in crate::process) struct Supervisor {
    life: Life,
    means: Means,
    limits: Limits,
    hostname: String,
    group: Group,
    log: LogFile,
    signals: SignalFd,
    /// Where the job is to end with the server: readable when that is gone.
    server: Option<UnixStream>,
    stopping: Stopping,
    /// Of commands that ended, where no group counts; and the highest memory seen.
    usage: Usage,
    buffer: Vec<u8>,
}

/// Whether and how the job was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stopping {
    No,
    Signalled,
    Killed,
}

/// Keeps signals from their default action; they are read from the descriptor.
pub(super) fn block_signals() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        mask.add(signal);
    }
    mask.thread_block()?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

impl Supervisor {
    pub(super) fn new(
        life: Life,
        means: Means,
        limits: Limits,
        group: Group,
        log: LogFile,
        signals: SignalFd,
        server: Option<UnixStream>,
    ) -> Self {
        let (usage, buffer) = (Usage::default(), vec![0; 256 << 10]);
        let (hostname, stopping) = (life.name(), Stopping::No);
        Self { life, means, limits, hostname, group, log, signals, server, stopping, usage, buffer }
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    pub(in crate::process) fn data_dir(&self) -> &Path {
        &self.means.data_dir
    }

    pub(in crate::process) fn means(&self) -> &Means {
        &self.means
    }

    /// The log, for lines of the server's own.
    pub(in crate::process) fn log(&mut self) -> &mut LogFile {
        &mut self.log
    }

    /// Whether somebody has asked the job to end.
    pub(super) fn was_stopped(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Whether somebody has asked the job to end, by now; keeps the log going between commands.
    pub(in crate::process) fn asked_to_stop(&mut self) -> bool {
        self.log.tick();
        while let Ok(Some(_)) = self.signals.read_signal() {
            self.stopping = Stopping::Killed;
        }
        if self.server.as_ref().is_some_and(is_ready) {
            self.stopping = Stopping::Killed;
        }
        self.was_stopped()
    }

    /// Runs a command in a sandbox to its end; calls `started` when it is executed.
    pub(in crate::process) fn run(
        &mut self,
        sandbox: &Sandbox,
        command: &Command,
        started: impl FnOnce(),
    ) -> Result<CommandEnd, SandboxError> {
        if self.stopping == Stopping::Killed {
            return Err(SandboxError::Stopped);
        }
        let killed_before = self.group.oom_kills();
        let contained = Contained::start(&self.means, sandbox, command, &self.hostname, &self.limits, &self.group)?;
        let mut watch =
            Watch { contained, first_process: None, end: None, failure: None, over_memory: false, cpu_micros: 0 };
        self.watch(&mut watch, started);
        self.log.end_output();
        if let Some(failure) = watch.failure {
            return Err(failure);
        }
        if watch.end.is_none() {
            self.usage.cpu_micros += watch.cpu_micros;
        }
        let over_memory = watch.over_memory || self.group.oom_kills() > killed_before;
        // Without a word from the first process: it was killed, and everything with it.
        let (code, signal) = watch.end.unwrap_or((128 + Signal::SIGKILL as i32, Some(Signal::SIGKILL as i32)));
        Ok(CommandEnd { code, signal, out_of_memory: over_memory && code != 0 })
    }

    fn watch(&mut self, watch: &mut Watch, started: impl FnOnce()) {
        let mut started = Some(started);
        let mut next_tick = Instant::now() + self.tick_every();
        let mut output_open = true;
        let mut gone_at: Option<Instant> = None;
        while output_open || gone_at.is_none() {
            if gone_at.is_some_and(|gone_at| gone_at.elapsed() > LAST_OUTPUT) {
                break;
            }
            let ready = self.wait(watch, output_open, gone_at.is_some(), next_tick);
            if ready.output {
                output_open = self.take_output(&watch.contained);
            }
            if ready.socket {
                match watch.contained.next_event() {
                    Some(Event::Executed(pid)) => {
                        watch.first_process = Some(pid);
                        if let Some(started) = started.take() {
                            started();
                        }
                        // A help for whoever has to clean up after us; the kernel does most of it anyway.
                        self.life.write_first_process(pid).ok();
                    }
                    Some(Event::Failed(failure)) => watch.failure = Some(failure),
                    Some(Event::Ended { code, signal, cpu_micros, memory_peak_bytes }) => {
                        watch.end = Some((code, signal));
                        self.usage.cpu_micros += cpu_micros;
                        self.usage.memory_peak_bytes = self.usage.memory_peak_bytes.max(memory_peak_bytes);
                    }
                    None => {}
                }
            }
            if ready.signals {
                self.obey(&mut watch.contained);
            }
            if ready.server {
                self.server = None;
                self.stopping = Stopping::Killed;
                watch.contained.kill();
            }
            // What the sandbox had to tell comes before its end.
            if ready.gone && watch.contained.socket().is_none() && gone_at.is_none() {
                watch.contained.reap();
                gone_at = Some(Instant::now());
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + self.tick_every();
                self.log.tick();
                self.measure(watch);
            }
        }
    }

    /// Waits until something is ready or it is time for the next tick.
    fn wait(&self, watch: &Watch, output_open: bool, gone: bool, next_tick: Instant) -> Ready {
        let mut fds = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        let mut add = |fd| {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            fds.len() - 1
        };
        let output = output_open.then(|| add(watch.contained.output().as_fd()));
        let socket = watch.contained.socket().map(|socket| add(socket.as_fd()));
        let handle = (!gone).then(|| add(watch.contained.handle().as_fd()));
        let server = self.server.as_ref().map(|server| add(server.as_fd()));
        let time = next_tick.saturating_duration_since(Instant::now());
        let time = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: i64::from(time.subsec_nanos()) };
        if poll(&mut fds, Some(&time)).is_err() {
            return Ready::default();
        }
        let is_ready = |at: Option<usize>| at.is_some_and(|at| !fds[at].revents().is_empty());
        Ready {
            signals: is_ready(Some(0)),
            output: is_ready(output),
            socket: is_ready(socket),
            gone: is_ready(handle),
            server: is_ready(server),
        }
    }

    /// Reads what there is; false at the end.
    fn take_output(&mut self, contained: &Contained) -> bool {
        match rustix::io::read(contained.output(), &mut self.buffer) {
            Ok(0) => false,
            Ok(len) => {
                self.log.output(&self.buffer[..len]);
                true
            }
            Err(err) => err == rustix::io::Errno::INTR || err == rustix::io::Errno::AGAIN,
        }
    }

    fn obey(&mut self, contained: &mut Contained) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo.cast_signed()) {
                Ok(Signal::SIGUSR2) => {
                    self.stopping = Stopping::Killed;
                    contained.kill();
                }
                Ok(Signal::SIGUSR1) => {
                    if self.stopping == Stopping::No {
                        self.stopping = Stopping::Signalled;
                    }
                    contained.signal(Signal::SIGTERM as i32);
                }
                // From a service manager or a machine that goes down: not ours to decide what it means.
                _ => contained.signal(Signal::SIGTERM as i32),
            }
        }
    }

    fn tick_every(&self) -> Duration {
        if self.group.limits_memory() { TICK } else { SAMPLING_TICK }
    }

    /// Notes the highest memory; where no group does so, holds the command to its limit.
    fn measure(&mut self, watch: &mut Watch) {
        let sampled = !self.group.limits_memory();
        let now = if sampled { watch.first_process.and_then(tree::usage) } else { self.group.usage() };
        let Some(now) = now else { return };
        self.usage.memory_peak_bytes = self.usage.memory_peak_bytes.max(now.memory_bytes);
        watch.cpu_micros = now.cpu_micros;
        if sampled && now.memory_bytes > self.limits.memory_bytes {
            watch.over_memory = true;
            watch.contained.kill();
        }
    }

    /// What the whole life used; nothing of it runs any more.
    pub(super) fn total_usage(&mut self) -> Usage {
        let Some(counted) = self.group.usage() else { return self.usage };
        let memory_peak_bytes = match self.usage.memory_peak_bytes {
            // Shorter than a tick. The kernel's own peak has page cache in it, but is better than nothing.
            0 => counted.memory_peak_bytes,
            measured => measured,
        };
        Usage {
            cpu_micros: counted.cpu_micros.max(self.usage.cpu_micros),
            memory_bytes: 0,
            memory_peak_bytes: memory_peak_bytes.min(self.limits.memory_bytes),
            ..Usage::default()
        }
    }

    pub(super) fn close_log(&mut self) {
        // There is nobody to tell, and the end of the job matters more.
        self.log.close().ok();
    }

    pub(super) fn remove_group(&self) -> io::Result<()> {
        self.group.remove()
    }
}

/// One command while it is watched.
struct Watch {
    contained: Contained,
    first_process: Option<i32>,
    end: Option<(i32, Option<i32>)>,
    failure: Option<SandboxError>,
    over_memory: bool,
    /// As measured last, in case that nobody tells at the end.
    cpu_micros: u64,
}

/// What a wait was ended by.
#[derive(Default)]
struct Ready {
    signals: bool,
    output: bool,
    socket: bool,
    gone: bool,
    server: bool,
}

fn is_ready(socket: &UnixStream) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
}
