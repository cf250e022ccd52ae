//! Requests to the world on the server's own account, save to addresses that nobody may be made to ask.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Once;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

/// How long a host may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// How long nothing may come on a connection.
const SILENCE: Duration = Duration::from_secs(60);
/// Most redirects that are followed.
const REDIRECTS: usize = 5;

/// A client that follows few redirects, gives up on who keeps silent, and never connects to a forbidden address.
pub(crate) fn client() -> reqwest::Result<Client> {
    static PROVIDER: Once = Once::new();
    // Fails only if somebody has chosen another already, which is as good.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let redirects = Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error(format!("it leads from redirect to redirect, more than {REDIRECTS} times"));
        }
        match check(attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(why) => attempt.error(why),
        }
    });
    Client::builder()
        .user_agent(concat!("Playhouse/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .redirect(redirects)
        .dns_resolver(Guarded)
        .build()
}

/// Whether an address can be asked at all: a host that is written as a number is never looked up.
pub(crate) fn check(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("addresses of the kind {} are not fetched", url.scheme()));
    }
    let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    match literal.filter(|address| is_forbidden(*address)) {
        Some(address) => Err(forbidden(address)),
        None => Ok(()),
    }
}

/// Looks names up as the system does, and refuses those that lead to a forbidden address.
struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match found.iter().map(SocketAddr::ip).find(|address| is_forbidden(*address)) {
                Some(address) => Err(io::Error::other(forbidden(address)).into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

fn forbidden(address: IpAddr) -> String {
    format!("connections to {address} are not allowed, since it is a link-local or metadata address")
}

/// Whether the address is link-local, or one under which a cloud keeps the credentials of its machines.
pub fn is_forbidden(address: IpAddr) -> bool {
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

    #[test]
    fn only_web_addresses_of_other_machines_are_asked() {
        for (url, fine) in [
            ("http://127.0.0.1:1/a", true),
            ("https://example.com/a", true),
            ("http://169.254.169.254/latest", false),
            ("http://0xa9fea9fe/latest", false),
            ("http://[fe80::1]/", false),
            ("file:///etc/passwd", false),
            ("ftp://example.com/a", false),
        ] {
            assert_eq!(check(&Url::parse(url).unwrap()).is_ok(), fine, "{url}");
        }
    }
}
