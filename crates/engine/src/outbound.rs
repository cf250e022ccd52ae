//! Requests to the world on the server's own account, save to addresses that nobody may be made to ask.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Once;
use std::time::Duration;

use model::address::is_metadata;
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
    match literal.filter(|address| is_metadata(*address)) {
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
            match found.iter().map(SocketAddr::ip).find(|address| is_metadata(*address)) {
                Some(address) => Err(io::Error::other(forbidden(address)).into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

fn forbidden(address: IpAddr) -> String {
    format!("connections to {address} are not allowed, since it is a link-local or metadata address")
}

#[cfg(test)]
mod tests {
    use super::*;

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
