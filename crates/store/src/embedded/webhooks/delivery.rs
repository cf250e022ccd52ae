//! What is to be sent, and what came of it.

use std::collections::BTreeSet;

use model::{Call, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{event_of, fire, remove_idle_orphan, show};
use crate::embedded::db::{Sql as _, WriteTx};
use crate::embedded::doc;
use crate::{Attempted, Due, Load, Next, StoreError, Subject, Taken, TargetNumber};

/// Dispatches that are due, taken in turns from the targets with the fewest under way.
pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    taken: &Taken,
    limit: usize,
) -> Result<Vec<Due>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    // Of a target that is busy the due ones may all be under way, so look beyond as many.
    let looked_at = i64::try_from(limit + taken.targets.len()).unwrap_or(i64::MAX);
    let waiting: Vec<TargetNumber> = connection.all(
        "SELECT t FROM webhook_target WHERE next_due <= ?1 ORDER BY next_due LIMIT ?2",
        params![now.as_millis(), looked_at],
        |row| row.get(0),
    )?;
    let fresh = Load { taken: 0, room: taken.room };
    let load = |target: &TargetNumber| taken.targets.get(target).copied().unwrap_or(fresh);
    let mut open: Vec<TargetNumber> = waiting.into_iter().filter(|target| load(target).room > 0).collect();
    open.sort_by_key(|target| load(target).taken);
    let share = (limit / open.len().max(1)).max(1);

    let mut turns = Vec::new();
    for target in &open {
        let load = load(target);
        let wanted = share.min(load.room);
        let found: Vec<(i64, String)> = connection.all(
            "SELECT d, id FROM dispatch WHERE target = ?1 AND due_at <= ?2 ORDER BY due_at, d LIMIT ?3",
            params![target, now.as_millis(), i64::try_from(wanted + load.taken).unwrap_or(i64::MAX)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let untaken = found
            .into_iter()
            .filter(|(_, id)| model::DispatchId::parse(id).is_some_and(|id| !taken.dispatches.contains(&id)));
        turns.extend(untaken.take(wanted).enumerate().map(|(turn, (d, _))| (turn, d)));
    }
    // The sort is stable: within a turn, the least busy targets come first.
    turns.sort_by_key(|(turn, _)| *turn);
    turns.truncate(limit);
    turns
        .into_iter()
        .map(|(_, d)| read(connection, d))
        .collect::<Result<Vec<_>, _>>()
        .map(|due| due.into_iter().flatten().collect())
}

/// When the first target that has nothing due has something due.
pub(super) fn next_due(connection: &Connection, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let next = "SELECT min(next_due) FROM webhook_target WHERE next_due > ?1";
    let next: Option<Option<i64>> = connection.one(next, [now.as_millis()], |row| row.get(0))?;
    Ok(next.flatten().map(Timestamp::from_millis))
}

fn read(connection: &Connection, d: i64) -> Result<Option<Due>, StoreError> {
    let find = "SELECT dispatch.id, dispatch.user_id, dispatch.target, webhook.doc, event, data, dispatch.created_at,
             attempts, kind, webhook_subject.doc
         FROM dispatch LEFT JOIN webhook ON k = dispatch.webhook LEFT JOIN webhook_subject ON s = subject WHERE d = ?1";
    let mut statement = connection.prepare_cached(find)?;
    let mut rows = statement.query([d])?;
    rows.next()?.map(read_due).transpose()
}

fn read_due(row: &Row<'_>) -> Result<Due, StoreError> {
    let webhook: Option<String> = row.get(3)?;
    let data: Option<String> = row.get(5)?;
    let doc: Option<String> = row.get(9)?;
    let subject = match (row.get::<_, Option<i64>>(8)?, doc) {
        (Some(fire::RUN), Some(text)) => Subject::Run(Box::new(doc::read(&text)?)),
        (Some(fire::BUILD), Some(text)) => Subject::Build(Box::new(doc::read(&text)?)),
        _ => Subject::Test,
    };
    Ok(Due {
        id: show::id(row, 0)?,
        user_id: show::id(row, 1)?,
        target: row.get(2)?,
        webhook: webhook.map(|text| doc::read(&text)).transpose()?.map(std::sync::Arc::new),
        event_type: event_of(row.get(4)?),
        event_data: data.map(|text| doc::read(&text)).transpose()?,
        created_at: Timestamp::from_millis(row.get(6)?),
        subject,
        attempts: row.get(7)?,
    })
}

/// Writes down what came of attempts.
pub(super) fn note(tx: &WriteTx<'_>, attempts: Vec<Attempted>) -> Result<(), StoreError> {
    let mut targets = BTreeSet::new();
    for attempted in attempts {
        if let Some(target) = note_one(tx, attempted)? {
            targets.insert(target);
        }
    }
    for target in targets {
        tx.run(
            "UPDATE webhook_target SET next_due =
                 (SELECT due_at FROM dispatch WHERE target = ?1 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1)
             WHERE t = ?1",
            [target],
        )?;
    }
    Ok(())
}

fn note_one(tx: &WriteTx<'_>, attempted: Attempted) -> Result<Option<TargetNumber>, StoreError> {
    let find = "SELECT d, target, webhook, subject, calls FROM dispatch WHERE id = ?1 AND due_at IS NOT NULL";
    let row = tx.one(find, [attempted.id.as_str()], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get::<_, Option<String>>(4)?))
    })?;
    let Some((d, target, webhook, subject, calls)) = row else { return Ok(None) };
    let (d, webhook, subject): (i64, i64, Option<i64>) = (d, webhook, subject);
    let mut calls: Vec<Call> = calls.map(|text| doc::read(&text)).transpose()?.unwrap_or_default();
    let ended = attempted.call.finished_at.as_millis();
    calls.push(attempted.call);
    let (status, due_at, finished_at) = match attempted.next {
        Next::Retry(at) => (0, Some(at.as_millis()), None),
        Next::Succeeded => (1, None, Some(ended)),
        Next::Failed => (2, None, Some(ended)),
    };
    tx.run(
        "UPDATE dispatch SET status = ?2, due_at = ?3, finished_at = ?4, attempts = attempts + 1, calls = ?5
         WHERE d = ?1",
        params![d, status, due_at, finished_at, doc::write(&calls)?],
    )?;
    if due_at.is_none() {
        if let Some(subject) = subject {
            tx.run("UPDATE webhook_subject SET open = open - 1 WHERE s = ?1", [subject])?;
            tx.run("DELETE FROM webhook_subject WHERE s = ?1 AND open <= 0", [subject])?;
        }
        remove_idle_orphan(tx, webhook)?;
    }
    Ok(Some(target))
}

/// Forgets old dispatches that have ended. They are numbered in the order of their making, so the oldest come first.
pub(super) fn expire(tx: &WriteTx<'_>, before: Timestamp, limit: usize) -> Result<bool, StoreError> {
    let first: Vec<(i64, i64, String, bool)> = tx.all(
        "SELECT d, webhook, user_id, created_at < ?1 AND due_at IS NULL FROM dispatch ORDER BY d LIMIT ?2",
        params![before.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let old: Vec<_> = first.into_iter().filter(|(.., is_old)| *is_old).collect();
    for (d, webhook, user, _) in &old {
        tx.run("DELETE FROM dispatch WHERE d = ?1", [d])?;
        tx.run("UPDATE webhook_count SET kept = kept - 1 WHERE k = ?1", [webhook])?;
        super::count(tx, user, 0, -1)?;
    }
    Ok(old.len() == limit)
}
