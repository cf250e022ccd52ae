//! The field paths that a dataset's items have: `latestComments/0/owner/username` (`S29`).

use std::collections::{BTreeSet, HashSet};

use crate::raw_json::{JsonError, Mark, RawString, Scanner, Watcher};

/// No more paths than this are kept for a dataset, as many as a table has columns (`X8`).
pub const MAX_FIELD_PATHS: usize = 2000;

/// Longer paths are cut to this many characters (`X8`).
pub const MAX_FIELD_PATH_CHARS: usize = 200;

/// How many shapes of items are remembered, to pass over those that were seen before.
const MAX_SHAPES: usize = 4096;

/// Gathers the field paths of many items, of which it keeps the first [`MAX_FIELD_PATHS`] by code point.
///
/// So what is kept does not hang on the order of the items, and the sets of parts of a dataset make up the set of the whole.
///
/// Items of a dataset mostly look alike, so the shape of each is hashed first (its keys and nesting, not its values), and
/// only an item of a new shape is taken apart.
#[derive(Clone, Debug, Default)]
pub struct FieldCollector {
    /// The property whose values are gathered, if it is not whole items.
    property: Option<String>,
    paths: BTreeSet<String>,
    shapes: HashSet<Shape>,
}

impl FieldCollector {
    /// Adds paths that were gathered elsewhere.
    pub fn extend(&mut self, paths: impl IntoIterator<Item = String>) {
        self.paths.extend(paths);
        while self.paths.len() > MAX_FIELD_PATHS {
            self.paths.pop_last();
        }
    }

    /// Gathers the paths of what one property of many items holds: [`Self::add`] takes its values, of any kind.
    pub fn below(property: &str) -> Self {
        Self { property: Some(property.chars().take(MAX_FIELD_PATH_CHARS).collect()), ..Self::default() }
    }

    /// The paths gathered so far, sorted by code point.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Adds the paths of one item, the text of a JSON object, and tells whether there was a new one among them.
    ///
    /// A path leads to a value that holds no others: a scalar, an empty object or an empty array. Text that is not JSON
    /// adds nothing.
    pub fn add(&mut self, raw_item: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(raw_item) else { return false };
        let mut shape = Shape::default();
        Scanner::new(text).value_for(&mut shape).is_ok() && self.add_shaped(raw_item, shape)
    }

    /// The same for an item that was read through already, when its shape was seen.
    pub fn add_shaped(&mut self, raw_item: &[u8], shape: Shape) -> bool {
        if self.shapes.contains(&shape) {
            return false;
        }
        let Ok(text) = std::str::from_utf8(raw_item) else { return false };
        if self.shapes.len() >= MAX_SHAPES {
            self.shapes.clear();
        }
        self.shapes.insert(shape);

        let path = self.property.clone().unwrap_or_default();
        let (chars, depth) = (path.chars().count(), u32::from(self.property.is_some()));
        let mut walk = Walk { paths: &mut self.paths, path, chars, depth, has_new: false };
        // What was read through has no mistake that this could find.
        let _ = walk.value(&mut Scanner::new(text));
        walk.has_new
    }
}

/// A hash of the keys and brackets of an item. Equal shapes have equal paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(u64);

impl Watcher for Shape {
    fn key(&mut self, key: RawString<'_>) {
        let text = key.quoted();
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last));
        self.mix(text.len() as u64);
    }

    fn mark(&mut self, mark: Mark) {
        self.mix(mark as u64);
    }
}

impl Shape {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93_u128;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

struct Walk<'c> {
    paths: &'c mut BTreeSet<String>,
    /// The way to the current value, cut at the longest that is kept.
    path: String,
    chars: usize,
    /// How many names the way has; none may be of any length.
    depth: u32,
    has_new: bool,
}

impl Walk<'_> {
    fn value(&mut self, scanner: &mut Scanner<'_>) -> Result<(), JsonError> {
        let mut first = true;
        match scanner.peek() {
            Some(b'{') => {
                scanner.open(b'{')?;
                while let Some(key) = scanner.next_key(first)? {
                    self.below(&key.decode(), |walk| walk.value(scanner))?;
                    first = false;
                }
            }
            Some(b'[') => {
                scanner.open(b'[')?;
                let mut index = 0_usize;
                while scanner.next_element(first)? {
                    self.below(&index.to_string(), |walk| walk.value(scanner))?;
                    index += 1;
                    first = false;
                }
            }
            _ => {
                scanner.value()?;
            }
        }
        if first {
            self.keep();
        }
        Ok(())
    }

    fn below(&mut self, key: &str, visit: impl FnOnce(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        let (length, chars) = (self.path.len(), self.chars);
        let separator = (self.depth > 0).then_some('/');
        for character in separator.into_iter().chain(key.chars()).take(MAX_FIELD_PATH_CHARS - chars) {
            self.path.push(character);
            self.chars += 1;
        }
        self.depth += 1;
        let outcome = visit(self);
        self.depth -= 1;
        self.path.truncate(length);
        self.chars = chars;
        outcome
    }

    fn keep(&mut self) {
        let is_full = self.paths.len() >= MAX_FIELD_PATHS;
        let is_behind = is_full && self.paths.last().is_some_and(|last| *last < self.path);
        if self.depth == 0 || is_behind || self.paths.contains(&self.path) {
            return;
        }
        if is_full {
            self.paths.pop_last();
        }
        self.paths.insert(self.path.clone());
        self.has_new = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths_of(items: &[&str]) -> Vec<String> {
        let mut fields = FieldCollector::default();
        for item in items {
            fields.add(item.as_bytes());
        }
        fields.paths().map(str::to_owned).collect()
    }

    #[test]
    fn paths_are_slash_separated_with_array_indices_and_sorted() {
        let paths = paths_of(&[
            r#"{"b":1,"latestComments":[{"owner":{"username":"x"}},{"owner":{"username":null}}],"e":{},"f":[ ]}"#,
            r#"{"B":[[1,2]],"a/b":{"c d":true}}"#,
        ]);

        assert_eq!(
            paths,
            [
                "B/0/0",
                "B/0/1",
                "a/b/c d",
                "b",
                "e",
                "f",
                "latestComments/0/owner/username",
                "latestComments/1/owner/username"
            ]
        );
    }

    #[test]
    fn only_an_item_of_a_new_shape_adds_paths() {
        let mut fields = FieldCollector::default();

        assert!(fields.add(br#"{"a":1,"b":[1]}"#));
        assert!(!fields.add(br#"{"a":{},"b":[2]}"#));
        assert!(!fields.add(br#"{ "a" : "x", "b" : [ "y" ] }"#));
        assert!(fields.add(br#"{"a":1,"b":[1,2]}"#));
        assert!(!fields.add(b"{}"));
        assert!(!fields.add(br#"{"c":"#));
        let mut later = FieldCollector::default();
        later.extend(fields.paths().map(str::to_owned));
        assert!(!later.add(br#"{"b":[1,2]}"#));
        assert_eq!(later.paths().collect::<Vec<_>>(), ["a", "b/0", "b/1"]);
    }

    #[test]
    fn a_key_may_be_empty_and_values_of_one_property_have_its_name_in_front() {
        assert_eq!(paths_of(&[r##"{"":{"#":1,"":2},"b":{}}"##, r#"{"":null}"#]), ["", "/", "/#", "b"]);

        let mut below = FieldCollector::below("a/b");
        assert!(["1", "[]", r#"{"c":[2]}"#].map(|value| below.add(value.as_bytes())).contains(&true));
        assert_eq!(below.paths().collect::<Vec<_>>(), ["a/b", "a/b/c/0"]);
    }

    #[test]
    fn paths_are_bounded_in_number_and_length() {
        let wide = format!("{{\"a\":[{}]}}", vec!["0"; 3000].join(","));
        assert_eq!(paths_of(&[&wide]).len(), MAX_FIELD_PATHS);
        let first = ["A", "a/0", "a/1", "a/10"];
        assert_eq!(paths_of(&[&wide, r#"{"z":1,"A":2}"#])[..4], first);
        assert_eq!(paths_of(&[r#"{"z":1,"A":2}"#, &wide]), paths_of(&[&wide, r#"{"A":2}"#]));

        let long = format!("{{\"{0}\":{{\"é\":1,\"{0}\":2}}}}", "é".repeat(150));
        let paths = paths_of(&[&long]);
        assert_eq!(paths.len(), 2);
        assert_eq!(paths[1].chars().count(), MAX_FIELD_PATH_CHARS);

        assert_eq!(paths_of(&[&"[".repeat(100_000)]), Vec::<String>::new());
    }
}
