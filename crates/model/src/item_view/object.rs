//! One object, opened at its top level only.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::raw_json::{JsonError, RawString, Scanner};

/// Above this many properties a hash index replaces looking through them.
const INDEX_ABOVE: usize = 32;

/// An object whose values are slices of the stored item.
#[derive(Clone, Debug, Default)]
pub(super) struct Object<'a> {
    properties: Vec<Property<'a>>,
    /// The text that this object was read from, as long as it still says the same.
    text: Option<&'a str>,
    /// One bit for each name there is, by a hash of few bits: a cheap "certainly not there".
    seen: u64,
    index: Option<HashMap<Cow<'a, str>, usize>>,
}

#[derive(Clone, Debug)]
pub(super) struct Property<'a> {
    pub(super) name: Cow<'a, str>,
    /// The name as JSON, spelled as in the item.
    pub(super) quoted: Cow<'a, str>,
    pub(super) value: &'a str,
}

impl<'a> Object<'a> {
    /// Reads the text of an object. Of properties with the same name the last one wins, at the place of the first (`D5`).
    pub(super) fn read(text: &'a str) -> Result<Self, JsonError> {
        let mut object = Self { properties: Vec::with_capacity(16), ..Self::default() };
        let mut scanner = Scanner::new(text);
        for_each_property(&mut scanner, |property| object.insert(property))?;
        scanner.end()?;
        object.text = Some(text);
        Ok(object)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.properties.is_empty()
    }

    pub(super) fn properties(&self) -> &[Property<'a>] {
        &self.properties
    }

    pub(super) fn get(&self, name: &str) -> Option<&Property<'a>> {
        self.position(name).map(|at| &self.properties[at])
    }

    /// Sets a property: a new one at the end, an existing one where it is.
    pub(super) fn insert(&mut self, property: Property<'a>) {
        self.text = None;
        if let Some(at) = self.position(&property.name) {
            self.properties[at].value = property.value;
            return;
        }
        self.seen |= bit_of(&property.name);
        if let Some(index) = &mut self.index {
            index.insert(property.name.clone(), self.properties.len());
        }
        self.properties.push(property);
        if self.index.is_none() && self.properties.len() > INDEX_ABOVE {
            self.rebuild_index();
        }
    }

    /// Sets all properties of the object with this text, which was cut out of a checked one.
    pub(super) fn merge(&mut self, text: &'a str) {
        let outcome = for_each_property(&mut Scanner::new(text), |property| self.insert(property));
        debug_assert!(outcome.is_ok(), "a value inside a checked item is itself well-formed");
    }

    /// Drops the properties with the names that `unwanted` picks.
    pub(super) fn drop_where(&mut self, unwanted: impl Fn(&str) -> bool) {
        if !self.properties.iter().any(|property| unwanted(&property.name)) {
            return;
        }
        self.text = None;
        self.properties.retain(|property| !unwanted(&property.name));
        self.index = None;
        if self.properties.len() > INDEX_ABOVE {
            self.rebuild_index();
        }
    }

    /// Appends the object as JSON, with its own bytes if nothing in it has changed.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some(text) = self.text {
            out.extend_from_slice(text.as_bytes());
            return;
        }
        out.push(b'{');
        for (at, property) in self.properties.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(property.quoted.as_bytes());
            out.push(b':');
            out.extend_from_slice(property.value.as_bytes());
        }
        out.push(b'}');
    }

    fn position(&self, name: &str) -> Option<usize> {
        if self.seen & bit_of(name) == 0 {
            return None;
        }
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.properties.iter().position(|property| property.name == name),
        }
    }

    fn rebuild_index(&mut self) {
        let names = self.properties.iter().enumerate().map(|(at, property)| (property.name.clone(), at));
        self.index = Some(names.collect());
    }
}

/// Reads an object member by member, leaving the position behind it.
fn for_each_property<'a>(scanner: &mut Scanner<'a>, mut visit: impl FnMut(Property<'a>)) -> Result<(), JsonError> {
    scanner.open(b'{')?;
    let mut first = true;
    while let Some(key) = scanner.next_key(first)? {
        visit(Property::new(key, scanner.value()?));
        first = false;
    }
    Ok(())
}

impl<'a> Property<'a> {
    fn new(key: RawString<'a>, value: &'a str) -> Self {
        Self { name: key.decode(), quoted: Cow::Borrowed(key.quoted()), value }
    }
}

fn bit_of(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let (first, last) = (bytes.first().copied().unwrap_or(0), bytes.last().copied().unwrap_or(0));
    let middle = bytes.get(bytes.len() / 2).copied().unwrap_or(0);
    let mixed = bytes.len() + usize::from(first) * 7 + usize::from(middle) * 13 + usize::from(last) * 29;
    1 << (mixed & 63)
}
