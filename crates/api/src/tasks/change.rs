//! What of a task can be given and changed (`TASK-1`, `TASK-11`).

use model::{JsonObject, MAX_SEO_DESCRIPTION, MAX_SEO_TITLE, PublicConfig, Task, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use store::Noun;

use crate::error::{ApiError, Problem};
use crate::wire::{Given, OptionsGiven, check_name, given, set_text};

/// A task as it is created or, field by field, changed. What is not given stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TaskGiven {
    act_id: Option<String>,
    name: Option<String>,
    #[serde(deserialize_with = "given")]
    title: Given<String>,
    #[serde(deserialize_with = "given")]
    description: Given<String>,
    #[serde(deserialize_with = "given")]
    options: Given<OptionsGiven>,
    #[serde(deserialize_with = "given")]
    input: Given<Box<RawValue>>,
    #[serde(deserialize_with = "given")]
    actor_standby: Given<Map<String, Value>>,
    is_public: Option<bool>,
    #[serde(deserialize_with = "given")]
    public_config: Given<PublicConfigGiven>,
}

/// How the public page shall look, field by field. When it was published is the server's to say (`TASK-11`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PublicConfigGiven {
    #[serde(deserialize_with = "given")]
    seo_title: Given<String>,
    #[serde(deserialize_with = "given")]
    seo_description: Given<String>,
    #[serde(deserialize_with = "given")]
    categorization: Given<String>,
    #[serde(deserialize_with = "given")]
    input_schema_fields: Given<Vec<String>>,
    #[serde(deserialize_with = "given")]
    dataset_name: Given<String>,
    #[serde(deserialize_with = "given")]
    dataset_view: Given<String>,
}

impl TaskGiven {
    /// The Actor of a new task.
    pub(super) fn actor(&self) -> Option<&str> {
        self.act_id.as_deref().filter(|actor| !actor.is_empty())
    }

    /// The name of a new task; an empty one is none.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| !name.is_empty())
    }

    /// `old` with what was given, checked. Whether it may be published is for [`super::publishing`] to say.
    ///
    /// # Errors
    /// `400` for a value that breaks a rule.
    pub(super) fn apply(&self, old: &Task, now: Timestamp) -> Result<Task, ApiError> {
        let mut task = Task { modified_at: now, ..old.clone() };
        if let Some(name) = self.name() {
            check_name(Noun::Task, name)?;
            name.clone_into(&mut task.name);
        }
        set_text(&mut task.title, &self.title);
        set_text(&mut task.description, &self.description);
        if let Some(options) = &self.options {
            task.options = match options {
                Some(options) => options.clone().over(&old.options)?,
                None => Default::default(),
            };
        }
        if let Some(input) = &self.input {
            task.input = match input {
                Some(input) => JsonObject::of(input.clone())?,
                None => None,
            };
        }
        match &self.actor_standby {
            Some(Some(settings)) => {
                task.actor_standby = Some(task.actor_standby.unwrap_or_default().with(settings)?);
            }
            Some(None) => task.actor_standby = None,
            None => {}
        }
        if let Some(Some(config)) = &self.public_config {
            let new = config.over(task.public_config.clone().unwrap_or_default())?;
            // The Python client sends an empty one with every change.
            if task.public_config.is_some() || new != PublicConfig::default() {
                task.public_config = Some(new);
            }
        }
        if let Some(is_public) = self.is_public.filter(|is_public| *is_public != task.is_public()) {
            let config = task.public_config.get_or_insert_default();
            config.published_at = is_public.then_some(now);
        }
        Ok(task)
    }
}

impl PublicConfigGiven {
    fn over(&self, mut config: PublicConfig) -> Result<PublicConfig, ApiError> {
        set_text(&mut config.seo_title, &self.seo_title);
        set_text(&mut config.seo_description, &self.seo_description);
        set_text(&mut config.categorization, &self.categorization);
        set_text(&mut config.dataset_name, &self.dataset_name);
        set_text(&mut config.dataset_view, &self.dataset_view);
        if let Some(fields) = &self.input_schema_fields {
            config.input_schema_fields.clone_from(fields);
        }
        for (name, text, longest) in [
            ("seoTitle", &config.seo_title, MAX_SEO_TITLE),
            ("seoDescription", &config.seo_description, MAX_SEO_DESCRIPTION),
        ] {
            if text.as_ref().is_some_and(|text| text.chars().count() > longest) {
                let message = format!("\"publicConfig.{name}\" may have at most {longest} characters");
                return Err(ApiError::new(Problem::InvalidValue, message));
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use model::{ActorId, TaskId, UserId};
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_788_167_605_123);
    const LATER: Timestamp = NOW.plus_millis(1);

    fn task() -> Task {
        let id = "aB3aB3aB3aB3aB3aB";
        let (task, user, actor) = (TaskId::parse(id), UserId::parse(id), ActorId::parse(id));
        Task::new(task.unwrap(), user.unwrap(), actor.unwrap(), "my-task", NOW)
    }

    fn applied(given: Value, old: &Task) -> Result<Task, ApiError> {
        serde_json::from_str::<TaskGiven>(&given.to_string()).unwrap().apply(old, LATER)
    }

    #[test]
    fn what_is_not_given_stays_and_null_clears() {
        let given = json!({ "title": "T", "description": "D", "input": { "a": 1 }, "options": { "build": "beta" } });
        let full = applied(given, &task()).unwrap();

        let same = applied(json!({ "userId": "x", "actId": "y" }), &full).unwrap();
        let cleared =
            applied(json!({ "title": null, "description": "", "input": null, "options": null }), &full).unwrap();

        assert_eq!(same, full);
        assert_eq!(cleared, Task { modified_at: LATER, ..task() });
    }

    #[test]
    fn a_published_task_keeps_its_configuration_when_it_is_taken_back() {
        let config = json!({ "publicConfig": { "seoTitle": "T", "publishedAt": "2020-01-01T00:00:00Z" } });
        let prepared = applied(config, &task()).unwrap();
        assert!(!prepared.is_public(), "when it was published is not the client's to say");

        let published = applied(json!({ "isPublic": true }), &prepared).unwrap();
        assert_eq!(published.public_config.as_ref().unwrap().published_at, Some(LATER));
        let edited = json!({ "isPublic": true, "publicConfig": { "seoDescription": "D" } });
        let edited = applied(edited, &published).unwrap();
        assert!(edited.is_public());

        let taken_back = applied(json!({ "isPublic": false }), &edited).unwrap();
        let config = taken_back.public_config.unwrap();
        assert_eq!((config.published_at, config.seo_title.as_deref()), (None, Some("T")));
        assert_eq!(config.seo_description.as_deref(), Some("D"));
        assert_eq!(applied(json!({ "isPublic": false }), &task()).unwrap().public_config, None);
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        for (given, problem) in [
            (json!({ "name": "a" }), Problem::InvalidValue),
            (json!({ "name": "-abc" }), Problem::InvalidValue),
            (json!({ "input": [1] }), Problem::InvalidInput),
            (json!({ "input": "text" }), Problem::InvalidInput),
            (json!({ "options": { "memoryMbytes": 1 } }), Problem::InvalidRequest),
            (json!({ "options": { "maxItems": 0 } }), Problem::MaxItemsMustBeGreaterThanZero),
            (json!({ "actorStandby": { "idleTimeoutSecs": 1 } }), Problem::InvalidValue),
            (json!({ "publicConfig": { "seoTitle": "t".repeat(61) } }), Problem::InvalidValue),
            (json!({ "publicConfig": { "seoDescription": "d".repeat(161) } }), Problem::InvalidValue),
        ] {
            assert_eq!(applied(given.clone(), &task()).unwrap_err().problem(), problem, "{given}");
        }
        assert!(applied(json!({ "publicConfig": { "seoTitle": "ž".repeat(60) } }), &task()).is_ok());
    }
}
