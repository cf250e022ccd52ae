//! Runs in SQLite: columns to search by, and the run as a document.

mod list;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::{JobStatus, Listed, Origin, Page, Run, RunId, RunSummary, Storage, Timestamp, Used, UserId, Webhook};
use rusqlite::{Connection, params};

use super::core::Core;
use super::db::{Sql as _, WriteTx};
use super::jobs::{Jobs, status_code};
use super::records::Prepared;
use super::{doc, front, logs, queues, storages, tasks, webhooks};
use crate::{JobLog, NewRecord, Noun, RunChange, RunFilter, RunStore, StoreError};

const DAY_MILLIS: i64 = 86_400_000;

/// The runs of an embedded store.
#[derive(Debug)]
pub(super) struct Runs {
    jobs: Arc<Jobs>,
}

impl Runs {
    pub(super) fn new(jobs: Arc<Jobs>) -> Self {
        Self { jobs }
    }

    fn core(&self) -> &Arc<Core> {
        &self.jobs.core
    }
}

#[async_trait]
impl RunStore for Runs {
    async fn create_with_webhooks(
        &self,
        run: Run,
        storages: Vec<Storage>,
        input: Option<(NewRecord, Bytes)>,
        webhooks: Vec<Webhook>,
    ) -> Result<Arc<Run>, StoreError> {
        let input = match input {
            Some((record, body)) => Some(Prepared::whole(self.core(), record, body).await?),
            None => None,
        };
        let jobs = self.jobs.clone();
        let insert = move |tx: &mut WriteTx<'_>| {
            if tx.one("SELECT 1 FROM run WHERE id = ?1", [run.id.as_str()], |_| Ok(()))?.is_some() {
                return Err(StoreError::NameTaken);
            }
            let mut store = None;
            for storage in storages {
                let id = storage.id;
                let k = storages::insert(&jobs.core, tx, Arc::new(storage))?;
                if id == run.storages.key_value_store {
                    store = Some(k);
                }
            }
            if let Some(input) = input {
                input.put(&jobs.core, tx, store.ok_or(StoreError::NotFound(Noun::Storage))?)?;
            }
            for webhook in webhooks {
                webhooks::insert(tx, &webhook)?;
            }
            insert(tx, &run)?;
            webhooks::run_changed(&jobs.core, tx, None, &run)?;
            Ok(cache_after_commit(&jobs, tx, run))
        };
        self.core().db.grow(insert).await
    }

    async fn get(&self, id: &RunId) -> Result<Option<Arc<Run>>, StoreError> {
        let db = &self.core().db;
        self.jobs.runs.get_or_read(id, || db.read(|connection| Ok(read(connection, id)?.map(|(_, run)| Arc::new(run)))))
    }

    async fn list(&self, filter: RunFilter, page: Page) -> Result<Listed<RunSummary>, StoreError> {
        let jobs = self.jobs.clone();
        self.core()
            .db
            .snapshot_blocking(move |connection| {
                let total = list::total(connection, &filter)?;
                Ok(Listed { total, items: list::page(&jobs, connection, &filter, page, |run| (&*run).into())? })
            })
            .await
    }

    async fn last(&self, filter: RunFilter) -> Result<Option<Arc<Run>>, StoreError> {
        let page = Page { offset: 0, limit: 1, desc: true };
        let runs =
            self.core().db.snapshot(|connection| list::page(&self.jobs, connection, &filter, page, |run| run))?;
        Ok(runs.into_iter().next())
    }

    async fn modify(&self, id: &RunId, change: RunChange) -> Result<Arc<Run>, StoreError> {
        let (id, jobs) = (*id, self.jobs.clone());
        self.core()
            .db
            .write_checked(0, move |tx| {
                let (k, run) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Run))?;
                Ok(modify(&jobs, tx, k, run, change)?.0)
            })
            .await
    }

    async fn modify_once(
        &self,
        id: &RunId,
        key: &str,
        remember_from: Timestamp,
        change: RunChange,
    ) -> Result<Arc<Run>, StoreError> {
        let (id, key, jobs) = (*id, key.to_owned(), self.jobs.clone());
        self.core()
            .db
            .write_checked(key.len(), move |tx| {
                let (k, run) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Run))?;
                let used = "SELECT 1 FROM run_once WHERE run_id = ?1 AND key = ?2 AND at >= ?3";
                if tx.one(used, params![id.as_str(), key, remember_from.as_millis()], |_| Ok(()))?.is_some() {
                    return Ok(Arc::new(run));
                }
                let (run, kept) = modify(&jobs, tx, k, run, change)?;
                if kept {
                    let forget = "DELETE FROM run_once WHERE run_id = ?1 AND at < ?2";
                    tx.run(forget, params![id.as_str(), remember_from.as_millis()])?;
                    let remember = "INSERT OR REPLACE INTO run_once (run_id, key, at) VALUES (?1, ?2, ?3)";
                    tx.run(remember, params![id.as_str(), key, tx.now().as_millis()])?;
                }
                Ok(run)
            })
            .await
    }

    async fn delete(&self, id: &RunId) -> Result<(), StoreError> {
        let (id, jobs) = (*id, self.jobs.clone());
        let delete = move |tx: &mut WriteTx<'_>| {
            let (k, run) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Run))?;
            tx.run("DELETE FROM run WHERE k = ?1", [k])?;
            tx.run("DELETE FROM run_once WHERE run_id = ?1", [id.as_str()])?;
            count(tx, &run, -1)?;
            tx.run("DELETE FROM rq_run WHERE run = ?1", [id.as_str()])?;
            storages::delete_of_run(&jobs.core, tx, &id)?;
            webhooks::forget_run(tx, &id)?;
            let log = logs::delete(&jobs.core, tx, &JobLog::Run(id))?;
            tx.after_commit(move || jobs.runs.remove(&id));
            Ok(log)
        };
        // What it locked was given back when it ended, unless that failed.
        queues::release_run(self.core(), &id).await?;
        let log = self.core().db.write(delete).await?;
        logs::remove_files(vec![log]).await;
        Ok(())
    }

    async fn used(&self, user: &UserId, from: Timestamp, to: Timestamp) -> Result<Vec<(Timestamp, Used)>, StoreError> {
        let (first, last) = (day_of(from), day_of(to));
        let read = "SELECT day, doc FROM usage_day WHERE user_id = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY day";
        let rows: Vec<(i64, String)> = self.core().db.read(|connection| {
            connection.all(read, params![user.as_str(), first, last], |row| Ok((row.get(0)?, row.get(1)?)))
        })?;
        rows.iter().map(|(day, text)| Ok((Timestamp::from_millis(day * DAY_MILLIS), doc::read(text)?))).collect()
    }

    async fn old(
        &self,
        user: &UserId,
        started_before: Timestamp,
        keep: u64,
        limit: u64,
    ) -> Result<Vec<RunId>, StoreError> {
        let newest = RunFilter { user: Some(*user), ..RunFilter::default() };
        let finished = RunFilter {
            statuses: JobStatus::ALL.into_iter().filter(|status| status.is_terminal()).collect(),
            started_before: Some(started_before),
            ..newest.clone()
        };
        self.core().db.snapshot(|connection| {
            let ids = |filter, page| {
                let runs: Vec<RunSummary> = list::page(&self.jobs, connection, filter, page, |run| (&*run).into())?;
                Ok::<_, StoreError>(runs.into_iter().map(|run| run.id))
            };
            let kept: Vec<RunId> = ids(&newest, Page { offset: 0, limit: keep, desc: true })?.collect();
            let page = Page { offset: 0, limit: limit.saturating_add(keep), desc: false };
            let mut ids: Vec<RunId> = ids(&finished, page)?.filter(|id| !kept.contains(id)).collect();
            ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(ids)
        })
    }

    async fn live(&self) -> Result<Vec<Arc<Run>>, StoreError> {
        self.core()
            .db
            .snapshot_blocking(|connection| {
                let live = "SELECT doc FROM run WHERE status < 4 ORDER BY k";
                let docs: Vec<String> = connection.all(live, [], |row| row.get(0))?;
                docs.iter().map(|text| doc::read(text).map(Arc::new)).collect()
            })
            .await
    }
}

/// Reads a run past the cache, as a transaction must.
fn read(connection: &Connection, id: &RunId) -> Result<Option<(i64, Run)>, StoreError> {
    let row = connection.one("SELECT k, doc FROM run WHERE id = ?1", [id.as_str()], |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?))
    })?;
    let Some((k, text)) = row else { return Ok(None) };
    Ok(Some((k, doc::read(&text)?)))
}

fn insert(tx: &WriteTx<'_>, run: &Run) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO run (id, user_id, actor_id, task_id, status, started_at, origin, doc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            run.id.as_str(),
            run.user_id.as_str(),
            run.actor_id.as_str(),
            run.task_id.as_ref().map(|task| task.as_str()),
            status_code(run.status),
            run.started_at.as_millis(),
            origin_code(run.meta.origin),
            doc::write(run)?,
        ],
    )?;
    let new_users = new_users(tx, run)?;
    count(tx, run, 1)?;
    note_use(tx, &run.user_id, &run.used())?;
    tx.run(
        "UPDATE actor SET total_runs = total_runs + 1, total_users = total_users + ?3,
         last_run_at = max(coalesce(last_run_at, ?2), ?2) WHERE id = ?1",
        params![run.actor_id.as_str(), run.started_at.as_millis(), new_users],
    )?;
    front::count_use(tx, &run.actor_id, 1, new_users)?;
    tasks::count_start(tx, run)
}

/// Lets `change` work on a run and writes what it wants to keep. Returns the newest state and whether it was kept.
fn modify(
    jobs: &Arc<Jobs>,
    tx: &mut WriteTx<'_>,
    k: i64,
    run: Run,
    mut change: RunChange,
) -> Result<(Arc<Run>, bool), StoreError> {
    let mut changed = run.clone();
    if !change(&mut changed) {
        return Ok((Arc::new(run), false));
    }
    let (before, after) = (run.used(), changed.used());
    if before != after {
        let events_usd = (after.events_usd - before.events_usd).max(0.0);
        note_use(tx, &changed.user_id, &Used { usage: after.usage.since(&before.usage), events_usd })?;
    }
    let text = doc::write(&changed)?;
    if (changed.status, changed.actor_id, changed.started_at) == (run.status, run.actor_id, run.started_at) {
        // The usual change touches no index.
        tx.run("UPDATE run SET doc = ?2 WHERE k = ?1", params![k, text])?;
    } else {
        tx.run(
            "UPDATE run SET doc = ?2, status = ?3, actor_id = ?4, started_at = ?5 WHERE k = ?1",
            params![k, text, status_code(changed.status), changed.actor_id.as_str(), changed.started_at.as_millis()],
        )?;
        if changed.actor_id != run.actor_id {
            let new_users = new_users(tx, &changed)?;
            let add = "UPDATE actor SET total_users = total_users + ?2 WHERE id = ?1";
            tx.run(add, params![changed.actor_id.as_str(), new_users])?;
            front::count_use(tx, &changed.actor_id, 0, new_users)?;
        }
        count(tx, &run, -1)?;
        count(tx, &changed, 1)?;
        webhooks::run_changed(&jobs.core, tx, Some(run.status), &changed)?;
    }
    Ok((cache_after_commit(jobs, tx, changed), true))
}

/// Adds to what a user used today.
fn note_use(tx: &WriteTx<'_>, user: &UserId, used: &Used) -> Result<(), StoreError> {
    if *used == Used::default() {
        return Ok(());
    }
    let day = day_of(tx.now());
    let read = "SELECT doc FROM usage_day WHERE user_id = ?1 AND day = ?2";
    let text: Option<String> = tx.one(read, params![user.as_str(), day], |row| row.get(0))?;
    let mut sum: Used = text.map(|text| doc::read(&text)).transpose()?.unwrap_or_default();
    sum.add(used);
    let write = "INSERT OR REPLACE INTO usage_day (user_id, day, doc) VALUES (?1, ?2, ?3)";
    tx.run(write, params![user.as_str(), day, doc::write(&sum)?])?;
    Ok(())
}

fn day_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(DAY_MILLIS)
}

/// 1 if the user of a run has never used its Actor, which is noted if it is another user's. The row that tells stays when runs
/// are deleted.
fn new_users(connection: &Connection, run: &Run) -> Result<i64, StoreError> {
    let used = "SELECT 1 FROM run_count WHERE user_id = ?1 AND actor_id = ?2";
    let is_known = connection.one(used, params![run.user_id.as_str(), run.actor_id.as_str()], |_| Ok(()))?.is_some();
    if !is_known {
        let note = "INSERT OR IGNORE INTO actor_use (user_id, actor_id)
                    SELECT ?1, id FROM actor WHERE id = ?2 AND user_id <> ?1";
        connection.run(note, params![run.user_id.as_str(), run.actor_id.as_str()])?;
    }
    Ok(i64::from(!is_known))
}

/// Counts a run in or out.
fn count(connection: &Connection, run: &Run, by: i64) -> Result<(), StoreError> {
    connection.run(
        "INSERT INTO run_count (user_id, actor_id, status, n) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (user_id, actor_id, status) DO UPDATE SET n = n + ?4",
        params![run.user_id.as_str(), run.actor_id.as_str(), status_code(run.status), by],
    )?;
    list::count(connection, run, by)?;
    tasks::count_run(connection, run, by)
}

fn cache_after_commit(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, run: Run) -> Arc<Run> {
    let (jobs, run) = (jobs.clone(), Arc::new(run));
    let newest = run.clone();
    tx.after_commit(move || jobs.runs.set(newest.id, newest));
    run
}

/// The number of an origin in rows.
fn origin_code(origin: Origin) -> i64 {
    Origin::ALL.iter().position(|other| *other == origin).map_or(i64::MAX, |place| place as i64)
}
