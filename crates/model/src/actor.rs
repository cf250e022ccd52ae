//! Actors, their versions and the variables of a version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pricing::PricingInfo;
use crate::{ActorId, BuildId, Development, Standby, Timestamp, UserId};

/// Sum of the inline files of a version, as the official CLI counts it, above which it pushes an archive (`VER-3`).
pub const MAX_SOURCE_FILES: usize = 3 * 1024 * 1024;

/// A program that can be built and run. Its versions, which carry its source, are kept apart.
///
/// Lists read a thousand of them at once, so what an Actor does not have is not written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// Its id.
    pub id: ActorId,
    /// Its owner.
    pub user_id: UserId,
    /// Its name, unique for the owner without regard to case (`ID-9`).
    pub name: String,
    /// Shown title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Title for search engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seo_title: Option<String>,
    /// Description for search engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seo_description: Option<String>,
    /// Whether every user may see and run it (`ACT-14`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_public: bool,
    /// Whether it is shown as outdated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_deprecated: bool,
    /// Whether others than the owner may not see its source (`ACT-3`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_source_code_hidden: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last change of its content; never by builds, runs, tags or statistics (`ACT-4`).
    pub modified_at: Timestamp,
    /// Options of runs that give none (`ACT-5`).
    pub default_run_options: DefaultRunOptions,
    /// An input to start from (`ACT-7`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example_run_input: Option<ExampleRunInput>,
    /// Tags and the builds they point to (`ACT-6`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tagged_builds: BTreeMap<String, TaggedBuild>,
    /// Last build number of each version, never reused (`BLD-3`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub last_build_of_version: BTreeMap<String, u32>,
    /// Price history (`CHG-12`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pricing_infos: Vec<PricingInfo>,
    /// Categories (`ACT-10`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// What its runs may do (`AUTH-15`).
    #[serde(default)]
    pub actor_permission_level: PermissionLevel,
    /// Settings of Standby; `None` until any are given (`ACT-11`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_standby: Option<Standby>,
    /// What helps its owner to develop it; ours, beside the contract.
    #[serde(default, skip_serializing_if = "Development::is_default")]
    pub development: Development,
}

impl Actor {
    /// A private Actor with nothing but its name, made at `now`.
    pub fn new(id: ActorId, user_id: UserId, name: &str, now: Timestamp) -> Self {
        Self {
            id,
            user_id,
            name: name.to_owned(),
            title: None,
            description: None,
            seo_title: None,
            seo_description: None,
            is_public: false,
            is_deprecated: false,
            is_source_code_hidden: false,
            created_at: now,
            modified_at: now,
            default_run_options: DefaultRunOptions::default(),
            example_run_input: None,
            tagged_builds: BTreeMap::new(),
            last_build_of_version: BTreeMap::new(),
            pricing_infos: Vec::new(),
            categories: Vec::new(),
            actor_permission_level: PermissionLevel::default(),
            actor_standby: None,
            development: Development::default(),
        }
    }
}

/// What has been done with an Actor, counted apart from it so that a run never rewrites it (`ACT-4`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorStats {
    /// Builds that succeeded (`BLD-6`).
    pub total_builds: u64,
    /// Runs started (`START-22`).
    pub total_runs: u64,
    /// When the last run was started.
    pub last_run_started_at: Option<Timestamp>,
    /// Users who have ever run it (`STO-1`).
    #[serde(default)]
    pub total_users: u64,
}

/// What a run's token may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PermissionLevel {
    /// Its own storages and what its input names.
    #[default]
    LimitedPermissions,
    /// Whatever the user may.
    FullPermissions,
}

/// Options for runs that give none themselves (`ACT-5`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefaultRunOptions {
    /// Tag or number of the build.
    pub build: String,
    /// Seconds; 0 for no end.
    pub timeout_secs: u64,
    /// Megabytes.
    pub memory_mbytes: u32,
    /// Whether a failed run starts again (`START-24`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_on_error: Option<bool>,
    /// Most items to be paid for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u64>,
    /// Permission level to force upon runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_permission_level: Option<PermissionLevel>,
}

impl Default for DefaultRunOptions {
    /// What an Actor made without any gets; the official CLI sends the same build and timeout (`START-5`).
    fn default() -> Self {
        Self {
            build: "latest".to_owned(),
            timeout_secs: 3600,
            memory_mbytes: 1024,
            restart_on_error: None,
            max_items: None,
            force_permission_level: None,
        }
    }
}

/// Where a tag points (`ACT-6`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaggedBuild {
    /// The build.
    pub build_id: BuildId,
    /// Its number.
    pub build_number: String,
    /// Its number as one integer (`ID-12`).
    pub build_number_int: u64,
    /// When it was done.
    pub finished_at: Option<Timestamp>,
}

/// An input to start from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExampleRunInput {
    /// The body as text.
    pub body: String,
    /// Its media type.
    pub content_type: String,
}

/// One version of an Actor: where its source is and how it is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// `MAJOR.MINOR`, each 0 to 99 (`VER-7`).
    pub version_number: String,
    /// Where the source is.
    #[serde(flatten)]
    pub source: Source,
    /// Tag that its builds get; none if absent (`VER-9`).
    pub build_tag: Option<String>,
    /// Variables of builds and runs (`VER-10`).
    #[serde(default)]
    pub env_vars: Vec<EnvVar>,
    /// Whether the variables are given to builds, too (`VER-13`).
    #[serde(default)]
    pub apply_env_vars_to_build: bool,
}

/// Where a version's source is (`VER-1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sourceType", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Source {
    /// Files in the version itself.
    SourceFiles {
        /// The files.
        source_files: Vec<SourceFile>,
    },
    /// A Git repository: `<url>[#<branch or tag>[:<dir>]]` (`VER-4`).
    GitRepo {
        /// Its address.
        git_repo_url: String,
    },
    /// An archive: tar, tar.gz or zip (`VER-5`).
    Tarball {
        /// Its address.
        tarball_url: String,
    },
    /// A gist (`VER-6`).
    GithubGist {
        /// Its address.
        #[serde(rename = "gitHubGistUrl")]
        git_hub_gist_url: String,
    },
    /// An image that was built elsewhere; ours, beside the contract.
    XImage {
        /// Its name, as one tells it to a container engine.
        x_image: String,
        /// When it is fetched from its registry.
        #[serde(default)]
        x_image_pull: PullPolicy,
    },
}

/// When an image that was built elsewhere is fetched from its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Where the container engine does not have it.
    #[default]
    Missing,
    /// At each build.
    Always,
    /// Never: the container engine must have it.
    Never,
}

/// Variables of a version with which its registry is told who asks. They are for the build alone, not for runs.
pub const REGISTRY_USERNAME: &str = "X_REGISTRY_USERNAME";
/// See [`REGISTRY_USERNAME`].
pub const REGISTRY_PASSWORD: &str = "X_REGISTRY_PASSWORD";

impl Source {
    /// The word of the contract.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SourceFiles { .. } => "SOURCE_FILES",
            Self::GitRepo { .. } => "GIT_REPO",
            Self::Tarball { .. } => "TARBALL",
            Self::GithubGist { .. } => "GITHUB_GIST",
            Self::XImage { .. } => "X_IMAGE",
        }
    }
}

/// One file of a version, or an empty folder (`VER-2`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceFile {
    /// Path relative to the Actor's root, with `/`.
    pub name: String,
    /// How `content` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// The content; none for a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Whether this is an empty folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<bool>,
}

/// How a source file's content is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileFormat {
    /// As text.
    Text,
    /// As base64.
    Base64,
}

/// A variable of a version (`VER-16`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name, up to 100 characters (`VER-12`).
    pub name: String,
    /// Its value, up to 50 000 characters. A secret one is kept sealed and never shown.
    pub value: Option<String>,
    /// Whether the value is secret (`VER-11`).
    #[serde(default)]
    pub is_secret: bool,
}

impl std::fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.is_secret { Some("*****") } else { self.value.as_deref() };
        f.debug_struct("EnvVar").field("name", &self.name).field("value", &value).finish()
    }
}

/// Reads `MAJOR.MINOR`, each 0 to 99 without leading zeros (`VER-7`).
pub fn parse_version_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((part(major, 99)?, part(minor, 99)?))
}

/// Reads `MAJOR.MINOR.BUILD` (`ID-12`) and gives it as one integer too.
pub fn parse_build_number(text: &str) -> Option<u64> {
    let (version, build) = text.rsplit_once('.')?;
    let (major, minor) = parse_version_number(version)?;
    let build = part(build, 99_999).filter(|build| *build > 0)?;
    Some(u64::from(major) * 10_000_000 + u64::from(minor) * 100_000 + u64::from(build))
}

fn part(text: &str, most: u32) -> Option<u32> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse().ok().filter(|number| canonical && *number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_versions_and_builds_are_read_strictly() {
        assert_eq!(parse_version_number("0.1"), Some((0, 1)));
        assert_eq!(parse_build_number("1.2.34"), Some(10_200_034));
        for bad in ["", "1", "1.", "01.2", "1.100", "1.2.3", "+1.2", "1.-2", "a.b"] {
            assert_eq!(parse_version_number(bad), None, "{bad}");
        }
        for bad in ["1.2", "1.2.0", "1.2.100000", "latest", "1.2.3.4"] {
            assert_eq!(parse_build_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_actor_is_written_without_what_it_does_not_have() {
        let id = "aaaaaaaaaaaaaaaaa";
        let actor =
            Actor::new(ActorId::parse(id).unwrap(), UserId::parse(id).unwrap(), "crawler", Timestamp::from_millis(0));

        let json = serde_json::to_value(&actor).unwrap();

        let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        keys.sort();
        let always = ["actorPermissionLevel", "createdAt", "defaultRunOptions", "id", "modifiedAt", "name", "userId"];
        assert_eq!(keys, always);
        assert_eq!(serde_json::from_value::<Actor>(json).unwrap(), actor);
    }

    #[test]
    fn a_version_is_written_as_the_contract_has_it() {
        let version = Version {
            version_number: "0.1".to_owned(),
            source: Source::GithubGist { git_hub_gist_url: "https://gist.example/a".to_owned() },
            build_tag: None,
            env_vars: vec![],
            apply_env_vars_to_build: false,
        };

        let json = serde_json::to_value(&version).unwrap();

        assert_eq!(json["sourceType"], "GITHUB_GIST");
        assert_eq!(json["gitHubGistUrl"], "https://gist.example/a");
        assert_eq!(serde_json::from_value::<Version>(json).unwrap(), version);
    }
}
