//! Lists of runs.
//!
//! Each index begins with what a list is of and the status, and goes on with the order of the list. A list of several
//! statuses is therefore a merge of ordered ranges, one for each: SQLite makes it of a `UNION ALL` with an `ORDER BY`, and
//! nothing is sorted, however many runs there are.

use std::sync::Arc;

use model::{JobStatus, Page, Run, RunId};
use rusqlite::{Connection, ToSql};

use super::origin_code;
use crate::embedded::actors::bounds;
use crate::embedded::db::Sql as _;
use crate::embedded::doc;
use crate::embedded::jobs::{Jobs, status_code};
use crate::{RunFilter, StoreError};

/// The runs of a page.
pub(super) fn page(
    jobs: &Jobs,
    connection: &Connection,
    filter: &RunFilter,
    page: Page,
) -> Result<Vec<Arc<Run>>, StoreError> {
    let conditions = Conditions::of(filter);
    let (limit, offset) = bounds(page);
    let mut values = conditions.values();
    values.extend([&limit as &dyn ToSql, &offset]);
    let mut statement = connection.prepare_cached(&conditions.page_sql(page.desc))?;
    let mut rows = statement.query(&values[..])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        let id = RunId::parse(row.get_ref(1)?.as_str().map_err(anyhow::Error::from)?);
        let (k, status): (i64, i64) = (row.get(2)?, row.get(3)?);
        // What is in memory may be newer than this list: then it belongs here only if its status still fits.
        let cached = id.and_then(|id| jobs.runs.get(&id).ok()).filter(|run| status_code(run.status) == status);
        runs.push(match cached {
            Some(run) => run,
            None => {
                let text: Option<String> = connection.one("SELECT doc FROM run WHERE k = ?1", [k], |row| row.get(0))?;
                Arc::new(doc::read(&text.unwrap_or_default())?)
            }
        });
    }
    Ok(runs)
}

/// How many runs match, without counting them where only status, user and Actor or task matter.
pub(super) fn total(connection: &Connection, filter: &RunFilter) -> Result<u64, StoreError> {
    let conditions = Conditions::of(filter);
    let is_counted = filter.user.is_some()
        && (filter.task.is_none() || filter.actor.is_none())
        && filter.origin.is_none()
        && filter.started_after.is_none()
        && filter.started_before.is_none();
    let sql = if is_counted { conditions.counted_sql(filter.task.is_some()) } else { conditions.count_sql() };
    Ok(connection.prepare_cached(&sql)?.query_row(&conditions.values()[..], |row| row.get(0))?)
}

/// A filter as SQL. The values of all parts are numbered in one order, whichever of them a statement has.
struct Conditions {
    /// Condition and value of each part that is asked for.
    parts: Vec<(&'static str, Box<dyn ToSql>)>,
    statuses: Vec<i64>,
}

impl Conditions {
    fn of(filter: &RunFilter) -> Self {
        let mut parts: Vec<(&'static str, Box<dyn ToSql>)> = Vec::new();
        if let Some(user) = &filter.user {
            parts.push(("user_id =", Box::new(user.as_str().to_owned())));
        }
        if let Some(actor) = &filter.actor {
            parts.push(("actor_id =", Box::new(actor.as_str().to_owned())));
        }
        if let Some(task) = &filter.task {
            parts.push(("task_id =", Box::new(task.as_str().to_owned())));
        }
        if let Some(after) = filter.started_after {
            parts.push(("started_at >=", Box::new(after.as_millis())));
        }
        if let Some(before) = filter.started_before {
            parts.push(("started_at <=", Box::new(before.as_millis())));
        }
        if let Some(origin) = filter.origin {
            parts.push(("origin =", Box::new(origin_code(origin))));
        }
        let asked = if filter.statuses.is_empty() { &JobStatus::ALL[..] } else { &filter.statuses };
        let mut statuses: Vec<i64> = asked.iter().copied().map(status_code).collect();
        statuses.sort_unstable();
        statuses.dedup();
        Self { parts, statuses }
    }

    fn values(&self) -> Vec<&dyn ToSql> {
        self.parts.iter().map(|(_, value)| &**value).collect()
    }

    /// ` AND user_id = ?1 AND …`
    fn all(&self) -> String {
        self.parts.iter().zip(1..).map(|((part, _), number)| format!(" AND {part} ?{number}")).collect()
    }

    fn page_sql(&self, desc: bool) -> String {
        let all = self.all();
        let arms: Vec<String> = self
            .statuses
            .iter()
            .map(|status| format!("SELECT started_at, id, k, status FROM run WHERE status = {status}{all}"))
            .collect();
        let way = if desc { "DESC" } else { "ASC" };
        let (limit, offset) = (self.parts.len() + 1, self.parts.len() + 2);
        format!("{} ORDER BY started_at {way}, id {way} LIMIT ?{limit} OFFSET ?{offset}", arms.join(" UNION ALL "))
    }

    fn count_sql(&self) -> String {
        format!("SELECT count(*) FROM run WHERE status IN ({}){}", self.status_list(), self.all())
    }

    fn counted_sql(&self, by_task: bool) -> String {
        let counts = if by_task { "task_run_count" } else { "run_count" };
        format!("SELECT coalesce(sum(n), 0) FROM {counts} WHERE status IN ({}){}", self.status_list(), self.all())
    }

    fn status_list(&self) -> String {
        self.statuses.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use model::{ActorId, Origin, TaskId, Timestamp, UserId};

    use super::*;

    fn plan(sql: &str, values: usize) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::embedded::migrations::apply(&mut connection).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![0; values];
        let lines: Vec<String> =
            statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3)).unwrap().flatten().collect();
        lines.join("\n")
    }

    #[test]
    fn no_list_of_a_users_runs_is_sorted_or_scanned() {
        let user = UserId::parse("UUUUUUUUUUUUUUUUU");
        let actor = ActorId::parse("AAAAAAAAAAAAAAAAA");
        let task = TaskId::parse("TTTTTTTTTTTTTTTTT");
        let after = Some(Timestamp::from_millis(1));
        let filters = [
            RunFilter { user, ..RunFilter::default() },
            RunFilter { user, statuses: vec![JobStatus::Failed], ..RunFilter::default() },
            RunFilter { user, started_after: after, started_before: after, ..RunFilter::default() },
            RunFilter { user, actor, ..RunFilter::default() },
            RunFilter { user, actor, origin: Some(Origin::Api), started_after: after, ..RunFilter::default() },
            RunFilter { user, task, statuses: vec![JobStatus::Ready, JobStatus::Aborted], ..RunFilter::default() },
        ];

        for filter in filters {
            let conditions = Conditions::of(&filter);
            for desc in [false, true] {
                let plan = plan(&conditions.page_sql(desc), conditions.parts.len() + 2);

                assert!(!plan.contains("SCAN"), "{filter:?}\n{plan}");
                assert!(!plan.contains("TEMP B-TREE"), "{filter:?}\n{plan}");
                assert!(plan.contains("COVERING INDEX"), "{filter:?}\n{plan}");
            }
            let plan = plan(&conditions.count_sql(), conditions.parts.len());
            assert!(plan.contains("SEARCH run USING COVERING INDEX"), "{filter:?}\n{plan}");
        }
    }
}
