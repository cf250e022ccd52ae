//! Runs of shell scripts, and their processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use playhouse_drivers::process::image::StoredImage;
use playhouse_drivers::process::sandbox;
use playhouse_drivers::{ImageInfo, Job, JobKind, Limits, RunSpec};

/// A run of a shell script in the image of `build1`, whose log lies below `data_dir`.
pub fn script(data_dir: &Path, id: &str, script: &str) -> RunSpec {
    let logs = data_dir.join("logs/runs");
    fs::create_dir_all(&logs).unwrap();
    RunSpec {
        job: Job { kind: JobKind::Run, id: id.into(), life: 1 },
        build_id: "build1".into(),
        env: BTreeMap::from([("SCRIPT".into(), script.into()), ("OVERRIDDEN".into(), "run".into())]),
        secrets: Vec::new(),
        mounts: Vec::new(),
        ports: Vec::new(),
        limits: Limits { memory_bytes: 256 << 20, cpu_millis: 2000, pids: 64, disk_bytes: 1 << 30 },
        log: logs.join(id),
    }
}

/// Lays out an image of the process driver in which scripts are run, as a build would leave it.
pub fn lay_out(data_dir: &Path, id: &str, workdir: &str, files: &[(&str, &str)]) {
    let build = data_dir.join("builds").join(id);
    let directory = build.join("layers/1").join(workdir.trim_start_matches('/'));
    for (name, text) in files {
        let file = directory.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    if let Some((uid, gid)) = sandbox::owner() {
        Command::new("chown").args(["-R", &format!("{uid}:{gid}")]).arg(&directory).status().unwrap();
    }
    let info = ImageInfo {
        env: BTreeMap::from([("FROM_IMAGE".into(), "yes".into()), ("OVERRIDDEN".into(), "image".into())]),
        workdir: workdir.into(),
        cmd: ["/bin/sh", "-c", "eval \"$SCRIPT\""].map(str::to_owned).to_vec(),
        ..ImageInfo::default()
    };
    let layers = vec![PathBuf::from("builds").join(id).join("layers/1")];
    let stored = StoredImage { info, layers, binds: Vec::new() };
    fs::write(build.join("image.json"), serde_json::to_vec(&stored).unwrap()).unwrap();
}

/// Process ids, as seen here, of all processes whose command line ends with `text`.
pub fn processes(text: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id().cast_signed();
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        *pid != own && line.trim_end().ends_with(text)
    })
    .collect()
}

pub fn kill(pid: i32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}
