//! How many entries of a long list fall into each stretch of time, kept with every change. So a page deep in the list is found,
//! and the list counted, by what is in the stretches and not by walking past each entry.

use std::ops::RangeInclusive;

use model::{ActorId, Page, StorageKind, TaskId, UserId};
use rusqlite::{Connection, params};

use super::db::Sql as _;
use super::storages;
use crate::StoreError;

/// A stretch has two to the power of this many milliseconds, about 70 minutes.
const BITS: u32 = 22;

/// All of time, in milliseconds.
pub(super) const ALWAYS: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// What a list is of.
#[derive(Clone, Debug)]
pub(super) struct List(String);

impl List {
    /// The runs of a user; parts are their statuses.
    pub(super) fn runs(user: &UserId) -> Self {
        Self(user.to_string())
    }

    /// A user's runs of an Actor.
    pub(super) fn runs_of_actor(user: &UserId, actor: &ActorId) -> Self {
        Self(format!("{user}a{actor}"))
    }

    /// A user's runs of a task.
    pub(super) fn runs_of_task(user: &UserId, task: &TaskId) -> Self {
        Self(format!("{user}t{task}"))
    }

    /// The storages of a user; part 1 are those with a name, part 0 the others.
    pub(super) fn storages(user: &str, kind: StorageKind) -> Self {
        Self(format!("{user}s{}", storages::code(kind)))
    }

    /// Counts an entry of that time in or out.
    pub(super) fn count(&self, connection: &Connection, part: i64, at: i64, by: i64) -> Result<(), StoreError> {
        let (list, block) = (&self.0, at >> BITS);
        connection.run(
            "INSERT INTO list_block (list, block, part, n) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (list, block, part) DO UPDATE SET n = n + ?4",
            params![list, block, part, by],
        )?;
        if by < 0 {
            let forget = "DELETE FROM list_block WHERE list = ?1 AND block = ?2 AND part = ?3 AND n = 0";
            connection.run(forget, params![list, block, part])?;
        }
        Ok(())
    }

    /// How many entries of these parts there are in that time. `count` counts those of less than a stretch.
    pub(super) fn total(
        &self,
        connection: &Connection,
        parts: &[i64],
        time: RangeInclusive<i64>,
        count: impl Fn(RangeInclusive<i64>) -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        let mut total = 0;
        self.walk(connection, parts, time, false, count, |_, n| {
            total += n;
            true
        })?;
        Ok(total)
    }

    /// Where in that time a page begins, and how many entries are left to be passed over from there. `None` if the list ends
    /// before.
    pub(super) fn start(
        &self,
        connection: &Connection,
        parts: &[i64],
        time: RangeInclusive<i64>,
        page: Page,
        count: impl Fn(RangeInclusive<i64>) -> Result<u64, StoreError>,
    ) -> Result<Option<(RangeInclusive<i64>, u64)>, StoreError> {
        if page.offset == 0 {
            return Ok(Some((time, 0)));
        }
        let (mut left, mut start) = (page.offset, None);
        self.walk(connection, parts, time.clone(), page.desc, count, |block, n| {
            if left >= n {
                left -= n;
                return true;
            }
            let within = stretch(block);
            start = Some(match page.desc {
                true => *time.start()..=*time.end().min(within.end()),
                false => *time.start().max(within.start())..=*time.end(),
            });
            false
        })?;
        Ok(start.map(|time| (time, left)))
    }

    /// Goes through the stretches in order, with the number of entries that each has within `time`, as long as `each` says.
    fn walk(
        &self,
        connection: &Connection,
        parts: &[i64],
        time: RangeInclusive<i64>,
        desc: bool,
        count: impl Fn(RangeInclusive<i64>) -> Result<u64, StoreError>,
        mut each: impl FnMut(i64, u64) -> bool,
    ) -> Result<(), StoreError> {
        let sql = match desc {
            true => {
                "SELECT block, part, n FROM list_block WHERE list = ?1 AND block BETWEEN ?2 AND ?3
                 ORDER BY block DESC, part DESC"
            }
            false => {
                "SELECT block, part, n FROM list_block WHERE list = ?1 AND block BETWEEN ?2 AND ?3 ORDER BY block, part"
            }
        };
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![self.0, time.start() >> BITS, time.end() >> BITS])?;
        let mut tell = |block: i64, n: u64| -> Result<bool, StoreError> {
            let all = stretch(block);
            let within = *all.start().max(time.start())..=*all.end().min(time.end());
            let n = if within == all { n } else { count(within)? };
            Ok(each(block, n))
        };
        let mut current: Option<(i64, u64)> = None;
        while let Some(row) = rows.next()? {
            let (block, part, n): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if !parts.contains(&part) {
                continue;
            }
            let n = u64::try_from(n).unwrap_or_default();
            match &mut current {
                Some((same, sum)) if *same == block => *sum += n,
                before => {
                    if let Some((before, sum)) = before.replace((block, n))
                        && !tell(before, sum)?
                    {
                        return Ok(());
                    }
                }
            }
        }
        if let Some((block, n)) = current {
            tell(block, n)?;
        }
        Ok(())
    }
}

/// The time of a stretch.
fn stretch(block: i64) -> RangeInclusive<i64> {
    let start = block << BITS;
    start..=start + ((1 << BITS) - 1)
}

/// A page of a list of `total` entries as it is reached from the nearer end: whether backwards, how many, and after how many.
/// If that is not the way of the list, the entries come in reverse.
pub(super) fn from_nearer_end(page: Page, total: u64) -> (bool, u64, u64) {
    let limit = page.limit.min(total.saturating_sub(page.offset));
    let behind = total.saturating_sub(page.offset.saturating_add(limit));
    if behind < page.offset { (!page.desc, limit, behind) } else { (page.desc, limit, page.offset) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A list with these entries: part and time.
    fn given(entries: &[(i64, i64)]) -> (Connection, List) {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::embedded::migrations::apply(&mut connection).unwrap();
        let list = List("x".to_owned());
        for (part, at) in entries {
            list.count(&connection, *part, *at, 1).unwrap();
        }
        (connection, list)
    }

    fn entries() -> impl Strategy<Value = Vec<(i64, i64)>> {
        prop::collection::vec((0..3_i64, -(3_i64 << BITS)..3 << BITS), 0..60)
    }

    proptest! {
        #[test]
        fn a_page_begins_where_walking_would_have_come_to(
            entries in entries(),
            parts in prop::collection::vec(0..3_i64, 1..3),
            from in prop::option::of(-(3_i64 << BITS)..3 << BITS),
            to in prop::option::of(-(3_i64 << BITS)..3 << BITS),
            offset in 0..70_u64,
            desc: bool,
        ) {
            let (connection, list) = given(&entries);
            let time = from.unwrap_or(i64::MIN)..=to.unwrap_or(i64::MAX);
            let mut times: Vec<i64> =
                entries.iter().filter(|(part, at)| parts.contains(part) && time.contains(at)).map(|(_, at)| *at).collect();
            times.sort_unstable();
            let count = |within: RangeInclusive<i64>| Ok(times.iter().filter(|at| within.contains(at)).count() as u64);

            let total = list.total(&connection, &parts, time.clone(), count).unwrap();
            let page = Page { offset, limit: 10, desc };
            let start = list.start(&connection, &parts, time, page, count).unwrap();

            prop_assert_eq!(total, times.len() as u64);
            if desc {
                times.reverse();
            }
            let expected = times.get(offset as usize..).unwrap_or_default();
            let found = start.map(|(time, left)| {
                let from_there: Vec<i64> = times.iter().copied().filter(|at| time.contains(at)).collect();
                from_there.get(left as usize..).unwrap_or_default().to_vec()
            });
            prop_assert_eq!(found.unwrap_or_default(), expected);
        }

        #[test]
        fn from_either_end_a_page_is_the_same(total in 0..50_u64, offset in 0..60_u64, limit in 0..60_u64, desc: bool) {
            let mut all: Vec<u64> = (0..total).collect();
            let cut = |all: &[u64], offset: u64, limit: u64| -> Vec<u64> {
                all.iter().copied().skip(offset as usize).take(limit as usize).collect()
            };
            if desc {
                all.reverse();
            }
            let expected = cut(&all, offset, limit);

            let (way, most, skipped) = from_nearer_end(Page { offset, limit, desc }, total);

            prop_assert!(skipped <= offset.min(total / 2 + 1));
            if way != desc {
                all.reverse();
            }
            let mut found = cut(&all, skipped, most);
            if way != desc {
                found.reverse();
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_counted_out_leaves_no_row() {
        let (connection, list) = given(&[(1, 5), (1, 6), (0, 7)]);
        for at in [6, 5] {
            list.count(&connection, 1, at, -1).unwrap();
        }
        let rows: i64 = connection.query_row("SELECT count(*) FROM list_block", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }
}
