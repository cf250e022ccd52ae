//! Webhooks, and the dispatches that they cause (section 21 of the contract).

use serde::{Deserialize, Serialize};
use url::Url;

use crate::webhook_template::{HeadersTemplate, Template, TemplateError};
use crate::{
    ActorId, Build, BuildId, DispatchId, JobStatus, Run, RunId, TaskId, Timestamp, TokenId, UserId, WebhookId,
};

/// Longest payload or headers template, in bytes.
pub const MAX_WEBHOOK_TEMPLATE: usize = 64 << 10;
/// Longest target, in bytes.
const MAX_URL: usize = 4096;
/// Longest description, in bytes.
const MAX_DESCRIPTION: usize = 8 << 10;
/// Retries of a delivery that fails (`WH-13`).
const MAX_RETRIES: u32 = 11;

/// What a webhook can wait for (`WH-1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words of the contract speak for themselves")]
pub enum WebhookEvent {
    #[serde(rename = "ACTOR.RUN.CREATED")]
    RunCreated,
    #[serde(rename = "ACTOR.RUN.SUCCEEDED")]
    RunSucceeded,
    #[serde(rename = "ACTOR.RUN.FAILED")]
    RunFailed,
    #[serde(rename = "ACTOR.RUN.ABORTED")]
    RunAborted,
    #[serde(rename = "ACTOR.RUN.TIMED_OUT")]
    RunTimedOut,
    #[serde(rename = "ACTOR.RUN.RESURRECTED")]
    RunResurrected,
    #[serde(rename = "ACTOR.BUILD.CREATED")]
    BuildCreated,
    #[serde(rename = "ACTOR.BUILD.SUCCEEDED")]
    BuildSucceeded,
    #[serde(rename = "ACTOR.BUILD.FAILED")]
    BuildFailed,
    #[serde(rename = "ACTOR.BUILD.ABORTED")]
    BuildAborted,
    #[serde(rename = "ACTOR.BUILD.TIMED_OUT")]
    BuildTimedOut,
    #[serde(rename = "TEST")]
    Test,
}

impl WebhookEvent {
    /// All of them, in the order of the number that the store keeps.
    pub const ALL: [Self; 12] = [
        Self::RunCreated,
        Self::RunSucceeded,
        Self::RunFailed,
        Self::RunAborted,
        Self::RunTimedOut,
        Self::RunResurrected,
        Self::BuildCreated,
        Self::BuildSucceeded,
        Self::BuildFailed,
        Self::BuildAborted,
        Self::BuildTimedOut,
        Self::Test,
    ];

    /// What it means that a run goes from one status to another; from none when it is made.
    pub fn of_run(before: Option<JobStatus>, after: JobStatus) -> Option<Self> {
        let Some(before) = before else { return Some(Self::RunCreated) };
        match (before.is_terminal(), after) {
            (false, JobStatus::Succeeded) => Some(Self::RunSucceeded),
            (false, JobStatus::Failed) => Some(Self::RunFailed),
            (false, JobStatus::Aborted) => Some(Self::RunAborted),
            (false, JobStatus::TimedOut) => Some(Self::RunTimedOut),
            (true, after) if !after.is_terminal() => Some(Self::RunResurrected),
            _ => None,
        }
    }

    /// The same of a build, which is never resurrected.
    pub fn of_build(before: Option<JobStatus>, after: JobStatus) -> Option<Self> {
        Some(match Self::of_run(before, after)? {
            Self::RunCreated => Self::BuildCreated,
            Self::RunSucceeded => Self::BuildSucceeded,
            Self::RunFailed => Self::BuildFailed,
            Self::RunAborted => Self::BuildAborted,
            Self::RunTimedOut => Self::BuildTimedOut,
            _ => return None,
        })
    }

    /// Its bit in a set of events.
    pub fn bit(self) -> u32 {
        Self::ALL.iter().position(|other| *other == self).map_or(0, |place| 1 << place)
    }

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunCreated => "ACTOR.RUN.CREATED",
            Self::RunSucceeded => "ACTOR.RUN.SUCCEEDED",
            Self::RunFailed => "ACTOR.RUN.FAILED",
            Self::RunAborted => "ACTOR.RUN.ABORTED",
            Self::RunTimedOut => "ACTOR.RUN.TIMED_OUT",
            Self::RunResurrected => "ACTOR.RUN.RESURRECTED",
            Self::BuildCreated => "ACTOR.BUILD.CREATED",
            Self::BuildSucceeded => "ACTOR.BUILD.SUCCEEDED",
            Self::BuildFailed => "ACTOR.BUILD.FAILED",
            Self::BuildAborted => "ACTOR.BUILD.ABORTED",
            Self::BuildTimedOut => "ACTOR.BUILD.TIMED_OUT",
            Self::Test => "TEST",
        }
    }

    /// Reads the word of the contract.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }
}

/// Whose events a webhook waits for; of what is given, all must match (`WH-2`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookCondition {
    /// Runs and builds of this Actor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<ActorId>,
    /// Runs of this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_task_id: Option<TaskId>,
    /// This run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_run_id: Option<RunId>,
}

/// A target that is told of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is; only their own runs and builds fire it.
    pub user_id: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
    /// Whether it is for one occasion: it fires once for each of its events (`WH-12`).
    pub is_ad_hoc: bool,
    /// Whose events it waits for.
    pub condition: WebhookCondition,
    /// Key that keeps a repeated call from making another (`WH-3`).
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// All the rest.
    pub settings: WebhookSettings,
    /// The token of limited scope that made it, which may do everything with it (`AUTH-19`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
}

/// What a webhook waits for, and what it sends where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSettings {
    /// The events.
    pub event_types: Vec<WebhookEvent>,
    /// The target.
    pub request_url: String,
    /// What is sent (`WH-5`).
    #[serde(default)]
    pub payload_template: Option<String>,
    /// With which headers (`WH-9`).
    #[serde(default)]
    pub headers_template: Option<String>,
    /// Whether variables inside strings of the templates count (`WH-7`).
    #[serde(default)]
    pub should_interpolate_strings: bool,
    /// Whether the target's certificate may be any (`WH-14`).
    #[serde(default)]
    pub ignore_ssl_errors: bool,
    /// Whether one attempt is enough (`WH-13`).
    #[serde(default)]
    pub do_not_retry: bool,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether an integration of the platform's own made it; clients send it.
    #[serde(default)]
    pub is_apify_integration: bool,
    /// The secret that deliveries are signed with, sealed.
    #[serde(default)]
    pub secret: Option<String>,
    /// Whether it was made with a token that may do less than its user: then it brings none to this server's own API,
    /// which would let that token do everything (`WH-17`, `AUTH-15`).
    #[serde(default)]
    pub is_limited: bool,
}

/// Why a webhook cannot be as it was asked for. The text is what clients see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages speak for themselves")]
pub enum WebhookRefused {
    #[error("\"eventTypes\" must name at least one event")]
    NoEvents,
    #[error("\"condition\" must have an actorId, an actorTaskId or an actorRunId")]
    NoCondition,
    #[error("\"requestUrl\" must be an http or https URL of at most 4096 characters")]
    BadUrl,
    #[error("\"{0}\" is too long: it may have {1} bytes")]
    TooLong(&'static str, usize),
    #[error("\"payloadTemplate\" is invalid: {0}")]
    Payload(TemplateError),
    #[error("\"headersTemplate\" is invalid: {0}")]
    Headers(TemplateError),
    #[error("Invalid payload template variable: {0}")]
    Variable(String),
}

impl WebhookSettings {
    /// The template of the payload, if it has one of its own.
    ///
    /// # Errors
    /// If it is not valid (`WH-8`).
    pub fn payload(&self) -> Result<Option<Template>, TemplateError> {
        let text = self.payload_template.as_deref().filter(|text| !text.trim().is_empty());
        text.map(|text| Template::parse(text, self.should_interpolate_strings)).transpose()
    }

    /// The template of the headers, if it has one.
    ///
    /// # Errors
    /// If it is not valid, or no flat object (`WH-9`).
    pub fn headers(&self) -> Result<Option<HeadersTemplate>, TemplateError> {
        let text = self.headers_template.as_deref().filter(|text| !text.trim().is_empty());
        text.map(|text| HeadersTemplate::parse(text, self.should_interpolate_strings)).transpose()
    }

    /// The events as a set of bits.
    pub fn event_bits(&self) -> u32 {
        self.event_types.iter().fold(0, |bits, event| bits | event.bit())
    }

    /// Refuses what could never be delivered. Neither condition nor target are looked up (`WH-2`, `WH-20`).
    ///
    /// # Errors
    /// In the order in which a reader would find them.
    pub fn check(&self) -> Result<(), WebhookRefused> {
        if self.event_types.is_empty() {
            return Err(WebhookRefused::NoEvents);
        }
        if self.request_url.len() > MAX_URL || target_of(&self.request_url).is_none() {
            return Err(WebhookRefused::BadUrl);
        }
        for (name, text, longest) in [
            ("payloadTemplate", &self.payload_template, MAX_WEBHOOK_TEMPLATE),
            ("headersTemplate", &self.headers_template, MAX_WEBHOOK_TEMPLATE),
            ("description", &self.description, MAX_DESCRIPTION),
        ] {
            if text.as_ref().is_some_and(|text| text.len() > longest) {
                return Err(WebhookRefused::TooLong(name, longest));
            }
        }
        self.payload().map_err(|error| refused(error, WebhookRefused::Payload))?;
        self.headers().map_err(|error| refused(error, WebhookRefused::Headers))?;
        Ok(())
    }
}

fn refused(error: TemplateError, other: fn(TemplateError) -> WebhookRefused) -> WebhookRefused {
    match error {
        TemplateError::Variable(name) => WebhookRefused::Variable(name),
        error => other(error),
    }
}

impl WebhookCondition {
    /// Whether it names nothing, so that nothing could ever match.
    pub fn is_empty(&self) -> bool {
        self.actor_id.is_none() && self.actor_task_id.is_none() && self.actor_run_id.is_none()
    }
}

/// Scheme, host and port of a URL that requests can be sent to: those with the same share their turns. `None` for others.
pub fn target_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_http.then(|| url.origin().ascii_serialization())
}

/// What has been sent for a webhook (`WH-18`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookStats {
    /// Dispatches so far.
    pub total_dispatches: u64,
    /// The newest, while it is kept.
    pub last_dispatch: Option<LastDispatch>,
}

/// How the newest dispatch of a webhook stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastDispatch {
    /// Its status.
    pub status: DispatchStatus,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// How a dispatch stands (`WH-15`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DispatchStatus {
    /// An attempt is to come.
    Active,
    /// The target answered with 2xx.
    Succeeded,
    /// No attempt is left.
    Failed,
}

impl DispatchStatus {
    /// All of them, in the order of the number that the store keeps.
    pub const ALL: [Self; 3] = [Self::Active, Self::Succeeded, Self::Failed];
}

/// One event for one webhook, sent until it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// Its id.
    pub id: DispatchId,
    /// Whose it is.
    pub user_id: UserId,
    /// The webhook, which may be gone.
    pub webhook_id: WebhookId,
    /// What happened.
    pub event_type: WebhookEvent,
    /// To what; nothing for tests.
    pub event_data: Option<EventData>,
    /// How it stands.
    pub status: DispatchStatus,
    /// When it happened.
    pub created_at: Timestamp,
    /// When the last attempt ended.
    pub finished_at: Option<Timestamp>,
    /// The attempts so far.
    pub calls: Vec<Call>,
    /// The webhook in short; `None` once it is gone.
    pub webhook: Option<WebhookSummary>,
}

/// What a dispatch tells of its webhook (`WH-15`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSummary {
    /// The target.
    pub request_url: String,
    /// Whether it is for one occasion.
    pub is_ad_hoc: bool,
    /// Whose events it waits for.
    pub condition: WebhookCondition,
}

/// To what something happened (`WH-10`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventData {
    /// The Actor.
    pub actor_id: ActorId,
    /// The task that the run was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_task_id: Option<TaskId>,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_run_id: Option<RunId>,
    /// The build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_build_id: Option<BuildId>,
}

impl From<&Run> for EventData {
    fn from(run: &Run) -> Self {
        Self { actor_id: run.actor_id, actor_task_id: run.task_id, actor_run_id: Some(run.id), actor_build_id: None }
    }
}

impl From<&Build> for EventData {
    fn from(build: &Build) -> Self {
        Self { actor_id: build.actor_id, actor_task_id: None, actor_run_id: None, actor_build_id: Some(build.id) }
    }
}

/// One attempt (`WH-15`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it failed.
    pub error_message: Option<String>,
    /// Status code of the answer.
    pub response_status: Option<u16>,
    /// Beginning of the answer's body.
    pub response_body: Option<String>,
}

/// When to try again after so many failed attempts, the last of which ended then; `None` if that was the last
/// (`WH-13`).
pub fn retry_at(attempts: u32, ended: Timestamp) -> Option<Timestamp> {
    (1..=MAX_RETRIES).contains(&attempts).then(|| ended.plus_secs(60 << (attempts - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> WebhookSettings {
        WebhookSettings {
            event_types: vec![WebhookEvent::RunSucceeded],
            request_url: "https://example.com/hook?a=1".to_owned(),
            payload_template: None,
            headers_template: None,
            should_interpolate_strings: false,
            ignore_ssl_errors: false,
            do_not_retry: false,
            description: None,
            is_apify_integration: false,
            secret: None,
            is_limited: false,
        }
    }

    #[test]
    fn events_are_the_words_of_the_contract() {
        for event in WebhookEvent::ALL {
            assert_eq!(WebhookEvent::parse(event.as_str()), Some(event));
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
        assert_eq!(WebhookEvent::parse("ACTOR.RUN.TIMED-OUT"), None);
        let all = WebhookSettings { event_types: WebhookEvent::ALL.to_vec(), ..settings() };
        assert_eq!(all.event_bits(), 0xfff);
    }

    #[test]
    fn every_change_of_status_is_one_event_or_none() {
        use JobStatus as S;
        use WebhookEvent as E;
        for before in S::ALL {
            for after in S::ALL {
                let expected = match (before.is_terminal(), after) {
                    (false, S::Succeeded) => Some((E::RunSucceeded, Some(E::BuildSucceeded))),
                    (false, S::Failed) => Some((E::RunFailed, Some(E::BuildFailed))),
                    (false, S::Aborted) => Some((E::RunAborted, Some(E::BuildAborted))),
                    (false, S::TimedOut) => Some((E::RunTimedOut, Some(E::BuildTimedOut))),
                    (true, S::Ready | S::Running | S::Aborting | S::TimingOut) => Some((E::RunResurrected, None)),
                    _ => None,
                };
                assert_eq!(E::of_run(Some(before), after), expected.map(|(run, _)| run), "{before} {after}");
                assert_eq!(E::of_build(Some(before), after), expected.and_then(|(_, build)| build), "{before} {after}");
            }
        }
        assert_eq!(E::of_run(None, S::Ready), Some(E::RunCreated));
        assert_eq!(E::of_build(None, S::Ready), Some(E::BuildCreated));
    }

    #[test]
    fn retries_come_after_doubling_minutes_until_the_eleventh() {
        let ended = Timestamp::from_millis(0);
        let minutes: Vec<_> =
            (0..14).map(|attempts| retry_at(attempts, ended).map(|at| at.as_millis() / 60_000)).collect();

        let expected: Vec<_> = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].map(Some).to_vec();
        assert_eq!(minutes[0], None);
        assert_eq!(minutes[1..12], expected);
        assert_eq!(minutes[12..], [None, None]);
    }

    #[test]
    fn targets_are_told_apart_by_scheme_host_and_port() {
        for (url, target) in [
            ("http://Example.com/a?b#c", Some("http://example.com")),
            ("https://example.com:443/", Some("https://example.com")),
            ("http://user:pass@127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("http://[::1]:1/", Some("http://[::1]:1")),
            ("http://2852039166/", Some("http://169.254.169.254")),
            ("http://münchen.example/", Some("http://xn--mnchen-3ya.example")),
            ("ftp://example.com/", None),
            ("http://", None),
            ("example.com", None),
            ("/v2/x", None),
            ("mailto:a@b", None),
            ("", None),
        ] {
            assert_eq!(target_of(url).as_deref(), target, "{url}");
        }
    }

    #[test]
    fn what_could_never_be_delivered_is_refused() {
        use WebhookRefused as R;
        assert_eq!(settings().check(), Ok(()));
        let refused = |change: fn(&mut WebhookSettings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.check().unwrap_err()
        };

        assert_eq!(refused(|settings| settings.event_types.clear()), R::NoEvents);
        assert_eq!(refused(|settings| settings.request_url = "nonsense".to_owned()), R::BadUrl);
        assert_eq!(refused(|settings| settings.request_url.push_str(&"x".repeat(5000))), R::BadUrl);
        let long = refused(|settings| settings.payload_template = Some(" ".repeat(MAX_WEBHOOK_TEMPLATE + 1)));
        assert_eq!(long, R::TooLong("payloadTemplate", MAX_WEBHOOK_TEMPLATE));
        let unknown = refused(|settings| settings.payload_template = Some("{\"a\": {{secrets.b}}}".to_owned()));
        assert_eq!(unknown.to_string(), "Invalid payload template variable: secrets");
        assert!(matches!(refused(|settings| settings.payload_template = Some("{".to_owned())), R::Payload(_)));
        assert!(matches!(refused(|settings| settings.headers_template = Some("[]".to_owned())), R::Headers(_)));
        assert!(matches!(refused(|settings| settings.description = Some("x".repeat(9000))), R::TooLong(..)));
    }
}
