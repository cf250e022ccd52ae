//! What the items of a dataset with a schema hold, field by field (`D55`, `D56`).

use std::collections::HashMap;

use axum::extract::State;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use store::Window;

use crate::app::App;
use crate::error::Answer;
use crate::extract::{Dataset, Readable};
use crate::wire;

/// Fields that are told of at most.
const MAX_FIELDS: usize = 2000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    field_statistics: Option<Map<String, Value>>,
}

/// One field over all items.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Number>,
    null_count: u64,
    empty_count: u64,
    #[serde(skip)]
    present: u64,
}

pub(super) async fn show(State(app): State<App>, Readable(dataset, ..): Readable<Dataset>) -> Answer {
    let schema = app.schemas().of_dataset(&dataset.storage)?;
    let properties = schema.as_ref().and_then(|schema| schema.source()["fields"]["properties"].as_object());
    let Some(properties) = properties else { return Ok(wire::ok(&Statistics { field_statistics: None })) };

    let names = properties.keys().take(MAX_FIELDS);
    let mut fields: HashMap<&str, Field> = names.clone().map(|name| (name.as_str(), Field::default())).collect();
    let mut items = app.store().datasets.read(&dataset.storage.id, Window::default()).await?;
    let total = items.count;
    while let Some(chunk) = items.chunks.next().await {
        for item in chunk?.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // What is stored was checked when it came; an item too deep for this reader tells nothing.
            let Ok(item) = serde_json::from_slice::<HashMap<std::borrow::Cow<'_, str>, Size>>(item) else { continue };
            for (name, size) in item {
                if let Some(field) = fields.get_mut(&*name) {
                    field.add(size);
                }
            }
        }
        tokio::task::consume_budget().await;
    }

    let told = names.map(|name| {
        let mut field = fields.remove(name.as_str()).unwrap_or_default();
        field.empty_count = total.saturating_sub(field.present);
        (name.clone(), serde_json::to_value(field).unwrap_or_default())
    });
    Ok(wire::ok(&Statistics { field_statistics: Some(told.collect()) }))
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
