//! Which addresses a token may ask that may do less than its user (`AUTH-15`, `AUTH-19`).
//!
//! What is not named here is refused to such tokens, so an address that is added is closed to them until somebody has thought
//! of them. Where one resource is asked for, the extractor that looks it up decides, by [`access::allows`](crate::access::allows).

use engine::Caller;
use http::Method;
use model::{ScopeKind, StorageKind};

use crate::error::ApiError;

/// What it takes to ask an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing that any token has not.
    Nothing,
    /// A right to the resource of the address, which is looked at where it is looked up.
    Resource,
    /// The right to make things of that kind.
    Create(ScopeKind),
    /// The right to see everything of that kind.
    List(ScopeKind),
    /// Everything that the user may.
    Everything,
}

/// Lets a caller ask an address, of which `template` is the route.
///
/// # Errors
/// `403` if its token may not.
pub(crate) fn admit(caller: &Caller, method: &Method, template: Option<&str>) -> Result<(), ApiError> {
    if !caller.is_limited() {
        return Ok(());
    }
    let is_allowed = match need(method, template.unwrap_or_default()) {
        Need::Nothing | Need::Resource => true,
        Need::Create(kind) => caller.may_create(kind),
        Need::List(kind) => caller.may_list(kind),
        Need::Everything => false,
    };
    if is_allowed { Ok(()) } else { Err(ApiError::token_is_limited()) }
}

fn need(method: &Method, template: &str) -> Need {
    let Some(path) = template.strip_prefix("/v2/") else { return Need::Everything };
    let segments: Vec<&str> = path.split('/').collect();
    // Who may read may look.
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    if let Some(kind) = StorageKind::ALL.into_iter().find(|kind| kind.plural() == segments[0]) {
        return match (method, &segments[1..]) {
            ("POST", []) => Need::Create(kind.into()),
            ("GET", []) => Need::List(kind.into()),
            (_, ["{storageId}", ..]) => Need::Resource,
            _ => Need::Everything,
        };
    }
    match (method, segments.as_slice()) {
        (_, ["browser-info"] | ["tools", _]) => Need::Nothing,
        ("GET", ["store"] | ["users", "me" | "{userId}"]) => Need::Nothing,
        ("GET", ["users", "me", "limits"] | ["users", "me", "usage", "monthly"]) => Need::List(ScopeKind::Account),

        ("GET", ["actors" | "actor-runs" | "actor-builds"]) => Need::List(ScopeKind::Actor),
        (_, ["actor-runs", "{runId}", ..]) => Need::Resource,
        (_, ["actors", "{actorId}", "runs", "{runId}" | "last", ..]) => Need::Resource,
        ("GET", ["logs", _]) => Need::Resource,

        ("GET", ["actors", "{actorId}"] | ["actors", "{actorId}", "runs"]) => Need::Resource,
        ("GET", ["actors", "{actorId}", "builds", ..] | ["actor-builds", "{buildId}", ..]) => Need::Resource,
        ("POST", ["actors", "{actorId}", "runs" | "validate-input"]) => Need::Resource,
        ("GET" | "POST", ["actors", "{actorId}", "run-sync" | "run-sync-get-dataset-items"]) => Need::Resource,

        ("GET", ["actor-tasks"]) => Need::List(ScopeKind::Task),
        ("POST", ["actor-tasks"]) => Need::Create(ScopeKind::Task),
        ("GET", ["actors" | "actor-tasks", _, "webhooks"]) => Need::List(ScopeKind::Webhook),
        (_, ["actor-tasks", "{actorTaskId}", ..]) => Need::Resource,
        ("GET", ["schedules"]) => Need::List(ScopeKind::Schedule),
        ("POST", ["schedules"]) => Need::Create(ScopeKind::Schedule),
        (_, ["schedules", "{scheduleId}", ..]) => Need::Resource,
        ("GET", ["webhooks" | "webhook-dispatches"]) => Need::List(ScopeKind::Webhook),
        // A run may wait for its own end; anything else that is not allowed is refused where the condition is read.
        ("POST", ["webhooks"]) => Need::Resource,
        (_, ["webhooks", "{webhookId}", ..]) | ("GET", ["webhook-dispatches", _]) => Need::Resource,

        _ => Need::Everything,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_needs_everything() {
        for (method, template) in [
            ("GET", ""),
            ("GET", "/x-whatever"),
            ("PUT", "/v2/datasets"),
            ("POST", "/v2/actors"),
            ("PUT", "/v2/actors/{actorId}"),
            ("GET", "/v2/actors/{actorId}/versions"),
            ("POST", "/v2/actors/{actorId}/builds"),
            ("DELETE", "/v2/actor-builds/{buildId}"),
            ("PUT", "/v2/users/me/limits"),
            ("GET", "/v2/no-such-noun"),
        ] {
            assert_eq!(need(&method.parse().unwrap(), template), Need::Everything, "{method} {template}");
        }
    }

    #[test]
    fn looking_needs_what_reading_needs() {
        for template in ["/v2/datasets/{storageId}/items", "/v2/logs/{jobId}", "/v2/users/me"] {
            assert_eq!(need(&Method::HEAD, template), need(&Method::GET, template), "{template}");
            assert_ne!(need(&Method::GET, template), Need::Everything, "{template}");
        }
    }
}
