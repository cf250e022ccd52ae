//! A build's view of a source tree.

use serde_json::{Map, Value, json};

use super::tree::{SourceTree, find_file, resolve};
use super::{ACTOR_JSON, ActorJson, ActorJsonError, Embedded, parse_lenient};
use crate::input_schema::InputSchema;
use crate::storage_schema::{DatasetSchema, KeyValueStoreSchema};

type Result<T> = std::result::Result<T, ActorJsonError>;

/// The directory that the paths of `actor.json` start from.
const ACTOR_DIR: &str = ".actor";

/// Larger files do not become part of a definition, which travels in every answer about the build.
const MAX_EMBEDDED_BYTES: u64 = 5 << 20;

/// Everything that a build must know of its source before it starts, checked.
#[derive(Clone, Debug)]
pub struct ActorDefinition {
    /// The file `actor.json`; empty if there is none.
    pub actor_json: ActorJson,
    /// `actor.json` with schemas, README and changelog inlined: the build's `actorDefinition` (`BLD-7`).
    pub json: Value,
    /// The input schema; everything passes without one (`INP-1`).
    pub input_schema: Option<InputSchema>,
    /// README as text.
    pub readme: Option<String>,
    /// Changelog as text.
    pub changelog: Option<String>,
    /// What the image is made from.
    pub dockerfile: Dockerfile,
}

/// What an image is made from (`SRC-4`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dockerfile {
    /// The file at this path, from the Actor's root.
    File(String),
    /// There is none: the built-in one for Node.js.
    BuiltIn,
}

/// The directory that a Dockerfile copies from (`SRC-5`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerContext {
    /// Its path from the root of the repository; `""` is the root.
    pub directory: String,
    /// The Actor's root seen from there, `.` if it is the same: the build argument `ACTOR_PATH_IN_DOCKER_CONTEXT`.
    pub actor_path: String,
}

impl ActorDefinition {
    /// Reads `actor.json` and all that belongs to it from the source of an Actor.
    ///
    /// # Errors
    /// The text for the build's log: a file cannot be parsed, a path leads nowhere or out of the Actor, a schema is wrong.
    pub fn read(tree: &impl SourceTree) -> Result<Self> {
        let source = Source(tree);
        let actor_json = match source.found(&[ACTOR_JSON])? {
            Some((_, text)) => ActorJson::parse(&text)?,
            None => ActorJson { raw: json!({}), ..ActorJson::default() },
        };
        let mut json = actor_json.raw.as_object().cloned().unwrap_or_default();

        let input_schema = source.input_schema(&actor_json)?;
        if let Some(schema) = &input_schema {
            json.shift_remove("inputSchema");
            json.insert("input".to_owned(), schema.source().clone());
        }
        if let Some(schema) = source.embedded("output", actor_json.output.as_ref())? {
            check_output(&schema)?;
            json.shift_remove("outputSchema");
            json.insert("output".to_owned(), schema);
        }
        source.storages(&actor_json, &mut json)?;
        if let Some(schema) = source.embedded("webServerSchema", actor_json.web_server_schema.as_ref())? {
            check_web_server(&schema)?;
            json.insert("webServerSchema".to_owned(), schema);
        }
        let readme = source.document("readme", actor_json.readme.as_deref(), "README.md")?;
        let changelog = source.document("changelog", actor_json.changelog.as_deref(), "CHANGELOG.md")?;
        for (name, text) in [("readme", &readme), ("changelog", &changelog)] {
            match text {
                Some(text) => json.insert(name.to_owned(), text.as_str().into()),
                // A path that leads to nothing would read as the text itself.
                None => json.shift_remove(name),
            };
        }
        let dockerfile = source.dockerfile(&actor_json)?;
        Ok(Self { actor_json, json: Value::Object(json), input_schema, readme, changelog, dockerfile })
    }

    /// The input schema as the deprecated text of `BLD-7`.
    pub fn input_schema_text(&self) -> Option<String> {
        self.input_schema.as_ref().map(|schema| schema.source().to_string())
    }

    /// The schemas of a run's default storages in a build's definition: of the dataset and of the key-value store (`D50`).
    pub fn default_storage_schemas(definition: &Value) -> (Option<&Value>, Option<&Value>) {
        let storages = &definition["storages"];
        let object = |schema: &'_ Value| schema.is_object();
        let dataset = Some(&storages["datasets"]["default"]).filter(|schema| object(schema));
        let dataset = dataset.or(Some(&storages["dataset"]).filter(|schema| object(schema)));
        (dataset, Some(&storages["keyValueStore"]).filter(|schema| object(schema)))
    }

    /// Where the Dockerfile copies from. `actor_directory` is the Actor's root in its repository, `""` if that is all there
    /// is: then nothing lies above it (`SRC-5`).
    ///
    /// # Errors
    /// `dockerContextDir` leads out of the repository, or to a directory that the Actor is not in.
    pub fn docker_context(&self, actor_directory: &str) -> Result<DockerContext> {
        let actor_root = resolve("", actor_directory).unwrap_or_default();
        let directory = match &self.actor_json.docker_context_dir {
            None => String::new(),
            Some(path) => {
                resolve(&join(&actor_root, ACTOR_DIR), path).ok_or_else(|| outside("dockerContextDir", path))?
            }
        };
        let below = match actor_root.strip_prefix(&directory) {
            Some(below) if directory.is_empty() || below.is_empty() => Some(below),
            Some(below) => below.strip_prefix('/'),
            None => None,
        };
        let Some(below) = below else {
            return Err(ActorJsonError::field("dockerContextDir", "must be a directory that contains the Actor"));
        };
        let actor_path = if below.is_empty() { "." } else { below }.to_owned();
        Ok(DockerContext { directory, actor_path })
    }
}

/// A source tree being read.
struct Source<'a, T>(&'a T);

impl<T: SourceTree> Source<'_, T> {
    fn input_schema(&self, actor_json: &ActorJson) -> Result<Option<InputSchema>> {
        let text = match &actor_json.input {
            Some(Embedded::Inline(schema)) => return Ok(Some(InputSchema::from_value(schema.clone())?)),
            Some(Embedded::Path(path)) => Some(self.named("input", path)?),
            None => self.found(&[".actor/INPUT_SCHEMA.json", "INPUT_SCHEMA.json"])?,
        };
        Ok(text.map(|(_, text)| InputSchema::parse(&text)).transpose()?)
    }

    fn storages(&self, actor_json: &ActorJson, json: &mut Map<String, Value>) -> Result<()> {
        let inlined = |field: &str, part: &Embedded| self.embedded(field, Some(part)).map(Option::unwrap_or_default);
        let check_dataset = |what: &str, schema: &Value| match DatasetSchema::new(schema.clone()) {
            Ok(_) => Ok(()),
            Err(problem) => Err(ActorJsonError::schema(what, &problem)),
        };
        if let Some(part) = &actor_json.dataset {
            let schema = inlined("storages.dataset", part)?;
            check_dataset("Dataset schema", &schema)?;
            json["storages"]["dataset"] = schema;
        }
        for (alias, part) in &actor_json.datasets {
            let schema = inlined(&format!("storages.datasets.{alias}"), part)?;
            check_dataset(&format!("Dataset schema \"{alias}\""), &schema)?;
            json["storages"]["datasets"][alias] = schema;
        }
        if let Some(part) = &actor_json.key_value_store {
            let schema = inlined("storages.keyValueStore", part)?;
            KeyValueStoreSchema::new(schema.clone())
                .map_err(|problem| ActorJsonError::schema("Key-value store schema", &problem))?;
            json["storages"]["keyValueStore"] = schema;
        }
        Ok(())
    }

    /// A part that is inline or in a file of JSON.
    fn embedded(&self, field: &str, part: Option<&Embedded>) -> Result<Option<Value>> {
        let Some(part) = part else { return Ok(None) };
        let path = match part {
            Embedded::Inline(value) => return Ok(Some(value.clone())),
            Embedded::Path(path) => path,
        };
        let (path, text) = self.named(field, path)?;
        let not_json = |problem| ActorJsonError::Schema { what: format!("File \"{path}\""), problem };
        parse_lenient(&text).map(Some).map_err(|problem| not_json(format!("Cannot parse JSON: {problem}")))
    }

    /// README or changelog: the named file if it exists, else the usual places (`SRC-7`).
    fn document(&self, field: &str, path: Option<&str>, usual: &str) -> Result<Option<String>> {
        let named = path.map(|path| resolve(ACTOR_DIR, path).ok_or_else(|| outside(field, path))).transpose()?;
        let usual = [join(ACTOR_DIR, usual), usual.to_owned()];
        let places: Vec<&str> = named.iter().chain(&usual).map(String::as_str).collect();
        Ok(self.found(&places)?.map(|(_, text)| text))
    }

    fn dockerfile(&self, actor_json: &ActorJson) -> Result<Dockerfile> {
        let named = actor_json.dockerfile.as_deref();
        let named =
            named.map(|path| resolve(ACTOR_DIR, path).ok_or_else(|| outside("dockerfile", path))).transpose()?;
        let usual = [".actor/Dockerfile", "Dockerfile"];
        let mut places = named.as_deref().into_iter().chain(usual);
        Ok(places.find_map(|path| find_file(self.0, path)).map_or(Dockerfile::BuiltIn, Dockerfile::File))
    }

    /// The file that a field names.
    fn named(&self, field: &str, path: &str) -> Result<(String, String)> {
        let place = resolve(ACTOR_DIR, path).ok_or_else(|| outside(field, path))?;
        let not_found = || ActorJsonError::FileNotFound { field: field.to_owned(), path: path.to_owned() };
        self.found(&[&place])?.ok_or_else(not_found)
    }

    /// The first of these files that exists: its path and its text.
    fn found(&self, places: &[&str]) -> Result<Option<(String, String)>> {
        let Some(path) = places.iter().find_map(|place| find_file(self.0, place)) else { return Ok(None) };
        let bytes = self.0.size(&path).unwrap_or_default();
        if bytes > MAX_EMBEDDED_BYTES {
            return Err(ActorJsonError::FileTooLarge { path, bytes, limit: MAX_EMBEDDED_BYTES });
        }
        Ok(self.0.read(&path).map(|text| (path, text)))
    }
}

/// An output schema has properties, each with the template of a link.
fn check_output(schema: &Value) -> Result<()> {
    let wrong = |problem: String| Err(ActorJsonError::Schema { what: "Output schema".to_owned(), problem });
    let version = &schema["actorOutputSchemaVersion"];
    if !version.is_null() && version.as_f64() != Some(1.0) {
        return wrong("Field schema.actorOutputSchemaVersion must be 1".to_owned());
    }
    let Some(properties) = schema["properties"].as_object() else {
        return wrong("Field schema.properties must be object".to_owned());
    };
    match properties.iter().find(|(_, property)| !property["template"].is_string()) {
        Some((name, _)) => wrong(format!("Field schema.properties.{name}.template must be string")),
        None => Ok(()),
    }
}

/// A web server schema is an OpenAPI document of version 3.
fn check_web_server(schema: &Value) -> Result<()> {
    if schema["openapi"].as_str().is_some_and(|version| version.starts_with("3.")) && schema["paths"].is_object() {
        return Ok(());
    }
    let problem = "it must be an OpenAPI 3 document with \"openapi\" and \"paths\"".to_owned();
    Err(ActorJsonError::Schema { what: "Web server schema".to_owned(), problem })
}

fn outside(field: &str, path: &str) -> ActorJsonError {
    ActorJsonError::OutsideRoot { field: field.to_owned(), path: path.to_owned() }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
