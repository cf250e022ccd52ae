//! Walking over JSON text without building anything.
//!
//! Dataset items are kept as the bytes that came (`D5`), so what reads them cuts slices out of the text: order, number
//! spelling and everything that is not asked for stay as they are. One pass checks the whole grammar, so a slice that was
//! cut here is valid JSON.

use std::borrow::Cow;
use std::fmt;

/// How many objects and arrays may lie inside each other in one value.
///
/// A value this deep still fits into an array that a JSON reader with the usual limit of 128 levels accepts.
pub const MAX_DEPTH: u32 = 126;

/// A reading position in JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// The inside of a JSON string: what stands between the quotes, escapes and all.
#[derive(Clone, Copy, Debug)]
pub struct RawString<'a> {
    quoted: &'a str,
    has_escapes: bool,
}

/// What kept a text from being JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Byte offset into the text.
    pub at: usize,
    /// What is wrong there.
    pub problem: JsonProblem,
}

/// The ways in which a text fails to be JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonProblem {
    /// The text ends before the value does.
    UnexpectedEnd,
    /// Something else than this should stand here.
    Expected(&'static str),
    /// A string holds a raw control character.
    ControlCharacter,
    /// A backslash is followed by nothing that it can escape.
    BadEscape,
    /// More than [`MAX_DEPTH`] levels of nesting.
    TooDeep,
}

/// Sees what a value is made of, in order, while [`Scanner::value_for`] goes through it.
pub(crate) trait Watcher {
    /// A key of an object.
    fn key(&mut self, key: RawString<'_>);
    /// Anything else that tells how the value is built.
    fn mark(&mut self, mark: Mark);
}

/// What a value is made of, but for its keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    /// An object begins.
    Object = 1,
    /// It ends.
    ObjectEnd = 2,
    /// An array begins.
    Array = 3,
    /// It ends.
    ArrayEnd = 4,
    /// A value that holds no others.
    Scalar = 5,
}

/// Nobody watches.
impl Watcher for () {
    fn key(&mut self, _: RawString<'_>) {}
    fn mark(&mut self, _: Mark) {}
}

impl fmt::Display for JsonProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEnd => f.write_str("unexpected end of JSON input"),
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::ControlCharacter => f.write_str("control character in a string must be escaped"),
            Self::BadEscape => f.write_str("invalid escape in a string"),
            Self::TooDeep => write!(f, "more than {MAX_DEPTH} levels of nesting"),
        }
    }
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of `text`.
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The byte offset of what comes next.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The next byte, if any.
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Moves on to the next byte that is no white space.
    pub fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes the opening bracket of an object or array; its contents come from [`Self::next_key`] or [`Self::next_element`].
    ///
    /// # Errors
    /// Tells where the text is no JSON.
    pub fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        self.skip_whitespace();
        if self.peek() != Some(bracket) {
            return Err(self.expected(if bracket == b'{' { "an object" } else { "an array" }));
        }
        self.at += 1;
        Ok(())
    }

    /// The key of the next member, leaving the position at its value; `None` after the last, behind the closing brace.
    ///
    /// # Errors
    /// Tells where the text is no JSON.
    pub fn next_key(&mut self, first: bool) -> Result<Option<RawString<'a>>, JsonError> {
        if self.at_the_end_of(b'}', first, "',' or '}'")? {
            return Ok(None);
        }
        self.key().map(Some)
    }

    /// Whether another array element follows, leaving the position at it; after the last it is behind the bracket.
    ///
    /// # Errors
    /// Tells where the text is no JSON.
    pub fn next_element(&mut self, first: bool) -> Result<bool, JsonError> {
        Ok(!self.at_the_end_of(b']', first, "',' or ']'")?)
    }

    /// Takes a whole value and returns its text.
    ///
    /// # Errors
    /// Tells where the text is no JSON.
    pub fn value(&mut self) -> Result<&'a str, JsonError> {
        self.value_for(&mut ())
    }

    /// The same with a watcher, which has seen the first part of a value that turns out to be no JSON.
    pub(crate) fn value_for(&mut self, watcher: &mut impl Watcher) -> Result<&'a str, JsonError> {
        let start = self.at;
        let mut depth = 0_u32;
        // One bit for each open bracket, the innermost lowest: 1 for an object, 0 for an array.
        let mut open_objects = 0_u128;
        loop {
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if depth == MAX_DEPTH {
                        return Err(self.error(JsonProblem::TooDeep));
                    }
                    self.at += 1;
                    self.skip_whitespace();
                    let is_object = bracket == b'{';
                    watcher.mark(if is_object { Mark::Object } else { Mark::Array });
                    if self.peek() == Some(if is_object { b'}' } else { b']' }) {
                        self.at += 1;
                        watcher.mark(if is_object { Mark::ObjectEnd } else { Mark::ArrayEnd });
                    } else {
                        depth += 1;
                        open_objects = open_objects << 1 | u128::from(is_object);
                        if is_object {
                            watcher.key(self.key()?);
                        }
                        continue;
                    }
                }
                Some(first) => {
                    match first {
                        b'"' => drop(self.string()?),
                        b'-' | b'0'..=b'9' => self.number()?,
                        b't' => self.word("true")?,
                        b'f' => self.word("false")?,
                        b'n' => self.word("null")?,
                        _ => return Err(self.expected("a value")),
                    }
                    watcher.mark(Mark::Scalar);
                }
                None => return Err(self.error(JsonProblem::UnexpectedEnd)),
            }
            loop {
                if depth == 0 {
                    return Ok(&self.text[start..self.at]);
                }
                let in_object = open_objects & 1 == 1;
                let ended = if in_object {
                    self.at_the_end_of(b'}', false, "',' or '}'")?
                } else {
                    self.at_the_end_of(b']', false, "',' or ']'")?
                };
                if !ended {
                    if in_object {
                        watcher.key(self.key()?);
                    }
                    break;
                }
                watcher.mark(if in_object { Mark::ObjectEnd } else { Mark::ArrayEnd });
                depth -= 1;
                open_objects >>= 1;
            }
        }
    }

    /// Takes a string; the position must be at its opening quote.
    ///
    /// # Errors
    /// Tells where the text is no JSON.
    pub fn string(&mut self) -> Result<RawString<'a>, JsonError> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.expected("a string"));
        }
        self.at += 1;
        let mut has_escapes = false;
        loop {
            self.skip_plain_characters();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(RawString { quoted: &self.text[start..self.at], has_escapes });
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.error(JsonProblem::ControlCharacter)),
                None => return Err(self.error(JsonProblem::UnexpectedEnd)),
            }
        }
    }

    /// Fails unless only white space is left.
    ///
    /// # Errors
    /// Tells where the text is no JSON.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.skip_whitespace();
        if self.at < self.text.len() { Err(self.expected("the end of the text")) } else { Ok(()) }
    }

    /// Skips what needs no look inside a string: eight bytes at a time, since most end soon, and the rest of a long one at once.
    fn skip_plain_characters(&mut self) {
        const ONES: u64 = u64::MAX / 255;
        const HIGHS: u64 = ONES << 7;
        const QUOTES: u64 = ONES * b'"' as u64;
        const BACKSLASHES: u64 = ONES * b'\\' as u64;
        const LONG: usize = 32;
        let rest = &self.text.as_bytes()[self.at..];
        let mut at = 0;
        while let Some(chunk) = rest[at..].first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            // The classic test for a zero byte; a false hit can only lie above a true one, and the lowest is the one taken.
            let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
            let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
            let hits = control | has_zero(word ^ QUOTES) | has_zero(word ^ BACKSLASHES);
            if hits != 0 {
                self.at += at + hits.trailing_zeros() as usize / 8;
                return;
            }
            at += 8;
            if at == LONG {
                let end = memchr::memchr2(b'"', b'\\', &rest[at..]).map_or(rest.len(), |length| at + length);
                if rest[at..end].iter().fold(u8::MAX, |least, &byte| least.min(byte)) >= 0x20 {
                    self.at += end;
                    return;
                }
            }
        }
        let is_plain = |&&byte: &&u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
        self.at += at + rest[at..].iter().take_while(is_plain).count();
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        let length = match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.len() >= 5 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => 6,
            Some(_) => return Err(self.error(JsonProblem::BadEscape)),
            None => return Err(JsonError { at: self.text.len(), problem: JsonProblem::UnexpectedEnd }),
        };
        self.at += length;
        Ok(())
    }

    fn key(&mut self) -> Result<RawString<'a>, JsonError> {
        self.skip_whitespace();
        if self.peek().is_some_and(|byte| byte != b'"') {
            return Err(self.expected("a property name in double quotes"));
        }
        let key = self.string()?;
        self.skip_whitespace();
        if self.peek() != Some(b':') {
            return Err(self.expected("':'"));
        }
        self.at += 1;
        self.skip_whitespace();
        Ok(key)
    }

    fn at_the_end_of(&mut self, closing: u8, first: bool, expected: &'static str) -> Result<bool, JsonError> {
        self.skip_whitespace();
        match self.peek() {
            Some(byte) if byte == closing => {
                self.at += 1;
                return Ok(true);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_whitespace();
            }
            Some(_) if first => {}
            _ => return Err(self.expected(expected)),
        }
        Ok(false)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn expected(&self, what: &'static str) -> JsonError {
        let problem = if self.at >= self.text.len() { JsonProblem::UnexpectedEnd } else { JsonProblem::Expected(what) };
        self.error(problem)
    }

    const fn error(&self, problem: JsonProblem) -> JsonError {
        JsonError { at: self.at, problem }
    }
}

impl<'a> RawString<'a> {
    /// The string as it stands in the text, with its quotes.
    pub const fn quoted(self) -> &'a str {
        self.quoted
    }

    /// What the string says. A lone surrogate, which no text can hold, becomes U+FFFD.
    pub fn decode(self) -> Cow<'a, str> {
        let inside = &self.quoted[1..self.quoted.len() - 1];
        if self.has_escapes { Cow::Owned(unescape(inside)) } else { Cow::Borrowed(inside) }
    }

    /// Whether the decoded string starts with `character`, which must be ASCII.
    pub fn starts_with(self, character: u8) -> bool {
        match self.quoted.as_bytes()[1] {
            b'\\' => self.decode().as_bytes().first() == Some(&character),
            first => first == character,
        }
    }
}

fn unescape(escaped: &str) -> String {
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(backslash) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..backslash]);
        let escape = &rest[backslash..];
        let mut length = 2;
        match escape.as_bytes().get(1) {
            Some(b'b') => text.push('\u{8}'),
            Some(b'f') => text.push('\u{c}'),
            Some(b'n') => text.push('\n'),
            Some(b'r') => text.push('\r'),
            Some(b't') => text.push('\t'),
            Some(b'u') => {
                let unit = utf16_unit(escape).unwrap_or(0xFFFD);
                let low = escape.get(6..).and_then(utf16_unit);
                let pair = [unit, low.unwrap_or(0)];
                if let (0xD800..0xDC00, Some(0xDC00..0xE000)) = (unit, low) {
                    length = 12;
                    text.extend(char::decode_utf16(pair).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
                } else {
                    length = 6;
                    text.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
            }
            Some(&plain) => text.push(char::from(plain)),
            None => {}
        }
        rest = escape.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// The value of a leading `\uXXXX`.
fn utf16_unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &str) -> Result<&str, JsonError> {
        let mut scanner = Scanner::new(text);
        scanner.skip_whitespace();
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }

    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, at, message) in [
            ("", 0, "unexpected end of JSON input"),
            ("{", 1, "unexpected end of JSON input"),
            (r#"{"a":1"#, 6, "unexpected end of JSON input"),
            (r#"{"a" 1}"#, 5, "expected ':'"),
            ("{a:1}", 1, "expected a property name in double quotes"),
            (r#"{"a":1,}"#, 7, "expected a property name in double quotes"),
            ("[1,]", 3, "expected a value"),
            ("[1 2]", 3, "expected ',' or ']'"),
            ("01", 1, "expected the end of the text"),
            ("1.", 2, "unexpected end of JSON input"),
            ("-x", 1, "expected a digit"),
            ("nul", 0, "expected a value"),
            ("\"a\nb\"", 2, "control character in a string must be escaped"),
            (r#""\x""#, 1, "invalid escape in a string"),
            (r#""\u12G4""#, 1, "invalid escape in a string"),
            (r#""abc"#, 4, "unexpected end of JSON input"),
        ] {
            let error = scan(text).expect_err(text);
            assert_eq!((error.at, error.problem.to_string().as_str()), (at, message), "{text}");
        }
    }

    #[test]
    fn a_value_may_be_as_deep_as_the_limit_and_no_deeper() {
        assert!(scan(&nested(MAX_DEPTH as usize)).is_ok());
        assert_eq!(scan(&nested(MAX_DEPTH as usize + 1)).map_err(|e| e.problem), Err(JsonProblem::TooDeep));
        assert!(scan(&"[".repeat(1_000_000)).is_err());
        // What we accept can be read inside an array by a reader that stops at 128.
        let within_array = format!("[{}]", nested(MAX_DEPTH as usize));
        assert!(serde_json::from_str::<serde_json::Value>(&within_array).is_ok());
    }

    #[test]
    fn what_is_not_plain_is_found_at_each_place_of_a_string() {
        for length in 0..150 {
            let plain = "xé\u{7f}".chars().cycle().take(length).collect::<String>();
            let end = plain.len() + 1;
            let rest = "y".repeat(50);
            let string = |text: &str| Scanner::new(text).string().map(|string| string.decode().into_owned());

            assert_eq!(string(&format!("\"{plain}\"{rest}")), Ok(plain.clone()));
            assert_eq!(string(&format!("\"{plain}\\n{rest}\"")), Ok(format!("{plain}\n{rest}")));
            let error = string(&format!("\"{plain}\u{1f}{rest}\"")).unwrap_err();
            assert_eq!((error.at, error.problem), (end, JsonProblem::ControlCharacter));
            assert_eq!(string(&format!("\"{plain}")).unwrap_err().at, end);
        }
    }

    #[test]
    fn escapes_are_decoded_and_lone_surrogates_replaced() {
        for (quoted, text) in [
            (r#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{c}\n\r\tz"),
            (r#""\u0023\u00e9\ud83d\ude00""#, "#é😀"),
            (r#""\ud800x\udc00\ud800\u0041""#, "\u{FFFD}x\u{FFFD}\u{FFFD}A"),
        ] {
            let string = Scanner::new(quoted).string().unwrap();
            assert_eq!(string.decode(), text);
            assert_eq!(string.quoted(), quoted);
        }
        assert!(Scanner::new(r##""\u0023a""##).string().unwrap().starts_with(b'#'));
        assert!(!Scanner::new(r#""""#).string().unwrap().starts_with(b'#'));
    }

    proptest! {
        #[test]
        fn a_text_is_accepted_exactly_when_serde_json_accepts_it(text in r#"[ \n\[\]{}",:0-9.eE+\-truefalsn\\u\x01é]{0,24}"#) {
            // An ignored value is checked for its grammar only: no number ranges, no surrogate pairs.
            let expected = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(scan(&text).is_ok(), expected);
        }

        #[test]
        fn strings_decode_as_in_serde_json(text in any::<String>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            let string = Scanner::new(&quoted).string().unwrap();
            prop_assert_eq!(string.decode(), text);
        }
    }
}
