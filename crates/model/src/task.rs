//! Tasks: an Actor with the input and the options that it is to be run with (section 19 of the contract).

use serde::{Deserialize, Serialize};

use crate::{ActorId, JsonObject, TaskId, TaskStandby, Timestamp, TokenId, UserId};

/// Longest title for search engines, in characters (`TASK-11`).
pub const MAX_SEO_TITLE: usize = 60;
/// Longest description for search engines, in characters (`TASK-11`).
pub const MAX_SEO_DESCRIPTION: usize = 160;

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its owner, who need not own the Actor (`TASK-8`).
    pub user_id: UserId,
    /// The Actor that it runs.
    pub actor_id: ActorId,
    /// Its name, unique for the owner without regard to case (`ID-9`).
    pub name: String,
    /// Shown title.
    #[serde(default)]
    pub title: Option<String>,
    /// Description.
    #[serde(default)]
    pub description: Option<String>,
    /// Options of its runs, as far as they differ from the Actor's (`TASK-5`).
    #[serde(default)]
    pub options: GivenOptions,
    /// Input of its runs. Kept apart from the rest, since it can be large.
    #[serde(skip)]
    pub input: Option<JsonObject>,
    /// What of its Standby is otherwise than the Actor's.
    #[serde(default)]
    pub actor_standby: Option<TaskStandby>,
    /// How its public page looks; `None` until it was first given (`TASK-11`).
    #[serde(default)]
    pub public_config: Option<PublicConfig>,
    /// The token of limited scope that made it, which may do everything with it (`AUTH-19`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last change of its content; never by runs.
    pub modified_at: Timestamp,
}

impl Task {
    /// A task with nothing but its name, made at `now`.
    pub fn new(id: TaskId, user_id: UserId, actor_id: ActorId, name: &str, now: Timestamp) -> Self {
        Self {
            id,
            user_id,
            actor_id,
            name: name.to_owned(),
            title: None,
            description: None,
            options: GivenOptions::default(),
            input: None,
            actor_standby: None,
            public_config: None,
            token_id: None,
            created_at: now,
            modified_at: now,
        }
    }

    /// Whether it is published (`TASK-11`).
    pub fn is_public(&self) -> bool {
        self.public_config.as_ref().is_some_and(|config| config.published_at.is_some())
    }

    /// Whether its public page has all that it needs: a configuration that was set up, and a title and a description, be it
    /// the task's own (`TASK-10`).
    pub fn is_publishable(&self) -> bool {
        self.public_config.as_ref().is_some_and(|config| {
            config.content() != PublicConfig::default()
                && config.seo_title.as_ref().or(self.title.as_ref()).is_some()
                && config.seo_description.as_ref().or(self.description.as_ref()).is_some()
        })
    }
}

/// Options of runs as a task or a schedule keeps them; what is `None` is left to the Actor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GivenOptions {
    /// Tag or number of the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Seconds; 0 for no end (`TASK-5`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<i64>,
    /// Megabytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mbytes: Option<i64>,
    /// Most items to be paid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_items: Option<i64>,
    /// Budget in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_total_charge_usd: Option<f64>,
    /// Whether to start again after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_on_error: Option<bool>,
}

/// How the public page of a task looks (`TASK-11`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublicConfig {
    /// When it was published; `None` if it is not.
    pub published_at: Option<Timestamp>,
    /// Title for search engines.
    pub seo_title: Option<String>,
    /// Description for search engines.
    pub seo_description: Option<String>,
    /// Where it is sorted in.
    pub categorization: Option<String>,
    /// Fields of the input that are shown.
    pub input_schema_fields: Option<Vec<String>>,
    /// The dataset of the Actor whose items are shown.
    pub dataset_name: Option<String>,
    /// The view of that dataset.
    pub dataset_view: Option<String>,
}

impl PublicConfig {
    /// Everything but when it was published.
    #[must_use]
    pub fn content(&self) -> Self {
        Self { published_at: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_page_needs_a_configuration_a_title_and_a_description() {
        let id = "aB3aB3aB3aB3aB3aB";
        let now = Timestamp::from_millis(0);
        let parse = (TaskId::parse(id).unwrap(), UserId::parse(id).unwrap(), ActorId::parse(id).unwrap());
        let mut task = Task::new(parse.0, parse.1, parse.2, "my-task", now);
        task.title = Some("Title".to_owned());
        task.description = Some("Text".to_owned());
        assert!(!task.is_publishable(), "without a configuration");

        task.public_config = Some(PublicConfig { published_at: Some(now), ..PublicConfig::default() });
        assert!(!task.is_publishable(), "with an empty one");
        task.public_config = Some(PublicConfig { dataset_view: Some("all".to_owned()), ..PublicConfig::default() });
        assert!(task.is_publishable(), "the task's own texts do");

        task.description = None;
        assert!(!task.is_publishable());
        task.public_config = Some(PublicConfig { seo_description: Some("Text".to_owned()), ..PublicConfig::default() });
        assert!(task.is_publishable());
        assert!(!task.is_public());
    }
}
