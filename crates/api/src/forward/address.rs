//! Which web server of an Actor a request is for: by its path, or by its host name (`WEB-4`, `STB-1`).

use std::borrow::Cow;

use engine::{EngineConfig, host_parent};
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri};
use model::StandbyLabel;
use percent_encoding::percent_decode_str;

const RUN: &str = "/x-run/";
const STANDBY: &str = "/x-standby/";
const TASK_STANDBY: &str = "/x-standby-task/";
/// Length of the secret in the address of a run.
const SECRET: usize = 24;

/// A web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// That of the run with this secret.
    Run(String),
    /// Those of an Actor's Standby.
    Standby {
        /// How the Actor or task is referred to (`ID-3`).
        reference: String,
        /// Whether it is a task.
        is_task: bool,
    },
}

/// Where a request wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(super) server: Server,
    /// What was taken off the path; empty if the host name said it.
    pub(super) prefix: String,
    /// The address as the server is to see it; nothing in it is decoded.
    pub(super) path: Uri,
}

/// The host names below which web servers have theirs.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    parents: Vec<String>,
}

impl Hosts {
    pub(crate) fn of(config: &EngineConfig) -> Self {
        let mut parents = vec!["localhost".to_owned()];
        let authority = config.public_url.split_once("://").map(|(_, authority)| authority);
        parents.extend(authority.and_then(host_parent).map(|parent| without_port(&parent).to_owned()));
        parents.dedup();
        Self { parents }
    }

    /// The web server that the request is for; `None` if it is for this server itself.
    pub(crate) fn destination<B>(&self, request: &Request<B>) -> Option<Destination> {
        let by_host = host(request.headers()).and_then(|host| self.by_host(host));
        if let Some(server) = by_host {
            let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
            return Some(Destination { server, prefix: String::new(), path: Uri::from(path) });
        }
        by_path(request.uri())
    }

    fn by_host(&self, host: &str) -> Option<Server> {
        let (label, parent) = without_port(host).split_once('.')?;
        if !self.parents.iter().any(|known| known.eq_ignore_ascii_case(parent)) {
            return None;
        }
        if label.len() == SECRET && label.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Some(Server::Run(label.to_owned()));
        }
        let StandbyLabel { owner, name, is_task } = StandbyLabel::parse(&label.to_lowercase())?;
        Some(Server::Standby { reference: format!("{owner}~{name}"), is_task })
    }
}

fn by_path(uri: &Uri) -> Option<Destination> {
    let path = uri.path();
    let start = [RUN, STANDBY, TASK_STANDBY].into_iter().find(|start| path.starts_with(start))?;
    let rest = &path[start.len()..];
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let path = match uri.query() {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    };
    let server = match start {
        RUN => Server::Run(name.to_owned()),
        _ => Server::Standby { reference: decoded(name).into_owned(), is_task: start == TASK_STANDBY },
    };
    let path = Uri::from(PathAndQuery::try_from(path).ok()?);
    Some(Destination { server, prefix: format!("{start}{name}"), path })
}

fn decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

/// The host that a request names.
pub(super) fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST)?.to_str().ok()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The same page under a host name of its own, if the request that names `host` came from a browser that opens a page by
/// its path. There a page can use absolute paths, and is kept apart from the pages of this server.
pub(super) fn page_of_its_own(
    config: &EngineConfig,
    headers: &HeaderMap,
    destination: &Destination,
    label: Option<&str>,
) -> Option<String> {
    if destination.prefix.is_empty() || !opens_page(headers) {
        return None;
    }
    let parent = host_parent(host(headers)?)?;
    let (scheme, public) = config.public_url.split_once("://")?;
    // Names below `localhost` mean this machine to every browser. Others need an entry in the DNS.
    let scheme = match without_port(&parent) == "localhost" {
        true => "http",
        false if config.actor_hosts && parent.eq_ignore_ascii_case(public) => scheme,
        false => return None,
    };
    Some(format!("{scheme}://{}.{parent}{}", label?.to_lowercase(), destination.path))
}

/// Whether a browser is about to show the answer as a page.
pub(super) fn opens_page(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN_SECRET: &str = "s3crets3crets3crets3cret";

    fn asked(host: &str, path: &str) -> Request<()> {
        Request::builder().uri(path).header("host", host).body(()).unwrap()
    }

    fn config(public_url: &str, actor_hosts: bool) -> EngineConfig {
        EngineConfig { public_url: public_url.to_owned(), actor_hosts, ..EngineConfig::default() }
    }

    fn run(secret: &str) -> Server {
        Server::Run(secret.to_owned())
    }

    fn standby(reference: &str, is_task: bool) -> Server {
        Server::Standby { reference: reference.to_owned(), is_task }
    }

    #[test]
    fn the_prefix_is_taken_off_and_the_rest_stays_as_it_is() {
        let hosts = Hosts::of(&EngineConfig::default());
        for (address, server, prefix, path) in [
            ("/x-run/s3cret", run("s3cret"), "/x-run/s3cret", "/"),
            ("/x-run/s3cret/", run("s3cret"), "/x-run/s3cret", "/"),
            ("/x-run/s3cret?a=b", run("s3cret"), "/x-run/s3cret", "/?a=b"),
            ("/x-run/s/a%2Fb//c/?q=%20&q=/x", run("s"), "/x-run/s", "/a%2Fb//c/?q=%20&q=/x"),
            ("/x-run/", run(""), "/x-run/", "/"),
            ("/x-standby/jane~a/b?c", standby("jane~a", false), "/x-standby/jane~a", "/b?c"),
            ("/x-standby/jane%7Ea", standby("jane~a", false), "/x-standby/jane%7Ea", "/"),
            ("/x-standby-task/jane~a/", standby("jane~a", true), "/x-standby-task/jane~a", "/"),
        ] {
            let found = hosts.destination(&asked("localhost:3333", address)).unwrap();

            assert_eq!((found.server, &*found.prefix, &*found.path.to_string()), (server, prefix, path), "{address}");
        }
        for own in ["/", "/v2/x-run/a", "/x-runs/a", "/x-standby"] {
            assert_eq!(hosts.destination(&asked("localhost:3333", own)), None, "{own}");
        }
    }

    #[test]
    fn host_names_below_our_own_lead_to_web_servers() {
        let hosts = Hosts::of(&config("https://actors.example", false));
        for (host, server) in [
            (format!("{OWN_SECRET}.localhost:3333"), Some(run(OWN_SECRET))),
            (format!("{OWN_SECRET}.LOCALHOST"), Some(run(OWN_SECRET))),
            (format!("{OWN_SECRET}.actors.example"), Some(run(OWN_SECRET))),
            ("Jane--My-Actor.actors.example:80".into(), Some(standby("jane~my-actor", false))),
            ("jane---my-task.localhost".into(), Some(standby("jane~my-task", true))),
            ("www.actors.example".into(), None),
            ("actors.example".into(), None),
            ("localhost:3333".into(), None),
            ("jane--a.evil.example".into(), None),
            ("jane--a.x.localhost".into(), None),
            ("xn--p1ai.localhost".into(), None),
            (String::new(), None),
            ("[::1]:3333".into(), None),
        ] {
            let found = hosts.destination(&asked(&host, "/v2/x?y"));

            assert_eq!(found.as_ref().map(|found| &found.server), server.as_ref(), "{host}");
            assert!(found.is_none_or(|found| found.prefix.is_empty() && found.path == "/v2/x?y"));
        }
    }

    #[test]
    fn a_browser_that_opens_a_page_is_sent_to_a_host_of_its_own_where_there_are_such() {
        let (local, hosted) = (config("http://127.0.0.1:4000", false), config("https://actors.example", true));
        let unhosted = config("https://actors.example", false);
        for (config, host, location) in [
            (&local, "127.0.0.1:4000", Some("http://abc.localhost:4000/a?b")),
            (&local, "localhost:4000", Some("http://abc.localhost:4000/a?b")),
            (&local, "10.0.0.1:4000", None),
            (&hosted, "actors.example", Some("https://abc.actors.example/a?b")),
            (&hosted, "other.example", None),
            (&unhosted, "actors.example", None),
        ] {
            let mut request = asked(host, "/x-run/aBc/a?b");
            let destination = Hosts::of(config).destination(&request).unwrap();
            let page = |request: &Request<()>| page_of_its_own(config, request.headers(), &destination, Some("aBc"));

            assert_eq!(page(&request), None, "programs stay where they are");
            request.headers_mut().insert("sec-fetch-mode", "navigate".parse().unwrap());
            assert_eq!(page(&request).as_deref(), location, "{host}");
        }
    }
}
