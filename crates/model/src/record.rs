//! Keys of key-value records.

/// Longest key in bytes (`K1`).
pub const MAX_KEY: usize = 256;

/// Whether `key` may name a record: `[a-zA-Z0-9!\-_.'()]{1,256}` and neither `.` nor `..`, which no URL can carry (`K1`).
pub fn is_record_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
        && !matches!(key, "." | "..")
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'-' | b'_' | b'.' | b'\'' | b'(' | b')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked() {
        for good in ["INPUT", "a!b'(c).json", "...", &"k".repeat(256)] {
            assert!(is_record_key(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "é", "a%2Fb", &"k".repeat(257)] {
            assert!(!is_record_key(bad), "{bad}");
        }
    }
}
