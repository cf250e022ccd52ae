//! XML and RSS (`X19` to `X27`).
//!
//! Not by an XML crate: what an object becomes is peculiar, and beyond it there is only escaping to be done.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;

use model::raw_json::{JsonError, RawString, Scanner};

use super::escape::{Place, escape};
use super::{Options, Writer, malformed};

/// Most bytes that one entry may become: names are repeated, so a few megabytes could become terabytes.
const MAX_ENTRY: usize = 64 << 20;
/// No deeper than this is anything indented.
const MAX_INDENT: usize = 16;
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// What kept an entry from being written.
enum Failure {
    Malformed(JsonError),
    TooLarge,
}

impl From<JsonError> for Failure {
    fn from(error: JsonError) -> Self {
        Self::Malformed(error)
    }
}

/// Entries as elements with something around them.
pub(super) struct Xml {
    before: Vec<u8>,
    after: Vec<u8>,
    row: String,
    depth: usize,
}

impl Xml {
    /// A document of items (`X19`).
    pub(super) fn document(options: &Options) -> Self {
        let root = element_name(options.xml_root.as_deref().unwrap_or("items")).into_owned();
        let row = element_name(options.xml_row.as_deref().unwrap_or("item")).into_owned();
        let before = format!("{DECLARATION}<{root}>\n").into_bytes();
        Self { before, after: format!("</{root}>").into_bytes(), row, depth: 1 }
    }

    /// A feed of items (`X26`).
    pub(super) fn feed(options: &Options) -> Self {
        let mut before = format!("{DECLARATION}<rss version=\"2.0\">\n  <channel>\n").into_bytes();
        let feed = &options.feed;
        for (name, text) in [("title", &feed.title), ("description", &feed.description), ("link", &feed.link)] {
            before.extend_from_slice(format!("    <{name}>").as_bytes());
            escape(text, Place::Content, &mut before);
            before.extend_from_slice(format!("</{name}>\n").as_bytes());
        }
        Self { before, after: b"  </channel>\n</rss>".to_vec(), row: "item".to_owned(), depth: 2 }
    }
}

impl Writer for Xml {
    fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.append(&mut self.before);
        Ok(())
    }

    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let text = std::str::from_utf8(entry).map_err(io::Error::other)?;
        let most = out.len() + MAX_ENTRY;
        element(&self.row, &mut Scanner::new(text), self.depth, most, out).map_err(|failure| match failure {
            Failure::Malformed(error) => malformed(error),
            Failure::TooLarge => io::Error::other("an entry would become too much XML"),
        })
    }

    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<Option<File>> {
        out.append(&mut self.after);
        Ok(None)
    }
}

/// Writes what the next value becomes: one element, or for an array as many as it has members (`X20`).
///
/// Nesting inside a stored item is bounded, so this recursion is too.
fn element(name: &str, scanner: &mut Scanner<'_>, depth: usize, most: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    if out.len() > most {
        return Err(Failure::TooLarge);
    }
    match scanner.peek() {
        Some(b'{') => object(name, scanner, depth, most, out),
        Some(b'[') => {
            scanner.open(b'[')?;
            let mut first = true;
            while scanner.next_element(first)? {
                first = false;
                element(name, scanner, depth, most, out)?;
            }
            Ok(())
        }
        _ => {
            open(name, depth, out);
            match scalar(scanner.value()?) {
                None => out.extend_from_slice(b"/>\n"),
                Some(text) => {
                    out.push(b'>');
                    escape(&text, Place::Content, out);
                    close(name, out);
                }
            }
            Ok(())
        }
    }
}

fn object(name: &str, scanner: &mut Scanner<'_>, depth: usize, most: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let Specials { attributes, text } = specials(*scanner)?;
    open(name, depth, out);
    if let Some(attributes) = attributes {
        write_attributes(attributes, out)?;
    }
    let end_of_name = out.len();
    out.extend_from_slice(b">\n");
    let begin = out.len();
    scanner.open(b'{')?;
    let mut first = true;
    while let Some(key) = scanner.next_key(first)? {
        first = false;
        let is_attributes = is(key, '@') && scanner.peek() == Some(b'{');
        if is_attributes || is(key, '#') {
            scanner.value()?;
        } else {
            element(&element_name(&key.decode()), scanner, depth + 1, most, out)?;
        }
    }
    if out.len() > begin {
        indent(depth, out);
        close(name, out);
        return Ok(());
    }
    out.truncate(end_of_name);
    match text {
        None => out.extend_from_slice(b"/>\n"),
        Some(text) => {
            out.push(b'>');
            escape(&text, Place::Content, out);
            close(name, out);
        }
    }
    Ok(())
}

/// What an object says about its own element.
#[derive(Default)]
struct Specials<'a> {
    /// The object with the attributes.
    attributes: Option<&'a str>,
    /// The text, if it has no other properties (`X20`).
    text: Option<Cow<'a, str>>,
}

/// Looks ahead for the properties `@` and `#`.
fn specials<'a>(mut scanner: Scanner<'a>) -> Result<Specials<'a>, JsonError> {
    let mut found = Specials::default();
    let mut has_others = false;
    scanner.open(b'{')?;
    let mut first = true;
    while let Some(key) = scanner.next_key(first)? {
        first = false;
        let value = scanner.value()?;
        if is(key, '@') && value.starts_with('{') {
            found.attributes = Some(value);
        } else if is(key, '#') {
            found.text = scalar(value);
        } else {
            has_others = true;
        }
    }
    if has_others {
        found.text = None;
    }
    Ok(found)
}

fn write_attributes(object: &str, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut attributes: Vec<(String, Cow<'_, str>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut scanner = Scanner::new(object);
    scanner.open(b'{')?;
    let mut first = true;
    while let Some(key) = scanner.next_key(first)? {
        first = false;
        let name = element_name(&key.decode()).into_owned();
        let value = scanner.value()?;
        // What is no text stands as JSON.
        let holds_others = value.starts_with(['{', '[']);
        let text = if holds_others { Cow::Borrowed(value) } else { scalar(value).unwrap_or_default() };
        // An element with two attributes of one name would be no XML; the last one wins.
        match places.entry(name) {
            Entry::Occupied(place) => attributes[*place.get()].1 = text,
            Entry::Vacant(place) => {
                attributes.push((place.key().clone(), text));
                place.insert(attributes.len() - 1);
            }
        }
    }
    for (name, text) in attributes {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escape(&text, Place::Attribute, out);
        out.push(b'"');
    }
    Ok(())
}

/// The text of a value that holds no others; nothing for null.
fn scalar(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first()? {
        b'"' => Scanner::new(value).string().ok().map(RawString::decode),
        b'n' | b'{' | b'[' => None,
        _ => Some(Cow::Borrowed(value)),
    }
}

fn is(key: RawString<'_>, character: char) -> bool {
    key.quoted().len() <= 8 && key.decode().chars().eq([character])
}

fn open(name: &str, depth: usize, out: &mut Vec<u8>) {
    indent(depth, out);
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
}

fn close(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b">\n");
}

fn indent(depth: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + 2 * depth.min(MAX_INDENT), b' ');
}

/// The name as XML takes it (`X22`).
fn element_name(name: &str) -> Cow<'_, str> {
    let starts = |character: char| is_name_character(character) && !is_inner(character);
    if name.chars().next().is_some_and(starts) && name.chars().all(is_name_character) {
        return Cow::Borrowed(name);
    }
    let mut clean: String =
        name.chars().map(|character| if is_name_character(character) { character } else { '_' }).collect();
    if !clean.chars().next().is_some_and(starts) {
        clean.insert(0, '_');
    }
    Cow::Owned(clean)
}

/// Whether XML allows the character in names; never the colon, which is for name spaces.
fn is_name_character(character: char) -> bool {
    matches!(character, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '.' | '-' | '\u{B7}'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}'
        | '\u{200C}'..='\u{200D}' | '\u{203F}'..='\u{2040}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

/// Whether a name may not begin with the character.
fn is_inner(character: char) -> bool {
    matches!(character, '0'..='9' | '.' | '-' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(entry: &str) -> String {
        let mut out = Vec::new();
        element("item", &mut Scanner::new(entry), 0, MAX_ENTRY, &mut out).ok().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_object_can_say_what_its_element_is_like() {
        for (entry, expected) in [
            (r#"{}"#, "<item/>\n"),
            (r#"{"a":""}"#, "<item>\n  <a></a>\n</item>\n"),
            (r#"{"a":[]}"#, "<item/>\n"),
            (r#"{"a":[[1,[true]],null]}"#, "<item>\n  <a>1</a>\n  <a>true</a>\n  <a/>\n</item>\n"),
            (
                r##"{"address":[{"@":{"type":"office"},"#":"unknown"}]}"##,
                "<item>\n  <address type=\"office\">unknown</address>\n</item>\n",
            ),
            (r#"{"@":{"a b":1,"a_b":[2],"n":null}}"#, "<item a_b=\"[2]\" n=\"\"/>\n"),
            (r##"{"\u0023":"<&>"}"##, "<item>&lt;&amp;&gt;</item>\n"),
            (r##"{"#":"lost","b":1}"##, "<item>\n  <b>1</b>\n</item>\n"),
            (r#"{"@":5}"#, "<item>\n  <_>5</_>\n</item>\n"),
        ] {
            assert_eq!(written(entry), expected, "{entry}");
        }
    }

    #[test]
    fn an_entry_that_would_become_far_too_much_is_refused() {
        let entry = format!("{{\"{}\":[{}0]}}", "n".repeat(100_000), "0,".repeat(100_000));
        let mut out = Vec::new();
        assert!(Xml::document(&Options::default()).entry(entry.as_bytes(), &mut out).is_err());
        assert!(out.len() < 2 * MAX_ENTRY);
    }

    #[test]
    fn names_become_names_of_elements() {
        for (name, expected) in [
            ("a", "a"),
            ("#x", "_x"),
            ("1a", "_1a"),
            ("", "_"),
            ("-a.b", "_-a.b"),
            ("é ü:", "é_ü_"),
            ("a/b", "a_b"),
            ("·", "_·"),
        ] {
            assert_eq!(element_name(name), expected);
        }
    }
}
