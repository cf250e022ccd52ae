//! How runs end, and that the end is told as it was.

use std::time::Duration;

use playhouse_drivers::{DriverError, ExitCause, Observed, RunSpec, Stop};

use crate::bench::{all_benches, benches};
use crate::scripts::{kill, processes};
use crate::waiting::{log, soon, until};

#[tokio::test]
async fn a_command_that_ends_tells_its_exit_code() {
    for bench in all_benches().await {
        for (id, script, code) in [("ok", "echo fine", 0), ("bad", "echo oops >&2; exit 91", 91)] {
            let spec = bench.script(id, script);
            let (exit, log) = bench.run(&spec).await;

            assert_eq!((exit.code, exit.cause), (Some(code), ExitCause::Exited), "{:?} {log}", bench.host);
            assert_eq!(log, if code == 0 { "fine\n" } else { "oops\n" });
            // Containers that end at once are not measured.
            let is_measured = exit.usage.cpu_micros > 0 && exit.usage.memory_peak_bytes > 0;
            assert!(is_measured || bench.is_containers(), "{:?}", exit.usage);
        }
    }
}

#[tokio::test]
async fn a_command_gets_the_environment_of_image_and_run() {
    for bench in benches().await {
        let spec = bench.script("env", "echo $FROM_IMAGE $OVERRIDDEN; pwd; cat hello.txt");
        let (_, log) = bench.run(&spec).await;

        assert_eq!(log, "yes run\n/usr/src/app\nfrom the image\n", "{:?}", bench.host);
    }
}

#[tokio::test]
async fn a_command_that_is_killed_tells_the_signal() {
    for bench in benches().await {
        let mark = format!("sleep 4712.1{}", bench.engine().len());
        let spec = bench.script("killed", &format!("exec {mark}"));
        bench.driver.start_run(&spec).await.unwrap();
        until("the command runs", || !processes(&mark).is_empty()).await;

        // The init process of a container has the words of its command, too.
        let command = processes(&mark).into_iter().max().unwrap();
        kill(command, "SEGV");

        let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
        assert_eq!((exit.code, exit.cause), (Some(139), ExitCause::Signal { signal: 11 }), "{:?}", bench.host);
    }
}

#[tokio::test]
async fn a_stop_signal_lets_the_command_wind_down() {
    for bench in all_benches().await {
        let spec = bench.script("polite", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done");
        bench.driver.start_run(&spec).await.unwrap();
        until("it is ready", || log(&spec.log).contains("ready")).await;

        bench.driver.stop(&spec.job, Stop::Signal).await.unwrap();

        let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
        assert_eq!((exit.code, exit.cause), (Some(5), ExitCause::Stopped), "{:?}", bench.host);
        assert_eq!(log(&spec.log), "ready\nbye\n");
        // A job that is gone is no error.
        bench.driver.stop(&spec.job, Stop::Signal).await.unwrap();
        bench.driver.stop(&spec.job, Stop::Kill).await.unwrap();
    }
}

#[tokio::test]
async fn a_kill_leaves_no_process_whatever_the_command_did() {
    for bench in all_benches().await {
        let mark = format!("sleep 4712.2{}", bench.engine().len());
        let stubborn = format!(
            "trap '' TERM; {mark} & setsid {mark} & (setsid setsid sh -c \"trap '' TERM; {mark}; {mark}\" &); \
             echo ready; while :; do {mark}; done"
        );
        let spec = bench.script("stubborn", &stubborn);
        bench.driver.start_run(&spec).await.unwrap();
        until("all run", || processes(&mark).len() >= 4).await;

        bench.driver.stop(&spec.job, Stop::Signal).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Running);
        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();

        assert_eq!(processes(&mark), Vec::<i32>::new(), "{:?}", bench.host);
        let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
        assert_eq!((exit.code, exit.cause), (Some(137), ExitCause::Stopped));
    }
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    for bench in benches().await {
        let mark = format!("sleep 4712.3{}", bench.engine().len());
        let spec = bench.script("leaver", &format!("setsid {mark} & {mark} & echo gone"));
        let (exit, log) = bench.run(&spec).await;

        assert_eq!((exit.code, exit.cause, log.as_str()), (Some(0), ExitCause::Exited, "gone\n"), "{:?}", bench.host);
        assert_eq!(processes(&mark), Vec::<i32>::new());
    }
}

#[tokio::test]
async fn a_run_without_an_image_is_refused() {
    for bench in benches().await {
        let spec = RunSpec { build_id: "absent".into(), ..bench.script("imageless", "true") };

        let refused = bench.driver.start_run(&spec).await.unwrap_err();

        assert!(
            matches!(&refused, DriverError::NoSuchImage(build) if build == "absent"),
            "{:?}: {refused}",
            bench.host
        );
        assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Unknown);
        assert_eq!(bench.driver.list().await.unwrap(), Vec::new());
    }
}
