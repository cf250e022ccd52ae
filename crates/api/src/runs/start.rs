//! Starting runs (section 9 of the contract).

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use bytes::Bytes;
use engine::{Asked, Caller, RunInput, RunOptionsGiven, StartRun};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{Method, StatusCode};
use model::{Actor, Origin, PermissionLevel, Right, Run, Task};

use super::{show, webhooks};
use crate::access;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{Auth, FromParams, Params, PathParams, WholeBody};
use crate::layers::Peer;
use crate::wire::{self, Viewer, WebhookGiven};

/// How a run is asked for in a query (`START-3`).
pub(super) struct StartParams {
    given: RunOptionsGiven,
    force_permission_level: Option<PermissionLevel>,
    webhooks: Vec<WebhookGiven>,
    without_dev_folder: bool,
}

impl FromParams for StartParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let force_permission_level = match params.non_empty("forcePermissionLevel").as_deref() {
            None => None,
            Some("LIMITED_PERMISSIONS") => Some(PermissionLevel::LimitedPermissions),
            Some("FULL_PERMISSIONS") => Some(PermissionLevel::FullPermissions),
            Some(_) => {
                let message = "Parameter \"forcePermissionLevel\" must be one of LIMITED_PERMISSIONS, FULL_PERMISSIONS";
                return Err(ApiError::invalid_request(message));
            }
        };
        // Ours: the CLI's `--no-dev-folder`.
        let without_dev_folder = params.maybe_flag("devFolder")? == Some(false);
        let webhooks = webhooks::webhooks(params)?;
        Ok(Self { given: options(params)?, force_permission_level, webhooks, without_dev_folder })
    }
}

/// The options of a run that a query gives (`START-3`, `RESUR-1`).
pub(super) fn options(params: &Params) -> Result<RunOptionsGiven, ApiError> {
    Ok(RunOptionsGiven {
        build: params.non_empty("build").map(Into::into),
        timeout_secs: whole(params, "timeout")?,
        memory_mbytes: whole(params, "memory")?,
        max_items: whole(params, "maxItems")?,
        max_total_charge_usd: match params.non_empty("maxTotalChargeUsd") {
            Some(text) => Some(text.parse().map_err(|_| not_a_number("maxTotalChargeUsd"))?),
            None => None,
        },
        restart_on_error: params.maybe_flag("restartOnError")?,
    })
}

/// A whole number that may be out of bounds, for which the engine has better words than we.
fn whole(params: &Params, name: &str) -> Result<Option<i64>, ApiError> {
    let Some(text) = params.non_empty(name) else { return Ok(None) };
    let number = text.parse::<i64>().ok().or_else(|| {
        let number = text.parse::<f64>().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and what is that large is refused anyway")]
        (number.is_finite() && number.fract() == 0.0).then_some(number as i64)
    });
    number.map(Some).ok_or_else(|| not_a_number(name))
}

fn not_a_number(name: &str) -> ApiError {
    ApiError::invalid_request(format!("Parameter \"{name}\" is invalid: it must be a number"))
}

/// What is to be run.
enum Target {
    Actor(Arc<Actor>),
    Task(Arc<Task>),
}

/// A request to start a run, but for its body.
pub(super) struct Asking {
    pub(super) caller: Caller,
    target: Target,
    start: StartParams,
    asked: Asked,
    content_type: Option<String>,
}

impl FromRequestParts<App> for Asking {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        // Routes answer HEAD as they do GET, but what only looks must not start anything.
        if parts.method == Method::HEAD {
            return Err(ApiError::method_not_allowed("GET,POST"));
        }
        let Auth(caller) = Auth::from_request_parts(parts, app).await?;
        let start = StartParams::from_params(&Params::of(&parts.uri))?;
        let path = PathParams::from_request_parts(parts, app).await?;
        let target = match path.find("actorTaskId") {
            Some(task) => Target::Task(access::own_task(app, &caller, Right::Run, task).await?),
            None => Target::Actor(access::visible_actor(app, &caller, path.get("actorId")).await?),
        };
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let asked = asked(&caller, parts);
        Ok(Self { caller, target, start, asked, content_type: content_type.filter(|text| !text.is_empty()) })
    }
}

impl Asking {
    /// Starts the run with `body` as its input; none if it is empty (`START-17`). That of a task goes over the task's own, and
    /// the permission level is for Actors only (`TASK-4`, `START-15`).
    pub(super) async fn launch(self, app: &App, body: Bytes) -> Result<Arc<Run>, ApiError> {
        let input = (!body.is_empty()).then_some(RunInput { body, content_type: self.content_type });
        let StartParams { given, force_permission_level, webhooks, without_dev_folder } = self.start;
        let webhooks = webhooks::checked(&webhooks, app.engine(), &self.caller)?;
        let start = StartRun {
            given,
            force_permission_level,
            input,
            without_dev_folder,
            asked: self.asked,
            task: None,
            scheduled: None,
            webhooks,
            without_input: false,
        };
        Ok(match self.target {
            Target::Actor(actor) => app.engine().start_run(&self.caller, &actor, start).await?,
            Target::Task(task) => {
                let start = StartRun { force_permission_level: None, ..start };
                app.engine().start_task(&self.caller, &task, start).await?
            }
        })
    }
}

/// `POST …/runs` of an Actor or a task (`START-1`).
pub(super) async fn start(
    State(app): State<App>,
    asking: Asking,
    params: Params,
    WholeBody(body): WholeBody,
) -> Answer {
    let run = asking.launch(&app, body).await?;
    let wait = show::wait_for_finish(&params);
    let run = if wait.is_zero() { run } else { app.engine().wait_for_run(&run.id, wait).await? };
    let mut response = show::answer(&app, &run, Viewer::Owner, StatusCode::CREATED).await?;
    wire::locate(&mut response, &app.public_url(&format!("actor-runs/{}", run.id)));
    Ok(response)
}

/// Who asks for a run or build, and from where (`RUN-11`, `RUN-20`, `HTTP-25`).
pub(crate) fn asked(caller: &Caller, parts: &Parts) -> Asked {
    let text =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    let by_token = if caller.run.is_some() { Origin::Actor } else { Origin::Api };
    let peer = parts.extensions.get::<Peer>();
    Asked {
        // What Standby starts, it starts itself.
        origin: text("x-apify-request-origin")
            .and_then(Origin::parse)
            .filter(|origin| *origin != Origin::Standby)
            .unwrap_or(by_token),
        client_ip: peer.map(|Peer(peer)| peer.ip().to_canonical().to_string()),
        user_agent: text(USER_AGENT.as_str()).map(str::to_owned),
        workflow_key: text("x-apify-workflow-key").map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/?{query}").parse().unwrap())
    }

    #[test]
    fn options_are_read_by_the_names_that_queries_have() {
        let given = options(&params(
            "timeout=0&memory=256&build=beta&maxItems=5&maxTotalChargeUsd=1.5&restartOnError=1&unknown=x",
        ));

        let given = given.unwrap();
        assert_eq!((given.timeout_secs, given.memory_mbytes, given.max_items), (Some(0), Some(256), Some(5)));
        assert_eq!((given.build.as_deref(), given.max_total_charge_usd), (Some("beta"), Some(1.5)));
        assert_eq!(given.restart_on_error, Some(true));
        assert_eq!(options(&params("timeout=&memory=1024.0")).unwrap().memory_mbytes, Some(1024));
        for bad in
            ["timeout=soon", "memory=1.5", "memory=NaN", "maxItems=all", "maxTotalChargeUsd=much", "restartOnError=2"]
        {
            assert!(options(&params(bad)).is_err(), "{bad}");
        }
    }
}
