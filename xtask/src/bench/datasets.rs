//! Many datasets that receive items at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::load::{self, scatter};
use super::server::Server;

const CLIENTS: usize = 16;
const TIME: Duration = Duration::from_secs(10);

/// The same pushes of one item, spread over few datasets and over many.
pub fn measure() -> anyhow::Result<()> {
    let mut costs = Vec::new();
    for datasets in [100, 10_000] {
        let server = Server::start()?;
        let paths: Vec<String> = (0..datasets)
            .map(|_| Ok(server.address(&format!("datasets/{}/items", load::new_storage(&server, "datasets")?))))
            .collect::<anyhow::Result<_>>()?;
        load::settle(&server)?;
        let cpu = server.cpu_seconds()?;
        let started = Instant::now();
        let pushed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..CLIENTS).map(|_| scope.spawn(|| push(&server, &paths, &pushed, started))).collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked"))))
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let pushed = pushed.into_inner() as f64;
        let cost = (server.cpu_seconds()? - cpu) / pushed * 1e6;
        println!("pushes of one item to {datasets} datasets: {:.0} a second, CPU {cost:.1} µs each", pushed / seconds);
        costs.push((cost, seconds / pushed));
    }
    if let [(few, few_time), (many, many_time)] = costs[..] {
        println!("10,000 datasets against 100: CPU x {:.2}, time x {:.2}", many / few, many_time / few_time);
    }
    Ok(())
}

fn push(server: &Server, paths: &[String], pushed: &AtomicUsize, started: Instant) -> anyhow::Result<()> {
    let agent = ureq::Agent::new_with_defaults();
    while started.elapsed() < TIME {
        let number = pushed.fetch_add(1, Ordering::Relaxed);
        let path = &paths[scatter(number as u64 + 1) as usize % paths.len()];
        let request = agent.post(path).header("authorization", server.bearer()).content_type("application/json");
        request.send(load::item(number))?;
    }
    Ok(())
}
