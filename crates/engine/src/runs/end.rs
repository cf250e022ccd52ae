//! How a run ends, and in which words.

use drivers::{Exit, ExitCause};
use model::{EndCause, JobEvent, JobStatus, Refused, Run, Timestamp, step};

use crate::runs::figures::figures_at;

/// Restarts within [`RESTART_WINDOW_SECS`] after which a failing run is given up (`START-24`).
const MAX_RESTARTS: usize = 3;
const RESTART_WINDOW_SECS: i64 = 60;

/// What the end of a life means for its run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    /// The run starts again (`START-24`).
    Restart {
        /// What happened, for the log.
        message: String,
    },
    /// The run is over.
    Final {
        /// Its last status.
        status: JobStatus,
        /// Why.
        cause: EndCause,
        /// Why, in a sentence.
        message: String,
    },
}

impl Ending {
    /// The line for the log.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Restart { message } => format!("{message} Restarting it, as its option restartOnError asks."),
            Self::Final { message, .. } => message.clone(),
        }
    }
}

/// Decides what `exit` means for `run`.
///
/// # Errors
/// If the run cannot end in its status, for it has ended.
pub(crate) fn ending_of(run: &Run, exit: &Exit) -> Result<Ending, Refused> {
    let (event, cause, message) = read_exit(run, exit);
    // A run whose start was not noticed has started all the same.
    let from = if run.status == JobStatus::Ready { JobStatus::Running } else { run.status };
    let (status, _) = step(from, event)?;
    match status {
        // The platform counts a Standby run that is no longer needed as a success (STB-6).
        JobStatus::Aborted if run.end_cause == Some(EndCause::Idle) => Ok(Ending::Final {
            status: JobStatus::Succeeded,
            cause: EndCause::Idle,
            message: "Standby run was stopped, since no requests came or a newer one took its place.".to_owned(),
        }),
        JobStatus::Aborted => {
            Ok(Ending::Final { status, cause: run.end_cause.unwrap_or(EndCause::Aborted), message: abort_message(run) })
        }
        JobStatus::TimedOut => Ok(Ending::Final {
            status,
            cause: EndCause::Timeout,
            message: format!("Actor run exceeded its timeout of {} seconds.", run.options.timeout_secs),
        }),
        JobStatus::Failed if may_restart(run, exit) => Ok(Ending::Restart { message }),
        _ => Ok(Ending::Final { status, cause, message }),
    }
}

fn read_exit(run: &Run, exit: &Exit) -> (JobEvent, EndCause, String) {
    let failed = JobEvent::Exited { success: false };
    match &exit.cause {
        ExitCause::Exited => {
            let code = exit.code.unwrap_or_default();
            let message = format!("Actor finished with exit code {code}.");
            (JobEvent::Exited { success: exit.code == Some(0) }, EndCause::Exited, message)
        }
        ExitCause::Signal { signal } => {
            (failed, EndCause::Signal, format!("Actor was killed by signal {}.", signal_name(*signal)))
        }
        ExitCause::OutOfMemory => {
            let message = format!("Actor ran out of memory: it needed more than its {} MB.", run.options.memory_mbytes);
            (failed, EndCause::OutOfMemory, message)
        }
        ExitCause::Stopped => (failed, EndCause::Signal, "Actor was stopped from outside.".to_owned()),
        ExitCause::Failed { reason } => {
            (JobEvent::CannotStart, EndCause::CannotStart, format!("Actor could not be started: {reason}"))
        }
        ExitCause::Lost => {
            let message = "Actor was lost: its container or supervising process was removed or killed from outside, or the machine went down.";
            (failed, EndCause::Lost, message.to_owned())
        }
    }
}

/// A failure that a further try may mend: not a deliberate `Actor.fail()`, which leaves a last message (`START-24`), nor
/// one of too many.
fn may_restart(run: &Run, exit: &Exit) -> bool {
    let can_help = !matches!(exit.cause, ExitCause::Failed { .. } | ExitCause::Stopped);
    let window = exit.at.plus_secs(-RESTART_WINDOW_SECS);
    let recent = run.recent_restarts.iter().filter(|at| **at > window).count();
    run.options.restart_on_error == Some(true)
        && run.is_status_message_terminal != Some(true)
        && can_help
        && recent < MAX_RESTARTS
}

/// Writes the ending into the run. `exit` is `None` if its command never started.
pub(crate) fn end(run: &mut Run, ending: Ending, exit: Option<&Exit>, now: Timestamp) {
    match ending {
        Ending::Restart { .. } => {
            run.migrate_at = None;
            let window = now.plus_secs(-RESTART_WINDOW_SECS);
            run.recent_restarts.retain(|at| *at > window);
            run.recent_restarts.push(exit.map_or(now, |exit| exit.at));
            run.stats.restart_count += 1;
            run.life += 1;
        }
        Ending::Final { status, cause, message } => {
            let at = exit.map_or(now, |exit| exit.at).max(run.started_at);
            (run.stats, run.usage) = figures_at(run, at);
            (run.running_since, run.migrate_at) = (None, None);
            run.status = status;
            run.finished_at = Some(at);
            run.exit_code = exit.and_then(|exit| exit.code);
            run.end_cause = Some(cause);
            if run.is_status_message_terminal != Some(true) {
                run.status_message = Some(message);
            }
            run.deadline = None;
        }
    }
}

/// Ends a run that has not started (`ABORT-6`).
pub(crate) fn abort_now(run: &mut Run, now: Timestamp) {
    let cause = run.end_cause.unwrap_or(EndCause::Aborted);
    let message = abort_message(run);
    end(run, Ending::Final { status: JobStatus::Aborted, cause, message }, None, now);
}

fn abort_message(run: &Run) -> String {
    match (run.end_cause, &run.aborted_by) {
        (Some(EndCause::Idle), _) => "Actor run was aborted, since Standby had no use for it any more.".to_owned(),
        (Some(EndCause::ChargeLimit), _) => "Actor run was aborted, since it reached its charge limit.".to_owned(),
        (_, Some(who)) => format!("Actor run was aborted by {who}."),
        (_, None) => "Actor run was aborted.".to_owned(),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return signal.to_string(),
    };
    format!("{signal} ({name})")
}
