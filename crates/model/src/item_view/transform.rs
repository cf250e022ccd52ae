//! Carrying out a view, item by item.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;

use super::ItemView;
use super::object::{Object, Property};
use crate::raw_json::{JsonError, JsonProblem, Scanner};

/// A property is flattened only as far as its new names fit into this many bytes; beyond, it stays as it was.
///
/// Every name repeats the path to it, so without a bound a few megabytes could be flattened into terabytes.
const MAX_FLATTENED: usize = 16 << 20;

/// What a flattened property is reckoned to take beside its name.
const PROPERTY_COST: usize = 64;

/// A view made ready: what to do with each item, in the order of the contract (storages, section 5.2).
#[derive(Clone, Debug)]
pub struct Transform {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Ends entries with a truthy `errorInfo`.
    RefuseFailed,
    /// Keeps these columns.
    Pick(Vec<Column>),
    DropHidden,
    Unwind(String),
    Flatten(String),
    Omit(Names),
    /// Ends entries without properties.
    RefuseEmpty,
}

#[derive(Clone, Debug)]
struct Column {
    source: String,
    name: String,
    quoted: String,
}

/// A set of names. A short list is compared faster than it is hashed.
#[derive(Clone, Debug)]
enum Names {
    Few(Vec<String>),
    Many(HashSet<String>),
}

/// A stored item that is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored item is malformed at byte {at}: {what}", at = .0.at, what = .0.problem)]
pub struct MalformedItem(JsonError);

/// What one call of [`Entries::next_into`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// An entry was written.
    Written,
    /// An entry was looked at and left out; there may be more.
    LeftOut,
    /// The item is used up.
    Done,
}

/// What becomes of one item: no entry, one, or with `unwind` many.
///
/// Entries are made one at a time, since unwinding can turn an item into far more bytes than should lie in memory.
#[derive(Debug)]
pub struct Entries<'a> {
    steps: &'a [Step],
    /// The item itself, until it is taken.
    item: Option<Object<'a>>,
    /// The arrays being unwound, the innermost last.
    unwinding: Vec<Unwinding<'a>>,
}

/// An array whose elements are merged into copies of the object that holds it.
#[derive(Debug)]
struct Unwinding<'a> {
    /// The holder without the array.
    parent: Object<'a>,
    /// The array as a property of its holder, to be set to elements that are no objects.
    property: Property<'a>,
    /// Where the elements are set when they are no objects: the holder with the array still in place.
    holder: Object<'a>,
    elements: Scanner<'a>,
    first: bool,
    /// The steps that are left for each entry.
    steps: &'a [Step],
}

impl Transform {
    pub(super) fn new(view: &ItemView) -> Self {
        let mut steps = Vec::new();
        if view.skip_failed_pages {
            steps.push(Step::RefuseFailed);
        }
        if view.simplified {
            steps.push(Step::Pick(
                ["url", "pageFunctionResult", "errorInfo"].map(|name| Column::new(name, name)).into(),
            ));
            steps.push(Step::Unwind("pageFunctionResult".to_owned()));
        }
        if view.skip_hidden || view.clean {
            steps.push(Step::DropHidden);
        }
        steps.extend(view.unwind.iter().cloned().map(Step::Unwind));
        steps.extend(view.flatten.iter().cloned().map(Step::Flatten));
        if !view.fields.is_empty() {
            let names = if view.output_fields.is_empty() { &view.fields } else { &view.output_fields };
            steps.push(Step::Pick(view.fields.iter().zip(names).map(|(from, to)| Column::new(from, to)).collect()));
        }
        if !view.omit.is_empty() {
            steps.push(Step::Omit(Names::new(&view.omit)));
        }
        if view.skip_empty || view.clean {
            steps.push(Step::RefuseEmpty);
        }
        Self { steps }
    }

    /// Starts on one stored item, the text of a JSON object.
    ///
    /// # Errors
    /// The item is not a JSON object, which a push would have refused.
    pub fn entries<'a>(&'a self, raw_item: &'a [u8]) -> Result<Entries<'a>, MalformedItem> {
        let text = std::str::from_utf8(raw_item).map_err(|error| {
            MalformedItem(JsonError { at: error.valid_up_to(), problem: JsonProblem::Expected("valid UTF-8") })
        })?;
        let item = Object::read(text).map_err(MalformedItem)?;
        Ok(Entries { steps: &self.steps, item: Some(item), unwinding: Vec::new() })
    }

    /// Hands the entries of one stored item to `out` until it breaks.
    ///
    /// # Errors
    /// The item is not a JSON object, which a push would have refused.
    pub fn apply(
        &self,
        raw_item: &[u8],
        mut out: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, MalformedItem> {
        let mut entries = self.entries(raw_item)?;
        let mut entry = Vec::new();
        loop {
            entry.clear();
            match entries.next_into(&mut entry) {
                Next::Written if out(&entry).is_break() => return Ok(ControlFlow::Break(())),
                Next::Written | Next::LeftOut => {}
                Next::Done => return Ok(ControlFlow::Continue(())),
            }
        }
    }
}

impl<'a> Entries<'a> {
    /// Makes one more entry and, unless it is left out, appends it to `out` as JSON without a line break.
    ///
    /// The work of one call is bounded by the size of the item, so a caller can pause between any two.
    pub fn next_into(&mut self, out: &mut Vec<u8>) -> Next {
        let (entry, steps) = if let Some(item) = self.item.take() {
            (item, self.steps)
        } else {
            match self.next_element() {
                Some(entry) => entry,
                None if self.unwinding.is_empty() => return Next::Done,
                None => return Next::LeftOut,
            }
        };
        match self.run(entry, steps) {
            Some(entry) => {
                entry.write(out);
                Next::Written
            }
            None => Next::LeftOut,
        }
    }

    /// The next element of the innermost array, merged into its parent, and the steps left for it.
    fn next_element(&mut self) -> Option<(Object<'a>, &'a [Step])> {
        let array = self.unwinding.last_mut()?;
        let element = match array.elements.next_element(array.first) {
            Ok(true) => array.elements.value().ok(),
            _ => None,
        };
        let Some(element) = element else {
            self.unwinding.pop();
            return None;
        };
        array.first = false;
        let entry = if element.starts_with('{') {
            let mut entry = array.parent.clone();
            entry.merge(element);
            entry
        } else {
            let mut entry = array.holder.clone();
            entry.insert(Property { value: element, ..array.property.clone() });
            entry
        };
        Some((entry, array.steps))
    }

    /// Carries out the steps on one entry. `None` if it ends on the way, or goes on as the elements of an array.
    fn run(&mut self, mut entry: Object<'a>, mut steps: &'a [Step]) -> Option<Object<'a>> {
        while let Some((step, rest)) = steps.split_first() {
            steps = rest;
            match step {
                Step::RefuseFailed if entry.get("errorInfo").is_some_and(|info| is_truthy(info.value)) => return None,
                Step::RefuseEmpty if entry.is_empty() => return None,
                Step::RefuseFailed | Step::RefuseEmpty => {}
                Step::DropHidden => entry.drop_where(|name| name.starts_with('#')),
                Step::Omit(names) => entry.drop_where(|name| names.contains(name)),
                Step::Pick(columns) => entry = pick(&entry, columns),
                Step::Flatten(name) => entry = flatten(entry, name),
                Step::Unwind(name) => entry = self.unwind(entry, name, steps)?,
            }
        }
        Some(entry)
    }

    fn unwind(&mut self, holder: Object<'a>, name: &str, steps: &'a [Step]) -> Option<Object<'a>> {
        let Some(property) = holder.get(name).cloned() else { return Some(holder) };
        let parent = || {
            let mut parent = holder.clone();
            parent.drop_where(|other| other == name);
            parent
        };
        match property.value.as_bytes()[0] {
            b'{' => {
                let mut entry = parent();
                entry.merge(property.value);
                Some(entry)
            }
            b'[' => {
                let mut elements = Scanner::new(property.value);
                let is_empty = elements.open(b'[').is_err() || !matches!(elements.next_element(true), Ok(true));
                if is_empty {
                    return Some(parent());
                }
                let parent = parent();
                self.unwinding.push(Unwinding { parent, property, holder, elements, first: true, steps });
                None
            }
            _ => Some(holder),
        }
    }
}

fn pick<'a>(entry: &Object<'a>, columns: &'a [Column]) -> Object<'a> {
    let mut picked = Object::default();
    for column in columns {
        if let Some(property) = entry.get(&column.source) {
            picked.insert(Property {
                name: Cow::Borrowed(&column.name),
                quoted: Cow::Borrowed(&column.quoted),
                value: property.value,
            });
        }
    }
    picked
}

fn flatten<'a>(entry: Object<'a>, name: &str) -> Object<'a> {
    let Some(property) = entry.get(name).filter(|property| property.value.starts_with('{')) else { return entry };
    let mut leaves = Leaves { path: name.to_owned(), found: Vec::new(), budget: MAX_FLATTENED };
    if !matches!(leaves.collect(&mut Scanner::new(property.value)), Ok(true)) {
        return entry;
    }

    let mut flat = Object::default();
    for property in entry.properties() {
        if property.name == name {
            leaves.found.drain(..).for_each(|leaf| flat.insert(leaf));
        } else {
            flat.insert(property.clone());
        }
    }
    flat
}

/// What lies below a property that is being flattened.
struct Leaves<'a> {
    path: String,
    found: Vec<Property<'a>>,
    budget: usize,
}

impl<'a> Leaves<'a> {
    /// Takes an object and lists its leaves; arrays and empty objects are leaves. `false` when they are too many.
    ///
    /// Nesting inside a stored item is bounded, so this recursion is too.
    fn collect(&mut self, scanner: &mut Scanner<'a>) -> Result<bool, JsonError> {
        scanner.open(b'{')?;
        let above = self.path.len();
        let mut first = true;
        while let Some(key) = scanner.next_key(first)? {
            first = false;
            self.path.truncate(above);
            self.path.push('.');
            self.path.push_str(&key.decode());
            let fits = if scanner.peek() == Some(b'{') { self.collect(scanner)? } else { self.add(scanner.value()?) };
            if !fits {
                return Ok(false);
            }
        }
        self.path.truncate(above);
        Ok(!first || self.add("{}"))
    }

    fn add(&mut self, value: &'a str) -> bool {
        let Some(left) = self.budget.checked_sub(self.path.len() + PROPERTY_COST) else { return false };
        self.budget = left;
        let quoted = Cow::Owned(quote(&self.path));
        self.found.push(Property { name: Cow::Owned(self.path.clone()), quoted, value });
        true
    }
}

/// Whether JavaScript would call the value true.
fn is_truthy(value: &str) -> bool {
    match value {
        "null" | "false" | "\"\"" => false,
        number if number.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            number.parse::<f64>().is_ok_and(|number| number != 0.0)
        }
        _ => true,
    }
}

fn quote(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

impl Column {
    fn new(source: &str, name: &str) -> Self {
        Self { source: source.to_owned(), name: name.to_owned(), quoted: quote(name) }
    }
}

impl Names {
    fn new(names: &[String]) -> Self {
        if names.len() <= 8 { Self::Few(names.to_vec()) } else { Self::Many(names.iter().cloned().collect()) }
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Few(names) => names.iter().any(|other| other == name),
            Self::Many(names) => names.contains(name),
        }
    }
}
