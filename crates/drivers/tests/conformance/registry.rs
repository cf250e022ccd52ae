//! A registry that has one image for whoever knows the password.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use model::PullPolicy;
use playhouse_drivers::{BuildSpec, ExitCause, Login, Prebuilt};
use sha2::{Digest as _, Sha256};

use crate::bench::{Bench, engines};

/// `ada:wonderland`
const ALLOWED: &str = "Basic YWRhOndvbmRlcmxhbmQ=";

struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        let hex: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { digest: format!("sha256:{hex}"), content }
    }

    fn described(&self, media_type: &str) -> String {
        let (digest, size) = (&self.digest, self.content.len());
        format!(r#"{{"mediaType":"{media_type}","size":{size},"digest":"{digest}"}}"#)
    }
}

/// Serves `crawler:1`; its address.
fn registry() -> String {
    const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    archive.append_data(&mut header, "hello", &b"hello"[..]).unwrap();
    let layer = Blob::new(archive.into_inner().unwrap());
    let config = Blob::new(
        format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/hello"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            layer.digest
        )
        .into_bytes(),
    );
    let manifest = Blob::new(
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            config.described("application/vnd.docker.container.image.v1+json"),
            layer.described("application/vnd.docker.image.rootfs.diff.tar"),
        )
        .into_bytes(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(&stream.unwrap(), &[&manifest, &config, &layer], MANIFEST);
        }
    });
    address
}

/// Answers one request; engines first try TLS, which is none.
fn serve(mut stream: &TcpStream, blobs: &[&Blob], manifest_type: &str) -> Option<()> {
    let mut reader = BufReader::new(stream.take(64 * 1024));
    let mut next = || {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok()?;
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    };
    let request = next()?;
    let mut is_allowed = false;
    loop {
        let line = next()?;
        if line.is_empty() {
            break;
        }
        is_allowed |= line
            .split_once(": ")
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("authorization") && value == ALLOWED);
    }
    let path = request.split(' ').nth(1)?;
    let blob = if path.ends_with("/manifests/1") {
        Some(blobs[0])
    } else {
        blobs.iter().find(|blob| path.ends_with(&blob.digest)).copied()
    };
    let empty = Vec::new();
    let (status, headers, body) = match blob {
        _ if !is_allowed => ("401 Unauthorized", "www-authenticate: Basic realm=\"here\"\r\n".to_owned(), &empty),
        _ if path == "/v2/" => ("200 OK", String::new(), &empty),
        Some(blob) => {
            let kind = if path.contains("/manifests/") { manifest_type } else { "application/octet-stream" };
            let headers = format!("content-type: {kind}\r\ndocker-content-digest: {}\r\n", blob.digest);
            ("200 OK", headers, &blob.content)
        }
        None => ("404 Not Found", String::new(), &empty),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ndocker-distribution-api-version: registry/2.0\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    if !request.starts_with("HEAD") {
        stream.write_all(body).ok()?;
    }
    Some(())
}

#[tokio::test]
async fn an_image_is_fetched_with_the_login_of_its_registry() {
    // Docker takes registries on loopback as they are; Podman wants them to be set up.
    for host in engines() {
        let bench = Bench::on(host).await;
        if bench.engine() != "docker" {
            continue;
        }
        let image = format!("{}/crawler:1", registry());
        let fetched = |id: &str, password: &str| {
            let login = Login { username: "ada".into(), password: password.into() };
            let prebuilt = Prebuilt { image: image.clone(), pull: PullPolicy::Missing, login: Some(login) };
            BuildSpec { prebuilt: Some(prebuilt), ..bench.build_spec(id, bench.dir.path(), "") }
        };

        let (refused, _) = bench.build(&fetched("refused", "guess")).await;
        let (exit, log) = bench.build(&fetched("fetched", "wonderland")).await;

        let ExitCause::Failed { reason } = refused.cause else { panic!("{refused:?}") };
        assert!(reason.contains("cannot fetch") && reason.contains("crawler:1"), "{reason}");
        assert_eq!((exit.code, &exit.cause), (Some(0), &ExitCause::Exited), "{exit:?} {log}");
        let taken = bench.driver.image("fetched").await.unwrap().unwrap();
        assert_eq!(taken.cmd, ["/hello"]);
        bench.docker(&["rmi", "--force", &image]);
    }
}
