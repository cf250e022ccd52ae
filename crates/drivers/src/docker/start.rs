//! Starting the container of a life.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding};
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};

use super::client::{Client, SLOW, Trouble};
use super::image::{INSTANCE, info_of, name_of};
use super::{DockerConfig, EngineKind, Facts, Reach};
use crate::{DriverError, ImageInfo, Job, RunSpec};

/// Labels with the life.
pub(super) const RUN: &str = "org.playhouse.run";
pub(super) const LIFE: &str = "org.playhouse.life";

/// What root inside a container needs to act as root on the container's own files, and nothing that reaches beyond. Other
/// users get none of these, since they cannot gain privileges.
const CAPABILITIES: [&str; 7] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];
/// More than any log has; without it the engine's own default may cut logs. (The kind `local` is faster, but loses the end
/// of lines over 16 KB.)
const LARGEST_LOG: &str = "1000g";

/// The name of a life's container.
pub(super) fn container_name(instance: &str, job: &Job) -> String {
    format!("playhouse-{instance}-{}-{}", job.id, job.life)
}

/// What an engine was found not to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Without {
    /// It has no init process to put into containers.
    pub(super) init: bool,
    /// It cannot limit what a container writes.
    pub(super) disk_limit: bool,
}

impl Without {
    /// What to leave out after that failure, if something else than what is left out already.
    fn learn(self, message: &str) -> Option<Self> {
        let message = message.to_lowercase();
        let is_about = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if !self.init && is_about(&["docker-init", "catatonit", "init binary", "init_path"]) {
            return Some(Self { init: true, ..self });
        }
        if !self.disk_limit && is_about(&["storage-opt", "storage opt", "pquota", "quota", "unknown option size"]) {
            return Some(Self { disk_limit: true, ..self });
        }
        None
    }
}

/// Creates and starts a container; on failure nothing of it is left.
pub(super) async fn create_and_start(
    client: &Client,
    config: &DockerConfig,
    reach: &Reach,
    spec: &RunSpec,
    without: &parking_lot::Mutex<Without>,
) -> Result<(), DriverError> {
    let facts = client.facts().await?;
    let name = container_name(&config.instance, &spec.job);
    // Docker's own rules are enough; Podman gives the added capabilities to every user.
    let is_image_needed = facts.kind == EngineKind::Podman || !spec.mounts.is_empty();
    let image = if is_image_needed { Some(image(client, config, spec).await?) } else { None };
    let mounts = mounts(client, spec, image.as_ref())?;
    let is_root = image.is_none_or(|image| matches!(image.user.split(':').next(), None | Some("" | "root" | "0")));
    loop {
        let leave_out = *without.lock();
        let started = async {
            let docker = client.docker().await?;
            let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
            let mut body = container(config, facts, reach, spec, leave_out);
            if let Some(host_config) = &mut body.host_config {
                host_config.mounts = Some(mounts.clone());
                host_config.cap_add = host_config.cap_add.take().filter(|_| is_root);
            }
            client.within(SLOW, docker.create_container(Some(options), body)).await?;
            client.within(SLOW, docker.start_container(&name, None)).await
        };
        let trouble = match started.await {
            Ok(()) => return Ok(()),
            Err(trouble) => trouble,
        };
        // An engine that does not answer may have started it all the same; the next try will see.
        if !matches!(trouble, Trouble::Silent { .. }) {
            remove(client, &name).await?;
        }
        match &trouble {
            Trouble::NotThere(message) if message.to_lowercase().contains("image") => {
                return Err(DriverError::NoSuchImage(spec.build_id.clone()));
            }
            Trouble::NotThere(message) | Trouble::Refused { message, .. } => match leave_out.learn(message) {
                Some(more) => *without.lock() = more,
                None => return Err(DriverError::CannotStart(reason(message))),
            },
            Trouble::Silent { .. } => return Err(trouble.into()),
        }
    }
}

async fn image(client: &Client, config: &DockerConfig, spec: &RunSpec) -> Result<ImageInfo, DriverError> {
    let image = client.image(&name_of(&config.instance, &spec.build_id)).await?;
    Ok(info_of(&image.ok_or_else(|| DriverError::NoSuchImage(spec.build_id.clone()))?))
}

/// The folders of this machine that a run asks for.
fn mounts(client: &Client, spec: &RunSpec, image: Option<&ImageInfo>) -> Result<Vec<Mount>, DriverError> {
    let workdir = image.map(|image| image.workdir.clone()).unwrap_or_default();
    let mut mounts = Vec::new();
    for mount in &spec.mounts {
        if client.endpoint().is_local() && !mount.source.is_dir() {
            return Err(DriverError::CannotStart(format!("the folder {} is not there", mount.source.display())));
        }
        let target = mount.target.as_ref().unwrap_or(&workdir);
        mounts.push(Mount {
            typ: Some(MountType::BIND),
            source: Some(mount.source.display().to_string()),
            target: Some(target.clone()),
            read_only: Some(!mount.writable),
            ..Mount::default()
        });
        // A new volume begins with what the image has at its place.
        mounts.extend(mount.keeps.iter().map(|name| Mount {
            typ: Some(MountType::VOLUME),
            target: Some(format!("{}/{name}", target.trim_end_matches('/'))),
            ..Mount::default()
        }));
    }
    Ok(mounts)
}

/// Removes a container, running or not. One that is not there is no error.
pub(super) async fn remove(client: &Client, name: &str) -> Result<(), Trouble> {
    let docker = client.docker().await?;
    let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
    match client.within(SLOW, docker.remove_container(name, Some(options))).await {
        // Somebody else is at it already.
        Ok(()) | Err(Trouble::NotThere(_) | Trouble::Refused { status: 409, .. }) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

fn container(
    config: &DockerConfig,
    facts: &Facts,
    reach: &Reach,
    spec: &RunSpec,
    without: Without,
) -> ContainerCreateBody {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let limits = &spec.limits;
    let memory = facts.can_limit_memory().then_some(signed(limits.memory_bytes));
    let log_options = match facts.kind {
        EngineKind::Docker => HashMap::from([("max-size".to_owned(), LARGEST_LOG.to_owned())]),
        EngineKind::Podman => HashMap::new(),
    };
    let binding =
        |port: String| Some(vec![PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(port) }]);
    let web_port = spec.env.get("ACTOR_WEB_SERVER_PORT").filter(|_| reach.publishes);
    let mut port_bindings: HashMap<_, _> =
        web_port.iter().map(|port| (format!("{port}/tcp"), binding(String::new()))).collect();
    if reach.has_own_network {
        port_bindings.extend(spec.ports.iter().map(|port| (format!("{port}/tcp"), binding(port.to_string()))));
    }
    let exposed_ports = port_bindings.keys().cloned().collect();
    let host_config = HostConfig {
        memory,
        // Swap counts as memory: a run that is over its limit ends, and does not crawl.
        memory_swap: memory,
        nano_cpus: facts.can_limit_cpu().then_some(signed(limits.cpu_millis.saturating_mul(1_000_000))),
        pids_limit: facts.can_limit_pids().then_some(signed(limits.pids)),
        // Browsers want more than the usual 64 MB. It counts as memory of the run, so there is no need to hold it down.
        shm_size: Some(signed(limits.memory_bytes)),
        init: Some(!without.init),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        network_mode: Some(reach.network.clone()),
        readonly_rootfs: Some(config.read_only),
        tmpfs: config.read_only.then(|| HashMap::from([("/tmp".to_owned(), "rw,nosuid,nodev".to_owned())])),
        storage_opt: (facts.may_limit_disk && !without.disk_limit)
            .then(|| HashMap::from([("size".to_owned(), limits.disk_bytes.to_string())])),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log_options) }),
        port_bindings: Some(port_bindings),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(name_of(&config.instance, &spec.build_id)),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(HashMap::from([
            (INSTANCE.to_owned(), config.instance.clone()),
            (RUN.to_owned(), spec.job.id.clone()),
            (LIFE.to_owned(), spec.job.life.to_string()),
        ])),
        exposed_ports: Some(exposed_ports),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

/// What went wrong, without what engines put before it.
pub(super) fn reason(message: &str) -> String {
    let mut reason = message.trim();
    for prefix in [
        "failed to create task for container: ",
        "failed to create shim task: ",
        "failed to create shim: ",
        "OCI runtime create failed: ",
        "runc create failed: ",
        "runc: runc create failed: ",
        "crun: ",
        "container_linux.go:380: starting container process caused: ",
        "unable to start container process: ",
    ] {
        if let Some((_, rest)) = reason.split_once(prefix) {
            reason = rest;
        }
    }
    let reason = reason
        .trim_end_matches(": unknown")
        .trim_end_matches(": OCI runtime attempted to invoke a command that was not found");
    if reason.contains("no space left on device") {
        return format!("the engine's disk is full: {reason}");
    }
    if reason.to_lowercase().contains("exec format error") {
        return format!(
            "{reason}: the image is for another kind of processor than this machine's, or its command is a script without #!"
        );
    }
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_teaches_what_to_leave_out_once() {
        let plain = Without::default();
        let without_init = plain.learn("exec: \"docker-init\": executable file not found in $PATH").unwrap();
        assert!(without_init.init && !without_init.disk_limit);
        assert_eq!(without_init.learn("docker-init"), None);
        assert!(
            plain
                .learn("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
                .unwrap()
                .disk_limit
        );
        assert!(plain.learn("unknown option size").unwrap().disk_limit);
        assert_eq!(plain.learn("exec: \"node\": executable file not found in $PATH"), None);
    }

    #[test]
    fn reasons_are_short() {
        let dockerd = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: \
                       exec: \"no-such\": executable file not found in $PATH: unknown";
        assert_eq!(reason(dockerd), "exec: \"no-such\": executable file not found in $PATH");
        assert!(reason("exec /bin/sh: exec format error").contains("another kind of processor"));
        assert!(reason("mkdir /x: no space left on device").starts_with("the engine's disk is full"));
    }
}
