//! What the log of a container says last when its command could not be executed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::start::reason;

/// More than the last line of such a log is long.
const TAIL: u64 = 4096;
/// Length of a stamp with its space.
const STAMP: usize = 25;

/// Why the command of a container was not executed, if the last line of its log says so.
pub(super) fn not_executed(log: &Path) -> Option<String> {
    let tail = tail(log).ok()?;
    let line = tail.trim_end().rsplit('\n').next()?;
    said(line.get(STAMP..)?)
}

/// Why a step of a build failed, if what its log says last is that it cannot be executed on this machine. Engines themselves
/// tell no more than an exit code.
pub(super) fn foreign_step(log: &Path) -> Option<String> {
    /// The engine repeats the step behind it.
    const LINES: usize = 5;
    let tail = tail(log).ok()?;
    let mut lines = tail.trim_end().rsplit('\n').take(LINES).filter_map(|line| line.get(STAMP..));
    let is_foreign = |line: &&str| line.contains("exec ") && line.to_lowercase().ends_with("exec format error");
    lines.find(is_foreign).map(reason)
}

/// Reads what tini and catatonit say.
fn said(line: &str) -> Option<String> {
    if let Some((_, failure)) = line.split_once("[FATAL tini (").and_then(|(_, rest)| rest.split_once(")] exec ")) {
        let (command, error) = failure.split_once(" failed: ")?;
        return Some(reason(&format!("cannot execute {command}: {error}")));
    }
    let (head, error) = line.split_once("failed to exec pid1: ")?;
    head.contains("catatonit").then(|| reason(&format!("cannot execute the command: {error}")))
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_processes_tell_what_they_could_not_execute() {
        for (line, expected) in [
            (
                "[FATAL tini (7)] exec no-such failed: No such file or directory",
                Some("cannot execute no-such: No such file or directory"),
            ),
            (
                "ERROR (catatonit:2): failed to exec pid1: Permission denied",
                Some("cannot execute the command: Permission denied"),
            ),
            ("failed to exec pid1: nothing of the sort", None),
            ("all is well", None),
            ("", None),
        ] {
            assert_eq!(said(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn only_the_last_line_counts() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let stamp = "2026-11-29T10:00:00.001Z ";
        let fatal = "[FATAL tini (7)] exec x failed: Exec format error";
        std::fs::write(&log, format!("{stamp}{}\n{stamp}{fatal}\n", "y".repeat(5000))).unwrap();
        let reason = not_executed(&log).unwrap();
        assert!(reason.starts_with("cannot execute x: ") && reason.contains("another kind of processor"), "{reason}");

        let step = "exec /bin/sh: exec format error";
        std::fs::write(&log, format!("{stamp}{step}\n{stamp}[2/2] RUN true: exit code: 1\n")).unwrap();
        assert!(foreign_step(&log).unwrap().contains("another kind of processor"));
        std::fs::write(&log, format!("{stamp}{step}\n{}", format!("{stamp}went on\n").repeat(5))).unwrap();
        assert_eq!(foreign_step(&log), None);

        std::fs::write(&log, format!("{stamp}{fatal}\n{stamp}went on\n")).unwrap();
        assert_eq!(not_executed(&log), None);
        assert_eq!(not_executed(&dir.path().join("absent")), None);
    }
}
