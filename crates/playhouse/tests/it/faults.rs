//! Actors that misbehave: each run ends with its cause named, leaves no process behind, and the server stays well.

use http_body_util::BodyExt as _;
use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::actors::{finished, processes_of, says, shell_actor, start, start_build, unbuilt_actor, until};
use crate::server::Server;

/// A server with one Actor.
struct Stage {
    server: Server,
    actor: String,
    directory: tempfile::TempDir,
}

impl Stage {
    async fn with(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(&directory.path().join("data"));
        let actor = shell_actor(&server, "faulty", script).await;
        Self { server, actor, directory }
    }

    async fn start(&self, options: &str) -> String {
        start(&self.server, &self.actor, options).await
    }

    async fn abort(&self, run: &str) {
        self.server.send(Method::POST, &format!("actor-runs/{run}/abort"), "").await;
    }

    /// Waits for the end of a run, and checks it and what is left.
    async fn ends(&self, run: &str, status: &str, message: &str) -> Value {
        let ended = finished(&self.server, &format!("actor-runs/{run}")).await;
        assert_eq!(ended["status"], status, "{ended}");
        assert!(ended["statusMessage"].as_str().unwrap_or_default().contains(message), "{ended}");
        until("no process of the run is left", async || processes_of(run).is_empty()).await;
        self.server.get("users/me").await;
        ended
    }

    /// The process that supervises the first life of a run or build.
    fn supervisor_of(&self, kind: &str, id: &str) -> Pid {
        let life = self.directory.path().join("data").join(kind).join(id).join("1/life.json");
        let life: Value = serde_json::from_slice(&std::fs::read(life).unwrap()).unwrap();
        Pid::from_raw(life["supervisor"]["pid"].as_i64().unwrap().try_into().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_kills_itself_has_failed_by_that_signal() {
    let stage = Stage::with("sleep 100 & echo bye; kill -9 $$").await;

    let run = stage.start("memory=256").await;

    let ended = stage.ends(&run, "FAILED", "killed by signal 9 (SIGKILL)").await;
    assert_eq!(ended["exitCode"], 137, "{ended}");
    assert!(stage.server.text(&format!("logs/{run}")).await.contains("Z bye\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_supervisor_is_killed_is_lost_and_leaves_nothing_running() {
    let stage = Stage::with("sleep 100 & setsid sleep 100 & echo started; sleep 100").await;
    let run = stage.start("memory=256").await;
    says(&stage.server, &run, "Z started\n").await;
    let processes = processes_of(&run);
    assert!(processes.len() > 3, "the shell and its three sleepers are to be seen, not only {processes:?}");

    kill(stage.supervisor_of("runs", &run), Signal::SIGKILL).unwrap();

    let ended = stage.ends(&run, "FAILED", "supervising process was removed or killed").await;
    assert_eq!(ended["exitCode"], Value::Null, "{ended}");
    assert!(stage.server.text(&format!("logs/{run}")).await.contains("Z started\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_supervisor_is_killed_after_the_server_is_lost_and_leaves_nothing_running() {
    let mut stage = Stage::with("setsid sleep 100 & echo started; sleep 100").await;
    let run = stage.start("memory=256").await;
    says(&stage.server, &run, "Z started\n").await;

    stage.server.kill();
    kill(stage.supervisor_of("runs", &run), Signal::SIGKILL).unwrap();
    stage.server = Server::start(&stage.directory.path().join("data"));

    stage.ends(&run, "FAILED", "supervising process was removed or killed").await;
    assert!(stage.server.text(&format!("logs/{run}")).await.contains("Z started\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_supervisor_is_killed_has_failed_and_leaves_nothing_running() {
    let stage = Stage::with("exit 0").await;
    let steps = "RUN setsid sleep 100 & echo half way; sleep 100\n";
    let actor = unbuilt_actor(&stage.server, "unfinished", steps, "").await;
    let build = start_build(&stage.server, &actor).await;
    says(&stage.server, &build, "Z half way\n").await;

    kill(stage.supervisor_of("builds", &build), Signal::SIGKILL).unwrap();

    let ended = finished(&stage.server, &format!("actor-builds/{build}")).await;
    assert_eq!(ended["status"], "FAILED", "{ended}");
    assert!(ended["statusMessage"].as_str().unwrap_or_default().contains("killed"), "{ended}");
    until("no process of the build is left", async || processes_of(&build).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_meets_the_limit_of_processes_and_is_aborted_whole() {
    /// More than the limit of a small run and less than the bomb makes where there is none.
    const UNLIMITED: usize = 1000;
    let bomb = "bomb() { [ $1 -gt 0 ] || exec sleep 300; bomb $(($1 - 1)) & bomb $(($1 - 1)) & wait; }\n\
                bomb 11 & exec sleep 300";
    let stage = Stage::with(bomb).await;
    let run = stage.start("memory=512").await;
    let mut most = 0;
    until("the bomb meets its limit", async || {
        most = most.max(processes_of(&run).len());
        most > UNLIMITED || stage.server.text(&format!("logs/{run}")).await.contains("Cannot fork")
    })
    .await;

    stage.abort(&run).await;

    stage.ends(&run, "ABORTED", "aborted by user playhouse").await;
    if most > UNLIMITED {
        eprintln!("skipped in part: processes are not limited on this machine");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fills_its_memory_has_failed_for_want_of_it() {
    let hoard = "const kept = []; for (;;) kept.push(Buffer.alloc(8 << 20, 1));";
    let stage = Stage::with(&format!("exec node -e '{hoard}'")).await;

    let run = stage.start("memory=256").await;

    stage.ends(&run, "FAILED", "ran out of memory: it needed more than its 256 MB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_leaves_the_servers_memory_flat_and_is_readable_to_its_end() {
    const LINES: usize = 1_000_000;
    const MAX_GROWTH_KIB: u64 = 64 * 1024;
    let line = "=".repeat(199);
    let stage = Stage::with(&format!("yes {line} | head -n {LINES}; echo that was all")).await;
    let before = memory_kib(&stage.server, "VmRSS:");

    let run = stage.start("memory=4096").await;
    stage.ends(&run, "SUCCEEDED", "exit code 0").await;

    let mut log = stage.server.response(&format!("logs/{run}")).await.into_body();
    let (mut lines, mut last) = (0, Vec::new());
    while let Some(frame) = log.frame().await {
        let Ok(data) = frame.unwrap().into_data() else { continue };
        lines += data.iter().filter(|byte| **byte == b'=').count();
        last.extend_from_slice(&data);
        last.drain(..last.len().saturating_sub(1000));
    }
    assert_eq!(lines, LINES * line.len(), "output is missing or doubled");
    let last = String::from_utf8_lossy(&last);
    assert!(last.contains("Z that was all\n"), "{last}");
    let grown = memory_kib(&stage.server, "VmHWM:").saturating_sub(before);
    assert!(grown < MAX_GROWTH_KIB, "the server grew by {grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ignores_sigterm_ends_when_it_is_aborted() {
    let stage = Stage::with("trap '' TERM INT HUP; echo started; while :; do sleep 1; done").await;
    let run = stage.start("memory=256").await;
    says(&stage.server, &run, "Z started\n").await;

    stage.abort(&run).await;

    stage.ends(&run, "ABORTED", "aborted by user playhouse").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ignores_sigterm_ends_at_its_timeout() {
    let stage = Stage::with("trap '' TERM INT HUP; while :; do sleep 1; done").await;

    let run = stage.start("memory=256&timeout=2").await;

    stage.ends(&run, "TIMED-OUT", "exceeded its timeout of 2 seconds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_forks_into_other_sessions_leaves_nothing_at_its_timeout() {
    let stage = Stage::with("setsid sleep 300 & (setsid sh -c 'sleep 300 & sleep 300' &) ; sleep 300").await;

    let run = stage.start("memory=256&timeout=2").await;

    stage.ends(&run, "TIMED-OUT", "exceeded its timeout of 2 seconds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_finished_run_leaves_in_the_background_is_ended_with_it() {
    let stage = Stage::with("setsid sleep 300 & sleep 300 & exit 0").await;

    let run = stage.start("memory=256").await;

    stage.ends(&run, "SUCCEEDED", "exit code 0").await;
}

fn memory_kib(server: &Server, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
