//! Log text without what only terminals understand (`LOG-4`).

use bytes::Bytes;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// Removes terminal escapes and control characters from UTF-8 text that arrives in pieces. Line ends and tabs stay.
///
/// An escape that is never closed ends with its line, so that it cannot swallow the log.
#[derive(Debug, Default)]
pub(super) struct PlainText {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// Behind `0xC2`, which begins the control characters above ASCII as well as ordinary ones.
    LeadByte,
    /// Behind an escape character.
    Escape,
    /// Behind an escape that has one more character: `ESC ( B`.
    OneMore,
    /// In `ESC [ … letter`.
    Control,
    /// In `ESC ] … BEL` or `ESC ] … ESC \`.
    Payload,
    /// Behind an escape character within that.
    PayloadEscape,
}

impl PlainText {
    /// The next piece without what must go.
    pub(super) fn next(&mut self, piece: Bytes) -> Bytes {
        if self.state == State::Text && !piece.iter().any(|byte| is_special(*byte)) {
            return piece;
        }
        let mut plain = Vec::with_capacity(piece.len());
        for byte in piece {
            self.state = take(self.state, byte, &mut plain);
        }
        plain.into()
    }
}

/// What follows `state` when `byte` comes; what stays of the text goes to `plain`.
fn take(state: State, byte: u8, plain: &mut Vec<u8>) -> State {
    use State::{Control, Escape, LeadByte, OneMore, Payload, PayloadEscape, Text};
    match (state, byte) {
        // Nothing goes beyond its line.
        (Escape | OneMore | Control | Payload | PayloadEscape, b'\n') => {
            plain.push(b'\n');
            Text
        }
        // Escapes are ASCII, so a character beyond it belongs to the text.
        (Escape | OneMore | Control, 0x80..) => take(Text, byte, plain),
        (Text, ESCAPE) | (Escape | OneMore | Control, ESCAPE) => Escape,
        (Text, 0xc2) => LeadByte,
        (Text, byte) => {
            if !is_special(byte) {
                plain.push(byte);
            }
            Text
        }
        // Control characters of two bytes; among them one that begins what `ESC [` begins, and one for `ESC ]`.
        (LeadByte, 0x9b) => Control,
        (LeadByte, 0x90 | 0x98 | 0x9d | 0x9e | 0x9f) => Payload,
        (LeadByte, 0x80..=0x9f) => Text,
        (LeadByte, byte) => {
            plain.extend([0xc2, byte]);
            Text
        }
        (Escape, b'[') => Control,
        (Escape, b']' | b'P' | b'X' | b'^' | b'_') => Payload,
        (Escape, 0x20..=0x2f) => OneMore,
        (Escape, _) => Text,
        (OneMore, 0x20..=0x2f) => OneMore,
        (OneMore, _) => Text,
        (Control, 0x40..=0x7e) => Text,
        (Control, _) => Control,
        (Payload, BELL) => Text,
        (Payload, ESCAPE) => PayloadEscape,
        (Payload, _) => Payload,
        (PayloadEscape, b'\\') => Text,
        (PayloadEscape, ESCAPE) => PayloadEscape,
        (PayloadEscape, _) => Payload,
    }
}

/// Whether a byte of text needs a second look: control characters, and the lead byte of those beyond ASCII.
fn is_special(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\n' && byte != b'\t') || byte == 0x7f || byte == 0xc2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str, sizes: usize) -> String {
        let mut filter = PlainText::default();
        let pieces = text.as_bytes().chunks(sizes).map(Bytes::copy_from_slice);
        String::from_utf8(pieces.flat_map(|piece| filter.next(piece)).collect()).unwrap()
    }

    #[test]
    fn escapes_and_control_characters_go_and_text_stays() {
        for (text, expected) in [
            ("plain ü §\t»x« \u{a0}\n", "plain ü §\t»x« \u{a0}\n"),
            ("\x1b[32mINFO\x1b[39m  ok\x1b[0m\n", "INFO  ok\n"),
            ("\x1b[38;5;12mblue\x1b[1;3Hx\n", "bluex\n"),
            ("\x1b]8;;http://example.com\x07link\x1b]8;;\x1b\\ x\n", "link x\n"),
            ("\x1b(Bx\x1bMy\x1b7z\n", "xyz\n"),
            ("a\rb\r\nc\x08\x7f\0\n", "ab\nc\n"),
            ("\u{9b}31mred\u{9d}0;title\x07.\u{85}\n", "red.\n"),
            ("\x1bü\x1b[3ü\x1b(ü\n", "üüü\n"),
            ("\x1b[31\nnext \x1b]0;never closed\nnext\x1b\n.\n", "\nnext \nnext\n.\n"),
        ] {
            for size in 1..=text.len() {
                assert_eq!(plain(text, size), expected, "{text:?} in pieces of {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn lines_and_printable_text_survive_anything(text in "[a-z \u{e9}\u{4e16}\u{1b}\\[\\]0-9;m\u{7}\n\u{9b}\u{a7}]{0,64}", size in 1_usize..9) {
            let found = plain(&text, size);

            prop_assert_eq!(found.matches('\n').count(), text.matches('\n').count());
            prop_assert!(!found.chars().any(|character| character.is_control() && character != '\n'));
            prop_assert_eq!(plain(&found, size), found);
        }
    }
}
