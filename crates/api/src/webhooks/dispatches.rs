//! What was sent for webhooks (`WH-15`).

use axum::extract::State;
use engine::{Kept, Subject};
use model::{DispatchId, Page, Right, ScopeKind};
use store::{DispatchFilter, Noun};

use super::located;
use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{Auth, PathParams, Query};
use crate::wire::{self, DispatchBody, ListPage};

/// `GET /v2/webhook-dispatches`: those of all webhooks of the caller, also of deleted ones.
pub(super) async fn list_all(State(app): State<App>, Auth(caller): Auth, Query(page): Query<Page>) -> Answer {
    list(&app, DispatchFilter::OfUser(caller.user.id), page).await
}

/// `GET /v2/webhooks/{webhookId}/dispatches` (`LIST-10`).
pub(super) async fn of_webhook(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Query(page): Query<Page>,
) -> Answer {
    let (webhook, _) = located(&app, &caller, Right::Read, path.get("webhookId")).await?;
    list(&app, DispatchFilter::OfWebhook(webhook.id), page).await
}

async fn list(app: &App, filter: DispatchFilter, page: Page) -> Answer {
    let found = app.store().webhooks.dispatches(filter, page).await?;
    Ok(wire::ok(&ListPage::new(page, found.map(DispatchBody::from))))
}

/// `GET /v2/webhook-dispatches/{dispatchId}`.
pub(super) async fn show(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let found = match DispatchId::parse(path.get("dispatchId")) {
        Some(id) => app.store().webhooks.dispatch(&id).await?,
        None => None,
    };
    let dispatch = found.filter(|dispatch| dispatch.user_id == caller.user.id);
    let dispatch = dispatch.ok_or_else(|| ApiError::not_found(Noun::Dispatch))?;
    if caller.is_limited() {
        let (owner, id) = (&dispatch.user_id, dispatch.webhook_id.as_str());
        let webhook = app.store().webhooks.get(&dispatch.webhook_id).await?;
        let made_by = webhook.and_then(|(webhook, _)| webhook.token_id);
        let of_webhook = Subject::Kept(Kept { kind: ScopeKind::Webhook, owner, id, made_by });
        access::check_kept(&app, &caller, Right::Read, of_webhook).await?;
    }
    Ok(wire::ok(&DispatchBody::from(dispatch)))
}
