//! Schedules in SQLite.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use model::schedule::{MAX_LOG_ENTRIES, Schedule, ScheduleLogEntry, ScheduleState, ScheduledInput};
use model::{Listed, Page, ScheduleActionId, ScheduleId, Timestamp, UserId, fold};
use rusqlite::{Connection, Row, params};

use super::blocks::from_nearer_end;
use super::core::Core;
use super::db::Sql as _;
use super::doc;
use super::owned::{self, Owned};
use crate::{KeptSchedule, Noun, ScheduleChange, ScheduleNote, ScheduleStore, StoreError};

/// The schedules of an embedded store.
#[derive(Debug)]
pub(super) struct Schedules {
    core: Arc<Core>,
}

impl Schedules {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[async_trait]
impl ScheduleStore for Schedules {
    async fn create(&self, schedule: Schedule, next: Option<Timestamp>) -> Result<KeptSchedule, StoreError> {
        let state = ScheduleState { next_run_at: next, ..ScheduleState::default() };
        let texts = (doc::write(&schedule)?, doc::write(&state)?, inputs(&schedule)?);
        let weight = texts.0.len() + texts.2.as_ref().map_or(0, String::len);
        self.core
            .db
            .grow_checked(weight, move |tx| {
                check_name(tx, &schedule)?;
                tx.run(
                    "INSERT INTO schedule (id, user_id, name, created_at, next_at, state, doc)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        schedule.id.as_str(),
                        schedule.user_id.as_str(),
                        fold(&schedule.name),
                        schedule.created_at.as_millis(),
                        next.map(Timestamp::as_millis),
                        texts.1,
                        texts.0,
                    ],
                )?;
                write_inputs(tx, tx.last_insert_rowid(), texts.2)?;
                owned::count(tx, &schedule.user_id, Owned::Schedules, 1)?;
                Ok(KeptSchedule { schedule: Arc::new(schedule), state })
            })
            .await
    }

    async fn get(&self, id: &ScheduleId) -> Result<Option<KeptSchedule>, StoreError> {
        self.core.db.snapshot(|connection| Ok(read(connection, id)?.map(|(_, kept)| kept)))
    }

    async fn find(&self, user: &UserId, name: &str) -> Result<Option<KeptSchedule>, StoreError> {
        match self.core.db.read(|connection| find_id(connection, user, name))? {
            Some(id) => self.get(&id).await,
            None => Ok(None),
        }
    }

    async fn count(&self, user: &UserId) -> Result<u64, StoreError> {
        self.core.db.read(|connection| owned::total(connection, user, Owned::Schedules))
    }

    async fn list(&self, user: &UserId, page: Page) -> Result<Listed<KeptSchedule>, StoreError> {
        let user = *user;
        self.core
            .db
            .snapshot_blocking(move |connection| {
                let total = owned::total(connection, &user, Owned::Schedules)?;
                let (desc, limit, offset) = from_nearer_end(page, total);
                let list = match desc {
                    true => {
                        "SELECT next_at, state, doc FROM schedule WHERE user_id = ?1
                         ORDER BY created_at DESC, id DESC LIMIT ?2 OFFSET ?3"
                    }
                    false => {
                        "SELECT next_at, state, doc FROM schedule WHERE user_id = ?1
                         ORDER BY created_at, id LIMIT ?2 OFFSET ?3"
                    }
                };
                let rows = connection.all(list, params![user.as_str(), limit, offset], |row| kept(row, 0))?;
                let mut items: Vec<KeptSchedule> = rows.into_iter().collect::<Result<_, _>>()?;
                if desc != page.desc {
                    items.reverse();
                }
                Ok(Listed { total, items })
            })
            .await
    }

    async fn modify(&self, id: &ScheduleId, mut change: ScheduleChange) -> Result<KeptSchedule, StoreError> {
        let id = *id;
        self.core
            .db
            .write_checked(0, move |tx| {
                let (k, kept) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Schedule))?;
                let (mut schedule, mut state) = ((*kept.schedule).clone(), kept.state.clone());
                if !change(&mut schedule, &mut state) {
                    return Ok(kept);
                }
                schedule.user_id = kept.schedule.user_id;
                check_name(tx, &schedule)?;
                let inputs = inputs(&schedule)?;
                tx.run(
                    "UPDATE schedule SET name = ?2, next_at = ?3, state = ?4, doc = ?5 WHERE k = ?1",
                    params![
                        k,
                        fold(&schedule.name),
                        state.next_run_at.map(Timestamp::as_millis),
                        doc::write(&state)?,
                        doc::write(&schedule)?
                    ],
                )?;
                write_inputs(tx, k, inputs)?;
                Ok(KeptSchedule { schedule: Arc::new(schedule), state })
            })
            .await
    }

    async fn delete(&self, id: &ScheduleId) -> Result<(), StoreError> {
        let id = *id;
        self.core
            .db
            .write_checked(0, move |tx| {
                let (k, kept) = read(tx, &id)?.ok_or(StoreError::NotFound(Noun::Schedule))?;
                tx.run("DELETE FROM schedule WHERE k = ?1", [k])?;
                tx.run("DELETE FROM schedule_input WHERE k = ?1", [k])?;
                tx.run("DELETE FROM schedule_log WHERE k = ?1", [k])?;
                owned::count(tx, &kept.schedule.user_id, Owned::Schedules, -1)
            })
            .await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let first = "SELECT next_at FROM schedule WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1";
        let first = self.core.db.read(|connection| connection.one(first, [], |row| row.get(0)))?;
        Ok(first.map(Timestamp::from_millis))
    }

    async fn due(&self, until: Timestamp, limit: u64) -> Result<Vec<ScheduleId>, StoreError> {
        let due = "SELECT id FROM schedule WHERE next_at <= ?1 ORDER BY next_at LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let ids: Vec<String> =
            self.core.db.read(|connection| connection.all(due, [until.as_millis(), limit], |row| row.get(0)))?;
        Ok(ids.iter().filter_map(|id| ScheduleId::parse(id)).collect())
    }

    async fn note(&self, id: &ScheduleId, tick: Timestamp, note: ScheduleNote) -> Result<(), StoreError> {
        let id = *id;
        self.core
            .db
            .write_checked(0, move |tx| {
                let row = tx.one("SELECT k, next_at, state FROM schedule WHERE id = ?1", [id.as_str()], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?))
                })?;
                let (k, next_at, state) = row.ok_or(StoreError::NotFound(Noun::Schedule))?;
                if next_at != Some(tick.as_millis()) {
                    return Ok(());
                }
                let mut state: ScheduleState = doc::read(&state)?;
                state.next_run_at = note.next;
                if note.invoked_at.is_some() {
                    (state.last_run_at, state.last_tick) = (note.invoked_at, Some(tick));
                }
                state.last_runs.extend(note.started);
                let (state, entries) = (doc::write(&state)?, note.entries.iter().map(doc::write));
                let entries: Vec<String> = entries.collect::<Result<_, _>>()?;
                tx.run(
                    "UPDATE schedule SET next_at = ?2, state = ?3 WHERE k = ?1",
                    params![k, note.next.map(Timestamp::as_millis), state],
                )?;
                append(tx, k, &entries)
            })
            .await
    }

    async fn log(&self, id: &ScheduleId) -> Result<Vec<ScheduleLogEntry>, StoreError> {
        let id = *id;
        self.core
            .db
            .snapshot_blocking(move |connection| {
                let find = "SELECT k FROM schedule WHERE id = ?1";
                let k: Option<i64> = connection.one(find, [id.as_str()], |row| row.get(0))?;
                let k = k.ok_or(StoreError::NotFound(Noun::Schedule))?;
                let list = "SELECT body FROM schedule_log WHERE k = ?1 ORDER BY n";
                let entries: Vec<String> = connection.all(list, [k], |row| row.get(0))?;
                entries.iter().map(|text| doc::read(text)).collect()
            })
            .await
    }
}

/// Adds to a log and takes its oldest entries away when it has too many.
fn append(connection: &Connection, k: i64, entries: &[String]) -> Result<(), StoreError> {
    let last = "SELECT coalesce(max(n), 0) FROM schedule_log WHERE k = ?1";
    let mut n: i64 = connection.one(last, [k], |row| row.get(0))?.unwrap_or_default();
    for entry in entries {
        n += 1;
        connection.run("INSERT INTO schedule_log (k, n, body) VALUES (?1, ?2, ?3)", params![k, n, entry])?;
    }
    connection.run("DELETE FROM schedule_log WHERE k = ?1 AND n <= ?2", [k, n - MAX_LOG_ENTRIES as i64])?;
    Ok(())
}

/// Reads the columns `next_at, state, doc`.
fn kept(row: &Row<'_>, at: usize) -> rusqlite::Result<Result<KeptSchedule, StoreError>> {
    let next_run_at = row.get::<_, Option<i64>>(at)?.map(Timestamp::from_millis);
    let (state, schedule) = (doc::column::<ScheduleState>(row, at + 1)?, doc::column(row, at + 2)?);
    Ok(state.and_then(|state| {
        Ok(KeptSchedule { schedule: Arc::new(schedule?), state: ScheduleState { next_run_at, ..state } })
    }))
}

fn read(connection: &Connection, id: &ScheduleId) -> Result<Option<(i64, KeptSchedule)>, StoreError> {
    let row = connection.one(
        "SELECT schedule.k, next_at, state, doc, body FROM schedule LEFT JOIN schedule_input USING (k) WHERE id = ?1",
        [id.as_str()],
        |row| Ok((row.get(0)?, kept(row, 1)?, row.get::<_, Option<String>>(4)?)),
    )?;
    let Some((k, kept, inputs)) = row else { return Ok(None) };
    let KeptSchedule { schedule, state } = kept?;
    let mut schedule = Arc::unwrap_or_clone(schedule);
    if let Some(inputs) = inputs {
        let mut inputs: BTreeMap<ScheduleActionId, ScheduledInput> = doc::read(&inputs)?;
        for action in &mut schedule.actions {
            action.input = inputs.remove(&action.id);
        }
    }
    Ok(Some((k, KeptSchedule { schedule: Arc::new(schedule), state })))
}

/// The inputs of the actions as a document; `None` if there are none.
fn inputs(schedule: &Schedule) -> Result<Option<String>, StoreError> {
    let given = schedule.actions.iter().filter_map(|action| Some((action.id, action.input.as_ref()?)));
    let inputs: BTreeMap<ScheduleActionId, &ScheduledInput> = given.collect();
    if inputs.is_empty() { Ok(None) } else { doc::write(&inputs).map(Some) }
}

fn write_inputs(connection: &Connection, k: i64, inputs: Option<String>) -> Result<(), StoreError> {
    match inputs {
        Some(inputs) => {
            connection.run("INSERT OR REPLACE INTO schedule_input (k, body) VALUES (?1, ?2)", params![k, inputs])?
        }
        None => connection.run("DELETE FROM schedule_input WHERE k = ?1", [k])?,
    };
    Ok(())
}

/// Fails if another schedule of the owner has the name (`ID-9`).
fn check_name(connection: &Connection, schedule: &Schedule) -> Result<(), StoreError> {
    match find_id(connection, &schedule.user_id, &schedule.name)? {
        Some(other) if other != schedule.id => Err(StoreError::NameTaken),
        _ => Ok(()),
    }
}

fn find_id(connection: &Connection, user: &UserId, name: &str) -> Result<Option<ScheduleId>, StoreError> {
    let find = "SELECT id FROM schedule WHERE user_id = ?1 AND name = ?2";
    let id = connection.one(find, params![user.as_str(), fold(name)], |row| row.get::<_, String>(0))?;
    Ok(id.and_then(|id| ScheduleId::parse(&id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sql: &str) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::embedded::migrations::apply(&mut connection).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines: Vec<String> = statement.query_map([], |row| row.get(3)).unwrap().flatten().collect();
        lines.join("\n")
    }

    #[test]
    fn what_is_due_is_found_by_an_index() {
        for sql in [
            "SELECT next_at FROM schedule WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1",
            "SELECT id FROM schedule WHERE next_at <= 5 ORDER BY next_at LIMIT 9",
            "SELECT doc FROM schedule WHERE user_id = 'a' ORDER BY created_at, id LIMIT 1 OFFSET 9",
            "SELECT doc FROM schedule WHERE user_id = 'a' ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET 9",
        ] {
            let plan = plan(sql);
            assert!(plan.contains("INDEX schedule_") && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        }
    }
}
