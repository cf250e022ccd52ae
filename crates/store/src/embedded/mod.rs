//! The default backend: one directory with SQLite for rows and files for bulk bytes.
//!
//! `db.sqlite` holds every row; what is large lies below `objects/` under keys that rows name. All writes go through one
//! thread that commits for everybody who waits (`db`); reads go beside it. What no call waits for, such as sealing the
//! items of datasets or taking deleted contents away, is done in small steps by a caretaker (`upkeep`).

mod actors;
mod blocks;
mod builds;
mod core;
mod datasets;
mod db;
mod disk;
mod doc;
mod front;
mod jobs;
mod logs;
mod migrations;
mod objects;
mod owned;
mod queues;
mod reaper;
mod records;
mod runs;
mod schedules;
mod storages;
mod tasks;
mod upkeep;
mod users;
mod webhooks;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use model::{Random, SharedClock};

use self::actors::Actors;
use self::builds::Builds;
use self::core::{Core, DataDir};
use self::datasets::Datasets;
use self::db::Db;
use self::jobs::Jobs;
use self::logs::Logs;
use self::queues::Queues;
use self::records::Records;
use self::runs::Runs;
use self::schedules::Schedules;
use self::storages::Storages;
use self::tasks::Tasks;
use self::upkeep::Caretaker;
use self::users::Users;
use self::webhooks::Webhooks;
use crate::{Store, StoreError};

/// What an embedded store is opened with.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Tells the time.
    pub clock: SharedClock,
    /// Names objects.
    pub random: Arc<dyn Random>,
    /// Does everything on the caller's thread and nothing in the background, as a test with a paused clock needs it:
    /// waiting for another thread, such a clock would jump ahead. [`Upkeep::run`](crate::Upkeep::run) is called by hand then.
    pub inline: bool,
}

/// Opens embedded stores.
#[derive(Debug)]
pub struct EmbeddedStore;

impl EmbeddedStore {
    /// Opens the store in `dir`, or makes it. Nobody else may have it open; that is the caller's to see to.
    ///
    /// # Errors
    /// If the directory cannot be used, or was written by a newer version.
    pub async fn open(dir: &Path, options: EmbeddedOptions) -> Result<Store, StoreError> {
        let EmbeddedOptions { clock, random, inline } = options;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let file = dir.join("db.sqlite");
        let db = if inline { Db::open_inline(Some(&file), clock)? } else { Db::open(&file, clock)? };
        let core = Arc::new(Core::new(db, random, DataDir::Kept(dir.to_owned()))?);
        core.objects.recover().await?;
        let store = assemble(core.clone())?;
        logs::recover(&core).await?;
        Ok(store)
    }

    /// Makes an empty store that goes when its last clone is dropped: rows in memory, the rest in a temporary directory,
    /// and everything inline.
    ///
    /// # Errors
    /// If the temporary directory cannot be made.
    pub fn in_memory(clock: SharedClock, random: Arc<dyn Random>) -> Result<Store, StoreError> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let db = Db::open_inline(None, clock)?;
        assemble(Arc::new(Core::new(db, random, DataDir::Temporary(dir))?))
    }
}

fn assemble(core: Arc<Core>) -> Result<Store, StoreError> {
    let jobs = Arc::new(Jobs::new(core.clone()));
    let caretaker = if core.db.is_inline() { Caretaker::idle(core.clone()) } else { Caretaker::start(core.clone())? };
    Ok(Store {
        storages: Arc::new(Storages::new(core.clone())),
        datasets: Arc::new(Datasets::new(core.clone())),
        records: Arc::new(Records::new(core.clone())),
        queues: Arc::new(Queues::new(core.clone())),
        actors: Arc::new(Actors::new(jobs.clone())),
        builds: Arc::new(Builds::new(jobs.clone())),
        runs: Arc::new(Runs::new(jobs.clone())),
        tasks: Arc::new(Tasks::new(jobs)),
        schedules: Arc::new(Schedules::new(core.clone())),
        users: Arc::new(Users::new(core.clone())),
        webhooks: Arc::new(Webhooks::new(core.clone())),
        logs: Arc::new(Logs::open(core)?),
        upkeep: Arc::new(caretaker),
    })
}
