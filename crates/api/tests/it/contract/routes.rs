//! The addresses of the document and those of the router are the same.

use std::collections::BTreeSet;

use http::Method;

use super::Contract;
use crate::harness::TestServer;

/// Addresses that the document lacks and clients or people use, each with the reason.
pub(super) const BESIDES: &[(&str, &str, &str)] = &[
    ("GET", "/openapi.json", "describes this server to machines"),
    ("POST", "/actor-runtime/dev-folder/{}", "the CLI sets the folder that is mounted into runs here"),
    ("POST", "/actor-runtime/debug/{}", "the CLI has runs wait for a debugger here"),
    ("POST", "/v2/actor-runtime/dev-folder/{}", "the same, for clients that put `/v2` before everything"),
    ("POST", "/v2/actor-runtime/debug/{}", "the same, for clients that put `/v2` before everything"),
    ("DELETE", "/v2/actors/{}/builds/{}", "an Actor's builds have all of `/v2/actor-builds/{}` (BLD-11)"),
    ("GET", "/v2/actors/{}/builds/{}/log", "an Actor's builds have all of `/v2/actor-builds/{}` (BLD-11)"),
    ("GET", "/v2/actors/{}/builds/default/log", "the default build answers like one that is named (BLD-8)"),
    ("GET", "/v2/actors/{}/builds/default/openapi.json", "`default` may stand for the id of a build (BLD-9)"),
    ("GET", "/v2/actors/{}/runs/{}/log", "an Actor's run has what its last run has (RUNS-1, LAST-3)"),
    ("POST", "/v2/actors/{}/runs/{}/reboot", "an Actor's run has what its last run has (RUNS-1, LAST-3)"),
];

type Addresses = BTreeSet<(String, String)>;

#[tokio::test]
async fn the_router_has_the_operations_of_the_document_and_nothing_that_is_not_written_down() {
    let (contract, server) = (Contract::load(), TestServer::start().await);
    let named = contract.operations.iter().map(|operation| (operation.method.to_string(), anonymous(operation.path)));
    let named: Addresses = named.collect();
    let besides: Addresses =
        BESIDES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();

    let mut served = Addresses::new();
    for path in paths(&server) {
        for method in methods(&server, &path).await {
            served.insert((method, anonymous(&path)));
        }
    }

    let missing: Vec<_> = named.difference(&served).collect();
    assert!(missing.is_empty(), "the document has these, the router has not: {missing:#?}");
    let is_extension = |path: &str| path.split('/').any(|part| part.starts_with("x-"));
    let known = |address: &&(String, String)| {
        named.contains(*address) || besides.contains(*address) || is_extension(&address.1)
    };
    let unknown: Vec<_> = served.iter().filter(|address| !known(address)).collect();
    assert!(unknown.is_empty(), "neither the document nor the list above has these: {unknown:#?}");
    let stale: Vec<_> =
        besides.iter().filter(|address| !served.contains(*address) || named.contains(*address)).collect();
    assert!(stale.is_empty(), "listed above, but not served or no longer besides the document: {stale:#?}");
}

/// Every path of the router. Nothing but its debug form tells them.
fn paths(server: &TestServer) -> BTreeSet<String> {
    let form = format!("{:?}", server.service());
    let quoted = form.split('"').skip(1).step_by(2);
    let paths: BTreeSet<_> = quoted.filter(|text| text.starts_with('/')).map(str::to_owned).collect();
    assert!(paths.len() > 100, "the debug form of the router has changed: {} paths", paths.len());
    paths
}

/// The methods to which a path answers, by its own account (`HTTP-19`).
async fn methods(server: &TestServer, path: &str) -> Vec<String> {
    let reply = server.ask(Method::TRACE, path).await;
    let named = |methods: &str| methods.split(',').map(|method| method.trim().to_owned()).collect::<Vec<_>>();
    // The router keeps its answer for all other addresses at addresses of its own.
    if reply.status == 404 && reply.text().contains("page-not-found") {
        return Vec::new();
    }
    match reply.header("allow") {
        // An address that takes every method has no list.
        "" => named("GET,POST,PUT,DELETE"),
        allow => {
            let all = named(allow);
            // Every GET takes HEAD as well. The document names it only where clients use it.
            let is_named = |method: &String| method != "HEAD" || NAMED_HEADS.contains(&path);
            all.into_iter().filter(is_named).collect()
        }
    }
}

const NAMED_HEADS: [&str; 2] = ["/v2/key-value-stores/{storageId}/records/{key}", "/v2/datasets/{storageId}/items"];

/// A path without the names of its parameters, which are each side's own.
pub(super) fn anonymous(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}
