//! The first process of a sandbox: sets it up from within, executes the command, reaps, and takes everything with it
//! when it ends.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ExitCode, Stdio};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use super::{ACTOR_UID, Command, Sandbox, confine, mounts};
use crate::process::means::{Apart, Files};
use crate::process::wire;

/// What the first process is to set up and execute.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InitSpec {
    pub(super) apart: Apart,
    pub(super) files: Files,
    pub(super) landlock: bool,
    pub(super) data_dir: PathBuf,
    pub(super) base: PathBuf,
    pub(super) sandbox: Sandbox,
    pub(super) command: Command,
    /// To whom files must be given that the command may write to; `None` if they are its own anyway.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) hostname: String,
    pub(super) shm_bytes: u64,
    /// Files to write `0` into, to join control groups.
    pub(super) join: Vec<PathBuf>,
}

/// From the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Set up.
    SetUp(Box<InitSpec>),
    /// Execute the command; control groups are joined.
    Execute,
    /// Send a signal to the command.
    Signal(i32),
}

/// To the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The command is executed; the process id of this process as the supervisor sees it.
    Executed { pid: i32 },
    /// The sandbox could not be set up.
    SetupFailed(String),
    /// The command could not be executed.
    NotExecuted(String),
    /// The command ended; everything else in the sandbox goes now.
    Ended { code: i32, signal: Option<i32>, cpu_micros: u64, memory_peak_bytes: u64 },
}

/// Runs as the first process of a sandbox, or, without process namespaces, as the one above its command.
pub(in crate::process) fn main() -> ExitCode {
    match supervised() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs between supervisor and first process where a user namespace is needed, to make it and then wait.
///
/// The supervisor itself stays out of it, so that it keeps all of its rights on the host's files.
pub(in crate::process) fn enter_user_namespace() -> ExitCode {
    let Ok(gate) = wire::gate() else { return ExitCode::FAILURE };
    let spawned = (|| {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID).context("cannot make a user namespace")?;
        map_ids((0, uid), (0, gid))?;
        die_with_parent()?;
        // Whoever puts this process into control groups is done when the first order comes.
        poll(&mut [PollFd::new(&gate, PollFlags::IN)], None)?;
        let mut init = std::process::Command::new("/proc/self/exe");
        init.arg(super::INIT).env_clear().spawn().context("cannot start the first process")
    })();
    match spawned.and_then(|mut init: Child| Ok(init.wait()?)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(err) => {
            wire::send(&gate, &Report::SetupFailed(format!("{err:#}"))).ok();
            ExitCode::FAILURE
        }
    }
}

fn supervised() -> Result<()> {
    die_with_parent()?;
    let gate = wire::gate()?;
    // The mounted /proc is the supervisor's still.
    let pid = fs::read_link("/proc/self")?.to_string_lossy().parse()?;
    // Blocked signals are inherited, and our supervisor reads its own from a descriptor.
    SigSet::empty().thread_set_mask()?;
    let Some(Order::SetUp(spec)) = wire::receive(&gate)? else { return Ok(()) };

    if let Err(err) = set_up(&spec) {
        wire::send(&gate, &Report::SetupFailed(format!("{err:#}")))?;
        return Err(err);
    }
    let Some(Order::Execute) = wire::receive(&gate)? else { return Ok(()) };
    let command = match execute(&spec) {
        Ok(command) => command,
        Err(reason) => {
            wire::send(&gate, &Report::NotExecuted(reason))?;
            return Ok(());
        }
    };
    // Not before, or the command would inherit it. Whoever ended since is found by the first look.
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGCHLD);
    ends.thread_block()?;
    let ends = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    // Changes of user clear this; the supervisor may have died before it is set again, which the gate then tells.
    die_with_parent()?;
    wire::send(&gate, &Report::Executed { pid })?;

    let ended = watch(&gate, &ends, &command)?;
    if spec.apart == Apart::Nothing {
        confine::kill_descendants();
    }
    if let Some(report) = ended {
        wire::send(&gate, &report)?;
    }
    Ok(())
}

fn set_up(spec: &InitSpec) -> Result<()> {
    for file in &spec.join {
        fs::write(file, "0").with_context(|| format!("cannot join {}", file.display()))?;
    }
    if spec.apart == Apart::Nothing {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        return confine::without_namespaces(spec);
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)
        .context("cannot make namespaces")?;
    mounts::enter(spec)?;
    nix::unistd::sethostname(&spec.hostname).context("cannot set the host name")?;
    if spec.apart == Apart::User {
        // In a second namespace the command is an ordinary user, and has no rights on the first one's mounts.
        unshare(CloneFlags::CLONE_NEWUSER).context("cannot make a second user namespace")?;
        map_ids((ACTOR_UID, 0), (ACTOR_UID, 0))?;
    }
    confine::with_namespaces(spec)
}

fn execute(spec: &InitSpec) -> Result<Child, String> {
    let command = &spec.command;
    let Some((program, args)) = command.argv.split_first() else {
        return Err("there is nothing to execute: the image has neither CMD nor ENTRYPOINT".into());
    };
    let inside = if command.cwd.is_empty() { "/" } else { &command.cwd };
    let cwd = match spec.apart {
        Apart::Nothing => spec.sandbox.upper.join(inside.trim_start_matches('/')),
        Apart::Root | Apart::User => PathBuf::from(inside),
    };
    if spec.apart != Apart::Nothing && !cwd.exists() {
        let made = fs::create_dir_all(&cwd).and_then(|()| match spec.owner {
            Some((uid, gid)) => chown(&cwd, Some(uid), Some(gid)),
            None => Ok(()),
        });
        made.map_err(|err| format!("cannot make the working directory {inside}: {}", reason(&err)))?;
    }
    if !cwd.is_dir() {
        return Err(format!("the working directory {inside} is not there"));
    }
    let mut process = std::process::Command::new(program);
    process.args(args).current_dir(&cwd).env_clear().envs(environment(spec)).stdin(Stdio::null());
    if let Some((uid, gid)) = spec.owner {
        process.uid(uid).gid(gid);
    }
    process.spawn().map_err(|err| format!("cannot execute {program}: {}", reason(&err)))
}

/// The command's environment with what every program expects.
fn environment(spec: &InitSpec) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("HOME".to_owned(), super::ACTOR_HOME.to_owned()),
        ("HOSTNAME".to_owned(), spec.hostname.clone()),
        ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
    ]);
    if spec.apart == Apart::Nothing {
        let copy = spec.sandbox.upper.to_string_lossy();
        env.insert("HOME".into(), format!("{copy}{}", super::ACTOR_HOME));
        env.insert("TMPDIR".into(), format!("{copy}/tmp"));
    }
    // A name with `=` or a NUL could not be executed with; nothing can be meant by it.
    let sound = |name: &str, value: &str| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
    let given = spec.command.env.iter().filter(|(name, value)| sound(name, value));
    env.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    if spec.apart == Apart::Nothing {
        // Without a process namespace, this is how processes are found that outlive their parents.
        env.insert(super::MARKER.into(), spec.hostname.clone());
    }
    env
}

/// Reaps and passes signals on until the command has ended, or, with `None`, the supervisor is gone.
fn watch(gate: &UnixStream, ends: &SignalFd, command: &Child) -> Result<Option<Report>> {
    let command = nix::unistd::Pid::from_raw(i32::try_from(command.id())?);
    loop {
        while let Ok(Some(_)) = ends.read_signal() {}
        if let Some((code, signal)) = reap(command) {
            return Ok(Some(ended(code, signal)));
        }
        let mut fds = [PollFd::from_borrowed_fd(ends.as_fd(), PollFlags::IN), PollFd::new(&gate, PollFlags::IN)];
        poll(&mut fds, None)?;
        if fds[1].revents().is_empty() {
            continue;
        }
        match wire::receive(gate)? {
            Some(Order::Signal(signal)) => {
                // The command may have ended just now.
                nix::sys::signal::kill(command, Signal::try_from(signal)?).ok();
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// Reaps all that ended; tells code and signal of `command` if it is among them.
fn reap(command: nix::unistd::Pid) -> Option<(i32, Option<i32>)> {
    let mut ended = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == command => ended = Some((code, None)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                ended = Some((128 + signal as i32, Some(signal as i32)));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return ended,
            Ok(_) => {}
        }
    }
}

fn ended(code: i32, signal: Option<i32>) -> Report {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
    let micros = |time: nix::sys::time::TimeVal| u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0);
    Report::Ended {
        code,
        signal,
        cpu_micros: usage.as_ref().map_or(0, |usage| micros(usage.user_time()) + micros(usage.system_time())),
        memory_peak_bytes: usage.and_then(|usage| u64::try_from(usage.max_rss()).ok()).unwrap_or(0) * 1024,
    }
}

/// Maps one user and one group id, each as (inside, outside).
fn map_ids(uid: (u32, u32), gid: (u32, u32)) -> Result<()> {
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).with_context(|| format!("cannot write {file}"))
    };
    // Without this an ordinary user may not map groups.
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{} {} 1", uid.0, uid.1))?;
    write("gid_map", format!("{} {} 1", gid.0, gid.1))
}

fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}

/// An error without the number that the standard library appends.
fn reason(err: &io::Error) -> String {
    let text = err.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(reason, _)| reason.to_owned())
}
