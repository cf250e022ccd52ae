//! How runs end, and that the end is told as it was.

use playhouse_drivers::{Driver, DriverError, ExitCause, Observed};

use crate::bench::{Bench, first_process, supervisor};
use crate::scripts::{kill, processes};
use crate::waiting::{log, soon, until};

#[tokio::test]
async fn a_command_that_is_killed_did_not_run_out_of_memory() {
    let bench = Bench::new();
    let spec = bench.script("killed", "exec sleep 4711.01");
    bench.driver.start_run(&spec).await.unwrap();
    until("the command runs", || !processes("sleep 4711.01").is_empty()).await;

    kill(processes("sleep 4711.01")[0], "KILL");

    let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
    assert_eq!((exit.code, exit.cause), (Some(137), ExitCause::Signal { signal: 9 }));
}

#[tokio::test]
async fn a_killed_supervisor_takes_everything_with_it_and_the_run_is_lost() {
    let bench = Bench::new();
    let spec = bench.script("orphan", "setsid sleep 4711.05 & sleep 4711.05 & echo ready; wait");
    bench.driver.start_run(&spec).await.unwrap();
    until("all run", || log(&spec.log).contains("ready") && processes("sleep 4711.05").len() >= 2).await;

    kill(supervisor(&bench, &spec), "KILL");

    let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
    assert_eq!((exit.code, exit.cause.clone()), (None, ExitCause::Lost));
    assert_eq!(processes("sleep 4711.05"), Vec::<i32>::new());
    assert_eq!(bench.driver.measure(&spec.job).await.unwrap(), None);
    assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Exited(exit));
}

#[tokio::test]
async fn a_killed_first_process_ends_the_run() {
    let bench = Bench::new();
    let spec = bench.script("headless", "echo ready; exec sleep 4711.06");
    bench.driver.start_run(&spec).await.unwrap();
    until("it is known", || log(&spec.log).contains("ready") && bench.has_life_file(&spec, "first-process.json")).await;

    kill(first_process(&bench, &spec), "KILL");

    let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
    assert_eq!(exit.cause, ExitCause::Signal { signal: 9 });
    until("nothing is left", || processes("sleep 4711.06").is_empty()).await;
}

#[tokio::test]
async fn a_command_that_cannot_be_executed_fails_with_the_reason() {
    let bench = Bench::new();
    let spec = bench.script("nothing", "");
    for (id, argv, workdir, expected) in [
        (
            "missing",
            &["no-such-program"][..],
            "/usr/src/app",
            "cannot execute no-such-program: No such file or directory",
        ),
        (
            "denied",
            &["/usr/src/app/hello.txt"],
            "/usr/src/app",
            "cannot execute /usr/src/app/hello.txt: Permission denied",
        ),
        ("empty", &[], "/usr/src/app", "there is nothing to execute: the image has neither CMD nor ENTRYPOINT"),
        ("nowhere", &["true"], "/usr/src/app/hello.txt", "the working directory /usr/src/app/hello.txt is not there"),
    ] {
        let mut image = bench.stored();
        image.info.cmd = argv.iter().map(|arg| (*arg).to_owned()).collect();
        image.info.workdir = workdir.into();
        bench.put_stored(&image);
        let mut spec = spec.clone();
        spec.job.id = id.into();

        let (exit, _) = bench.run(&spec).await;

        assert_eq!((exit.code, exit.cause), (None, ExitCause::Failed { reason: expected.into() }));
    }
}

#[tokio::test]
async fn a_run_that_cannot_start_leaves_nothing() {
    let bench = Bench::new();
    let spec = bench.script("unbuilt", "true");
    let mut image = bench.stored();
    image.layers.push("builds/build1/layers/gone".into());
    bench.put_stored(&image);

    let refused = bench.driver.start_run(&spec).await;

    assert!(matches!(&refused, Err(DriverError::CannotStart(_))), "{refused:?}");
    assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Unknown);
    assert!(matches!(bench.driver.wait(&spec.job).await, Err(DriverError::NoSuchJob(_))));
    assert!(!bench.data_dir().join("runs/unbuilt/1").exists());
}
