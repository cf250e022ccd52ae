//! Versions and their variables as clients see and send them.

use std::borrow::Cow;

use engine::Engine;
use model::{
    EnvVar, FileFormat, MAX_SOURCE_FILES, PullPolicy, Source, SourceFile, Version, masked_url, parse_version_number,
};
use serde::{Deserialize, Serialize};

use super::given::{Given, given};
use crate::error::{ApiError, Problem};

/// Longest name of a variable, in characters (`VER-12`).
const MAX_ENV_NAME: usize = 100;
/// Longest value of a variable, in characters (`VER-12`).
const MAX_ENV_VALUE: usize = 50_000;

/// A version (`VER-1`, `VAL-4`). Secret values are never in it (`VER-11`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionBody<'a> {
    version_number: &'a str,
    // A version whose source is hidden still says which kind it is (ACT-3).
    source_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_files: Option<&'a [SourceFile]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_repo_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tarball_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_hub_gist_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_image_pull: Option<PullPolicy>,
    build_tag: Option<&'a str>,
    env_vars: Vec<EnvVarBody<'a>>,
    apply_env_vars_to_build: bool,
}

impl<'a> VersionBody<'a> {
    /// The version as its owner sees it, with its source.
    pub(crate) fn new(version: &'a Version) -> Self {
        let mut body = Self::without_source(version);
        match &version.source {
            Source::SourceFiles { source_files } => body.source_files = Some(source_files),
            Source::GitRepo { git_repo_url } => body.git_repo_url = Some(git_repo_url.into()),
            Source::Tarball { tarball_url } => body.tarball_url = Some(tarball_url.into()),
            Source::GithubGist { git_hub_gist_url } => body.git_hub_gist_url = Some(git_hub_gist_url.into()),
            Source::XImage { x_image, x_image_pull } => {
                (body.x_image, body.x_image_pull) = (Some(x_image.as_str()), Some(*x_image_pull));
            }
        }
        body.env_vars = version.env_vars.iter().map(EnvVarBody::new).collect();
        body
    }

    /// The version as others see it: without variables, and without the credentials in an address.
    pub(crate) fn for_others(version: &'a Version) -> Self {
        let mut body = Self::new(version);
        body.env_vars.clear();
        for url in [&mut body.git_repo_url, &mut body.tarball_url, &mut body.git_hub_gist_url].into_iter().flatten() {
            *url = masked_url(url).into();
        }
        body
    }

    /// The version as others see it if its owner hides the source (`ACT-3`): neither source nor variables.
    pub(crate) fn without_source(version: &'a Version) -> Self {
        Self {
            version_number: &version.version_number,
            source_type: version.source.kind(),
            source_files: None,
            git_repo_url: None,
            tarball_url: None,
            git_hub_gist_url: None,
            x_image: None,
            x_image_pull: None,
            build_tag: version.build_tag.as_deref(),
            env_vars: Vec::new(),
            apply_env_vars_to_build: version.apply_env_vars_to_build,
        }
    }
}

/// A variable (`VER-16`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnvVarBody<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    is_secret: bool,
}

impl<'a> EnvVarBody<'a> {
    /// The variable, without its value if that is secret.
    pub(crate) fn new(var: &'a EnvVar) -> Self {
        let value = if var.is_secret { None } else { Some(var.value.as_deref().unwrap_or_default()) };
        Self { name: &var.name, value, is_secret: var.is_secret }
    }
}

/// A version as it is created or, field by field, changed (`VER-8`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VersionGiven {
    pub(crate) version_number: Option<String>,
    source_type: Option<String>,
    source_files: Option<Vec<SourceFile>>,
    git_repo_url: Option<String>,
    tarball_url: Option<String>,
    git_hub_gist_url: Option<String>,
    x_image: Option<String>,
    x_image_pull: Option<PullPolicy>,
    #[serde(deserialize_with = "given")]
    build_tag: Given<String>,
    env_vars: Option<Vec<EnvVarGiven>>,
    apply_env_vars_to_build: Option<bool>,
}

impl VersionGiven {
    /// A new version.
    ///
    /// # Errors
    /// `400` for a missing or malformed number, source or variable.
    pub(crate) fn create(self, engine: &Engine) -> Result<Version, ApiError> {
        let Some(number) = self.version_number.clone() else {
            return Err(ApiError::invalid_request("\"versionNumber\" is required"));
        };
        let number = checked_number(number)?;
        let empty = Version {
            version_number: number,
            source: Source::SourceFiles { source_files: Vec::new() },
            build_tag: None,
            env_vars: Vec::new(),
            apply_env_vars_to_build: false,
        };
        self.check()?.apply(&empty, engine)
    }

    /// Checks what can be checked without knowing the version that is changed.
    pub(crate) fn check(mut self) -> Result<Self, ApiError> {
        if let Some(files) = &mut self.source_files {
            check_files(files)?;
        }
        if let Some(image) = &self.x_image {
            check_image(image)?;
        }
        if let Some(Some(tag)) = &self.build_tag {
            check_tag(tag)?;
        }
        if let Some(vars) = &self.env_vars {
            for (index, var) in vars.iter().enumerate() {
                var.check()?;
                if vars[..index].iter().any(|earlier| earlier.name == var.name) {
                    return Err(env_var_exists(&var.name));
                }
            }
        }
        Ok(self)
    }

    /// The version `old` with what was given (`VER-8`). Everything must have been checked.
    ///
    /// # Errors
    /// `400` if the source or a variable is incomplete.
    pub(crate) fn apply(&self, old: &Version, engine: &Engine) -> Result<Version, ApiError> {
        Ok(Version {
            version_number: old.version_number.clone(),
            source: self.source(&old.source)?,
            build_tag: self.build_tag.clone().unwrap_or_else(|| old.build_tag.clone()),
            env_vars: match &self.env_vars {
                Some(vars) => vars.iter().map(|var| var.replace(&old.env_vars, engine)).collect::<Result<_, _>>()?,
                None => old.env_vars.clone(),
            },
            apply_env_vars_to_build: self.apply_env_vars_to_build.unwrap_or(old.apply_env_vars_to_build),
        })
    }

    /// The source: what is given for its kind, else what is there already. Fields of other kinds are stale and ignored (`VER-8`).
    fn source(&self, old: &Source) -> Result<Source, ApiError> {
        let kind = self.source_type.as_deref().or(self.implied_kind()).unwrap_or(old.kind());
        let missing = |field: &str| {
            let message = format!("\"{field}\" is required for a version of source type {kind}");
            ApiError::invalid_request(message)
        };
        Ok(match kind {
            "SOURCE_FILES" => Source::SourceFiles {
                source_files: match (&self.source_files, old) {
                    (Some(files), _) => files.clone(),
                    (None, Source::SourceFiles { source_files }) => source_files.clone(),
                    (None, _) => Vec::new(),
                },
            },
            "GIT_REPO" => Source::GitRepo {
                git_repo_url: match (&self.git_repo_url, old) {
                    (Some(url), _) => url.clone(),
                    (None, Source::GitRepo { git_repo_url }) => git_repo_url.clone(),
                    (None, _) => return Err(missing("gitRepoUrl")),
                },
            },
            "TARBALL" => Source::Tarball {
                tarball_url: match (&self.tarball_url, old) {
                    (Some(url), _) => url.clone(),
                    (None, Source::Tarball { tarball_url }) => tarball_url.clone(),
                    (None, _) => return Err(missing("tarballUrl")),
                },
            },
            "GITHUB_GIST" => Source::GithubGist {
                git_hub_gist_url: match (&self.git_hub_gist_url, old) {
                    (Some(url), _) => url.clone(),
                    (None, Source::GithubGist { git_hub_gist_url }) => git_hub_gist_url.clone(),
                    (None, _) => return Err(missing("gitHubGistUrl")),
                },
            },
            "X_IMAGE" => {
                let (image, pull) = match old {
                    Source::XImage { x_image, x_image_pull } => (Some(x_image), *x_image_pull),
                    _ => (None, PullPolicy::default()),
                };
                Source::XImage {
                    x_image: self.x_image.as_ref().or(image).ok_or_else(|| missing("xImage"))?.clone(),
                    x_image_pull: self.x_image_pull.unwrap_or(pull),
                }
            }
            _ => {
                let message = "\"sourceType\" must be one of SOURCE_FILES, GIT_REPO, TARBALL, GITHUB_GIST";
                return Err(ApiError::invalid_request(message));
            }
        })
    }

    /// The kind that a source without `sourceType` must have.
    fn implied_kind(&self) -> Option<&'static str> {
        let implied = [
            (self.source_files.is_some(), "SOURCE_FILES"),
            (self.git_repo_url.is_some(), "GIT_REPO"),
            (self.tarball_url.is_some(), "TARBALL"),
            (self.git_hub_gist_url.is_some(), "GITHUB_GIST"),
            (self.x_image.is_some(), "X_IMAGE"),
        ];
        let mut given = implied.into_iter().filter(|(given, _)| *given);
        match (given.next(), given.next()) {
            (Some((_, kind)), None) => Some(kind),
            _ => None,
        }
    }
}

/// The name of an image: what container engines allow in one, and nothing that they could take for something else.
fn check_image(image: &str) -> Result<(), ApiError> {
    const MAX_IMAGE: usize = 512;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let is_name = image.starts_with(|c: char| c.is_ascii_alphanumeric()) && image.chars().all(is_allowed);
    if !is_name || image.len() > MAX_IMAGE || image.contains("..") {
        return Err(ApiError::invalid_request(format!("\"{image}\" is not the name of an image")));
    }
    Ok(())
}

/// A variable as it is sent.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnvVarGiven {
    pub(crate) name: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    is_secret: Option<bool>,
}

/// The value may be a secret.
impl std::fmt::Debug for EnvVarGiven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvVarGiven").field("name", &self.name).finish_non_exhaustive()
    }
}

impl EnvVarGiven {
    /// Checks the lengths of name and value (`VER-12`), and that an environment can hold them.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let name = &self.name;
        if name.is_empty() || name.chars().count() > MAX_ENV_NAME || name.contains(['=', '\0']) {
            let message =
                format!("Environment variable name \"{name}\" must have 1 to {MAX_ENV_NAME} characters and no \"=\"");
            return Err(ApiError::new(Problem::InvalidValue, message));
        }
        let value = self.value.as_deref().unwrap_or_default();
        if value.contains('\0') || value.chars().count() > MAX_ENV_VALUE {
            let message =
                format!("Value of environment variable \"{name}\" must have at most {MAX_ENV_VALUE} characters");
            return Err(ApiError::new(Problem::InvalidValue, message));
        }
        Ok(())
    }

    /// The variable to store in the place of that of the same name among `old`. A secret one that comes without its
    /// value, as it was read, keeps the value it has (`VER-11`).
    pub(crate) fn replace(&self, old: &[EnvVar], engine: &Engine) -> Result<EnvVar, ApiError> {
        let known = old.iter().find(|var| var.name == self.name);
        let is_secret = self.is_secret.unwrap_or(false);
        let value = match (&self.value, known) {
            (Some(value), _) if is_secret => engine.seal(value),
            (Some(value), _) => value.clone(),
            (None, Some(known)) if known.is_secret && is_secret => known.value.clone().unwrap_or_default(),
            (None, Some(known)) if !known.is_secret && is_secret => {
                engine.seal(known.value.as_deref().unwrap_or_default())
            }
            // An open variable never gets the value of a secret one.
            (None, Some(known)) if !known.is_secret => known.value.clone().unwrap_or_default(),
            (None, _) => {
                let message = format!("Environment variable \"{}\" must have a value", self.name);
                return Err(ApiError::invalid_request(message));
            }
        };
        Ok(EnvVar { name: self.name.clone(), value: Some(value), is_secret })
    }
}

/// There is a variable of that name (`VER-12`).
pub(crate) fn env_var_exists(name: &str) -> ApiError {
    ApiError::new(Problem::EnvVarAlreadyExists, format!("Environment variable \"{name}\" already exists"))
}

fn checked_number(number: String) -> Result<String, ApiError> {
    match parse_version_number(&number) {
        Some(_) => Ok(number),
        None => {
            let message = format!("Version number \"{number}\" must be MAJOR.MINOR, each from 0 to 99");
            Err(ApiError::new(Problem::InvalidValue, message))
        }
    }
}

/// Tags stand in URLs and are told from numbers of builds by their form (`START-9`).
pub(crate) fn check_tag(tag: &str) -> Result<(), ApiError> {
    let is_word = !tag.is_empty()
        && tag.len() <= 63
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if is_word && model::parse_build_number(tag).is_none() {
        return Ok(());
    }
    let message = format!(
        "Build tag \"{tag}\" must have 1 to 63 letters, digits, hyphens, underscores or dots, and not the form of a build number"
    );
    Err(ApiError::new(Problem::InvalidValue, message))
}

/// Checks names, contents and total size of files (`VER-2`, `VER-3`), and writes down what format is meant if none is given.
fn check_files(files: &mut [SourceFile]) -> Result<(), ApiError> {
    let mut size = 0;
    for file in files {
        let invalid = |why: &str| {
            let message = format!("Source file \"{}\" {why}", file.name);
            Err(ApiError::new(Problem::InvalidValue, message))
        };
        if !is_inside(&file.name) {
            return invalid("must have a relative path inside the Actor's directory");
        }
        if file.folder == Some(true) {
            continue;
        }
        let Some(content) = &file.content else { return invalid("must have content") };
        size += match file.format.unwrap_or(FileFormat::Text) {
            FileFormat::Text => content.len(),
            FileFormat::Base64 => match decoded_len(content) {
                Some(len) => len,
                None => return invalid("is not valid base64"),
            },
        };
        file.format.get_or_insert(FileFormat::Text);
    }
    if size > MAX_SOURCE_FILES {
        let message =
            format!("Source files have {size} bytes in all, but at most {MAX_SOURCE_FILES} are allowed; use a tarball");
        return Err(ApiError::new(Problem::VersionsSizeExceeded, message));
    }
    Ok(())
}

fn is_inside(name: &str) -> bool {
    let name = name.trim_end_matches('/');
    !name.is_empty()
        && name.len() <= 4096
        && !name.starts_with('/')
        && !name.contains('\0')
        && name.split('/').all(|part| part != ".." && part.len() <= 255)
}

fn decoded_len(content: &str) -> Option<usize> {
    use base64::Engine as _;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&base64::alphabet::STANDARD, lenient).decode(content).ok().map(|bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, format: &str, content: &str) -> SourceFile {
        serde_json::from_value(serde_json::json!({ "name": name, "format": format, "content": content })).unwrap()
    }

    #[test]
    fn source_files_stay_inside_the_actor_and_within_their_size() {
        for name in ["a", "src/main.js", ".actor/actor.json", "a b", "./x", "..a", "é"] {
            assert!(check_files(&mut [file(name, "TEXT", "")]).is_ok(), "{name}");
        }
        for name in ["", "/", "/etc/passwd", "../x", "a/../../b", "a/..", "a\0b", &"x".repeat(256)] {
            assert!(check_files(&mut [file(name, "TEXT", "")]).is_err(), "{name}");
        }
        assert!(check_files(&mut [file("a", "BASE64", "AAAA")]).is_ok());
        assert!(check_files(&mut [file("a", "BASE64", "é")]).is_err());
        let just_fits = "x".repeat(MAX_SOURCE_FILES);
        assert!(check_files(&mut [file("a", "TEXT", &just_fits)]).is_ok());
        let error = check_files(&mut [file("a", "TEXT", &just_fits), file("b", "TEXT", "x")]).unwrap_err();
        assert_eq!(error.problem(), Problem::VersionsSizeExceeded);
    }

    #[test]
    fn a_tag_is_no_build_number() {
        for tag in ["latest", "v1.2", "1.2", "a_b-c", "1.2.0"] {
            assert!(check_tag(tag).is_ok(), "{tag}");
        }
        for tag in ["", "1.2.3", "a b", "a/b", &"x".repeat(64)] {
            assert!(check_tag(tag).is_err(), "{tag}");
        }
    }
}
