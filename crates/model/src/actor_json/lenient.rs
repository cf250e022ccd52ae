//! JSON as people write it by hand: with comments, trailing commas and single quotes (`SRC-1`).

use serde_json::Value;

/// Deeper nesting is refused, as in strict JSON; the JSON5 reader itself would recurse until the stack ends.
const MAX_DEPTH: usize = 127;

/// Reads strict JSON, else JSON5. The error is the reader's, for people.
pub(crate) fn parse_lenient(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    if is_too_deep(text) {
        return Err("too many levels of nesting".to_owned());
    }
    json5::from_str(text).map_err(|error| error.to_string())
}

/// Whether brackets lie deeper than allowed, leaving out those in strings and comments.
fn is_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' if depth == MAX_DEPTH => return true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            quote @ (b'"' | b'\'') => {
                while let Some(&inside) = bytes.get(at) {
                    at += if inside == b'\\' { 2 } else { 1 };
                    if inside == quote {
                        break;
                    }
                }
            }
            b'/' if bytes.get(at) == Some(&b'/') => {
                at += memchr::memchr2(b'\n', b'\r', &bytes[at..]).unwrap_or(bytes.len() - at);
            }
            b'/' if bytes.get(at) == Some(&b'*') => {
                at += memchr::memmem::find(&bytes[at..], b"*/").map_or(bytes.len() - at, |end| end + 2);
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hand_written_json_is_read() {
        let text = "\u{feff}{ // comment { [\n  a: 'it\\'s', /* [[[ */ \"b\": [1, 2,], }";

        assert_eq!(parse_lenient(text), Ok(json!({"a": "it's", "b": [1, 2]})));
        assert!(parse_lenient("{,}").is_err());
        assert!(parse_lenient("").is_err());
    }

    #[test]
    fn nesting_without_end_is_refused() {
        for text in ["[".repeat(1_000_000), "{a:".repeat(1_000_000), "{'\\\\':[".repeat(1000), "/**/[//\n".repeat(1000)]
        {
            assert_eq!(parse_lenient(&text), Err("too many levels of nesting".to_owned()));
        }
        let fine = format!("{}'x',{}", "[".repeat(100), "]".repeat(100));
        assert!(parse_lenient(&fine).is_ok());
    }
}
