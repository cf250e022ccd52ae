//! The input schema of a build: checked when the build is made, then used to complete and judge the input of its runs.
//!
//! The messages and their order are those that callers know from the platform (`INP-15`), which owes them to its JavaScript
//! validator; so the validator here is written for them and is not a general one for JSON Schema.

mod check;
mod defaults;
mod field;
mod pattern;
mod resources;
mod secrets;
mod special;
mod validate;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use self::field::Field;
use crate::actor_json::parse_lenient;

pub use self::resources::NamedResource;
pub use self::secrets::{EncryptedValue, SecretField};
pub(crate) use self::validate::js_number;

/// A schema file may have this many bytes (`INP-23`).
pub const MAX_SCHEMA_BYTES: usize = 500_000;

/// The input schema of a build, checked and ready to judge inputs.
#[derive(Clone, Debug)]
pub struct InputSchema {
    source: Value,
    /// The input as a whole: an object with the schema's fields.
    root: Field,
}

/// A schema that cannot be used. The build that carries it fails with this text (`BLD-14`, `INP-19`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The file is too large (`INP-23`).
    #[error("Input schema is too large: it has {bytes} bytes, at most {MAX_SCHEMA_BYTES} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The file is not JSON.
    #[error("Input schema is not valid (Cannot parse JSON: {0})")]
    NotJson(String),
    /// The schema breaks a rule; the text names the field.
    #[error("Input schema is not valid ({0})")]
    Invalid(String),
}

/// An input that a run cannot start with (`INP-20`). All are answered with status 400 and [`InputError::kind`] as the type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The body says that it is something else than JSON.
    #[error("Actor input must have content type \"application/json\".")]
    ContentType,
    /// The body is not JSON; the text is the parser's.
    #[error("Cannot parse input JSON body: {0}")]
    NotJson(String),
    /// The body is JSON but not an object.
    #[error("The input JSON must be object, got \"{0}\" instead.")]
    NotObject(&'static str),
    /// The input breaks the schema; one message for each failure, in the validator's order.
    #[error("Input is not valid: {}", .0.join(", "))]
    Invalid(Vec<String>),
    /// The build's own schema is broken.
    #[error("Input schema is not valid: {0}")]
    Schema(SchemaError),
}

/// An input that a run can start with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedInput {
    /// The given input completed with the defaults (`START-18`).
    pub input: Map<String, Value>,
}

impl PreparedInput {
    /// The input as JSON.
    pub fn bytes(&self) -> Vec<u8> {
        // An object whose keys are texts can always be written.
        serde_json::to_vec(&self.input).unwrap_or_default()
    }
}

impl InputSchema {
    /// Reads and checks the text of a schema file.
    ///
    /// # Errors
    /// Tells the first rule of `INP-2` to `INP-7` that is broken.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(SchemaError::TooLarge { bytes: text.len() });
        }
        Self::from_value(parse_lenient(text).map_err(SchemaError::NotJson)?)
    }

    /// Checks a schema that stands inline in `actor.json`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_value(source: Value) -> Result<Self, SchemaError> {
        check::check(&source).map_err(SchemaError::Invalid)?;
        let root = Field::root(&source).map_err(SchemaError::Invalid)?;
        Ok(Self { source, root })
    }

    /// The schema as it was given.
    pub const fn source(&self) -> &Value {
        &self.source
    }

    /// Turns the body of a start request into the input of the run: completed with defaults, then validated.
    ///
    /// An absent or empty body and JSON `null` count as `{}` (`START-17`), an absent content type as JSON (`START-20`).
    ///
    /// # Errors
    /// One of the texts of `INP-20`; no run may be created then.
    pub fn prepare(&self, body: Option<&[u8]>, content_type: Option<&str>) -> Result<PreparedInput, InputError> {
        let mut input = read_object(body.unwrap_or_default(), content_type)?;
        defaults::fill(&self.root, &mut input);
        let messages = self.failures(&input);
        if !messages.is_empty() {
            return Err(InputError::Invalid(messages));
        }
        Ok(PreparedInput { input })
    }

    fn failures(&self, input: &Map<String, Value>) -> Vec<String> {
        let mut messages = validate::validate(&self.root, input);
        special::check(&self.root, input, &mut messages);
        messages
    }
}

impl InputError {
    /// The `type` of the error answer.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Schema(_) => "invalid-input-schema",
            _ => "invalid-input",
        }
    }

    /// What a start from the Console shows: as the error itself, but with the first failure only (`INP-22`).
    #[must_use]
    pub fn first_only(self) -> Self {
        match self {
            Self::Invalid(mut messages) => {
                messages.truncate(1);
                Self::Invalid(messages)
            }
            other => other,
        }
    }
}

fn read_object(body: &[u8], content_type: Option<&str>) -> Result<Map<String, Value>, InputError> {
    // Clients send bodies of zero bytes with any content type.
    if body.is_empty() {
        return Ok(Map::new());
    }
    let media_type = content_type.map_or("application/json", |header| header.split(';').next().unwrap_or(header));
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(InputError::ContentType);
    }
    match serde_json::from_slice(body).map_err(|error| InputError::NotJson(error.to_string()))? {
        Value::Object(input) => Ok(input),
        Value::Null => Ok(Map::new()),
        other => Err(InputError::NotObject(field::type_name(&other))),
    }
}
