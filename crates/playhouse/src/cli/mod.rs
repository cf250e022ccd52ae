//! The command line: one file per subcommand.

mod demo;
mod doctor;
mod env;
mod serve;
mod token;
mod user;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::settings::Settings;

/// Runs Actors on your own machines, with the Apify API.
#[derive(Debug, Parser)]
#[command(
    name = "playhouse",
    version,
    max_term_width = 100,
    after_help = "Quick start:\n  playhouse serve                 start the server\n  eval \"$(playhouse env)\"         point the apify CLI at it, in another terminal and the same directory\n  cd my-actor; apify push         push an Actor\n  apify call                      and run it\n\nNo Actor at hand? `playhouse demo` runs a bundled one."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    Serve(serve::Serve),
    /// Start the server, and run a bundled sample Actor on pages that it serves itself
    Demo(demo::Demo),
    /// Print the lines that point the apify CLI, the clients and the SDKs at the server
    Env(env::Env),
    /// Say where runs and builds can be executed on this machine, what keeps them apart, and what to do where something is missing
    Doctor(doctor::Doctor),
    /// Add, change and list users, on a running server or a stopped one
    #[command(subcommand)]
    User(user::User),
    /// Create, list and revoke API tokens, on a running server or a stopped one
    #[command(subcommand)]
    Token(token::Token),
    /// The sample Actor of `playhouse demo`, inside its run
    #[command(hide = true)]
    SampleCrawler,
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => serve.run(None),
            Command::Demo(demo) => demo.run(),
            Command::SampleCrawler => crate::demo::crawler::run(),
            Command::Env(env) => env.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::User(user) => user.run(),
            Command::Token(token) => token.run(),
        }
    }
}

/// Which server a command is for, and how it prints.
#[derive(Args, Clone, Debug)]
struct Target {
    /// Data directory of the server; what a configuration file says of it is not read
    #[arg(long, env = "PLAYHOUSE_DATA_DIR", value_name = "DIR", default_value = "./playhouse-data")]
    data_dir: PathBuf,
    /// Print one JSON value instead of text
    #[arg(long)]
    json: bool,
}

/// Carries out an order and prints its result: as JSON if asked for, else as `print` says.
fn order(target: &Target, order: crate::control::Order, print: impl FnOnce(&Value)) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(crate::control::order(&target.data_dir, order))?;
    if target.json {
        println!("{result}");
    } else {
        print(&result);
    }
    Ok(())
}

/// Text of a member, or nothing.
fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// The settings in force: flags and variables over the file.
fn settings(given: Settings, file: Option<PathBuf>) -> anyhow::Result<Settings> {
    let file = match file {
        Some(path) => Settings::from_file(&path)?,
        None => match usual_files().into_iter().find(|path| path.exists()) {
            Some(path) => Settings::from_file(&path)?,
            None => Settings::default(),
        },
    };
    let settings = given.or(file);
    settings.check()?;
    Ok(settings)
}

fn usual_files() -> Vec<PathBuf> {
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let mut files: Vec<PathBuf> = home.into_iter().map(|home| home.join("playhouse/config.toml")).collect();
    files.push(PathBuf::from("/etc/playhouse/config.toml"));
    files
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
