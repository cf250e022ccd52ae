//! Keys in paths, and which keys a list is about.

use axum::extract::FromRequestParts;
use http::request::Parts;
use model::record::is_record_key;
use model::storage_schema::{Collection, CollectionKeys};

use crate::app::App;
use crate::error::{ApiError, Problem};
use crate::extract::{FromParams, Opened, Params, PathParams};

/// The key of a record, as the path has it (`K1`).
pub(super) struct RecordKey(pub(super) String);

impl FromRequestParts<App> for RecordKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let path = PathParams::from_request_parts(parts, app).await?;
        let key = path.get("key");
        if is_record_key(key) { Ok(Self(key.to_owned())) } else { Err(ApiError::invalid_record_key()) }
    }
}

/// Which keys are asked for (`K25`, `K30`).
pub(super) struct KeyFilter {
    prefix: Option<String>,
    collection: Option<String>,
}

impl FromParams for KeyFilter {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        Ok(Self {
            prefix: params.non_empty("prefix").map(Into::into),
            collection: params.non_empty("collection").map(Into::into),
        })
    }
}

/// Keys that match.
pub(super) enum Matching {
    /// Those that begin with all of these.
    Prefixes(Vec<String>),
    /// At most this one.
    Only(Option<String>),
}

impl KeyFilter {
    /// Looks the collection up in the schema of the store.
    pub(super) fn resolve(self, app: &App, store: &Opened) -> Result<Matching, ApiError> {
        let mut prefixes: Vec<String> = self.prefix.into_iter().collect();
        let Some(id) = self.collection else { return Ok(Matching::Prefixes(prefixes)) };
        let schema = app.schemas().of_store(&store.storage)?;
        let collection: Option<&Collection> = schema.as_ref().and_then(|schema| schema.collection(&id));
        match collection.map(|collection| &collection.keys) {
            Some(CollectionKeys::Prefix(prefix)) => {
                prefixes.push(prefix.clone());
                Ok(Matching::Prefixes(prefixes))
            }
            Some(CollectionKeys::Exactly(key)) => {
                let matches = prefixes.iter().all(|prefix| key.starts_with(prefix));
                Ok(Matching::Only(matches.then(|| key.clone())))
            }
            None => {
                let message = format!("The key-value store has no collection called \"{id}\"");
                Err(ApiError::new(Problem::InvalidCollection, message))
            }
        }
    }
}
