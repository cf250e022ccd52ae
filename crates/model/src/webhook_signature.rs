//! Signatures of deliveries, as the Standard Webhooks specification has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Timestamp;
use crate::signature::hmac_sha256;

/// Begins every secret.
const PREFIX: &str = "whsec_";

/// The key in a secret of the form `whsec_` and 24 to 64 bytes in base64; `None` for anything else.
pub fn key_of(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

/// The value of `webhook-signature` for a delivery with this `webhook-id`, `webhook-timestamp` and body.
pub fn sign(key: &[u8], id: &str, sent_at: Timestamp, body: &[u8]) -> String {
    let mut signed = format!("{id}.{}.", seconds(sent_at)).into_bytes();
    signed.extend_from_slice(body);
    format!("v1,{}", STANDARD.encode(hmac_sha256(key, &signed)))
}

/// The value of `webhook-timestamp`.
pub fn seconds(sent_at: Timestamp) -> i64 {
    sent_at.as_millis().div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        let key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let sent_at = Timestamp::from_millis(1_614_265_330_999);

        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", sent_at, br#"{"test": 2432232314}"#);

        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_have_a_prefix_and_a_length() {
        let secret = |bytes| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));

        for bytes in [24, 32, 64] {
            assert_eq!(key_of(&secret(bytes)), Some(vec![7; bytes]));
        }
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!", &secret(23), &secret(65)] {
            assert_eq!(key_of(bad), None, "{bad}");
        }
    }
}
