//! Watching a container until it has ended and all of its output is in the log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::WaitContainerOptions;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::Method;
use model::{Clock as _, SystemClock, Timestamp};
use tracing::warn;

use super::client::{Client, Trouble};
use super::last_words::not_executed;
use super::life::Life;
use super::output::Output;
use super::raw::nothing;
use super::taking::{EngineLog, Read};
use super::{EngineKind, Facts};
use crate::{Exit, ExitCause, Usage};

/// How long an engine that does not answer is left alone, first and at most.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// How often Podman looks whether a container has ended.
const WAITED_BY: &str = "50ms";
/// One life, to be watched.
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) life: Life,
    pub(super) log: PathBuf,
    pub(super) secrets: Vec<String>,
    pub(super) min_free_bytes: u64,
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
    let mut engine_log = EngineLog::of(client, &name);
    loop {
        let read;
        (output, read) = engine_log.follow(output, has_ended(client, &name)).await?;
        match (client.look(&name).await, read) {
            (Ok(Seen::Ended(container)), _) => {
                let rest;
                (output, rest) = engine_log.take_rest(output).await?;
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
