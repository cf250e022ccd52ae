//! Identity of requests in a queue.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// Most requests in one batch call (`Q19`).
pub const MAX_BATCH: usize = 25;

const LEN: usize = 15;

/// Id of a request: the first 15 characters of base64(SHA-256(unique key)) without `+`, `/` and `=` (`Q1`).
///
/// Unique within its queue only. Shorter only if a hash has too many of the removed characters, which does not happen in practice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    text: [u8; LEN],
}

impl RequestId {
    /// The id that belongs to a unique key.
    pub fn of(unique_key: &str) -> Self {
        let mut encoded = [0; 44];
        // 32 bytes are 44 characters, so there is always room.
        let written = STANDARD.encode_slice(Sha256::digest(unique_key), &mut encoded).unwrap_or_default();
        let mut text = [b'0'; LEN];
        let kept = encoded[..written].iter().filter(|byte| byte.is_ascii_alphanumeric());
        for (slot, byte) in text.iter_mut().zip(kept) {
            *slot = *byte;
        }
        Self { text }
    }

    /// Reads an id; `None` for anything that no request can have.
    pub fn parse(text: &str) -> Option<Self> {
        let text: [u8; LEN] = text.as_bytes().try_into().ok()?;
        text.iter().all(u8::is_ascii_alphanumeric).then_some(Self { text })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_the_sdks_compute() {
        for (unique_key, id) in [
            ("http://example.com", "8OamqXBCpPHxyH9"),
            ("https://example.com", "EAaArVRs5qV39C9"),
            ("https://example.com/a/b?c=1", "JRPY03OzDkiuDVm"),
            ("test-key-1", "ElVVjfWGrieQB6J"),
            ("k4", "lAkd1kohlCFLxtF"),
            ("žluťoučký kůň", "ZCWMUlVcj3BpVa7"),
            ("GET():https://example.com/", "FfPqSl2JHMfvxFo"),
            ("", "47DEQpj8HBSaTIm"),
        ] {
            assert_eq!(RequestId::of(unique_key).as_str(), id, "{unique_key}");
        }
    }
}
