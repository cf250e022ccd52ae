//! What a push to a dataset carries: one item or many, as JSON (`D1`, `D4`).

use std::borrow::Cow;
use std::str;

use crate::item_view::Shape;
use crate::raw_json::{JsonError, Scanner};
pub use crate::raw_json::{JsonProblem, MAX_DEPTH};

/// The items of one push, ready to be stored as JSON lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// Every item as its own line, `\n` included. The bytes are those that came, save line breaks between tokens.
    pub lines: Vec<u8>,
    /// For each item, the offset in `lines` just behind its line break.
    pub ends: Vec<u32>,
    /// The shape of each item, for who gathers its field paths.
    pub shapes: Vec<Shape>,
    /// How many of them have something left when top-level keys starting with `#` are dropped (`S29`).
    pub clean_count: usize,
}

/// Why the body of a push was refused. Nothing of it may be stored then (`D4`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The body is empty.
    #[error("the body is empty, expected a JSON object or an array of JSON objects")]
    Empty,
    /// The body is not UTF-8, from this byte on.
    #[error("the body is not valid UTF-8 at byte {at}")]
    NotUtf8 {
        /// Byte offset in the body.
        at: usize,
    },
    /// The body is not JSON.
    #[error("the body is not valid JSON at line {line}, column {column}: {problem}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What is wrong there.
        problem: JsonProblem,
    },
    /// The body is JSON, but neither an object nor an array.
    #[error("the body must be a JSON object or an array of JSON objects, got {found} instead")]
    NotItems {
        /// The kind of value that came.
        found: &'static str,
    },
    /// An element of the array is not an object.
    #[error("the item at position {position} must be a JSON object, got {found} instead")]
    NotAnObject {
        /// Counted from 0.
        position: usize,
        /// The kind of value that came.
        found: &'static str,
    },
    /// The body is larger than offsets of 32 bits reach.
    #[error("the body is larger than 4 GiB")]
    TooLarge,
}

impl Items {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the push holds nothing, as an empty array does.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The items in order, without their line breaks.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let item = &self.lines[start..end as usize - 1];
            start = end as usize;
            item
        })
    }

    fn push(&mut self, item: &str, shape: Shape) -> Result<(), PushError> {
        // A raw line break can only stand between two tokens: inside a string it would not be JSON.
        let mut copied = 0;
        for line_break in memchr::memchr2_iter(b'\n', b'\r', item.as_bytes()) {
            self.lines.extend_from_slice(&item.as_bytes()[copied..line_break]);
            copied = line_break + 1;
        }
        self.lines.extend_from_slice(&item.as_bytes()[copied..]);
        self.lines.push(b'\n');
        self.ends.push(u32::try_from(self.lines.len()).map_err(|_| PushError::TooLarge)?);
        self.shapes.push(shape);
        self.clean_count += usize::from(is_clean(item));
        Ok(())
    }
}

/// Checks the body of a push and cuts it into its items.
///
/// A body is one object or an array of objects, of strings that hold an object (`D4`), or of both. An empty array has no
/// items.
///
/// # Errors
/// Says what is wrong with the body and where; all of it is refused.
pub fn split_items(body: &[u8]) -> Result<Items, PushError> {
    let text = str::from_utf8(body).map_err(|err| PushError::NotUtf8 { at: err.valid_up_to() })?;
    let syntax = |error: JsonError| syntax_error(text, error);
    let mut scanner = Scanner::new(text);
    scanner.skip_whitespace();

    let mut items = Items::default();
    match scanner.peek() {
        Some(b'{') => {
            let mut shape = Shape::default();
            let item = scanner.value_for(&mut shape).map_err(syntax)?;
            items.lines.reserve_exact(item.len() + 1);
            items.push(item, shape)?;
        }
        Some(b'[') => {
            items.lines.reserve(text.len());
            scanner.open(b'[').map_err(syntax)?;
            while scanner.next_element(items.is_empty()).map_err(syntax)? {
                let mut shape = Shape::default();
                let element = element(&mut scanner, &mut shape, items.len()).map_err(|error| match error {
                    ElementError::Syntax(error) => syntax(error),
                    ElementError::Refused(error) => error,
                })?;
                items.push(&element, shape)?;
            }
        }
        Some(_) => {
            let found = kind_of(scanner.value().map_err(syntax)?);
            scanner.end().map_err(syntax)?;
            return Err(PushError::NotItems { found });
        }
        None => return Err(PushError::Empty),
    }
    scanner.end().map_err(syntax)?;
    Ok(items)
}

/// Whether an item, given as the text of a JSON object, has something left when its top-level keys that start with `#` are
/// dropped (`S29`, `cleanItemCount`).
pub fn is_clean(item: &str) -> bool {
    // Almost every item is, by its first key.
    if let [b'{', b'"', first, ..] = item.as_bytes()
        && !matches!(first, b'#' | b'\\')
    {
        return true;
    }
    let mut scanner = Scanner::new(item);
    if scanner.open(b'{').is_err() {
        return false;
    }
    let mut first = true;
    while let Ok(Some(key)) = scanner.next_key(first) {
        if !key.starts_with(b'#') {
            return true;
        }
        if scanner.value().is_err() {
            return false;
        }
        first = false;
    }
    false
}

enum ElementError {
    Syntax(JsonError),
    Refused(PushError),
}

/// Takes one element of the array and returns the text of the object that it is or, if it is a string, holds.
fn element<'a>(scanner: &mut Scanner<'a>, shape: &mut Shape, position: usize) -> Result<Cow<'a, str>, ElementError> {
    if scanner.peek() == Some(b'"') {
        let text = scanner.string().map_err(ElementError::Syntax)?.decode();
        let refused = || ElementError::Refused(PushError::NotAnObject { position, found: "string" });
        let mut inner = Scanner::new(&text);
        inner.skip_whitespace();
        if inner.peek() != Some(b'{') {
            return Err(refused());
        }
        let start = inner.position();
        let length = inner.value_for(shape).map_err(|_| refused())?.len();
        inner.end().map_err(|_| refused())?;
        return Ok(match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[start..start + length]),
            Cow::Owned(text) => Cow::Owned(text[start..start + length].to_owned()),
        });
    }
    let value = scanner.value_for(shape).map_err(ElementError::Syntax)?;
    if !value.starts_with('{') {
        return Err(ElementError::Refused(PushError::NotAnObject { position, found: kind_of(value) }));
    }
    Ok(Cow::Borrowed(value))
}

fn kind_of(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn syntax_error(text: &str, error: JsonError) -> PushError {
    let before = text.get(..error.at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    PushError::Syntax {
        line: memchr::memchr_iter(b'\n', before.as_bytes()).count() + 1,
        column: before[line_start..].chars().count() + 1,
        problem: error.problem,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::item_view::FieldCollector;

    fn lines(body: &str) -> Vec<String> {
        let items = split_items(body.as_bytes()).expect(body);
        items.iter().map(|item| String::from_utf8(item.to_vec()).unwrap()).collect()
    }

    fn refusal(body: &[u8]) -> String {
        split_items(body).expect_err("should be refused").to_string()
    }

    #[test]
    fn a_push_is_one_object_or_an_array_of_objects() {
        assert_eq!(lines(r#" {"a": 1} "#), [r#"{"a": 1}"#]);
        assert_eq!(lines(r#"[{"a":1.0},{}, {"b":{"c":[]}} ]"#), [r#"{"a":1.0}"#, "{}", r#"{"b":{"c":[]}}"#]);
        assert_eq!(lines(" [ ] "), Vec::<String>::new());
    }

    #[test]
    fn items_become_lines_with_their_bytes_kept() {
        let items =
            split_items(b"[\r\n  {\n  \"a\\n\": 1E5,\r\n  \"a\\n\": 12345678901234567890\n},{\"#\":1}]").unwrap();

        assert_eq!(items.lines, b"{  \"a\\n\": 1E5,  \"a\\n\": 12345678901234567890}\n{\"#\":1}\n");
        assert_eq!(items.ends, [45, 53]);
        assert_eq!(items.len(), 2);
        assert_eq!(items.clean_count, 1);
    }

    #[test]
    fn a_string_in_the_array_that_holds_an_object_is_that_object() {
        assert_eq!(lines(r#"["{\"a\":\"x\\ny\"}"," {} ","{\n\"b\":\n1}"]"#), [r#"{"a":"x\ny"}"#, "{}", r#"{"b":1}"#]);
        assert_eq!(refusal(br#"[{},"{} {}"]"#), "the item at position 1 must be a JSON object, got string instead");
        assert_eq!(refusal(br#"["[]"]"#), "the item at position 0 must be a JSON object, got string instead");
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        for (body, message) in [
            (" ", "the body is empty, expected a JSON object or an array of JSON objects"),
            ("5", "the body must be a JSON object or an array of JSON objects, got number instead"),
            ("\"{}\"", "the body must be a JSON object or an array of JSON objects, got string instead"),
            ("[{},[{}]]", "the item at position 1 must be a JSON object, got array instead"),
            ("[null]", "the item at position 0 must be a JSON object, got null instead"),
            ("[{}", "the body is not valid JSON at line 1, column 4: unexpected end of JSON input"),
            ("{}\n{}", "the body is not valid JSON at line 2, column 1: expected the end of the text"),
            ("{\"é\":\n \"ü\" x}", "the body is not valid JSON at line 2, column 6: expected ',' or '}'"),
            ("{'a':1}", "the body is not valid JSON at line 1, column 2: expected a property name in double quotes"),
        ] {
            assert_eq!(refusal(body.as_bytes()), message, "{body}");
        }
        assert_eq!(refusal(b"{\"a\":\"\xff\"}"), "the body is not valid UTF-8 at byte 6");
        let bomb = "{\"a\":".repeat(100_000);
        assert!(refusal(bomb.as_bytes()).ends_with("more than 126 levels of nesting"));
    }

    #[test]
    fn an_item_is_clean_when_a_key_without_hash_is_left() {
        for (item, clean) in [
            ("{}", false),
            (" { } ", false),
            (r##"{"#a":1}"##, false),
            (r##"{"\u0023a":1, "#": {"b": 1}}"##, false),
            (r##"{"#a":{"b":[1]},"b":null}"##, true),
            (r#"{"":1}"#, true),
            (r#"{"\\#":1}"#, true),
        ] {
            assert_eq!(is_clean(item), clean, "{item}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = split_items(&body);
        }

        #[test]
        fn what_is_accepted_reads_the_same_afterwards(body in r#"[\[\]{},:" \nab1]{0,32}"#) {
            if let Ok(items) = split_items(body.as_bytes()) {
                let expected = match serde_json::from_str::<Value>(&body).unwrap() {
                    Value::Array(items) => items,
                    item => vec![item],
                };
                prop_assert_eq!(items.len(), expected.len());
                let (mut fields, mut by_shape) = (FieldCollector::default(), FieldCollector::default());
                for (item, shape) in items.iter().zip(&items.shapes) {
                    prop_assert_eq!(fields.add(item), by_shape.add_shaped(item, *shape));
                }
                prop_assert!(items.shapes.len() == items.len() && fields.paths().eq(by_shape.paths()));
                for (item, expected) in items.iter().zip(expected) {
                    prop_assert!(!item.contains(&b'\n'));
                    if !expected.is_string() {
                        prop_assert_eq!(serde_json::from_slice::<Value>(item).unwrap(), expected);
                    }
                }
            }
        }
    }
}
