//! Unpacked frames of pages that were read lately.
//!
//! Who looks through a dataset reads pages that lie side by side, and often several look at the same ones: each would unpack
//! the frames around its page anew. Only pages go through here; an export of a whole dataset would drive everything out.

use std::sync::Arc;

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// Most bytes of lines that are kept.
const CAPACITY: u64 = 32 * 1024 * 1024;

/// Lines of frames, by the object that they are in and where they begin in it. What is named of an object never changes.
#[derive(Clone, Debug)]
pub(super) struct Pages(Cache<(Arc<str>, u64), Bytes>);

impl Pages {
    pub(super) fn new() -> Self {
        let weight = |_: &(Arc<str>, u64), lines: &Bytes| u32::try_from(lines.len()).unwrap_or(u32::MAX);
        // Whoever turns a page comes back to its last frame at once, however seldom it was read before.
        Self(Cache::builder().max_capacity(CAPACITY).weigher(weight).eviction_policy(EvictionPolicy::lru()).build())
    }

    pub(super) fn get(&self, object: &Arc<str>, start: u64) -> Option<Bytes> {
        self.0.get(&(object.clone(), start))
    }

    pub(super) fn keep(&self, object: &Arc<str>, start: u64, lines: Bytes) {
        self.0.insert((object.clone(), start), lines);
    }
}
