//! How many of what a user owns there are.

use model::UserId;
use rusqlite::{Connection, params};

use super::db::Sql as _;
use crate::StoreError;

/// What is counted, by its number in rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owned {
    Tasks = 1,
    Schedules = 2,
}

/// Counts `by` more.
pub(super) fn count(connection: &Connection, user: &UserId, what: Owned, by: i64) -> Result<(), StoreError> {
    connection.run(
        "INSERT INTO owned_count (user_id, noun, n) VALUES (?1, ?2, ?3)
         ON CONFLICT (user_id, noun) DO UPDATE SET n = n + ?3",
        params![user.as_str(), what as i64, by],
    )?;
    Ok(())
}

/// How many there are.
pub(super) fn total(connection: &Connection, user: &UserId, what: Owned) -> Result<u64, StoreError> {
    let read = "SELECT n FROM owned_count WHERE user_id = ?1 AND noun = ?2";
    Ok(connection.one(read, params![user.as_str(), what as i64], |row| row.get(0))?.unwrap_or_default())
}
