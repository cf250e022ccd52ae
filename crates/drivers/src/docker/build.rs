//! Building an image.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use model::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::client::{Client, QUICK, Trouble};
use super::context::Context;
use super::foreign;
use super::image::{INSTANCE, name_of};
use super::last_words;
use super::life::Life;
use super::prebuilt;
use super::raw::nothing;
use super::start::reason;
use super::steps;
use super::trace::Trace;
use super::watch::blocking;
use super::{EngineKind, Facts};
use crate::log::LogFile;
use crate::{BuildSpec, Exit, ExitCause, Usage};

/// No line of the engine's answer is longer.
const LONGEST_LINE: usize = 16 << 20;

/// One build.
pub(super) struct Building {
    pub(super) instance: String,
    pub(super) spec: BuildSpec,
    pub(super) life: Life,
    pub(super) min_free_bytes: u64,
    /// Whether its steps are in the network of the host, as runs are.
    pub(super) in_host_network: bool,
    /// Ends it.
    pub(super) stop: CancellationToken,
}

/// What the engine is asked for.
#[derive(Clone, Copy)]
struct Order<'a> {
    instance: &'a str,
    spec: &'a BuildSpec,
    in_host_network: bool,
}

/// How the engine's work ended.
enum End {
    Done,
    Failed { code: Option<i32>, reason: String },
    Stopped,
}

/// Builds an image, and writes down how that ended.
pub(super) async fn build(client: &Client, building: Building) -> anyhow::Result<Exit> {
    let Building { instance, spec, life, min_free_bytes, in_host_network, stop } = building;
    // Whoever knows how images are named could begin a Dockerfile with somebody else's.
    let secrets = spec.secrets.iter().chain([&instance]).cloned().collect::<Vec<_>>();
    let path = spec.log.clone();
    let log = blocking(move || LogFile::open(&path, &secrets, min_free_bytes)).await?;
    let mut log = Box::new(log.context("cannot open the log of a build")?);

    let order = Order { instance: &instance, spec: &spec, in_host_network };
    let end = tokio::select! {
        end = persist(client, order, &mut log) => end,
        () = stop.cancelled() => End::Stopped,
    };
    let (code, cause) = match end {
        End::Done => (Some(0), ExitCause::Exited),
        End::Failed { code, reason } => {
            // If it was the engine that ended, its step goes on without it.
            end_steps(client, &spec, steps::end_left_over).await;
            (code.or(Some(1)), ExitCause::Failed { reason: reason.replace(&instance, "*****") })
        }
        End::Stopped => {
            cancel(client, &spec).await;
            (None, ExitCause::Stopped)
        }
    };
    let mut exit = Exit { code, cause, at: SystemClock.now(), usage: Usage::default() };
    let written = blocking(move || {
        log.close()?;
        if let ExitCause::Failed { reason } = &mut exit.cause
            && let Some(why) = last_words::foreign_step(&spec.log)
        {
            *reason = format!("{reason}: {why}");
        }
        life.write_exit(&exit).map(|()| exit)
    });
    written.await?.context("cannot write down the end of a build")
}

/// Builds, again if the engine stumbled over another build that it was doing at the same time: what was done is cached.
async fn persist(client: &Client, order: Order<'_>, log: &mut LogFile) -> End {
    const ATTEMPTS: u32 = 5;
    for _ in 1..ATTEMPTS {
        match carry_out(client, order, log).await {
            End::Failed { reason, .. } if reason.contains("identifier is not a container") => {}
            end => return end,
        }
    }
    carry_out(client, order, log).await
}

/// Ends what the engine still does after the end of the connection.
async fn cancel(client: &Client, spec: &BuildSpec) {
    if client.known_facts().is_some_and(|facts| facts.kind == EngineKind::Docker) {
        let path = format!("/build/cancel?id={}", spec.job.id);
        tokio::time::timeout(QUICK, client.stream(Method::POST, &path, nothing())).await.ok();
    }
    end_steps(client, spec, steps::end).await;
}

/// Ends steps if they are of an engine that may not do so.
async fn end_steps(client: &Client, spec: &BuildSpec, end: fn(&str)) {
    if client.known_facts().is_some_and(|facts| facts.kind == EngineKind::Podman) {
        let id = spec.job.id.clone();
        blocking(move || end(&id)).await.ok();
    }
}

async fn carry_out(client: &Client, order: Order<'_>, log: &mut LogFile) -> End {
    let Order { instance, spec, .. } = order;
    if let Some(prebuilt) = &spec.prebuilt {
        return match prebuilt::take(client, instance, &spec.job.id, prebuilt, log).await {
            Ok(()) => End::Done,
            Err(reason) => End::Failed { code: None, reason },
        };
    }
    let failed = |reason: String| End::Failed { code: None, reason };
    if let Some(reason) = foreign::refusal(&spec.dockerfile_name, &spec.dockerfile, &spec.args) {
        return failed(reason);
    }
    let context = {
        let spec = spec.clone();
        blocking(move || Context::of(&spec)).await
    };
    let context = match context {
        Ok(Ok(context)) => context,
        Ok(Err(reason)) => return failed(reason),
        Err(error) => return failed(error.to_string()),
    };
    let facts = match client.facts().await {
        Ok(facts) => facts,
        Err(trouble) => return failed(trouble.to_string()),
    };
    end_steps(client, spec, steps::end_left_over).await;
    let path = request(order, &context.dockerfile, facts);
    let mut body = match client.stream(Method::POST, &path, context.archive(spec)).await {
        Ok(answer) => answer.into_body(),
        Err(trouble) => return failed(explain(&trouble)),
    };
    match tell(&mut body, log).await {
        Ok(()) => End::Done,
        Err((code, reason)) => End::Failed { code, reason },
    }
}

/// Takes what the engine says of its work over into the log, to the end; what failed, else.
pub(super) async fn tell(body: &mut Incoming, log: &mut LogFile) -> Result<(), (Option<i32>, String)> {
    let mut answer = Answer::default();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let chunk = tokio::select! {
            frame = body.frame() => match frame {
                None => break,
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    let went_away = || (None, format!("the engine went away: {error}"));
                    return Err(answer.failure.unwrap_or_else(went_away));
                }
            },
            _ = second.tick() => {
                log.tick();
                continue;
            }
        };
        answer.push(&chunk, log);
    }
    answer.end(log);
    answer.failure.map_or(Ok(()), Err)
}

pub(super) fn explain(trouble: &Trouble) -> String {
    match trouble {
        Trouble::NotThere(message) | Trouble::Refused { message, .. } => reason(message),
        Trouble::Silent { .. } => trouble.to_string(),
    }
}

fn request(order: Order<'_>, dockerfile: &str, facts: &Facts) -> String {
    let Order { instance, spec, in_host_network } = order;
    let labels: HashMap<&str, &str> = HashMap::from([(INSTANCE, instance), ("org.playhouse.build", &spec.job.id)]);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("dockerfile", dockerfile)
        .append_pair("t", &name_of(instance, &spec.job.id))
        .append_pair("buildargs", &json!(spec.args).to_string())
        .append_pair("labels", &json!(labels).to_string())
        .append_pair("nocache", if spec.use_cache { "0" } else { "1" })
        .append_pair("rm", "1")
        .append_pair("forcerm", "1");
    if in_host_network {
        query.append_pair("networkmode", "host");
    }
    // An engine that cannot limit a step fails it if it is told to.
    if facts.can_limit_memory() {
        let memory = spec.limits.memory_bytes.to_string();
        query.append_pair("memory", &memory).append_pair("memswap", &memory);
    }
    if facts.can_limit_cpu() {
        query.append_pair("cpuperiod", "100000").append_pair("cpuquota", &(spec.limits.cpu_millis * 100).to_string());
    }
    match facts.kind {
        // BuildKit, which every version that is supported has.
        EngineKind::Docker => query.append_pair("version", "2").append_pair("buildid", &spec.job.id),
        EngineKind::Podman => query.append_pair("shmsize", &steps::shared_memory_bytes(&spec.job.id).to_string()),
    };
    format!("/build?{}", query.finish())
}

/// What the engine answers while it builds: one JSON value a line.
#[derive(Debug, Default)]
struct Answer {
    pending: BytesMut,
    trace: Trace,
    /// What was said last of each layer of an image that is pulled.
    pulled: HashMap<String, String>,
    failure: Option<(Option<i32>, String)>,
}

impl Answer {
    fn push(&mut self, chunk: &[u8], log: &mut LogFile) {
        self.pending.extend_from_slice(chunk);
        while let Some(end) = memchr::memchr(b'\n', &self.pending) {
            let line = self.pending.split_to(end + 1);
            self.line(&line, log);
        }
        if self.pending.len() > LONGEST_LINE {
            let len = self.pending.len();
            self.pending.advance(len);
        }
    }

    fn end(&mut self, log: &mut LogFile) {
        let line = self.pending.split();
        self.line(&line, log);
    }

    fn line(&mut self, line: &[u8], log: &mut LogFile) {
        let Ok(line) = serde_json::from_slice::<Value>(line) else { return };
        if let Some(text) = line["stream"].as_str() {
            log.output(text.as_bytes());
        }
        if let (Some("moby.buildkit.trace"), Some(message)) = (line["id"].as_str(), line["aux"].as_str()) {
            let mut text = Vec::new();
            if let Ok(message) = STANDARD.decode(message) {
                self.trace.push(&message, &mut text);
            }
            log.output(&text);
        }
        if let Some(status) = line["status"].as_str() {
            let id = line["id"].as_str().unwrap_or_default();
            if self.pulled.insert(id.to_owned(), status.to_owned()).as_deref() != Some(status) {
                let colon = if id.is_empty() { "" } else { ": " };
                log.output(format!("{id}{colon}{status}\n").as_bytes());
            }
        }
        let message = line["errorDetail"]["message"].as_str().or_else(|| line["error"].as_str());
        if let Some(message) = message {
            let code = line["errorDetail"]["code"].as_i64().and_then(|code| i32::try_from(code).ok());
            self.failure = Some((code, reason(message)));
        }
    }
}
