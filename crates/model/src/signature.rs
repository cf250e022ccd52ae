//! Signatures in URLs, which open a storage to whoever has the link.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{StorageId, Timestamp};

const VERSION: &str = "0";
const BASE62: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The platform's short HMAC: the first 120 bits of HMAC-SHA-256 in base 62 (`P7`).
pub fn sign(secret: &str, message: &str) -> String {
    let digest = hmac_sha256(secret.as_bytes(), message.as_bytes());
    let mut number = digest[..15].iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let mut digits = Vec::with_capacity(21);
    loop {
        digits.push(BASE62[usize::try_from(number % 62).unwrap_or_default()]);
        number /= 62;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().copied().map(char::from).collect()
}

/// The signature of a storage's content that holds until `expires_at`, or for ever (`P9`).
pub fn sign_content(secret: &str, storage: &StorageId, expires_at: Option<Timestamp>) -> String {
    let expires_at = expires_at.map_or(0, Timestamp::as_millis);
    let hmac = sign(secret, &format!("{VERSION}.{expires_at}.{storage}"));
    URL_SAFE_NO_PAD.encode(format!("{VERSION}.{expires_at}.{hmac}"))
}

/// Whether `signature` opens the content of `storage` at `now` (`P11`). Either base64 alphabet will do, padded or not.
pub fn opens_content(secret: &str, storage: &StorageId, signature: &str, now: Timestamp) -> bool {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&URL_SAFE, lenient)
        .decode(signature)
        .or_else(|_| GeneralPurpose::new(&STANDARD, lenient).decode(signature));
    let Ok(text) = decoded.map(String::from_utf8) else { return false };
    let Ok(text) = text else { return false };
    let parts: Vec<&str> = text.split('.').collect();
    let [VERSION, expires_at, hmac] = parts[..] else { return false };
    let Ok(expiry) = expires_at.parse::<i64>() else { return false };
    let expected = sign(secret, &format!("{VERSION}.{expires_at}.{storage}"));
    same(&expected, hmac) && (expiry == 0 || expiry > now.as_millis())
}

/// Whether `signature` opens the record `key` (`P8`).
pub fn opens_record(secret: &str, key: &str, signature: &str) -> bool {
    same(&sign(secret, key), signature)
}

/// HMAC-SHA-256.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Compares without telling by its time where the two differ.
pub fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_hmacs_match_the_vectors() {
        for (secret, message, signature) in [
            ("hmac-secret", "my-record-key", "qweuo3E7A2wiW24turpL"),
            ("hmac-same-secret", "hmac-same-message", "Erz9xXpqe24fa3PDUhxE"),
            ("secret-key-for-testing", "OUTPUT", "2ypikKx0WIAsy9q6RR3F"),
            ("abc", "INPUT", "QKfW9vbXTXlk4R4frAcN"),
            ("abc", "OUTPUT", "1gqorDVmjxot2eqUA6hUd"),
            ("", "", "1lcWUhfXs9DG9eDsoquF9"),
        ] {
            assert_eq!(sign(secret, message), signature);
        }
    }

    #[test]
    fn content_signatures_match_the_vectors_and_expire() {
        let storage = StorageId::parse("WkzbQMuFYuamGv3YF").unwrap();
        let expiry = Timestamp::from_millis(1_701_209_600_000);

        assert_eq!(sign_content("abc", &storage, None), "MC4wLnZGM3Vvb3doU0l2UENZS3FOU0FN");
        let signature = sign_content("abc", &storage, Some(expiry));
        assert_eq!(signature, "MC4xNzAxMjA5NjAwMDAwLk1EUHVMcjlNTTVQb2Q4Ym5WNVda");

        assert!(opens_content("abc", &storage, &signature, expiry.plus_millis(-1)));
        assert!(!opens_content("abc", &storage, &signature, expiry));
        assert!(!opens_content("abd", &storage, &signature, expiry.plus_millis(-1)));
        let other = StorageId::parse("HG7ML7M8z78YcAPEB").unwrap();
        let padded = "MC4xNzAwMDAwMDYwMDAwLjEzMmEyeFVNeTVjR0NyZlAxRzZseg==";
        assert!(opens_content("secret-key-for-testing", &other, padded, Timestamp::from_millis(0)));
    }

    #[test]
    fn rubbish_opens_nothing() {
        let storage = StorageId::parse("WkzbQMuFYuamGv3YF").unwrap();
        for rubbish in ["", "x", "MC4w", "....", "MC4wLnZGM3Vvb3doU0l2UENZS3FOU0FNLng", "é"] {
            assert!(!opens_content("abc", &storage, rubbish, Timestamp::from_millis(0)), "{rubbish}");
        }
    }
}
