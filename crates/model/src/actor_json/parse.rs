//! Reading `actor.json`.

use serde_json::{Map, Value};

use super::{ActorJson, ActorJsonError, DefaultMemory, Embedded, parse_lenient};
use crate::memory_expression::{MAX_EXPRESSION_CHARS, MAX_MEMORY_MBYTES, MIN_MEMORY_MBYTES};

type Result<T> = std::result::Result<T, ActorJsonError>;

impl ActorJson {
    /// Reads the text of the file, which may have comments and trailing commas (`SRC-1`).
    ///
    /// # Errors
    /// The text is no JSON5, or a field has a value that it must not have.
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_value(parse_lenient(text).map_err(ActorJsonError::NotJson)?)
    }

    /// Reads the file from its parsed form, or from a build's definition, where everything is inline.
    ///
    /// # Errors
    /// A field has a value that it must not have.
    pub fn from_value(raw: Value) -> Result<Self> {
        let Some(fields) = raw.as_object() else {
            return Err(ActorJsonError::NotJson("it must be an object".to_owned()));
        };
        let file = Fields(fields);
        if file.0.get("actorSpecification").is_some_and(|number| number.as_f64() != Some(1.0)) {
            return Err(ActorJsonError::field("actorSpecification", "must be 1"));
        }
        let version = file.text("version")?;
        if version.as_deref().is_some_and(|version| !is_version(version)) {
            return Err(ActorJsonError::field("version", "must be MAJOR.MINOR or MAJOR.MINOR.PATCH, like \"0.1\""));
        }
        let storages = match fields.get("storages") {
            None | Some(Value::Null) => &Map::new(),
            Some(Value::Object(storages)) => storages,
            Some(_) => return Err(ActorJsonError::field("storages", "must be an object")),
        };
        let (min_memory_mbytes, max_memory_mbytes) = (file.memory("minMemoryMbytes")?, file.memory("maxMemoryMbytes")?);
        if let (Some(least), Some(most)) = (min_memory_mbytes, max_memory_mbytes)
            && least > most
        {
            return Err(ActorJsonError::field("minMemoryMbytes", "must not be greater than \"maxMemoryMbytes\""));
        }
        Ok(Self {
            name: file.text("name")?,
            version,
            build_tag: file.text("buildTag")?,
            environment_variables: file.texts("environmentVariables")?,
            dockerfile: file.text("dockerfile")?,
            docker_context_dir: file.text("dockerContextDir")?,
            input: file.embedded(&["input", "inputSchema"])?,
            output: file.embedded(&["output", "outputSchema"])?,
            key_value_store: Fields(storages).embedded(&["keyValueStore"])?,
            dataset: Fields(storages).embedded(&["dataset"])?,
            datasets: Fields(storages).all_embedded("datasets")?,
            readme: file.text("readme")?,
            changelog: file.text("changelog")?,
            min_memory_mbytes,
            max_memory_mbytes,
            default_memory: file.default_memory()?,
            uses_standby_mode: fields.get("usesStandbyMode") == Some(&Value::Bool(true)),
            web_server_schema: file.embedded(&["webServerSchema"])?,
            web_server_mcp_path: file.text("webServerMcpPath")?,
            raw,
        })
    }
}

/// An object of the file. `null` counts as absent.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ActorJsonError::field(name, "must be a string")),
        }
    }

    fn texts<C: FromIterator<(String, String)>>(&self, name: &str) -> Result<C> {
        let members = match self.get(name) {
            None => None,
            Some(Value::Object(members)) => Some(members),
            Some(_) => return Err(ActorJsonError::field(name, "must be an object")),
        };
        let text = |(key, value): (&String, &Value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            _ => Err(ActorJsonError::field(&format!("{name}.{key}"), "must be a string")),
        };
        members.into_iter().flatten().map(text).collect()
    }

    fn embedded(&self, names: &[&str]) -> Result<Option<Embedded>> {
        let Some((name, value)) = names.iter().find_map(|name| Some((name, self.get(name)?))) else { return Ok(None) };
        embedded(name, value).map(Some)
    }

    fn all_embedded(&self, name: &str) -> Result<Vec<(String, Embedded)>> {
        let members = match self.get(name) {
            None => None,
            Some(Value::Object(members)) => Some(members),
            Some(_) => return Err(ActorJsonError::field(name, "must be an object")),
        };
        let members = members.into_iter().flatten();
        members.map(|(key, value)| Ok((key.clone(), embedded(&format!("{name}.{key}"), value)?))).collect()
    }

    fn memory(&self, name: &str) -> Result<Option<u32>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let megabytes = value.as_f64().filter(|megabytes| megabytes.fract() == 0.0);
        let within = megabytes
            .filter(|megabytes| (f64::from(MIN_MEMORY_MBYTES)..=f64::from(MAX_MEMORY_MBYTES)).contains(megabytes));
        match within {
            Some(megabytes) => Ok(Some(megabytes as u32)),
            None => Err(ActorJsonError::field(
                name,
                format!("must be an integer between {MIN_MEMORY_MBYTES} and {MAX_MEMORY_MBYTES}"),
            )),
        }
    }

    fn default_memory(&self) -> Result<Option<DefaultMemory>> {
        const NAME: &str = "defaultMemoryMbytes";
        match self.get(NAME) {
            Some(Value::String(text)) if text.chars().count() > MAX_EXPRESSION_CHARS => {
                Err(ActorJsonError::field(NAME, format!("must have at most {MAX_EXPRESSION_CHARS} characters")))
            }
            Some(Value::String(text)) => Ok(Some(DefaultMemory::Expression(text.clone()))),
            _ => Ok(self.memory(NAME)?.map(DefaultMemory::Fixed)),
        }
    }
}

fn embedded(name: &str, value: &Value) -> Result<Embedded> {
    match value {
        Value::Object(_) => Ok(Embedded::Inline(value.clone())),
        Value::String(path) => Ok(Embedded::Path(path.clone())),
        _ => Err(ActorJsonError::field(name, "must be an object or a path")),
    }
}

/// `^\d+\.\d+(\.\d+)?$`
fn is_version(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    (2..=3).contains(&parts.len())
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()))
}
