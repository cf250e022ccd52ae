//! What sealed items cost and give: room on the disk, pages at any offset, a quick end.

use std::time::{Duration, Instant};

use super::bulk::drain;
use super::load::{self, scatter};
use super::p50_p90;
use super::server::Server;

const PAGE: usize = 1_000;
const PAGES: usize = 300;
const MAX_REAPING: Duration = Duration::from_secs(300);

/// Bytes on the disk for each item, while items come in and when they are sealed.
pub fn measure_disk() -> anyhow::Result<()> {
    let server = Server::start()?;
    let filled = load::fill(&server, load::items()?)?;
    let per_item = |bytes: u64| bytes as f64 / filled.items as f64;
    let disk = server.disk();
    println!(
        "{} items of 1 KB pushed in {:.1} s, sealed {:.1} s later",
        filled.items,
        filled.pushed.as_secs_f64(),
        filled.settled.as_secs_f64()
    );
    println!(
        "bytes on disk per item: {:.0}, of them {:.0} in objects, {:.0} in the database, {:.0} in its log",
        per_item(disk.total()),
        per_item(disk.objects),
        per_item(disk.database),
        per_item(disk.log)
    );
    println!("bytes written to the disk per item: {:.0}", per_item(server.written_bytes()?));
    Ok(())
}

/// Pages at random offsets.
pub fn measure_pages() -> anyhow::Result<()> {
    let server = Server::start()?;
    let filled = load::fill(&server, load::items()?)?;
    let mut samples = Vec::with_capacity(PAGES);
    let last = filled.items.saturating_sub(PAGE).max(1) as u64;
    for page in 0..PAGES {
        let offset = scatter(page as u64 + 1) % last;
        let started = Instant::now();
        let address = server.address(&format!("{}/items?offset={offset}&limit={PAGE}", filled.path));
        let mut response = server.agent.get(address).header("authorization", server.bearer()).call()?;
        drain(&mut response.body_mut().with_config().limit(u64::MAX).reader())?;
        samples.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    let (p50, p90) = p50_p90(&mut samples);
    println!("page of {PAGE} at any offset of {} items: p50 {p50:.1} ms, p90 {p90:.1} ms", filled.items);
    Ok(())
}

/// The deletion of a dataset, until its room is there again.
pub fn measure_delete() -> anyhow::Result<()> {
    let server = Server::start()?;
    let filled = load::fill(&server, load::items()?)?;
    let before = server.disk().objects;
    let started = Instant::now();
    let request = server.agent.delete(server.address(&filled.path)).header("authorization", server.bearer());
    request.call()?;
    let answered = started.elapsed();
    while server.disk().objects > before / 100 {
        anyhow::ensure!(started.elapsed() < MAX_REAPING, "the objects are still there");
        std::thread::sleep(Duration::from_millis(200));
    }
    println!(
        "deletion of {} sealed items: answered in {:.1} ms, {:.0} MB free again after {:.1} s",
        filled.items,
        answered.as_secs_f64() * 1000.0,
        before as f64 / 1e6,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
