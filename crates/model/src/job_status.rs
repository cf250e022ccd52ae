//! The statuses that runs and builds share, and how one leads to another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Status of a run or build (`RUN-1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum JobStatus {
    /// Accepted; nothing runs yet.
    Ready,
    /// Runs.
    Running,
    /// Being stopped since its time is up.
    TimingOut,
    /// Being stopped since somebody asked for it.
    Aborting,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended otherwise.
    Failed,
    /// Was stopped when its time was up.
    TimedOut,
    /// Was stopped since somebody asked for it.
    Aborted,
}

impl JobStatus {
    /// All of them, in the order of the number that the store keeps.
    pub const ALL: [Self; 8] = [
        Self::Ready,
        Self::Running,
        Self::TimingOut,
        Self::Aborting,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Aborted,
    ];

    /// Whether the job has ended (`RUN-2`).
    pub fn is_terminal(self) -> bool {
        self >= Self::Succeeded
    }

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Running => "RUNNING",
            Self::TimingOut => "TIMING-OUT",
            Self::Aborting => "ABORTING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED-OUT",
            Self::Aborted => "ABORTED",
        }
    }

    /// Reads the word of the contract.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// Its command is executed.
    Started,
    /// Its command ended; `success` means exit code 0.
    Exited {
        /// Exit code 0.
        success: bool,
    },
    /// It could not be started.
    CannotStart,
    /// Its time is up.
    DeadlinePassed,
    /// Somebody wants it to end.
    AbortAsked {
        /// With time to clean up.
        gracefully: bool,
    },
    /// The window of a graceful abort is over.
    GraceOver,
    /// Somebody wants a finished run to go on (`RESUR-1`); builds are never resurrected.
    ResurrectAsked,
}

/// What has to be done for a transition, after it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEffect {
    /// End every process of the job.
    Kill,
    /// Tell the job that it is being aborted and start the window (`ABORT-3`).
    Warn,
    /// Start its next life.
    Launch,
}

/// An event that makes no sense for the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} does not go with {from}")]
pub struct Refused {
    /// The status.
    pub from: JobStatus,
    /// The event.
    pub event: JobEvent,
}

/// Decides what `event` does to a job, and does none of it.
///
/// # Errors
/// [`Refused`] if the event cannot happen in that status.
pub fn step(from: JobStatus, event: JobEvent) -> Result<(JobStatus, Option<JobEffect>), Refused> {
    use JobEffect::{Kill, Launch, Warn};
    use JobEvent::{AbortAsked, CannotStart, DeadlinePassed, Exited, GraceOver, ResurrectAsked, Started};
    use JobStatus::{Aborted, Aborting, Failed, Ready, Running, Succeeded, TimedOut, TimingOut};
    Ok(match (from, event) {
        (Ready, Started) => (Running, None),
        (Ready | Running, CannotStart) => (Failed, None),
        // Nothing runs yet, so nothing has to be stopped (ABORT-6).
        (Ready, AbortAsked { .. }) => (Aborted, None),
        (Ready, DeadlinePassed) => (TimedOut, None),
        (Running, Exited { success: true }) => (Succeeded, None),
        (Running, Exited { success: false }) => (Failed, None),
        (Running, DeadlinePassed) => (TimingOut, Some(Kill)),
        (Running, AbortAsked { gracefully: true }) => (Aborting, Some(Warn)),
        (Running, AbortAsked { gracefully: false }) => (Aborting, Some(Kill)),
        (TimingOut, Exited { .. } | CannotStart) => (TimedOut, None),
        // The final status is ABORTED even if the process ends well inside the window (ABORT-4).
        (Aborting, Exited { .. } | CannotStart) => (Aborted, None),
        (Aborting, AbortAsked { gracefully: false } | GraceOver | DeadlinePassed) => (Aborting, Some(Kill)),
        // A second graceful abort joins the window (ABORT-5); clients abort without looking first, so a late one changes nothing.
        (_, AbortAsked { .. }) => (from, None),
        (_, ResurrectAsked) if from.is_terminal() => (Ready, Some(Launch)),
        _ => return Err(Refused { from, event }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_meets_every_event() {
        let events = [
            JobEvent::Started,
            JobEvent::Exited { success: true },
            JobEvent::Exited { success: false },
            JobEvent::CannotStart,
            JobEvent::DeadlinePassed,
            JobEvent::AbortAsked { gracefully: true },
            JobEvent::AbortAsked { gracefully: false },
            JobEvent::GraceOver,
            JobEvent::ResurrectAsked,
        ];

        let mut table = String::new();
        for from in JobStatus::ALL {
            for event in events {
                let cell = match step(from, event) {
                    Ok((to, None)) => to.to_string(),
                    Ok((to, Some(effect))) => format!("{to} + {effect:?}"),
                    Err(_) => "-".to_owned(),
                };
                table.push_str(&format!("{from:<10} {event:<34} {cell}\n", event = format!("{event:?}")));
            }
        }

        insta::assert_snapshot!(table);
    }

    #[test]
    fn words_read_back() {
        for status in JobStatus::ALL {
            assert_eq!(JobStatus::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!(JobStatus::parse("FINISHED"), None);
    }
}
