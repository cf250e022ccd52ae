//! Limits and measurements of a whole process tree by control groups, version 2 or 1.

mod find;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::{Limits, Usage};

/// Which control groups this server may make groups in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cgroups {
    /// The unified hierarchy; the directory has memory, cpu and pids enabled for its children.
    V2(PathBuf),
    /// One directory for each controller that there is.
    V1(V1<PathBuf>),
    /// None: memory is sampled, and nothing limits CPU and processes.
    #[default]
    None,
}

/// The group of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Group {
    V2(PathBuf),
    V1(V1<PathBuf>),
    #[default]
    None,
}

/// One thing for each controller of version 1 that we use; a directory may serve several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct V1<T> {
    pub(super) memory: Option<T>,
    pub(super) cpu: Option<T>,
    pub(super) cpuacct: Option<T>,
    pub(super) pids: Option<T>,
}

impl V1<PathBuf> {
    fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.memory, &self.cpu, &self.cpuacct, &self.pids].into_iter().flatten()
    }

    fn map(&self, f: impl Fn(&PathBuf) -> PathBuf) -> Self {
        let map = |dir: &Option<PathBuf>| dir.as_ref().map(&f);
        Self { memory: map(&self.memory), cpu: map(&self.cpu), cpuacct: map(&self.cpuacct), pids: map(&self.pids) }
    }
}

impl Cgroups {
    /// The group that a job of that name has or would have.
    pub(super) fn group(&self, name: &str) -> Group {
        match self {
            Self::V2(root) => Group::V2(root.join(name)),
            Self::V1(roots) => Group::V1(roots.map(|root| root.join(name))),
            Self::None => Group::None,
        }
    }
}

impl Group {
    /// Makes the group and sets its limits.
    pub(super) fn create(&self, limits: &Limits) -> io::Result<()> {
        // The first process of the sandbox, and the one before it if there are user namespaces.
        let pids = limits.pids.saturating_add(2).to_string();
        let memory = limits.memory_bytes.to_string();
        match self {
            Self::V2(dir) => {
                if let Some(root) = dir.parent().filter(|root| !root.exists()) {
                    find::make_root_v2(root)?;
                }
                make_dir(dir)?;
                write(dir, "memory.max", &memory)?;
                write_if_there(dir, "memory.swap.max", "0")?;
                write(dir, "cpu.max", &format!("{} {CPU_PERIOD_MICROS}", cpu_quota(limits)))?;
                write(dir, "pids.max", &pids)
            }
            Self::V1(dirs) => {
                // With the one above it, which whoever tidies up may have removed while it was empty.
                dirs.dirs().try_for_each(|dir| fs::create_dir_all(dir).map_err(|err| named(err, dir)))?;
                if let Some(dir) = &dirs.memory {
                    write(dir, "memory.limit_in_bytes", &memory)?;
                    write_if_there(dir, "memory.memsw.limit_in_bytes", &memory)?;
                }
                if let Some(dir) = &dirs.cpu {
                    write_if_there(dir, "cpu.cfs_period_us", &CPU_PERIOD_MICROS.to_string())?;
                    write_if_there(dir, "cpu.cfs_quota_us", &cpu_quota(limits).to_string())?;
                }
                if let Some(dir) = &dirs.pids {
                    write(dir, "pids.max", &pids)?;
                }
                Ok(())
            }
            Self::None => Ok(()),
        }
    }

    /// Files into which a process with one thread writes `0` to join; empty if it must be [`add`](Self::add)ed.
    ///
    /// A process that moves itself by `tasks` need not wait until the kernel has stopped all forks and exits of the
    /// machine, which takes about 10 ms. Version 2 has no such file.
    pub(super) fn join_files(&self) -> Vec<PathBuf> {
        match self {
            Self::V1(dirs) => {
                let mut files: Vec<PathBuf> = dirs.dirs().map(|dir| dir.join("tasks")).collect();
                files.dedup();
                files
            }
            Self::V2(_) | Self::None => Vec::new(),
        }
    }

    /// Moves a process into the group, where it cannot do so itself.
    pub(super) fn add(&self, pid: u32) -> io::Result<()> {
        match self {
            Self::V2(dir) => write(dir, "cgroup.procs", &pid.to_string()),
            Self::V1(_) | Self::None => Ok(()),
        }
    }

    /// Whether the kernel holds the group to its memory limit.
    pub(super) fn limits_memory(&self) -> bool {
        match self {
            Self::V2(_) => true,
            Self::V1(dirs) => dirs.memory.is_some(),
            Self::None => false,
        }
    }

    /// What the group uses; `None` if it is not there. Without a peak where the kernel does not keep one.
    pub(super) fn usage(&self) -> Option<Usage> {
        match self {
            Self::V2(dir) => {
                let memory: u64 = read_number(&dir.join("memory.current"))?;
                let cache = read_field(&dir.join("memory.stat"), "inactive_file").unwrap_or(0);
                Some(Usage {
                    cpu_micros: read_field(&dir.join("cpu.stat"), "usage_usec").unwrap_or(0),
                    memory_bytes: memory.saturating_sub(cache),
                    memory_peak_bytes: read_number(&dir.join("memory.peak")).unwrap_or(0),
                    ..Usage::default()
                })
            }
            Self::V1(dirs) => {
                let cpu_nanos = match &dirs.cpuacct {
                    Some(dir) => read_number(&dir.join("cpuacct.usage"))?,
                    None => 0,
                };
                let (memory, peak) = match &dirs.memory {
                    Some(dir) => {
                        let memory = read_number(&dir.join("memory.usage_in_bytes"))?;
                        let cache = read_field(&dir.join("memory.stat"), "total_inactive_file").unwrap_or(0);
                        (memory.saturating_sub(cache), read_number(&dir.join("memory.max_usage_in_bytes"))?)
                    }
                    None => (0, 0),
                };
                Some(Usage {
                    cpu_micros: cpu_nanos / 1000,
                    memory_bytes: memory,
                    memory_peak_bytes: peak,
                    ..Usage::default()
                })
            }
            Self::None => None,
        }
    }

    /// How many processes of the group the kernel has killed for want of memory.
    pub(super) fn oom_kills(&self) -> u64 {
        match self {
            Self::V2(dir) => read_field(&dir.join("memory.events"), "oom_kill"),
            Self::V1(V1 { memory: Some(dir), .. }) => read_field(&dir.join("memory.oom_control"), "oom_kill"),
            Self::V1(_) | Self::None => None,
        }
        .unwrap_or(0)
    }

    /// Kills every process of the group and waits until none is left; gives up after about five seconds.
    pub(super) fn kill_all(&self) -> io::Result<()> {
        for _ in 0..500 {
            let pids = self.pids();
            if pids.is_empty() {
                return Ok(());
            }
            if let Self::V2(dir) = self {
                write_if_there(dir, "cgroup.kill", "1")?;
            }
            for pid in pids {
                // It may be gone by now; the next round tells.
                kill_process(pid, Signal::KILL).ok();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other("processes do not end although killed"))
    }

    /// Removes the group, which must have no processes; one that is not there is no error.
    pub(super) fn remove(&self) -> io::Result<()> {
        match self {
            Self::V2(dir) => remove_dir(dir),
            Self::V1(dirs) => dirs.dirs().try_for_each(|dir| remove_dir(dir)),
            Self::None => Ok(()),
        }
    }

    fn pids(&self) -> Vec<Pid> {
        let dir = match self {
            Self::V2(dir) => Some(dir),
            Self::V1(dirs) => dirs.dirs().next(),
            Self::None => None,
        };
        let pids = dir.and_then(|dir| fs::read_to_string(dir.join("cgroup.procs")).ok()).unwrap_or_default();
        pids.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    }
}

const CPU_PERIOD_MICROS: u64 = 100_000;

/// CPU time that a job gets in each period; the kernel takes no less than a millisecond.
fn cpu_quota(limits: &Limits) -> u64 {
    (limits.cpu_millis.saturating_mul(CPU_PERIOD_MICROS) / 1000).max(1000)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        // Left by a life that was not forgotten, or made for the controller that shares the directory.
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(|err| named(err, dir)),
    }
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir(dir) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The last process was reaped, but the kernel is not done with it.
            Err(err) if err.kind() == io::ErrorKind::ResourceBusy && tries < 100 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            result => return result.map_err(|err| named(err, dir)),
        }
    }
}

fn write(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    fs::write(dir.join(file), value).map_err(|err| named(err, &dir.join(file)))
}

fn write_if_there(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(dir.join(file)) {
        Ok(_) => write(dir, file, value),
        Err(_) => Ok(()),
    }
}

fn named(err: io::Error, path: &Path) -> io::Error {
    io::Error::new(err.kind(), format!("{}: {err}", path.display()))
}

fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn read_field(file: &Path, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
}
