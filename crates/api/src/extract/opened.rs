//! The storage that an address means, opened for reading or for writing.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use engine::{Caller, Subject};
use http::request::Parts;
use model::{Right, Run, RunUsage, Storage, StorageId, StorageKind, Timestamp, signature};
use store::{Locker, Noun};

use crate::access;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Auth, MaybeAuth, Params, PathParams};

/// A storage that the caller may use, and who the caller is.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// The storage.
    pub(crate) storage: Arc<Storage>,
    /// Who calls, if a token came.
    pub(crate) caller: Option<Caller>,
    /// Whether the caller may change it, and so see what only those may who can (`S29`).
    pub(crate) may_write: bool,
}

/// A kind of storage, as a type.
pub(crate) trait Kind: Send + Sync + 'static {
    const KIND: StorageKind;
}

/// Datasets.
pub(crate) enum Dataset {}
/// Key-value stores.
pub(crate) enum KeyValueStore {}
/// Request queues.
pub(crate) enum RequestQueue {}

impl Kind for Dataset {
    const KIND: StorageKind = StorageKind::Dataset;
}
impl Kind for KeyValueStore {
    const KIND: StorageKind = StorageKind::KeyValueStore;
}
impl Kind for RequestQueue {
    const KIND: StorageKind = StorageKind::RequestQueue;
}

/// Which signature in the query opens an address to everybody (`P8`, `P10`).
pub(crate) trait SignatureRule: Send + Sync + 'static {
    fn opens(storage: &Storage, path: &PathParams, signature: &str, now: Timestamp) -> bool;
}

/// None does.
pub(crate) enum Unsigned {}
/// The signature of the storage's content.
pub(crate) enum ContentSignature {}
/// The signature of the record that the path names as `key`.
pub(crate) enum RecordSignature {}

impl SignatureRule for Unsigned {
    fn opens(_: &Storage, _: &PathParams, _: &str, _: Timestamp) -> bool {
        false
    }
}
impl SignatureRule for ContentSignature {
    fn opens(storage: &Storage, _: &PathParams, signature: &str, now: Timestamp) -> bool {
        signature::opens_content(&storage.url_signing_secret, &storage.id, signature, now)
    }
}
impl SignatureRule for RecordSignature {
    fn opens(storage: &Storage, path: &PathParams, signature: &str, _: Timestamp) -> bool {
        signature::opens_record(&storage.url_signing_secret, path.get("key"), signature)
    }
}

/// A storage of kind `K` that the caller may read, by right, by its access level or by a signature.
///
/// # Errors
/// `404` if there is none, `403` if it may not be read (`P5`).
pub(crate) struct Readable<K, S = Unsigned>(pub(crate) Opened, pub(crate) PhantomData<fn() -> (K, S)>);

/// A storage of kind `K` that the caller may change.
///
/// # Errors
/// `401` without a token, `404` if there is none, `403` if it is another user's.
pub(crate) struct Writable<K>(pub(crate) Opened, pub(crate) PhantomData<fn() -> K>);

/// A storage of kind `K` that the caller may rename, open to others and delete.
///
/// # Errors
/// As [`Writable`].
pub(crate) struct Manageable<K>(pub(crate) Opened, pub(crate) PhantomData<fn() -> K>);

impl<K: Kind, S: SignatureRule> FromRequestParts<App> for Readable<K, S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let MaybeAuth(caller) = MaybeAuth::from_request_parts(parts, app).await?;
        let path = PathParams::from_request_parts(parts, app).await?;
        let params = Params::of(&parts.uri);
        let found = locate(app, caller.as_ref(), K::KIND, &path, &params).await?;
        let signed = || {
            let signature = params.text("signature")?;
            Some(S::opens(&found.storage, &path, &signature, app.now()))
        };
        let subject = Subject::Storage(&found.storage);
        let may_read = access::allows(app, caller.as_ref(), Right::Read, subject).await?
            || signed().unwrap_or(false)
            || found.is_open(app).await?;
        if !may_read {
            return Err(found.refusal(app, caller.as_ref()).await?);
        }
        let may_write = access::allows(app, caller.as_ref(), Right::Write, subject).await?;
        Ok(Self(Opened { storage: found.storage, caller, may_write }, PhantomData))
    }
}

impl<K: Kind> FromRequestParts<App> for Writable<K> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        open_to_change(parts, app, K::KIND, Right::Write).await.map(|opened| Self(opened, PhantomData))
    }
}

impl<K: Kind> FromRequestParts<App> for Manageable<K> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        open_to_change(parts, app, K::KIND, Right::Manage).await.map(|opened| Self(opened, PhantomData))
    }
}

async fn open_to_change(parts: &mut Parts, app: &App, kind: StorageKind, right: Right) -> Result<Opened, ApiError> {
    let Auth(caller) = Auth::from_request_parts(parts, app).await?;
    let path = PathParams::from_request_parts(parts, app).await?;
    let params = Params::of(&parts.uri);
    let found = locate(app, Some(&caller), kind, &path, &params).await?;
    if !access::allows(app, Some(&caller), right, Subject::Storage(&found.storage)).await? {
        return Err(found.refusal(app, Some(&caller)).await?);
    }
    Ok(Opened { storage: found.storage, caller: Some(caller), may_write: true })
}

/// A storage that was found, and by what kind of address.
struct Found {
    storage: Arc<Storage>,
    by_name: bool,
    /// The run in whose address it was found.
    of_run: Option<Arc<Run>>,
}

impl Found {
    /// Whether anybody may read it at this address: the run as well as the storage must be open (`A5`).
    async fn is_open(&self, app: &App) -> Result<bool, ApiError> {
        Ok(self.run_is_open(app).await? && access::storage_level(app, &self.storage).await?.is_open(self.by_name))
    }

    async fn run_is_open(&self, app: &App) -> Result<bool, ApiError> {
        match &self.of_run {
            Some(run) => Ok(access::run_level(app, run).await?.is_open(false)),
            None => Ok(true),
        }
    }

    /// How a caller without the right is sent away: a run that may not be seen is hidden (`AUTH-10`), a storage says no (`P5`).
    async fn refusal(&self, app: &App, caller: Option<&Caller>) -> Result<ApiError, ApiError> {
        // Whose storage it is knows of it, though its token may do less.
        let is_owner = caller.is_some_and(|caller| caller.user.id == self.storage.user_id);
        if is_owner || self.run_is_open(app).await? {
            Ok(ApiError::storage_refused(self.storage.kind))
        } else {
            Ok(access::hidden_run(caller))
        }
    }
}

/// Follows an address to its storage. The name of the path parameter tells what kind of address it is.
async fn locate(
    app: &App,
    caller: Option<&Caller>,
    kind: StorageKind,
    path: &PathParams,
    params: &Params,
) -> Result<Found, ApiError> {
    let run = if let Some(segment) = path.find("storageId") {
        let (storage, by_name) = access::find_storage(app, caller, kind, segment).await?;
        return Ok(Found { storage, by_name, of_run: None });
    } else if let Some(id) = path.find("runId") {
        access::find_run(app, caller, id).await?
    } else {
        // "Last" needs a token always (`LAST-6`).
        access::last_run(app, caller.ok_or_else(ApiError::token_not_provided)?, path, params).await?
    };
    let id = default_storage(&run, kind);
    let storage = app.store().storages.get(&id).await?.ok_or_else(|| ApiError::not_found(Noun::Storage))?;
    Ok(Found { storage, by_name: false, of_run: Some(run) })
}

/// The default storage of that kind (`A1`).
pub(crate) fn default_storage(run: &Run, kind: StorageKind) -> StorageId {
    match kind {
        StorageKind::Dataset => run.storages.dataset,
        StorageKind::KeyValueStore => run.storages.key_value_store,
        StorageKind::RequestQueue => run.storages.request_queue,
    }
}

impl Opened {
    /// Who works on a queue (`Q41`).
    pub(crate) fn locker(&self, client_key: Option<String>) -> Locker {
        let run = self.caller.as_ref().and_then(|caller| caller.run.as_ref()).map(|run| run.id);
        Locker { client_key, run }
    }

    /// Counts bytes that went between a run and this server (`U4`).
    pub(crate) fn meter_transfer(&self, app: &App, bytes: u64) {
        #[expect(clippy::cast_precision_loss, reason = "approximate is fine")]
        self.meter(app, |usage| usage.data_transfer_internal_gbytes += bytes as f64 / 1e9);
    }

    /// Counts for the run whose token was used, if one was (`U1`).
    pub(crate) fn meter(&self, app: &App, add: impl FnOnce(&mut RunUsage)) {
        if let Some(run) = self.caller.as_ref().and_then(|caller| caller.run.as_ref()) {
            app.engine().meter(&run.id, add);
        }
    }
}
