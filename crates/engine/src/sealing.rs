//! Keys derived from the server's secret, and values sealed with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use model::signature::{hmac_sha256, sign};
use model::{Random, RunId, ScheduleActionId, ScheduleId, Timestamp, UserId, hex};

use crate::Engine;

const NONCE: usize = 24;
const SEALED: &str = "sealed:1:";

/// Begins every run token.
pub(crate) const RUN_TOKEN: &str = "playhouse_run_";
/// Begins every token that a webhook brings to this server's own API.
pub(crate) const WEBHOOK_TOKEN: &str = "playhouse_webhook_";

/// One key for each use, so that none tells anything about another.
pub(crate) struct Keys {
    run_tokens: [u8; 32],
    scheduled_runs: [u8; 32],
    webhook_tokens: [u8; 32],
    input_passphrases: [u8; 32],
    events: String,
    seal: XChaCha20Poly1305,
}

impl Keys {
    pub(crate) fn of(secret: &[u8; 32]) -> Self {
        let key = |purpose: &str| hmac_sha256(secret, purpose.as_bytes());
        Self {
            run_tokens: key("run tokens"),
            scheduled_runs: key("scheduled runs"),
            webhook_tokens: key("webhook tokens"),
            input_passphrases: key("input passphrases"),
            events: hex::encode(&key("events")),
            seal: XChaCha20Poly1305::new(&key("sealed values").into()),
        }
    }

    /// The token of a run (`AUTH-15`): the same for all of its lives.
    pub(crate) fn run_token(&self, run: &RunId) -> String {
        let mac = hmac_sha256(&self.run_tokens, run.as_str().as_bytes());
        format!("{RUN_TOKEN}{run}_{}", hex::encode(&mac[..20]))
    }

    /// What the id of the run follows from that an action of a schedule starts at a time.
    pub(crate) fn scheduled_run(&self, schedule: &ScheduleId, action: &ScheduleActionId, at: Timestamp) -> [u8; 32] {
        hmac_sha256(&self.scheduled_runs, format!("{schedule} {action} {}", at.as_millis()).as_bytes())
    }

    /// A token with which a webhook of that user calls this server (`WH-17`), good until `expires_at`.
    pub(crate) fn webhook_token(&self, user: &UserId, expires_at: Timestamp) -> String {
        let claim = format!("{user}_{}", expires_at.as_millis());
        let mac = hmac_sha256(&self.webhook_tokens, claim.as_bytes());
        format!("{WEBHOOK_TOKEN}{claim}_{}", hex::encode(&mac[..20]))
    }

    /// What opens the key with which a run reads its secret inputs (`INP-25`): the same for all of its lives, so that a later
    /// server knows what to mask.
    pub(crate) fn input_passphrase(&self, run: &RunId) -> String {
        hex::encode(&hmac_sha256(&self.input_passphrases, run.as_str().as_bytes()))
    }

    /// The secret part of the address of a run's events (`EVT-1`).
    pub(crate) fn events_secret(&self, run: &RunId) -> String {
        sign(&self.events, run.as_str())
    }
}

impl Engine {
    /// Seals a secret value for the store; each time the result is another.
    pub fn seal(&self, value: &str) -> String {
        seal(&self.inner.keys, &*self.inner.random, value)
    }

    /// Opens what [`seal`](Self::seal) made; `None` if it was sealed under another secret or was never sealed.
    pub fn unseal(&self, sealed: &str) -> Option<String> {
        unseal(&self.inner.keys, sealed)
    }
}

fn seal(keys: &Keys, random: &dyn Random, value: &str) -> String {
    let mut sealed = vec![0; NONCE];
    random.fill(&mut sealed);
    let nonce: [u8; NONCE] = std::array::from_fn(|at| sealed[at]);
    // Fails only for values of 256 GiB and more.
    sealed.extend(keys.seal.encrypt(&XNonce::from(nonce), value.as_bytes()).unwrap_or_default());
    format!("{SEALED}{}", STANDARD_NO_PAD.encode(sealed))
}

fn unseal(keys: &Keys, sealed: &str) -> Option<String> {
    let bytes = STANDARD_NO_PAD.decode(sealed.strip_prefix(SEALED)?).ok()?;
    let (nonce, text) = bytes.split_first_chunk::<NONCE>()?;
    let value = keys.seal.decrypt(&XNonce::from(*nonce), text).ok()?;
    String::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRandom;

    #[test]
    fn what_was_sealed_opens_under_the_same_secret_only() {
        let (keys, random) = (Keys::of(&[1; 32]), TestRandom::default());

        for value in ["", "hunter2", &"ü".repeat(50_000)] {
            let sealed = seal(&keys, &random, value);

            assert!(value.is_empty() || !sealed.contains(value));
            assert_ne!(sealed, seal(&keys, &random, value));
            assert_eq!(unseal(&keys, &sealed).as_deref(), Some(value));
            assert_eq!(unseal(&Keys::of(&[2; 32]), &sealed), None);
            assert_eq!(unseal(&keys, &format!("{sealed}A")), None);
        }
        assert_eq!(unseal(&keys, "hunter2"), None);
        assert_eq!(unseal(&keys, "sealed:1:"), None);
    }
}
