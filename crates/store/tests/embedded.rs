//! The embedded store does what every backend must do, with its threads and without.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use playhouse_store::Store;
use playhouse_store::conformance::fixtures::{ForeseeableRandom, StoppedClock};
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};

struct Opened {
    store: Store,
    clock: Arc<StoppedClock>,
    /// Dropped after the store.
    _dir: Option<tempfile::TempDir>,
}

mod threads {
    use super::*;

    async fn open() -> Opened {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(StoppedClock::default());
        let options =
            EmbeddedOptions { clock: clock.clone(), random: Arc::new(ForeseeableRandom::default()), inline: false };
        let store = EmbeddedStore::open(dir.path(), options).await.unwrap();
        Opened { store, clock, _dir: Some(dir) }
    }

    playhouse_store::conformance_tests!(open);
}

mod inline {
    use super::*;

    async fn open() -> Opened {
        let (clock, random) = (Arc::new(StoppedClock::default()), Arc::new(ForeseeableRandom::default()));
        Opened { store: EmbeddedStore::in_memory(clock.clone(), random).unwrap(), clock, _dir: None }
    }

    playhouse_store::conformance_tests!(open);
}
