//! Asking a run's web server whether it answers (`STB-4`).

use std::net::SocketAddr;
use std::time::Duration;

use model::Run;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Engine;
use crate::runs::job_of;

/// Any answer will do, so neither the version nor the connection matters beyond its first bytes.
const PROBE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Apify-Container-Server-Readiness-Probe: 1\r\n\
    Accept: */*\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/";
/// How long one probe may take; a page that takes longer may still answer the next.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_millis(250);

impl Engine {
    /// Waits until the run's web server answers, and tells where it is.
    pub(super) async fn when_web_server_answers(&self, run: &Run) -> SocketAddr {
        let mut delay = FIRST_DELAY;
        loop {
            if let Some(port) = run.web_port
                && let Ok(address) = self.inner.driver.address_of(&job_of(run), port).await
                && tokio::time::timeout(PATIENCE, answers(address)).await.is_ok_and(|answers| answers.unwrap_or(false))
            {
                return address;
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 3 / 2).min(LONGEST_DELAY);
        }
    }
}

async fn answers(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(PROBE).await?;
    let mut start = [0; ANSWER.len()];
    stream.read_exact(&mut start).await?;
    Ok(start == ANSWER)
}
