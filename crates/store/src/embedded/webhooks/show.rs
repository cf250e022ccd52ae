//! What is shown of webhooks and dispatches.

use std::sync::Arc;

use model::{
    Dispatch, DispatchId, DispatchStatus, LastDispatch, Listed, Page, Timestamp, UserId, Webhook, WebhookId,
    WebhookStats, WebhookSummary,
};
use rusqlite::{Connection, Row, params};

use super::event_of;
use crate::embedded::actors::bounds;
use crate::embedded::db::Sql as _;
use crate::embedded::doc;
use crate::{DispatchFilter, Noun, StoreError, WebhookFilter};

const WEBHOOK: &str = "SELECT webhook.doc, coalesce(total, 0), dispatch.status, dispatch.finished_at FROM webhook
     LEFT JOIN webhook_count USING (k) LEFT JOIN dispatch ON d = last";
const DISPATCH: &str = "SELECT dispatch.id, dispatch.user_id, webhook_id, event, data, status, dispatch.created_at,
     finished_at, calls, webhook.doc FROM dispatch LEFT JOIN webhook ON k = dispatch.webhook";

/// One webhook.
pub(super) fn webhook(
    connection: &Connection,
    id: &WebhookId,
) -> Result<Option<(Arc<Webhook>, WebhookStats)>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{WEBHOOK} WHERE webhook.id = ?1"))?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(read_webhook).transpose()
}

/// A page of webhooks.
pub(super) fn webhooks(
    connection: &Connection,
    filter: &WebhookFilter,
    page: Page,
) -> Result<Listed<(Arc<Webhook>, WebhookStats)>, StoreError> {
    let (user, total, condition) = match filter {
        WebhookFilter::OfUser(user) => (user, user_count(connection, user)?.0, "?2 IS NULL"),
        WebhookFilter::OfActor(user, actor) => {
            (user, count_of(connection, "actor_id", user, actor.as_str())?, "actor_id = ?2")
        }
        WebhookFilter::OfTask(user, task) => {
            (user, count_of(connection, "task_id", user, task.as_str())?, "task_id = ?2")
        }
    };
    let of = match filter {
        WebhookFilter::OfUser(_) => None,
        WebhookFilter::OfActor(_, actor) => Some(actor.as_str()),
        WebhookFilter::OfTask(_, task) => Some(task.as_str()),
    };
    let mut statement = connection.prepare_cached(&webhooks_sql(condition, page.desc))?;
    let (limit, offset) = bounds(page);
    let mut rows = statement.query(params![user.as_str(), of, limit, offset])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read_webhook(row)?);
    }
    Ok(Listed { total, items })
}

/// One dispatch.
pub(super) fn dispatch(connection: &Connection, id: &DispatchId) -> Result<Option<Dispatch>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{DISPATCH} WHERE dispatch.id = ?1"))?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(read_dispatch).transpose()
}

/// A page of dispatches.
pub(super) fn dispatches(
    connection: &Connection,
    filter: &DispatchFilter,
    page: Page,
) -> Result<Listed<Dispatch>, StoreError> {
    let (total, condition, of): (u64, _, Box<dyn rusqlite::ToSql>) = match filter {
        DispatchFilter::OfUser(user) => {
            (user_count(connection, user)?.1, "user_id = ?1", Box::new(user.as_str().to_owned()))
        }
        DispatchFilter::OfWebhook(id) => {
            let find = "SELECT k, coalesce(kept, 0) FROM webhook LEFT JOIN webhook_count USING (k) WHERE id = ?1";
            let found = connection.one(find, [id.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
            let (k, kept) = found.ok_or(StoreError::NotFound(Noun::Webhook))?;
            (kept, "webhook = ?1", Box::new(k))
        }
    };
    let mut statement = connection.prepare_cached(&dispatches_sql(condition, page.desc))?;
    let (limit, offset) = bounds(page);
    let mut rows = statement.query(params![of, limit, offset])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read_dispatch(row)?);
    }
    Ok(Listed { total, items })
}

/// A page of the webhooks of user 1. It is chosen by index alone, so that what is skipped is not read.
fn webhooks_sql(condition: &str, desc: bool) -> String {
    let way = if desc { "DESC" } else { "ASC" };
    format!(
        "{WEBHOOK} WHERE webhook.k IN (SELECT k FROM webhook WHERE user_id = ?1 AND {condition}
             ORDER BY created_at {way}, id {way} LIMIT ?3 OFFSET ?4)
         ORDER BY webhook.created_at {way}, webhook.id {way}"
    )
}

/// The same of dispatches.
fn dispatches_sql(condition: &str, desc: bool) -> String {
    let way = if desc { "DESC" } else { "ASC" };
    format!(
        "{DISPATCH} WHERE d IN (SELECT d FROM dispatch WHERE {condition}
             ORDER BY created_at {way}, id {way} LIMIT ?2 OFFSET ?3)
         ORDER BY dispatch.created_at {way}, dispatch.id {way}"
    )
}

/// How many webhooks and dispatches a user has.
fn user_count(connection: &Connection, user: &UserId) -> Result<(u64, u64), StoreError> {
    let find = "SELECT webhooks, dispatches FROM webhook_user_count WHERE user_id = ?1";
    let counts = connection.one(find, [user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(counts.unwrap_or_default())
}

fn count_of(connection: &Connection, column: &str, user: &UserId, id: &str) -> Result<u64, StoreError> {
    let count = format!("SELECT count(*) FROM webhook WHERE {column} = ?1 AND user_id = ?2");
    Ok(connection.prepare_cached(&count)?.query_row([id, user.as_str()], |row| row.get(0))?)
}

fn read_webhook(row: &Row<'_>) -> Result<(Arc<Webhook>, WebhookStats), StoreError> {
    let last_dispatch = match row.get::<_, Option<i64>>(2)? {
        Some(status) => Some(LastDispatch { status: status_of(status), finished_at: time(row, 3)? }),
        None => None,
    };
    let stats = WebhookStats { total_dispatches: row.get(1)?, last_dispatch };
    Ok((Arc::new(doc::read(text(row, 0)?)?), stats))
}

fn read_dispatch(row: &Row<'_>) -> Result<Dispatch, StoreError> {
    let data: Option<String> = row.get(4)?;
    let calls: Option<String> = row.get(8)?;
    let webhook: Option<String> = row.get(9)?;
    let webhook: Option<Webhook> = webhook.map(|text| doc::read(&text)).transpose()?;
    Ok(Dispatch {
        id: id(row, 0)?,
        user_id: id(row, 1)?,
        webhook_id: id(row, 2)?,
        event_type: event_of(row.get(3)?),
        event_data: data.map(|text| doc::read(&text)).transpose()?,
        status: status_of(row.get(5)?),
        created_at: Timestamp::from_millis(row.get(6)?),
        finished_at: time(row, 7)?,
        calls: calls.map(|text| doc::read(&text)).transpose()?.unwrap_or_default(),
        webhook: webhook.map(|webhook| WebhookSummary {
            request_url: webhook.settings.request_url,
            is_ad_hoc: webhook.is_ad_hoc,
            condition: webhook.condition,
        }),
    })
}

fn text<'a>(row: &'a Row<'_>, at: usize) -> Result<&'a str, StoreError> {
    Ok(row.get_ref(at)?.as_str().map_err(anyhow::Error::from)?)
}

/// An id in a row.
pub(super) fn id<K>(row: &Row<'_>, at: usize) -> Result<model::Id<K>, StoreError> {
    let found = model::Id::parse(text(row, at)?);
    Ok(found.ok_or_else(|| anyhow::anyhow!("a row of a dispatch has something else where an id should be"))?)
}

fn time(row: &Row<'_>, at: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_millis))
}

fn status_of(code: i64) -> DispatchStatus {
    let status = usize::try_from(code).ok().and_then(|place| DispatchStatus::ALL.get(place));
    status.copied().unwrap_or(DispatchStatus::Failed)
}

#[cfg(test)]
pub(super) mod tests {
    use rusqlite::Connection;

    /// How a statement would be carried out.
    pub(in crate::embedded::webhooks) fn plan(sql: &str, values: usize) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::embedded::migrations::apply(&mut connection).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![0; values];
        let lines: Vec<String> =
            statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3)).unwrap().flatten().collect();
        lines.join("\n")
    }

    #[test]
    fn no_list_is_scanned_and_what_is_skipped_is_not_read() {
        for desc in [false, true] {
            let webhooks = ["?2 IS NULL", "actor_id = ?2", "task_id = ?2"];
            let webhooks = webhooks.map(|condition| plan(&super::webhooks_sql(condition, desc), 4));
            let dispatches = ["user_id = ?1", "webhook = ?1"];
            let dispatches = dispatches.map(|condition| plan(&super::dispatches_sql(condition, desc), 3));
            for plan in webhooks.iter().chain(&dispatches) {
                assert!(plan.contains("COVERING INDEX") && !plan.contains("SCAN"), "{plan}");
                // Only the page itself is sorted.
                assert!(plan.matches("TEMP B-TREE").count() <= 1, "{plan}");
            }
        }
    }
}
