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
    if *skip_failed_pages || *simplified || !unwind.is_empty() || !flatten.is_empty() {
        return None;
    }
    let is_cut = paths.len() >= MAX_FIELD_PATHS;
    let holds_others = |property: &String| {
        let below = format!("{property}/");
        let next = paths.partition_point(|path| *path < below);
        paths.get(next).is_some_and(|path| path.starts_with(&below))
    };
    let is_long = |property: &String| property.chars().count() + 1 >= MAX_FIELD_PATH_CHARS;
    if !fields.is_empty() {
        let is_plain = |property: &String| !is_long(property) && !holds_others(property);
        return (!is_cut && fields.iter().all(is_plain)).then(|| bounded(named(view).into_iter()));
    }

    let is_hidden = |path: &String| (*skip_hidden || *clean) && path.starts_with('#');
    let is_left_out = |path: &String| is_hidden(path) || omit.contains(path);
    if !paths.iter().any(is_hidden) && omit.is_empty() {
        return Some(paths.to_vec());
    }
    // What the ones that go have pushed out is not known.
    let is_ambiguous = |property: &String| property.contains('/') || is_long(property) || holds_others(property);
    let is_known = !is_cut && !omit.iter().any(is_ambiguous);
    is_known.then(|| paths.iter().filter(|path| !is_left_out(path)).cloned().collect())
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
pub(super) fn named(view: &ItemView) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn view(fields: &[&str], omit: &[&str], clean: bool) -> ItemView {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ItemView { fields: owned(fields), omit: owned(omit), clean, ..ItemView::default() }
    }

    #[test]
    fn columns_follow_from_stored_paths_only_where_a_path_tells_its_property() {
        let paths = ["#h", "a", "a b", "b/0", "c", "d/e"].map(str::to_owned);

        for (view, expected) in [
            (view(&[], &[], false), Some("#h,a,a b,b/0,c,d/e")),
            (view(&[], &[], true), Some("a,a b,b/0,c,d/e")),
            (view(&[], &["a", "none"], true), Some("a b,b/0,c,d/e")),
            (view(&[], &["b"], false), None),
            (view(&[], &["d/e"], false), None),
            (view(&["c", "none", "a", "c"], &["a"], true), Some("c,none")),
            (view(&["c", "b"], &[], false), None),
            (view(&["d/e"], &[], false), Some("d/e")),
            (ItemView { flatten: vec!["d".to_owned()], ..ItemView::default() }, None),
        ] {
            let columns = from_stored(&view, &paths).map(|columns| columns.join(","));
            assert_eq!(columns.as_deref(), expected, "{view:?}");
        }
        let many: Vec<String> = std::iter::once("#h".to_owned()).chain((0..1999).map(|n| format!("k{n:04}"))).collect();
        assert_eq!(from_stored(&view(&[], &[], false), &many), Some(many.clone()));
        assert_eq!(from_stored(&view(&[], &[], true), &many), None);
        assert_eq!(from_stored(&view(&["k0000"], &[], true), &many), None);
    }
}
