//! Giving back many locks at once, in steps between which others write.

use model::RunId;
use rusqlite::params;

use super::count_client;
use super::write::{Visit, holds};
use crate::embedded::db::{Sql as _, WriteTx};
use crate::{Locker, StoreError};

/// Locks that one step looks at.
const STEP: usize = 500;

/// How far locks were looked at: all up to this order and row. They are never looked at twice, so that locks of others do
/// not hold up anybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    ord: i64,
    r: i64,
}

const NONE_SEEN: Seen = Seen { ord: i64::MIN, r: i64::MIN };

/// One step of giving back all that the client or its run holds in a queue (`Q52`): how many, and how to go on.
pub(super) fn of_client(
    tx: &mut WriteTx<'_>,
    k: i64,
    by: &Locker,
    seen: Option<Seen>,
) -> Result<(u64, Option<Seen>), StoreError> {
    let mut visit = Visit::begin(tx, k)?;
    // One call is one use of the queue, in however many steps.
    if seen.is_none() {
        count_client(&mut visit.counter, by);
    }
    let outcome = step(&mut visit, seen, |lock_by, lock_run| holds(by, lock_by, lock_run))?;
    visit.end()?;
    Ok(outcome)
}

/// One step of giving back all that a run holds in a queue. The last one forgets that the run was ever there.
pub(super) fn of_run(
    tx: &mut WriteTx<'_>,
    k: i64,
    run: &RunId,
    seen: Option<Seen>,
) -> Result<(u64, Option<Seen>), StoreError> {
    let outcome = match Visit::begin(tx, k) {
        Ok(mut visit) => {
            let outcome = step(&mut visit, seen, |_, lock_run| lock_run == Some(run.as_str()))?;
            visit.end()?;
            outcome
        }
        // The queue was deleted meanwhile, and its locks with it.
        Err(StoreError::NotFound(_)) => (0, None),
        Err(error) => return Err(error),
    };
    if outcome.1.is_none() {
        tx.run("DELETE FROM rq_run WHERE run = ?1 AND k = ?2", params![run.as_str(), k])?;
    }
    Ok(outcome)
}

/// Puts those of the next requests whose live lock `is_meant` back to where they stood.
fn step(
    visit: &mut Visit<'_, '_>,
    seen: Option<Seen>,
    is_meant: impl Fn(Option<&str>, Option<&str>) -> bool,
) -> Result<(u64, Option<Seen>), StoreError> {
    let seen = seen.unwrap_or(NONE_SEEN);
    let locked: Vec<(Seen, bool)> = visit.tx.all(
        "SELECT ord, r, lock_by, lock_run FROM rq WHERE k = ?1 AND ord <= -?2 AND (ord, r) > (?3, ?4)
         UNION ALL SELECT ord, r, lock_by, lock_run FROM rq WHERE k = ?1 AND ord >= ?2 AND (ord, r) > (?3, ?4)
         ORDER BY 1, 2 LIMIT ?5",
        params![visit.k, visit.present.horizon(), seen.ord, seen.r, STEP],
        |row| {
            let (by, run) = (row.get_ref(2)?.as_str_or_null()?, row.get_ref(3)?.as_str_or_null()?);
            Ok((Seen { ord: row.get(0)?, r: row.get(1)? }, is_meant(by, run)))
        },
    )?;
    let mut unlocked = 0;
    for (Seen { r, .. }, _) in locked.iter().filter(|(_, is_meant)| *is_meant) {
        visit.tx.run("UPDATE rq SET ord = place, place = NULL, lock_by = NULL, lock_run = NULL WHERE r = ?1", [r])?;
        unlocked += 1;
    }
    if unlocked > 0 {
        visit.touch();
    }
    let next = locked.last().filter(|_| locked.len() == STEP).map(|(seen, _)| *seen);
    Ok((unlocked, next))
}
