//! What helps to develop Actors on the server's own machine: the addresses that the official CLI calls for it, and which
//! the hosted platform does not have.

use std::path::Path;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use model::{Actor, DebugLanguage, DebugMode, Development};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, Json, PathParams};
use crate::wire;

pub(crate) fn router() -> Router<App> {
    let mut router = Router::new();
    for prefix in ["/actor-runtime", "/v2/actor-runtime"] {
        router = router
            .route(&format!("{prefix}/dev-folder/{{actorId}}"), post(set_folder))
            .route(&format!("{prefix}/debug/{{actorId}}"), post(set_debug));
    }
    router
}

/// `POST /actor-runtime/dev-folder/{actorId}`: the body is the folder's path as a JSON string, empty to clear it.
async fn set_folder(State(app): State<App>, Auth(caller): Auth, path: PathParams, Json(body): Json<Value>) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    let Value::String(folder) = body else {
        return Err(ApiError::invalid_request(
            "The body must be a JSON string: the absolute path of a folder, or empty",
        ));
    };
    let folder = (!folder.is_empty()).then_some(folder);
    if let Some(folder) = &folder {
        must_be_allowed(&app)?;
        must_be_folder(folder).await?;
    }
    let shown = folder.clone();
    change(&app, &actor, move |development| development.folder.clone_from(&folder)).await?;
    Ok(wire::ok(&json!({ "localDevFolder": shown })))
}

/// How debugging is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DebugGiven {
    enabled: bool,
    #[serde(default)]
    language: Option<DebugLanguage>,
    #[serde(default)]
    port: Option<u16>,
}

/// `POST /actor-runtime/debug/{actorId}`: whether the next runs wait for a debugger.
async fn set_debug(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Json(given): Json<DebugGiven>,
) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    if given.port == Some(0) {
        return Err(ApiError::invalid_request("\"port\" must be a number from 1 to 65535"));
    }
    let debug =
        given.enabled.then(|| DebugMode { language: given.language.unwrap_or(DebugLanguage::Auto), port: given.port });
    if debug.is_some() {
        must_be_allowed(&app)?;
    }
    change(&app, &actor, move |development| development.debug = debug).await?;
    let shown = debug.map(|debug| {
        let port = debug.python_port().or(debug.node_port());
        json!({ "language": debug.language, "port": port })
    });
    Ok(wire::ok(&json!({ "localDebug": shown })))
}

/// A token that may start Actors must not thereby see the files of a machine that others use, too.
fn must_be_allowed(app: &App) -> Result<(), ApiError> {
    if app.engine_config().development {
        return Ok(());
    }
    let message =
        "This server does not mount folders of its machine; its operator can allow it with the setting development";
    Err(ApiError::new(Problem::InsufficientPermissions, message))
}

async fn must_be_folder(folder: &str) -> Result<(), ApiError> {
    if !Path::new(folder).is_absolute() {
        return Err(ApiError::invalid_request(format!("\"{folder}\" is not an absolute path")));
    }
    match tokio::fs::metadata(folder).await {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(ApiError::new(Problem::DevFolderNotADirectory, format!("{folder} is not a directory"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(ApiError::new(
            Problem::DevFolderPathNotFound,
            format!("{folder} does not exist on the server's machine"),
        )),
        Err(error) => {
            Err(ApiError::new(Problem::DevFolderCheckFailed, format!("{folder} cannot be looked at: {error}")))
        }
    }
}

/// Changes how an Actor is developed; its `modifiedAt` stays.
async fn change(app: &App, actor: &Actor, change: impl Fn(&mut Development) + Send + 'static) -> Result<(), ApiError> {
    let keep = Box::new(move |actor: &mut Actor| {
        let before = actor.development.clone();
        change(&mut actor.development);
        actor.development != before
    });
    app.store().actors.modify(&actor.id, keep).await?;
    Ok(())
}
