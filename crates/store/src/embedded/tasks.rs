//! Tasks in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use model::{ActorId, JsonObject, Listed, Page, Run, Task, TaskId, UserId, fold};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use serde::Deserialize;

use super::actors;
use super::blocks::from_nearer_end;
use super::db::{Sql as _, WriteTx};
use super::doc;
use super::jobs::{Jobs, status_code};
use super::owned::{self, Owned};
use super::webhooks;
use crate::{ListedTask, Noun, StoreError, TaskChange, TaskStore};

/// Tasks with longer inputs are not kept in memory.
const LONGEST_CACHED_INPUT: usize = 64 * 1024;

/// The tasks of an embedded store.
#[derive(Debug)]
pub(super) struct Tasks {
    jobs: Arc<Jobs>,
}

impl Tasks {
    pub(super) fn new(jobs: Arc<Jobs>) -> Self {
        Self { jobs }
    }
}

#[async_trait]
impl TaskStore for Tasks {
    async fn create(&self, task: Task) -> Result<Arc<Task>, StoreError> {
        let (jobs, text) = (self.jobs.clone(), doc::write(&task)?);
        let weight = text.len() + task.input.as_ref().map_or(0, |input| input.as_str().len());
        self.jobs
            .core
            .db
            .grow_checked(weight, move |tx| {
                actors::read(tx, &task.actor_id)?.ok_or(StoreError::NotFound(Noun::Actor))?;
                check_name(tx, &task)?;
                tx.run(
                    "INSERT INTO task (id, user_id, actor_id, name, created_at, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        task.id.as_str(),
                        task.user_id.as_str(),
                        task.actor_id.as_str(),
                        fold(&task.name),
                        task.created_at.as_millis(),
                        text
                    ],
                )?;
                write_input(tx, tx.last_insert_rowid(), task.input.as_ref())?;
                owned::count(tx, &task.user_id, Owned::Tasks, 1)?;
                Ok(cache_after_commit(&jobs, tx, task))
            })
            .await
    }

    async fn get(&self, id: &TaskId) -> Result<Option<Arc<Task>>, StoreError> {
        let epoch = match self.jobs.tasks.get(id) {
            Ok(task) => return Ok(Some(task)),
            Err(epoch) => epoch,
        };
        let read = self.jobs.core.db.snapshot(|connection| read(connection, id))?;
        let Some(task) = read.map(|(_, task)| Arc::new(task)) else { return Ok(None) };
        if may_be_cached(&task) {
            self.jobs.tasks.fill(epoch, *id, task.clone());
        }
        Ok(Some(task))
    }

    async fn find(&self, user: &UserId, name: &str) -> Result<Option<Arc<Task>>, StoreError> {
        match self.jobs.core.db.read(|connection| find_id(connection, user, name))? {
            Some(id) => self.get(&id).await,
            None => Ok(None),
        }
    }

    async fn total_runs(&self, id: &TaskId) -> Result<u64, StoreError> {
        let read = "SELECT total_runs FROM task WHERE id = ?1";
        let total = self.jobs.core.db.read(|connection| connection.one(read, [id.as_str()], |row| row.get(0)))?;
        total.ok_or(StoreError::NotFound(Noun::Task))
    }

    async fn count(&self, user: &UserId) -> Result<u64, StoreError> {
        self.jobs.core.db.read(|connection| owned::total(connection, user, Owned::Tasks))
    }

    async fn list(&self, user: &UserId, page: Page) -> Result<Listed<ListedTask>, StoreError> {
        let user = *user;
        self.jobs
            .core
            .db
            .snapshot_blocking(move |connection| {
                let total = owned::total(connection, &user, Owned::Tasks)?;
                let (desc, limit, offset) = from_nearer_end(page, total);
                let list = match desc {
                    true => {
                        "SELECT task.doc, task.total_runs, actor.doc FROM task LEFT JOIN actor ON actor.id = task.actor_id
                         WHERE task.user_id = ?1 ORDER BY task.created_at DESC, task.id DESC LIMIT ?2 OFFSET ?3"
                    }
                    false => {
                        "SELECT task.doc, task.total_runs, actor.doc FROM task LEFT JOIN actor ON actor.id = task.actor_id
                         WHERE task.user_id = ?1 ORDER BY task.created_at, task.id LIMIT ?2 OFFSET ?3"
                    }
                };
                let rows = connection.all(list, params![user.as_str(), limit, offset], |row| Ok(listed(row)))?;
                let mut items = rows.into_iter().collect::<Result<Vec<_>, StoreError>>()?;
                if desc != page.desc {
                    items.reverse();
                }
                Ok(Listed { total, items })
            })
            .await
    }

    async fn modify(&self, id: &TaskId, mut change: TaskChange) -> Result<Arc<Task>, StoreError> {
        let (id, jobs) = (*id, self.jobs.clone());
        self.jobs
            .core
            .db
            .write_checked(0, move |tx| {
                let (k, task) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Task))?;
                let mut changed = task.clone();
                if !change(&mut changed) {
                    return Ok(Arc::new(task));
                }
                (changed.user_id, changed.actor_id) = (task.user_id, task.actor_id);
                check_name(tx, &changed)?;
                tx.run(
                    "UPDATE task SET name = ?2, doc = ?3 WHERE k = ?1",
                    params![k, fold(&changed.name), doc::write(&changed)?],
                )?;
                if changed.input != task.input {
                    write_input(tx, k, changed.input.as_ref())?;
                }
                Ok(cache_after_commit(&jobs, tx, changed))
            })
            .await
    }

    async fn delete(&self, id: &TaskId) -> Result<(), StoreError> {
        let (id, jobs) = (*id, self.jobs.clone());
        self.jobs
            .core
            .db
            .write_checked(0, move |tx| {
                let (k, task) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Task))?;
                delete(&jobs, tx, k, id, &task.user_id)
            })
            .await
    }
}

/// Deletes every task of an Actor (`ACT-8`).
pub(super) fn delete_all(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, actor: &ActorId) -> Result<(), StoreError> {
    let tasks: Vec<(i64, String, String)> =
        tx.all("SELECT k, id, user_id FROM task WHERE actor_id = ?1", [actor.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    for (k, id, user) in tasks {
        if let (Some(id), Some(user)) = (TaskId::parse(&id), UserId::parse(&user)) {
            delete(jobs, tx, k, id, &user)?;
        }
    }
    Ok(())
}

/// Counts a new run of a task in its statistics (`START-22`).
pub(super) fn count_start(connection: &Connection, run: &Run) -> Result<(), StoreError> {
    if let Some(task) = &run.task_id {
        connection.run("UPDATE task SET total_runs = total_runs + 1 WHERE id = ?1", [task.as_str()])?;
    }
    Ok(())
}

/// Counts a run of a task in its present status in or out.
pub(super) fn count_run(connection: &Connection, run: &Run, by: i64) -> Result<(), StoreError> {
    if let Some(task) = &run.task_id {
        connection.run(
            "INSERT INTO task_run_count (user_id, task_id, status, n) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (task_id, user_id, status) DO UPDATE SET n = n + ?4",
            params![run.user_id.as_str(), task.as_str(), status_code(run.status), by],
        )?;
    }
    Ok(())
}

/// A row of a list.
fn listed(row: &Row<'_>) -> Result<ListedTask, StoreError> {
    /// What a list tells of the Actor.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        user_id: UserId,
        name: String,
    }

    let actor = match row.get_ref(2)? {
        ValueRef::Null => None,
        _ => Some(doc::column::<Named>(row, 2)??),
    };
    Ok(ListedTask {
        task: doc::column(row, 0)??,
        total_runs: row.get(1)?,
        actor: actor.map(|actor| (actor.user_id, actor.name)),
    })
}

fn delete(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, k: i64, id: TaskId, user: &UserId) -> Result<(), StoreError> {
    tx.run("DELETE FROM task WHERE k = ?1", [k])?;
    tx.run("DELETE FROM task_input WHERE k = ?1", [k])?;
    webhooks::delete_of_task(tx, &id)?;
    owned::count(tx, user, Owned::Tasks, -1)?;
    let jobs = jobs.clone();
    tx.after_commit(move || jobs.tasks.remove(&id));
    Ok(())
}

/// Reads a task past the cache, as a transaction must.
fn read(connection: &Connection, id: &TaskId) -> Result<Option<(i64, Task)>, StoreError> {
    let row = connection.one(
        "SELECT task.k, task.doc, task_input.body FROM task LEFT JOIN task_input USING (k) WHERE task.id = ?1",
        [id.as_str()],
        |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?)),
    )?;
    let Some((k, text, input)) = row else { return Ok(None) };
    let mut task: Task = doc::read(&text)?;
    task.input = input.map(|input| doc::read(&input)).transpose()?;
    Ok(Some((k, task)))
}

fn write_input(connection: &Connection, k: i64, input: Option<&JsonObject>) -> Result<(), StoreError> {
    match input {
        Some(input) => {
            connection.run("INSERT OR REPLACE INTO task_input (k, body) VALUES (?1, ?2)", params![k, input.as_str()])?
        }
        None => connection.run("DELETE FROM task_input WHERE k = ?1", [k])?,
    };
    Ok(())
}

/// Fails if another task of the owner has the name (`ID-9`).
fn check_name(connection: &Connection, task: &Task) -> Result<(), StoreError> {
    match find_id(connection, &task.user_id, &task.name)? {
        Some(other) if other != task.id => Err(StoreError::NameTaken),
        _ => Ok(()),
    }
}

fn find_id(connection: &Connection, user: &UserId, name: &str) -> Result<Option<TaskId>, StoreError> {
    let find = "SELECT id FROM task WHERE user_id = ?1 AND name = ?2";
    let id = connection.one(find, params![user.as_str(), fold(name)], |row| row.get::<_, String>(0))?;
    Ok(id.and_then(|id| TaskId::parse(&id)))
}

fn may_be_cached(task: &Task) -> bool {
    task.input.as_ref().is_none_or(|input| input.as_str().len() <= LONGEST_CACHED_INPUT)
}

fn cache_after_commit(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, task: Task) -> Arc<Task> {
    let (jobs, task) = (jobs.clone(), Arc::new(task));
    let newest = task.clone();
    tx.after_commit(move || match may_be_cached(&newest) {
        true => jobs.tasks.set(newest.id, newest),
        false => jobs.tasks.remove(&newest.id),
    });
    task
}
