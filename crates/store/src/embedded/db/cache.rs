//! A bounded cache of what the database holds.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};

use parking_lot::Mutex;

const SHARDS: usize = 16;

/// Keeps the newest committed state of things that are read often.
///
/// Values come in by two ways. A commit hook [`set`](Self::set)s or [`remove`](Self::remove)s a value, before the writer
/// answers its caller. A reader [`fill`](Self::fill)s in what it has read, unless a commit changed anything near by since it
/// began to read: so a late reader never puts an old state in the place of a newer one.
#[derive(Debug)]
pub(in crate::embedded) struct Cache<K, V> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
    hasher: RandomState,
    /// Values that a shard keeps at least, and half of what it keeps at most.
    half: usize,
}

#[derive(Debug)]
struct Shard<K, V> {
    /// What was used lately.
    young: HashMap<K, V>,
    /// What was used before that; forgotten when `young` is full.
    old: HashMap<K, V>,
    /// Counts commits that changed a value here.
    epoch: u64,
}

/// Proves when a reader began to read.
#[derive(Clone, Copy, Debug)]
pub(in crate::embedded) struct Epoch(u64);

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// A cache of about `capacity` values.
    pub(in crate::embedded) fn new(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard { young: HashMap::new(), old: HashMap::new(), epoch: 0 })),
            hasher: RandomState::new(),
            half: (capacity / SHARDS / 2).max(1),
        }
    }

    /// The value, or leave to read it and [`fill`](Self::fill) it in.
    pub(in crate::embedded) fn get(&self, key: &K) -> Result<V, Epoch> {
        let mut shard = self.shard(key).lock();
        if let Some(value) = shard.young.get(key) {
            return Ok(value.clone());
        }
        match shard.old.remove(key) {
            Some(value) => {
                shard.insert(key.clone(), value.clone(), self.half);
                Ok(value)
            }
            None => Err(Epoch(shard.epoch)),
        }
    }

    /// The value; if it is not there, what `read` finds, which is kept for the next time.
    pub(in crate::embedded) fn get_or_read<E>(
        &self,
        key: &K,
        read: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<V>, E> {
        let epoch = match self.get(key) {
            Ok(value) => return Ok(Some(value)),
            Err(epoch) => epoch,
        };
        let value = read()?;
        if let Some(value) = &value {
            self.fill(epoch, key.clone(), value.clone());
        }
        Ok(value)
    }

    /// Puts in what was read since `epoch`.
    pub(in crate::embedded) fn fill(&self, epoch: Epoch, key: K, value: V) {
        let mut shard = self.shard(&key).lock();
        if shard.epoch == epoch.0 {
            shard.insert(key, value, self.half);
        }
    }

    /// Puts in what was committed just now.
    pub(in crate::embedded) fn set(&self, key: K, value: V) {
        let mut shard = self.shard(&key).lock();
        shard.epoch += 1;
        shard.old.remove(&key);
        shard.insert(key, value, self.half);
    }

    /// Takes out what is no more.
    pub(in crate::embedded) fn remove(&self, key: &K) {
        let mut shard = self.shard(key).lock();
        shard.epoch += 1;
        shard.young.remove(key);
        shard.old.remove(key);
    }

    fn shard(&self, key: &K) -> &Mutex<Shard<K, V>> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let place = self.hasher.hash_one(key) as usize;
        &self.shards[place % SHARDS]
    }
}

impl<K: Hash + Eq, V> Shard<K, V> {
    fn insert(&mut self, key: K, value: V, half: usize) {
        if self.young.len() >= half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_began_before_a_commit_does_not_bring_back_the_old_state() {
        let cache = Cache::new(64);
        let began = cache.get(&1).unwrap_err();

        cache.set(1, "new");
        cache.fill(began, 1, "old");
        assert_eq!(cache.get(&1).unwrap(), "new");

        let began = cache.get(&2).unwrap_err();
        cache.remove(&2);
        cache.fill(began, 2, "old");
        assert!(cache.get(&2).is_err());
    }

    #[test]
    fn it_stays_bounded_and_keeps_what_is_used() {
        let cache = Cache::new(320);
        cache.set(0, 0);

        for key in 1..100_000 {
            cache.set(key, key);
            assert_eq!(cache.get(&0).unwrap(), 0);
        }

        let kept = cache.shards.iter().map(|shard| {
            let shard = shard.lock();
            shard.young.len() + shard.old.len()
        });
        let kept: usize = kept.sum();
        assert!(kept <= 320 + SHARDS, "{kept}");
    }
}
