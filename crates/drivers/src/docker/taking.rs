//! Taking over the engine's log of a container: from its own file where that can be opened, or as the engine sends it.

use std::path::Path;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{Either, pending, ready, select};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::EngineKind;
use super::client::{Client, QUICK};
use super::frames::{Frames, Piece};
use super::kept::Kept;
use super::output::Output;
use super::raw::nothing;
use super::watch::blocking;

/// How long an engine may be silent about the rest of the output of a container that has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A container may say nothing for months.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How often a log is read that cannot be followed.
const POLLED_EVERY: Duration = Duration::from_millis(300);
const POLLED_AT_LEAST_EVERY: Duration = Duration::from_secs(20);
/// Output that is written at once, and how long is waited until there is so much.
const BATCH: usize = 256 * 1024;
const GATHERED_FOR: Duration = Duration::from_millis(5);
/// How long a file is left alone that has nothing new, first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// The engine's log of a container.
pub(super) struct EngineLog<'a> {
    client: &'a Client,
    name: &'a str,
    way: Way,
}

/// How the reading of a log ended.
pub(super) enum Read {
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

impl<'a> EngineLog<'a> {
    pub(super) fn of(client: &'a Client, name: &'a str) -> Self {
        Self { client, name, way: if client.endpoint().is_local() { Way::Unknown } else { Way::Api } }
    }

    /// Takes it over until the container has `ended`. Both engines may end a followed log before its last lines.
    pub(super) async fn follow(
        &mut self,
        mut output: Box<Output>,
        ended: impl Future<Output = ()>,
    ) -> anyhow::Result<(Box<Output>, Read)> {
        let Self { client, name, way } = self;
        let ended = ended.shared();
        if let Way::Unknown = way {
            let finding = std::pin::pin!(find_file(client, name, output));
            // The question for the end is under way meanwhile.
            (output, *way) = match select(finding, std::pin::pin!(ended.clone())).await {
                Either::Left((found, _)) => found?,
                Either::Right(((), finding)) => finding.await?,
            };
        }
        if let Way::File(_) = way {
            return follow_file(output, way, ended).await;
        }
        match client.known_facts().is_some_and(|facts| facts.kind == EngineKind::Podman) {
            true => poll_log(client, name, output, ended).await,
            false => read_log(client, name, output, Until::Ended, ended).await,
        }
    }

    /// Takes over what is left of it when the container has ended.
    pub(super) async fn take_rest(&mut self, output: Box<Output>) -> anyhow::Result<(Box<Output>, Read)> {
        match &mut self.way {
            Way::File(_) => follow_file(output, &mut self.way, ready(())).await,
            _ => read_log(self.client, self.name, output, Until::Last, pending()).await,
        }
    }
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
