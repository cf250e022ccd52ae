//! Prints what the process driver costs on this machine: `cargo run --release -p playhouse-drivers --example figures`.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on is none")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use playhouse_drivers::process::image::StoredImage;
use playhouse_drivers::process::{ProcessConfig, ProcessDriver, run_hidden_command, sandbox};
use playhouse_drivers::{Driver, ImageInfo, Job, JobKind, Limits, RunSpec};

const STARTS: usize = 100;
const LOG_BYTES: u64 = 1_000_000_000;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = run_hidden_command(&args) {
        return code;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(measure());
    ExitCode::SUCCESS
}

async fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let config = ProcessConfig::new(dir.path(), std::env::current_exe().unwrap());
    let driver = ProcessDriver::open(config.clone()).unwrap();
    println!("open a new directory: {:?}", begin.elapsed());
    let begin = Instant::now();
    drop(ProcessDriver::open(config).unwrap());
    println!("open it again: {:?}", begin.elapsed());
    println!("isolation: {}", driver.isolation().level);

    let (mut starts, mut ends, mut measures) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..STARTS {
        let spec = spec(dir.path(), &format!("start{number}"), "true");
        let begin = Instant::now();
        driver.start_run(&spec).await.unwrap();
        starts.push(begin.elapsed());
        driver.wait(&spec.job).await.unwrap();
        ends.push(begin.elapsed());
        driver.forget(&spec.job).await.unwrap();
    }
    println!("start_run: {}", percentiles(starts));
    println!("start_run and wait of `true`: {}", percentiles(ends));

    let flood = spec(dir.path(), "flood", &format!("yes {} | head -c {LOG_BYTES}", "x".repeat(79)));
    let begin = Instant::now();
    driver.start_run(&flood).await.unwrap();
    while measures.len() < 100 {
        let begin = Instant::now();
        driver.measure(&flood.job).await.unwrap();
        measures.push(begin.elapsed());
    }
    println!("measure: {}", percentiles(measures));
    driver.wait(&flood.job).await.unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    let written = fs::metadata(&flood.log).unwrap().len();
    println!("log: {:.0} MB/s of output, {written} bytes kept", LOG_BYTES as f64 / 1e6 / seconds);
}

fn spec(data_dir: &Path, id: &str, script: &str) -> RunSpec {
    let app = data_dir.join("builds/build1/layer/usr/src/app");
    fs::create_dir_all(&app).unwrap();
    if let Some((uid, gid)) = sandbox::owner() {
        std::os::unix::fs::chown(&app, Some(uid), Some(gid)).unwrap();
    }
    let info = ImageInfo {
        workdir: "/usr/src/app".into(),
        cmd: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..ImageInfo::default()
    };
    let image = StoredImage { info, layers: vec![PathBuf::from("builds/build1/layer")], binds: Vec::new() };
    fs::write(data_dir.join("builds/build1/image.json"), serde_json::to_vec(&image).unwrap()).unwrap();
    RunSpec {
        job: Job { kind: JobKind::Run, id: id.into(), life: 1 },
        build_id: "build1".into(),
        env: BTreeMap::new(),
        secrets: vec!["a secret of the run".into()],
        mounts: Vec::new(),
        ports: Vec::new(),
        limits: Limits { memory_bytes: 1 << 30, cpu_millis: 8000, pids: 1000, disk_bytes: 2 << 30 },
        log: data_dir.join("runs").join(id).join("log"),
    }
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("p50 {:?}, p90 {:?}", times[times.len() / 2], times[times.len() * 9 / 10])
}
