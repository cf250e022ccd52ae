//! What the items of a dataset with a schema hold, field by field (`D55`, `D56`).

use axum::extract::State;
use serde::Serialize;

use crate::app::App;
use crate::error::Answer;
use crate::extract::{Dataset, Readable};
use crate::wire;

pub(super) async fn show(State(_app): State<App>, Readable(_dataset, ..): Readable<Dataset>) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Statistics {
        field_statistics: Option<()>,
    }
    Ok(wire::ok(&Statistics { field_statistics: None }))
}
