//! Whether a task may get the public page that it asks for (`TASK-10`, `TASK-11`).

use engine::Caller;
use model::actor_json::ActorDefinition;
use model::input_schema::InputSchema;
use model::{Build, PublicConfig, Task};
use serde_json::Value;
use store::Noun;

use crate::app::App;
use crate::error::{ApiError, Problem};

/// Checks what of `new` concerns the public page and was not so in `old`. Taking it back, and asking for what is there
/// already, is always allowed.
///
/// # Errors
/// `403` if the Actor is another user's, which is looked at first; `400` for what the Actor does not have and for a page that
/// is not complete.
pub(super) async fn check(app: &App, caller: &Caller, old: &Task, new: &Task) -> Result<(), ApiError> {
    let publishes = new.is_public() && !old.is_public();
    let edits = content(new) != content(old);
    if !publishes && !edits {
        return Ok(());
    }
    let actor = app.store().actors.get(&new.actor_id).await?.ok_or_else(|| ApiError::not_found(Noun::Actor))?;
    if caller.is_limited() {
        return Err(ApiError::token_is_limited());
    }
    if actor.user_id != new.user_id {
        let message = "Insufficient permissions for the Actor of the task: only its owner may publish its tasks";
        return Err(ApiError::new(Problem::InsufficientPermissions, message));
    }
    if let Some(config) = new.public_config.as_ref().filter(|config| edits && names_schema(config)) {
        let build = app.engine().resolve_build(&actor, new.options.build.as_deref()).await?;
        check_schemas(config, &build)?;
    }
    if publishes && !(actor.is_public && new.is_publishable()) {
        let message = "The task cannot be published: its Actor must be public, and it needs a public configuration with \
                       a title and a description";
        return Err(ApiError::new(Problem::CannotPublishActorTask, message));
    }
    Ok(())
}

fn content(task: &Task) -> PublicConfig {
    task.public_config.as_ref().map(PublicConfig::content).unwrap_or_default()
}

fn names_schema(config: &PublicConfig) -> bool {
    config.input_schema_fields.is_some() || config.dataset_name.is_some() || config.dataset_view.is_some()
}

/// Refuses fields, datasets and views that the build does not have.
fn check_schemas(config: &PublicConfig, build: &Build) -> Result<(), ApiError> {
    let refused = |name: &str, value: &str, what: &str| {
        let message = format!("\"publicConfig.{name}\": the Actor has no {what} \"{value}\"");
        Err(ApiError::new(Problem::InvalidValue, message))
    };
    let schema = build.input_schema.as_deref().and_then(|text| InputSchema::parse(text).ok());
    let properties = schema.as_ref().map(|schema| &schema.source()["properties"]);
    for field in config.input_schema_fields.iter().flatten() {
        if properties.and_then(|properties| properties.get(field)).is_none() {
            return refused("inputSchemaFields", field, "input field");
        }
    }

    let definition = build.actor_definition.as_ref().and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
    let definition = definition.unwrap_or_default();
    let dataset = match config.dataset_name.as_deref() {
        None | Some("default") => ActorDefinition::default_storage_schemas(&definition).0,
        Some(name) => match definition["storages"]["datasets"].get(name) {
            Some(schema) => Some(schema),
            None => return refused("datasetName", name, "dataset"),
        },
    };
    match &config.dataset_view {
        Some(view) if dataset.and_then(|schema| schema["views"].get(view)).is_none() => {
            refused("datasetView", view, "dataset view")
        }
        _ => Ok(()),
    }
}
