//! What an Actor says about itself: `.actor/actor.json` and the files that it names (`SRC-1` to `SRC-10`).
//!
//! [`ActorJson`] is that file as such. [`ActorDefinition`] is a build's view of a source tree: the file with everything
//! that it refers to inlined and checked, and where the Dockerfile is.

mod definition;
mod lenient;
mod parse;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use lenient::parse_lenient;

pub use definition::{ActorDefinition, DockerContext, Dockerfile};
pub use tree::{SourceTree, find_file};

use std::collections::BTreeMap;

use serde_json::Value;

use crate::input_schema::SchemaError;
use crate::memory_expression::{self, MAX_MEMORY_MBYTES, MIN_MEMORY_MBYTES};
use crate::storage_schema::StorageSchemaError;

/// Where the file is.
pub const ACTOR_JSON: &str = ".actor/actor.json";

/// The fields of `actor.json` that the server acts on; others are kept in `raw` and otherwise ignored (`SRC-10`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActorJson {
    /// The file as it was written.
    pub raw: Value,
    /// Used by the CLI when pushing, as are the next three; a server applies them to nothing (`SRC-2`).
    pub name: Option<String>,
    /// `MAJOR.MINOR`, or with a third part.
    pub version: Option<String>,
    /// Tag of builds.
    pub build_tag: Option<String>,
    /// Variables of the version.
    pub environment_variables: BTreeMap<String, String>,
    /// Path of the Dockerfile, relative to `.actor/`, as all paths here.
    pub dockerfile: Option<String>,
    /// Path of the directory that the Dockerfile copies from.
    pub docker_context_dir: Option<String>,
    /// Input schema.
    pub input: Option<Embedded>,
    /// Output schema.
    pub output: Option<Embedded>,
    /// Schema of the default key-value store.
    pub key_value_store: Option<Embedded>,
    /// Schema of the default dataset.
    pub dataset: Option<Embedded>,
    /// Schemas of datasets by alias; `default` is the default dataset (`D50`).
    pub datasets: Vec<(String, Embedded)>,
    /// Path of the README.
    pub readme: Option<String>,
    /// Path of the changelog.
    pub changelog: Option<String>,
    /// Least memory of a run in megabytes.
    pub min_memory_mbytes: Option<u32>,
    /// Most memory of a run in megabytes.
    pub max_memory_mbytes: Option<u32>,
    /// Memory of runs that ask for none.
    pub default_memory: Option<DefaultMemory>,
    /// Whether runs serve requests in Standby mode.
    pub uses_standby_mode: bool,
    /// OpenAPI description of the Actor's web server.
    pub web_server_schema: Option<Embedded>,
    /// Path of the Actor's MCP server on its web server.
    pub web_server_mcp_path: Option<String>,
}

/// A part that stands in `actor.json` itself or in a file that it names.
#[derive(Clone, Debug, PartialEq)]
pub enum Embedded {
    /// The part itself.
    Inline(Value),
    /// Path of the file, relative to `.actor/`.
    Path(String),
}

/// The memory of runs that ask for none (`SRC-8`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultMemory {
    /// So many megabytes.
    Fixed(u32),
    /// To be computed from the input (`RES-5`).
    Expression(String),
}

/// Why a source tree cannot be built. The build fails with this text in its log (`BLD-14`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActorJsonError {
    /// The file is not even lenient JSON.
    #[error("Could not parse .actor/actor.json: {0}")]
    NotJson(String),
    /// A field has a value that it must not have.
    #[error("Invalid .actor/actor.json: \"{field}\" {problem}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong, to be read after the field.
        problem: String,
    },
    /// A path leads out of the Actor (`SRC-3`).
    #[error("Path \"{path}\" in \"{field}\" points outside the Actor root directory")]
    OutsideRoot {
        /// The field with the path.
        field: String,
        /// The path as written.
        path: String,
    },
    /// A path leads to no file.
    #[error("File \"{path}\" in \"{field}\" was not found")]
    FileNotFound {
        /// The field with the path.
        field: String,
        /// The path as written.
        path: String,
    },
    /// A file is too large to become part of the definition.
    #[error("File \"{path}\" is too large: it has {bytes} bytes, at most {limit} are allowed")]
    FileTooLarge {
        /// The file, from the Actor's root.
        path: String,
        /// Its size.
        bytes: u64,
        /// The largest allowed.
        limit: u64,
    },
    /// The input schema cannot be used.
    #[error(transparent)]
    InputSchema(#[from] SchemaError),
    /// Another schema cannot be used.
    #[error("{what} is not valid ({problem})")]
    Schema {
        /// Which schema: `Dataset schema`.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ActorJson {
    /// The memory of a run that asks for none, in megabytes (`START-8`): by the expression or number of the build, else
    /// `actor_default`; then a power of two within the bounds of the build and of the platform.
    ///
    /// `input` is the prepared input, `run_options` are the options as the API spells them.
    pub fn run_memory(&self, input: &Value, run_options: &Value, actor_default: u32) -> u32 {
        let own = match &self.default_memory {
            Some(DefaultMemory::Fixed(megabytes)) => Some(*megabytes),
            Some(DefaultMemory::Expression(text)) => memory_expression::evaluate(text, input, run_options),
            None => None,
        };
        let wanted = memory_expression::to_power_of_two(f64::from(own.unwrap_or(actor_default)));
        let least = self.min_memory_mbytes.unwrap_or(MIN_MEMORY_MBYTES).next_power_of_two();
        let most = self.max_memory_mbytes.map_or(MAX_MEMORY_MBYTES, previous_power_of_two).max(least);
        wanted.unwrap_or(least).clamp(least, most).clamp(MIN_MEMORY_MBYTES, MAX_MEMORY_MBYTES)
    }
}

fn previous_power_of_two(number: u32) -> u32 {
    number.checked_ilog2().map_or(0, |exponent| 1 << exponent)
}

impl ActorJsonError {
    fn field(field: &str, problem: impl Into<String>) -> Self {
        Self::Field { field: field.to_owned(), problem: problem.into() }
    }

    fn schema(what: &str, problem: &StorageSchemaError) -> Self {
        Self::Schema { what: what.to_owned(), problem: problem.to_string() }
    }
}
