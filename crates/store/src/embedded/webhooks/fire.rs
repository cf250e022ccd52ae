//! What happens makes dispatches, in the transaction in which it happens.

use std::sync::Arc;

use model::{Build, DispatchId, EventData, JobStatus, Run, Timestamp, WebhookEvent, WebhookId};
use rusqlite::params;

use super::{event_code, read};
use crate::embedded::core::Core;
use crate::embedded::db::{Sql as _, WriteTx};
use crate::embedded::doc;
use crate::{Noun, StoreError};

/// Kinds of subjects in rows.
pub(super) const RUN: i64 = 1;
pub(super) const BUILD: i64 = 2;

/// Makes a dispatch for each webhook that waits for what a run has become (`WH-19`).
pub(in crate::embedded) fn run_changed(
    core: &Arc<Core>,
    tx: &mut WriteTx<'_>,
    before: Option<JobStatus>,
    run: &Run,
) -> Result<(), StoreError> {
    let Some(event) = WebhookEvent::of_run(before, run.status) else { return Ok(()) };
    let waiting = Waiting::of(tx, event, run.user_id.as_str(), &EventData::from(run))?;
    if waiting.is_empty() {
        return Ok(());
    }
    let happened =
        Happened { event, user: run.user_id.as_str(), kind: RUN, doc: doc::write(run)?, data: EventData::from(run) };
    happened.tell(core, tx, &waiting)
}

/// The same of a build.
pub(in crate::embedded) fn build_changed(
    core: &Arc<Core>,
    tx: &mut WriteTx<'_>,
    before: Option<JobStatus>,
    build: &Build,
) -> Result<(), StoreError> {
    let Some(event) = WebhookEvent::of_build(before, build.status) else { return Ok(()) };
    let waiting = Waiting::of(tx, event, build.user_id.as_str(), &EventData::from(build))?;
    if waiting.is_empty() {
        return Ok(());
    }
    let data = EventData::from(build);
    let happened = Happened { event, user: build.user_id.as_str(), kind: BUILD, doc: doc::write(build)?, data };
    happened.tell(core, tx, &waiting)
}

/// Makes a dispatch that tells of nothing (`WH-16`).
pub(super) fn test(core: &Arc<Core>, tx: &mut WriteTx<'_>, id: &WebhookId) -> Result<DispatchId, StoreError> {
    let (k, webhook) = read(tx, id)?.ok_or(StoreError::NotFound(Noun::Webhook))?;
    let find = "SELECT target FROM webhook WHERE k = ?1";
    let target = tx.one(find, [k], |row| row.get(0))?.unwrap_or_default();
    let waiting = Waiting { k, id: id.to_string(), target, ad_hoc: false };
    let dispatch = insert(core, tx, &waiting, webhook.user_id.as_str(), WebhookEvent::Test, None)?;
    wake_after_commit(core, tx);
    Ok(dispatch)
}

/// The webhooks of user 4 that wait for event 5 of run 1, Actor 2 or task 3.
const WAITING: &str = "SELECT k, id, target, ad_hoc FROM webhook
     WHERE k IN (SELECT k FROM webhook WHERE run_id = ?1 AND user_id = ?4
                 UNION ALL SELECT k FROM webhook WHERE actor_id = ?2 AND user_id = ?4
                 UNION ALL SELECT k FROM webhook WHERE task_id = ?3 AND user_id = ?4)
       AND (run_id IS NULL OR run_id = ?1) AND (actor_id IS NULL OR actor_id = ?2)
       AND (task_id IS NULL OR task_id = ?3) AND events & ~fired & ?5
     ORDER BY k";

/// A webhook that waits for what has happened.
struct Waiting {
    k: i64,
    id: String,
    target: i64,
    ad_hoc: bool,
}

impl Waiting {
    fn of(tx: &WriteTx<'_>, event: WebhookEvent, user: &str, of: &EventData) -> Result<Vec<Self>, StoreError> {
        tx.all(
            WAITING,
            params![
                of.actor_run_id.as_ref().map(|id| id.as_str()),
                of.actor_id.as_str(),
                of.actor_task_id.as_ref().map(|id| id.as_str()),
                user,
                event.bit(),
            ],
            |row| Ok(Self { k: row.get(0)?, id: row.get(1)?, target: row.get(2)?, ad_hoc: row.get(3)? }),
        )
    }
}

/// Something that webhooks are told of.
struct Happened<'a> {
    event: WebhookEvent,
    user: &'a str,
    kind: i64,
    /// To what it happened, as it is now.
    doc: String,
    data: EventData,
}

impl Happened<'_> {
    fn tell(&self, core: &Arc<Core>, tx: &mut WriteTx<'_>, waiting: &[Waiting]) -> Result<(), StoreError> {
        tx.run(
            "INSERT INTO webhook_subject (open, kind, doc) VALUES (?1, ?2, ?3)",
            params![i64::try_from(waiting.len()).unwrap_or(i64::MAX), self.kind, self.doc],
        )?;
        let subject = (tx.last_insert_rowid(), doc::write(&self.data)?);
        for webhook in waiting {
            insert(core, tx, webhook, self.user, self.event, Some(&subject))?;
            if webhook.ad_hoc {
                tx.run("UPDATE webhook SET fired = fired | ?2 WHERE k = ?1", params![webhook.k, self.event.bit()])?;
            }
        }
        wake_after_commit(core, tx);
        Ok(())
    }
}

fn insert(
    core: &Arc<Core>,
    tx: &WriteTx<'_>,
    webhook: &Waiting,
    user: &str,
    event: WebhookEvent,
    subject: Option<&(i64, String)>,
) -> Result<DispatchId, StoreError> {
    let id = DispatchId::random(&*core.random);
    let now: Timestamp = tx.now();
    tx.run(
        "INSERT INTO dispatch (id, user_id, webhook, webhook_id, target, event, status, created_at, due_at, subject, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?7, ?8, ?9)",
        params![
            id.as_str(),
            user,
            webhook.k,
            webhook.id,
            webhook.target,
            event_code(event),
            now.as_millis(),
            subject.map(|(s, _)| s),
            subject.map(|(_, data)| data),
        ],
    )?;
    tx.run(
        "INSERT INTO webhook_count (k, total, kept, last) VALUES (?1, 1, 1, ?2)
         ON CONFLICT (k) DO UPDATE SET total = total + 1, kept = kept + 1, last = ?2",
        params![webhook.k, tx.last_insert_rowid()],
    )?;
    super::count(tx, user, 0, 1)?;
    tx.run(
        "UPDATE webhook_target SET next_due = ?2 WHERE t = ?1 AND (next_due IS NULL OR next_due > ?2)",
        params![webhook.target, now.as_millis()],
    )?;
    Ok(id)
}

fn wake_after_commit(core: &Arc<Core>, tx: &mut WriteTx<'_>) {
    let made = core.dispatch_made.clone();
    tx.after_commit(move || made.notify_one());
}

#[cfg(test)]
mod tests {
    use crate::embedded::webhooks::show::tests::plan;

    #[test]
    fn who_waits_is_looked_up_by_index() {
        let plan = plan(super::WAITING, 5);

        assert!(!plan.contains("SCAN"), "{plan}");
    }
}
