//! How fast the server is there, and what it takes when nobody asks anything.

use std::time::Duration;

use super::p50_p90;
use super::server::Server;

const STARTS: usize = 20;
const IDLE: Duration = Duration::from_secs(5);

pub fn measure() -> anyhow::Result<()> {
    let mut samples = Vec::new();
    for _ in 0..STARTS {
        samples.push(Server::start()?.took.as_secs_f64() * 1000.0);
    }
    let (p50, p90) = p50_p90(&mut samples);
    println!("start on an empty directory to the first answer: p50 {p50:.0} ms, p90 {p90:.0} ms ({STARTS} starts)");
    let server = Server::start()?;
    std::thread::sleep(IDLE);
    println!("resident memory after {} s idle: {:.1} MB", IDLE.as_secs(), server.resident_mb()?);
    Ok(())
}
