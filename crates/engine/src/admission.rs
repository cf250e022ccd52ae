//! Who may start now: memory for runs, slots for builds, both first come, first served.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Holds its share until it is dropped.
pub(crate) type Admitted = Option<OwnedSemaphorePermit>;

pub(crate) struct Admission {
    memory: Arc<Semaphore>,
    budget: u32,
    builds: Arc<Semaphore>,
}

impl Admission {
    pub(crate) fn new(memory_mbytes: u32, concurrent_builds: u32) -> Self {
        let budget = memory_mbytes.max(128);
        let slots = |count: u32| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(usize::MAX)));
        Self { memory: slots(budget), budget, builds: slots(concurrent_builds.max(1)) }
    }

    /// Waits until a run of that size fits; one that is larger than the whole budget runs alone, since waiting would not help it.
    pub(crate) async fn run(&self, mbytes: u32) -> Admitted {
        // The semaphore is never closed.
        self.memory.clone().acquire_many_owned(mbytes.min(self.budget)).await.ok()
    }

    /// Books a run that is running already, as far as there is room.
    pub(crate) fn running(&self, mbytes: u32) -> Admitted {
        let free = u32::try_from(self.memory.available_permits()).unwrap_or(u32::MAX);
        self.memory.clone().try_acquire_many_owned(mbytes.min(free)).ok()
    }

    /// Waits until another build may start.
    pub(crate) async fn build(&self) -> Admitted {
        self.builds.clone().acquire_owned().await.ok()
    }

    /// Books a build that is running already, if there is room.
    pub(crate) fn building(&self) -> Admitted {
        self.builds.clone().try_acquire_owned().ok()
    }
}
