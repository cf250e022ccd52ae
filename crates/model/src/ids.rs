//! Identifiers, and the source of randomness that makes them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const LEN: usize = 17;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The public id of a `K`: 17 characters of `[a-zA-Z0-9]`, unguessable, case-sensitive (`ID-1`, `ID-2`, `S1`).
///
/// All kinds share the form; the type keeps them apart in code.
pub struct Id<K> {
    text: [u8; LEN],
    kind: PhantomData<fn() -> K>,
}

/// Marks what an [`Id`] names.
pub mod kind {
    /// An Actor.
    pub enum Actor {}
    /// A build.
    pub enum Build {}
    /// A run.
    pub enum Run {}
    /// A schedule.
    pub enum Schedule {}
    /// An action of a schedule.
    pub enum ScheduleAction {}
    /// A task.
    pub enum Task {}
    /// A user.
    pub enum User {}
    /// A dataset, key-value store or request queue.
    pub enum Storage {}
    /// An API token (its handle, not its value).
    pub enum Token {}
    /// A webhook.
    pub enum Webhook {}
    /// What is sent for a webhook.
    pub enum Dispatch {}
}

/// Id of an Actor.
pub type ActorId = Id<kind::Actor>;
/// Id of a build.
pub type BuildId = Id<kind::Build>;
/// Id of a run.
pub type RunId = Id<kind::Run>;
/// Id of a schedule.
pub type ScheduleId = Id<kind::Schedule>;
/// Id of an action of a schedule.
pub type ScheduleActionId = Id<kind::ScheduleAction>;
/// Id of a task.
pub type TaskId = Id<kind::Task>;
/// Id of a user.
pub type UserId = Id<kind::User>;
/// Id of a dataset, key-value store or request queue; unique over the three (`S1`).
pub type StorageId = Id<kind::Storage>;
/// Handle of an API token, by which it is listed and revoked.
pub type TokenId = Id<kind::Token>;
/// Id of a webhook.
pub type WebhookId = Id<kind::Webhook>;
/// Id of a dispatch of a webhook.
pub type DispatchId = Id<kind::Dispatch>;

impl<K> Id<K> {
    /// A fresh id.
    pub fn random(random: &dyn Random) -> Self {
        let text = random.base62::<LEN>();
        Self { text, kind: PhantomData }
    }

    /// Reads an id; `None` for anything that has not the form of one, which no look-up can find (`ID-13`).
    pub fn parse(text: &str) -> Option<Self> {
        let text: [u8; LEN] = text.as_bytes().try_into().ok()?;
        text.iter().all(u8::is_ascii_alphanumeric).then_some(Self { text, kind: PhantomData })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

// Derives would ask the same of `K`, which is never there.
impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer, "an id", Self::parse)
    }
}

/// Where unguessable bytes come from. There is one in the whole program, so that tests can foresee ids.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills `bytes` from a cryptographically secure source.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Random + '_ {
    /// `N` characters of `[a-zA-Z0-9]`, each equally likely.
    pub fn base62<const N: usize>(&self) -> [u8; N] {
        let mut text = [0; N];
        let mut filled = 0;
        while filled < N {
            let mut bytes = [0; 32];
            self.fill(&mut bytes);
            // 248 is the largest multiple of 62 in a byte: what lies above would favour the first letters.
            for byte in bytes.into_iter().filter(|byte| *byte < 248).take(N - filled) {
                text[filled] = ALPHABET[usize::from(byte % 62)];
                filled += 1;
            }
        }
        text
    }

    /// A secret of `N` characters of `[a-zA-Z0-9]`.
    pub fn secret<const N: usize>(&self) -> String {
        self.base62::<N>().iter().copied().map(char::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Counting(std::sync::atomic::AtomicU8);

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn ids_have_seventeen_alphanumerics_and_read_back() {
        let random = Counting(200.into());

        let first = RunId::random(&random);
        let second = RunId::random(&random);

        assert_ne!(first, second);
        assert_eq!(first.as_str().len(), 17);
        assert_eq!(RunId::parse(first.as_str()), Some(first));
        assert_eq!(serde_json::from_str::<RunId>(&serde_json::to_string(&first).unwrap()).unwrap(), first);
    }

    #[test]
    fn what_has_not_the_form_of_an_id_is_none() {
        for text in ["", "short", "aaaaaaaaaaaaaaaaaa", "aaaaaaaa-aaaaaaaa", "ééééééééa", "aaaaaaaaaaaaaaaa "] {
            assert_eq!(RunId::parse(text), None, "{text}");
        }
    }
}
