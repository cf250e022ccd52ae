//! What cases are made of.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::push::{Items, split_items};
use model::{Clock, GeneralAccess, Id, Random, Storage, StorageId, StorageKind, Timestamp, UserId};

use crate::{ItemChunks, Store};

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub struct StoppedClock(AtomicI64);

impl Default for StoppedClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_790_000_000_000))
    }
}

impl StoppedClock {
    /// Moves on.
    pub fn advance_millis(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Randomness that is the same in every test run, and different at every call.
#[derive(Debug, Default)]
pub struct ForeseeableRandom(AtomicU64);

impl Random for ForeseeableRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            // SplitMix64.
            let mut word = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            part.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..part.len()]);
        }
    }
}

static RANDOM: ForeseeableRandom = ForeseeableRandom(AtomicU64::new(1));

/// An id that no other has in this process.
pub fn fresh<K>() -> Id<K> {
    Id::random(&RANDOM)
}

/// The user of most cases.
pub fn user() -> UserId {
    Id::parse("caseUserCaseUser0").unwrap()
}

/// A storage as it may be asked for.
pub fn storage(kind: StorageKind, name: Option<&str>) -> Storage {
    Storage {
        id: fresh(),
        kind,
        user_id: user(),
        name: name.map(str::to_owned),
        title: None,
        created_at: Timestamp::from_millis(1_790_000_000_000),
        actor_id: None,
        run_id: None,
        general_access: GeneralAccess::FollowUserSetting,
        url_signing_secret: "secret".to_owned(),
        schema: None,
        lives_with: None,
        token_id: None,
    }
}

/// Makes an unnamed storage and returns its id.
pub async fn given(store: &Store, kind: StorageKind) -> StorageId {
    store.storages.get_or_create(storage(kind, None)).await.unwrap().storage.id
}

/// Items of a push.
pub fn items(body: &str) -> Items {
    split_items(body.as_bytes()).unwrap()
}

/// `{"i":<from>}` to `{"i":<to - 1>}` as one push.
pub fn numbered(numbers: std::ops::Range<u64>) -> Items {
    let list: Vec<String> = numbers.map(numbered_item).collect();
    items(&format!("[{}]", list.join(",")))
}

/// An item of [`numbered`].
pub fn numbered_item(number: u64) -> String {
    format!("{{\"i\":{number}}}")
}

/// Reads chunks to their end, as one item a line.
pub async fn lines(chunks: ItemChunks) -> Vec<String> {
    use futures::TryStreamExt as _;

    let count = chunks.count;
    let chunks: Vec<_> = chunks.chunks.try_collect().await.unwrap();
    let mut lines = Vec::new();
    for chunk in chunks {
        let text = std::str::from_utf8(&chunk.lines).unwrap();
        assert!(chunk.count > 0 && text.ends_with('\n'), "{text}");
        let before = lines.len() as u64;
        lines.extend(text.lines().map(str::to_owned));
        assert_eq!(lines.len() as u64 - before, chunk.count);
    }
    assert_eq!(lines.len() as u64, count);
    lines
}

/// The same store in another task.
pub fn shared(store: &Store) -> Arc<Store> {
    Arc::new(store.clone())
}
