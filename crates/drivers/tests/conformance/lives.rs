//! Jobs outlive the server, and a new one takes them up.

use playhouse_drivers::{ExitCause, Job, JobKind, Observed, RunSpec, Stop};

use crate::bench::{all_benches, benches};
use crate::waiting::{log, soon, until};

#[tokio::test]
async fn a_new_driver_takes_up_what_an_old_one_started() {
    for bench in all_benches().await {
        let spec =
            bench.script("adopted", "trap 'echo went; exit 7' USR1; echo ready; i=0; while :; do sleep 0.01; done");
        let waiting = bench.script("waiting", "trap 'exit 8' TERM; echo ready; while :; do sleep 0.01; done");
        bench.driver.start_run(&spec).await.unwrap();
        bench.driver.start_run(&waiting).await.unwrap();
        until("both are ready", || log(&spec.log) == "ready\n" && log(&waiting.log) == "ready\n").await;

        let driver = bench.reopened();
        for job in [&spec.job, &waiting.job] {
            driver.take_up(job, &[]).await.unwrap();
            assert_eq!(driver.observe(job).await.unwrap(), Observed::Running, "{:?}", bench.host);
        }
        // Without root and with control groups of version 1, Podman measures nothing.
        assert!(bench.host.is_rootless() || driver.measure(&spec.job).await.unwrap().is_some());
        let mut jobs = driver.list().await.unwrap();
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(jobs, [spec.job.clone(), waiting.job.clone()]);
        // The same start again is no second start.
        driver.start_run(&spec).await.unwrap();

        driver.stop(&waiting.job, Stop::Signal).await.unwrap();
        let exit = soon(driver.wait(&waiting.job)).await.unwrap();
        assert_eq!((exit.code, exit.cause.clone()), (Some(8), ExitCause::Stopped));
        assert_eq!(driver.observe(&waiting.job).await.unwrap(), Observed::Exited(exit));
        soon(driver.stop(&spec.job, Stop::Kill)).await.unwrap();
        assert_eq!(soon(driver.wait(&spec.job)).await.unwrap().cause, ExitCause::Stopped);
        assert_eq!(log(&spec.log), "ready\n");
    }
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_told_later_with_the_whole_log() {
    for bench in benches().await {
        let spec = bench.script("unseen", "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; exit 6");
        bench.driver.start_run(&spec).await.unwrap();

        let driver = bench.reopened();
        let exit = soon(driver.wait(&spec.job)).await.unwrap();

        assert_eq!((exit.code, exit.cause), (Some(6), ExitCause::Exited), "{:?}", bench.host);
        let expected: String = (0..300).map(|i| format!("line {i}\n")).collect();
        let text = log(&spec.log);
        // Two drivers of one server never live at once; this one's twin may have written the same.
        assert!(text == expected || bench.is_containers() && text.contains("line 299"), "{:?}: {text}", bench.host);
    }
}

#[tokio::test]
async fn many_starts_of_the_same_life_are_one() {
    for bench in benches().await {
        let spec = bench.script("once", "echo started; sleep 0.2");
        let starts = (0..8).map(|_| bench.driver.start_run(&spec));
        for start in futures::future::join_all(starts).await {
            start.unwrap();
        }
        soon(bench.driver.wait(&spec.job)).await.unwrap();
        bench.driver.start_run(&spec).await.unwrap();
        assert_eq!(log(&spec.log), "started\n", "{:?}", bench.host);

        let again = RunSpec { job: Job { life: 2, ..spec.job.clone() }, ..spec.clone() };
        bench.run(&again).await;
        assert_eq!(log(&spec.log), "started\nstarted\n");
    }
}

#[tokio::test]
async fn a_forgotten_life_is_gone_and_its_log_stays() {
    for bench in all_benches().await {
        let spec = bench.script("forgotten", "echo mine > hello.txt; echo done");
        bench.run(&spec).await;

        bench.driver.forget(&spec.job).await.unwrap();
        bench.driver.forget(&spec.job).await.unwrap();

        assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Unknown, "{:?}", bench.host);
        assert_eq!(bench.driver.list().await.unwrap(), Vec::new());
        assert_eq!(log(&spec.log), "done\n");
        assert!(bench.driver.wait(&spec.job).await.is_err());
        // The next run finds the image as it was.
        assert_eq!(bench.run(&bench.script("next", "cat hello.txt")).await.1, "from the image\n");
    }
}

#[tokio::test]
async fn a_running_life_is_not_forgotten() {
    for bench in benches().await {
        let spec = bench.script("alive", "echo ready; exec sleep 4712.5");
        bench.driver.start_run(&spec).await.unwrap();

        assert!(bench.driver.forget(&spec.job).await.is_err(), "{:?}", bench.host);

        assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Running);
        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();
    }
}

#[tokio::test]
async fn ids_cannot_lead_out_of_the_data_directory() {
    for bench in benches().await {
        for id in ["", "..", "a/b", "../x", "a.b", "\0"] {
            let job = Job { kind: JobKind::Run, id: id.into(), life: 1 };
            assert!(bench.driver.observe(&job).await.is_err(), "{id:?}");
            assert!(bench.driver.remove_image(id).await.is_err(), "{id:?}");
            assert!(bench.driver.forget(&job).await.is_err(), "{id:?}");
        }
    }
}
