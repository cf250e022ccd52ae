//! Storages as objects: made, listed, shown, changed, deleted (storages, section 2).

use axum::extract::State;
use axum::routing::{MethodRouter, get};
use engine::Subject;
use http::StatusCode;
use model::{GeneralAccess, Page, Right, Storage, StorageId, StorageKind, is_dns_safe};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use store::{Reads, StorageChange, StorageFilter};

use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, FromParams, JsonOrDefault, Kind, Manageable, Opened, Params, Query, Readable};
use crate::storages::schema;
use crate::wire::{self, ListPage, Show, StorageInList, StorageObject};

/// `/v2/datasets` and its like.
pub(super) fn collection<K: Kind>() -> MethodRouter<App> {
    get(list::<K>).post(create::<K>)
}

/// `/v2/datasets/{id}` and its like.
pub(super) fn object<K: Kind>() -> MethodRouter<App> {
    get(show::<K>).put(update::<K>).delete(delete::<K>)
}

/// What a new storage is to be like (`S8`, `S12`).
#[derive(Default, Deserialize)]
struct Create {
    name: Option<String>,
    title: Option<String>,
    schema: Option<Box<RawValue>>,
}

async fn create<K: Kind>(
    State(app): State<App>,
    Auth(caller): Auth,
    params: Params,
    JsonOrDefault(body): JsonOrDefault<Create>,
) -> Answer {
    let name = params.non_empty("name").map(Into::into).or(body.name.filter(|name| !name.is_empty()));
    if let Some(name) = &name {
        check_name(name)?;
    }
    // Queues have no schema; what clients send is ignored.
    let schema = body.schema.filter(|schema| K::KIND != StorageKind::RequestQueue && schema.get() != "null");
    if let Some(schema) = &schema {
        schema::check(K::KIND, schema)?;
    }

    let random = app.engine().random();
    let run = caller.run.as_deref();
    let new = app
        .store()
        .storages
        .get_or_create(Storage {
            id: StorageId::random(random),
            kind: K::KIND,
            user_id: caller.user.id,
            name,
            title: body.title,
            created_at: app.now(),
            actor_id: run.map(|run| run.actor_id),
            run_id: run.map(|run| run.id),
            token_id: caller.scope.as_ref().map(|own| own.token),
            general_access: GeneralAccess::FollowUserSetting,
            url_signing_secret: random.secret::<32>(),
            schema,
            lives_with: None,
        })
        .await?;

    // One of that name may be there already, and not for this token.
    let subject = Subject::Storage(&new.storage);
    if !new.created && !access::allows(&app, Some(&caller), Right::Read, subject).await? {
        return Err(ApiError::storage_refused(K::KIND));
    }
    let may_write = access::allows(&app, Some(&caller), Right::Write, subject).await?;
    let opened = Opened { storage: new.storage, caller: Some(caller), may_write };
    let status = if new.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = answer(&app, &opened, status).await?;
    if new.created {
        wire::locate(&mut response, &app.public_url(&format!("{}/{}", K::KIND.plural(), opened.storage.id)));
    }
    Ok(response)
}

/// Which storages to list (`S14`, `S15`).
struct ListParams {
    page: Page,
    unnamed: bool,
    shared_with_me: bool,
}

impl FromParams for ListParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let shared_with_me = match params.non_empty("ownership").as_deref() {
            None | Some("ownedByMe") => false,
            Some("sharedWithMe") => true,
            Some(_) => {
                let message = "Parameter \"ownership\" must be one of ownedByMe, sharedWithMe";
                return Err(ApiError::new(Problem::ParamNotOneOf, message));
            }
        };
        Ok(Self { page: params.page()?, unnamed: params.flag("unnamed")?, shared_with_me })
    }
}

async fn list<K: Kind>(State(app): State<App>, Auth(caller): Auth, Query(list): Query<ListParams>) -> Answer {
    #[derive(Serialize)]
    struct Listing<'a> {
        unnamed: bool,
        #[serde(flatten)]
        page: ListPage<StorageInList<'a>>,
    }

    let filter = StorageFilter { user: caller.user.id, kind: K::KIND, unnamed: list.unnamed };
    // Nothing is shared with single users here, only with everybody who has the id.
    let found = match list.shared_with_me {
        true => model::Listed { total: 0, items: Vec::new() },
        false => app.store().storages.list(filter, list.page).await?,
    };
    let items = found
        .items
        .iter()
        .map(|(storage, counters)| StorageInList::new(&app, storage, counters, &caller.user.username));
    let listed = model::Listed { total: found.total, items: items.collect() };
    Ok(wire::ok(&Listing { unnamed: list.unnamed, page: ListPage::new(list.page, listed) }))
}

async fn show<K: Kind>(State(app): State<App>, Readable(opened, ..): Readable<K>) -> Answer {
    app.store().storages.note_reads(&opened.storage.id, Reads::default());
    answer(&app, &opened, StatusCode::OK).await
}

/// What to change (`S21`); absent members stay as they are.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Update {
    #[serde(deserialize_with = "present")]
    name: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    title: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    general_access: Option<Option<GeneralAccess>>,
}

/// Tells `null` from absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

async fn update<K: Kind>(
    State(app): State<App>,
    Manageable(opened, ..): Manageable<K>,
    JsonOrDefault(update): JsonOrDefault<Update>,
) -> Answer {
    if let Some(Some(name)) = &update.name {
        check_name(name)?;
    }
    let change = StorageChange {
        name: update.name,
        title: update.title,
        general_access: update.general_access.map(|level| level.unwrap_or(GeneralAccess::FollowUserSetting)),
    };
    let storage = app.store().storages.update(&opened.storage.id, change).await?;
    answer(&app, &Opened { storage, ..opened }, StatusCode::OK).await
}

async fn delete<K: Kind>(State(app): State<App>, Manageable(opened, ..): Manageable<K>) -> Answer {
    app.store().storages.delete(&opened.storage.id).await?;
    Ok(wire::no_content())
}

async fn answer(app: &App, opened: &Opened, status: StatusCode) -> Answer {
    let storage = &*opened.storage;
    let counters = app.store().storages.counters(&storage.id).await?;
    let fields = match storage.kind {
        StorageKind::Dataset => app.store().datasets.fields(&storage.id).await?,
        StorageKind::KeyValueStore | StorageKind::RequestQueue => Vec::new(),
    };
    let owner = match &opened.caller {
        Some(caller) if caller.user.id == storage.user_id => Some(caller.user.clone()),
        _ => app.store().users.get(&storage.user_id).await?,
    };
    let show = Show {
        counters,
        username: owner.as_ref().map_or("", |owner| &owner.username),
        may_write: opened.may_write,
        level: access::storage_level(app, storage).await?,
        fields,
    };
    Ok(wire::data(status, &StorageObject::new(app, storage, show)))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    if is_dns_safe(name) {
        return Ok(());
    }
    let message = "Invalid value provided: the name of a storage has 1 to 63 letters, digits and hyphens, and no hyphen \
                   at its start or end";
    Err(ApiError::new(Problem::InvalidValue, message))
}
