//! Why a request to a Standby found no run.

use std::sync::Arc;

use model::RunId;

use crate::EngineError;

/// Why a request to a Standby found no run (`STB-2`).
#[derive(Clone, Debug, thiserror::Error)]
pub enum StandbyError {
    /// Standby is off.
    #[error("Standby mode is not enabled for this Actor")]
    NotEnabled,
    /// More requests wait already than are held.
    #[error("Too many requests are waiting for a run of this Actor; try again later")]
    Crowded,
    /// No run could take the request in time.
    #[error("No run of the Actor was ready for the request in time")]
    NotReady,
    /// The run that was started for the request has ended without ever having answered.
    #[error("The Actor run {0} finished before its web server was ready; see its log")]
    RunFinished(RunId),
    /// No run could be started.
    #[error(transparent)]
    Refused(Arc<EngineError>),
}

impl From<EngineError> for StandbyError {
    fn from(error: EngineError) -> Self {
        Self::Refused(Arc::new(error))
    }
}
