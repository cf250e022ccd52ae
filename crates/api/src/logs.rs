//! Logs of runs and builds (section 13 of the contract).

mod plain_text;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use futures::StreamExt as _;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use model::{BuildId, RunId};
use store::{JobLog, Noun};

use crate::access;
use crate::app::App;
use crate::builds::{self, SeenBuild};
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{MaybeAuth, Params, PathParams};
use crate::runs::SeenRun;

use plain_text::PlainText;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/v2/logs/{jobId}", get(of_job))
}

/// The log of a run, under any of its addresses.
pub(crate) async fn of_run(State(app): State<App>, SeenRun { run, .. }: SeenRun, params: Params) -> Answer {
    answer(&app, JobLog::Run(run.id), &params).await
}

/// The log of a build, under any of its addresses.
pub(crate) async fn of_build(State(app): State<App>, SeenBuild { build, .. }: SeenBuild, params: Params) -> Answer {
    answer(&app, JobLog::Build(build.id), &params).await
}

/// `/v2/logs/{id}` of either.
async fn of_job(State(app): State<App>, MaybeAuth(caller): MaybeAuth, path: PathParams, params: Params) -> Answer {
    let id = path.get("jobId");
    let caller = caller.as_ref();
    // Ids are unique over both kinds, so at most one of them is there.
    let job = match access::readable_run(&app, caller, id).await {
        Ok(run) => Ok(JobLog::Run(run.id)),
        Err(error) if matches!(error.problem(), Problem::RecordNotFound | Problem::RecordOrTokenNotFound) => {
            match builds::readable_build(&app, caller, id).await {
                Ok(build) => Ok(JobLog::Build(build.id)),
                Err(error) => match error.problem() {
                    Problem::RecordNotFound => Err(ApiError::not_found(Noun::Log)),
                    Problem::RecordOrTokenNotFound => Err(ApiError::not_found_without_token(Noun::Log)),
                    _ => Err(error),
                },
            }
        }
        Err(error) => Err(error),
    };
    answer(&app, job?, &params).await
}

/// The log as the client asked for it: all that there is now, or with `stream` also what comes until the job ends
/// (`LOG-4` to `LOG-7`). Nothing is compressed or gathered on the way.
async fn answer(app: &App, job: JobLog, params: &Params) -> Answer {
    let (raw, follow, download) = (params.flag("raw")?, params.flag("stream")?, params.flag("download")?);
    let log = app.engine().log(job, follow).await?;
    let body = match raw {
        true => Body::from_stream(log),
        false => {
            let mut plain = PlainText::default();
            Body::from_stream(log.map(move |chunk| chunk.map(|chunk| plain.next(chunk))))
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    if follow {
        // Reverse proxies gather what they pass on, unless they are told.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    if download {
        let (kind, id) = match job {
            JobLog::Run(ref id) => ("run", RunId::as_str(id)),
            JobLog::Build(ref id) => ("build", BuildId::as_str(id)),
        };
        let name = format!("attachment; filename=\"{kind}-{id}.log\"");
        headers
            .insert(CONTENT_DISPOSITION, HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment")));
    }
    Ok(response)
}
