//! The input of a run, held against the schema of its build.

use bytes::Bytes;
use model::{ActorId, Build, UserId};

use crate::runs::start::RunInput;
use crate::{Engine, EngineError};

const JSON: &str = "application/json; charset=utf-8";

/// An input as it is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredInput {
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
    /// The same before its secrets were encrypted, for those who decide by it; never stored.
    pub(crate) plain: Bytes,
}

impl Engine {
    /// Tells whether a run of `build` could start with this input (`INP-21`).
    ///
    /// # Errors
    /// `Input` with one of the messages of `INP-20`.
    pub async fn validate_input(
        &self,
        build: &Build,
        body: Option<&[u8]>,
        content_type: Option<&str>,
    ) -> Result<(), EngineError> {
        if let Some(schema) = &self.view(build)?.input_schema {
            schema.prepare(body, content_type)?;
        }
        Ok(())
    }

    /// What to store as the input: with a schema the completed object (`START-18`), its secrets encrypted for runs of
    /// `actor` that `user` starts (`INP-24`), without one the bytes as they came (`START-16`), and nothing if none came
    /// (`START-17`).
    pub(crate) async fn prepare_input(
        &self,
        user: &UserId,
        actor: &ActorId,
        build: &Build,
        given: Option<RunInput>,
    ) -> Result<Option<StoredInput>, EngineError> {
        let given = given.filter(|input| !input.body.is_empty());
        if let Some(schema) = &self.view(build)?.input_schema {
            let content_type = given.as_ref().and_then(|input| input.content_type.as_deref());
            let mut prepared = schema.prepare(given.as_ref().map(|input| &*input.body), content_type)?;
            let plain = Bytes::from(prepared.bytes());
            let body = match self.encrypt_fields(user, actor, schema, &mut prepared.input).await? {
                true => prepared.bytes().into(),
                false => plain.clone(),
            };
            return Ok(Some(StoredInput { content_type: JSON.to_owned(), body, plain }));
        }
        Ok(given.map(|input| StoredInput {
            content_type: input.content_type.unwrap_or_else(|| JSON.to_owned()),
            body: input.body.clone(),
            plain: input.body,
        }))
    }
}
