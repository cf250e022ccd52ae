//! Text inside markup.

/// Where text is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Html,
    /// Between the tags of XML.
    Content,
    /// In an attribute of XML, between double quotes.
    Attribute,
}

/// Writes `text` so that it reads as itself (`X17`, `X21`). What XML cannot hold is dropped.
pub(super) fn escape(text: &str, place: Place, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let instead: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            // Readers of XML turn a bare one into a line feed, and any white space in attributes into spaces.
            b'\r' if place != Place::Html => b"&#13;",
            b'\n' if place == Place::Attribute => b"&#10;",
            b'\t' if place == Place::Attribute => b"&#9;",
            b'\n' | b'\t' | b'\r' | 0x20..=0xEE => continue,
            0..0x20 if place != Place::Html => b"",
            // U+FFFE and U+FFFF.
            0xEF if place != Place::Html && matches!(bytes[at..], [_, 0xBF, 0xBE | 0xBF, ..]) => {
                out.extend_from_slice(&bytes[written..at]);
                written = at + 3;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[written..at]);
        out.extend_from_slice(instead);
        written = at + 1;
    }
    out.extend_from_slice(&bytes[written..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_for_its_place() {
        let text = "a&b<c>\"d\"\r\n\te\u{0}\u{ffff}é\u{1f600}\u{fffe}z";
        let escaped = |place| {
            let mut out = Vec::new();
            escape(text, place, &mut out);
            String::from_utf8(out).unwrap()
        };

        assert_eq!(escaped(Place::Html), "a&amp;b&lt;c&gt;&quot;d&quot;\r\n\te\u{0}\u{ffff}é\u{1f600}\u{fffe}z");
        assert_eq!(escaped(Place::Content), "a&amp;b&lt;c&gt;&quot;d&quot;&#13;\n\teé\u{1f600}z");
        assert_eq!(escaped(Place::Attribute), "a&amp;b&lt;c&gt;&quot;d&quot;&#13;&#10;&#9;eé\u{1f600}z");
    }
}
