//! What an engine says of itself.

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum, SystemVersion};

use crate::Isolation;

/// Which engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// dockerd.
    Docker,
    /// Podman's service.
    Podman,
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which engine it is.
    pub kind: EngineKind,
    /// Its version.
    pub version: String,
    /// The newest version of the API that it speaks.
    pub api_version: String,
    /// Whether it runs without root.
    pub is_rootless: bool,
    /// Version of the control groups.
    pub cgroup_version: u8,
    /// Whether it can limit memory, CPU and processes.
    pub can_limit: [bool; 3],
    /// Whether it may be able to limit what a container writes.
    pub may_limit_disk: bool,
    /// Architecture of its machine in the words of images, for example `amd64`.
    pub architecture: String,
    /// Whether containers go on when the engine is restarted.
    pub keeps_containers: bool,
    /// What it warns about itself.
    pub warnings: Vec<String>,
}

const LIMITS: [&str; 3] = ["memory", "CPU", "processes"];

impl Facts {
    pub(super) fn of(version: &SystemVersion, info: &SystemInfo) -> Self {
        let components = version.components.iter().flatten();
        let is_podman = components.clone().any(|component| component.name.contains("Podman"));
        let kind = if is_podman { EngineKind::Podman } else { EngineKind::Docker };
        let is_rootless = info.security_options.iter().flatten().any(|option| option.contains("rootless"));
        let backing =
            info.driver_status.iter().flatten().find(|pair| pair.first().is_some_and(|key| key.starts_with("Backing")));
        let backing = backing.and_then(|pair| pair.get(1)).map(String::as_str).unwrap_or_default();
        let driver = info.driver.as_deref().unwrap_or_default();
        let architecture = match info.architecture.as_deref().unwrap_or_default() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            kind,
            version: version.version.clone().unwrap_or_default(),
            api_version: version.api_version.clone().unwrap_or_default(),
            is_rootless,
            cgroup_version: if info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2) { 2 } else { 1 },
            can_limit: [info.memory_limit, info.cpu_cfs_quota, info.pids_limit].map(|can| can.unwrap_or(false)),
            may_limit_disk: backing == "xfs" || !is_podman && matches!(driver, "btrfs" | "zfs"),
            architecture: architecture.to_owned(),
            keeps_containers: is_podman || info.live_restore_enabled == Some(true),
            warnings: info.warnings.clone().unwrap_or_default(),
        }
    }

    /// The same engine without root, which has no say over control groups of version 1, whatever it says of itself.
    pub(super) fn without_root(self) -> Self {
        let can_limit = if self.cgroup_version == 1 { [false; 3] } else { self.can_limit };
        Self { is_rootless: true, can_limit, ..self }
    }

    /// Whether the engine is new enough.
    pub(super) fn check(&self) -> Result<(), String> {
        let least = match self.kind {
            EngineKind::Docker => (20, 10),
            EngineKind::Podman => (4, 3),
        };
        if major_minor(&self.version) >= least {
            return Ok(());
        }
        Err(format!("{} is too old: {}.{} or newer is needed", self.name(), least.0, least.1))
    }

    /// Name and version, for people.
    pub fn name(&self) -> String {
        let kind = match self.kind {
            EngineKind::Docker => "Docker",
            EngineKind::Podman => "Podman",
        };
        format!("{kind} {}{}", self.version, if self.is_rootless { " (rootless)" } else { "" })
    }

    pub(super) fn can_limit_memory(&self) -> bool {
        self.can_limit[0]
    }

    pub(super) fn can_limit_cpu(&self) -> bool {
        self.can_limit[1]
    }

    pub(super) fn can_limit_pids(&self) -> bool {
        self.can_limit[2]
    }

    /// What cannot be enforced, and what to do about it, as sentences.
    pub fn shortcomings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let missing: Vec<&str> =
            LIMITS.into_iter().zip(self.can_limit).filter(|(_, can)| !can).map(|(name, _)| name).collect();
        if !missing.is_empty() {
            let advice = match (self.is_rootless, self.cgroup_version) {
                (true, 1) => {
                    "a rootless engine needs control groups of version 2: boot with systemd.unified_cgroup_hierarchy=1"
                }
                (true, _) => "delegate the controllers to the user: see systemd's Delegate=cpu memory pids",
                (false, _) => "mount these controllers for the engine",
            };
            found.push(format!("limits of {} are not enforced: {advice}", missing.join(", ")));
        }
        if !self.may_limit_disk {
            let disks = match self.kind {
                EngineKind::Docker => "xfs with pquota, btrfs or zfs",
                EngineKind::Podman => "xfs with pquota",
            };
            found.push(format!(
                "what a run writes to its own disk is not limited: that takes the engine's data on {disks}"
            ));
        }
        if !self.keeps_containers {
            found.push(
                "a restart of the engine ends all runs: set \"live-restore\": true in its daemon.json".to_owned(),
            );
        }
        found
    }

    pub(super) fn isolation(&self, network: &str) -> Isolation {
        let level = if self.can_limit == [true; 3] { "full" } else { "partial" };
        let mut details =
            vec![format!("containers of {} (API {})", self.name(), self.api_version), format!("network: {network}")];
        details.extend(self.shortcomings());
        Isolation { level: level.to_owned(), details }
    }
}

/// The first two numbers of a version, zero where there are none.
pub(super) fn major_minor(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use bollard::models::SystemVersionComponents;

    use super::*;

    fn facts(podman: bool, version: &str) -> Facts {
        let name = if podman { "Podman Engine" } else { "Engine" };
        let component = SystemVersionComponents { name: name.into(), version: version.into(), details: None };
        let version =
            SystemVersion { version: Some(version.into()), components: Some(vec![component]), ..Default::default() };
        Facts::of(&version, &SystemInfo { memory_limit: Some(true), ..Default::default() })
    }

    #[test]
    fn engines_that_are_too_old_are_refused() {
        for (podman, version, is_good) in [
            (false, "20.10.24+dfsg1", true),
            (false, "29.1.0", true),
            (false, "19.03.15", false),
            (true, "4.3.1", true),
            (true, "5.0.0-rc1", true),
            (true, "3.4.4", false),
            (false, "", false),
        ] {
            assert_eq!(facts(podman, version).check().is_ok(), is_good, "{version}");
        }
    }

    #[test]
    fn what_is_not_enforced_is_said() {
        let found = facts(false, "24.0").shortcomings().join("\n");

        assert!(found.contains("limits of CPU, processes are not enforced"), "{found}");
        assert!(found.contains("live-restore"), "{found}");
        assert!(!facts(true, "5.0").shortcomings().join("\n").contains("live-restore"));
        let rootless = facts(true, "4.3.1").without_root().shortcomings().join("\n");
        assert!(
            rootless.contains("limits of memory, CPU, processes are not enforced: a rootless engine"),
            "{rootless}"
        );
    }
}
