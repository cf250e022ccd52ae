//! The schema, as numbered steps that are applied at start.

use anyhow::{Context as _, bail};
use rusqlite::Connection;

/// Every step ever released, oldest first. Its number is its place, counted from 1. Released steps never change.
const MIGRATIONS: &[&str] = &[
    include_str!("0001_storages.sql"),
    include_str!("0002_queues.sql"),
    include_str!("0003_jobs.sql"),
    include_str!("0004_input_keys.sql"),
    include_str!("0005_usage.sql"),
    include_str!("0006_store_front.sql"),
];

/// Brings a database to the newest schema, each step in its own transaction.
///
/// # Errors
/// Refuses a database of a newer schema than this program knows: it cannot know what it would break.
pub(super) fn apply(connection: &mut Connection) -> anyhow::Result<()> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let newest = MIGRATIONS.len();
    if version > newest {
        bail!(
            "the database has schema {version}, and this version knows schemas up to {newest}: use the version that made it, or a newer one"
        );
    }
    for (number, sql) in (1..).zip(MIGRATIONS).skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql).with_context(|| format!("migration {number} failed"))?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applying_again_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection).unwrap();
        let schema = |connection: &Connection| -> String {
            connection.query_row("SELECT group_concat(sql, ';') FROM sqlite_schema", [], |row| row.get(0)).unwrap()
        };
        let before = schema(&connection);

        apply(&mut connection).unwrap();

        assert_eq!(schema(&connection), before);
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", MIGRATIONS.len() + 1).unwrap();

        let error = apply(&mut connection).unwrap_err();

        assert!(error.to_string().contains("use the version that made it, or a newer one"), "{error}");
        let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 0);
    }
}
