//! Builds as clients see them.

use engine::EngineConfig;
use model::{ActorId, Build, BuildId, BuildStats, GeneralAccess, JobStatus, Timestamp, UserId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::job::{MetaBody, Viewer};

/// A build (`BLD-7`, `VAL-4`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BuildBody<'a> {
    id: BuildId,
    act_id: ActorId,
    user_id: UserId,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    status: JobStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<&'a str>,
    meta: MetaBody<'a>,
    stats: &'a BuildStats,
    options: OptionsBody,
    build_number: &'a str,
    act_version: VersionOfBuild<'a>,
    general_access: GeneralAccess,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_definition: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_schema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readme: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<BuildUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_usd: Option<BuildUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_total_usd: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OptionsBody {
    use_cache: bool,
    beta_packages: bool,
    memory_mbytes: u32,
    disk_mbytes: u32,
}

/// The version as it was when the build was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionOfBuild<'a> {
    source_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_tag: Option<&'a str>,
    version_number: &'a str,
}

/// The one thing that a build uses: units, or their price.
#[derive(Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct BuildUsage {
    actor_compute_units: f64,
}

impl<'a> BuildBody<'a> {
    /// The build as `viewer` may see it.
    pub(crate) fn new(build: &'a Build, viewer: Viewer, config: &EngineConfig) -> Self {
        let own = viewer == Viewer::Owner;
        let price = price(build, config);
        Self {
            id: build.id,
            act_id: build.actor_id,
            user_id: build.user_id,
            started_at: build.started_at,
            finished_at: build.finished_at,
            status: build.status,
            status_message: build.status_message.as_deref(),
            meta: MetaBody::new(&build.meta, viewer),
            stats: &build.stats,
            options: OptionsBody {
                use_cache: build.options.use_cache,
                beta_packages: build.options.beta_packages,
                memory_mbytes: build.options.memory_mbytes,
                disk_mbytes: build.options.disk_mbytes,
            },
            build_number: &build.build_number,
            act_version: VersionOfBuild {
                source_type: &build.source_kind,
                build_tag: build.tag.as_deref(),
                version_number: build.build_number.rsplit_once('.').map_or("", |(version, _)| version),
            },
            general_access: build.general_access,
            actor_definition: build.actor_definition.as_deref(),
            input_schema: build.input_schema.as_deref(),
            readme: build.readme.as_deref(),
            usage: own.then_some(BuildUsage { actor_compute_units: build.stats.compute_units }),
            usage_usd: own.then_some(BuildUsage { actor_compute_units: price }),
            usage_total_usd: own.then_some(price),
        }
    }
}

/// A build as lists show it (`LIST-9`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BuildItem {
    id: BuildId,
    act_id: ActorId,
    user_id: UserId,
    status: JobStatus,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    // Required by Python even where the price is nobody's business; it is 0 then (BLD-12).
    usage_total_usd: f64,
    build_number: String,
    build_number_int: u64,
    meta: Origin,
}

#[derive(Debug, Serialize)]
struct Origin {
    origin: model::Origin,
}

impl BuildItem {
    /// The short form of a build.
    pub(crate) fn new(build: &Build, viewer: Viewer, config: &EngineConfig) -> Self {
        Self {
            id: build.id,
            act_id: build.actor_id,
            user_id: build.user_id,
            status: build.status,
            started_at: build.started_at,
            finished_at: build.finished_at,
            usage_total_usd: if viewer == Viewer::Owner { price(build, config) } else { 0.0 },
            build_number: build.build_number.clone(),
            build_number_int: model::parse_build_number(&build.build_number).unwrap_or_default(),
            meta: Origin { origin: build.meta.origin },
        }
    }
}

fn price(build: &Build, config: &EngineConfig) -> f64 {
    build.stats.compute_units * config.prices.compute_unit
}
