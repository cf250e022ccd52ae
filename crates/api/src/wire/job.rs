//! What runs and builds have in common for clients.

use model::{JobMeta, Origin, Timestamp, UserId};
use serde::Serialize;

/// Who looks at a run or build, which decides what of it is shown (`AUTH-11`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// Whose it is.
    Owner,
    /// Another user.
    Other,
    /// Somebody without a token.
    Anonymous,
}

impl Viewer {
    /// How `caller` looks at what `owner` owns.
    pub(crate) fn of(caller: Option<&UserId>, owner: &UserId) -> Self {
        match caller {
            None => Self::Anonymous,
            Some(caller) if caller == owner => Self::Owner,
            Some(_) => Self::Other,
        }
    }
}

/// Who asked for a job, and from where; the where is for its owner only (`AUTH-11`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetaBody<'a> {
    origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_at: Option<Timestamp>,
}

impl<'a> MetaBody<'a> {
    /// The part that `viewer` may see.
    pub(crate) fn new(meta: &'a JobMeta, viewer: Viewer) -> Self {
        let own = viewer == Viewer::Owner;
        Self {
            origin: meta.origin,
            client_ip: meta.client_ip.as_deref().filter(|_| own),
            user_agent: meta.user_agent.as_deref().filter(|_| own),
            schedule_id: meta.schedule_id.as_deref(),
            scheduled_at: meta.scheduled_at,
        }
    }
}
