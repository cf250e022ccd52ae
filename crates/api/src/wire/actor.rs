//! Actors as clients see them.

use std::collections::BTreeMap;

use engine::EngineConfig;
use model::pricing::PricingInfo;
use model::{
    Actor, ActorId, ActorStats, DefaultRunOptions, ExampleRunInput, PermissionLevel, Standby, TaggedBuild, Timestamp,
    UserId, Version,
};
use serde::Serialize;

use super::version::VersionBody;

/// An Actor (`ACT-3`, `VAL-4`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActorBody<'a> {
    id: ActorId,
    user_id: UserId,
    name: &'a str,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seo_title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seo_description: Option<&'a str>,
    is_public: bool,
    is_deprecated: bool,
    is_source_code_hidden: bool,
    actor_permission_level: PermissionLevel,
    created_at: Timestamp,
    modified_at: Timestamp,
    stats: StatsBody,
    versions: Vec<VersionBody<'a>>,
    default_run_options: &'a DefaultRunOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_on_error: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    example_run_input: Option<&'a ExampleRunInput>,
    tagged_builds: &'a BTreeMap<String, TaggedBuild>,
    pricing_infos: &'a [PricingInfo],
    categories: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_standby: Option<&'a Standby>,
    standby_url: Option<String>,
    deployment_key: &'static str,
}

impl<'a> ActorBody<'a> {
    /// The Actor as its owner or, if `own` is false, another user sees it.
    pub(crate) fn new(
        actor: &'a Actor,
        username: &'a str,
        stats: ActorStats,
        versions: &'a [Version],
        own: bool,
        now: Timestamp,
        config: &EngineConfig,
    ) -> Self {
        let is_on_standby = actor.actor_standby.as_ref().is_some_and(|standby| standby.is_enabled);
        let version = |version| match (own, actor.is_source_code_hidden) {
            (true, _) => VersionBody::new(version),
            (false, false) => VersionBody::for_others(version),
            (false, true) => VersionBody::without_source(version),
        };
        Self {
            id: actor.id,
            user_id: actor.user_id,
            name: &actor.name,
            username,
            title: actor.title.as_deref(),
            description: actor.description.as_deref(),
            seo_title: actor.seo_title.as_deref(),
            seo_description: actor.seo_description.as_deref(),
            is_public: actor.is_public,
            is_deprecated: actor.is_deprecated,
            is_source_code_hidden: actor.is_source_code_hidden,
            actor_permission_level: actor.actor_permission_level,
            created_at: actor.created_at,
            modified_at: actor.modified_at,
            stats: StatsBody::new(stats, now),
            versions: versions.iter().map(version).collect(),
            default_run_options: &actor.default_run_options,
            restart_on_error: actor.default_run_options.restart_on_error,
            example_run_input: actor.example_run_input.as_ref(),
            tagged_builds: &actor.tagged_builds,
            pricing_infos: &actor.pricing_infos,
            categories: &actor.categories,
            actor_standby: actor.actor_standby.as_ref(),
            standby_url: is_on_standby.then(|| config.standby_url(username, &actor.name)),
            deployment_key: "ssh-rsa none: this server fetches private repositories with the URL alone",
        }
    }
}

/// What has been done with an Actor.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatsBody {
    total_builds: u64,
    total_runs: u64,
    pub(crate) total_users: u64,
    total_users7_days: u64,
    total_users30_days: u64,
    total_users90_days: u64,
    total_metamorphs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run_started_at: Option<Timestamp>,
}

impl StatsBody {
    /// Users are counted once for all time; in the last days there were none, or at most as many.
    pub(crate) fn new(stats: ActorStats, now: Timestamp) -> Self {
        let within = |days: i64| match stats.last_run_started_at {
            Some(last) if last >= now.plus_secs(-days * 86_400) => stats.total_users,
            _ => 0,
        };
        Self {
            total_builds: stats.total_builds,
            total_runs: stats.total_runs,
            total_users: stats.total_users,
            total_users7_days: within(7),
            total_users30_days: within(30),
            total_users90_days: within(90),
            total_metamorphs: 0,
            last_run_started_at: stats.last_run_started_at,
        }
    }
}

/// An Actor as its user's list shows it (`LIST-6`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActorItem {
    id: ActorId,
    created_at: Timestamp,
    modified_at: Timestamp,
    name: String,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    stats: StatsBody,
}

impl ActorItem {
    /// The short form.
    pub(crate) fn new(actor: &Actor, username: String, stats: ActorStats, now: Timestamp) -> Self {
        Self {
            id: actor.id,
            created_at: actor.created_at,
            modified_at: actor.modified_at,
            name: actor.name.clone(),
            username,
            title: actor.title.clone(),
            stats: StatsBody::new(stats, now),
        }
    }
}

/// A public Actor as the store shows it (`STO-1`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoreItem {
    id: ActorId,
    title: String,
    name: String,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_full_name: Option<String>,
    description: String,
    categories: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    stats: StatsBody,
    current_pricing_info: serde_json::Value,
}

impl StoreItem {
    /// The form that the store lists; without an `url` it is that for programs.
    pub(crate) fn new(actor: &Actor, username: &str, stats: ActorStats, url: Option<String>, now: Timestamp) -> Self {
        let pricing =
            PricingInfo::in_force(&actor.pricing_infos, now).and_then(|pricing| serde_json::to_value(pricing).ok());
        Self {
            id: actor.id,
            title: actor.title.clone().unwrap_or_else(|| actor.name.clone()),
            name: actor.name.clone(),
            username: username.to_owned(),
            user_full_name: url.is_some().then(|| username.to_owned()),
            description: actor.description.clone().unwrap_or_default(),
            categories: actor.categories.clone(),
            url,
            stats: StatsBody::new(stats, now),
            current_pricing_info: pricing.unwrap_or_else(|| serde_json::json!({ "pricingModel": "FREE" })),
        }
    }
}
