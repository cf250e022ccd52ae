//! What this server has beyond the contract is written down.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;

use crate::harness::TestServer;

/// The words behind `/x-` in the addresses that a source names.
fn extensions_in(source: &str, found: &mut BTreeSet<String>) {
    for (at, _) in source.match_indices("/x-") {
        let word: String = source[at + 1..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        // Media types are no addresses.
        if !source[..at].ends_with("application") && !source[..at].ends_with("text") && word.len() > 2 {
            found.insert(word);
        }
    }
}

fn look_into(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            look_into(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(path).unwrap_or_default();
            // Tests may make some up.
            extensions_in(source.split("#[cfg(test)]").next().unwrap_or_default(), found);
        }
    }
}

#[test]
fn every_address_of_our_own_is_on_the_page_of_extensions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/extensions.md")).unwrap();
    let mut found = BTreeSet::new();
    for source in ["src", "../engine/src", "../console/src", "../playhouse/src"] {
        look_into(&root.join(source), &mut found);
    }

    assert!(found.contains("x-requeue") && found.contains("x-run"), "{found:?}");
    let mut named = BTreeSet::new();
    extensions_in(&page, &mut named);
    assert_eq!(named, found, "what docs/extensions.md names, and what there is");
}

#[tokio::test(start_paused = true)]
async fn the_description_is_served_to_everybody_and_its_own_addresses_are_there() {
    let server = TestServer::start().await;

    let document = server.get("/openapi.json").anonymous().await.expect(200).json();

    assert_eq!((&document["openapi"], &document["info"]["title"]), (&"3.1.0".into(), &"Playhouse".into()));
    let listing = &document["paths"]["/v2/actors"]["get"];
    assert_eq!(listing["operationId"], "actors_get");
    assert!(listing["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "sortBy"));
    for (path, item) in document["paths"].as_object().unwrap() {
        // Web servers of runs are reached before any route is looked for.
        if !path.contains("/x-") || path.starts_with("/x-run") {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let path = path.replace(['{', '}'], "");
            let reply = server.ask(method, &path).await;
            assert_ne!(reply.status, 405, "{path}");
            let described = &operation["responses"][reply.status.as_str()];
            assert!(described.is_object(), "{path} answers {}, which is not described", reply.status);
            assert!(!reply.text().contains("page-not-found"), "{path}: {}", reply.text());
        }
    }
}
