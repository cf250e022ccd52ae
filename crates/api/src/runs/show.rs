//! A run as it is, or as it is when it has ended.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use model::{Origin, Run, Timestamp};

use super::SeenRun;
use super::output::output;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::Params;
use crate::wire::{self, RunBody, Viewer};

/// Longest wait of one call (`WAIT-2`).
const MAX_WAIT_SECS: f64 = 60.0;

/// `GET …/runs/{runId}` and its like, which may wait for the end (`WAIT-1`).
pub(super) async fn show(State(app): State<App>, SeenRun { run, viewer }: SeenRun, params: Params) -> Answer {
    let wait = wait_for_finish(&params);
    let run = match wait.is_zero() || run.status.is_terminal() {
        true => run,
        false => app.engine().wait_for_run(&run.id, wait).await?,
    };
    answer(&app, &run, viewer, StatusCode::OK).await
}

/// The answer that shows a run.
pub(super) async fn answer(app: &App, run: &Run, viewer: Viewer, status: StatusCode) -> Answer {
    Ok(wire::data(status, &body(app, run, viewer, app.now()).await?))
}

/// What is shown of a run at that time.
pub(crate) async fn body<'a>(app: &App, run: &'a Run, viewer: Viewer, at: Timestamp) -> Result<RunBody<'a>, ApiError> {
    let mut body = RunBody::new(run, viewer, app.engine_config(), at);
    if run.meta.origin == Origin::Standby {
        body.is_container_server_ready = Some(app.engine().is_web_server_ready(&run.id));
    }
    body.output = output(app, run, &body).await?;
    Ok(body)
}

/// `waitForFinish`: seconds, cut to a minute; what is no number means not to wait (`WAIT-2`).
pub(crate) fn wait_for_finish(params: &Params) -> Duration {
    let asked = params.text("waitForFinish").and_then(|text| text.trim().parse::<f64>().ok());
    Duration::from_secs_f64(asked.filter(|secs| !secs.is_nan()).unwrap_or_default().clamp(0.0, MAX_WAIT_SECS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_cut_to_a_minute_and_never_refused() {
        for (text, secs) in [
            ("", 0.0),
            ("0", 0.0),
            ("2", 2.0),
            ("60", 60.0),
            ("999999", 60.0),
            ("inf", 60.0),
            ("1.5", 1.5),
            ("-1", 0.0),
            ("NaN", 0.0),
            ("soon", 0.0),
        ] {
            let params = Params::of(&format!("/?waitForFinish={text}").parse().unwrap());
            assert_eq!(wait_for_finish(&params).as_secs_f64(), secs, "{text}");
        }
    }
}
