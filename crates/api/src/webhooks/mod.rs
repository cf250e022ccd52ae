//! Webhooks and their dispatches (section 21 of the contract).

mod dispatches;
mod resources;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use engine::{Caller, Subject};
use http::StatusCode;
use model::{Page, Right, ScopeKind, Webhook, WebhookCondition, WebhookId, WebhookStats};
use parking_lot::Mutex;
use store::{Noun, WebhookFilter};

use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{Auth, Json, JsonOrDefault, PathParams, Query};
use crate::wire::{self, DispatchBody, ListPage, WebhookBody, WebhookGiven, WebhookItem};

/// The addresses of webhooks and dispatches.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v2/webhooks", get(list_all).post(create))
        .route("/v2/webhooks/{webhookId}", get(show).put(update).delete(delete))
        .route("/v2/webhooks/{webhookId}/test", post(test))
        .route("/v2/webhooks/{webhookId}/dispatches", get(dispatches::of_webhook))
        .route("/v2/webhook-dispatches", get(dispatches::list_all))
        .route("/v2/webhook-dispatches/{dispatchId}", get(dispatches::show))
        .route("/v2/actors/{actorId}/webhooks", get(list_of_actor))
        .route("/v2/actor-tasks/{actorTaskId}/webhooks", get(list_of_task))
}

/// The caller's webhooks.
async fn list_all(State(app): State<App>, Auth(caller): Auth, Query(page): Query<Page>) -> Answer {
    list(&app, WebhookFilter::OfUser(caller.user.id), page).await
}

/// The caller's webhooks for an Actor (`ACT-13`).
async fn list_of_actor(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Query(page): Query<Page>,
) -> Answer {
    let actor = access::visible_actor(&app, &caller, path.get("actorId")).await?;
    list(&app, WebhookFilter::OfActor(caller.user.id, actor.id), page).await
}

/// The caller's webhooks for a task.
async fn list_of_task(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Query(page): Query<Page>,
) -> Answer {
    let task = access::own_task(&app, &caller, Right::Read, path.get("actorTaskId")).await?;
    list(&app, WebhookFilter::OfTask(caller.user.id, task.id), page).await
}

async fn list(app: &App, filter: WebhookFilter, page: Page) -> Answer {
    let found = app.store().webhooks.list(filter, page).await?;
    let items = found.items.iter().map(|(webhook, stats)| WebhookItem::new(webhook, *stats)).collect();
    Ok(wire::ok(&ListPage::new(page, model::Listed { total: found.total, items })))
}

/// `POST /v2/webhooks` (`WH-3`). Neither what the condition names nor the target is looked up (`WH-2`, `WH-20`).
async fn create(State(app): State<App>, Auth(caller): Auth, Json(given): Json<WebhookGiven>) -> Answer {
    let settings = given.settings(app.engine(), &caller)?;
    let condition = given.condition()?.ok_or_else(|| ApiError::invalid_request("\"condition\" is required"))?;
    check_condition(&app, &caller, &condition, caller.may_create(ScopeKind::Webhook)).await?;
    let (id, now) = (WebhookId::random(app.engine().random()), app.now());
    let webhook = Webhook {
        id,
        user_id: caller.user.id,
        created_at: now,
        modified_at: now,
        is_ad_hoc: given.is_ad_hoc.unwrap_or(false),
        condition,
        idempotency_key: given.idempotency_key()?,
        settings,
        token_id: caller.scope.as_ref().map(|own| own.token),
    };
    let created = app.store().webhooks.create(webhook).await?;
    let (webhook, stats) = find(&app, &caller, created.id.as_str()).await?;
    // Another one may have that key already, and not be for this token.
    if created.id != id && !is_own(&caller, &webhook.condition) {
        access::check_kept(&app, &caller, Right::Read, Subject::from(&*webhook)).await?;
    }
    let location = app.public_url(&format!("webhooks/{}", webhook.id));
    Ok(wire::created(&location, &WebhookBody::new(&webhook, stats)))
}

/// Whether the caller's token may be told of what a webhook waits for: it may see that, or it is about its own run (`WH-4`).
///
/// # Errors
/// `403` if it may not.
async fn check_condition(
    app: &App,
    caller: &Caller,
    condition: &WebhookCondition,
    may_make: bool,
) -> Result<(), ApiError> {
    if !caller.is_limited() || is_own(caller, condition) {
        return Ok(());
    }
    let WebhookCondition { actor_id, actor_task_id, actor_run_id } = condition;
    let mut may_see =
        may_make && caller.limited_run().is_none() && actor_id.is_none_or(|actor| caller.may_read(&actor));
    if let Some(task) = actor_task_id {
        let task = app.store().tasks.get(task).await?;
        may_see &= match &task {
            Some(task) => access::allows(app, Some(caller), Right::Read, Subject::from(&**task)).await?,
            None => false,
        };
    }
    if let Some(run) = actor_run_id {
        let run = app.store().runs.get(run).await?;
        may_see &= match &run {
            Some(run) => access::allows(app, Some(caller), Right::Read, Subject::Run(run)).await?,
            None => false,
        };
    }
    if may_see { Ok(()) } else { Err(ApiError::token_is_limited()) }
}

/// Whether a webhook is for the very run that calls, which a limited token may ask for, too (`WH-4`).
fn is_own(caller: &Caller, condition: &WebhookCondition) -> bool {
    caller.run.as_ref().is_some_and(|run| condition.actor_run_id == Some(run.id))
}

async fn show(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let (webhook, stats) = located(&app, &caller, Right::Read, path.get("webhookId")).await?;
    Ok(wire::ok(&WebhookBody::new(&webhook, stats)))
}

/// `PUT /v2/webhooks/{webhookId}`: changes what is given and leaves the rest (`WH-21`).
async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    JsonOrDefault(given): JsonOrDefault<WebhookGiven>,
) -> Answer {
    let (webhook, _) = located(&app, &caller, Right::Write, path.get("webhookId")).await?;
    let (condition, now, engine) = (given.condition()?, app.now(), app.engine().clone());
    check_condition(&app, &caller, &condition.unwrap_or(webhook.condition), true).await?;
    let is_limited = caller.is_limited();
    let refusal = Arc::new(Mutex::new(None));
    let refused = refusal.clone();
    let change = move |webhook: &mut Webhook| match given.settings_over(&webhook.settings, &engine) {
        Ok(mut settings) => {
            // Whoever says where it goes must not get more there than they have.
            settings.is_limited |= is_limited;
            let changed = Webhook {
                settings,
                condition: condition.unwrap_or(webhook.condition),
                is_ad_hoc: given.is_ad_hoc.unwrap_or(webhook.is_ad_hoc),
                ..webhook.clone()
            };
            let is_other = changed != *webhook;
            *webhook = Webhook { modified_at: now, ..changed };
            is_other
        }
        Err(error) => {
            *refused.lock() = Some(error);
            false
        }
    };
    app.store().webhooks.modify(&webhook.id, Box::new(change)).await?;
    if let Some(refusal) = refusal.lock().take() {
        return Err(refusal);
    }
    let (webhook, stats) = find(&app, &caller, webhook.id.as_str()).await?;
    Ok(wire::ok(&WebhookBody::new(&webhook, stats)))
}

async fn delete(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let (webhook, _) = located(&app, &caller, Right::Manage, path.get("webhookId")).await?;
    app.store().webhooks.delete(&webhook.id).await?;
    Ok(wire::no_content())
}

/// `POST …/test`: a dispatch that is on its way (`WH-16`).
async fn test(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let (webhook, _) = located(&app, &caller, Right::Write, path.get("webhookId")).await?;
    let dispatch = app.store().webhooks.test(&webhook.id).await?;
    Ok(wire::data(StatusCode::CREATED, &DispatchBody::from(dispatch)))
}

/// The caller's webhook with that id, if the caller's token has that right to it.
///
/// # Errors
/// `404` for those of others, too (`AUTH-5`); `403` if it is the token that is to blame.
async fn located(app: &App, caller: &Caller, right: Right, id: &str) -> Result<(Arc<Webhook>, WebhookStats), ApiError> {
    let (webhook, stats) = find(app, caller, id).await?;
    access::check_kept(app, caller, right, Subject::from(&*webhook)).await?;
    Ok((webhook, stats))
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<(Arc<Webhook>, WebhookStats), ApiError> {
    let found = match WebhookId::parse(id) {
        Some(id) => app.store().webhooks.get(&id).await?,
        None => None,
    };
    let found = found.filter(|(webhook, _)| webhook.user_id == caller.user.id);
    found.ok_or_else(|| ApiError::not_found(Noun::Webhook))
}
