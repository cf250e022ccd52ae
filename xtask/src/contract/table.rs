//! `docs/operations.md`: which test covers each operation.
//!
//! Nobody claims it: the tests of the HTTP face run once and write down what they ask and what they get. An operation is
//! covered by the test that sees it succeed and is about the fewest others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Tests that walk through all operations, and so say little of each.
const WALKS: &str = "contract::";

/// Runs the tests of the HTTP face, and writes the table.
pub fn write() -> anyhow::Result<()> {
    let trace = tempfile::NamedTempFile::new()?;
    // But for the one that looks at what is yet to be written.
    let mut tests =
        crate::cargo(["test", "--package", "playhouse-api", "--test", "it", "--", "--skip", "contract::table"]);
    crate::run(tests.env("PLAYHOUSE_TEST_TRACE", trace.path()))?;
    let path = crate::root().join("docs/operations.md");
    std::fs::write(&path, table(trace.path())?)?;
    println!("wrote {}", path.display());
    Ok(())
}

struct Operation {
    method: String,
    path: String,
    id: String,
}

fn table(trace: &Path) -> anyhow::Result<String> {
    let operations = std::fs::read_to_string(super::directory().join("operations.tsv"))?;
    let operations: Vec<_> = operations
        .lines()
        .map(|line| {
            let mut columns = line.split('\t').map(str::to_owned);
            let mut next = || columns.next().context("a column is missing");
            Ok(Operation { method: next()?, path: next()?, id: next()? })
        })
        .collect::<anyhow::Result<_>>()?;

    // What each test saw succeed
    let mut seen: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for line in std::fs::read_to_string(trace)?.lines() {
        let [test, method, path, status] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        if status.starts_with('2')
            && let Some(at) = operation_of(&operations, method, path)
        {
            seen.entry(test.to_owned()).or_default().insert(at);
        }
    }

    let mut text = String::from(
        "# Operations\n\n\
         The operations of the official OpenAPI document, each with the test that is most about it. Besides, every one is\n\
         walked through by the tests in `crates/api/tests/it/contract`: its answer must fit the official schema, and what is\n\
         wrong must be refused in the document's words. `cargo xtask operations` writes this file from what the tests do.\n\n\
         | Operation | Path | Test |\n| --- | --- | --- |\n",
    );
    for (at, operation) in operations.iter().enumerate() {
        let covering = seen.iter().filter(|(_, operations)| operations.contains(&at));
        let best = covering.min_by_key(|(test, operations)| (test.starts_with(WALKS), operations.len(), test.len()));
        let (test, _) = best.with_context(|| format!("no test sees {} succeed", operation.id))?;
        writeln!(text, "| `{}` | `{} {}` | `{test}` |", operation.id, operation.method, operation.path)?;
    }
    ensure!(!seen.is_empty(), "the tests wrote nothing down");
    Ok(text)
}

/// The operation that a request is for: of those that fit, the one that spells out most of the path.
fn operation_of(operations: &[Operation], method: &str, path: &str) -> Option<usize> {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.replacen("/v2/acts", "/v2/actors", 1);
    let parts: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let score = |operation: &Operation| {
        let wanted: Vec<_> = operation.path.split('/').collect();
        let fits = |(part, wanted): (&&str, &&str)| part == wanted || (wanted.starts_with('{') && !part.is_empty());
        let is_it = operation.method == method && wanted.len() == parts.len() && parts.iter().zip(&wanted).all(fits);
        is_it.then(|| wanted.iter().filter(|part| !part.starts_with('{')).count())
    };
    let found = operations.iter().enumerate().filter_map(|(at, operation)| Some((score(operation)?, at)));
    found.max().map(|(_, at)| at)
}
