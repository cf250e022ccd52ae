//! What becomes of builds whose source has to be fetched, with the real `git` and real sockets, in real time.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use drivers::fake::Call;
use model::{Build, JobStatus, Source, Version};
use store::JobLog;

use crate::EngineConfig;
use crate::testing::{TestEngine, a_version};

const GIST: &str = "0123456789abcdef0123456789abcdef";

fn has_git() -> bool {
    let found = Command::new("git").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no git on this machine");
    }
    found
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(directory).args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]).args(arguments);
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn commit(repository: &Path, files: &[(&str, &str)]) -> String {
    write(repository, files);
    git(repository, &["add", "--all"]);
    git(repository, &["commit", "--quiet", "--message", "A change"]);
    git(repository, &["rev-parse", "HEAD"])
}

/// A repository with a branch `main`, a tag `v1` at its first commit, and a branch `next` with an Actor in a directory.
struct Repository {
    path: PathBuf,
    first: String,
    _directory: tempfile::TempDir,
}

impl Repository {
    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("repository");
        fs::create_dir(&path).unwrap();
        git(&path, &["init", "--quiet", "--initial-branch=main"]);
        let first = commit(&path, &[("README.md", "one"), ("Dockerfile", "FROM scratch\n")]);
        git(&path, &["tag", "v1"]);
        commit(&path, &[("README.md", "two")]);
        git(&path, &["checkout", "--quiet", "-b", "next"]);
        commit(&path, &[("actors/a/README.md", "three"), ("actors/a/.actor/Dockerfile", "FROM node:24\n")]);
        git(&path, &["checkout", "--quiet", "main"]);
        Self { path, first, _directory: directory }
    }

    fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// As files that any web server can hand out.
    fn bare(&self, name: &str) -> PathBuf {
        let bare = self.path.with_file_name(name);
        git(&self.path, &["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
        git(&bare, &["update-server-info"]);
        bare
    }
}

async fn start(test: &TestEngine, number: &str, source: Source) -> Arc<Build> {
    let version = Version { source, ..a_version(number, &[]) };
    let now = test.engine.clock().now();
    test.engine.store().actors.create_version(&test.actor.id, version, now).await.unwrap();
    test.start_build(number).await
}

async fn built(test: &TestEngine, number: &str, source: Source) -> (Arc<Build>, String) {
    let build = start(test, number, source).await;
    let build = test.built(&build.id).await;
    let log = test.log(JobLog::Build(build.id)).await;
    (build, log)
}

fn from_git(url: impl Into<String>) -> Source {
    Source::GitRepo { git_repo_url: url.into() }
}

fn from_archive(url: impl Into<String>) -> Source {
    Source::Tarball { tarball_url: url.into() }
}

/// A web server on its own threads: `answer` is given the path and the head of each request.
fn serve(answer: impl Fn(&str, &str, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            std::thread::spawn(move || {
                let (mut head, mut reader) = (String::new(), BufReader::new(stream.try_clone().unwrap()));
                while reader.read_line(&mut head).is_ok_and(|count| count > 2) {}
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                answer(&path, &head, &mut stream);
            });
        }
    });
    format!("http://{address}")
}

fn say(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn hand_out(root: &Path, path: &str, stream: &mut TcpStream) {
    let path = path.split('?').next().unwrap_or_default();
    match fs::read(root.join(path.trim_start_matches('/'))) {
        Ok(bytes) => say(stream, "200 OK", "", &bytes),
        Err(_) => say(stream, "404 Not Found", "", b"nothing here"),
    }
}

/// Waits until the other side goes away.
fn keep_silent(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Command lines of all processes that mention `text`.
fn processes(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) {
            found.push(line);
        }
    }
    found
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}");
}

#[tokio::test]
async fn a_repository_is_built_at_what_its_address_names() {
    if !has_git() {
        return;
    }
    let (test, repository) = (TestEngine::start().await, Repository::make());
    let (url, path) = (repository.url(), repository.path.display().to_string());

    for (index, (address, readme)) in [
        (path, "two"),
        (url.clone(), "two"),
        (format!("{url}#main"), "two"),
        (format!("{url}#v1"), "one"),
        (format!("{url}#{}", repository.first), "one"),
        (format!("{url}#{}", &repository.first[..8]), "one"),
        (format!("{url}#next:actors/a"), "three"),
    ]
    .into_iter()
    .enumerate()
    {
        let (build, log) = built(&test, &format!("1.{index}"), from_git(&address)).await;

        assert_eq!(build.status, JobStatus::Succeeded, "{address}: {log}");
        assert_eq!(build.readme.as_deref(), Some(readme), "VER-4: {address}");
        assert_eq!(build.source_kind, "GIT_REPO");
        assert!(log.contains("ACTOR: Fetched commit "), "{log}");
    }
}

#[tokio::test]
async fn the_context_of_an_actor_in_a_directory_is_the_whole_repository() {
    if !has_git() {
        return;
    }
    let (test, repository) = (TestEngine::start().await, Repository::make());
    test.driver.hold_builds();

    let build = start(&test, "1.0", from_git(format!("{}#next:actors/a", repository.url()))).await;
    let spec = || {
        test.driver.calls().into_iter().find_map(|call| match call {
            Call::StartBuild(spec) if spec.job.id == build.id.as_str() => Some(*spec),
            _ => None,
        })
    };
    until("the driver has the build", || spec().is_some()).await;

    let spec = spec().unwrap();
    assert_eq!(spec.args["ACTOR_PATH_IN_DOCKER_CONTEXT"], "actors/a", "SRC-5");
    assert_eq!(
        (spec.dockerfile.as_str(), spec.dockerfile_name.as_str()),
        ("FROM node:24\n", "actors/a/.actor/Dockerfile")
    );
    assert_eq!(fs::read_to_string(spec.context.join("README.md")).unwrap(), "two");
    assert!(!spec.context.join(".git").exists());
    test.driver.finish(build.id.as_str(), test.driver.exited(0));
}

#[tokio::test]
async fn what_cannot_be_fetched_fails_with_the_reason() {
    if !has_git() {
        return;
    }
    let (test, repository) = (TestEngine::start().await, Repository::make());
    let url = repository.url();
    commit(&repository.path, &[("bare/x", "")]);
    std::os::unix::fs::symlink("/etc", repository.path.join("link")).unwrap();
    git(&repository.path, &["checkout", "--quiet", "-b", "links"]);
    commit(&repository.path, &[]);
    let empty = repository.path.with_file_name("empty");
    fs::create_dir(&empty).unwrap();
    git(&empty, &["init", "--quiet"]);
    let locked = serve(|_, _, stream| say(stream, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b""));
    let missing = serve(|_, _, stream| say(stream, "404 Not Found", "", b""));

    for (index, (address, reason)) in [
        ("/no/such/repository".to_owned(), "there is no repository at /no/such/repository"),
        (format!("{missing}/a.git"), "there is no repository at http://"),
        (format!("{locked}/a.git"), "does not exist or asks for a password"),
        (format!("{}/a.git", locked.replace("//", "//ada:wrong-password@")), "refuses the credentials"),
        (format!("{url}#nope"), "has no branch, tag or commit \"nope\""),
        (format!("{url}#0123456"), "has no branch, tag or commit \"0123456\""),
        (format!("{url}#main:nope"), "has no directory \"nope\""),
        (format!("{url}#main:bare"), "no Dockerfile"),
        (format!("{url}#links"), "the link \"link\", which points outside"),
        (empty.display().to_string(), "is empty"),
        ("http://no-such-host.invalid/a.git".to_owned(), "no-such-host.invalid"),
        ("ext::sh -c date".to_owned(), "is not the address of a Git repository"),
        (format!("{url}#main:../x"), "is not inside the repository"),
    ]
    .into_iter()
    .enumerate()
    {
        let (build, log) = built(&test, &format!("1.{index}"), from_git(&address)).await;

        assert_eq!(build.status, JobStatus::Failed, "{address}: {log}");
        let message = build.status_message.as_deref().unwrap();
        assert!(message.starts_with("Build failed: ") && message.contains(reason), "{address}: {message}\n{log}");
        assert!(log.contains(message) && !log.contains("wrong-password"), "{log}");
    }
    let gist = Source::GithubGist { git_hub_gist_url: "https://gist.github.com/ada".into() };
    let (build, _) = built(&test, "2.0", gist).await;
    assert!(build.status_message.as_ref().unwrap().contains("is not the address of a gist"), "VER-6");
}

#[tokio::test]
async fn only_the_ways_that_the_server_allows_are_gone() {
    if !has_git() {
        return;
    }
    let config = EngineConfig { git_protocols: vec!["https".into()], ..EngineConfig::default() };
    let (test, repository) = (TestEngine::start_with(config).await, Repository::make());

    let (build, _) = built(&test, "1.0", from_git(repository.url())).await;

    let message = build.status_message.as_deref().unwrap();
    assert!(message.contains("is of the kind file, but this server allows only https"), "{message}");
}

#[tokio::test]
async fn a_host_that_keeps_silent_holds_no_build_beyond_its_end() {
    if !has_git() {
        return;
    }
    let silent = serve(|_, _, stream| keep_silent(stream));
    let config = EngineConfig { build_timeout_secs: 3, ..EngineConfig::default() };
    for (is_aborted, expected) in [(true, JobStatus::Aborted), (false, JobStatus::TimedOut)] {
        let test = TestEngine::start_with(config.clone()).await;
        let name = format!("{silent}/hanging-{is_aborted}");
        for (index, source) in [from_git(&name), from_archive(&name)].into_iter().enumerate() {
            let is_git = matches!(source, Source::GitRepo { .. });
            let build = start(&test, &format!("1.{index}"), source).await;
            let status = async || test.engine.store().builds.get(&build.id).await.unwrap().unwrap().status;
            if is_git {
                until("git is at work", || processes(&name).len() > 1).await;
                assert_eq!(status().await, JobStatus::Running, "a build that fetches is running");
            }

            let build = match is_aborted {
                true => test.engine.abort_build(&build.id).await.unwrap(),
                false => test.built(&build.id).await,
            };

            assert_eq!(build.status, expected);
            until("git and its helpers are gone", || processes(&name).is_empty()).await;
            let log = test.log(JobLog::Build(build.id)).await;
            assert!(log.ends_with(&format!("ACTOR: {}\n", build.status_message.as_ref().unwrap())), "{log}");
        }
    }
}

#[tokio::test]
async fn a_fetch_under_way_ends_with_the_server_and_is_begun_anew_by_the_next() {
    if !has_git() {
        return;
    }
    let mut test = TestEngine::start().await;
    let silent = serve(|_, _, stream| keep_silent(stream));
    let name = format!("{silent}/restarted");
    let build = start(&test, "1.0", from_git(&name)).await;
    until("git is at work", || processes(&name).len() > 1).await;

    test.engine.shutdown().await;
    until("git is gone with the server", || processes(&name).is_empty()).await;
    test.crash().await;
    until("git is at work again", || processes(&name).len() > 1).await;

    let build = test.engine.abort_build(&build.id).await.unwrap();
    assert_eq!(build.status, JobStatus::Aborted);
}

#[tokio::test]
async fn credentials_in_an_address_are_used_and_never_seen() {
    if !has_git() {
        return;
    }
    let (test, repository) = (TestEngine::start().await, Repository::make());
    let (root, _) = (repository.bare("served.git"), ());
    let root = root.parent().unwrap().to_owned();
    // Encoded `ada:correct-horse`.
    let expected = "Basic YWRhOmNvcnJlY3QtaG9yc2U=";
    let server = serve(move |path, head, stream| match head.contains(expected) {
        true => hand_out(&root, path, stream),
        false => say(stream, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b""),
    });
    let address = format!("{}/served.git#v1", server.replace("//", "//ada:correct-horse@"));

    let (build, log) = built(&test, "1.0", from_git(address)).await;

    assert_eq!((build.status, build.readme.as_deref()), (JobStatus::Succeeded, Some("one")), "{log}");
    assert!(log.contains("/served.git") && !log.contains("correct-horse") && !log.contains(expected), "{log}");
}

#[tokio::test]
async fn a_gist_is_fetched_from_plain_files_too() {
    if !has_git() {
        return;
    }
    let (test, repository) = (TestEngine::start().await, Repository::make());
    let root = repository.bare("bare").parent().unwrap().to_owned();
    let server =
        serve(move |path, _, stream| hand_out(&root, &path.replace(&format!("/ada/{GIST}.git"), "/bare"), stream));

    let gist = Source::GithubGist { git_hub_gist_url: format!("{server}/ada/{GIST}") };
    let (build, log) = built(&test, "1.0", gist).await;

    assert_eq!((build.status, build.readme.as_deref()), (JobStatus::Succeeded, Some("two")), "VER-6: {log}");
}

fn tar_gz(files: &[(&str, &str)]) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn an_archive_is_fetched_from_any_web_server() {
    let test = TestEngine::start().await;
    let plain = tar_gz(&[("README.md", "plain"), ("Dockerfile", "FROM scratch\n")]);
    let wrapped = tar_gz(&[("repo-main/README.md", "wrapped"), ("repo-main/Dockerfile", "FROM scratch\n")]);
    let server = serve(move |path, head, stream| match path {
        "/plain.tar.gz" => say(stream, "200 OK", "Content-Type: text/html\r\n", &plain),
        "/wrapped?token=hush-hush" => say(stream, "200 OK", "", &wrapped),
        "/moved" => say(stream, "302 Found", "Location: /plain.tar.gz\r\n", b""),
        "/private" if head.contains("Basic YWRhOnB3") => say(stream, "200 OK", "", &plain),
        _ => say(stream, "404 Not Found", "", b""),
    });

    for (index, (address, readme)) in [
        (format!("{server}/plain.tar.gz"), "plain"),
        (format!("{server}/wrapped?token=hush-hush"), "wrapped"),
        (format!("{server}/moved"), "plain"),
        (format!("{}/private", server.replace("//", "//ada:pw@")), "plain"),
    ]
    .into_iter()
    .enumerate()
    {
        let (build, log) = built(&test, &format!("1.{index}"), from_archive(&address)).await;

        assert_eq!(build.status, JobStatus::Succeeded, "VER-5: {address}: {log}");
        assert_eq!(build.readme.as_deref(), Some(readme));
        assert!(!log.contains("hush-hush") && !log.contains("ada:pw"), "{log}");
    }
}

#[tokio::test]
async fn an_archive_that_cannot_be_had_fails_with_the_reason() {
    let test = TestEngine::start().await;
    let server = serve(|path, _, stream| match path {
        "/round" => say(stream, "302 Found", "Location: /round\r\n", b""),
        "/away" => say(stream, "302 Found", "Location: http://169.254.169.254/latest\r\n", b""),
        "/huge" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
            keep_silent(stream);
        }
        "/half" => drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")),
        "/page" => say(stream, "200 OK", "", b"<html>"),
        "/escape" => {
            let mut bytes = tar_gz(&[("a", "")]);
            bytes.truncate(bytes.len() / 2);
            say(stream, "200 OK", "", &bytes);
        }
        _ => say(stream, "404 Not Found", "", b""),
    });

    for (index, (address, reason)) in [
        (format!("{server}/nope"), "the server answered 404 Not Found"),
        (format!("{server}/round"), "redirect"),
        (format!("{server}/away"), "link-local or metadata address"),
        ("http://169.254.169.254/a.zip".to_owned(), "link-local or metadata address"),
        (format!("{server}/huge"), "has more than 1073741824 bytes"),
        (format!("{server}/half"), "cannot read the archive"),
        (format!("{server}/page"), "neither a tar, a tar.gz nor a zip file"),
        (format!("{server}/escape"), "the archive is damaged"),
        ("http://127.0.0.1:1/a.zip".to_owned(), "cannot fetch http://127.0.0.1:1/a.zip: "),
        ("http://no-such-host.invalid/a.zip".to_owned(), "cannot fetch http://no-such-host.invalid/a.zip: "),
        ("file:///etc/passwd".to_owned(), "addresses of the kind file are not fetched"),
        ("nonsense".to_owned(), "cannot fetch nonsense"),
    ]
    .into_iter()
    .enumerate()
    {
        let (build, log) = built(&test, &format!("1.{index}"), from_archive(&address)).await;

        assert_eq!(build.status, JobStatus::Failed, "{address}: {log}");
        let message = build.status_message.as_deref().unwrap();
        assert!(message.contains(reason), "{address}: {message}");
    }
}
