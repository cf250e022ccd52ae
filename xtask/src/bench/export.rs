//! Whole datasets in every format: speed, CPU and memory, beside copies of as many bytes.

use std::io::Read as _;
use std::time::Instant;

use super::bulk::drain;
use super::load::{self, ITEM_BYTES};
use super::null;
use super::server::{Server, cpu_seconds};

const FORMATS: [&str; 9] = ["json", "jsonl", "csv", "xml", "html", "rss", "xlsx", "parquet", "arrow"];

/// What one download took.
struct Took {
    bytes: u64,
    seconds: f64,
    cpu: f64,
    /// Of memory; not of another server.
    growth_mb: Option<f64>,
}

pub fn measure() -> anyhow::Result<()> {
    let server = Server::start()?;
    let filled = load::fill(&server, load::items()?)?;
    let input = (filled.items * ITEM_BYTES) as f64;
    println!("export of {} items of 1 KB; speed and CPU count the items' bytes, not those of the format", filled.items);
    println!("{:<22} {:>8} {:>8} {:>10} {:>10}", "", "MB/s", "MB out", "CPU s/GB", "growth MB");
    let show = |name: &str, took: &Took, input: f64| {
        let (speed, out) = (input / 1e6 / took.seconds, took.bytes as f64 / 1e6);
        let growth = took.growth_mb.map_or("-".to_owned(), |growth| format!("{growth:.0}"));
        println!("{name:<22} {speed:>8.0} {out:>8.0} {:>10.3} {growth:>10}", took.cpu / (input / 1e9));
    };

    let store = load::new_storage(&server, "key-value-stores")?;
    let record = format!("key-value-stores/{store}/records/copy");
    let request = server.agent.put(server.address(&record)).header("authorization", server.bearer());
    let mut body = std::io::repeat(b'x').take(input as u64);
    request.content_type("video/mp4").send(ureq::SendBody::from_reader(&mut body))?;
    let copy = download(&server, &record, "identity")?;
    show("a record of that size", &copy, input);

    let copied = null::with(|id, address| copied(&server.agent, id, &format!("{address}/copy/{input}")))?;
    show("such items from memory", &copied, input);

    let items = format!("{}/items", filled.path);
    let mut lines = None;
    for format in FORMATS {
        let took = download(&server, &format!("{items}?format={format}"), "identity");
        match took {
            Ok(took) => {
                show(format, &took, input);
                if format == "jsonl" {
                    lines = Some(took);
                }
            }
            Err(error) => println!("{format:<22} {error}"),
        }
    }
    let packed = download(&server, &format!("{items}?format=jsonl"), "zstd")?;
    show("jsonl, accepting zstd", &packed, input);
    if let Some(lines) = lines {
        println!("CPU of jsonl as it lies packed: {:.3} of that unpacked", packed.cpu / lines.cpu);
    }
    Ok(())
}

/// Reads an address of another server, once to warm it up and once to measure.
fn copied(agent: &ureq::Agent, id: u32, address: &str) -> anyhow::Result<Took> {
    let read = || anyhow::Ok(drain(&mut agent.get(address).call()?.body_mut().with_config().limit(u64::MAX).reader())?);
    read()?;
    let (cpu, started) = (cpu_seconds(id)?, Instant::now());
    let bytes = read()?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Took { bytes, seconds, cpu: cpu_seconds(id)? - cpu, growth_mb: None })
}

fn download(server: &Server, path: &str, encoding: &str) -> anyhow::Result<Took> {
    load::settle(server)?;
    let (before, cpu) = (server.resident_mb()?, server.cpu_seconds()?);
    server.forget_peak()?;
    let started = Instant::now();
    let request = server.agent.get(server.address(path)).header("authorization", server.bearer());
    let mut response = request.header("accept-encoding", encoding).call()?;
    let bytes = drain(&mut response.body_mut().with_config().limit(u64::MAX).reader())?;
    Ok(Took {
        bytes,
        seconds: started.elapsed().as_secs_f64(),
        cpu: server.cpu_seconds()? - cpu,
        growth_mb: Some(server.peak_mb()? - before),
    })
}
