//! How runs end, and that the end is told as it was.

use std::time::Duration;

use playhouse_drivers::{Driver, DriverError, ExitCause, Observed, Stop};

use crate::bench::{Bench, first_process, group_limits_memory, kill, log, processes, soon, supervisor, until};

#[tokio::test]
async fn a_command_that_ends_tells_its_exit_code() {
    let bench = Bench::new();
    for (id, script, code) in [("ok", "echo fine", 0), ("bad", "echo oops >&2; exit 91", 91)] {
        let spec = bench.script(id, script);
        let (exit, log) = bench.run(&spec).await;

        assert_eq!((exit.code, exit.cause), (Some(code), ExitCause::Exited), "{log}");
        assert_eq!(log, if code == 0 { "fine\n" } else { "oops\n" });
        assert!(exit.usage.cpu_micros > 0 && exit.usage.memory_peak_bytes > 0, "{:?}", exit.usage);
    }
}

#[tokio::test]
async fn a_command_that_is_killed_tells_the_signal() {
    let bench = Bench::new();
    let spec = bench.script("killed", "exec sleep 4711.01");
    bench.driver.start_run(&spec).await.unwrap();
    until("the command runs", || !processes("sleep 4711.01").is_empty()).await;

    kill(processes("sleep 4711.01")[0], "KILL");

    let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
    assert_eq!((exit.code, exit.cause), (Some(137), ExitCause::Signal { signal: 9 }));
    let spec = bench.script("suicide", "kill -SEGV $$");
    let (exit, _) = bench.run(&spec).await;
    assert_eq!((exit.code, exit.cause), (Some(139), ExitCause::Signal { signal: 11 }));
}

#[tokio::test]
async fn a_command_that_fills_memory_ends_as_out_of_memory() {
    let bench = Bench::new();
    for (id, script) in [("main", "exec tail /dev/zero"), ("child", "tail /dev/zero & wait $! || exit 3")] {
        let mut spec = bench.script(id, script);
        spec.limits.memory_bytes = 64 << 20;
        let (exit, log) = bench.run(&spec).await;

        assert_eq!(exit.cause, ExitCause::OutOfMemory, "{id}: {exit:?} {log}");
        let measured = exit.usage.memory_peak_bytes;
        // Where memory is only sampled, it is over the limit before anybody sees it.
        assert!(measured > 32 << 20 && (measured <= 64 << 20 || !group_limits_memory(&bench)), "{:?}", exit.usage);
        assert!(exit.usage.cpu_micros > 0);
    }
}

#[tokio::test]
async fn a_fork_bomb_stays_within_its_limit_and_can_be_ended() {
    let bench = Bench::new();
    if !group_limits_memory(&bench) {
        eprintln!("SKIPPED: nothing limits processes here, no control group may be made");
        return;
    }
    let mut spec = bench.script("bomb", "bomb() { bomb | bomb & }; bomb & exec sleep 4711.02");
    spec.limits.pids = 40;
    bench.driver.start_run(&spec).await.unwrap();
    until("it forks in vain", || log(&spec).contains("fork")).await;

    let others = bench.script("other", "echo still fine");
    assert_eq!(bench.run(&others).await.1, "still fine\n");
    soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();

    assert_eq!(soon(bench.driver.wait(&spec.job)).await.unwrap().cause, ExitCause::Stopped);
}

#[tokio::test]
async fn a_stop_signal_lets_the_command_wind_down() {
    let bench = Bench::new();
    let spec = bench.script("polite", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done");
    bench.driver.start_run(&spec).await.unwrap();
    until("it is ready", || log(&spec).contains("ready")).await;

    bench.driver.stop(&spec.job, Stop::Signal).await.unwrap();

    let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
    assert_eq!((exit.code, exit.cause), (Some(5), ExitCause::Stopped));
    assert_eq!(log(&spec), "ready\nbye\n");
    // A job that is gone is no error.
    bench.driver.stop(&spec.job, Stop::Signal).await.unwrap();
    bench.driver.stop(&spec.job, Stop::Kill).await.unwrap();
}

#[tokio::test]
async fn a_kill_leaves_no_process_whatever_the_command_did() {
    let bench = Bench::new();
    let stubborn = "trap '' TERM; sleep 4711.03 & setsid sleep 4711.03 & (setsid setsid sh -c 'trap \"\" TERM; sleep 4711.03; sleep 4711.03' &); \
                    echo ready; while :; do sleep 4711.03; done";
    let spec = bench.script("stubborn", stubborn);
    bench.driver.start_run(&spec).await.unwrap();
    until("all run", || processes("sleep 4711.03").len() >= 5).await;

    bench.driver.stop(&spec.job, Stop::Signal).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Running);
    soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();

    assert_eq!(processes("sleep 4711.03"), Vec::<i32>::new());
    let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
    assert_eq!((exit.code, exit.cause), (Some(137), ExitCause::Stopped));
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let bench = Bench::new();
    let spec = bench.script("leaver", "setsid sleep 4711.04 & sleep 4711.04 & echo gone");
    let (exit, log) = bench.run(&spec).await;

    assert_eq!((exit.code, exit.cause, log.as_str()), (Some(0), ExitCause::Exited, "gone\n"));
    assert_eq!(processes("sleep 4711.04"), Vec::<i32>::new());
}

#[tokio::test]
async fn a_killed_supervisor_takes_everything_with_it_and_the_run_is_lost() {
    let bench = Bench::new();
    let spec = bench.script("orphan", "setsid sleep 4711.05 & sleep 4711.05 & echo ready; wait");
    bench.driver.start_run(&spec).await.unwrap();
    until("all run", || log(&spec).contains("ready") && processes("sleep 4711.05").len() >= 2).await;

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
    until("it is known", || log(&spec).contains("ready") && bench.has_life_file(&spec, "first-process.json")).await;

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
    let mut spec = bench.script("unbuilt", "true");
    spec.build_id = "other".into();
    assert!(matches!(bench.driver.start_run(&spec).await, Err(DriverError::NoSuchImage(id)) if id == "other"));

    let mut image = bench.stored();
    image.layers.push("builds/build1/layers/gone".into());
    bench.put_stored(&image);
    let mut spec = spec.clone();
    spec.build_id = "build1".into();
    let refused = bench.driver.start_run(&spec).await;

    assert!(matches!(&refused, Err(DriverError::CannotStart(_))), "{refused:?}");
    assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Unknown);
    assert!(matches!(bench.driver.wait(&spec.job).await, Err(DriverError::NoSuchJob(_))));
    assert!(!bench.data_dir().join("runs/unbuilt/1").exists());
}
