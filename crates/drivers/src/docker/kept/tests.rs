use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;

use super::super::frames::Piece;
use super::super::life::{Cursor, Life};
use super::*;
use crate::{Job, JobKind};

const DOCKER: &str = concat!(
    r#"{"log":"one \u003cb\u003e \"quoted\" \\n\n","stream":"stdout","time":"2026-11-29T10:00:00.001234567Z"}"#,
    "\n",
    r#"{"log":"two is ","stream":"stdout","time":"2026-11-29T10:00:00.002Z"}"#,
    "\n",
    r#"{"log":"longer\r\n","stream":"stderr","attrs":{"a":"\"time\":\""},"time":"2026-11-29T10:00:00.003Z"}"#,
    "\n",
    r#"{"log":"\n","stream":"stdout","time":"2026-11-29T10:00:05.000Z"}"#,
    "\n",
    r#"{"log":"f\u00fcnf \ud83d\ude00\t\u0001\ufffd\n","stream":"stdout","time":"2026-11-29T10:00:05.001Z"}"#,
    "\n",
);
const DOCKER_LOG: &str = "2026-11-29T10:00:00.001Z one <b> \"quoted\" \\n\n2026-11-29T10:00:00.003Z two is longer\r\n\
                          2026-11-29T10:00:05.000Z \n2026-11-29T10:00:05.001Z fünf 😀\t\u{1}\u{fffd}\n";
const PODMAN: &[u8] = b"2026-11-29T11:00:00.001234567+01:00 stdout F one \"quoted\" \\n\n\
                        2026-11-29T11:00:00.002000000+01:00 stdout P two is \n\
                        2026-11-29T11:00:00.003000000+01:00 stdout P longer\n\
                        2026-11-29T11:00:00.003000000+01:00 stdout F \n\
                        2026-11-29T11:00:05.000000000+01:00 stderr F \n\
                        2026-11-29T11:00:05.001000000+01:00 stdout F stdout F \xff {\"log\":\"\r\n";
const PODMAN_LOG: &str = "2026-11-29T10:00:00.001Z one \"quoted\" \\n\n2026-11-29T10:00:00.003Z two is longer\n\
                          2026-11-29T10:00:05.000Z \n2026-11-29T10:00:05.001Z stdout F \u{fffd} {\"log\":\"\r\n";

struct Bench {
    dir: tempfile::TempDir,
    secrets: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap(), secrets: Vec::new() };
        let life = bench.life();
        life.note_begun(&bench.dir.path().join("log"), 0).unwrap();
        std::fs::write(bench.file(), "").unwrap();
        bench
    }

    fn life(&self) -> Life {
        Life::of(self.dir.path(), &Job { kind: JobKind::Run, id: "r".into(), life: 1 }).unwrap()
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("engine")
    }

    fn write(&self, bytes: &[u8]) {
        append(&self.file(), bytes);
    }

    /// As a server takes the life up.
    fn output(&self) -> Output {
        Output::resume(&self.life(), &self.dir.path().join("log"), &self.secrets, 0).unwrap()
    }

    fn kept(&self, output: &mut Output) -> Kept {
        Kept::open(&self.file(), output).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn read_all(kept: &mut Kept, output: &mut Output) {
    while !kept.read(output).unwrap() {}
    assert!(!kept.has_news());
}

#[test]
fn logs_of_both_engines_are_read_however_they_grow() {
    for (file, log) in [(DOCKER.as_bytes(), DOCKER_LOG), (PODMAN, PODMAN_LOG)] {
        for size in 1..=file.len() {
            let bench = Bench::new();
            let mut output = bench.output();
            let mut kept = bench.kept(&mut output);
            for chunk in file.chunks(size) {
                bench.write(chunk);
                assert!(kept.has_news());
                read_all(&mut kept, &mut output);
            }
            output.close().unwrap();

            assert_eq!(bench.log(), log, "in chunks of {size}");
        }
    }
}

#[test]
fn output_is_whole_wherever_the_server_dies() {
    for (file, log) in [(DOCKER.as_bytes(), DOCKER_LOG), (PODMAN, PODMAN_LOG)] {
        for read in 0..=file.len() {
            let bench = Bench::new();
            let mut output = bench.output();
            let mut kept = bench.kept(&mut output);
            bench.write(&file[..read / 2]);
            read_all(&mut kept, &mut output);
            let cursor = Cursor::read(&bench.life().cursor_file().unwrap()).unwrap();
            bench.write(&file[read / 2..read]);
            read_all(&mut kept, &mut output);
            drop(output);
            // The cursor was to be written next, and more of the log.
            cursor.write(&bench.life().cursor_file().unwrap()).unwrap();
            append(
                &bench.dir.path().join("log"),
                b"2026-11-29T10:00:09.000Z ACTOR: kept\n2026-11-29T10:00:09.000Z half",
            );

            bench.write(&file[read..]);
            let mut output = bench.output();
            let mut kept = bench.kept(&mut output);
            read_all(&mut kept, &mut output);
            output.close().unwrap();

            let text = bench.log();
            assert_eq!(text.matches("ACTOR: kept\n").count(), 1, "{read}: {text}");
            assert_eq!(text.replace("2026-11-29T10:00:09.000Z ACTOR: kept\n", ""), log, "{read}");
        }
    }
}

#[test]
fn a_log_is_whole_also_if_the_way_to_it_changes() {
    // What the engine gives of the same log.
    let whole = "one \"quoted\" \\n\ntwo is longer\n\nstdout F \u{fffd} {\"log\":\"\r\n";
    let pieces = |lines: usize| -> Vec<Piece> {
        let piece = |line: &str| Piece {
            at: Timestamp::parse("2026-11-29T10:00:07Z"),
            is_exact: true,
            output: Bytes::from(line.to_owned().replace('\u{fffd}', "?")),
        };
        whole.split_inclusive('\n').take(lines).map(piece).collect()
    };
    let file = String::from_utf8_lossy(PODMAN).replace('\u{fffd}', "?");
    let records: Vec<&str> = file.split_inclusive('\n').collect();
    for by_file in 0..=records.len() {
        for by_engine in 0..=4 {
            let bench = Bench::new();
            bench.write(records[..by_file].concat().as_bytes());
            let mut output = bench.output();
            read_all(&mut bench.kept(&mut output), &mut output);

            let mut output = bench.output();
            assert_eq!(output.read_again(), 0);
            output.take(&pieces(by_engine));

            bench.write(records[by_file..].concat().as_bytes());
            let mut output = bench.output();
            read_all(&mut bench.kept(&mut output), &mut output);
            output.close().unwrap();

            let text: String = bench.log().split_inclusive('\n').map(|line| &line[25..]).collect();
            assert_eq!(text, whole.replace('\u{fffd}', "?"), "{by_file} {by_engine}");
        }
    }
}

#[test]
fn a_long_log_is_not_read_from_its_beginning_again() {
    let bench = Bench::new();
    bench.write(PODMAN);
    bench.write(b"2026-11-29T11:00:06.000000000+01:00 stdout P begun \n");
    let mut output = bench.output();
    read_all(&mut bench.kept(&mut output), &mut output);

    let mut output = bench.output();

    assert_eq!(bench.kept(&mut output).offset, PODMAN.len() as u64, "the line that has begun");
}

#[test]
fn a_file_that_was_emptied_or_replaced_is_read_on() {
    for is_replaced in [false, true] {
        let bench = Bench::new();
        let mut output = bench.output();
        let mut kept = bench.kept(&mut output);
        bench.write(PODMAN);
        read_all(&mut kept, &mut output);

        if is_replaced {
            bench.write(b"2026-11-29T11:00:06+01:00 stdout F last of the old\n");
            std::fs::rename(bench.file(), bench.dir.path().join("old")).unwrap();
        } else {
            std::fs::write(bench.file(), "").unwrap();
        }
        bench.write(b"2026-11-29T11:00:07.001+01:00 stdout F new\n");
        read_all(&mut kept, &mut output);
        drop(output);

        bench.write(b"2026-11-29T11:00:07.002+01:00 stdout F newer\n");
        let mut output = bench.output();
        read_all(&mut bench.kept(&mut output), &mut output);
        output.close().unwrap();
        let between = if is_replaced { "2026-11-29T10:00:06.000Z last of the old\n" } else { "" };
        let new = "2026-11-29T10:00:07.001Z new\n2026-11-29T10:00:07.002Z newer\n";
        assert_eq!(bench.log(), format!("{PODMAN_LOG}{between}{new}"), "{is_replaced}");
    }
}

#[test]
fn a_file_that_was_removed_is_read_to_its_end() {
    let bench = Bench::new();
    bench.write(PODMAN);
    let mut output = bench.output();
    let mut kept = bench.kept(&mut output);

    std::fs::remove_file(bench.file()).unwrap();
    read_all(&mut kept, &mut output);
    output.close().unwrap();

    assert_eq!(bench.log(), PODMAN_LOG);
}

#[test]
fn a_record_that_an_engine_left_half_written_costs_no_other() {
    let records: Vec<&str> = DOCKER.split_inclusive('\n').collect();
    for cut in 1..records[1].len() - 1 {
        let bench = Bench::new();
        let mut output = bench.output();
        bench.write([records[0], &records[1][..cut], records[3], records[4]].concat().as_bytes());
        read_all(&mut bench.kept(&mut output), &mut output);
        output.close().unwrap();

        let lines: Vec<&str> = DOCKER_LOG.split_inclusive('\n').collect();
        assert_eq!(bench.log(), [lines[0], lines[2], lines[3]].concat(), "{cut}");
    }
}

#[test]
fn a_file_in_no_known_form_is_refused() {
    for text in
        ["\u{1}binary\n", "{\"message\":\"x\"}\n", "2026-11-29T11:00:00+01:00 stdin F x\n", "no stamp stdout F x\n"]
    {
        let bench = Bench::new();
        bench.write(text.as_bytes());
        let mut output = bench.output();

        let refused = bench.kept(&mut output).read(&mut output).unwrap_err();

        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{text}");
    }
    let bench = Bench::new();
    let mut output = bench.output();
    assert!(Kept::open(bench.dir.path(), &mut output).is_err(), "a directory");
    assert!(Kept::open(&bench.dir.path().join("none"), &mut output).is_err());
}

#[test]
fn a_flood_is_read_in_little_memory_with_secrets_masked() {
    let mut bench = Bench::new();
    bench.secrets.push("hunter2".into());
    let record = format!("2026-11-29T11:00:00.001+01:00 stdout P {}hunt\n", "x".repeat(8000));
    let end = format!("2026-11-29T11:00:00.002+01:00 stderr F er2{}\n", "y".repeat(1000));
    bench.write(format!("{record}{end}").repeat(1000).as_bytes());
    let mut output = bench.output();
    let mut kept = bench.kept(&mut output);

    let mut reads = 0;
    while !kept.read(&mut output).unwrap() {
        assert!(kept.buffer.len() <= BATCH);
        reads += 1;
    }

    assert!(reads >= 2, "{reads}");
    assert!(kept.buffer.is_empty(), "nothing is held while nothing comes");
    output.close().unwrap();
    let line = format!("2026-11-29T10:00:00.002Z {}*****{}\n", "x".repeat(8000), "y".repeat(1000));
    assert!(bench.log() == line.repeat(1000));
}
