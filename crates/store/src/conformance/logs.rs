//! Logs of runs and builds.

use std::fs::OpenOptions;
use std::io::Write as _;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::fixtures::fresh;
use super::jobs::{given_actor, given_build, given_run};
use crate::{JobLog, Store};

async fn given_log(store: &Store) -> JobLog {
    let actor = given_actor(store, "logged").await;
    JobLog::Run(given_run(store, actor, 1).await)
}

async fn read(store: &Store, log: &JobLog, from: u64, to: Option<u64>) -> Vec<u8> {
    let parts: Vec<Bytes> = store.logs.read(log, from, to).await.unwrap().try_collect().await.unwrap();
    parts.concat()
}

/// Appends as the owner of a job's output does.
async fn write(store: &Store, log: &JobLog, bytes: &[u8]) {
    let path = store.logs.file(log).await.unwrap();
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// `lines` lines, each different.
fn text(lines: std::ops::Range<u32>) -> Vec<u8> {
    lines.flat_map(|line| format!("2026-08-31T09:13:25.123Z line {line} ünd so weiter\n").into_bytes()).collect()
}

pub async fn a_log_that_nobody_wrote_is_empty(store: &Store) {
    let log = given_log(store).await;

    for log in [log, JobLog::Build(fresh())] {
        assert_eq!(store.logs.len(&log).await.unwrap(), 0);
        assert!(read(store, &log, 0, None).await.is_empty());
        assert!(read(store, &log, 5, Some(2)).await.is_empty());
        store.logs.seal(&log).await.unwrap();
        assert_eq!(store.logs.len(&log).await.unwrap(), 0);
    }
}

pub async fn lines_of_server_and_job_stand_in_the_order_of_writing(store: &Store) {
    let log = given_log(store).await;

    store.logs.append(&log, "server 1\n").await.unwrap();
    write(store, &log, b"job 1\n").await;
    store.logs.append(&log, "server 2\n").await.unwrap();
    write(store, &log, b"job 2 \xff\n").await;

    assert_eq!(read(store, &log, 0, None).await, b"server 1\njob 1\nserver 2\njob 2 \xff\n");
    assert_eq!(store.logs.len(&log).await.unwrap(), 32);
}

pub async fn runs_and_builds_have_logs_of_their_own(store: &Store) {
    let actor = given_actor(store, "a").await;
    let run = JobLog::Run(given_run(store, actor, 1).await);
    let build = JobLog::Build(given_build(store, actor, 1).await);

    store.logs.append(&run, "run\n").await.unwrap();
    store.logs.append(&build, "build\n").await.unwrap();

    assert_eq!(read(store, &run, 0, None).await, b"run\n");
    assert_eq!(read(store, &build, 0, None).await, b"build\n");
}

pub async fn a_log_reads_the_same_from_any_offset_sealed_or_not(store: &Store) {
    let log = given_log(store).await;
    let mut whole = Vec::new();
    let mut line = 0;
    // Sizes around the frames of which sealed parts are made.
    for lines in [3, 20_000, 1, 6000] {
        let part = text(line..line + lines);
        line += lines;
        write(store, &log, &part).await;
        whole.extend_from_slice(&part);
        check_reads(store, &log, &whole).await;
        store.logs.seal(&log).await.unwrap();
        check_reads(store, &log, &whole).await;
        store.logs.seal(&log).await.unwrap();
    }
    store.logs.append(&log, "last\n").await.unwrap();
    whole.extend_from_slice(b"last\n");
    check_reads(store, &log, &whole).await;
}

async fn check_reads(store: &Store, log: &JobLog, whole: &[u8]) {
    let len = whole.len();
    assert_eq!(store.logs.len(log).await.unwrap(), len as u64);
    assert!(read(store, log, 0, None).await == whole, "{len}");
    let mut offsets = vec![0, 1, 50, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, len / 3, len / 2];
    offsets.extend((0..3).map(|back| len.saturating_sub(back)));
    offsets.retain(|offset| *offset <= len);
    for from in &offsets {
        assert!(read(store, log, *from as u64, None).await == whole[*from..], "{from} of {len}");
        for to in [from + 1, from + 300_000, len + 10] {
            let expected = &whole[*from..to.min(len)];
            assert!(read(store, log, *from as u64, Some(to as u64)).await == expected, "{from}..{to} of {len}");
        }
    }
    assert!(read(store, log, len as u64 + 1, None).await.is_empty());
}

pub async fn a_reader_goes_on_while_a_log_is_sealed_and_grows(store: &Store) {
    let log = given_log(store).await;
    let whole = text(0..30_000);
    write(store, &log, &whole).await;

    let mut open = store.logs.read(&log, 0, None).await.unwrap();
    let first = open.try_next().await.unwrap().unwrap();
    store.logs.seal(&log).await.unwrap();
    write(store, &log, b"later\n").await;

    let rest: Vec<Bytes> = open.try_collect().await.unwrap();
    assert!([first.to_vec(), rest.concat()].concat() == whole, "as it was when it was asked for");
}

pub async fn of_a_deleted_job_no_log_is_kept(store: &Store) {
    let actor = given_actor(store, "a").await;
    let (run, build) = (given_run(store, actor, 1).await, given_build(store, actor, 1).await);
    for log in [JobLog::Run(run), JobLog::Build(build)] {
        write(store, &log, b"sealed\n").await;
        store.logs.seal(&log).await.unwrap();
        write(store, &log, b"open\n").await;
    }

    store.runs.delete(&run).await.unwrap();
    store.builds.delete(&build).await.unwrap();

    for log in [JobLog::Run(run), JobLog::Build(build)] {
        assert!(read(store, &log, 0, None).await.is_empty());
        // Whoever ends the job seals its log, deleted or not.
        write(store, &log, b"late\n").await;
        store.logs.seal(&log).await.unwrap();
        assert_eq!(store.logs.len(&log).await.unwrap(), 0);
    }
}
