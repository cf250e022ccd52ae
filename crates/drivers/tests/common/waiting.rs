//! Waiting for facts, and reading logs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Whatever takes as long will take forever.
const PATIENCE: Duration = Duration::from_secs(120);

/// A log without stamps; each line must have exactly one.
pub fn log(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = String::new();
    for line in text.lines() {
        let (stamp, rest) = line.split_at(25);
        assert!(model::Timestamp::parse(stamp.trim()).is_some() && stamp.ends_with("Z "), "no stamp: {line}");
        lines.push_str(rest);
        lines.push('\n');
    }
    lines
}

/// Waits for what is about to happen.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("still not there after two minutes")
}

/// Waits for a fact.
pub async fn until(what: &str, fact: impl Fn() -> bool) {
    let begin = Instant::now();
    while !fact() {
        assert!(begin.elapsed() < PATIENCE, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
