//! Builds in SQLite. What only the look at one build needs (its definition, schema and README) stands apart from the rest,
//! and so does its source.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use model::{Actor, ActorId, Build, BuildId, JobStatus, Listed, Page, Source};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::actors::{self, bounds};
use super::db::{Sql as _, WriteTx};
use super::jobs::{Jobs, status_code};
use super::{doc, logs, webhooks};
use crate::{BuildChange, BuildFilter, BuildStore, JobLog, Noun, StoreError};

/// The builds of an embedded store.
#[derive(Debug)]
pub(super) struct Builds {
    jobs: Arc<Jobs>,
}

impl Builds {
    pub(super) fn new(jobs: Arc<Jobs>) -> Self {
        Self { jobs }
    }
}

#[async_trait]
impl BuildStore for Builds {
    async fn create(
        &self,
        actor: &ActorId,
        version_number: &str,
        source: Source,
        make: Box<dyn FnOnce(u32) -> Build + Send>,
    ) -> Result<Arc<Build>, StoreError> {
        let (actor, version, jobs) = (*actor, version_number.to_owned(), self.jobs.clone());
        let (_, source) = doc::pack(source).await?;
        self.jobs
            .core
            .db
            .grow(move |tx| {
                let mut actor = actors::read(tx, &actor)?.ok_or(StoreError::NotFound(Noun::Actor))?;
                let last = actor.last_build_of_version.entry(version).or_default();
                *last += 1;
                let mut build = make(*last);
                tx.run(
                    "INSERT INTO build (id, actor_id, owner_id, number, status, started_at, doc)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, '')",
                    params![
                        build.id.as_str(),
                        actor.id.as_str(),
                        actor.user_id.as_str(),
                        build.build_number,
                        status_code(build.status),
                        build.started_at.as_millis(),
                    ],
                )?;
                let k = tx.last_insert_rowid();
                let details = Details::take(&mut build);
                tx.run("UPDATE build SET doc = ?2 WHERE k = ?1", params![k, doc::write(&build)?])?;
                write_details(tx, k, &details)?;
                tx.run("INSERT INTO build_source (k, source) VALUES (?1, ?2)", params![k, source])?;
                actors::update(&jobs, tx, actor)?;
                details.put_into(&mut build);
                webhooks::build_changed(&jobs.core, tx, None, &build)?;
                Ok(cache_after_commit(&jobs, tx, build))
            })
            .await
    }

    async fn get(&self, id: &BuildId) -> Result<Option<Arc<Build>>, StoreError> {
        let db = &self.jobs.core.db;
        self.jobs
            .builds
            .get_or_read(id, || db.snapshot(|connection| Ok(read(connection, id)?.map(|(_, build)| Arc::new(build)))))
    }

    async fn find(&self, actor: &ActorId, number: &str) -> Result<Option<Arc<Build>>, StoreError> {
        let find = "SELECT id FROM build WHERE actor_id = ?1 AND number = ?2";
        let id: Option<String> = self
            .jobs
            .core
            .db
            .read(|connection| connection.one(find, params![actor.as_str(), number], |row| row.get(0)))?;
        match id.and_then(|id| BuildId::parse(&id)) {
            Some(id) => self.get(&id).await,
            None => Ok(None),
        }
    }

    async fn source(&self, id: &BuildId) -> Result<Option<Source>, StoreError> {
        let id = *id;
        self.jobs
            .core
            .db
            .snapshot_blocking(move |connection| {
                let source: Option<Vec<u8>> = connection.one(
                    "SELECT source FROM build_source JOIN build USING (k) WHERE build.id = ?1",
                    [id.as_str()],
                    |row| row.get(0),
                )?;
                source.map(|packed| doc::unpack(&packed)).transpose()
            })
            .await
    }

    async fn list(&self, filter: BuildFilter, page: Page) -> Result<Listed<Arc<Build>>, StoreError> {
        self.jobs.core.db.snapshot_blocking(move |connection| list(connection, filter, page)).await
    }

    async fn modify(&self, id: &BuildId, mut change: BuildChange) -> Result<Arc<Build>, StoreError> {
        let (id, jobs) = (*id, self.jobs.clone());
        self.jobs
            .core
            .db
            .write_checked(0, move |tx| {
                let (k, build) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Build))?;
                let actor = actors::read(tx, &build.actor_id)?;
                let (mut changed, mut changed_actor) = (build.clone(), actor.clone());
                if !change(&mut changed, changed_actor.as_mut()) {
                    return Ok(Arc::new(build));
                }
                let before = build.status;
                update(tx, k, build, &mut changed)?;
                webhooks::build_changed(&jobs.core, tx, Some(before), &changed)?;
                if let Some(changed_actor) = changed_actor
                    && actor.as_ref() != Some(&changed_actor)
                {
                    actors::update(&jobs, tx, changed_actor)?;
                }
                Ok(cache_after_commit(&jobs, tx, changed))
            })
            .await
    }

    async fn delete(&self, id: &BuildId) -> Result<(), StoreError> {
        let (id, jobs) = (*id, self.jobs.clone());
        let log = self
            .jobs
            .core
            .db
            .write_checked(0, move |tx| {
                let (_, build) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Build))?;
                if let Some(actor) = actors::read(tx, &build.actor_id)? {
                    untag(&jobs, tx, actor, &id)?;
                }
                delete(&jobs, tx, &id)
            })
            .await?;
        logs::remove_files(vec![log]).await;
        Ok(())
    }

    async fn live(&self) -> Result<Vec<Arc<Build>>, StoreError> {
        self.jobs
            .core
            .db
            .snapshot_blocking(|connection| {
                let live = "SELECT id FROM build WHERE status < 4 ORDER BY k";
                let ids: Vec<String> = connection.all(live, [], |row| row.get(0))?;
                let ids = ids.iter().filter_map(|id| BuildId::parse(id));
                let builds = ids.map(|id| Ok(read(connection, &id)?.map(|(_, build)| Arc::new(build))));
                Ok(builds.collect::<Result<Vec<_>, StoreError>>()?.into_iter().flatten().collect())
            })
            .await
    }
}

/// Deletes all builds of an Actor and returns the log files that are to be removed after the commit.
pub(super) fn delete_all(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, actor: &ActorId) -> Result<Vec<PathBuf>, StoreError> {
    let ids: Vec<String> = tx.all("SELECT id FROM build WHERE actor_id = ?1", [actor.as_str()], |row| row.get(0))?;
    ids.iter().filter_map(|id| BuildId::parse(id)).map(|id| delete(jobs, tx, &id)).collect()
}

/// What is read only with one build.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Details {
    actor_definition: Option<Box<RawValue>>,
    input_schema: Option<String>,
    readme: Option<String>,
}

impl Details {
    fn take(build: &mut Build) -> Self {
        Self {
            actor_definition: build.actor_definition.take(),
            input_schema: build.input_schema.take(),
            readme: build.readme.take(),
        }
    }

    fn put_into(self, build: &mut Build) {
        build.actor_definition = self.actor_definition;
        build.input_schema = self.input_schema;
        build.readme = self.readme;
    }

    fn is_empty(&self) -> bool {
        self.actor_definition.is_none() && self.input_schema.is_none() && self.readme.is_none()
    }

    fn is_same(&self, other: &Self) -> bool {
        let definition = |details: &Self| details.actor_definition.as_ref().map(|raw| raw.get().to_owned());
        self.input_schema == other.input_schema && self.readme == other.readme && definition(self) == definition(other)
    }
}

/// Reads a build past the cache, as a transaction must.
fn read(connection: &Connection, id: &BuildId) -> Result<Option<(i64, Build)>, StoreError> {
    let row = connection.one(
        "SELECT build.k, build.doc, build_details.doc FROM build LEFT JOIN build_details USING (k) WHERE id = ?1",
        [id.as_str()],
        |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?)),
    )?;
    let Some((k, text, details)) = row else { return Ok(None) };
    let mut build: Build = doc::read(&text)?;
    if let Some(details) = details {
        doc::read::<Details>(&details)?.put_into(&mut build);
    }
    Ok(Some((k, build)))
}

fn update(tx: &WriteTx<'_>, k: i64, mut before: Build, build: &mut Build) -> Result<(), StoreError> {
    let (old, new) = (Details::take(&mut before), Details::take(build));
    tx.run(
        "UPDATE build SET status = ?2, doc = ?3 WHERE k = ?1",
        params![k, status_code(build.status), doc::write(build)?],
    )?;
    if !new.is_same(&old) {
        write_details(tx, k, &new)?;
    }
    new.put_into(build);
    if build.status == JobStatus::Succeeded && before.status != JobStatus::Succeeded {
        let count = "UPDATE actor SET total_builds = total_builds + 1 WHERE id = ?1";
        tx.run(count, [build.actor_id.as_str()])?;
    }
    Ok(())
}

fn write_details(connection: &Connection, k: i64, details: &Details) -> Result<(), StoreError> {
    if details.is_empty() {
        connection.run("DELETE FROM build_details WHERE k = ?1", [k])?;
    } else {
        let put = "INSERT OR REPLACE INTO build_details (k, doc) VALUES (?1, ?2)";
        connection.run(put, params![k, doc::write(details)?])?;
    }
    Ok(())
}

/// Takes away the tags that point to a build (`BLD-10`).
fn untag(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, mut actor: Actor, build: &BuildId) -> Result<(), StoreError> {
    let tags = actor.tagged_builds.len();
    actor.tagged_builds.retain(|_, tagged| tagged.build_id != *build);
    if actor.tagged_builds.len() < tags {
        actors::update(jobs, tx, actor)?;
    }
    Ok(())
}

/// Deletes a build and returns the log file that is to be removed after the commit.
fn delete(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, id: &BuildId) -> Result<PathBuf, StoreError> {
    for sql in [
        "DELETE FROM build_source WHERE k = (SELECT k FROM build WHERE id = ?1)",
        "DELETE FROM build_details WHERE k = (SELECT k FROM build WHERE id = ?1)",
        "DELETE FROM build WHERE id = ?1",
    ] {
        tx.run(sql, [id.as_str()])?;
    }
    let log = logs::delete(&jobs.core, tx, &JobLog::Build(*id))?;
    let (jobs, id) = (jobs.clone(), *id);
    tx.after_commit(move || jobs.builds.remove(&id));
    Ok(log)
}

fn cache_after_commit(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, build: Build) -> Arc<Build> {
    let (jobs, build) = (jobs.clone(), Arc::new(build));
    let newest = build.clone();
    tx.after_commit(move || jobs.builds.set(newest.id, newest));
    build
}

fn list(connection: &Connection, filter: BuildFilter, page: Page) -> Result<Listed<Arc<Build>>, StoreError> {
    let (column, id) = match &filter {
        BuildFilter::OfActor(actor) => ("actor_id", actor.as_str()),
        BuildFilter::OfUser(user) => ("owner_id", user.as_str()),
    };
    let way = if page.desc { "DESC" } else { "ASC" };
    let total = connection
        .prepare_cached(&format!("SELECT count(*) FROM build WHERE {column} = ?1"))?
        .query_row([id], |row| row.get(0))?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT doc FROM build WHERE {column} = ?1 ORDER BY started_at {way}, id {way} LIMIT ?2 OFFSET ?3"
    ))?;
    let (limit, offset) = bounds(page);
    let mut rows = statement.query(params![id, limit, offset])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(Arc::new(doc::read(row.get_ref(0)?.as_str().map_err(anyhow::Error::from)?)?));
    }
    Ok(Listed { total, items })
}
