//! Runs outlive the server, and a new one takes them up.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use playhouse_drivers::process::ProcessDriver;
use playhouse_drivers::{Driver, ExitCause, Job, JobKind, Observed};

use crate::bench::{Bench, supervisor};
use crate::scripts::processes;
use crate::waiting::{log, soon, until};

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
    until("it is ready", || log(&spec.log) == "ready\n").await;
    let pid = supervisor(&bench, &spec);

    // What the kernel does when a process dies: its descriptors close.
    drop(server);

    until("all is gone", || processes("sleep 4711.31").is_empty()).await;
    let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
    assert_eq!(exit.cause, ExitCause::Stopped);
    until("the supervisor is gone", || !std::path::Path::new(&format!("/proc/{pid}/exe")).exists()).await;
}
