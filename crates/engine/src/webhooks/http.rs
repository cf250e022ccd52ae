//! Carries deliveries over HTTP.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use async_trait::async_trait;
use model::address::{is_metadata, is_private};
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use tokio::sync::Semaphore;

use super::{Courier, Parcel, Receipt};

/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// How long a host may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a connection is kept for the next delivery: shorter than most servers keep theirs.
const IDLE: Duration = Duration::from_secs(4);
/// Of the body of an answer, the bytes that are read at most, and those that are kept.
const READ: usize = 64 << 10;
const KEPT: usize = 4 << 10;
/// Names that are looked up at once. The system's resolver takes a thread for each, of which others need some, too.
const LOOKUPS: usize = 64;

/// Carries deliveries over HTTP, to wherever its settings let it.
#[derive(Debug)]
pub struct HttpCourier {
    /// This server's own addresses, as scheme, host and port.
    own: Vec<String>,
    allow_private: bool,
    clients: Mutex<[Option<Client>; 4]>,
    lookups: Arc<Semaphore>,
}

impl HttpCourier {
    /// A courier that adds its token to requests to `own` addresses, and that, unless it is allowed to, goes to no private
    /// address but those. Link-local addresses and those of metadata services are never asked (`WH-20`).
    pub fn new(own: &[&str], allow_private: bool) -> Self {
        let mut origins: Vec<String> = own.iter().filter_map(|url| model::target_of(url)).collect();
        let by_name: Vec<String> = origins.iter().map(|origin| origin.replace("//127.0.0.1", "//localhost")).collect();
        origins.extend(by_name);
        Self { own: origins, allow_private, clients: Mutex::default(), lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    fn is_own(&self, url: &Url) -> bool {
        self.own.contains(&url.origin().ascii_serialization())
    }

    /// The client for a certificate check and a reach; each is made when it is first needed.
    fn client(&self, ignore_ssl_errors: bool, public_only: bool) -> Result<Client, String> {
        static PROVIDER: Once = Once::new();
        // Fails only if somebody has chosen another already, which is as good.
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let mut clients = self.clients.lock();
        let place = &mut clients[usize::from(ignore_ssl_errors) * 2 + usize::from(public_only)];
        if let Some(client) = place {
            return Ok(client.clone());
        }
        let builder = || {
            Client::builder()
                .user_agent(concat!("Playhouse/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT)
                .pool_idle_timeout(IDLE)
                .redirect(Policy::none())
                // A proxy would connect to addresses that nobody has checked.
                .no_proxy()
                .tls_danger_accept_invalid_certs(ignore_ssl_errors)
                .dns_resolver(Guarded { public_only, lookups: self.lookups.clone() })
        };
        // A system without certificates can still be sent to where none is needed.
        let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
        let client = client.map_err(|error| format!("The request could not be made: {error}"))?;
        Ok(place.insert(client).clone())
    }

    async fn send(&self, parcel: &Parcel, target: &Url, url: &Url) -> Result<Response, String> {
        let is_own = self.is_own(url);
        let public_only = !self.allow_private && !is_own;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("Addresses of the kind {} are not asked.", url.scheme()));
        }
        if let Some(address) = literal(url) {
            check(address, public_only)?;
        }
        let client = self.client(parcel.ignore_ssl_errors, public_only)?;
        let mut headers = HeaderMap::new();
        if is_meant(target, url) {
            for (name, value) in &parcel.headers {
                add(&mut headers, name, value)?;
            }
        }
        for (name, value) in &parcel.marks {
            add(&mut headers, name, value)?;
        }
        let has_token = headers.contains_key(AUTHORIZATION) || url.query_pairs().any(|(name, _)| name == "token");
        if let Some(token) = &parcel.token
            && is_own
            && url.path().starts_with("/v2/")
            && !has_token
        {
            add(&mut headers, AUTHORIZATION.as_str(), &format!("Bearer {token}"))?;
        }
        let request = client.post(url.clone()).headers(headers).body(parcel.body.clone());
        request.send().await.map_err(|error| format!("The request could not be sent: {}", innermost(&error)))
    }
}

#[async_trait]
impl Courier for HttpCourier {
    async fn carry(&self, parcel: Parcel) -> Receipt {
        let Ok(target) = Url::parse(&parcel.url) else { return Receipt::failed("The target is no URL.") };
        let mut url = target.clone();
        for _ in 0..=REDIRECTS {
            let response = match self.send(&parcel, &target, &url).await {
                Ok(response) => response,
                Err(error) => return Receipt::failed(error),
            };
            match redirect(&response) {
                // The same request goes there: what came in place of it would not be the event.
                Some(location) => match url.join(&location) {
                    Ok(next) => url = next,
                    Err(_) => return Receipt::failed("The target redirects to something that is no URL."),
                },
                None => return receive(response).await,
            }
        }
        Receipt::failed(format!("The target redirects more than {REDIRECTS} times."))
    }
}

/// Where an answer leads, if it is a redirect that keeps the request as it is, or may.
fn redirect(response: &Response) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 307 | 308) {
        return None;
    }
    response.headers().get(LOCATION)?.to_str().ok().map(str::to_owned)
}

/// Whether what was meant for `target` is meant for `url`, too: the same host, and not by a less safe way.
fn is_meant(target: &Url, url: &Url) -> bool {
    target.host() == url.host()
        && (target.origin() == url.origin() || (target.scheme() == "http" && url.scheme() == "https"))
}

/// Reads an answer as far as it matters.
async fn receive(mut response: Response) -> Receipt {
    let mut receipt = Receipt { status: Some(response.status().as_u16()), body: None, error: None };
    let (mut kept, mut read) = (Vec::new(), 0);
    while read < READ {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                read += chunk.len();
                kept.extend_from_slice(&chunk[..chunk.len().min(KEPT - kept.len())]);
            }
            Ok(None) => break,
            Err(error) => {
                receipt.error = Some(format!("The answer broke off: {}", innermost(&error)));
                break;
            }
        }
    }
    receipt.body = Some(String::from_utf8_lossy(&kept).into_owned());
    receipt
}

fn add(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let parsed = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
    let (name, value) = parsed.ok_or_else(|| format!("\"{name}\" cannot be sent as a header."))?;
    headers.insert(name, value);
    Ok(())
}

/// The address in a URL that has no name; it is never looked up.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn check(address: IpAddr, public_only: bool) -> Result<(), String> {
    if is_metadata(address) {
        return Err(format!("{address} is a link-local or metadata address, which no webhook may ask."));
    }
    if public_only && is_private(address) {
        return Err(format!("{address} is a private address, which the settings of this server keep webhooks from."));
    }
    Ok(())
}

/// Looks names up as the system does, and refuses those that lead to a forbidden address. What it returns is what is
/// connected to.
struct Guarded {
    public_only: bool,
    lookups: Arc<Semaphore>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (public_only, lookups) = (self.public_only, self.lookups.clone());
        Box::pin(async move {
            let _turn = lookups.acquire_owned().await?;
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                check(address.ip(), public_only).map_err(io::Error::other)?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// What an error is about, without the URL, which may have secrets in it.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = match error.source() {
        Some(source) => source,
        None => return "it is not valid".to_owned(),
    };
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
