//! What needs a container engine, told before anything is built.

use crate::dockerfile::{Action, Copy, Instruction, Mount, Run, Source};

/// Says why an instruction cannot be carried out here, or nothing if it can.
pub(super) fn refusal(instruction: &Instruction) -> Option<String> {
    match &instruction.action {
        Action::Run(run) => run_refusal(run),
        Action::Copy(copy) => copy_refusal("COPY", copy),
        Action::Add(add) => copy_refusal("ADD", &add.copy).or_else(|| add.copy.sources.iter().find_map(add_refusal)),
        Action::Onbuild(_) => Some("ONBUILD is meant for base images and needs a container engine".into()),
        _ => None,
    }
}

fn run_refusal(run: &Run) -> Option<String> {
    for flag in &run.flags {
        match (flag.name.as_str(), flag.value.as_deref()) {
            ("network", Some("default" | "host")) | ("security", Some("sandbox")) => {}
            (name, Some(value)) => return Some(format!("RUN --{name}={value} needs a container engine")),
            (name, None) => return Some(format!("RUN --{name} needs a container engine")),
        }
    }
    run.mounts.iter().find_map(mount_refusal)
}

fn mount_refusal(mount: &Mount) -> Option<String> {
    match mount.kind.as_str() {
        "cache" | "bind" | "tmpfs" => {}
        kind => return Some(format!("RUN --mount=type={kind} needs a container engine")),
    }
    if mount.get(&["target", "dst", "destination"]).is_none_or(str::is_empty) {
        return Some(format!("RUN --mount=type={} needs a target", mount.kind));
    }
    if mount.kind == "cache" && mount.get(&["from"]).is_some() {
        return Some("RUN --mount=type=cache with from needs a container engine".into());
    }
    None
}

fn copy_refusal(keyword: &str, copy: &Copy) -> Option<String> {
    if let Some(flag) = copy.flags.first() {
        return Some(format!("{keyword} --{} needs a container engine", flag.name));
    }
    let mode = copy.chmod.as_deref().filter(|mode| !mode.contains('$'))?;
    parse_mode(mode).err()
}

/// Reads the mode of `--chmod`.
pub(super) fn parse_mode(mode: &str) -> Result<u32, String> {
    u32::from_str_radix(mode, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("--chmod={mode} is not an octal mode like 755; other forms need a container engine"))
}

fn add_refusal(source: &Source) -> Option<String> {
    match source {
        Source::Path(path) => add_source_refusal(path),
        Source::Heredoc(_) => None,
    }
}

/// Says why `ADD` cannot add `source`: what it would download or unpack.
pub(super) fn add_source_refusal(source: &str) -> Option<String> {
    let remote = ["http://", "https://", "ftp://", "git://", "ssh://", "git@"];
    if remote.iter().any(|start| source.starts_with(start)) {
        return Some(format!("ADD of {source} is a download and needs a container engine; RUN can download it too"));
    }
    let lower = source.to_ascii_lowercase();
    let archives = [".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"];
    if archives.iter().any(|end| lower.ends_with(end)) {
        return Some(format!(
            "ADD of {source} unpacks an archive and needs a container engine; COPY and RUN tar do it too"
        ));
    }
    None
}
