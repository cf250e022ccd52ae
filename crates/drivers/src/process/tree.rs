//! A process and all that descend from it, found in `/proc`: what is left where there are no control groups.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Usage;
use crate::pids::pids;

/// What `/proc/<pid>/stat` tells of a process.
struct Stat {
    parent: i32,
    cpu_ticks: u64,
    resident_pages: u64,
}

/// What `pid` and all that descend from it use now; CPU of those that ended is missing. `None` if it is not there.
pub(super) fn usage(pid: i32) -> Option<Usage> {
    let all = all();
    all.get(&pid)?;
    let tree = descendants_in(&all, pid).into_iter().chain([pid]).filter_map(|pid| all.get(&pid));
    let (ticks, pages) =
        tree.fold((0, 0), |(ticks, pages), stat| (ticks + stat.cpu_ticks, pages + stat.resident_pages));
    let memory = pages * rustix::param::page_size() as u64;
    Some(Usage {
        cpu_micros: ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1),
        memory_bytes: memory,
        memory_peak_bytes: memory,
        ..Usage::default()
    })
}

/// Kills all that descend from `pid`, until none is left; gives up after about five seconds.
pub(super) fn kill_descendants(pid: i32) {
    kill_until_none(|| descendants_in(&all(), pid));
}

/// Kills every process whose environment holds `NAME=value`, until none is left; gives up after about five seconds.
pub(super) fn kill_marked(marker: &str) {
    kill_until_none(|| {
        let own = std::process::id().cast_signed();
        let marked = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
        };
        all().into_keys().filter(|pid| *pid != own).filter(marked).collect()
    });
}

fn kill_until_none(find: impl Fn() -> Vec<i32>) {
    for _ in 0..500 {
        let pids = find();
        if pids.is_empty() {
            return;
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            // It may be gone by now; the next round tells.
            kill_process(pid, Signal::KILL).ok();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All but `pid` itself and those that only wait to be reaped.
fn descendants_in(all: &HashMap<i32, Stat>, pid: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, stat) in all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.push(child);
            open.push(child);
        }
    }
    found
}

fn all() -> HashMap<i32, Stat> {
    pids().filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything. From the third on: state, parent,
    // and with their numbers in proc(5): utime 14, stime 15, rss 24.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ended = matches!(*fields.first()?, "Z" | "X");
    (!ended).then_some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        cpu_ticks: number(14)? + number(15)?,
        resident_pages: number(24)?,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn marked_processes_are_killed_and_measured_with_all_below_them() {
        let marker = format!("PLAYHOUSE_TEST_MARK={}", std::process::id());
        let (name, value) = marker.split_once('=').unwrap();
        let mut child = Command::new("sh").args(["-c", "sleep 60 & sleep 60"]).env(name, value).spawn().unwrap();

        // In the middle of its start a process has no memory yet.
        while usage(child.id().cast_signed()).is_none_or(|usage| usage.memory_bytes == 0) {
            assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
            std::thread::yield_now();
        }
        kill_marked(&marker);

        let status = child.wait().unwrap();
        // The shell may hear of the death of its child before its own turn comes, and ends with it then.
        assert!(status.signal() == Some(9) || status.code() == Some(128 + 9), "{status}");
        assert_eq!(usage(child.id().cast_signed()), None);
    }
}
