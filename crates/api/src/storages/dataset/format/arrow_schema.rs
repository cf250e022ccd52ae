//! Which columns of which types a table of JSON objects has, for the formats that know types.
//!
//! Every property becomes a column, nested objects and arrays become structs and lists. What JSON mixes freely and a typed
//! column cannot hold becomes text, so that any items make a table:
//!
//! - integers and other numbers: floating point, unless an integer would change its value; then text;
//! - different scalars: text, strings as they are and everything else as JSON;
//! - scalars, objects and arrays: text, every value as JSON.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields};
use model::item_view::{ItemView, MAX_FIELD_PATHS};
use model::raw_json::{JsonError, Scanner};
use serde_json::{Map, Value};

use super::columns::named;
use super::{Layout, Survey, malformed};

/// Objects that lie deeper become text: readers bound the depth of schemas, and nobody asks for a column down there.
const MAX_DEPTH: u32 = 8;
/// Objects with more members than this are dictionaries rather than records, and become text.
const MAX_MEMBERS: usize = 200;
/// As many members may all structs have together.
const MAX_NESTED: usize = 1000;
/// As many cells may one list have in one item: `[{}, {}]` is short, and has two cells for each member of the struct.
const MAX_CELLS_OF_LIST: usize = 4 << 20;
/// Integers up to this are the same in floating point.
const MAX_EXACT: u64 = 1 << 53;

/// What the values of a column have been so far.
#[derive(Clone, Debug, Default)]
pub(in super::super) enum Kind {
    /// Nothing, or null.
    #[default]
    Unknown,
    Bool,
    /// Integers of 64 bits, and whether floating point could hold them.
    Int {
        exact: bool,
    },
    Float,
    /// Strings as they are, other scalars as JSON.
    Text,
    /// Values of any kind as JSON.
    Json,
    List(Box<List>),
    Struct(Members<Kind>),
}

#[derive(Clone, Debug, Default)]
pub(in super::super) struct List {
    pub(super) element: Kind,
    /// How many elements there are in the current item, over all lists at this place; and the most that any item has.
    elements: usize,
    most: usize,
    item: u64,
}

/// Named things in the order in which they came.
#[derive(Clone, Debug)]
pub(in super::super) struct Members<T> {
    list: Vec<(Arc<str>, T)>,
    index: HashMap<Arc<str>, usize>,
}

/// Finds the columns of a table in a first pass over its entries.
#[derive(Debug)]
pub(super) struct Inference {
    columns: Members<Kind>,
    seen: Seen,
}

#[derive(Debug)]
struct Seen {
    items: u64,
    nested: usize,
}

impl Inference {
    /// Starts from the columns that `view` shows in any case: those that it names, else those that the schema of the dataset
    /// names, as long as entries have the properties of items.
    pub(super) fn of(view: &ItemView, properties: &Map<String, Value>) -> Self {
        let ItemView { simplified, skip_hidden, clean, unwind, flatten, fields, output_fields, omit, .. } = view;
        let is_remade = *simplified || !unwind.is_empty() || !flatten.is_empty();
        if !fields.is_empty() {
            let names = named(view);
            let schema = |name: &str| if is_remade || !output_fields.is_empty() { None } else { properties.get(name) };
            return Self::new(names.iter().map(|name| (&**name, schema(name))));
        }
        let is_shown =
            |name: &String| !is_remade && !((*skip_hidden || *clean) && name.starts_with('#')) && !omit.contains(name);
        let known = properties.iter().filter(|(name, _)| is_shown(name));
        Self::new(known.map(|(name, schema)| (&**name, Some(schema))))
    }

    /// Starts from columns that are there in any case, each with its JSON schema if it has one. Entries that do not keep to
    /// a schema widen its type.
    fn new<'a>(known: impl IntoIterator<Item = (&'a str, Option<&'a Value>)>) -> Self {
        let mut inference = Self { columns: Members::default(), seen: Seen { items: 0, nested: 0 } };
        for (name, schema) in known.into_iter().take(MAX_FIELD_PATHS) {
            if inference.columns.position(name, 0).is_none() {
                let kind = schema.map(|schema| Kind::of_schema(schema, 1, &mut inference.seen)).unwrap_or_default();
                inference.columns.push(name, kind);
            }
        }
        inference
    }

    /// Takes in one entry, the text of a JSON object. Properties beyond the two thousandth get no column (`X8`).
    ///
    /// # Errors
    /// If the entry is no JSON object.
    fn add(&mut self, entry: &str) -> Result<(), JsonError> {
        self.seen.items += 1;
        let mut scanner = Scanner::new(entry);
        self.columns.widen(&mut scanner, MAX_FIELD_PATHS, 1, &mut self.seen)?;
        scanner.end()
    }

    /// The columns that hold every entry there was.
    fn columns(mut self) -> Members<Kind> {
        self.columns.settle();
        self.columns
    }
}

impl Survey for Inference {
    fn entry(&mut self, entry: &[u8]) -> io::Result<ControlFlow<()>> {
        self.add(std::str::from_utf8(entry).map_err(io::Error::other)?).map_err(malformed)?;
        Ok(ControlFlow::Continue(()))
    }

    fn finish(self: Box<Self>) -> io::Result<Layout> {
        Ok(Layout::Typed(self.columns()))
    }
}

impl Kind {
    /// What values are that keep to a JSON schema, as far as it says so plainly.
    fn of_schema(schema: &Value, depth: u32, seen: &mut Seen) -> Self {
        let types = &schema["type"];
        let mut types =
            types.as_str().into_iter().chain(types.as_array().into_iter().flatten().filter_map(Value::as_str));
        let (Some(kind), None) = (types.by_ref().find(|kind| *kind != "null"), types.find(|kind| *kind != "null"))
        else {
            return Self::Unknown;
        };
        match kind {
            "boolean" => Self::Bool,
            "integer" => Self::Int { exact: true },
            "number" => Self::Float,
            "string" => Self::Text,
            "array" if depth < MAX_DEPTH => Self::List(Box::new(List {
                element: Self::of_schema(&schema["items"], depth + 1, seen),
                ..List::default()
            })),
            "object" if depth < MAX_DEPTH => {
                let Some(properties) = schema["properties"].as_object() else { return Self::Unknown };
                if properties.len() > MAX_MEMBERS || seen.nested + properties.len() > MAX_NESTED {
                    return Self::Json;
                }
                seen.nested += properties.len();
                let mut members = Members::default();
                for (name, schema) in properties {
                    members.push(name, Self::of_schema(schema, depth + 1, seen));
                }
                Self::Struct(members)
            }
            _ => Self::Unknown,
        }
    }

    fn of_number(text: &str) -> Self {
        if text == "-0" || text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return if text.parse().is_ok_and(f64::is_finite) { Self::Float } else { Self::Text };
        }
        match text.parse::<i64>() {
            Ok(number) => Self::Int { exact: number.unsigned_abs() <= MAX_EXACT },
            Err(_) if text.parse().is_ok_and(|number: f64| format!("{number:.0}") == text) => Self::Float,
            Err(_) => Self::Text,
        }
    }

    /// Takes one value more and becomes what holds it and all before it.
    fn widen(&mut self, scanner: &mut Scanner<'_>, depth: u32, seen: &mut Seen) -> Result<(), JsonError> {
        if matches!(self, Self::Json) {
            return scanner.value().map(drop);
        }
        let value = match scanner.peek() {
            Some(b'{') => {
                if let Self::Unknown = self {
                    *self = Self::Struct(Members::default());
                }
                if let (Self::Struct(members), true) = (&mut *self, depth < MAX_DEPTH) {
                    if !members.widen(scanner, MAX_MEMBERS, depth + 1, seen)? {
                        self.give_up(seen);
                    }
                    return Ok(());
                }
                Self::Json
            }
            Some(b'[') => {
                if let Self::Unknown = self {
                    *self = Self::List(Box::default());
                }
                if let (Self::List(list), true) = (&mut *self, depth < MAX_DEPTH) {
                    return list.widen(scanner, depth + 1, seen);
                }
                Self::Json
            }
            Some(b'"') => Self::Text,
            Some(b't' | b'f') => Self::Bool,
            Some(b'n') => Self::Unknown,
            _ => return scanner.value().map(|text| self.join(Self::of_number(text), seen)),
        };
        scanner.value()?;
        self.join(value, seen);
        Ok(())
    }

    /// Becomes what holds a value of `other`, too, which is no list and no struct.
    fn join(&mut self, other: Self, seen: &mut Seen) {
        *self = match (&*self, other) {
            (_, Self::Unknown) => return,
            (Self::Unknown, other) => other,
            (Self::List(_) | Self::Struct(_) | Self::Json, _) | (_, Self::Json) => return self.give_up(seen),
            (Self::Bool, Self::Bool) => return,
            (Self::Int { exact: one }, Self::Int { exact: two }) => Self::Int { exact: *one && two },
            (Self::Float | Self::Int { exact: true }, Self::Float) | (Self::Float, Self::Int { exact: true }) => {
                Self::Float
            }
            _ => Self::Text,
        };
    }

    fn give_up(&mut self, seen: &mut Seen) {
        seen.nested -= self.nested();
        *self = Self::Json;
    }

    /// Members of structs in here.
    fn nested(&self) -> usize {
        match self {
            Self::List(list) => list.element.nested(),
            Self::Struct(members) => members.len() + members.iter().map(|(_, kind)| kind.nested()).sum::<usize>(),
            _ => 0,
        }
    }

    /// Takes a type for what no entry told, and for what would not do.
    fn settle(&mut self) {
        match self {
            Self::Unknown => *self = Self::Text,
            Self::List(list) => {
                list.element.settle();
                if list.most.saturating_mul(1 + list.element.nested()) > MAX_CELLS_OF_LIST {
                    *self = Self::Json;
                }
            }
            // Parquet has no struct without members.
            Self::Struct(members) if members.len() == 0 => *self = Self::Json,
            Self::Struct(members) => members.settle(),
            _ => {}
        }
    }

    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int { .. } => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Unknown | Self::Text | Self::Json => DataType::Utf8,
            Self::List(list) => DataType::List(list.field()),
            Self::Struct(members) => DataType::Struct(members.fields()),
        }
    }
}

impl List {
    /// What every element is.
    pub(super) fn field(&self) -> FieldRef {
        Arc::new(Field::new_list_field(self.element.data_type(), true))
    }

    fn widen(&mut self, scanner: &mut Scanner<'_>, depth: u32, seen: &mut Seen) -> Result<(), JsonError> {
        if self.item != seen.items {
            self.item = seen.items;
            self.elements = 0;
        }
        scanner.open(b'[')?;
        let mut first = true;
        while scanner.next_element(first)? {
            first = false;
            self.elements += 1;
            self.element.widen(scanner, depth, seen)?;
        }
        self.most = self.most.max(self.elements);
        Ok(())
    }
}

impl Members<Kind> {
    /// Takes in an object, and tells whether all its members are there now. There are `max` at most.
    fn widen(&mut self, scanner: &mut Scanner<'_>, max: usize, depth: u32, seen: &mut Seen) -> Result<bool, JsonError> {
        let is_nested = depth > 1;
        let mut all = true;
        let mut next = 0;
        scanner.open(b'{')?;
        let mut first = true;
        while let Some(key) = scanner.next_key(first)? {
            first = false;
            let name = key.decode();
            let at = match self.position(&name, next) {
                Some(at) => at,
                None if self.len() < max && !(is_nested && seen.nested >= MAX_NESTED) => {
                    seen.nested += usize::from(is_nested);
                    self.push(&name, Kind::Unknown)
                }
                None => {
                    scanner.value()?;
                    all = false;
                    continue;
                }
            };
            self.list[at].1.widen(scanner, depth, seen)?;
            next = at + 1;
        }
        Ok(all)
    }

    fn settle(&mut self) {
        self.list.iter_mut().for_each(|(_, kind)| kind.settle());
    }

    pub(super) fn fields(&self) -> Fields {
        self.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true)).collect()
    }
}

impl<T> Members<T> {
    /// Where the member of that name is; `guess` saves the search, as objects of one table mostly have one order.
    pub(super) fn position(&self, name: &str, guess: usize) -> Option<usize> {
        match self.list.get(guess) {
            Some((guessed, _)) if **guessed == *name => Some(guess),
            _ => self.index.get(name).copied(),
        }
    }

    fn push(&mut self, name: &str, member: T) -> usize {
        let name: Arc<str> = name.into();
        self.index.insert(name.clone(), self.list.len());
        self.list.push((name, member));
        self.list.len() - 1
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.list.iter().map(|(name, member)| (&**name, member))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.list.iter_mut().map(|(_, member)| member)
    }

    /// The same names for other things.
    pub(super) fn map<U>(&self, with: impl Fn(&T) -> U) -> Members<U> {
        Members {
            list: self.list.iter().map(|(name, member)| (name.clone(), with(member))).collect(),
            index: self.index.clone(),
        }
    }
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { list: Vec::new(), index: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn types(entries: &[&str]) -> Vec<(String, String)> {
        let mut inference = Inference::new([]);
        entries.iter().for_each(|entry| inference.add(entry).unwrap());
        named_types(&inference.columns())
    }

    fn named_types(columns: &Members<Kind>) -> Vec<(String, String)> {
        columns.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect()
    }

    fn type_of(values: &[&str]) -> String {
        let entries: Vec<_> = values.iter().map(|value| format!("{{\"v\":{value}}}")).collect();
        types(&entries.iter().map(String::as_str).collect::<Vec<_>>()).remove(0).1
    }

    #[test]
    fn a_column_has_the_narrowest_type_that_holds_every_value() {
        for (values, expected) in [
            (&["null"][..], "Utf8"),
            (&["true", "null"], "Boolean"),
            (&["1", "-9223372036854775808"], "Int64"),
            (&["1", "1.5"], "Float64"),
            (&["1.5", "9007199254740992"], "Float64"),
            (&["1.5", "9007199254740993"], "Utf8"),
            (&["9007199254740993", "1e3"], "Utf8"),
            (&["18446744073709551615"], "Utf8"),
            (&["10000000000000000000000"], "Float64"),
            (&["1e400"], "Utf8"),
            (&["-0"], "Float64"),
            (&["1", "true"], "Utf8"),
            (&["\"1\"", "1"], "Utf8"),
            (&["[]"], "List(Utf8)"),
            (&["[1]", "[]", "null", "[null,2.5]"], "List(Float64)"),
            (&["[1]", "1"], "Utf8"),
            (&["[1]", "{}"], "Utf8"),
            (&["{}"], "Utf8"),
            (&["{\"a\":1}", "{\"b\":[true]}"], "Struct(\"a\": Int64, \"b\": List(Boolean))"),
            (&["[{\"a\":1},{\"a\":\"x\"}]"], "List(Struct(\"a\": Utf8))"),
            (&["{\"a\":1}", "{\"a\":{\"b\":1}}"], "Struct(\"a\": Utf8)"),
        ] {
            assert_eq!(type_of(values), expected, "{values:?}");
        }
    }

    #[test]
    fn columns_stand_in_the_order_in_which_they_came() {
        let types = types(&[r#"{"b":1,"":2}"#, r##"{"#h":1,"B":1,"b":2,"\ud800":3,"b":4}"##]);

        assert_eq!(types.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["b", "", "#h", "B", "\u{FFFD}"]);
    }

    #[test]
    fn the_schema_of_the_dataset_gives_order_and_types_and_entries_widen_them() {
        let price = json!({"type": ["null", "number"]});
        let (name, geo) =
            (json!({"type": "string"}), json!({"type": "object", "properties": {"lat": {"type": "number"}}}));
        let tags = json!({"type": "array", "items": {"type": "integer"}});
        let either = json!({"type": ["string", "integer"]});
        let known = [
            ("price", Some(&price)),
            ("name", Some(&name)),
            ("geo", Some(&geo)),
            ("tags", Some(&tags)),
            ("either", Some(&either)),
            ("given", None),
        ];
        let mut inference = Inference::new(known);

        inference.add(r#"{"more":true,"name":{"first":"x"},"price":1,"either":3}"#).unwrap();

        let types = named_types(&inference.columns());
        let types: Vec<_> = types.iter().map(|(name, kind)| (&**name, &**kind)).collect();
        assert_eq!(
            types,
            [
                ("price", "Float64"),
                ("name", "Utf8"),
                ("geo", "Struct(\"lat\": Float64)"),
                ("tags", "List(Int64)"),
                ("either", "Int64"),
                ("given", "Utf8"),
                ("more", "Boolean")
            ]
        );
    }

    #[test]
    fn a_view_decides_which_columns_the_schema_gives() {
        let properties = json!({"a": {"type": "integer"}, "#h": {"type": "string"}, "b": {"type": "boolean"}});
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let plain = ItemView::default();

        for (view, expected) in [
            (plain.clone(), "a Int64,#h Utf8,b Boolean"),
            (ItemView { clean: true, omit: names(&["a"]), ..plain.clone() }, "b Boolean"),
            (ItemView { fields: names(&["b", "c", "a"]), omit: names(&["a"]), ..plain.clone() }, "b Boolean,c Utf8"),
            (ItemView { fields: names(&["b"]), output_fields: names(&["a"]), ..plain.clone() }, "a Utf8"),
            (ItemView { unwind: names(&["a"]), ..plain.clone() }, ""),
            (ItemView { fields: names(&["a"]), unwind: names(&["b"]), ..plain }, "a Utf8"),
        ] {
            let types = named_types(&Inference::of(&view, properties.as_object().unwrap()).columns());
            let types: Vec<_> = types.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
            assert_eq!(types.join(","), expected, "{view:?}");
        }
    }

    #[test]
    fn dictionaries_and_depths_become_text() {
        let wide = format!("{{{}}}", (0..=MAX_MEMBERS).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
        assert_eq!(type_of(&[&wide]), "Utf8");
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let kind = type_of(&[&deep]);
        assert!(kind.starts_with("List(List(") && kind.len() < 60, "{kind}");
        let many = format!(
            "[{{\"a\":{{{}}}}}{}]",
            (0..100).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","),
            ",{}".repeat(50_000)
        );
        assert_eq!(type_of(&[&many]), "Utf8");
    }

    #[test]
    fn columns_are_bounded_however_many_properties_there_are() {
        let mut inference = Inference::new([]);
        for n in 0..3000 {
            inference.add(&format!("{{\"k{n}\":{{\"m{n}\":{n}}}}}")).unwrap();
        }
        let columns = inference.columns();

        assert_eq!(columns.len(), MAX_FIELD_PATHS);
        assert_eq!(columns.iter().map(|(_, kind)| kind.nested()).sum::<usize>(), MAX_NESTED);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "{\"a\":1", "{\"a\":01}", "{} x"] {
            assert!(Inference::new([]).add(text).is_err(), "{text}");
        }
    }
}
