//! Which columns a table has (`X6` to `X8`).

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;

use model::item_view::{FieldCollector, ItemView, MAX_FIELD_PATH_CHARS, MAX_FIELD_PATHS};
use model::raw_json::Scanner;

use super::{Layout, Survey};

/// Finds the columns of a table by a look at all entries.
pub(super) enum Columns {
    /// Whatever there is, sorted.
    Any(FieldCollector),
    /// Those of the named properties, in the order of their names.
    Of { names: HashMap<String, usize>, found: Vec<FieldCollector>, order: Vec<String> },
}

/// The columns of a table, if they follow from the sorted `paths` that the stored items have.
///
/// That is so when the view changes nothing but which top-level properties there are, and when it can be told from a path
/// which property it belongs to: names may hold slashes themselves.
pub(in super::super) fn from_stored(view: &ItemView, paths: &[String]) -> Option<Vec<String>> {
    let ItemView { skip_failed_pages, simplified, skip_hidden, clean, unwind, flatten, fields, omit, .. } = view;
    if *skip_failed_pages || *simplified || [unwind, flatten, omit].iter().any(|names| !names.is_empty()) {
        return None;
    }
    let is_cut = paths.len() >= MAX_FIELD_PATHS;
    if fields.is_empty() {
        let drops_hidden = (*skip_hidden || *clean) && paths.iter().any(|path| path.starts_with('#'));
        return match (drops_hidden, is_cut) {
            (false, _) => Some(paths.to_vec()),
            (true, false) => Some(paths.iter().filter(|path| !path.starts_with('#')).cloned().collect()),
            // What the hidden ones have pushed out is not known.
            (true, true) => None,
        };
    }
    let holds_others = |field: &String| {
        let below = format!("{field}/");
        let next = paths.partition_point(|path| *path < below);
        paths.get(next).is_some_and(|path| path.starts_with(&below))
    };
    let is_long = |field: &String| field.chars().count() + 1 >= MAX_FIELD_PATH_CHARS;
    if is_cut || fields.iter().any(|field| is_long(field) || holds_others(field)) {
        return None;
    }
    Some(bounded(named(view).into_iter()))
}

impl Columns {
    /// Starts to look for the columns of what `view` shows.
    pub(super) fn of(view: &ItemView) -> Self {
        if view.fields.is_empty() {
            return Self::Any(FieldCollector::default());
        }
        let order = named(view);
        let names = order.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        Self::Of { names, found: order.iter().map(|name| FieldCollector::below(name)).collect(), order }
    }
}

impl Survey for Columns {
    fn entry(&mut self, entry: &[u8]) -> io::Result<ControlFlow<()>> {
        match self {
            Self::Any(found) => {
                found.add(entry);
            }
            Self::Of { names, found, .. } => {
                let text = std::str::from_utf8(entry).map_err(io::Error::other)?;
                let mut scanner = Scanner::new(text);
                scanner.open(b'{').map_err(super::malformed)?;
                let mut first = true;
                while let Some(key) = scanner.next_key(first).map_err(super::malformed)? {
                    first = false;
                    let value = scanner.value().map_err(super::malformed)?;
                    if let Some(&at) = names.get(&*key.decode()) {
                        found[at].add(value.as_bytes());
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(self: Box<Self>) -> io::Result<Layout> {
        Ok(Layout::Columns(match *self {
            Self::Any(found) => found.paths().map(str::to_owned).collect(),
            Self::Of { found, order, .. } => bounded(found.iter().zip(order).flat_map(|(found, name)| {
                // A property that no entry has keeps its column (D37).
                if found.paths().len() == 0 { vec![name] } else { found.paths().map(str::to_owned).collect() }
            })),
        }))
    }
}

/// The properties that `fields` leaves, by the names that they have in the end and each once.
fn named(view: &ItemView) -> Vec<String> {
    let names = if view.output_fields.is_empty() { &view.fields } else { &view.output_fields };
    let mut seen = HashSet::new();
    names.iter().filter(|name| !view.omit.contains(name) && seen.insert(*name)).cloned().collect()
}

/// The first columns, each once and none longer than a column may be (`X8`).
fn bounded(columns: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let cut = columns.map(|column| column.chars().take(MAX_FIELD_PATH_CHARS).collect::<String>());
    cut.filter(|column| seen.insert(column.clone())).take(MAX_FIELD_PATHS).collect()
}
