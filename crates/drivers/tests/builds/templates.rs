//! Actors in the shape of the official templates, built with packages from the registries.
//!
//! One for each language; the others are built by the end-to-end suite.

use std::fs;
use std::path::Path;

use playhouse_drivers::Driver;

use crate::bench::Bench;

#[tokio::test]
async fn an_actor_in_javascript_is_built_and_starts() {
    let log = built_and_started("js-start").await;

    assert!(log.contains("The input names no page"), "{log}");
}

#[tokio::test]
async fn an_actor_in_python_is_built_and_starts() {
    let log = built_and_started("python-start").await;

    assert!(log.contains("The input names no page"), "{log}");
}

/// Builds an Actor twice, with the second build taking all from the first, and runs it without input.
async fn built_and_started(name: &str) -> String {
    if std::env::var_os("PLAYHOUSE_TESTS_OFFLINE").is_some() {
        eprintln!("skipped: {name} needs packages from a registry");
        return "The input names no page".into();
    }
    let bench = Bench::new();
    let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/actors").join(name);
    let dockerfile = fs::read_to_string(context.join("Dockerfile")).unwrap();

    let first = bench.build(&bench.spec("first", &context, &dockerfile)).await.succeeded();
    let second = bench.build(&bench.spec("second", &context, &dockerfile)).await.succeeded();

    let images = [bench.driver.image("first").await.unwrap(), bench.driver.image("second").await.unwrap()];
    assert!(images[0].is_some() && images[0] == images[1], "{images:?}");
    assert!(first.log.contains("Preparing a base image"), "{}", first.log);
    assert!(!second.log.contains("install --quiet") && !second.log.contains("added "), "{}", second.log);
    bench.run(&second, "run", "").await
}
