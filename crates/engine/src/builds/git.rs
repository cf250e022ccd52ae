//! Fetching a source from a Git repository, with the `git` program of this machine.
//!
//! Git runs in a process group of its own, so that it ends with all of its helpers the moment that the build does. It is
//! never asked a question it could wait for: no prompts, no terminal, and no credentials on a command line.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drivers::log::LineStamper;
use model::GitAddress;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, prlimit};
use store::JobLog;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::Engine;
use crate::builds::archive::Bounds;
use crate::builds::links;
use crate::builds::source::{STOPPED, blocking};

/// Settings for every call: nothing in the background, no hooks, nothing fetched but what was asked for, and connections
/// on which nothing comes any more end.
const SETTINGS: [&str; 11] = [
    "advice.detachedHead=false",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=120",
    "init.defaultBranch=main",
    "maintenance.auto=false",
    "protocol.version=2",
    "submodule.recurse=false",
];
/// `ssh` that asks nothing, remembers hosts it meets for the first time, and ends when nobody answers.
const SSH: &str = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=30 \
                   -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -o ControlMaster=no -o ControlPath=none";
/// What of this machine's environment Git is given: how to find programs and the way to the network, and where its user's
/// own settings and keys are.
const INHERITED: [&str; 21] = [
    "PATH",
    "HOME",
    "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
];
/// How much of what Git says is looked through for the reason of a failure.
const REMEMBERED: usize = 16 * 1024;

/// One fetch.
pub(super) struct Git<'a> {
    pub(super) engine: &'a Engine,
    pub(super) log: JobLog,
    pub(super) address: &'a GitAddress,
    /// Empty directory in which the files appear.
    pub(super) root: &'a Path,
    /// Ends it.
    pub(super) stop: &'a CancellationToken,
}

/// A call of Git that did not do what it should.
struct Failed(String);

impl Git<'_> {
    /// Puts the files there, without the repository itself, and says what it did. The error is a sentence for the
    /// build's log.
    pub(super) async fn fetch(&self) -> Result<String, String> {
        let allowed = &self.engine.inner.config.git_protocols;
        if !allowed.iter().any(|protocol| protocol == self.address.protocol) {
            let (protocol, allowed) = (self.address.protocol, allowed.join(", "));
            return Err(format!(
                "the address of the repository is of the kind {protocol}, but this server allows only {allowed}"
            ));
        }
        self.run(&["init", "--quiet", "--template="]).await.map_err(|failed| self.reason(&failed))?;
        let commit = match self.fetch_reference().await {
            Ok(commit) => commit,
            Err(failed) => return Err(self.reason(&failed)),
        };
        self.check_size(&commit).await?;
        self.run(&["checkout", "--quiet", "--force", "--detach", &commit])
            .await
            .map_err(|failed| self.reason(&failed))?;

        let (root, directory, url) = (self.root.to_owned(), self.address.directory.clone(), self.address.url.clone());
        blocking(move || {
            std::fs::remove_dir_all(root.join(".git"))
                .map_err(|error| format!("cannot tidy up the repository: {error}"))?;
            links::check(&root)
                .map_err(|name| format!("the repository holds the link {name:?}, which points outside of it"))?;
            if !root.join(&directory).is_dir() {
                return Err(format!("the repository {url} has no directory {directory:?}"));
            }
            Ok(())
        })
        .await?;
        Ok(format!("Fetched commit {commit} of {}.", self.address.url))
    }

    /// Fetches what the address names, as little as the other side lets us, and returns the commit.
    async fn fetch_reference(&self) -> Result<String, Failed> {
        let reference = self.address.reference.as_deref().unwrap_or("HEAD");
        let url = self.address.url.as_str();
        let mut depth = vec!["--depth=1"];
        loop {
            let mut arguments = vec!["fetch", "--no-tags", "--force"];
            arguments.extend(&depth);
            arguments.extend(["--", url, reference]);
            match self.run(&arguments).await {
                Ok(_) => return self.commit("FETCH_HEAD").await,
                // Plain files on a web server know no depth.
                Err(Failed(said)) if !depth.is_empty() && said.contains("dumb http transport") => depth.clear(),
                // A shortened commit has no name on the other side, and not every server hands out commits by their name.
                Err(failed) if self.address.may_be_commit() && !said_by_hand(&failed.0) => break,
                Err(failed) => return Err(failed),
            }
        }
        let everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        self.run(&["fetch", "--no-tags", "--force", "--", url, everything[0], everything[1]]).await?;
        let missing = || Failed(format!("fatal: couldn't find remote ref {reference}"));
        self.commit(reference).await.map_err(|_| missing())
    }

    /// The whole name of a commit.
    async fn commit(&self, name: &str) -> Result<String, Failed> {
        let commit =
            self.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")]).await?;
        Ok(commit.trim().to_owned())
    }

    /// Refuses more files than an archive may hold.
    async fn check_size(&self, commit: &str) -> Result<(), String> {
        let bounds = Bounds::default();
        let mut group =
            self.spawn(&["ls-tree", "-r", "-l", "-z", "--full-tree", commit]).map_err(|Failed(said)| said)?;
        let Some(stdout) = group.child.stdout.take() else { return Ok(()) };
        let (mut entries, mut bytes) = (0_usize, 0_u64);
        let mut lines = tokio::io::AsyncBufReadExt::split(tokio::io::BufReader::new(stdout), 0);
        loop {
            let line = tokio::select! {
                line = lines.next_segment() => line,
                () = self.stop.cancelled() => {
                    group.end().await;
                    return Err(STOPPED.to_owned());
                }
            };
            // `<mode> <kind> <id> <size>\t<path>`; a submodule has no size.
            let Some(line) = line.map_err(|error| format!("cannot list the files of the repository: {error}"))? else {
                break;
            };
            let size = String::from_utf8_lossy(&line).split_whitespace().nth(3).and_then(|size| size.parse().ok());
            entries += 1;
            bytes += size.unwrap_or(0_u64);
            if entries > bounds.entries {
                return Err(format!("the repository holds more than {} files", bounds.entries));
            }
            if bytes > bounds.bytes {
                return Err(format!("the files of the repository have more than {} bytes", bounds.bytes));
            }
        }
        Ok(())
    }

    /// Runs Git to its end. What it says on the way goes to the build's log; what it answers is returned.
    async fn run(&self, arguments: &[&str]) -> Result<String, Failed> {
        let mut group = self.spawn(arguments)?;
        let (Some(stdout), Some(stderr)) = (group.child.stdout.take(), group.child.stderr.take()) else {
            return Err(Failed("cannot listen to git".to_owned()));
        };
        let done = async {
            let (said, answered) = tokio::join!(self.pass_on(stderr), beginning_of(stdout));
            Ok::<_, io::Error>((said, answered?, group.child.wait().await?))
        };
        let (said, answered, status) = tokio::select! {
            done = done => done.map_err(|error| Failed(format!("cannot listen to git: {error}")))?,
            () = self.stop.cancelled() => {
                group.end().await;
                return Err(Failed(STOPPED.to_owned()));
            }
        };
        if status.success() { Ok(answered) } else { Err(Failed(ending(said, status))) }
    }

    fn spawn(&self, arguments: &[&str]) -> Result<Group, Failed> {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.root);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(arguments).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "").env("GIT_SSH_COMMAND", SSH);
        command.env("GIT_ALLOW_PROTOCOL", self.engine.inner.config.git_protocols.join(":"));
        command.env("GIT_LFS_SKIP_SMUDGE", "1").env("GCM_INTERACTIVE", "never");
        // A header instead of the address: helpers of Git get addresses as arguments, which every process may read.
        if let Some((user, password)) = &self.address.credentials {
            let origin: String = self.address.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", format!("http.{origin}/.extraHeader"));
            let encoded = STANDARD.encode(format!("{user}:{password}"));
            command.env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {encoded}"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failed(
                "the program git is not installed on the server, and versions of the kinds GIT_REPO and GITHUB_GIST need it"
                    .to_owned(),
            ),
            _ => Failed(format!("cannot start git: {error}")),
        })?;
        Ok(Group::of(child))
    }

    /// Passes on to the build's log what Git says, and returns the end of it.
    async fn pass_on(&self, mut stderr: impl AsyncRead + Unpin) -> String {
        let mut secrets = Vec::new();
        if let Some((user, password)) = &self.address.credentials {
            secrets.push(STANDARD.encode(format!("{user}:{password}")));
            // A user name alone is a token.
            secrets.push(if password.is_empty() { user.clone() } else { password.clone() });
        }
        let mut stamper = LineStamper::new(&secrets);
        let (mut buffer, mut said, mut lines) = (vec![0; 8192], Vec::new(), Vec::new());
        loop {
            let count = stderr.read(&mut buffer).await.unwrap_or(0);
            let now = self.engine.now();
            match count {
                0 => stamper.finish(now, &mut lines),
                count => stamper.push(now, &buffer[..count], &mut lines),
            }
            if !lines.is_empty() {
                let text = String::from_utf8_lossy(&lines).into_owned();
                if let Err(error) = self.engine.inner.store.logs.append(&self.log, &text).await {
                    warn!(%error, "Cannot write what git says to the log of a build");
                }
                lines.clear();
            }
            if count == 0 {
                break;
            }
            said.extend_from_slice(&buffer[..count]);
            if said.len() > REMEMBERED {
                said.drain(..said.len() - REMEMBERED);
            }
        }
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Why it failed, in a sentence.
    fn reason(&self, Failed(said): &Failed) -> String {
        let url = &self.address.url;
        let reference = self.address.reference.as_deref().unwrap_or("HEAD");
        let has = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
        if said == STOPPED {
            STOPPED.to_owned()
        } else if has(&[
            "could not read Username",
            "could not read Password",
            "Authentication failed",
            "terminal prompts disabled",
            "HTTP 401",
            "error: 401",
        ]) {
            match self.address.credentials {
                Some(_) => format!("the repository {url} refuses the credentials that stand in its address"),
                None => format!(
                    "the repository {url} does not exist or asks for a password; put a token into its address: https://<token>@…"
                ),
            }
        } else if has(&["Permission denied (publickey", "Host key verification failed"]) {
            format!("the repository {url} does not let the server's user in by ssh: {}", last_line(said))
        } else if has(&[
            "couldn't find remote ref",
            "unadvertised object",
            "not our ref",
            "does not point to a valid object",
        ]) {
            match self.address.reference {
                Some(_) => format!("the repository {url} has no branch, tag or commit {reference:?}"),
                None => format!("the repository {url} is empty"),
            }
        } else if has(&["Could not resolve host", "Could not resolve hostname", "Name or service not known"]) {
            format!("the host of the repository {url} was not found")
        } else if has(&[
            "' not found",
            "does not appear to be a git repository",
            "Repository not found",
            "HTTP 404",
            "error: 404",
            "does not exist",
            "no such repository",
        ]) {
            format!("there is no repository at {url}")
        } else if has(&["signal 25", "SIGXFSZ", "File too large"]) {
            format!("the repository {url} is larger than {} bytes", Bounds::default().bytes)
        } else {
            format!("cannot fetch the repository {url}: {}", last_line(said))
        }
    }
}

/// Whether nothing was asked of the other side, so that asking otherwise is no use.
fn said_by_hand(said: &str) -> bool {
    said == STOPPED || said.starts_with("the program git is not installed")
}

/// What Git said last, without its own prefix.
fn last_line(said: &str) -> &str {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty()).rev();
    let fatal = said.lines().map(str::trim).rfind(|line| line.starts_with("fatal:"));
    let line = fatal.or_else(|| lines.next()).unwrap_or("git gave no reason");
    line.strip_prefix("fatal:").unwrap_or(line).trim()
}

/// What it said, or how it ended if it said nothing.
fn ending(said: String, status: ExitStatus) -> String {
    if said.trim().is_empty() { format!("git ended with {status}") } else { said }
}

/// The answers that are read whole are names of commits.
async fn beginning_of(mut stdout: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut answer = Vec::new();
    (&mut stdout).take(4096).read_to_end(&mut answer).await?;
    tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Git and all that it has started; dropping it ends them.
struct Group {
    child: Child,
    pid: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if pid.is_some() {
            // No file may become larger than all files together may be. Should it fail, the disk is the limit.
            let most = Bounds::default().bytes;
            let most = getrlimit(Resource::Fsize).maximum.map_or(most, |maximum| maximum.min(most));
            let _ = prlimit(pid, Resource::Fsize, Rlimit { current: Some(most), maximum: Some(most) });
        }
        Self { child, pid }
    }

    /// Kills all of them, and returns when Git itself is gone.
    async fn end(&mut self) {
        self.kill();
        let _ = self.child.wait().await;
    }

    fn kill(&self) {
        // The number stays theirs as long as Git has not been waited for, so no others can be hit.
        if let (Some(pid), Some(_)) = (self.pid, self.child.id()) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
