//! Output becomes lines of the log: all of it, once, while it comes.

use std::fs;

use playhouse_drivers::{ExitCause, Stop};

use crate::bench::{all_benches, benches};
use crate::waiting::{log, soon, until};

#[tokio::test]
async fn output_is_stamped_line_by_line_and_kept_whole() {
    for bench in all_benches().await {
        let script = "i=0; while [ $i -lt 200 ]; do echo out $i; i=$((i+1)); done; printf 'a\\nb\\n\\nc'; printf d; printf '\\377'";
        let (_, log) = bench.run(&bench.script("whole", script)).await;

        let mut expected: String = (0..200).map(|i| format!("out {i}\n")).collect();
        expected += "a\nb\n\ncd\u{fffd}\n";
        assert_eq!(log, expected, "{:?}", bench.host);
    }
}

#[tokio::test]
async fn both_streams_are_in_the_log() {
    for bench in benches().await {
        let (_, log) =
            bench.run(&bench.script("both", "echo out; sleep 0.1; echo err >&2; sleep 0.1; echo out again")).await;

        assert_eq!(log, "out\nerr\nout again\n", "{:?}", bench.host);
    }
}

#[tokio::test]
async fn lines_are_in_the_log_while_the_command_runs() {
    for bench in benches().await {
        let spec = bench.script("live", "echo first; exec sleep 4712.6");
        bench.driver.start_run(&spec).await.unwrap();

        until("the line is there", || log(&spec.log) == "first\n").await;

        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();
    }
}

#[tokio::test]
async fn secrets_are_masked_and_not_on_the_servers_disk() {
    for bench in benches().await {
        let secret = "s3cr3t-4711";
        let mut spec = bench
            .script("masked", "echo \"token is $TOKEN.\"; printf s3cr3t; sleep 0.05; echo -4711; exec sleep 4712.7");
        spec.env.insert("TOKEN".into(), secret.into());
        spec.secrets = vec![secret.into()];
        bench.driver.start_run(&spec).await.unwrap();
        until("both lines are there", || log(&spec.log).lines().count() == 2).await;

        assert_eq!(log(&spec.log), "token is *****.\n*****\n", "{:?}", bench.host);
        let found = std::process::Command::new("grep").args(["-r", secret]).arg(bench.data_dir()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();
    }
}

#[tokio::test]
async fn a_line_without_end_in_sight_is_kept_whole() {
    for bench in benches().await {
        let spec = bench.script("long", "head -c 300000 /dev/zero | tr '\\0' y; echo; echo next");
        let (exit, log) = bench.run(&spec).await;

        assert_eq!(exit.cause, ExitCause::Exited);
        assert!(log == format!("{}\nnext\n", "y".repeat(300_000)), "{:?}: {} bytes", bench.host, log.len());
    }
}

#[tokio::test]
async fn a_flood_of_output_is_kept_whole() {
    const LINES: usize = 30_000;
    for bench in benches().await {
        let line = "x".repeat(99);
        let spec = bench.script("flood", &format!("yes {line} | head -n {LINES}; echo done"));
        let (exit, log) = bench.run(&spec).await;

        assert_eq!(exit.code, Some(0));
        assert_eq!(log.lines().count(), LINES + 1, "{:?}", bench.host);
        assert!(log.lines().take(LINES).all(|there| there == line) && log.ends_with("\ndone\n"));
        assert!(fs::metadata(&spec.log).unwrap().len() > 3_000_000);
    }
}
