//! Webhooks and dispatches as clients see and send them.

use engine::{AdHocWebhook, Caller, Engine};
use model::{
    Call, Dispatch, DispatchId, DispatchStatus, EventData, Id, Timestamp, UserId, Webhook, WebhookCondition,
    WebhookEvent, WebhookId, WebhookSettings, WebhookStats, WebhookSummary, webhook_signature,
};
use serde::{Deserialize, Serialize};

use super::given::{Given, given};
use crate::error::{ApiError, Problem};

/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 1024;

/// A webhook (`WH-18`, `VAL-4`). Its secret is never in it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebhookBody<'a> {
    #[serde(flatten)]
    short: WebhookItem<'a>,
    payload_template: Option<&'a str>,
    headers_template: Option<&'a str>,
    description: Option<&'a str>,
}

/// A webhook as lists show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebhookItem<'a> {
    id: WebhookId,
    created_at: Timestamp,
    modified_at: Timestamp,
    user_id: UserId,
    is_ad_hoc: bool,
    is_apify_integration: bool,
    should_interpolate_strings: bool,
    event_types: &'a [WebhookEvent],
    condition: WebhookCondition,
    ignore_ssl_errors: bool,
    do_not_retry: bool,
    request_url: &'a str,
    last_dispatch: Option<LastDispatch>,
    stats: Stats,
    /// Whether deliveries are signed; ours, beside the contract.
    x_is_signed: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LastDispatch {
    status: DispatchStatus,
    finished_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    total_dispatches: u64,
}

impl<'a> WebhookBody<'a> {
    /// The whole webhook.
    pub(crate) fn new(webhook: &'a Webhook, stats: WebhookStats) -> Self {
        Self {
            short: WebhookItem::new(webhook, stats),
            payload_template: webhook.settings.payload_template.as_deref(),
            headers_template: webhook.settings.headers_template.as_deref(),
            description: webhook.settings.description.as_deref(),
        }
    }
}

impl<'a> WebhookItem<'a> {
    /// The short form.
    pub(crate) fn new(webhook: &'a Webhook, stats: WebhookStats) -> Self {
        let Webhook { settings, .. } = webhook;
        let last = stats.last_dispatch;
        Self {
            id: webhook.id,
            created_at: webhook.created_at,
            modified_at: webhook.modified_at,
            user_id: webhook.user_id,
            is_ad_hoc: webhook.is_ad_hoc,
            is_apify_integration: settings.is_apify_integration,
            should_interpolate_strings: settings.should_interpolate_strings,
            event_types: &settings.event_types,
            condition: webhook.condition,
            ignore_ssl_errors: settings.ignore_ssl_errors,
            do_not_retry: settings.do_not_retry,
            request_url: &settings.request_url,
            last_dispatch: last.map(|last| LastDispatch { status: last.status, finished_at: last.finished_at }),
            stats: Stats { total_dispatches: stats.total_dispatches },
            x_is_signed: settings.secret.is_some(),
        }
    }
}

/// A dispatch (`WH-15`, `VAL-4`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DispatchBody {
    id: DispatchId,
    user_id: UserId,
    webhook_id: WebhookId,
    created_at: Timestamp,
    status: DispatchStatus,
    event_type: WebhookEvent,
    event_data: Option<EventData>,
    webhook: Option<WebhookSummary>,
    calls: Vec<Call>,
}

impl From<Dispatch> for DispatchBody {
    fn from(dispatch: Dispatch) -> Self {
        Self {
            id: dispatch.id,
            user_id: dispatch.user_id,
            webhook_id: dispatch.webhook_id,
            created_at: dispatch.created_at,
            status: dispatch.status,
            event_type: dispatch.event_type,
            event_data: dispatch.event_data,
            webhook: dispatch.webhook,
            calls: dispatch.calls,
        }
    }
}

/// A webhook as it is created or, field by field, changed (`WH-21`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WebhookGiven {
    pub(crate) is_ad_hoc: Option<bool>,
    event_types: Option<Vec<String>>,
    condition: Option<ConditionGiven>,
    idempotency_key: Option<String>,
    ignore_ssl_errors: Option<bool>,
    do_not_retry: Option<bool>,
    request_url: Option<String>,
    #[serde(deserialize_with = "given")]
    payload_template: Given<String>,
    #[serde(deserialize_with = "given")]
    headers_template: Given<String>,
    #[serde(deserialize_with = "given")]
    description: Given<String>,
    should_interpolate_strings: Option<bool>,
    is_apify_integration: Option<bool>,
    #[serde(deserialize_with = "given")]
    x_secret: Given<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConditionGiven {
    actor_id: Option<String>,
    actor_task_id: Option<String>,
    actor_run_id: Option<String>,
}

impl WebhookGiven {
    /// The settings of a new webhook.
    ///
    /// # Errors
    /// `400` for what is missing or could never be delivered.
    pub(crate) fn settings(&self, engine: &Engine, caller: &Caller) -> Result<WebhookSettings, ApiError> {
        let missing = |name: &str| ApiError::invalid_request(format!("\"{name}\" is required"));
        let bare = WebhookSettings {
            event_types: Vec::new(),
            request_url: self.request_url.clone().ok_or_else(|| missing("requestUrl"))?,
            payload_template: None,
            headers_template: None,
            should_interpolate_strings: false,
            ignore_ssl_errors: false,
            do_not_retry: false,
            description: None,
            is_apify_integration: false,
            secret: None,
            is_limited: caller.is_limited(),
        };
        if self.event_types.is_none() {
            return Err(missing("eventTypes"));
        }
        self.settings_over(&bare, engine)
    }

    /// The settings `old` with what was given.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub(crate) fn settings_over(&self, old: &WebhookSettings, engine: &Engine) -> Result<WebhookSettings, ApiError> {
        let text = |given: &Given<String>, old: &Option<String>| given.clone().unwrap_or_else(|| old.clone());
        let settings = WebhookSettings {
            event_types: match &self.event_types {
                Some(words) => events(words)?,
                None => old.event_types.clone(),
            },
            request_url: self.request_url.clone().unwrap_or_else(|| old.request_url.clone()),
            payload_template: text(&self.payload_template, &old.payload_template),
            headers_template: text(&self.headers_template, &old.headers_template),
            should_interpolate_strings: self.should_interpolate_strings.unwrap_or(old.should_interpolate_strings),
            ignore_ssl_errors: self.ignore_ssl_errors.unwrap_or(old.ignore_ssl_errors),
            do_not_retry: self.do_not_retry.unwrap_or(old.do_not_retry),
            description: text(&self.description, &old.description),
            is_apify_integration: self.is_apify_integration.unwrap_or(old.is_apify_integration),
            secret: match &self.x_secret {
                Some(Some(secret)) => Some(sealed(secret, engine)?),
                Some(None) => None,
                None => old.secret.clone(),
            },
            is_limited: old.is_limited,
        };
        settings.check()?;
        Ok(settings)
    }

    /// The condition, if one was given (`WH-2`).
    ///
    /// # Errors
    /// `400` if it names nothing, or something by another thing than an id.
    pub(crate) fn condition(&self) -> Result<Option<WebhookCondition>, ApiError> {
        let Some(given) = &self.condition else { return Ok(None) };
        let condition = WebhookCondition {
            actor_id: id("actorId", &given.actor_id)?,
            actor_task_id: id("actorTaskId", &given.actor_task_id)?,
            actor_run_id: id("actorRunId", &given.actor_run_id)?,
        };
        if condition.is_empty() {
            return Err(model::WebhookRefused::NoCondition.into());
        }
        Ok(Some(condition))
    }

    /// The idempotency key; an empty one is none (`WH-3`).
    ///
    /// # Errors
    /// `400` if it is too long.
    pub(crate) fn idempotency_key(&self) -> Result<Option<String>, ApiError> {
        let key = self.idempotency_key.clone().filter(|key| !key.is_empty());
        if key.as_ref().is_some_and(|key| key.len() > MAX_KEY) {
            return Err(model::WebhookRefused::TooLong("idempotencyKey", MAX_KEY).into());
        }
        Ok(key)
    }

    /// A webhook for a run that is to be started (`START-14`).
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub(crate) fn ad_hoc(&self, engine: &Engine, caller: &Caller) -> Result<AdHocWebhook, ApiError> {
        Ok(AdHocWebhook { idempotency_key: self.idempotency_key()?, settings: self.settings(engine, caller)? })
    }
}

fn events(words: &[String]) -> Result<Vec<WebhookEvent>, ApiError> {
    let mut events = Vec::with_capacity(words.len().min(WebhookEvent::ALL.len()));
    for word in words {
        let event = WebhookEvent::parse(word).ok_or_else(|| {
            let known: Vec<_> = WebhookEvent::ALL.iter().map(|event| event.as_str()).collect();
            let message = format!("\"eventTypes\" has {word}, but each must be one of {}", known.join(", "));
            ApiError::new(Problem::InvalidValue, message)
        })?;
        if !events.contains(&event) {
            events.push(event);
        }
    }
    Ok(events)
}

fn id<K>(name: &str, given: &Option<String>) -> Result<Option<Id<K>>, ApiError> {
    let Some(text) = given.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    let id = Id::parse(text);
    let refused = || ApiError::new(Problem::InvalidValue, format!("\"{name}\" of the condition must be an id"));
    id.map(Some).ok_or_else(refused)
}

fn sealed(secret: &str, engine: &Engine) -> Result<String, ApiError> {
    if webhook_signature::key_of(secret).is_none() {
        let message = "\"xSecret\" must be \"whsec_\" and 24 to 64 random bytes in base64";
        return Err(ApiError::new(Problem::InvalidValue, message));
    }
    Ok(engine.seal(secret))
}
