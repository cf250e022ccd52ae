//! What the items of a dataset with a schema hold, field by field (`D55`, `D56`).
//!
//! A dataset only grows and never changes its schema, so what was counted stays right: the next one who asks has only the
//! items counted that came since, also after a restart.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use futures::TryStreamExt as _;
use model::StorageId;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use store::{DatasetStore, Window};
use tracing::warn;

use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{Dataset, Readable};
use crate::wire;

/// Fields that are told of at most.
const MAX_FIELDS: usize = 2000;
/// Datasets whose counts are kept in memory.
const KEPT: u64 = 1000;
/// The counts are written down whenever so many more items have been counted.
const WRITTEN_EVERY: u64 = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    field_statistics: Option<Map<String, Value>>,
}

/// What was counted, by dataset.
pub(crate) struct Counted(Cache<StorageId, Arc<Counts>>);

impl Default for Counted {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

/// The fields of the first items of a dataset.
#[derive(Clone, Debug, PartialEq)]
struct Counts {
    /// How many items those are.
    items: u64,
    /// In the order of the schema.
    names: Vec<String>,
    fields: HashMap<String, Field>,
    /// How many items those are of which the counts are written down.
    written: u64,
}

/// Counts as they are written down.
#[derive(Serialize, Deserialize)]
struct Note {
    items: u64,
    /// By field: how many items have it, and the rest of what was counted.
    fields: Vec<(String, u64, Field)>,
}

/// One field over all items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<Number>,
    null_count: u64,
    empty_count: u64,
    /// Items that have it; told by those that have not.
    #[serde(skip)]
    present: u64,
}

pub(super) async fn show(State(app): State<App>, Readable(dataset, ..): Readable<Dataset>) -> Answer {
    let id = dataset.storage.id;
    let schema = app.schemas().of_dataset(&dataset.storage)?;
    let properties = schema.as_ref().and_then(|schema| schema.source()["fields"]["properties"].as_object());
    let Some(properties) = properties else { return Ok(wire::ok(&Statistics { field_statistics: None })) };

    let (counted, datasets) = (&app.counted().0, &app.store().datasets);
    let known = match counted.get(&id) {
        Some(known) => known,
        None => {
            let names = properties.keys().take(MAX_FIELDS).cloned().collect();
            Arc::new(Counts::noted(names, datasets.note(&id).await?.as_deref()))
        }
    };
    let mut counts = Counts::clone(&known).carried_on(&**datasets, &id).await?;
    if counts.items - counts.written >= WRITTEN_EVERY {
        match datasets.keep_note(&id, counts.note()?).await {
            Ok(()) => counts.written = counts.items,
            // What was counted is right all the same.
            Err(error) => warn!(dataset.id = %id, %error, "Cannot write down what was counted in dataset {id}"),
        }
    }
    if counts.items > known.items {
        counted.insert(id, Arc::new(counts.clone()));
    }
    Ok(wire::ok(&Statistics { field_statistics: Some(counts.told()) }))
}

impl Counts {
    /// As they were written down; of no item if they were not.
    fn noted(names: Vec<String>, note: Option<&str>) -> Self {
        let note: Option<Note> = note.and_then(|note| serde_json::from_str(note).ok());
        let mut fields: HashMap<_, _> = names.iter().map(|name| (name.clone(), Field::default())).collect();
        let items = note.as_ref().map_or(0, |note| note.items);
        for (name, present, field) in note.into_iter().flat_map(|note| note.fields) {
            fields.insert(name, Field { present, ..field });
        }
        Self { items, names, fields, written: items }
    }

    fn note(&self) -> Result<String, ApiError> {
        let fields = self.fields.iter().map(|(name, field)| (name.clone(), field.present, field.clone()));
        let note = Note { items: self.items, fields: fields.collect() };
        serde_json::to_string(&note).map_err(ApiError::internal)
    }

    /// The same with the items that have come since, a chunk at a time and away from the threads that answer requests.
    async fn carried_on(mut self, datasets: &dyn DatasetStore, id: &StorageId) -> Result<Self, ApiError> {
        let window = Window { offset: self.items, ..Window::default() };
        let mut chunks = datasets.read(id, window).await?.chunks;
        while let Some(chunk) = chunks.try_next().await? {
            let count = move || {
                self.add(&chunk.lines);
                self.items += chunk.count;
                self
            };
            self = tokio::task::spawn_blocking(count).await.map_err(ApiError::internal)?;
        }
        Ok(self)
    }

    fn add(&mut self, lines: &[u8]) {
        for item in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // What is stored was checked when it came; an item too deep for this reader tells nothing.
            let Ok(item) = serde_json::from_slice::<HashMap<std::borrow::Cow<'_, str>, Size>>(item) else { continue };
            for (name, size) in item {
                if let Some(field) = self.fields.get_mut(&*name) {
                    field.add(size);
                }
            }
        }
    }

    fn told(mut self) -> Map<String, Value> {
        let field = |name: String| {
            let mut field = self.fields.remove(&name).unwrap_or_default();
            field.empty_count = self.items.saturating_sub(field.present);
            (name, serde_json::to_value(field).unwrap_or_default())
        };
        self.names.into_iter().map(field).collect()
    }
}

impl Field {
    fn add(&mut self, size: Size) {
        self.present += 1;
        let Size(Some(size)) = size else {
            self.null_count += 1;
            return;
        };
        let is = |kept: &Option<Number>, better: fn(f64, f64) -> bool| {
            kept.as_ref().is_none_or(|kept| better(size.as_f64().unwrap_or(0.0), kept.as_f64().unwrap_or(0.0)))
        };
        if is(&self.min, |new, kept| new < kept) {
            self.min = Some(size.clone());
        }
        if is(&self.max, |new, kept| new > kept) {
            self.max = Some(size);
        }
    }
}

/// What counts of a value: a number itself, the length of a string or an array, the keys of an object, 1 for true; nothing
/// for null.
struct Size(Option<Number>);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Null => None,
            Value::Bool(value) => Some(u64::from(value).into()),
            Value::Number(number) => Some(number),
            Value::String(text) => Some(text.chars().count().into()),
            Value::Array(elements) => Some(elements.len().into()),
            Value::Object(members) => Some(members.len().into()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_on_from_where_they_were_written_down() {
        let names = || vec!["a".to_owned(), "b".to_owned()];
        let (first, second) = (br#"{"a":5,"b":null}"#, br#"{"a":-7.5}"#);
        let mut straight = Counts::noted(names(), None);
        straight.add(first);
        straight.items += 1;

        let mut resumed = Counts::noted(names(), Some(&straight.note().expect("a note")));

        assert_eq!(resumed, Counts { written: 1, ..straight.clone() });
        for counts in [&mut straight, &mut resumed] {
            counts.add(second);
            counts.items += 1;
        }
        let told = resumed.told();
        assert_eq!(told, straight.told());
        assert_eq!(told["a"], serde_json::json!({ "min": -7.5, "max": 5, "nullCount": 0, "emptyCount": 0 }));
        assert_eq!(told["b"], serde_json::json!({ "nullCount": 1, "emptyCount": 1 }));
        assert_eq!(Counts::noted(names(), Some("nonsense")).items, 0);
    }
}
