//! Lists of runs.
//!
//! Each index begins with what a list is of and the status, and goes on with the order of the list. A list of several
//! statuses is therefore a merge of ordered ranges, one for each: nothing is sorted, however many runs there are. Where a page
//! begins that is deep in a list, the list's [blocks](crate::embedded::blocks) tell.

use std::ops::RangeInclusive;
use std::sync::Arc;

use model::{JobStatus, Page, Run, RunId};
use rusqlite::{CachedStatement, Connection, Rows, ToSql};
use serde::de::DeserializeOwned;

use super::origin_code;
use crate::embedded::blocks::{ALWAYS, List};
use crate::embedded::doc;
use crate::embedded::jobs::{Jobs, status_code};
use crate::{RunFilter, StoreError};

/// The runs of a page; `known` makes of one that is in memory what is read of the others.
pub(super) fn page<T: DeserializeOwned>(
    jobs: &Jobs,
    connection: &Connection,
    filter: &RunFilter,
    page: Page,
    known: impl Fn(Arc<Run>) -> T,
) -> Result<Vec<T>, StoreError> {
    let mut conditions = Conditions::of(filter);
    let mut left = page.offset;
    if let Some(list) = list_of(filter) {
        let (time, count) = (conditions.time.clone(), |time| conditions.count(connection, time));
        let Some(start) = list.start(connection, &conditions.statuses, time, page, count)? else {
            return Ok(Vec::new());
        };
        (conditions.time, left) = start;
    }

    let values = conditions.values();
    let mut statements = conditions.statements(connection, page.desc)?;
    let mut arms = Vec::with_capacity(statements.len());
    for (statement, status) in statements.iter_mut().zip(&conditions.statuses) {
        arms.push(Arm::begin(statement.query(&values[..])?, *status)?);
    }
    let mut documents = connection.prepare_cached("SELECT doc FROM run WHERE k = ?1")?;
    let mut runs = Vec::new();
    while (runs.len() as u64) < page.limit {
        let heads = arms.iter_mut().filter(|arm| arm.head.is_some());
        let next = match page.desc {
            true => heads.max_by_key(|arm| arm.head),
            false => heads.min_by_key(|arm| arm.head),
        };
        let Some(arm) = next else { break };
        if left > 0 {
            left -= 1;
        } else if let Some((_, id)) = arm.head {
            // What is in memory may be newer than this list: then it belongs here only if its status still fits.
            let cached = jobs.runs.get(&id).ok().filter(|run| status_code(run.status) == arm.status);
            runs.push(match cached {
                Some(run) => known(run),
                None => documents.query_row([arm.k], |row| doc::column(row, 0))??,
            });
        }
        arm.advance()?;
    }
    Ok(runs)
}

/// The runs of one status, in order.
struct Arm<'a> {
    rows: Rows<'a>,
    status: i64,
    /// When the next was started, and its id; `None` behind the last.
    head: Option<(i64, RunId)>,
    k: i64,
}

impl<'a> Arm<'a> {
    fn begin(rows: Rows<'a>, status: i64) -> Result<Self, StoreError> {
        let mut arm = Self { rows, status, head: None, k: 0 };
        arm.advance()?;
        Ok(arm)
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.head = None;
        if let Some(row) = self.rows.next()? {
            let id = RunId::parse(row.get_ref(1)?.as_str().map_err(anyhow::Error::from)?);
            let id = id.ok_or_else(|| anyhow::anyhow!("a run has an id that is none"))?;
            self.head = Some((row.get(0)?, id));
            self.k = row.get(2)?;
        }
        Ok(())
    }
}

/// The list whose blocks count the runs that match, if there is one.
fn list_of(filter: &RunFilter) -> Option<List> {
    let user = filter.user.as_ref().filter(|_| filter.origin.is_none())?;
    match (&filter.actor, &filter.task) {
        (None, None) => Some(List::runs(user)),
        (Some(actor), None) => Some(List::runs_of_actor(user, actor)),
        (None, Some(task)) => Some(List::runs_of_task(user, task)),
        (Some(_), Some(_)) => None,
    }
}

/// Counts a run in its present status in or out.
pub(super) fn count(connection: &Connection, run: &Run, by: i64) -> Result<(), StoreError> {
    let (part, at) = (status_code(run.status), run.started_at.as_millis());
    List::runs(&run.user_id).count(connection, part, at, by)?;
    List::runs_of_actor(&run.user_id, &run.actor_id).count(connection, part, at, by)?;
    match &run.task_id {
        Some(task) => List::runs_of_task(&run.user_id, task).count(connection, part, at, by),
        None => Ok(()),
    }
}

/// How many runs match, without walking through them where only status, time, user and Actor or task matter.
pub(super) fn total(connection: &Connection, filter: &RunFilter) -> Result<u64, StoreError> {
    let conditions = Conditions::of(filter);
    match list_of(filter) {
        // There is a row for each status of an Actor or task, but they may have run for years; with a user it is the other way round.
        Some(_) if conditions.time == ALWAYS && (filter.actor.is_some() || filter.task.is_some()) => {
            let sql = conditions.counted_sql(filter.task.is_some());
            let values = &conditions.values()[..conditions.parts.len()];
            Ok(connection.prepare_cached(&sql)?.query_row(values, |row| row.get(0))?)
        }
        Some(list) => {
            let count = |time| conditions.count(connection, time);
            list.total(connection, &conditions.statuses, conditions.time.clone(), count)
        }
        None => conditions.count(connection, conditions.time.clone()),
    }
}

/// A filter as SQL. The values of all parts are numbered in one order, whichever of them a statement has; the bounds of time
/// come last.
struct Conditions {
    /// Condition and value of each part that is asked for.
    parts: Vec<(&'static str, Box<dyn ToSql>)>,
    time: RangeInclusive<i64>,
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
        if let Some(origin) = filter.origin {
            parts.push(("origin =", Box::new(origin_code(origin))));
        }
        let after = filter.started_after.map_or(i64::MIN, |after| after.as_millis());
        let before = filter.started_before.map_or(i64::MAX, |before| before.as_millis());
        let asked = if filter.statuses.is_empty() { &JobStatus::ALL[..] } else { &filter.statuses };
        let mut statuses: Vec<i64> = asked.iter().copied().map(status_code).collect();
        statuses.sort_unstable();
        statuses.dedup();
        Self { parts, time: after..=before, statuses }
    }

    fn values(&self) -> Vec<&dyn ToSql> {
        self.values_in(&self.time)
    }

    fn values_in<'a>(&'a self, time: &'a RangeInclusive<i64>) -> Vec<&'a dyn ToSql> {
        let parts = self.parts.iter().map(|(_, value)| &**value);
        parts.chain([time.start() as &dyn ToSql, time.end()]).collect()
    }

    /// ` AND user_id = ?1 AND …`
    fn all(&self) -> String {
        self.parts.iter().zip(1..).map(|((part, _), number)| format!(" AND {part} ?{number}")).collect()
    }

    fn in_time(&self) -> String {
        format!(" AND started_at BETWEEN ?{} AND ?{}", self.parts.len() + 1, self.parts.len() + 2)
    }

    fn statements<'a>(&self, connection: &'a Connection, desc: bool) -> Result<Vec<CachedStatement<'a>>, StoreError> {
        let statements = self.statuses.iter().map(|status| connection.prepare_cached(&self.arm_sql(*status, desc)));
        Ok(statements.collect::<rusqlite::Result<_>>()?)
    }

    fn arm_sql(&self, status: i64, desc: bool) -> String {
        let (all, time, way) = (self.all(), self.in_time(), if desc { "DESC" } else { "ASC" });
        format!(
            "SELECT started_at, id, k FROM run WHERE status = {status}{all}{time} ORDER BY started_at {way}, id {way}"
        )
    }

    /// Counts what matches one by one.
    fn count(&self, connection: &Connection, time: RangeInclusive<i64>) -> Result<u64, StoreError> {
        let values = self.values_in(&time);
        Ok(connection.prepare_cached(&self.count_sql())?.query_row(&values[..], |row| row.get(0))?)
    }

    fn count_sql(&self) -> String {
        let (all, time) = (self.all(), self.in_time());
        format!("SELECT count(*) FROM run WHERE status IN ({}){all}{time}", self.status_list())
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
    use model::{ActorId, Origin, RunSummary, TaskId, Timestamp, UserId};

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
    fn a_summary_read_from_a_document_is_that_of_the_run() {
        let (user, actor) = (UserId::parse("UUUUUUUUUUUUUUUUU"), ActorId::parse("AAAAAAAAAAAAAAAAA"));
        let (mut run, _) = crate::conformance::jobs::run_of(user.unwrap(), actor.unwrap(), 5);
        let read = |run: &Run| doc::read::<RunSummary>(&doc::write(run).unwrap()).unwrap();

        assert_eq!(read(&run), RunSummary::from(&run));
        run.task_id = TaskId::parse("TTTTTTTTTTTTTTTTT");
        run.status_message = Some("done".to_owned());
        (run.finished_at, run.running_since) = (Some(Timestamp::from_millis(9)), Some(Timestamp::from_millis(7)));
        run.usage.dataset_reads = 3;
        run.charged_event_counts.insert("event".to_owned(), 4);
        run.pricing_info = serde_json::from_value(serde_json::json!({
            "pricingModel": "PAY_PER_EVENT", "startedAt": Timestamp::from_millis(1), "createdAt": Timestamp::from_millis(1),
            "pricingPerEvent": { "actorChargeEvents": { "event": { "eventTitle": "Event", "eventPriceUsd": 0.25 } } },
        }))
        .unwrap();
        assert_eq!(read(&run), RunSummary::from(&run));
        assert!((read(&run).charged_usd() - 1.0).abs() < 1e-9);
        assert!((run.charged_usd() - 1.0).abs() < 1e-9);
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
                let plan = plan(&conditions.arm_sql(4, desc), conditions.parts.len() + 2);

                assert!(!plan.contains("SCAN"), "{filter:?}\n{plan}");
                assert!(!plan.contains("TEMP B-TREE"), "{filter:?}\n{plan}");
                assert!(plan.contains("COVERING INDEX"), "{filter:?}\n{plan}");
            }
            let plan = plan(&conditions.count_sql(), conditions.parts.len() + 2);
            assert!(plan.contains("SEARCH run USING COVERING INDEX"), "{filter:?}\n{plan}");
        }
    }
}
