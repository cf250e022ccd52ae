//! Actors and their versions in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use model::{Actor, ActorId, ActorStats, Listed, Page, Timestamp, UserId, Version, fold};
use rusqlite::{Connection, Row, ToSql, params};

use super::db::{Sql as _, WriteTx};
use super::jobs::Jobs;
use super::{builds, doc, front, logs, tasks, webhooks};
use crate::{ActorChange, ActorStore, FrontFilter, Noun, StoreError, VersionChange};

/// The Actors of an embedded store.
#[derive(Debug)]
pub(super) struct Actors {
    jobs: Arc<Jobs>,
}

impl Actors {
    pub(super) fn new(jobs: Arc<Jobs>) -> Self {
        Self { jobs }
    }
}

#[async_trait]
impl ActorStore for Actors {
    async fn create(&self, actor: Actor, versions: Vec<Version>) -> Result<Arc<Actor>, StoreError> {
        let (actor, versions, jobs) = (Arc::new(actor), pack_all(versions).await?, self.jobs.clone());
        let text = doc::write(&*actor)?;
        let weight = text.len() + versions.iter().map(|version| version.doc.len()).sum::<usize>();
        self.jobs
            .core
            .db
            .write_checked(weight, move |tx| {
                check_name(tx, &actor)?;
                tx.run(
                    "INSERT INTO actor (id, user_id, name, public, created_at, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        actor.id.as_str(),
                        actor.user_id.as_str(),
                        fold(&actor.name),
                        actor.is_public,
                        actor.created_at.as_millis(),
                        text
                    ],
                )?;
                insert_versions(tx, &actor.id, &versions)?;
                front::note(tx, &actor)?;
                let created = actor.clone();
                tx.after_commit(move || jobs.actors.set(created.id, created));
                Ok(actor)
            })
            .await
    }

    async fn get(&self, id: &ActorId) -> Result<Option<Arc<Actor>>, StoreError> {
        let db = &self.jobs.core.db;
        self.jobs.actors.get_or_read(id, || db.read(|connection| Ok(read(connection, id)?.map(Arc::new))))
    }

    async fn find(&self, user: &UserId, name: &str) -> Result<Option<Arc<Actor>>, StoreError> {
        let id = self.jobs.core.db.read(|connection| find_id(connection, user, name))?;
        match id {
            Some(id) => self.get(&id).await,
            None => Ok(None),
        }
    }

    async fn stats(&self, id: &ActorId) -> Result<ActorStats, StoreError> {
        let read = "SELECT total_builds, total_runs, last_run_at, total_users FROM actor WHERE id = ?1";
        let row = self.jobs.core.db.read(|connection| connection.one(read, [id.as_str()], stats))?;
        row.ok_or(StoreError::NotFound(Noun::Actor))
    }

    async fn list(
        &self,
        user: &UserId,
        only_own: bool,
        by_last_run: bool,
        page: Page,
    ) -> Result<Listed<(Arc<Actor>, ActorStats)>, StoreError> {
        let user = *user;
        self.jobs
            .core
            .db
            .snapshot_blocking(move |connection| list(connection, &user, only_own, by_last_run, page))
            .await
    }

    async fn front(
        &self,
        wanted: FrontFilter,
        page: Page,
        now: Timestamp,
    ) -> Result<Listed<(Arc<Actor>, ActorStats)>, StoreError> {
        front::list(&self.jobs.core.db, wanted, page, now).await
    }

    async fn modify(&self, id: &ActorId, mut change: ActorChange) -> Result<Arc<Actor>, StoreError> {
        let (id, jobs) = (*id, self.jobs.clone());
        self.jobs
            .core
            .db
            .write_checked(0, move |tx| {
                let actor = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Actor))?;
                let mut changed = actor.clone();
                if !change(&mut changed) {
                    return Ok(Arc::new(actor));
                }
                check_name(tx, &changed)?;
                update(&jobs, tx, changed)
            })
            .await
    }

    async fn delete(&self, id: &ActorId) -> Result<(), StoreError> {
        let (id, jobs) = (*id, self.jobs.clone());
        let log_files = self
            .jobs
            .core
            .db
            .write_checked(0, move |tx| {
                read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Actor))?;
                tx.run("DELETE FROM actor WHERE id = ?1", [id.as_str()])?;
                front::remove(tx, &id)?;
                tx.run("DELETE FROM version WHERE actor_id = ?1", [id.as_str()])?;
                tasks::delete_all(&jobs, tx, &id)?;
                let log_files = builds::delete_all(&jobs, tx, &id)?;
                webhooks::delete_of_actor(tx, &id)?;
                tx.after_commit(move || jobs.actors.remove(&id));
                Ok(log_files)
            })
            .await?;
        logs::remove_files(log_files).await;
        Ok(())
    }

    async fn versions(&self, id: &ActorId) -> Result<Vec<Version>, StoreError> {
        let id = *id;
        self.jobs
            .core
            .db
            .snapshot_blocking(move |connection| {
                let list = "SELECT doc FROM version WHERE actor_id = ?1 ORDER BY r";
                let docs: Vec<Vec<u8>> = connection.all(list, [id.as_str()], |row| row.get(0))?;
                docs.iter().map(|packed| doc::unpack(packed)).collect()
            })
            .await
    }

    async fn version(&self, id: &ActorId, number: &str) -> Result<Option<Version>, StoreError> {
        Ok(self.read_version(id, number).await?.map(|stored| stored.version))
    }

    async fn create_version(&self, id: &ActorId, version: Version, now: Timestamp) -> Result<(), StoreError> {
        let (id, jobs, packed) = (*id, self.jobs.clone(), Packed::of(version).await?);
        self.jobs
            .core
            .db
            .write_checked(packed.doc.len(), move |tx| {
                let actor = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Actor))?;
                let there = "SELECT 1 FROM version WHERE actor_id = ?1 AND number = ?2";
                if tx.one(there, params![id.as_str(), packed.number], |_| Ok(()))?.is_some() {
                    return Err(StoreError::NameTaken);
                }
                insert_versions(tx, &id, &[packed])?;
                touch(&jobs, tx, actor, now)
            })
            .await
    }

    async fn modify_version(
        &self,
        id: &ActorId,
        number: &str,
        mut change: VersionChange,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        // Sources can be long: they are taken apart and put together here, and the writer only checks that nobody was faster.
        loop {
            let stored = self.read_version(id, number).await?.ok_or(StoreError::NotFound(Noun::Version))?;
            let mut changed = stored.version.clone();
            if !change(&mut changed) {
                return Ok(stored.version);
            }
            changed.version_number = stored.version.version_number;
            let (changed, packed) = doc::pack(changed).await?;
            let (id, jobs) = (*id, self.jobs.clone());
            let was_first = self
                .jobs
                .core
                .db
                .write_checked(packed.len(), move |tx| {
                    let actor = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Actor))?;
                    let update = "UPDATE version SET doc = ?3, revision = ?2 + 1 WHERE r = ?1 AND revision = ?2";
                    if tx.run(update, params![stored.r, stored.revision, packed])? == 0 {
                        return Ok(false);
                    }
                    touch(&jobs, tx, actor, now)?;
                    Ok(true)
                })
                .await?;
            if was_first {
                return Ok(changed);
            }
        }
    }

    async fn delete_version(&self, id: &ActorId, number: &str, now: Timestamp) -> Result<(), StoreError> {
        let (id, jobs, number) = (*id, self.jobs.clone(), number.to_owned());
        self.jobs
            .core
            .db
            .write_checked(0, move |tx| {
                let actor = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Actor))?;
                let delete = "DELETE FROM version WHERE actor_id = ?1 AND number = ?2";
                if tx.run(delete, params![id.as_str(), number])? == 0 {
                    return Err(StoreError::NotFound(Noun::Version));
                }
                touch(&jobs, tx, actor, now)
            })
            .await
    }

    async fn replace_versions(&self, id: &ActorId, versions: Vec<Version>, now: Timestamp) -> Result<(), StoreError> {
        let (id, jobs, versions) = (*id, self.jobs.clone(), pack_all(versions).await?);
        let weight = versions.iter().map(|version| version.doc.len()).sum();
        self.jobs
            .core
            .db
            .write_checked(weight, move |tx| {
                let actor = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Actor))?;
                tx.run("DELETE FROM version WHERE actor_id = ?1", [id.as_str()])?;
                insert_versions(tx, &id, &versions)?;
                touch(&jobs, tx, actor, now)
            })
            .await
    }
}

impl Actors {
    async fn read_version(&self, id: &ActorId, number: &str) -> Result<Option<StoredVersion>, StoreError> {
        let (id, number) = (*id, number.to_owned());
        self.jobs
            .core
            .db
            .snapshot_blocking(move |connection| {
                let row = connection.one(
                    "SELECT r, revision, doc FROM version WHERE actor_id = ?1 AND number = ?2",
                    params![id.as_str(), number],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?)),
                )?;
                let Some((r, revision, packed)) = row else { return Ok(None) };
                Ok(Some(StoredVersion { r, revision, version: doc::unpack(&packed)? }))
            })
            .await
    }
}

struct StoredVersion {
    r: i64,
    revision: i64,
    version: Version,
}

/// A version on its way into its row.
struct Packed {
    number: String,
    doc: Vec<u8>,
}

impl Packed {
    async fn of(version: Version) -> Result<Self, StoreError> {
        let (version, doc) = doc::pack(version).await?;
        Ok(Self { number: version.version_number, doc })
    }
}

async fn pack_all(versions: Vec<Version>) -> Result<Vec<Packed>, StoreError> {
    let mut packed = Vec::with_capacity(versions.len());
    for version in versions {
        packed.push(Packed::of(version).await?);
    }
    Ok(packed)
}

fn insert_versions(connection: &Connection, id: &ActorId, versions: &[Packed]) -> Result<(), StoreError> {
    for version in versions {
        // Of two that carry the same number, the later is meant.
        connection.run(
            "INSERT INTO version (actor_id, number, doc) VALUES (?1, ?2, ?3)
             ON CONFLICT (actor_id, number) DO UPDATE SET doc = excluded.doc",
            params![id.as_str(), version.number, version.doc],
        )?;
    }
    Ok(())
}

/// Reads an Actor past the cache, as a transaction must.
pub(super) fn read(connection: &Connection, id: &ActorId) -> Result<Option<Actor>, StoreError> {
    let text: Option<String> =
        connection.one("SELECT doc FROM actor WHERE id = ?1", [id.as_str()], |row| row.get(0))?;
    text.map(|text| doc::read(&text)).transpose()
}

/// Writes what has become of an Actor.
pub(super) fn update(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, actor: Actor) -> Result<Arc<Actor>, StoreError> {
    tx.run(
        "UPDATE actor SET name = ?2, public = ?3, doc = ?4 WHERE id = ?1",
        params![actor.id.as_str(), fold(&actor.name), actor.is_public, doc::write(&actor)?],
    )?;
    front::note(tx, &actor)?;
    let (jobs, actor) = (jobs.clone(), Arc::new(actor));
    let updated = actor.clone();
    tx.after_commit(move || jobs.actors.set(updated.id, updated));
    Ok(actor)
}

/// Notes that the content of an Actor has changed (`ACT-4`).
fn touch(jobs: &Arc<Jobs>, tx: &mut WriteTx<'_>, mut actor: Actor, now: Timestamp) -> Result<(), StoreError> {
    actor.modified_at = actor.modified_at.max(now);
    update(jobs, tx, actor)?;
    Ok(())
}

/// Fails if another Actor of the owner has the name (`ID-9`).
fn check_name(connection: &Connection, actor: &Actor) -> Result<(), StoreError> {
    match find_id(connection, &actor.user_id, &actor.name)? {
        Some(other) if other != actor.id => Err(StoreError::NameTaken),
        _ => Ok(()),
    }
}

fn find_id(connection: &Connection, user: &UserId, name: &str) -> Result<Option<ActorId>, StoreError> {
    let find = "SELECT id FROM actor WHERE user_id = ?1 AND name = ?2";
    let id = connection.one(find, params![user.as_str(), fold(name)], |row| row.get::<_, String>(0))?;
    Ok(id.and_then(|id| ActorId::parse(&id)))
}

/// The user's own Actors and others that the user has run and may still see (`LIST-6`, `ACT-14`).
fn list(
    connection: &Connection,
    user: &UserId,
    only_own: bool,
    by_last_run: bool,
    page: Page,
) -> Result<Listed<(Arc<Actor>, ActorStats)>, StoreError> {
    const USED: &str = "public AND id IN (SELECT actor_id FROM actor_use WHERE actor_use.user_id = ?1)";
    // NULL comes before every time: an Actor never run counts as the oldest.
    let by = if by_last_run { "last_run_at" } else { "created_at" };
    let way = if page.desc { "DESC" } else { "ASC" };
    let count = |condition: &str| -> Result<u64, StoreError> {
        let count = format!("SELECT count(*) FROM actor WHERE {condition}");
        Ok(connection.prepare_cached(&count)?.query_row([user.as_str()], |row| row.get(0))?)
    };
    let total = count("user_id = ?1")? + if only_own { 0 } else { count(USED)? };
    let own = format!("SELECT id, {by} AS place FROM actor WHERE user_id = ?1");
    let seen = match only_own {
        true => own,
        // Each part comes in order, so that putting them together need not sort.
        false => format!("{own} UNION ALL SELECT id, {by} FROM actor WHERE {USED}"),
    };
    let mut statement =
        connection.prepare_cached(&format!("{seen} ORDER BY place {way}, id {way} LIMIT ?2 OFFSET ?3"))?;
    let (limit, offset) = bounds(page);
    let mut rows = statement.query(params![user.as_str(), limit, offset])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.extend(with_stats(connection, row.get_ref(0)?.as_str().map_err(anyhow::Error::from)?)?);
    }
    Ok(Listed { total, items })
}

/// An Actor with what is known of its use.
pub(super) fn with_stats(connection: &Connection, id: &str) -> Result<Option<(Arc<Actor>, ActorStats)>, StoreError> {
    let find = "SELECT total_builds, total_runs, last_run_at, total_users, doc FROM actor WHERE id = ?1";
    shown(connection, find, id)
}

/// The same of an Actor in the store front, by its row there.
pub(super) fn in_front(connection: &Connection, k: i64) -> Result<Option<(Arc<Actor>, ActorStats)>, StoreError> {
    let find = "SELECT total_builds, total_runs, last_run_at, total_users, doc
                FROM front CROSS JOIN actor ON actor.id = front.actor_id WHERE front.k = ?1";
    shown(connection, find, k)
}

fn shown(
    connection: &Connection,
    find: &'static str,
    by: impl ToSql,
) -> Result<Option<(Arc<Actor>, ActorStats)>, StoreError> {
    let row = connection.one(find, [by], |row| Ok((doc::column(row, 4)?, stats(row)?)))?;
    row.map(|(actor, stats)| Ok((Arc::new(actor?), stats))).transpose()
}

/// Limit and offset of a page as SQLite takes them.
pub(super) fn bounds(page: Page) -> (i64, i64) {
    (i64::try_from(page.limit).unwrap_or(i64::MAX), i64::try_from(page.offset).unwrap_or(i64::MAX))
}

/// Reads a row that begins with `total_builds, total_runs, last_run_at, total_users`.
fn stats(row: &Row<'_>) -> rusqlite::Result<ActorStats> {
    Ok(ActorStats {
        total_builds: row.get(0)?,
        total_runs: row.get(1)?,
        last_run_started_at: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis),
        total_users: row.get(3)?,
    })
}
