//! Finds the control groups that this server may use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Cgroups, V1, make_dir, write};

impl Cgroups {
    /// Finds what there is and makes a group `name` in it that holds those of the jobs.
    pub(in crate::process) fn find(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = OwnGroups { mounts: &mounts, groups: &groups };
        if let Some(root) = own.v2().and_then(|own| prepare_v2(&own, name).ok()) {
            return Self::V2(root);
        }
        let prepare = |controller| {
            let root = own.v1(controller)?.join(name);
            make_dir(&root).ok()?;
            let probe = root.join("probe");
            make_dir(&probe).ok()?;
            fs::remove_dir(&probe).ok()?;
            Some(root)
        };
        let roots =
            V1 { memory: prepare("memory"), cpu: prepare("cpu"), cpuacct: prepare("cpuacct"), pids: prepare("pids") };
        if roots.dirs().next().is_none() { Self::None } else { Self::V1(roots) }
    }
}

/// Makes a group below `own` that may limit memory, CPU and processes of its children.
fn prepare_v2(own: &Path, name: &str) -> io::Result<PathBuf> {
    const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];
    let has = |file: &Path| {
        let there = fs::read_to_string(file).unwrap_or_default();
        NEEDED.iter().all(|needed| there.split_ascii_whitespace().any(|controller| controller == *needed))
    };
    if !has(&own.join("cgroup.controllers")) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    if !has(&own.join("cgroup.subtree_control")) {
        let enabled = write(own, "cgroup.subtree_control", "+memory +cpu +pids");
        if enabled.is_err_and(|err| err.kind() == io::ErrorKind::ResourceBusy) {
            // Only groups without processes may hand controllers down, so this one's move into a leaf. Done only if
            // the group was handed to this server alone; the processes of others stay where they are.
            let alone = fs::read_to_string(own.join("cgroup.procs"))?.trim() == std::process::id().to_string();
            if !alone {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            let leaf = own.join(format!("{name}-server"));
            make_dir(&leaf)?;
            write(&leaf, "cgroup.procs", "0")?;
            write(own, "cgroup.subtree_control", "+memory +cpu +pids")?;
        }
    }
    let root = own.join(name);
    make_root_v2(&root)?;
    Ok(root)
}

/// Makes the group that holds those of the jobs.
pub(super) fn make_root_v2(root: &Path) -> io::Result<()> {
    make_dir(root)?;
    write(root, "cgroup.subtree_control", "+memory +cpu +pids")
}

/// The groups that this process is in, as the kernel tells them.
struct OwnGroups<'a> {
    /// `/proc/self/mountinfo`.
    mounts: &'a str,
    /// `/proc/self/cgroup`.
    groups: &'a str,
}

impl OwnGroups<'_> {
    fn v2(&self) -> Option<PathBuf> {
        let own = self.groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        self.dir(own, |kind, _| kind == "cgroup2")
    }

    fn v1(&self, controller: &str) -> Option<PathBuf> {
        let own = self.groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            controllers.split(',').any(|there| there == controller).then(|| fields.next())?
        })?;
        self.dir(own, |kind, options| kind == "cgroup" && options.split(',').any(|option| option == controller))
    }

    /// Where the group `own` is seen below the first mount that `is_it` accepts by its type and options.
    fn dir(&self, own: &str, is_it: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
        self.mounts.lines().find_map(|line| {
            // 36 35 98:0 /root /mount/point rw,noatime master:1 - type source options
            let (place, what) = line.split_once(" - ")?;
            let mut what = what.split(' ');
            let (kind, _source, options) = (what.next()?, what.next()?, what.next()?);
            if !is_it(kind, options) {
                return None;
            }
            let mut place = place.split(' ').skip(3);
            let (root, point) = (place.next()?, place.next()?);
            // Inside of a container the mount shows only a part of the hierarchy.
            let below = if root == "/" { own } else { own.strip_prefix(root)? };
            Some(Path::new(point).join(below.trim_start_matches('/')))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_groups_are_found_on_hybrid_and_shared_mounts() {
        let own = OwnGroups {
            mounts: "25 24 0:23 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                     26 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                     27 25 0:25 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     28 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            groups: "4:memory:/docker/abc/x\n3:cpu,cpuacct:/user\n1:name=systemd:/\n0::/\n",
        };

        assert_eq!(own.v1("memory"), Some(PathBuf::from("/sys/fs/cgroup/memory/x")));
        assert_eq!(own.v1("cpuacct"), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/user")));
        assert_eq!(own.v1("pids"), None);
        assert_eq!(own.v2(), Some(PathBuf::from("/sys/fs/cgroup/unified/")));
    }
}
