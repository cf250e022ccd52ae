//! Variables of a version, one by one (`VER-12`).

use axum::extract::State;
use model::{EnvVar, Version};

use super::versions::{WholeList, change, located};
use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, Json, PathParams};
use crate::wire::{self, EnvVarBody, EnvVarGiven, env_var_exists};

pub(super) async fn list(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let (_, version) = located(&app, &caller, &path).await?;
    Ok(wire::ok(&version.env_vars.iter().map(EnvVarBody::new).collect::<WholeList<_>>()))
}

pub(super) async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Json(given): Json<EnvVarGiven>,
) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    given.check()?;
    let (name, engine) = (given.name.clone(), app.engine().clone());
    let version = change(&app, &actor, path.get("versionNumber"), move |version| {
        if version.env_vars.iter().any(|var| var.name == given.name) {
            return Err(env_var_exists(&given.name));
        }
        let mut version = version.clone();
        version.env_vars.push(given.replace(&[], &engine)?);
        Ok(version)
    })
    .await?;
    let location = format!("actors/{}/versions/{}/env-vars/{name}", actor.id, version.version_number);
    Ok(wire::created(&app.public_url(&location), &EnvVarBody::new(find(&version, &name)?)))
}

pub(super) async fn show(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let (_, version) = located(&app, &caller, &path).await?;
    Ok(wire::ok(&EnvVarBody::new(find(&version, path.get("envVarName"))?)))
}

/// Replaces a variable. It cannot be renamed.
pub(super) async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    path: PathParams,
    Json(given): Json<EnvVarUpdate>,
) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    let name = path.get("envVarName").to_owned();
    let given = given.named(&name)?;
    given.check()?;
    let engine = app.engine().clone();
    let version = change(&app, &actor, path.get("versionNumber"), move |version| {
        find(version, &given.name)?;
        let mut version = version.clone();
        let new = given.replace(&version.env_vars, &engine)?;
        version.env_vars.iter_mut().filter(|var| var.name == new.name).for_each(|var| var.clone_from(&new));
        Ok(version)
    })
    .await?;
    Ok(wire::ok(&EnvVarBody::new(find(&version, &name)?)))
}

/// A variable whose name stands in the path and may be left out of the body.
#[derive(Debug, serde::Deserialize)]
pub(super) struct EnvVarUpdate {
    name: Option<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

impl EnvVarUpdate {
    fn named(mut self, name: &str) -> Result<EnvVarGiven, ApiError> {
        if self.name.is_some_and(|given| given != name) {
            return Err(ApiError::new(Problem::CannotRenameEnvVar, "Environment variable cannot be renamed"));
        }
        self.rest.insert("name".to_owned(), name.into());
        serde_json::from_value(self.rest.into())
            .map_err(|error| ApiError::invalid_request(format!("The request body has an unexpected form: {error}")))
    }
}

pub(super) async fn delete(State(app): State<App>, Auth(caller): Auth, path: PathParams) -> Answer {
    let actor = access::own_actor(&app, &caller, path.get("actorId")).await?;
    let name = path.get("envVarName").to_owned();
    change(&app, &actor, path.get("versionNumber"), move |version| {
        find(version, &name)?;
        let mut version = version.clone();
        version.env_vars.retain(|var| var.name != name);
        Ok(version)
    })
    .await?;
    Ok(wire::no_content())
}

/// The variable of that name; case counts, as it does in an environment.
fn find<'a>(version: &'a Version, name: &str) -> Result<&'a EnvVar, ApiError> {
    let found = version.env_vars.iter().find(|var| var.name == name);
    found.ok_or_else(|| ApiError::new(Problem::RecordNotFound, "Environment variable was not found"))
}
