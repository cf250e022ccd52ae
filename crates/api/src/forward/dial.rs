//! Connections to the world on behalf of Actors, save to addresses that no Actor may reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

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
        if let Some(forbidden) = addresses.iter().map(SocketAddr::ip).find(|address| is_forbidden(*address)) {
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

/// Whether the address is link-local, or one under which a cloud's metadata service is known.
fn is_forbidden(address: IpAddr) -> bool {
    const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            let embedded = v6.to_ipv4_mapped().or_else(|| translated(v6));
            v6.is_unicast_link_local() || v6 == METADATA_V6 || embedded.is_some_and(|v4| is_forbidden(IpAddr::V4(v4)))
        }
    }
}

/// The IPv4 address in one that a translator (`64:ff9b::/96`) or a 6to4 gateway (`2002::/16`) turns back, or in the
/// obsolete `::a.b.c.d`.
fn translated(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = v6.octets();
    let at = match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0, ..] => 12,
        [0x2002, ..] => 2,
        _ => return None,
    };
    Some(Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_forbidden_in_every_spelling() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "192.0.0.192",
        ] {
            assert!(is_forbidden(text.parse().unwrap()), "{text}");
        }
        for text in ["127.0.0.1", "::1", "10.0.0.1", "93.184.216.34", "2606:2800::1", "::ffff:8.8.8.8", "fd00::1"] {
            assert!(!is_forbidden(text.parse().unwrap()), "{text}");
        }
    }

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
