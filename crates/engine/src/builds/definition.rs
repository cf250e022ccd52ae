//! What a source tree on disk says about its Actor.

use std::fs;
use std::path::{Path, PathBuf};

use model::actor_json::{ActorDefinition, ActorJsonError, Dockerfile, SourceTree};
use serde_json::value::{RawValue, to_raw_value};

/// Built for Actors that have no Dockerfile (`SRC-4`).
const DEFAULT_DOCKERFILE: &str = "\
FROM apify/actor-node:24
ARG ACTOR_PATH_IN_DOCKER_CONTEXT=.
COPY --chown=myuser:myuser ${ACTOR_PATH_IN_DOCKER_CONTEXT}/package*.json ./
RUN npm --quiet set progress=false && npm install --only=prod --no-optional
COPY --chown=myuser:myuser ${ACTOR_PATH_IN_DOCKER_CONTEXT}/ ./
";
/// What messages call it.
const BUILT_IN: &str = "built-in Dockerfile";
/// No Dockerfile is larger.
const MAX_DOCKERFILE: u64 = 1 << 20;

/// Everything that a build takes from its source before it starts.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) json: Box<RawValue>,
    pub(crate) input_schema: Option<String>,
    pub(crate) readme: Option<String>,
    pub(crate) dockerfile: String,
    /// As messages show it.
    pub(crate) dockerfile_name: String,
    pub(crate) context: PathBuf,
    /// The Actor's root seen from the context (`SRC-5`).
    pub(crate) actor_path: String,
}

impl Definition {
    /// Reads the Actor whose root is the directory `actor` of the source in `root`; `""` is all of it. Blocks.
    pub(crate) fn read(root: &Path, actor: &str) -> Result<Self, String> {
        let actor_root = root.join(actor);
        let definition = ActorDefinition::read(&Directory(&actor_root)).map_err(|error| error.to_string())?;
        let context = definition.docker_context(actor).map_err(|error: ActorJsonError| error.to_string())?;
        let (dockerfile_name, dockerfile) = match &definition.dockerfile {
            Dockerfile::BuiltIn => (BUILT_IN.to_owned(), DEFAULT_DOCKERFILE.to_owned()),
            Dockerfile::File(path) => {
                // Seen from the context, where its own list of ignored files is looked for.
                let name = match context.actor_path.as_str() {
                    "." => path.clone(),
                    below => format!("{below}/{path}"),
                };
                (name, read_dockerfile(&actor_root, path)?)
            }
        };
        Ok(Self {
            json: to_raw_value(&definition.json).map_err(|error| error.to_string())?,
            input_schema: definition.input_schema_text(),
            readme: definition.readme,
            dockerfile,
            dockerfile_name,
            context: root.join(context.directory),
            actor_path: context.actor_path,
        })
    }

    /// Whether there is nothing to build: no Dockerfile, and nothing that the built-in one could start.
    pub(crate) fn is_empty(&self, root: &Path, actor: &str) -> bool {
        self.dockerfile_name == BUILT_IN && !root.join(actor).join("package.json").is_file()
    }
}

fn read_dockerfile(root: &Path, path: &str) -> Result<String, String> {
    let file = root.join(path);
    let size = fs::metadata(&file).map_err(|error| format!("cannot read {path}: {error}"))?.len();
    if size > MAX_DOCKERFILE {
        return Err(format!("{path} is too large: it has {size} bytes, at most {MAX_DOCKERFILE} are allowed"));
    }
    fs::read_to_string(&file).map_err(|error| format!("cannot read {path}: {error}"))
}

/// A source tree in a directory. Its links were checked when it was unpacked.
struct Directory<'a>(&'a Path);

impl SourceTree for Directory<'_> {
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(directory)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn size(&self, path: &str) -> Option<u64> {
        let metadata = fs::metadata(self.0.join(path)).ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    fn read(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.0.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
