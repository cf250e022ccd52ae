//! `playhouse doctor`.

use anyhow::Context as _;
use clap::Args;
use drivers::Driver as _;
use drivers::process::{ProcessConfig, ProcessDriver};
use serde_json::{Value, json};

use crate::driver::containers;
use crate::settings::Settings;

/// Look at this machine.
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    /// Address of the container engine [default: DOCKER_HOST, CONTAINER_HOST, or the usual sockets]
    #[arg(long, env = "PLAYHOUSE_DOCKER_HOST", value_name = "ADDR")]
    docker_host: Option<String>,
    /// Print one JSON value instead of text
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Looks, and prints what there is.
    pub fn run(self) -> anyhow::Result<()> {
        let settings = Settings { docker_host: self.docker_host.clone(), ..Settings::default() };
        let process = process()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let engines = runtime.block_on(containers::examine(&settings));
        if self.json {
            println!("{}", json!({ "process": process, "engines": engines }));
            return Ok(());
        }
        println!("process driver: isolation {}", process["isolation"].as_str().unwrap_or_default());
        print_list(&process["details"]);
        if engines.is_empty() {
            println!("docker driver: built without it");
        }
        for engine in &engines {
            let text = |member: &str| engine[member].as_str().unwrap_or_default();
            if engine["engine"].is_null() {
                println!("docker driver at {}: {}", text("address"), text("problem"));
                continue;
            }
            println!("docker driver at {}: {} (API {})", text("address"), text("engine"), text("apiVersion"));
            print_list(&engine["shortcomings"]);
            print_list(&engine["warnings"]);
        }
        Ok(())
    }
}

fn process() -> anyhow::Result<Value> {
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    let exe = std::env::current_exe().context("cannot find the program's own file")?;
    let driver =
        ProcessDriver::open(ProcessConfig::new(directory.path(), exe)).context("cannot try the process driver")?;
    let isolation = driver.isolation();
    Ok(json!({ "isolation": isolation.level, "details": isolation.details }))
}

fn print_list(items: &Value) {
    for item in items.as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!("  - {item}");
    }
}
