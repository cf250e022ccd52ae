//! What a run says of itself.

use std::sync::Arc;

use model::{GeneralAccess, Run, RunId};

use crate::{Engine, EngineError};

/// Changes to a run; `None` leaves a field as it is (`UPD-1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunUpdate {
    /// What it is doing.
    pub status_message: Option<String>,
    /// Whether that is its last message.
    pub is_status_message_terminal: Option<bool>,
    /// Access level.
    pub general_access: Option<GeneralAccess>,
}

impl Engine {
    /// Changes a run, finished or not (`UPD-4`).
    ///
    /// # Errors
    /// `NotFound(Run)`.
    pub async fn update_run(&self, id: &RunId, update: RunUpdate) -> Result<Arc<Run>, EngineError> {
        let (run, ()) = self
            .change_run(id, move |run| {
                // A message without the flag is not the last, whatever an earlier one was.
                if update.status_message.is_some() {
                    run.status_message.clone_from(&update.status_message);
                    run.is_status_message_terminal = update.is_status_message_terminal;
                } else if update.is_status_message_terminal.is_some() {
                    run.is_status_message_terminal = update.is_status_message_terminal;
                }
                run.general_access = update.general_access.unwrap_or(run.general_access);
                Ok(())
            })
            .await?;
        Ok(run)
    }
}
