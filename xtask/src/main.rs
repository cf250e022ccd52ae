//! Chores of the repository: `cargo xtask help` lists them.

mod bench;
mod contract;

use std::borrow::BorrowMut;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Parser;

/// Chores of the Playhouse repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
enum Chore {
    /// Everything that must pass before a change lands: formatting, lints, tests, and the official clients against the binary
    Test,
    /// Formatting, lints, links in the documentation, and the dependency policy where cargo-deny is installed
    Lint,
    /// The tests in Rust
    Unit,
    /// The official clients, SDKs and CLI, in their pinned versions, against the binary
    Clients {
        /// Use the newest versions in the registries instead of the pinned ones
        #[arg(long)]
        newest: bool,
    },
    /// Derives tests/contract from the official OpenAPI document
    Contract {
        /// Where the document is
        document: PathBuf,
        /// Write nothing, and fail if something differs from what is written down
        #[arg(long)]
        check: bool,
    },
    /// Writes docs/operations.md: which test covers each operation of the document
    Operations,
    /// Measures a release build: start, idle memory, start of a run, bulk transfers
    Bench {
        /// Only these subjects
        only: Vec<bench::Subject>,
    },
    /// Answers everything with a fixed text; what benchmarks compare with
    #[command(hide = true)]
    NullServer,
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Test => {
            lint()?;
            unit()?;
            clients(false)
        }
        Chore::Lint => lint(),
        Chore::Unit => unit(),
        Chore::Clients { newest } => clients(newest),
        Chore::Contract { document, check } => contract::derive(&document, check),
        Chore::Operations => contract::write_table(),
        Chore::Bench { only } => bench::run(&only),
        Chore::NullServer => bench::serve_null(),
    }
}

fn lint() -> anyhow::Result<()> {
    run(cargo(["fmt", "--all", "--check"]))?;
    run(cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    if cargo(["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
        run(cargo(["deny", "check"]))?;
    } else {
        println!("skipped: cargo-deny is not installed, so the dependency policy is not checked");
    }
    Ok(())
}

fn unit() -> anyhow::Result<()> {
    if std::env::var_os("PLAYHOUSE_TEST_ENGINES").is_none_or(|engines| engines.is_empty()) {
        println!(
            "SKIPPED: the docker driver is not tested, since PLAYHOUSE_TEST_ENGINES names no engine; see tests/engines/engines"
        );
    }
    run(cargo(["test", "--workspace"]))
}

/// Builds the binary and lets the official clients loose on it: those in JavaScript, and beside them the others.
fn clients(newest: bool) -> anyhow::Result<()> {
    // As the tests in Rust build it, or else dependencies are compiled anew with other features.
    run(cargo(["test", "--workspace", "--no-run", "--test", "it"]))?;
    let binary = root().join("target/debug/playhouse");
    let (others, javascript) = std::thread::scope(|scope| {
        let others = scope.spawn(|| python(newest, &binary).and_then(|()| rust(&binary)));
        let javascript = javascript(newest, &binary);
        (others.join(), javascript)
    });
    others.unwrap_or_else(|_| bail!("the clients in Python and Rust were not tested to the end")).and(javascript)
}

fn javascript(newest: bool, binary: &Path) -> anyhow::Result<()> {
    let directory = root().join("tests/clients");
    let mut install = Command::new("npm");
    install.current_dir(&directory).args(["--no-fund", "--no-audit"]);
    if newest {
        let packages = ["apify-cli", "apify-client", "apify", "crawlee", "@apify/actors-mcp-server"]
            .map(|name| format!("{name}@latest"));
        install.args(["install", "--no-save"]).args(packages);
    } else {
        install.arg("ci");
    }
    run(&mut install)?;

    let mut node = Command::new("node");
    node.current_dir(&directory).args(["--test", "--test-concurrency=2"]).env("PLAYHOUSE_BIN", binary);
    // Given a directory, some versions of Node take every file in it for a test.
    let tests = [
        "storages",
        "formats",
        "crawl",
        "sources",
        "charging",
        "users",
        "secrets",
        "tasks",
        "schedules",
        "webhooks",
        "cli",
        "standby",
        "methods",
        "day",
        "mcp",
    ];
    for test in tests {
        node.arg(format!("js/{test}.test.mjs"));
    }
    run(&mut node)
}

fn python(newest: bool, binary: &Path) -> anyhow::Result<()> {
    let directory = root().join("tests/clients");
    let environment = directory.join(".venv");
    run_aside(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.current_dir(&directory).args(["install", "--quiet", "--disable-pip-version-check"]);
    if newest {
        pip.args(["--upgrade", "apify-client", "apify", "crawlee[beautifulsoup]", "pytest", "pytest-asyncio"]);
        pip.args(["feedparser", "openpyxl", "pyarrow"]);
    } else {
        pip.args(["--requirement", "requirements.txt"]);
    }
    run_aside(&mut pip)?;

    let mut pytest = Command::new(environment.join("bin/python"));
    pytest.current_dir(&directory).args(["-m", "pytest", "-q", "-c", "py/pytest.ini", "py"]);
    run_aside(pytest.env("PLAYHOUSE_BIN", binary))
}

fn rust(binary: &Path) -> anyhow::Result<()> {
    // The Rust client changes too fast for its newest version to compile with what was written for another.
    let mut rust = cargo(["run", "--quiet", "--locked", "--manifest-path", "tests/clients/rust/Cargo.toml"]);
    run_aside(rust.env("CARGO_TARGET_DIR", root().join("target/clients-rust")).env("PLAYHOUSE_BIN", binary))
}

fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Runs a command with its output on the terminal, and says how long it took.
fn run(mut command: impl BorrowMut<Command>) -> anyhow::Result<()> {
    let command = command.borrow_mut();
    println!("+ {command:?}");
    let started = Instant::now();
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    println!("  took {} s", started.elapsed().as_secs());
    Ok(())
}

/// The same beside something else, whose output stays whole: its own is shown when it has ended.
fn run_aside(command: &mut Command) -> anyhow::Result<()> {
    println!("+ {command:?} (aside)");
    let started = Instant::now();
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    let took = started.elapsed().as_secs();
    println!("+ {command:?} (aside)\n{}  took {took} s", String::from_utf8_lossy(&said));
    if !output.status.success() {
        bail!("{command:?} failed: {}", output.status);
    }
    Ok(())
}
