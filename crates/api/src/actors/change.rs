//! What of an Actor can be given and changed (`ACT-1`, `ACT-2`).

use std::collections::{BTreeMap, BTreeSet};

use engine::Engine;
use model::pricing::PricingInfo;
use model::{
    Actor, BuildId, DefaultRunOptions, ExampleRunInput, JobStatus, PermissionLevel, TaggedBuild, Timestamp, Version,
    parse_build_number,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::Noun;

use crate::app::App;
use crate::error::{ApiError, Problem};
use crate::wire::{Given, VersionGiven, check_name, check_tag, given, set_text};

const MIN_MEMORY: u32 = 128;
const MAX_MEMORY: u32 = 32_768;

/// The categories of the platform (`ACT-10`).
const CATEGORIES: [&str; 25] = [
    "AI",
    "AGENTS",
    "AUTOMATION",
    "BUSINESS",
    "COVID_19",
    "DEVELOPER_EXAMPLES",
    "DEVELOPER_TOOLS",
    "ECOMMERCE",
    "FOR_CREATORS",
    "GAMES",
    "JOBS",
    "LEAD_GENERATION",
    "MARKETING",
    "NEWS",
    "SEO_TOOLS",
    "SOCIAL_MEDIA",
    "TRAVEL",
    "VIDEOS",
    "REAL_ESTATE",
    "SPORTS",
    "EDUCATION",
    "INTEGRATIONS",
    "OTHER",
    "OPEN_SOURCE",
    "MCP_SERVERS",
];

pub(crate) const PRICING_MODELS: [&str; 4] =
    ["PAY_PER_EVENT", "PRICE_PER_DATASET_ITEM", "FLAT_PRICE_PER_MONTH", "FREE"];

/// An Actor as it is created or, field by field, changed. What is not given stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ActorGiven {
    name: Option<String>,
    #[serde(deserialize_with = "given")]
    title: Given<String>,
    #[serde(deserialize_with = "given")]
    description: Given<String>,
    #[serde(deserialize_with = "given")]
    seo_title: Given<String>,
    #[serde(deserialize_with = "given")]
    seo_description: Given<String>,
    is_public: Option<bool>,
    is_deprecated: Option<bool>,
    is_source_code_hidden: Option<bool>,
    actor_permission_level: Option<PermissionLevel>,
    restart_on_error: Option<bool>,
    default_run_options: Option<RunOptionsGiven>,
    #[serde(deserialize_with = "given")]
    example_run_input: Given<ExampleRunInput>,
    categories: Option<Vec<String>>,
    pricing_infos: Option<Vec<Map<String, Value>>>,
    #[serde(deserialize_with = "given")]
    actor_standby: Given<Map<String, Value>>,
    versions: Option<Vec<VersionGiven>>,
    tagged_builds: Option<BTreeMap<String, Option<TagGiven>>>,
    /// The builds to which tags shall point, looked up.
    #[serde(skip)]
    found_builds: BTreeMap<String, TaggedBuild>,
}

/// Where a tag shall point (`ACT-9`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagGiven {
    build_id: String,
}

/// Default options of runs, field by field (`ACT-5`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RunOptionsGiven {
    build: Option<String>,
    timeout_secs: Option<u64>,
    memory_mbytes: Option<u32>,
    #[serde(deserialize_with = "given")]
    restart_on_error: Given<bool>,
    #[serde(deserialize_with = "given")]
    max_items: Given<u64>,
    #[serde(deserialize_with = "given")]
    force_permission_level: Given<PermissionLevel>,
}

impl ActorGiven {
    /// The name, if one is given.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether the versions are to be replaced.
    pub(super) fn has_versions(&self) -> bool {
        self.versions.is_some()
    }

    /// `old` with what was given, checked.
    ///
    /// # Errors
    /// `400` for a value that breaks a rule, `403` for an Actor that cannot be public as it is.
    pub(super) fn apply(&self, old: &Actor, now: Timestamp) -> Result<Actor, ApiError> {
        let mut actor = old.clone();
        if let Some(name) = &self.name {
            check_name(Noun::Actor, name)?;
            actor.name.clone_from(name);
        }
        set_text(&mut actor.title, &self.title);
        set_text(&mut actor.description, &self.description);
        set_text(&mut actor.seo_title, &self.seo_title);
        set_text(&mut actor.seo_description, &self.seo_description);
        actor.is_deprecated = self.is_deprecated.unwrap_or(actor.is_deprecated);
        actor.is_source_code_hidden = self.is_source_code_hidden.unwrap_or(actor.is_source_code_hidden);
        actor.actor_permission_level = self.actor_permission_level.unwrap_or(actor.actor_permission_level);
        if let Some(options) = &self.default_run_options {
            options.apply(&mut actor.default_run_options)?;
        }
        if self.restart_on_error.is_some() {
            actor.default_run_options.restart_on_error = self.restart_on_error;
        }
        if let Some(example) = &self.example_run_input {
            actor.example_run_input.clone_from(example);
        }
        if let Some(categories) = &self.categories {
            actor.categories = checked_categories(categories)?;
        }
        if let Some(entries) = &self.pricing_infos {
            actor.pricing_infos = entries.iter().map(|entry| pricing(entry, now)).collect::<Result<_, _>>()?;
        }
        match &self.actor_standby {
            Some(Some(settings)) => {
                actor.actor_standby = Some(actor.actor_standby.unwrap_or_default().with(settings)?);
            }
            Some(None) => actor.actor_standby = None,
            None => {}
        }
        for (tag, target) in self.tagged_builds.iter().flatten() {
            match target {
                Some(_) => actor
                    .tagged_builds
                    .extend(self.found_builds.get_key_value(tag).map(|(tag, build)| (tag.clone(), build.clone()))),
                None => {
                    actor.tagged_builds.remove(tag);
                }
            }
        }
        actor.is_public = self.is_public.unwrap_or(actor.is_public);
        if actor.is_public && (actor.title.is_none() || actor.categories.is_empty()) {
            let message = "The Actor cannot be published: it needs a title and at least one category";
            return Err(ApiError::new(Problem::CannotPublishActor, message));
        }
        Ok(actor)
    }

    /// Looks up the builds to which tags shall point.
    ///
    /// # Errors
    /// `400` for a build of another Actor or one that has not succeeded.
    pub(super) async fn find_tagged_builds(&mut self, app: &App, actor: &Actor) -> Result<(), ApiError> {
        for (tag, target) in self.tagged_builds.iter().flatten() {
            let Some(TagGiven { build_id }) = target else { continue };
            check_tag(tag)?;
            let build = match BuildId::parse(build_id) {
                Some(id) => app.store().builds.get(&id).await?,
                None => None,
            };
            let build = build.filter(|build| build.actor_id == actor.id);
            let Some(build) = build else {
                let message = format!("Actor has no build with the id \"{build_id}\" to be tagged \"{tag}\"");
                return Err(ApiError::new(Problem::InvalidBuild, message));
            };
            if build.status != JobStatus::Succeeded {
                let message =
                    format!("Build {} cannot be tagged, since its status is {}", build.build_number, build.status);
                return Err(ApiError::new(Problem::InvalidBuild, message));
            }
            let tagged = TaggedBuild {
                build_id: build.id,
                build_number: build.build_number.clone(),
                build_number_int: parse_build_number(&build.build_number).unwrap_or_default(),
                finished_at: build.finished_at,
            };
            self.found_builds.insert(tag.clone(), tagged);
        }
        Ok(())
    }

    /// The versions of a new Actor.
    pub(super) fn new_versions(self, engine: &Engine) -> Result<Vec<Version>, ApiError> {
        let versions: Vec<Version> = self
            .versions
            .unwrap_or_default()
            .into_iter()
            .map(|version| version.create(engine))
            .collect::<Result<_, _>>()?;
        check_unique(&versions)?;
        Ok(versions)
    }

    /// The versions that take the place of `old`; what is not given of one that exists stays as it is.
    pub(super) fn replaced_versions(
        &mut self,
        old: &[Version],
        engine: &Engine,
    ) -> Result<Option<Vec<Version>>, ApiError> {
        let Some(given) = self.versions.take() else { return Ok(None) };
        if given.is_empty() && !old.is_empty() {
            return Err(ApiError::new(Problem::TooFewVersions, "Actor must have at least one version"));
        }
        let replaced = |given: VersionGiven| match old
            .iter()
            .find(|version| given.version_number.as_ref() == Some(&version.version_number))
        {
            Some(version) => given.check()?.apply(version, engine),
            None => given.create(engine),
        };
        let versions: Vec<Version> = given.into_iter().map(replaced).collect::<Result<_, _>>()?;
        check_unique(&versions)?;
        Ok(Some(versions))
    }
}

impl RunOptionsGiven {
    fn apply(&self, options: &mut DefaultRunOptions) -> Result<(), ApiError> {
        if let Some(build) = &self.build {
            if parse_build_number(build).is_none() {
                check_tag(build)?;
            }
            options.build.clone_from(build);
        }
        if let Some(memory) = self.memory_mbytes {
            if !memory.is_power_of_two() || !(MIN_MEMORY..=MAX_MEMORY).contains(&memory) {
                let message = format!(
                    "Memory must be a power of two between {MIN_MEMORY} and {MAX_MEMORY} MB, but it is {memory}"
                );
                return Err(ApiError::new(Problem::InvalidValue, message));
            }
            options.memory_mbytes = memory;
        }
        options.timeout_secs = self.timeout_secs.unwrap_or(options.timeout_secs);
        options.restart_on_error = self.restart_on_error.unwrap_or(options.restart_on_error);
        options.max_items = self.max_items.unwrap_or(options.max_items);
        options.force_permission_level = self.force_permission_level.unwrap_or(options.force_permission_level);
        Ok(())
    }
}

fn checked_categories(given: &[String]) -> Result<Vec<String>, ApiError> {
    let mut seen = BTreeSet::new();
    for category in given {
        if !CATEGORIES.contains(&category.as_str()) {
            let message = format!("\"{category}\" is not a category; there are {}", CATEGORIES.join(", "));
            return Err(ApiError::new(Problem::InvalidValue, message));
        }
        seen.insert(category);
    }
    Ok(given.iter().filter(|category| seen.remove(category)).cloned().collect())
}

/// An entry of the price history; times that are not given are now.
fn pricing(entry: &Map<String, Value>, now: Timestamp) -> Result<PricingInfo, ApiError> {
    let mut entry = entry.clone();
    for name in ["createdAt", "startedAt"] {
        if entry.get(name).is_none_or(Value::is_null) {
            entry.insert(name.to_owned(), json!(now));
        }
    }
    let refused = |why: String| ApiError::new(Problem::InvalidValue, format!("An entry of \"pricingInfos\" {why}"));
    let pricing: PricingInfo = serde_json::from_value(Value::Object(entry))
        .map_err(|error| refused(format!("has an unexpected form: {error}")))?;
    if !PRICING_MODELS.contains(&pricing.pricing_model.as_str()) {
        return Err(refused(format!("must have a \"pricingModel\" among {}", PRICING_MODELS.join(", "))));
    }
    Ok(pricing)
}

fn check_unique(versions: &[Version]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    match versions.iter().find(|version| !seen.insert(&version.version_number)) {
        Some(twice) => Err(version_exists(&twice.version_number)),
        None => Ok(()),
    }
}

/// There is a version of that number (`VER-7`).
pub(super) fn version_exists(number: &str) -> ApiError {
    ApiError::new(Problem::VersionAlreadyExists, format!("Actor version {number} already exists"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ActorId, UserId};

    const NOW: Timestamp = Timestamp::from_millis(1_788_167_605_123);

    fn actor() -> Actor {
        let id = "aB3aB3aB3aB3aB3aB";
        Actor::new(ActorId::parse(id).unwrap(), UserId::parse(id).unwrap(), "my-actor", NOW)
    }

    fn applied(given: Value) -> Result<Actor, ApiError> {
        serde_json::from_value::<ActorGiven>(given).unwrap().apply(&actor(), NOW)
    }

    #[test]
    fn options_and_standby_are_merged_field_by_field() {
        let actor = applied(json!({
            "defaultRunOptions": { "memoryMbytes": 512 },
            "actorStandby": { "isEnabled": true },
            "unknown": 1,
        }));

        let actor = actor.unwrap();
        assert_eq!((actor.default_run_options.memory_mbytes, actor.default_run_options.timeout_secs), (512, 3600));
        assert_eq!(actor.actor_standby.unwrap().idle_timeout_secs, 300);
    }

    #[test]
    fn null_clears_a_text_and_what_is_not_given_stays() {
        let mut titled = actor();
        titled.title = Some("Title".to_owned());
        titled.description = Some("Text".to_owned());
        let given: ActorGiven = serde_json::from_value(json!({ "title": null })).unwrap();

        let actor = given.apply(&titled, NOW).unwrap();

        assert_eq!((actor.title, actor.description.as_deref()), (None, Some("Text")));
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        for (given, problem) in [
            (json!({ "name": "a" }), Problem::InvalidValue),
            (json!({ "name": "-abc" }), Problem::InvalidValue),
            (json!({ "isPublic": true }), Problem::CannotPublishActor),
            (json!({ "isPublic": true, "title": "T" }), Problem::CannotPublishActor),
            (json!({ "categories": ["NONSENSE"] }), Problem::InvalidValue),
            (json!({ "defaultRunOptions": { "memoryMbytes": 100 } }), Problem::InvalidValue),
            (json!({ "defaultRunOptions": { "build": "a b" } }), Problem::InvalidValue),
            (json!({ "pricingInfos": [{ "pricingModel": "GRATIS" }] }), Problem::InvalidValue),
            (json!({ "actorStandby": { "nonsense": 1 } }), Problem::InvalidRequest),
        ] {
            assert_eq!(applied(given.clone()).unwrap_err().problem(), problem, "{given}");
        }
        assert!(
            applied(json!({ "isPublic": true, "title": "T", "categories": ["AI", "AI"] })).unwrap().categories
                == ["AI"]
        );
    }
}
