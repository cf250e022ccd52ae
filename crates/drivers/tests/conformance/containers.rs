//! What only containers can do, or suffer.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use playhouse_drivers::docker::{DockerConfig, DockerDriver};
use playhouse_drivers::{Driver as _, DriverError, ExitCause, Observed, RunSpec, Stop};
use tokio::net::{UnixListener, UnixStream};

use crate::bench::{BASE, Bench, Host, config, engines};
use crate::waiting::{log, soon, until};

async fn benches() -> Vec<Bench> {
    let mut benches = Vec::new();
    for host in engines() {
        benches.push(Bench::on(host).await);
    }
    benches
}

#[tokio::test]
async fn a_container_has_no_rights_and_its_limits_in_full() {
    for bench in benches().await {
        let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status; df -m /dev/shm | tail -1 | awk '{print $2}'; \
                      id -un; ps -o pid,args | grep -c init; exec sleep 4713.1";
        let spec = bench.script("powerless", script);
        bench.driver.start_run(&spec).await.unwrap();
        until("it is measured", || log(&spec.log).lines().count() == 6).await;

        let text = log(&spec.log);
        for expected in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "\n256\n", "\nmyuser\n"] {
            assert!(text.contains(expected), "{:?}: {expected:?} is not in {text}", bench.host);
        }
        // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_BIND_SERVICE
        let bound = if bench.engine() == "podman" { "0000000000000000" } else { "00000000000004eb" };
        assert!(text.contains(&format!("CapBnd:\t{bound}")), "{text}");
        let inspected = bench.docker(&["inspect", &bench.container(&spec)]);
        let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
        let host = &inspected[0]["HostConfig"];
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&(256 << 20).into(), &(256 << 20).into()));
        assert_eq!((&host["PidsLimit"], &host["Init"]), (&64.into(), &true.into()), "{:?}", bench.host);
        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_run_writes_to_nothing_but_its_memory() {
    for bench in benches().await {
        let driver = bench.opened(|config| DockerConfig { read_only: true, ..config });
        let script = "touch hello.txt /x ~/x 2>&1 | grep -c 'Read-only'; echo t > /tmp/t; echo s > /dev/shm/s; cat /tmp/t /dev/shm/s";
        let spec = bench.script("read-only", script);

        driver.start_run(&spec).await.unwrap();

        let exit = soon(driver.wait(&spec.job)).await.unwrap();
        assert_eq!((exit.code, log(&spec.log).as_str()), (Some(0), "3\nt\ns\n"), "{:?}", bench.host);
    }
}

#[tokio::test]
async fn a_build_cannot_begin_with_the_image_of_another() {
    for bench in benches().await {
        let image = format!("localhost/playhouse-{}:build1", bench.instance());
        let id = bench.docker(&["image", "inspect", "--format", "{{.Id}}", &image]);
        let id = id.trim_start_matches("sha256:");
        for (number, text) in [
            format!("FROM {id}\n"),
            format!("FROM {}\n", &id[..12]),
            format!("FROM {BASE}\nCOPY --from={id} /usr/src/app/hello.txt /\n"),
        ]
        .iter()
        .enumerate()
        {
            let spec = bench.build_spec(&format!("thief{number}"), &bench.context(&[]), text);
            let (exit, _) = bench.build(&spec).await;

            let ExitCause::Failed { reason } = exit.cause else { panic!("{:?} {text}: {exit:?}", bench.host) };
            assert!(reason.contains("is no name of an image in a registry"), "{:?} {text}: {reason}", bench.host);
        }
        // Nor is anybody told how the names of images begin.
        for (id, step, code) in [("good", "true", 0), ("bad", "exit 3", 1)] {
            let dockerfile = format!("FROM {BASE}\nRUN {step} && echo built\n");
            let (exit, text) = bench.build(&bench.build_spec(id, &bench.context(&[]), &dockerfile)).await;

            assert_eq!(exit.code == Some(0), code == 0, "{:?}: {text}", bench.host);
            let told = format!("{exit:?} {text}");
            assert!(!told.contains(bench.instance()), "{:?}: {told}", bench.host);
        }
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_executed_fails_with_the_reason() {
    for bench in benches().await {
        let dockerfile = format!("FROM {BASE}\nCMD [\"no-such-program\"]\n");
        let (exit, text) = bench.build(&bench.build_spec("none", &bench.context(&[]), &dockerfile)).await;
        assert_eq!(exit.code, Some(0), "{text}");
        let spec = RunSpec { build_id: "none".into(), ..bench.script("missing", "") };

        let started = bench.driver.start_run(&spec).await;

        // An init process finds out by itself, when it runs.
        let reason = match started {
            Err(DriverError::CannotStart(reason)) => reason,
            Ok(()) => match soon(bench.driver.wait(&spec.job)).await.unwrap().cause {
                ExitCause::Failed { reason } => reason,
                other => panic!("{:?}: {other:?} {}", bench.host, log(&spec.log)),
            },
            Err(other) => panic!("{:?}: {other}", bench.host),
        };
        let is_told = reason.contains("no-such-program") || reason.contains("No such file or directory");
        assert!(is_told, "{:?}: {reason}", bench.host);
    }
}

#[tokio::test]
async fn an_image_for_another_processor_is_named() {
    for bench in benches().await {
        let mut program = std::fs::read("/bin/busybox").or_else(|_| std::fs::read("/usr/bin/busybox")).unwrap();
        // The number of a kind of processor that nobody has.
        program[18..20].copy_from_slice(&[0xff, 0x7f]);
        let context = bench.context(&[]);
        std::fs::write(context.join("foreign"), program).unwrap();
        std::fs::set_permissions(context.join("foreign"), Permissions::from_mode(0o755)).unwrap();

        let dockerfile = "FROM scratch\nCOPY foreign /bin/sh\nRUN true\n";
        let (exit, text) = bench.build(&bench.build_spec("step", &context, dockerfile)).await;
        let ExitCause::Failed { reason } = exit.cause else { panic!("{:?}: {exit:?}", bench.host) };
        assert!(reason.contains("another kind of processor"), "{:?}: {reason} {text}", bench.host);

        let dockerfile = "FROM scratch\nCOPY foreign /bin/sh\nCOPY foreign /foreign\nCMD [\"/foreign\"]\n";
        let (exit, text) = bench.build(&bench.build_spec("foreign", &context, dockerfile)).await;
        assert_eq!(exit.code, Some(0), "{text}");
        let (exit, text) = bench.run(&RunSpec { build_id: "foreign".into(), ..bench.script("foreign", "") }).await;
        let ExitCause::Failed { reason } = exit.cause else { panic!("{:?}: {exit:?} {text}", bench.host) };
        assert!(reason.contains("another kind of processor"), "{:?}: {reason}", bench.host);
    }
}

#[tokio::test]
async fn an_image_without_a_shell_runs() {
    for bench in benches().await {
        let busybox = std::fs::read("/bin/busybox").or_else(|_| std::fs::read("/usr/bin/busybox")).unwrap();
        let context = bench.context(&[]);
        std::fs::write(context.join("echo"), busybox).unwrap();
        let dockerfile = "FROM scratch\nCOPY --chown=0:0 echo /echo\nCMD [\"/echo\", \"no shell here\"]\n";
        std::fs::set_permissions(context.join("echo"), Permissions::from_mode(0o755)).unwrap();
        let (exit, text) = bench.build(&bench.build_spec("bare", &context, dockerfile)).await;
        assert_eq!(exit.code, Some(0), "{text}");

        let (exit, text) = bench.run(&RunSpec { build_id: "bare".into(), ..bench.script("bare", "") }).await;

        assert_eq!((exit.code, text.as_str()), (Some(0), "no shell here\n"), "{:?}", bench.host);
    }
}

#[tokio::test]
async fn a_container_that_somebody_removed_is_gone_and_others_stay() {
    for bench in benches().await {
        let spec = bench.script("removed", "echo ready; exec sleep 4713.2");
        bench.driver.start_run(&spec).await.unwrap();
        until("it is ready", || log(&spec.log).contains("ready")).await;

        bench.docker(&["rm", "--force", &bench.container(&spec)]);

        assert!(soon(bench.driver.wait(&spec.job)).await.is_err(), "{:?}", bench.host);
        assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Unknown);
        assert_eq!(bench.driver.measure(&spec.job).await.unwrap(), None);
        bench.driver.stop(&spec.job, Stop::Kill).await.unwrap();
        bench.driver.forget(&spec.job).await.unwrap();
    }
}

#[tokio::test]
async fn two_servers_on_one_engine_do_not_see_each_other() {
    for bench in benches().await {
        let neighbour = bench.neighbour().await;
        let spec = bench.script("same", "exec sleep 4713.3");
        bench.driver.start_run(&spec).await.unwrap();

        assert_eq!(neighbour.driver.list().await.unwrap(), Vec::new(), "{:?}", bench.host);
        assert_eq!(neighbour.driver.observe(&spec.job).await.unwrap(), Observed::Unknown);
        neighbour.driver.stop(&spec.job, Stop::Kill).await.unwrap();
        neighbour.driver.forget(&spec.job).await.unwrap();
        neighbour.driver.remove_image("build1").await.unwrap();

        assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Running);
        assert_eq!(bench.driver.images().await.unwrap(), ["build1"]);
        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();
    }
}

#[tokio::test]
async fn a_paused_container_can_be_ended() {
    for bench in benches().await {
        let spec = bench.script("paused", "echo ready; exec sleep 4713.4");
        bench.driver.start_run(&spec).await.unwrap();
        bench.docker(&["pause", &bench.container(&spec)]);

        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();

        assert_eq!(soon(bench.driver.wait(&spec.job)).await.unwrap().cause, ExitCause::Stopped, "{:?}", bench.host);
    }
}

/// Stands between a driver and its engine, until it is dropped; connections under way break then.
struct Between {
    task: tokio::task::JoinHandle<()>,
}

impl Between {
    fn new(socket: &Path, host: &Host) -> Self {
        std::fs::remove_file(socket).ok();
        let Host::Engine { address, .. } = host else { panic!("no engine") };
        let (listener, engine) =
            (UnixListener::bind(socket).unwrap(), address.trim_start_matches("unix://").to_owned());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut engine = UnixStream::connect(&engine).await.unwrap();
                connections.spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut engine).await.ok() });
            }
        });
        Self { task }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_for_a_while_costs_no_output() {
    for bench in benches().await {
        let socket = bench.dir.path().join("between.sock");
        let between = Between::new(&socket, &bench.host);
        let driver = bench.through(&socket);
        let script = "trap 'exit 4' TERM; i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); sleep 0.005; done; while :; do sleep 0.01; done";
        let spec = bench.script("cut-off", script);
        driver.start_run(&spec).await.unwrap();
        until("it talks", || log(&spec.log).contains("line 20\n")).await;

        drop(between);
        let refused = driver.stop(&spec.job, Stop::Signal).await;
        assert!(refused.unwrap_err().to_string().contains("does not answer"), "{:?}", bench.host);
        // Its own file of the log is still there.
        until("it is read on", || log(&spec.log).contains("line 399\n")).await;
        let _between = Between::new(&socket, &bench.host);
        driver.stop(&spec.job, Stop::Signal).await.unwrap();
        let exit = soon(driver.wait(&spec.job)).await.unwrap();

        assert_eq!((exit.code, exit.cause), (Some(4), ExitCause::Stopped));
        let expected: String = (0..400).map(|i| format!("line {i}\n")).collect();
        assert_eq!(log(&spec.log), expected, "{:?}", bench.host);
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_during_a_build_fails_it_by_name() {
    for bench in benches().await {
        let socket = bench.dir.path().join("between.sock");
        let between = Between::new(&socket, &bench.host);
        let driver = bench.through(&socket);
        let mark = bench.engine().len();
        let dockerfile = format!("FROM {BASE}\nRUN echo begun && sleep 4713.5{mark}\n");
        let spec = bench.build_spec("cut-off", &bench.context(&[]), &dockerfile);
        driver.start_build(&spec).await.unwrap();
        until("the step runs", || log(&spec.log).contains("begun\n")).await;

        drop(between);

        let exit = soon(driver.wait(&spec.job)).await.unwrap();
        let ExitCause::Failed { reason } = exit.cause else { panic!("{exit:?}") };
        assert!(reason.contains("the engine went away"), "{reason}");
    }
}

#[tokio::test]
async fn an_engine_that_never_answers_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("deaf.sock");
    let _deaf = UnixListener::bind(&socket).unwrap();
    let address = format!("unix://{}", socket.display());
    let driver = DockerDriver::open(config(&address, &dir.path().join("data"), "deaf"));

    let silent = soon(driver.list()).await.unwrap_err().to_string();

    assert!(silent.contains(&*socket.to_string_lossy()) && silent.contains("no answer within"), "{silent}");
}

#[tokio::test]
async fn a_bridge_gives_each_run_a_network_of_its_own_and_the_server_is_tried_from_it() {
    for bench in benches().await {
        let driver = bench.on_bridge("127.0.0.1:4");
        let reach = driver.reach().await.unwrap();
        assert!(reach.has_own_network && reach.listen.is_some(), "{reach:?}");

        // Nobody listens there.
        let refused = driver.start_run(&bench.script("refused", "true")).await.unwrap_err().to_string();
        assert!(refused.contains("the server cannot be reached at") && refused.contains("docker-network"), "{refused}");

        let server = answering(&reach.listen.unwrap().ip().to_string());
        let driver = bench.on_bridge(&format!("127.0.0.1:{}", server));
        let script = "exec node -e 'require(\"http\").createServer((_, answer) => answer.end(\"hello\")).listen(4321)'";
        for id in ["one", "two"] {
            driver.start_run(&bench.script(id, script)).await.unwrap();
        }
        for id in ["one", "two"] {
            let job = bench.script(id, "").job;
            let address = driver.address_of(&job, 4321).await.unwrap();
            until("it serves", || std::net::TcpStream::connect(address).is_ok()).await;
            soon(driver.stop(&job, Stop::Kill)).await.unwrap();
        }
    }
}

/// A server that answers anything, on an address that may not be there yet; its port.
fn answering(ip: &str) -> u16 {
    use std::io::Write as _;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    rustix::net::sockopt::set_ip_freebind(&socket, true).unwrap();
    socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap().into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            connection.unwrap().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok();
        }
    });
    port
}
