//! Engines as they look from elsewhere: over TCP, with nothing of theirs on this machine's disk. Their logs come over the
//! connection then.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use playhouse_drivers::{Driver, ExitCause, RunSpec, Stop};

use crate::bench::{Bench, Host, engines};
use crate::waiting::{log, soon, until};

/// Carries connections on to an engine until the test ends.
struct Forward {
    /// To be given to a driver.
    address: String,
    clients: Arc<Mutex<Vec<TcpStream>>>,
}

impl Forward {
    fn to(host: &Host) -> Self {
        let Host::Engine { address, .. } = host else { panic!("no engine") };
        let socket = address.trim_start_matches("unix://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let clients = Arc::<Mutex<Vec<TcpStream>>>::default();
        let known = clients.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, engine) = (client.unwrap(), UnixStream::connect(&socket).unwrap());
                known.lock().unwrap().push(client.try_clone().unwrap());
                std::thread::spawn(move || both_ways(&client, &engine));
            }
        });
        Self { address, clients }
    }

    /// Breaks all connections.
    fn cut(&self) {
        for client in self.clients.lock().unwrap().drain(..) {
            client.shutdown(Shutdown::Both).ok();
        }
    }
}

fn both_ways(mut client: &TcpStream, mut engine: &UnixStream) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::io::copy(&mut &*client, &mut &*engine).ok();
            engine.shutdown(Shutdown::Write).ok();
        });
        std::io::copy(&mut engine, &mut client).ok();
        client.shutdown(Shutdown::Both).ok();
        engine.shutdown(Shutdown::Both).ok();
    });
}

async fn benches() -> Vec<(Bench, Forward)> {
    let mut benches = Vec::new();
    for host in engines() {
        let forward = Forward::to(&host);
        benches.push((Bench::on(host).await, forward));
    }
    benches
}

async fn run(driver: &dyn Driver, spec: &RunSpec) -> String {
    driver.start_run(spec).await.unwrap();
    let exit = soon(driver.wait(&spec.job)).await.unwrap();
    assert_eq!((exit.code, exit.cause), (Some(0), ExitCause::Exited));
    log(&spec.log)
}

#[tokio::test]
async fn output_from_elsewhere_is_kept_whole() {
    for (bench, forward) in benches().await {
        let driver = bench.at(&forward.address);
        let script =
            "i=0; while [ $i -lt 200 ]; do echo out $i; i=$((i+1)); done; printf 'a\\n\\nc'; printf d; printf '\\377'";
        let log = run(&*driver, &bench.script("whole", script)).await;
        let expected: String = (0..200).map(|i| format!("out {i}\n")).collect();
        assert_eq!(log, expected + "a\n\ncd\u{fffd}\n", "{:?}", bench.host);

        let script = "head -c 300000 /dev/zero | tr '\\0' y; echo; echo next";
        let log = run(&*driver, &bench.script("long", script)).await;
        assert!(log == format!("{}\nnext\n", "y".repeat(300_000)), "{:?}: {} bytes", bench.host, log.len());

        let line = "x".repeat(99);
        let log = run(&*driver, &bench.script("flood", &format!("yes {line} | head -n 30000; echo done"))).await;
        assert!(log == format!("{line}\n").repeat(30_000) + "done\n", "{:?}: {} bytes", bench.host, log.len());
    }
}

#[tokio::test]
async fn connections_that_break_cost_no_output() {
    for (bench, forward) in benches().await {
        let driver = bench.at(&forward.address);
        let script = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); sleep 0.005; done; exec sleep 4713.6";
        let spec = bench.script("cut-off", script);
        driver.start_run(&spec).await.unwrap();

        for line in [20, 100, 200] {
            until("it talks", || log(&spec.log).contains(&format!("line {line}\n"))).await;
            forward.cut();
        }
        until("it is read on", || log(&spec.log).contains("line 399\n")).await;
        soon(driver.stop(&spec.job, Stop::Kill)).await.unwrap();
        soon(driver.wait(&spec.job)).await.unwrap();

        let expected: String = (0..400).map(|i| format!("line {i}\n")).collect();
        assert_eq!(log(&spec.log), expected, "{:?}", bench.host);
    }
}

#[tokio::test]
async fn a_log_is_whole_whichever_way_each_server_reads_it() {
    for (bench, forward) in benches().await {
        let Host::Engine { address: near, .. } = bench.host.clone() else { panic!("no engine") };
        let script = "i=0; while [ $i -lt 600 ]; do echo line $i; i=$((i+1)); sleep 0.005; done";
        let spec = Arc::new(bench.script("servers", script));

        for (line, address) in [(50, &near), (150, &forward.address), (250, &near), (350, &forward.address)] {
            let (driver, spec) = (bench.at(address), spec.clone());
            // It dies in the middle of whatever it does.
            let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let read_so_far = async move {
                driver.start_run(&spec).await.unwrap();
                until("it is read so far", || log(&spec.log).contains(&format!("line {line}\n"))).await;
            };
            server.spawn(read_so_far).await.unwrap();
            tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
        }
        let last = bench.at(&near);
        let exit = soon(last.wait(&spec.job)).await.unwrap();

        assert_eq!((exit.code, exit.cause), (Some(0), ExitCause::Exited));
        let expected: String = (0..600).map(|i| format!("line {i}\n")).collect();
        assert_eq!(log(&spec.log), expected, "{:?}", bench.host);
    }
}
