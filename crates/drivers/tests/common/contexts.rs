//! What is built.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use playhouse_drivers::{BuildSpec, Job, JobKind, Limits};

/// Writes the files of a build context below `dir`, replacing the one before.
pub fn context(dir: &Path, files: &[(&str, &str)]) -> PathBuf {
    let context = dir.join("context");
    fs::remove_dir_all(&context).ok();
    fs::create_dir_all(&context).unwrap();
    for (path, text) in files {
        let path = context.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    context
}

/// A build whose log lies below `data_dir`.
pub fn build_spec(data_dir: &Path, id: &str, context: &Path, dockerfile: &str) -> BuildSpec {
    let logs = data_dir.join("logs/builds");
    fs::create_dir_all(&logs).unwrap();
    BuildSpec {
        job: Job { kind: JobKind::Build, id: id.into(), life: 1 },
        context: context.to_owned(),
        dockerfile: dockerfile.into(),
        dockerfile_name: "Dockerfile".into(),
        args: BTreeMap::new(),
        secrets: Vec::new(),
        prebuilt: None,
        use_cache: true,
        limits: Limits { memory_bytes: 4 << 30, cpu_millis: 4000, pids: 512, disk_bytes: 8 << 30 },
        log: logs.join(id),
    }
}
