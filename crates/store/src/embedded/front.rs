//! The store front in SQLite: a narrow row for each public Actor, and an index of its words.

use std::sync::Arc;

use model::pricing::PricingInfo;
use model::{Actor, ActorId, ActorStats, Listed, Page, Timestamp, parse_build_number};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};
use sha2::{Digest as _, Sha256};

use super::actors::{self, bounds};
use super::db::{Db, Sql as _, WriteTx};
use crate::{FrontFilter, FrontOrder, StoreError};

/// No more of a README is searched, in bytes.
const MAX_README: usize = 100_000;
/// Words of a search that are looked for.
const MAX_WORDS: usize = 20;
/// Rows that are brought up to date in one transaction.
const BATCH: i64 = 200;

/// Brings up to date what the store front shows of an Actor. To be called with every change of one.
pub(super) fn note(tx: &WriteTx<'_>, actor: &Actor) -> Result<(), StoreError> {
    note_at(tx, actor, tx.now())
}

fn note_at(tx: &WriteTx<'_>, actor: &Actor, now: Timestamp) -> Result<(), StoreError> {
    if !actor.is_public {
        return remove(tx, &actor.id);
    }
    let pricing_model = PricingInfo::model_in_force(&actor.pricing_infos, now);
    let later = actor.pricing_infos.iter().map(|entry| entry.started_at).filter(|start| *start > now).min();
    tx.run(
        "INSERT INTO front (actor_id, user_id, created_at, modified_at, users, runs, pricing_model, due_at, texts)
         SELECT ?1, ?2, ?3, ?4, total_users, total_runs, ?5, ?6, 0 FROM actor WHERE id = ?1
         ON CONFLICT (actor_id) DO UPDATE
         SET modified_at = excluded.modified_at, pricing_model = excluded.pricing_model, due_at = excluded.due_at",
        params![
            actor.id.as_str(),
            actor.user_id.as_str(),
            actor.created_at.as_millis(),
            actor.modified_at.as_millis(),
            pricing_model,
            later.map(Timestamp::as_millis),
        ],
    )?;
    note_texts(tx, actor)
}

/// Takes an Actor out of the store front, if it is there.
pub(super) fn remove(connection: &Connection, id: &ActorId) -> Result<(), StoreError> {
    let find = "SELECT k FROM front WHERE actor_id = ?1";
    let Some(k) = connection.one(find, [id.as_str()], |row| row.get::<_, i64>(0))? else { return Ok(()) };
    for sql in [
        "DELETE FROM front_text WHERE rowid = ?1",
        "DELETE FROM front_category WHERE k = ?1",
        "DELETE FROM front WHERE k = ?1",
    ] {
        connection.run(sql, [k])?;
    }
    Ok(())
}

/// Counts the use of an Actor, if it is in the store front.
pub(super) fn count_use(connection: &Connection, id: &ActorId, runs: i64, new_users: i64) -> Result<(), StoreError> {
    let count = "UPDATE front SET runs = runs + ?2, users = users + ?3 WHERE actor_id = ?1";
    connection.run(count, params![id.as_str(), runs, new_users])?;
    Ok(())
}

/// The Actors that are wanted, with what is known of their use.
pub(super) async fn list(
    db: &Db,
    wanted: FrontFilter,
    page: Page,
    now: Timestamp,
) -> Result<Listed<(Arc<Actor>, ActorStats)>, StoreError> {
    while bring_up_to_date(db, now).await? {}
    db.snapshot_blocking(move |connection| find(connection, &wanted, page)).await
}

/// Brings rows up to date that are not; tells whether there may be more.
async fn bring_up_to_date(db: &Db, now: Timestamp) -> Result<bool, StoreError> {
    let due = "SELECT actor_id FROM front WHERE due_at <= ?1 LIMIT ?2";
    let due: Vec<String> = db.read(|connection| connection.all(due, [now.as_millis(), BATCH], |row| row.get(0)))?;
    if due.is_empty() {
        return Ok(false);
    }
    db.write_checked(0, move |tx| {
        for id in due.iter().filter_map(|id| ActorId::parse(id)) {
            match actors::read(tx, &id)? {
                Some(actor) => note_at(tx, &actor, now)?,
                None => remove(tx, &id)?,
            }
        }
        Ok(true)
    })
    .await
}

fn find(
    connection: &Connection,
    wanted: &FrontFilter,
    page: Page,
) -> Result<Listed<(Arc<Actor>, ActorStats)>, StoreError> {
    let search = match wanted.search.as_deref().map(Search::of) {
        Some(None) => return Ok(Listed { total: 0, items: Vec::new() }),
        search => search.flatten(),
    };
    let (mut conditions, mut values) = (vec!["1"], Vec::new());
    let mut demand = |condition, value: String| {
        conditions.push(condition);
        values.push(Value::Text(value));
    };
    if let Some(category) = &wanted.category {
        demand("k IN (SELECT k FROM front_category WHERE category = ?)", category.clone());
    }
    if let Some(user) = &wanted.user {
        demand("user_id = ?", user.to_string());
    }
    if let Some(model) = &wanted.pricing_model {
        demand("pricing_model = ?", model.clone());
    }
    let conditions = conditions.join(" AND ");
    let order = match wanted.order {
        FrontOrder::Relevance | FrontOrder::Popularity => "users DESC, runs DESC, actor_id",
        FrontOrder::Newest => "created_at DESC, actor_id",
        FrontOrder::LastUpdate => "modified_at DESC, actor_id",
    };
    let (total, found) = match &search {
        Some(search) => {
            let hits = Hits::of(connection, search, wanted.order == FrontOrder::Relevance)?;
            hits.page(connection, &format!("SELECT k FROM front WHERE {conditions} ORDER BY {order}"), &values, page)?
        }
        None => {
            let count = format!("SELECT count(*) FROM front WHERE {conditions}");
            let total = connection.prepare_cached(&count)?.query_row(params_from_iter(&values), |row| row.get(0))?;
            let (limit, offset) = bounds(page);
            values.extend([limit, offset].map(Value::Integer));
            let select = format!("SELECT k FROM front WHERE {conditions} ORDER BY {order} LIMIT ? OFFSET ?");
            let mut statement = connection.prepare_cached(&select)?;
            let rows = statement.query_map(params_from_iter(&values), |row| row.get(0))?;
            (total, rows.collect::<rusqlite::Result<_>>()?)
        }
    };
    let mut items = Vec::with_capacity(found.len());
    for k in found {
        items.extend(actors::in_front(connection, k)?);
    }
    Ok(Listed { total, items })
}

/// The rows in which a search found its words, each kind sorted.
struct Hits {
    all: Vec<i64>,
    /// Those in names, and those in short texts, which come first.
    first: Option<[Vec<i64>; 2]>,
}

impl Hits {
    fn of(connection: &Connection, search: &Search, by_relevance: bool) -> Result<Self, StoreError> {
        let look = |words: String| -> Result<Vec<i64>, StoreError> {
            let rows = "SELECT rowid FROM front_text WHERE front_text MATCH ?1 ORDER BY rowid";
            connection.all(rows, [words], |row| row.get(0))
        };
        let first = match by_relevance {
            true => Some([look(search.in_names())?, look(search.in_short_texts())?]),
            false => None,
        };
        Ok(Self { all: look(search.anywhere())?, first })
    }

    /// How many there are of what `sql` goes through, and a page of them: in its order, but for what comes first.
    fn page(
        &self,
        connection: &Connection,
        sql: &str,
        values: &[Value],
        page: Page,
    ) -> Result<(u64, Vec<i64>), StoreError> {
        let mut classes: [Vec<i64>; 3] = Default::default();
        let has = |rows: &Vec<i64>, k: i64| rows.binary_search(&k).is_ok();
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let k = row.get(0)?;
            if !has(&self.all, k) {
                continue;
            }
            let class = match &self.first {
                Some([names, _]) if has(names, k) => 0,
                Some([_, short]) if has(short, k) => 1,
                _ => 2,
            };
            classes[class].push(k);
        }
        let total = classes.iter().map(|class| class.len() as u64).sum();
        let skipped = usize::try_from(page.offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        Ok((total, classes.into_iter().flatten().skip(skipped).take(limit).collect()))
    }
}

/// What is looked for: words of which each must be there, at least as the beginning of one.
struct Search(String);

impl Search {
    /// `None` if there is nothing to look for in it.
    fn of(text: &str) -> Option<Self> {
        let words = text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).take(MAX_WORDS);
        let words: Vec<String> = words.map(|word| format!("\"{}\"*", word.replace(['"', '\0'], " "))).collect();
        (!words.is_empty()).then(|| Self(words.join(" AND ")))
    }

    fn anywhere(&self) -> String {
        self.0.clone()
    }

    fn in_names(&self) -> String {
        format!("{{name title}} : ({})", self.0)
    }

    fn in_short_texts(&self) -> String {
        format!("{{name title description username}} : ({})", self.0)
    }
}

/// Writes the words and categories of an Actor anew, if they have changed.
fn note_texts(connection: &Connection, actor: &Actor) -> Result<(), StoreError> {
    let find = "SELECT k, texts FROM front WHERE actor_id = ?1";
    let row = connection.one(find, [actor.id.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let Some((k, before)) = row else { return Ok(()) };
    let username = "SELECT username FROM user WHERE id = ?1";
    let username: Option<String> = connection.one(username, [actor.user_id.as_str()], |row| row.get(0))?;
    let username = username.unwrap_or_default();
    let build = default_build(connection, actor)?;
    let fingerprint = fingerprint(actor, &username, build);
    if fingerprint == before {
        return Ok(());
    }
    let readme = "SELECT json_extract(doc, '$.readme') FROM build_details WHERE k = ?1";
    let readme: Option<Option<String>> = connection.one(readme, [build], |row| row.get(0))?;
    let readme = readme.flatten().unwrap_or_default();
    connection.run("DELETE FROM front_text WHERE rowid = ?1", [k])?;
    connection.run(
        "INSERT INTO front_text (rowid, name, title, description, username, readme) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            k,
            actor.name,
            actor.title,
            actor.description,
            username,
            &readme[..readme.floor_char_boundary(MAX_README)],
        ],
    )?;
    connection.run("DELETE FROM front_category WHERE k = ?1", [k])?;
    for category in &actor.categories {
        connection.run("INSERT OR IGNORE INTO front_category (category, k) VALUES (?1, ?2)", params![category, k])?;
    }
    connection.run("UPDATE front SET texts = ?2 WHERE k = ?1", [k, fingerprint])?;
    Ok(())
}

/// The row of the build that runs use by default (`BLD-8`).
fn default_build(connection: &Connection, actor: &Actor) -> Result<Option<i64>, StoreError> {
    let default = &actor.default_run_options.build;
    if parse_build_number(default).is_some() {
        let find = "SELECT k FROM build WHERE actor_id = ?1 AND number = ?2";
        return connection.one(find, params![actor.id.as_str(), default], |row| row.get(0));
    }
    let Some(tagged) = actor.tagged_builds.get(default) else { return Ok(None) };
    connection.one("SELECT k FROM build WHERE id = ?1", [tagged.build_id.as_str()], |row| row.get(0))
}

fn fingerprint(actor: &Actor, username: &str, build: Option<i64>) -> i64 {
    let mut hash = Sha256::new();
    let texts = [Some(actor.name.as_str()), actor.title.as_deref(), actor.description.as_deref(), Some(username)];
    let categories = actor.categories.iter().map(|category| Some(category.as_str()));
    for text in texts.into_iter().chain(categories) {
        let text = text.unwrap_or_default();
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash.update(build.unwrap_or_default().to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    i64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_words_whatever_stands_in_it() {
        for (text, words) in [
            ("maps", Some("\"maps\"*")),
            ("  Google   maps ", Some("\"Google\"* AND \"maps\"*")),
            ("a\" OR name:b*", Some("\"a \"* AND \"OR\"* AND \"name:b*\"*")),
            ("c++ - *", Some("\"c++\"*")),
            ("\"", None),
            ("", None),
        ] {
            assert_eq!(Search::of(text).map(|search| search.0).as_deref(), words, "{text}");
        }
    }
}
