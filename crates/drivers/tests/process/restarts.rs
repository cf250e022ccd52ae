//! Runs outlive the server, and a new one takes them up.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use playhouse_drivers::process::ProcessDriver;
use playhouse_drivers::process::image::StoredImage;
use playhouse_drivers::process::sandbox::Bind;
use playhouse_drivers::{Driver, ExitCause, Job, JobKind, Observed, Stop};

use crate::bench::{Bench, log, processes, soon, supervisor, until};

#[tokio::test]
async fn a_new_driver_takes_up_what_an_old_one_started() {
    let bench = Bench::new();
    let signals = bench.data_dir().join("signals");
    std::fs::create_dir(&signals).unwrap();
    let shown = Bind { source: signals.clone(), target: "/signals".into(), writable: false };
    bench.put_stored(&StoredImage { binds: vec![shown], ..bench.stored() });
    let spec = bench.script("adopted", "echo ready; until [ -e /signals/go ]; do sleep 0.01; done; echo went; exit 7");
    let waiting = bench.script("waiting", "trap 'exit 8' TERM; echo ready; while :; do sleep 0.01; done");
    bench.driver.start_run(&spec).await.unwrap();
    bench.driver.start_run(&waiting).await.unwrap();
    until("both are ready", || log(&spec) == "ready\n" && log(&waiting) == "ready\n").await;

    let driver = bench.reopened();
    assert_eq!(driver.observe(&spec.job).await.unwrap(), Observed::Running);
    assert!(driver.measure(&spec.job).await.unwrap().is_some());
    let mut jobs = driver.list().await.unwrap();
    jobs.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(jobs, [spec.job.clone(), waiting.job.clone()]);
    // The same start again is no second start.
    driver.start_run(&spec).await.unwrap();

    std::fs::write(signals.join("go"), "").unwrap();
    let exit = soon(driver.wait(&spec.job)).await.unwrap();
    assert_eq!((exit.code, exit.cause.clone()), (Some(7), ExitCause::Exited));
    assert_eq!(log(&spec), "ready\nwent\n");
    assert_eq!(driver.observe(&spec.job).await.unwrap(), Observed::Exited(exit));
    driver.stop(&waiting.job, Stop::Signal).await.unwrap();
    assert_eq!(soon(driver.wait(&waiting.job)).await.unwrap().code, Some(8));
}

#[tokio::test]
async fn many_starts_of_the_same_life_are_one() {
    let bench = Bench::new();
    let spec = bench.script("once", "echo started; sleep 0.2");
    let starts = (0..8).map(|_| bench.driver.start_run(&spec));
    for start in futures::future::join_all(starts).await {
        start.unwrap();
    }
    soon(bench.driver.wait(&spec.job)).await.unwrap();
    bench.driver.start_run(&spec).await.unwrap();
    assert_eq!(log(&spec), "started\n");

    let again = playhouse_drivers::RunSpec { job: Job { life: 2, ..spec.job.clone() }, ..spec.clone() };
    bench.run(&again).await;
    assert_eq!(log(&spec), "started\nstarted\n");
}

#[tokio::test]
async fn a_supervisor_whose_server_dies_at_the_gate_does_nothing() {
    let bench = Bench::new();
    let dir = bench.data_dir().join("runs/gate/1");
    std::fs::create_dir_all(&dir).unwrap();
    let (server, gate) = UnixStream::pair().unwrap();
    let mut waiting = Command::new(crate::bench::SHIM);
    let mut waiting = waiting.arg("__shim").arg(&dir).stdin(OwnedFd::from(gate)).spawn().unwrap();

    drop(server);

    assert!(waiting.wait().unwrap().success());
    let job = Job { kind: JobKind::Run, id: "gate".into(), life: 1 };
    assert_eq!(bench.driver.observe(&job).await.unwrap(), Observed::Unknown);
    let mut spec = bench.script("gate", "echo began");
    spec.job = job;
    assert_eq!(bench.run(&spec).await.1, "began\n");
}

#[tokio::test]
async fn a_supervisor_that_dies_before_its_answer_has_begun_and_its_run_is_lost() {
    let bench = Bench::new();
    let spec = bench.script("unanswered", "echo never");
    let mut config = bench.config.clone();
    config.exe = bench.data_dir().join("dies-early");
    let dies =
        format!("[ $1 = __shim ] || exec {} \"$@\"\nhead -c 5 > /dev/null; mkdir $2/scratch", crate::bench::SHIM);
    std::fs::write(&config.exe, format!("#!/bin/sh\n{dies}\n")).unwrap();
    std::fs::set_permissions(&config.exe, std::fs::Permissions::from_mode(0o755)).unwrap();
    let driver = ProcessDriver::open(config).unwrap();

    driver.start_run(&spec).await.unwrap();

    let exit = soon(driver.wait(&spec.job)).await.unwrap();
    assert_eq!((exit.code, exit.cause), (None, ExitCause::Lost));
}

#[tokio::test]
async fn ephemeral_jobs_end_with_their_server() {
    let bench = Bench::new();
    let mut config = bench.config.clone();
    config.ephemeral = true;
    let spec =
        bench.script("ephemeral", "trap '' TERM; echo ready; setsid sleep 4711.31 & while :; do sleep 4711.31; done");
    let server = ProcessDriver::open(config).unwrap();
    server.start_run(&spec).await.unwrap();
    until("it is ready", || log(&spec) == "ready\n").await;
    let pid = supervisor(&bench, &spec);

    // What the kernel does when a process dies: its descriptors close.
    drop(server);

    until("all is gone", || processes("sleep 4711.31").is_empty()).await;
    let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
    assert_eq!(exit.cause, ExitCause::Stopped);
    until("the supervisor is gone", || !std::path::Path::new(&format!("/proc/{pid}/exe")).exists()).await;
}

#[tokio::test]
async fn ids_cannot_lead_out_of_the_data_directory() {
    let bench = Bench::new();
    for id in ["", "..", "a/b", "../x", "a.b", "\0"] {
        let job = Job { kind: JobKind::Run, id: id.into(), life: 1 };
        assert!(bench.driver.observe(&job).await.is_err(), "{id:?}");
        assert!(bench.driver.remove_image(id).await.is_err(), "{id:?}");
        assert!(bench.driver.forget(&job).await.is_err(), "{id:?}");
    }
}
