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
    include_str!("0007_tasks.sql"),
    include_str!("0008_schedules.sql"),
    include_str!("0009_webhooks.sql"),
    include_str!("0010_list_blocks.sql"),
    include_str!("0011_dataset_notes.sql"),
    include_str!("0012_actor_use.sql"),
    include_str!("0013_chunk_paths.sql"),
    include_str!("0014_tail_objects.sql"),
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
    fn runs_from_before_count_in_the_usage_of_the_day_of_their_start() {
        let mut connection = Connection::open_in_memory().unwrap();
        let before = MIGRATIONS.iter().position(|sql| sql.contains("CREATE TABLE usage_day")).unwrap();
        for sql in &MIGRATIONS[..before] {
            connection.execute_batch(sql).unwrap();
        }
        connection.pragma_update(None, "user_version", before).unwrap();
        let pricing = r#"{"pricingPerEvent":{"actorChargeEvents":{"page-read":{"eventPriceUsd":0.25},"odd":{}}}}"#;
        for (id, user, started_at, doc) in [
            ("a", "ada", 86_400_000 * 3 + 5, r#"{"usage":{"ACTOR_COMPUTE_UNITS":0.5,"DATASET_WRITES":7}}"#.to_owned()),
            ("b", "ada", 86_400_000 * 3 + 9, r#"{"usage":{"ACTOR_COMPUTE_UNITS":0.25,"DATASET_WRITES":1}}"#.to_owned()),
            (
                "c",
                "ada",
                86_400_000 * 4,
                format!(r#"{{"usage":{{}},"chargedEventCounts":{{"page-read":3,"odd":1}},"pricingInfo":{pricing}}}"#),
            ),
            ("d", "bob", 86_400_000 * 4, "{}".to_owned()),
        ] {
            let insert = "INSERT INTO run (id, user_id, actor_id, status, started_at, origin, doc)
                          VALUES (?1, ?2, 'x', 4, ?3, 0, ?4)";
            connection.execute(insert, rusqlite::params![id, user, started_at, doc]).unwrap();
        }

        apply(&mut connection).unwrap();

        let mut statement =
            connection.prepare("SELECT user_id, day, doc FROM usage_day ORDER BY user_id, day").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let rows: Vec<(String, i64, String)> = rows.map(Result::unwrap).collect();
        let used = rows.iter().map(|(user, day, doc)| {
            let used: model::Used = serde_json::from_str(doc).unwrap();
            (user.as_str(), *day, used.usage.actor_compute_units, used.usage.dataset_writes, used.events_usd)
        });
        assert_eq!(
            used.collect::<Vec<_>>(),
            [("ada", 3, 0.75, 8, 0.0), ("ada", 4, 0.0, 0, 0.75), ("bob", 4, 0.0, 0, 0.0)]
        );
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
