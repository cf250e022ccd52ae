//! What a request means: who calls, which resource, which parameters, which body.

mod auth;
mod body;
mod opened;
mod params;

pub(crate) use auth::{Auth, MaybeAuth, bearer};
pub(crate) use body::{Arrived, Encoding, Json, JsonOrDefault, RequestBody, WholeBody, from_json};
pub(crate) use opened::{
    ContentSignature, Dataset, KeyValueStore, Kind, Manageable, Opened, Readable, RecordSignature, RequestQueue,
    Writable, default_storage,
};
pub(crate) use params::{FromParams, Params, PathParams, Query};
