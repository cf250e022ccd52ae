//! What is sent for a dispatch.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use model::webhook_template::Template;
use model::{Build, Run, Timestamp, Webhook, webhook_signature};
use serde_json::{Value, json};
use store::{Due, Subject};

use super::Parcel;
use crate::Engine;

/// Longest payload: what this server's own API would take.
const MAX_PAYLOAD: usize = model::MAX_JSON_BODY;
/// Longest headers of a template together.
const MAX_HEADERS: usize = 16 << 10;
/// How long the token for this server's own API is good.
const TOKEN_SECS: i64 = 600;
/// Headers that a template has no say in (`WH-9`), and those that belong to the connection.
const RESERVED: [&str; 17] = [
    "host",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "x-apify-webhook",
    "x-apify-webhook-dispatch-id",
    "x-apify-request-origin",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

/// Shows runs and builds as the API does to their owners (`WH-11`).
#[async_trait]
pub trait Resources: Send + Sync {
    /// A run as it was at that time.
    async fn run(&self, run: &Run, at: Timestamp) -> anyhow::Result<Value>;

    /// A build as it was.
    async fn build(&self, build: &Build) -> anyhow::Result<Value>;
}

/// Why there is nothing to send.
#[derive(Debug)]
pub(super) enum Unsendable {
    /// There never will be.
    ForEver(String),
    /// Something of ours has failed.
    ForNow(anyhow::Error),
}

/// Makes the request for a dispatch, as its webhook wants it now.
pub(super) async fn parcel(engine: &Engine, resources: &dyn Resources, due: &Due) -> Result<Parcel, Unsendable> {
    let for_ever = |error: &dyn std::fmt::Display| Unsendable::ForEver(error.to_string());
    let Some(webhook) = &due.webhook else {
        return Err(Unsendable::ForEver("The webhook was deleted.".to_owned()));
    };
    let now = engine.now();
    let context = context(due, resources, now).await.map_err(Unsendable::ForNow)?;
    static DEFAULT: LazyLock<Template> = LazyLock::new(Template::default);
    let own = webhook.settings.payload().map_err(|error| for_ever(&error))?;
    let body = own.as_ref().unwrap_or(&DEFAULT).fill(&context, MAX_PAYLOAD).map_err(|error| for_ever(&error))?;
    let headers = webhook.settings.headers().map_err(|error| for_ever(&error))?;
    let headers = headers.map(|template| template.fill(&context, MAX_HEADERS)).transpose();
    let mut headers = headers.map_err(|error| for_ever(&error))?.unwrap_or_default();
    headers.retain(|(name, _)| !RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)));
    let mut marks = vec![
        ("content-type", "application/json".to_owned()),
        ("x-apify-webhook", "1".to_owned()),
        ("x-apify-webhook-dispatch-id", due.id.to_string()),
        ("x-apify-request-origin", "WEBHOOK".to_owned()),
    ];
    marks.extend(signature(engine, webhook, due, &body, now)?);
    Ok(Parcel {
        url: webhook.settings.request_url.clone(),
        headers,
        marks,
        body: Bytes::from(body),
        ignore_ssl_errors: webhook.settings.ignore_ssl_errors,
        token: (!webhook.settings.is_limited)
            .then(|| engine.inner.keys.webhook_token(&due.user_id, now.plus_secs(TOKEN_SECS))),
    })
}

/// Everything that a template may name (`WH-8`).
async fn context(due: &Due, resources: &dyn Resources, now: Timestamp) -> anyhow::Result<Value> {
    let (event_data, resource) = match &due.subject {
        Subject::Run(run) => (json!(due.event_data), resources.run(run, due.created_at).await?),
        Subject::Build(build) => (json!(due.event_data), resources.build(build).await?),
        // Receivers reach into both; of a test there is nothing to find.
        Subject::Test => (json!({}), json!({})),
    };
    Ok(json!({
        "userId": due.user_id,
        "createdAt": due.created_at,
        "eventType": due.event_type,
        "eventData": event_data,
        "resource": resource,
        "globals": { "dateISO": now, "dateUnix": webhook_signature::seconds(now) },
    }))
}

/// The headers of the Standard Webhooks specification, if the webhook has a secret.
fn signature(
    engine: &Engine,
    webhook: &Arc<Webhook>,
    due: &Due,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<(&'static str, String)>, Unsendable> {
    let Some(sealed) = &webhook.settings.secret else { return Ok(Vec::new()) };
    let key = engine.unseal(sealed).and_then(|secret| webhook_signature::key_of(&secret));
    let Some(key) = key else {
        return Err(Unsendable::ForEver("The webhook's secret cannot be read; set it anew.".to_owned()));
    };
    let id = due.id.to_string();
    let signature = webhook_signature::sign(&key, &id, now, body);
    Ok(vec![
        ("webhook-id", id),
        ("webhook-timestamp", webhook_signature::seconds(now).to_string()),
        ("webhook-signature", signature),
    ])
}
