//! Actors in the shape of the official templates, built with packages from the registries.

use std::path::Path;
use playhouse_drivers::Driver;

use crate::bench::Bench;

#[tokio::test]
async fn x() {
    let Ok(name) = std::env::var("ACTOR") else { return };
    let bench = Bench::new();
    let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/actors").join(&name);
    let dockerfile = std::fs::read_to_string(context.join("Dockerfile")).unwrap();
    let begin = std::time::Instant::now();
    let built = bench.build(&bench.spec("b1", &context, &dockerfile)).await;
    println!("{}\n{:?} {:?}", built.log, begin.elapsed(), built.exit);
    println!("{:#?}", bench.driver.image("b1").await.unwrap());
    if built.exit.code == Some(0) {
        println!("{}", bench.run(&built, "r1", "id; pwd; ls -la; env; npm -v; ls -la /usr/local/bin ~; cat /etc/passwd").await);
        println!("{}", bench.run(&built, "r2", "").await);
        let begin = std::time::Instant::now();
        let built = bench.build(&bench.spec("b2", &context, &dockerfile)).await;
        println!("{}\n{:?}", built.log, begin.elapsed());
    }
    if std::env::var("KEEP").is_ok() { println!("{}", bench.dir.keep().display()); }
}
