//! Limits are enforced, and use is measured.

use playhouse_drivers::{ExitCause, Limits, Stop};

use crate::bench::{benches, is_limited};
use crate::waiting::{log, soon, until};

#[tokio::test]
async fn a_command_that_fills_memory_ends_as_out_of_memory() {
    for bench in benches().await {
        let fill = "x=$(head -c 200000000 /dev/zero | tr '\\0' x)";
        for (id, script) in [
            ("main", fill.to_owned()),
            ("child", format!("sh -c \"{}\" & wait $! || exit 137", fill.replace('$', "\\$"))),
        ] {
            let mut spec = bench.script(id, &script);
            spec.limits.memory_bytes = 64 << 20;
            let (exit, log) = bench.run(&spec).await;

            assert_eq!(exit.cause, ExitCause::OutOfMemory, "{:?} {id}: {exit:?} {log}", bench.host);
            let peak = exit.usage.memory_peak_bytes;
            // Where memory is only sampled, it is over the limit before anybody sees it.
            let is_measured = peak > 32 << 20 && (peak <= 64 << 20 || !is_limited(&bench));
            assert!(is_measured || bench.is_containers(), "{:?}", exit.usage);
        }
    }
}

#[tokio::test]
async fn processes_are_limited_and_others_do_not_suffer() {
    for bench in benches().await {
        if !is_limited(&bench) {
            eprintln!("SKIPPED: nothing limits processes here, no control group may be made");
            continue;
        }
        let mut spec = bench.script("bomb", "bomb() { bomb | bomb & }; bomb & exec sleep 4712.4");
        spec.limits.pids = 40;
        bench.driver.start_run(&spec).await.unwrap();
        until("it forks in vain", || log(&spec.log).contains("fork")).await;

        let others = bench.script("other", "echo still fine");
        assert_eq!(bench.run(&others).await.1, "still fine\n");
        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();

        assert_eq!(soon(bench.driver.wait(&spec.job)).await.unwrap().cause, ExitCause::Stopped);
    }
}

#[tokio::test]
async fn a_running_job_is_measured_and_held_to_its_cpu_share() {
    for bench in benches().await {
        let mut spec =
            bench.script("busy", "x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo ready; while :; do :; done");
        spec.limits = Limits { cpu_millis: 250, ..spec.limits };
        bench.driver.start_run(&spec).await.unwrap();
        until("it has its memory", || log(&spec.log).contains("ready")).await;

        let before = bench.driver.measure(&spec.job).await.unwrap().unwrap();
        let begin = std::time::Instant::now();
        tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
        let after = bench.driver.measure(&spec.job).await.unwrap().unwrap();
        let millis = u64::try_from(begin.elapsed().as_millis()).unwrap();

        assert!(after.memory_bytes > 20_000_000 && after.memory_peak_bytes >= after.memory_bytes, "{after:?}");
        let share = (after.cpu_micros - before.cpu_micros) / millis;
        assert!(share > 50, "{:?}: {share} thousandths of a core", bench.host);
        if is_limited(&bench) {
            assert!(share < 500, "{:?}: {share} thousandths of a core, although held to 250", bench.host);
        }
        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();
        assert_eq!(bench.driver.measure(&spec.job).await.unwrap(), None);
    }
}
