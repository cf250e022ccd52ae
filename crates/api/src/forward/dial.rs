//! Connections to the world on behalf of Actors, save to addresses that no Actor may reach.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use model::address::is_metadata;
use tokio::net::TcpStream;

/// How long the whole search for an address that answers may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long one address may take while others are left to try.
const PER_ADDRESS: Duration = Duration::from_secs(8);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Where machines keep the credentials of their cloud; what runs here may be anybody's code.
    #[error("connections to {0} are not allowed, since it is a link-local or metadata address")]
    Forbidden(IpAddr),
    /// The name means nothing.
    #[error("the host \"{host}\" was not found: {error}")]
    NotFound { host: String, error: io::Error },
    /// Nobody answered in time.
    #[error("the host \"{0}\" did not answer within {secs} seconds", secs = TIMEOUT.as_secs())]
    TimedOut(String),
    /// The connection was refused.
    #[error("cannot connect to \"{host}\": {error}")]
    Refused { host: String, error: io::Error },
}

/// Connects to the first address of `host` that answers. What is checked is the address that is connected to, so no name
/// can be looked up twice with different answers.
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let search = async {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, port)).await;
        let addresses: Vec<SocketAddr> =
            found.map_err(|error| DialError::NotFound { host: host.to_owned(), error })?.collect();
        if let Some(forbidden) = addresses.iter().map(SocketAddr::ip).find(|address| is_metadata(*address)) {
            return Err(DialError::Forbidden(forbidden));
        }
        let mut failure = io::Error::other("it has no address");
        for address in addresses {
            match tokio::time::timeout(PER_ADDRESS, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Only delays small packets if it fails.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = error,
                Err(elapsed) => failure = elapsed.into(),
            }
        }
        match failure.kind() {
            io::ErrorKind::TimedOut => Err(DialError::TimedOut(host.to_owned())),
            _ => Err(DialError::Refused { host: host.to_owned(), error: failure }),
        }
    };
    tokio::time::timeout(TIMEOUT, search).await.unwrap_or_else(|_| Err(DialError::TimedOut(host.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_literals_of_forbidden_addresses_are_refused_before_connecting() {
        for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "0xa9fea9fe", "2852039166"] {
            match dial(host, 80).await {
                Err(DialError::Forbidden(_) | DialError::NotFound { .. }) => {}
                other => panic!("{host}: {other:?}"),
            }
        }
    }
}
