//! What becomes of a command's output.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use playhouse_drivers::{Driver, ExitCause, Stop};

use crate::bench::{Bench, supervisor};
use crate::waiting::{log, soon, until};

#[tokio::test]
async fn output_is_merged_in_order_with_one_stamp_a_line() {
    let bench = Bench::new();
    let script = "i=0; while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; printf 'a\\nb\\n\\nc'; printf d; printf '\\377'";
    let spec = bench.script("merged", script);
    let (_, log) = bench.run(&spec).await;

    let mut expected: String = (0..200).map(|i| format!("out {i}\nerr {i}\n")).collect();
    expected += "a\nb\n\ncd\u{fffd}\n";
    assert_eq!(log, expected);
}

#[tokio::test]
async fn secrets_are_masked_and_neither_on_disk_nor_in_the_supervisor() {
    let bench = Bench::new();
    let secret = "s3cr3t-4711";
    let mut spec =
        bench.script("masked", "echo \"token is $TOKEN.\"; printf s3cr3t; sleep 0.05; echo -4711; sleep 4711.12");
    spec.env.insert("TOKEN".into(), secret.into());
    spec.secrets = vec![secret.into()];
    bench.driver.start_run(&spec).await.unwrap();
    until("both lines are there", || log(&spec.log).lines().count() == 2).await;

    assert_eq!(log(&spec.log), "token is *****.\n*****\n");
    let found = std::process::Command::new("grep").args(["-r", secret]).arg(bench.data_dir()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    for file in ["environ", "cmdline"] {
        let text = fs::read(format!("/proc/{}/{file}", supervisor(&bench, &spec))).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(secret));
    }
    soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_output_is_kept_whole_with_flat_memory() {
    const MEGABYTES: u64 = 64;
    let bench = Bench::new();
    let line = "x".repeat(99);
    let script =
        format!("yes {line} | head -c {}; echo done; read -r _ < /dev/null; sleep 4711.13", MEGABYTES * 1_000_000);
    let spec = bench.script("flood", &script);
    let begin = Instant::now();
    bench.driver.start_run(&spec).await.unwrap();

    let lines = MEGABYTES * 10_000;
    let expected = lines * (100 + 25) + 30;
    until("all is there", || fs::metadata(&spec.log).is_ok_and(|log| log.size() >= expected)).await;
    eprintln!("{MEGABYTES} MB of log in {:?}", begin.elapsed());

    let status = fs::read_to_string(format!("/proc/{}/status", supervisor(&bench, &spec))).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 32 * 1024, "the supervisor needed {peak} kB");
    let log = log(&spec.log);
    assert_eq!(log.lines().count() as u64, lines + 1);
    assert!(log.lines().take(lines as usize).all(|there| there == line) && log.ends_with("\ndone\n"));
    soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();
}

#[tokio::test]
async fn a_log_is_cut_before_the_disk_is_full_and_the_command_goes_on() {
    let bench = Bench::with(|config| config.min_free_bytes = u64::MAX);
    let spec = bench.script("cut", "head -c 50000000 /dev/zero; echo; exit 6");
    let (exit, log) = bench.run(&spec).await;

    assert_eq!((exit.code, exit.cause), (Some(6), ExitCause::Exited));
    assert_eq!(log.lines().count(), 1, "{log:.1000}");
    assert!(log.starts_with("ACTOR: The log is cut here"), "{log:.1000}");
}
