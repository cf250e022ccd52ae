//! Watching a container until it has ended and all of its output is in the log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::WaitContainerOptions;
use futures::future::{Either, pending, ready, select};
use futures::{FutureExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use model::{Clock as _, SystemClock, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tracing::warn;

use super::client::{Client, QUICK, Trouble};
use super::frames::{Frames, Piece};
use super::kept::Kept;
use super::last_words::not_executed;
use super::life::Life;
use super::output::Output;
use super::raw::nothing;
use super::{EngineKind, Facts};
use crate::{Exit, ExitCause, Usage};

/// How long an engine that does not answer is left alone, first and at most.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// How long an engine may be silent about the rest of the output of a container that has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A container may say nothing for months.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How often a log is read that cannot be followed.
const POLLED_EVERY: Duration = Duration::from_millis(300);
const POLLED_AT_LEAST_EVERY: Duration = Duration::from_secs(20);
/// How often Podman looks whether a container has ended.
const WAITED_BY: &str = "50ms";
/// Output that is written at once, and how long is waited until there is so much.
const BATCH: usize = 256 * 1024;
const GATHERED_FOR: Duration = Duration::from_millis(5);
/// How long a file is left alone that has nothing new, first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// One life, to be watched.
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) life: Life,
    pub(super) log: PathBuf,
    pub(super) secrets: Vec<String>,
    pub(super) min_free_bytes: u64,
}

/// How the reading of a log ended.
enum Read {
    /// The engine has no more.
    Complete,
    /// The connection broke, or went silent.
    Broken(String),
}

/// Where a log is read.
enum Way {
    /// It is not known yet whether the engine's own file can be read.
    Unknown,
    File(Box<Kept>),
    /// The engine gives it.
    Api,
}

/// How far a log is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until the container has ended.
    Ended,
    /// To what is there now, while the container goes on.
    Now,
    /// To what is there now, which is all.
    Last,
}

/// What is there of a container.
pub(super) enum Seen {
    Gone,
    /// Made, and never started.
    Created,
    Running,
    Ended(Box<ContainerInspectResponse>),
}

impl Client {
    pub(super) async fn look(&self, name: &str) -> Result<Seen, Trouble> {
        let Some(container) = self.inspect(name).await? else { return Ok(Seen::Gone) };
        let state = container.state.as_ref();
        Ok(match state.and_then(|state| state.status) {
            Some(ContainerStateStatusEnum::CREATED) => Seen::Created,
            Some(
                ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD | ContainerStateStatusEnum::REMOVING,
            ) => Seen::Ended(Box::new(container)),
            // Podman says `stopped` for a moment before `exited`, and `initialized` for `created`.
            _ if state.is_some_and(|state| state.running == Some(true) || state.pid.unwrap_or_default() > 0) => {
                Seen::Running
            }
            _ if state.is_some_and(|state| is_time(state.finished_at.as_deref())) => Seen::Ended(Box::new(container)),
            _ if state.is_some_and(|state| is_time(state.started_at.as_deref())) => Seen::Running,
            _ => Seen::Created,
        })
    }
}

/// Whether an engine's time is one: it gives year 1 for none.
fn is_time(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty() && !text.starts_with("0001-"))
}

/// Watches a container to its end; `None` if it is gone before that could be seen. However often the engine stumbles, its
/// log is taken over whole. `usage` tells what was measured last.
pub(super) async fn watch(
    client: &Client,
    watched: Watched,
    usage: impl Fn() -> Usage,
) -> anyhow::Result<Option<Exit>> {
    let Watched { name, life, log, secrets, min_free_bytes } = watched;
    let opened = {
        let (life, log) = (life.clone(), log.clone());
        blocking(move || Output::resume(&life, &log, &secrets, min_free_bytes)).await?
    };
    let mut output = Box::new(opened.context("cannot open the log of a run")?);
    let mut delay = FIRST_DELAY;
    let mut way = if client.endpoint().is_local() { Way::Unknown } else { Way::Api };
    loop {
        let ended = has_ended(client, &name).shared();
        if let Way::Unknown = way {
            let finding = std::pin::pin!(find_file(client, &name, output));
            // The question for the end is under way meanwhile.
            (output, way) = match select(finding, ended.clone()).await {
                Either::Left((found, _)) => found?,
                Either::Right(((), finding)) => finding.await?,
            };
        }
        let read;
        (output, read) = match &mut way {
            Way::File(_) => follow_file(output, &mut way, ended).await?,
            _ if client.known_facts().is_some_and(|facts| facts.kind == EngineKind::Podman) => {
                poll_log(client, &name, output, ended).await?
            }
            _ => read_log(client, &name, output, Until::Ended, ended).await?,
        };
        match (client.look(&name).await, read) {
            (Ok(Seen::Ended(container)), _) => {
                // Both engines may end a followed log before its last lines.
                let rest;
                (output, rest) = match &mut way {
                    Way::File(_) => follow_file(output, &mut way, ready(())).await?,
                    _ => read_log(client, &name, output, Until::Last, pending()).await?,
                };
                if let Read::Broken(cause) = rest {
                    warn!(container = name, cause, "Cannot read the end of the log of {name}; trying again");
                    pause(&mut delay).await;
                    continue;
                }
                let facts = client.facts().await.ok();
                let exit = exit_of(&container, facts, life.was_stopped(), usage());
                let written = blocking(move || {
                    output.close()?;
                    let exit = started(exit, &log);
                    life.write_exit(&exit).map(|()| exit)
                });
                return written.await?.context("cannot write down the end of a run").map(Some);
            }
            (Ok(Seen::Gone), _) => {
                blocking(move || output.close()).await?.context("cannot end the log of a run")?;
                return Ok(None);
            }
            (Ok(Seen::Running | Seen::Created), Read::Complete) => pause(&mut delay).await,
            (Ok(Seen::Running | Seen::Created), Read::Broken(cause)) => {
                warn!(container = name, cause, "The log of {name} broke off; reading on");
                pause(&mut delay).await;
            }
            (Err(trouble), _) => {
                warn!(container = name, %trouble, "Cannot look at {name}; trying again");
                pause(&mut delay).await;
            }
        }
    }
}

async fn pause(delay: &mut Duration) {
    tokio::time::sleep(*delay).await;
    *delay = (*delay * 2).min(LONGEST_DELAY);
}

/// Opens the engine's own file of a container, if that can be read here.
async fn find_file(client: &Client, name: &str, mut output: Box<Output>) -> anyhow::Result<(Box<Output>, Way)> {
    // An engine that does not answer is asked again.
    let Ok(found) = client.inspect(name).await else { return Ok((output, Way::Unknown)) };
    let path = found.and_then(|container| {
        let kind = container.host_config?.log_config?.typ?;
        container.log_path.filter(|path| !path.is_empty() && matches!(kind.as_str(), "json-file" | "k8s-file"))
    });
    let Some(path) = path else { return Ok((output, Way::Api)) };
    blocking(move || match Kept::open(Path::new(&path), &mut output) {
        Ok(kept) => (output, Way::File(Box::new(kept))),
        Err(_) => (output, Way::Api),
    })
    .await
}

/// Reads the engine's own file until the container has ended, and then to its end.
async fn follow_file(
    mut output: Box<Output>,
    way: &mut Way,
    ended: impl Future<Output = ()>,
) -> anyhow::Result<(Box<Output>, Read)> {
    let mut ended = std::pin::pin!(ended);
    let mut is_ended = false;
    let mut pause = FIRST_PAUSE;
    let mut ticked_at = Instant::now();
    loop {
        if ticked_at.elapsed() >= Duration::from_secs(1) {
            output.tick();
            ticked_at = Instant::now();
        }
        match std::mem::replace(way, Way::Api) {
            Way::File(mut kept) if is_ended || kept.has_news() => {
                let read;
                (output, kept, read) = blocking(move || {
                    let read = kept.read(&mut output);
                    (output, kept, read)
                })
                .await?;
                match read {
                    Ok(is_all) => {
                        *way = Way::File(kept);
                        if !is_all {
                            continue;
                        }
                    }
                    // The engine may know better.
                    Err(error) => return Ok((output, Read::Broken(format!("the engine's own file: {error}")))),
                }
                pause = FIRST_PAUSE;
            }
            other => *way = other,
        }
        if is_ended {
            return Ok((output, Read::Complete));
        }
        tokio::select! {
            () = &mut ended => is_ended = true,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

/// Reads the engine's log from where `output` stands: to its end now, or with `follow` until the container has ended.
async fn read_log(
    client: &Client,
    name: &str,
    mut output: Box<Output>,
    until: Until,
    ended: impl Future<Output = ()>,
) -> anyhow::Result<(Box<Output>, Read)> {
    let follow = until == Until::Ended;
    let since = output.read_again();
    let path = format!(
        "/containers/{name}/logs?stdout=true&stderr=true&timestamps=true&follow={follow}&since={since}&tail=all"
    );
    let opening = tokio::time::timeout(QUICK, client.stream(Method::GET, &path, nothing()));
    let mut body = match opening.await {
        Ok(Ok(response)) => response.into_body(),
        Ok(Err(trouble)) => return Ok((output, Read::Broken(trouble.to_string()))),
        Err(_) => return Ok((output, Read::Broken("no answer".to_owned()))),
    };
    let mut ended = std::pin::pin!(ended);
    let mut is_ended = !follow;
    let mut heard_at = Instant::now();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frames = Frames::default();
    // Behind it nothing has come yet: it may be half written.
    let mut newest: Option<Piece> = None;
    loop {
        let patience = match (is_ended, follow) {
            (true, true) => LAST_WORDS,
            (true, false) => QUICK,
            (false, _) => FOREVER,
        };
        let arrived = tokio::select! {
            arrived = timeout_at(heard_at + patience, body.frame()) => arrived,
            () = &mut ended, if !is_ended => {
                (is_ended, heard_at) = (true, Instant::now());
                continue;
            }
            _ = second.tick() => {
                output.tick();
                continue;
            }
        };
        let chunk = match arrived {
            Err(_) => return Ok((output, Read::Broken("it went silent".to_owned()))),
            Ok(None) => {
                output = blocking(move || {
                    output.take_newest(newest, until == Until::Last);
                    output
                })
                .await?;
                return Ok((output, Read::Complete));
            }
            Ok(Some(Err(error))) => return Ok((output, Read::Broken(error.to_string()))),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        heard_at = Instant::now();
        let mut pieces: Vec<Piece> = newest.take().into_iter().collect();
        let mut cut = frames.push(&chunk, &mut pieces);
        if cut.is_ok() {
            cut = more(&mut body, &mut frames, &mut pieces, chunk.len()).await;
        }
        if until == Until::Now {
            newest = pieces.pop();
        }
        output = blocking(move || {
            output.take(&pieces);
            output
        })
        .await?;
        if let Err(cause) = cut {
            return Ok((output, Read::Broken(cause)));
        }
    }
}

/// Reads the engine's log again and again until the container has ended. Podman mixes up lines of a log that it follows
/// while much is written; read from where we stand to its end, it is whole.
async fn poll_log(
    client: &Client,
    name: &str,
    mut output: Box<Output>,
    ended: impl Future<Output = ()>,
) -> anyhow::Result<(Box<Output>, Read)> {
    let mut ended = std::pin::pin!(ended);
    loop {
        let begin = Instant::now();
        let read;
        (output, read) = read_log(client, name, output, Until::Now, pending()).await?;
        output.tick();
        if let Read::Broken(_) = read {
            return Ok((output, read));
        }
        // A long log takes long to read; a fixed part of the time is spent on it, however long it gets.
        let pause = (begin.elapsed() * 4).clamp(POLLED_EVERY, POLLED_AT_LEAST_EVERY);
        tokio::select! {
            () = &mut ended => return Ok((output, Read::Complete)),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Takes what follows at once, so that floods are written in large pieces.
async fn more(
    body: &mut Incoming,
    frames: &mut Frames,
    pieces: &mut Vec<Piece>,
    mut taken: usize,
) -> Result<(), String> {
    let until = Instant::now() + GATHERED_FOR;
    while taken < BATCH {
        let Ok(Some(arrived)) = timeout_at(until, body.frame()).await else { break };
        let chunk = arrived.map_err(|error| error.to_string())?.into_data().unwrap_or_default();
        taken += chunk.len().max(1);
        frames.push(&chunk, pieces)?;
    }
    Ok(())
}

/// Waits until the engine says that the container has ended. Where it says nothing, that is seen by other means.
async fn has_ended(client: &Client, name: &str) {
    loop {
        if let Ok(true) | Err(Trouble::NotThere(_)) = wait(client, name).await {
            return;
        }
        tokio::time::sleep(LONGEST_DELAY).await;
        if let Ok(Seen::Gone | Seen::Ended(_)) = client.look(name).await {
            return;
        }
    }
}

/// Waits as long as the engine does for the container to end; whether it has.
async fn wait(client: &Client, name: &str) -> Result<bool, Trouble> {
    if client.facts().await?.kind == EngineKind::Podman {
        // Docker's way is that it asks the runtime four times a second, which takes 4 % of a core for each container.
        let path = format!("/libpod/containers/{name}/wait?condition=stopped&condition=exited&interval={WAITED_BY}");
        let answer = client.stream(Method::POST, &path, nothing()).await?;
        return Ok(answer.into_body().collect().await.is_ok());
    }
    let options = WaitContainerOptions { condition: "not-running".to_owned() };
    let said = client.docker().await?.wait_container(name, Some(options)).next().await;
    Ok(matches!(said, Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. }))))
}

/// How a container ended.
fn exit_of(container: &ContainerInspectResponse, facts: Option<&Facts>, was_stopped: bool, usage: Usage) -> Exit {
    let state = container.state.clone().unwrap_or_default();
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    let at = state.finished_at.as_deref().filter(|text| is_time(Some(text))).and_then(Timestamp::parse);
    let cause = cause_of(&state, code, facts, was_stopped);
    Exit { code, cause, at: at.unwrap_or_else(|| SystemClock.now()), usage: Usage { memory_bytes: 0, ..usage } }
}

/// The same exit, unless its command was never executed.
fn started(exit: Exit, log: &Path) -> Exit {
    match not_executed(log).filter(|_| exit.cause == ExitCause::Exited && exit.code != Some(0)) {
        Some(reason) => Exit { code: None, cause: ExitCause::Failed { reason }, ..exit },
        None => exit,
    }
}

fn cause_of(state: &ContainerState, code: Option<i32>, facts: Option<&Facts>, was_stopped: bool) -> ExitCause {
    /// Exit codes above this are those of signals, as a shell would show them.
    const SIGNALS: i32 = 128;
    const KILLED: i32 = SIGNALS + 9;
    if was_stopped {
        return ExitCause::Stopped;
    }
    if state.oom_killed == Some(true) && code != Some(0) {
        return ExitCause::OutOfMemory;
    }
    // With version 1 of control groups Podman cannot tell; nearly nobody else kills with this signal.
    let cannot_tell = facts.is_some_and(|facts| facts.kind == EngineKind::Podman && facts.cgroup_version == 1);
    match code {
        Some(KILLED) if cannot_tell => ExitCause::OutOfMemory,
        Some(code) if code > SIGNALS && code < SIGNALS + 32 => ExitCause::Signal { signal: code - SIGNALS },
        _ => ExitCause::Exited,
    }
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a task of the docker driver died")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart_on_both_engines() {
        let docker = Facts::of(&Default::default(), &Default::default());
        let podman = Facts { kind: EngineKind::Podman, ..docker.clone() };
        let podman_2 = Facts { cgroup_version: 2, ..podman.clone() };
        for (code, oom, facts, stopped, expected) in [
            (0, false, &docker, false, ExitCause::Exited),
            (91, false, &docker, false, ExitCause::Exited),
            (137, true, &docker, false, ExitCause::OutOfMemory),
            (1, true, &docker, false, ExitCause::OutOfMemory),
            (0, true, &docker, false, ExitCause::Exited),
            (137, false, &docker, false, ExitCause::Signal { signal: 9 }),
            (139, false, &podman, false, ExitCause::Signal { signal: 11 }),
            (137, false, &podman, false, ExitCause::OutOfMemory),
            (137, false, &podman_2, false, ExitCause::Signal { signal: 9 }),
            (137, true, &podman_2, false, ExitCause::OutOfMemory),
            (137, false, &podman, true, ExitCause::Stopped),
            (255, false, &docker, false, ExitCause::Exited),
        ] {
            let state = ContainerState { oom_killed: Some(oom), ..Default::default() };
            assert_eq!(cause_of(&state, Some(code), Some(facts), stopped), expected, "{code} {oom} {:?}", facts.kind);
        }
    }
}
