//! Large transfers: how fast, and with how much memory.

use std::io::Read;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::json;

use super::server::Server;

const ITEMS: usize = 1_000_000;
const BATCH: usize = 5_000;
const RECORD_BYTES: u64 = 2 << 30;

/// A million items of 1 KB in batches, and all of them out again.
pub fn measure_items() -> anyhow::Result<()> {
    let server = Server::start()?;
    let dataset = id_of(&server, "datasets")?;
    let path = format!("datasets/{dataset}/items");
    let before = server.resident_mb()?;
    let started = Instant::now();
    for batch in 0..ITEMS / BATCH {
        let request = server.agent.post(server.address(&path)).header("authorization", server.bearer());
        request.content_type("application/json").send(&items(batch * BATCH)[..])?;
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "push of {ITEMS} items of 1 KB: {took:.1} s, memory {before:.0} MB before, {:.0} MB at its highest",
        server.peak_mb()?
    );

    for format in ["json", "jsonl"] {
        let started = Instant::now();
        let request = server.agent.get(server.address(&format!("{path}?format={format}")));
        let mut response = request.header("authorization", server.bearer()).call()?;
        let bytes = drain(&mut response.body_mut().with_config().limit(u64::MAX).reader())?;
        let took = started.elapsed().as_secs_f64();
        let speed = bytes as f64 / 1e6 / took;
        println!(
            "download as {format}: {:.0} MB in {took:.1} s, {speed:.0} MB/s, {:.0} MB at its highest",
            bytes as f64 / 1e6,
            server.peak_mb()?
        );
    }
    Ok(())
}

/// A record of 2 GB in and out.
pub fn measure_record() -> anyhow::Result<()> {
    let server = Server::start()?;
    let store = id_of(&server, "key-value-stores")?;
    let path = format!("key-value-stores/{store}/records/film");
    let before = server.resident_mb()?;
    let started = Instant::now();
    let mut body = std::io::repeat(b'x').take(RECORD_BYTES);
    let request = server.agent.put(server.address(&path)).header("authorization", server.bearer());
    request.content_type("video/mp4").send(ureq::SendBody::from_reader(&mut body))?;
    let took = started.elapsed().as_secs_f64();
    let speed = RECORD_BYTES as f64 / 1e6 / took;
    println!(
        "upload of 2 GB: {took:.1} s, {speed:.0} MB/s, memory {before:.0} MB before, {:.0} MB at its highest",
        server.peak_mb()?
    );

    let started = Instant::now();
    let mut response = server.agent.get(server.address(&path)).header("authorization", server.bearer()).call()?;
    let bytes = drain(&mut response.body_mut().with_config().limit(u64::MAX).reader())?;
    anyhow::ensure!(bytes == RECORD_BYTES, "{bytes} bytes came back");
    let took = started.elapsed().as_secs_f64();
    let speed = bytes as f64 / 1e6 / took;
    println!("download of 2 GB: {took:.1} s, {speed:.0} MB/s, {:.0} MB at its highest", server.peak_mb()?);
    Ok(())
}

fn id_of(server: &Server, plural: &str) -> anyhow::Result<String> {
    let made = server.post(plural, &json!({}))?;
    Ok(made["data"]["id"].as_str().context("no id")?.to_owned())
}

/// `BATCH` items of about 1 KB, each different.
fn items(from: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(BATCH * 1100);
    for number in from..from + BATCH {
        body.push(if number == from { b'[' } else { b',' });
        let words: Vec<String> =
            (0..90).map(|word| format!("{:x}", number.wrapping_mul(2_654_435_761).wrapping_add(word * 7919))).collect();
        let text: String = words.join(" ").chars().take(950).collect();
        body.extend_from_slice(
            format!(r#"{{"uid":{number},"url":"https://shop.example.com/{number}","text":"{text}"}}"#).as_bytes(),
        );
    }
    body.push(b']');
    body
}

/// Reads to the end and tells how many bytes there were.
pub fn drain(reader: &mut impl Read) -> anyhow::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(total),
            read => total += read as u64,
        }
    }
}
