//! What a run will bring, as the output schema of its build describes it: addresses to look at (`RUN-17`).

use std::sync::Arc;

use model::{BuildId, Run};
use moka::sync::Cache;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::error::ApiError;
use crate::wire::RunBody;

/// The templates of builds by name. Builds do not change once they can be run, and runs are looked at often.
#[derive(Debug)]
pub(crate) struct Outputs(Cache<BuildId, Arc<[(String, String)]>>);

impl Default for Outputs {
    fn default() -> Self {
        Self(Cache::new(1024))
    }
}

/// The part of actor.json that tells of the output.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Definition {
    output: OutputSchema,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutputSchema {
    properties: Map<String, Value>,
}

/// The addresses of a run's output; `None` if its build has no output schema.
pub(super) async fn output(app: &App, run: &Run, body: &RunBody<'_>) -> Result<Option<Value>, ApiError> {
    let templates = templates(app, &run.build_id).await?;
    if templates.is_empty() {
        return Ok(None);
    }
    let variables = variables(app, run, body);
    let filled = templates.iter().map(|(name, template)| (name.clone(), filled(template, &variables).into()));
    Ok(Some(Value::Object(filled.collect())))
}

async fn templates(app: &App, build: &BuildId) -> Result<Arc<[(String, String)]>, ApiError> {
    if let Some(known) = app.outputs().0.get(build) {
        return Ok(known);
    }
    let found = app.store().builds.get(build).await?;
    let definition = found.as_ref().and_then(|build| build.actor_definition.as_ref());
    let definition: Definition = definition.and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default();
    let templates = definition.output.properties.into_iter().filter_map(|(name, property)| {
        let template = property.get("template")?.as_str()?.to_owned();
        Some((name, template))
    });
    let templates: Arc<[_]> = templates.collect();
    app.outputs().0.insert(*build, templates.clone());
    Ok(templates)
}

/// Everything that a template may name.
fn variables(app: &App, run: &Run, body: &RunBody<'_>) -> Value {
    let (actor, id) = (&run.actor_id, &run.id);
    let (dataset, store) = (&run.storages.dataset, &run.storages.key_value_store);
    let container_url = app.engine_config().container_url(&run.container_secret);
    let storage = |plural: &str, id: &model::StorageId| {
        json!({
            "id": id,
            "apiUrl": app.public_url(&format!("{plural}/{id}")),
            "consoleUrl": app.console_url(&format!("storage/{plural}/{id}")),
        })
    };
    let aliased = run.storages.aliased_datasets.iter().map(|(alias, id)| (alias.clone(), storage("datasets", id)));
    let default = std::iter::once(("default".to_owned(), storage("datasets", dataset)));
    json!({
        "links": {
            "publicRunUrl": app.console_url(&format!("runs/{id}")),
            "consoleRunUrl": app.console_url(&format!("actors/{actor}/runs/{id}")),
            "apiRunUrl": app.public_url(&format!("actor-runs/{id}")),
            "apiDefaultDatasetUrl": app.public_url(&format!("datasets/{dataset}")),
            "apiDefaultKeyValueStoreUrl": app.public_url(&format!("key-value-stores/{store}")),
            "containerRunUrl": container_url,
        },
        "run": body,
        "storages": {
            "datasets": default.chain(aliased).collect::<Map<String, Value>>(),
            "keyValueStores": { "default": storage("key-value-stores", store) },
            "requestQueues": { "default": storage("request-queues", &run.storages.request_queue) },
        },
    })
}

/// The template with its `{{variables}}` replaced; what it names wrongly stays as it is, where its author sees it.
fn filled(template: &str, variables: &Value) -> String {
    let mut text = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        text.push_str(before);
        match name.trim().split('.').try_fold(variables, |value, part| value.get(part)) {
            Some(Value::String(value)) => text.push_str(value),
            Some(value) if !value.is_null() => text.push_str(&value.to_string()),
            _ => text.push_str(&format!("{{{{{name}}}}}")),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_unknown_ones_stay() {
        let variables = json!({ "links": { "a": "http://x/y" }, "run": { "n": 5, "z": null } });

        for (template, expected) in [
            ("{{links.a}}/items", "http://x/y/items"),
            ("<{{ run.n }}|{{run.n}}>", "<5|5>"),
            ("{{links.b}} {{run.z}} {{links.a.b}}", "{{links.b}} {{run.z}} {{links.a.b}}"),
            ("{{open", "{{open"),
            ("}}{{}}", "}}{{}}"),
            ("", ""),
        ] {
            assert_eq!(filled(template, &variables), expected, "{template}");
        }
    }
}
