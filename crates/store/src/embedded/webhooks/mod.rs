//! Webhooks in SQLite. What happens for them is in `fire`, what is sent in `delivery`, what is shown of that in `show`.

mod delivery;
mod fire;
mod show;

use std::sync::Arc;

use async_trait::async_trait;
use model::{
    ActorId, Dispatch, DispatchId, Listed, Page, RunId, TaskId, Timestamp, Webhook, WebhookEvent, WebhookId,
    WebhookStats, target_of,
};
use rusqlite::{Connection, params};

use super::core::Core;
use super::db::{Sql as _, WriteTx};
use super::doc;
use crate::{
    Attempted, DispatchFilter, Due, Noun, StoreError, Taken, TargetNumber, WebhookChange, WebhookFilter, WebhookStore,
};

pub(super) use self::fire::{build_changed, run_changed};

/// The webhooks of an embedded store.
#[derive(Debug)]
pub(super) struct Webhooks {
    core: Arc<Core>,
}

impl Webhooks {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[async_trait]
impl WebhookStore for Webhooks {
    async fn create(&self, webhook: Webhook) -> Result<Arc<Webhook>, StoreError> {
        let create = move |tx: &mut WriteTx<'_>| match insert(tx, &webhook)? {
            true => Ok(Arc::new(webhook)),
            false => {
                let find = "SELECT doc FROM webhook WHERE user_id = ?1 AND key = ?2";
                let text: Option<String> =
                    tx.one(find, params![webhook.user_id.as_str(), webhook.idempotency_key], |row| row.get(0))?;
                Ok(Arc::new(doc::read(&text.ok_or(StoreError::NotFound(Noun::Webhook))?)?))
            }
        };
        self.core.db.grow(create).await
    }

    async fn get(&self, id: &WebhookId) -> Result<Option<(Arc<Webhook>, WebhookStats)>, StoreError> {
        self.core.db.read(|connection| show::webhook(connection, id))
    }

    async fn list(
        &self,
        filter: WebhookFilter,
        page: Page,
    ) -> Result<Listed<(Arc<Webhook>, WebhookStats)>, StoreError> {
        self.core.db.snapshot_blocking(move |connection| show::webhooks(connection, &filter, page)).await
    }

    async fn modify(&self, id: &WebhookId, mut change: WebhookChange) -> Result<Arc<Webhook>, StoreError> {
        let id = *id;
        let modify = move |tx: &mut WriteTx<'_>| {
            let (k, mut webhook) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Webhook))?;
            let before = webhook.clone();
            if !change(&mut webhook) {
                return Ok(Arc::new(before));
            }
            let target = target(tx, &webhook)?;
            tx.run(
                "UPDATE webhook SET actor_id = ?2, task_id = ?3, run_id = ?4, events = ?5, ad_hoc = ?6, target = ?7, doc = ?8
                 WHERE k = ?1",
                params![
                    k,
                    webhook.condition.actor_id.as_ref().map(|id| id.as_str()),
                    webhook.condition.actor_task_id.as_ref().map(|id| id.as_str()),
                    webhook.condition.actor_run_id.as_ref().map(|id| id.as_str()),
                    webhook.settings.event_bits(),
                    webhook.is_ad_hoc,
                    target,
                    doc::write(&webhook)?,
                ],
            )?;
            Ok(Arc::new(webhook))
        };
        self.core.db.write(modify).await
    }

    async fn delete(&self, id: &WebhookId) -> Result<(), StoreError> {
        let id = *id;
        self.core
            .db
            .write_checked(0, move |tx| {
                let (k, _) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Webhook))?;
                remove(tx, k)
            })
            .await
    }

    async fn test(&self, id: &WebhookId) -> Result<Dispatch, StoreError> {
        let (id, core) = (*id, self.core.clone());
        let dispatch = self.core.db.grow(move |tx| fire::test(&core, tx, &id)).await?;
        // It was made a moment ago, and dispatches do not go before they have ended.
        self.dispatch(&dispatch).await?.ok_or(StoreError::NotFound(Noun::Dispatch))
    }

    async fn dispatch(&self, id: &DispatchId) -> Result<Option<Dispatch>, StoreError> {
        self.core.db.read(|connection| show::dispatch(connection, id))
    }

    async fn dispatches(&self, filter: DispatchFilter, page: Page) -> Result<Listed<Dispatch>, StoreError> {
        self.core.db.snapshot_blocking(move |connection| show::dispatches(connection, &filter, page)).await
    }

    async fn due(&self, now: Timestamp, taken: Taken, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.core.db.snapshot_blocking(move |connection| delivery::due(connection, now, &taken, limit)).await
    }

    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.core.db.read(|connection| delivery::next_due(connection, now))
    }

    async fn note_attempts(&self, attempts: Vec<Attempted>) -> Result<(), StoreError> {
        let weight = attempts.iter().map(|attempt| attempt.call.response_body.as_ref().map_or(0, String::len)).sum();
        self.core.db.write_checked(weight, move |tx| delivery::note(tx, attempts)).await
    }

    async fn made(&self) {
        self.core.dispatch_made.notified().await;
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<bool, StoreError> {
        self.core.db.write_checked(0, move |tx| delivery::expire(tx, before, limit)).await
    }
}

/// Adds a webhook; false if its user has one with that key already (`WH-3`).
pub(super) fn insert(tx: &WriteTx<'_>, webhook: &Webhook) -> Result<bool, StoreError> {
    let target = target(tx, webhook)?;
    let inserted = tx.run(
        "INSERT INTO webhook (id, user_id, created_at, actor_id, task_id, run_id, key, events, ad_hoc, target, doc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (user_id, key) WHERE key IS NOT NULL DO NOTHING",
        params![
            webhook.id.as_str(),
            webhook.user_id.as_str(),
            webhook.created_at.as_millis(),
            webhook.condition.actor_id.as_ref().map(|id| id.as_str()),
            webhook.condition.actor_task_id.as_ref().map(|id| id.as_str()),
            webhook.condition.actor_run_id.as_ref().map(|id| id.as_str()),
            webhook.idempotency_key,
            webhook.settings.event_bits(),
            webhook.is_ad_hoc,
            target,
            doc::write(webhook)?,
        ],
    )?;
    if inserted == 1 {
        count(tx, webhook.user_id.as_str(), 1, 0)?;
    }
    Ok(inserted == 1)
}

/// Deletes the webhooks of everybody that wait for an Actor (`ACT-8`).
pub(super) fn delete_of_actor(tx: &WriteTx<'_>, actor: &ActorId) -> Result<(), StoreError> {
    remove_all(tx, "SELECT k FROM webhook WHERE actor_id = ?1", actor.as_str())
}

/// Deletes the webhooks that wait for a task.
pub(super) fn delete_of_task(tx: &WriteTx<'_>, task: &TaskId) -> Result<(), StoreError> {
    remove_all(tx, "SELECT k FROM webhook WHERE task_id = ?1", task.as_str())
}

fn remove_all(tx: &WriteTx<'_>, find: &'static str, id: &str) -> Result<(), StoreError> {
    let webhooks: Vec<i64> = tx.all(find, [id], |row| row.get(0))?;
    webhooks.into_iter().try_for_each(|k| remove(tx, k))
}

/// Deletes the webhooks of a run that is deleted, since it will not come again: each when nothing is left to be sent.
pub(super) fn forget_run(tx: &WriteTx<'_>, run: &RunId) -> Result<(), StoreError> {
    tx.run("UPDATE webhook SET orphan = 1 WHERE run_id = ?1", [run.as_str()])?;
    let of_run = "SELECT k FROM webhook WHERE run_id = ?1";
    let webhooks: Vec<i64> = tx.all(of_run, [run.as_str()], |row| row.get(0))?;
    webhooks.into_iter().try_for_each(|k| remove_idle_orphan(tx, k))
}

/// Deletes a webhook whose run is gone, if nothing is left to be sent for it.
fn remove_idle_orphan(tx: &WriteTx<'_>, k: i64) -> Result<(), StoreError> {
    let is_orphan = "SELECT orphan FROM webhook WHERE k = ?1";
    if !tx.one(is_orphan, [k], |row| row.get(0))?.unwrap_or(false) {
        return Ok(());
    }
    let is_busy = "SELECT 1 FROM dispatch WHERE webhook = ?1 AND due_at IS NOT NULL LIMIT 1";
    match tx.one(is_busy, [k], |_| Ok(()))? {
        Some(()) => Ok(()),
        None => remove(tx, k),
    }
}

fn remove(tx: &WriteTx<'_>, k: i64) -> Result<(), StoreError> {
    let user: Option<String> = tx.one("DELETE FROM webhook WHERE k = ?1 RETURNING user_id", [k], |row| row.get(0))?;
    tx.run("DELETE FROM webhook_count WHERE k = ?1", [k])?;
    user.map_or(Ok(()), |user| count(tx, &user, -1, 0))
}

/// Counts a user's webhooks and dispatches in or out.
fn count(tx: &WriteTx<'_>, user: &str, webhooks: i64, dispatches: i64) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO webhook_user_count (user_id, webhooks, dispatches) VALUES (?1, ?2, ?3)
         ON CONFLICT (user_id) DO UPDATE SET webhooks = webhooks + ?2, dispatches = dispatches + ?3",
        params![user, webhooks, dispatches],
    )?;
    Ok(())
}

/// Reads a webhook as a transaction must.
fn read(connection: &Connection, id: &WebhookId) -> Result<Option<(i64, Webhook)>, StoreError> {
    let find = "SELECT k, doc FROM webhook WHERE id = ?1";
    let row = connection.one(find, [id.as_str()], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    row.map(|(k, text)| Ok((k, doc::read(&text)?))).transpose()
}

/// The number of a webhook's target.
fn target(tx: &WriteTx<'_>, webhook: &Webhook) -> Result<TargetNumber, StoreError> {
    let origin = target_of(&webhook.settings.request_url).unwrap_or_default();
    tx.run("INSERT INTO webhook_target (origin) VALUES (?1) ON CONFLICT (origin) DO NOTHING", [&origin])?;
    let number = tx.one("SELECT t FROM webhook_target WHERE origin = ?1", [&origin], |row| row.get(0))?;
    Ok(number.unwrap_or_default())
}

/// The number of an event in rows.
fn event_code(event: WebhookEvent) -> i64 {
    WebhookEvent::ALL.iter().position(|other| *other == event).map_or(i64::MAX, |place| place as i64)
}

fn event_of(code: i64) -> WebhookEvent {
    usize::try_from(code).ok().and_then(|place| WebhookEvent::ALL.get(place)).copied().unwrap_or(WebhookEvent::Test)
}
